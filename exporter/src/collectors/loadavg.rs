//! Load average from `/proc/loadavg`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, number, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

pub(super) const DESCS: &[Desc] = &[
    Desc::gauge("node_load1", "Runnable and waiting tasks, averaged over one minute."),
    Desc::gauge("node_load5", "Runnable and waiting tasks, averaged over five minutes."),
    Desc::gauge("node_load15", "Runnable and waiting tasks, averaged over fifteen minutes."),
];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(LoadAvg(config.collectors.host.proc_root.join("loadavg")))
}

struct LoadAvg(PathBuf);

#[async_trait]
impl Collector for LoadAvg {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.0)?;
        let mut fields = text.split_ascii_whitespace();
        for desc in DESCS {
            let field = fields.next().unwrap_or("");
            out.set(desc, number(&self.0, field)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn reads_three_averages() {
        check(
            super::build,
            &[
                Case {
                    files: &[("proc/loadavg", "0.02 1.5 24 1/151 4711\n")],
                    want: Ok("node_load1 0.02\nnode_load15 24\nnode_load5 1.5\n"),
                },
                Case { files: &[("proc/loadavg", "0.02 x")], want: Err("found \"x\"") },
                Case { files: &[("proc/loadavg", "")], want: Err("expected a number, found \"\"") },
                Case { files: &[], want: Err("cannot read") },
            ],
        );
    }
}
