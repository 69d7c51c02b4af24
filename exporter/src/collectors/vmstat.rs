//! Paging, swapping and out-of-memory kills from `/proc/vmstat`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, number, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

/// Each is named after its field.
pub(super) const DESCS: &[Desc] = &[
    Desc::untyped("node_vmstat_oom_kill", "/proc/vmstat information field oom_kill."),
    Desc::untyped("node_vmstat_pgfault", "/proc/vmstat information field pgfault."),
    Desc::untyped("node_vmstat_pgmajfault", "/proc/vmstat information field pgmajfault."),
    Desc::untyped("node_vmstat_pgpgin", "/proc/vmstat information field pgpgin."),
    Desc::untyped("node_vmstat_pgpgout", "/proc/vmstat information field pgpgout."),
    Desc::untyped("node_vmstat_pswpin", "/proc/vmstat information field pswpin."),
    Desc::untyped("node_vmstat_pswpout", "/proc/vmstat information field pswpout."),
];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(VmStat(config.collectors.host.proc_root.join("vmstat")))
}

struct VmStat(PathBuf);

#[async_trait]
impl Collector for VmStat {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.0)?;
        for line in text.lines() {
            let (field, value) = line.split_once(' ').unwrap_or((line, ""));
            let named = |desc: &&Desc| desc.name.strip_prefix("node_vmstat_") == Some(field);
            if let Some(desc) = DESCS.iter().find(named) {
                out.set(desc, number(&self.0, value)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn takes_the_fields_it_knows() {
        let text = "nr_free_pages 5\npgpgin 1\npgpgout 2\npgfault 3\noom_kill 4\npgpginx 9\n";
        let want = "node_vmstat_oom_kill 4\nnode_vmstat_pgfault 3\nnode_vmstat_pgpgin 1\n\
            node_vmstat_pgpgout 2\n";
        check(
            super::build,
            &[
                Case { files: &[("proc/vmstat", text)], want: Ok(want) },
                Case { files: &[("proc/vmstat", "pgfault")], want: Err("expected a number") },
                Case { files: &[("proc/vmstat", "")], want: Ok("") },
            ],
        );
    }
}
