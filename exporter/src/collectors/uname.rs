//! Names and versions of this host: `node_uname_info`, and what runs on which hardware.

use async_trait::async_trait;
use sysinfo::System;

use super::{CollectError, Collector};
use crate::config::Config;
use crate::metric::{Desc, Families};

const UNAME: Desc = Desc::gauge(
    "node_uname_info",
    "Labeled system information as provided by the uname system call.",
)
.with_labels(&["domainname", "machine", "nodename", "release", "sysname", "version"]);
const HOST: Desc =
    Desc::gauge("pitcrew_exporter_host_info", "Distribution and architecture of this host.")
        .with_labels(&["architecture", "distribution", "distribution_version"]);
const CORES: Desc = Desc::gauge(
    "pitcrew_exporter_host_physical_cores",
    "Physical processor cores; absent where the host does not tell.",
);
pub(super) const DESCS: &[Desc] = &[UNAME, HOST, CORES];

pub(super) fn build(_: &Config) -> Box<dyn Collector> {
    Box::new(Uname {
        architecture: System::cpu_arch(),
        distribution: System::distribution_id(),
        distribution_version: System::os_version().unwrap_or_default(),
        cores: System::physical_core_count().ok(),
    })
}

/// What does not change while a host is up; its own name may.
struct Uname {
    architecture: String,
    distribution: String,
    distribution_version: String,
    cores: Option<usize>,
}

#[async_trait]
impl Collector for Uname {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let uname = rustix::system::uname();
        let texts = [
            uname.domainname(),
            uname.machine(),
            uname.nodename(),
            uname.release(),
            uname.sysname(),
            uname.version(),
        ];
        let texts = texts.map(|text| text.to_string_lossy());
        out.add(&UNAME, &texts.each_ref().map(AsRef::as_ref), 1.0);
        out.add(&HOST, &[&self.architecture, &self.distribution, &self.distribution_version], 1.0);
        if let Some(cores) = self.cores {
            out.set(&CORES, cores as f64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::collect;

    #[test]
    fn tells_this_host() {
        let page = collect(super::build, "/nowhere".as_ref()).unwrap();
        assert!(page.contains("sysname=\"Linux\""), "{page}");
        let architecture = format!("architecture=\"{}\"", std::env::consts::ARCH);
        assert!(page.contains(&architecture), "{page}");
    }
}
