//! Boot time, context switches, forks and interrupts from `/proc/stat`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, number, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

/// First word of the line, and its metric.
const FIELDS: [(&str, Desc); 6] = [
    ("intr", Desc::counter("node_intr_total", "Total number of interrupts serviced.")),
    ("ctxt", Desc::counter("node_context_switches_total", "Total number of context switches.")),
    ("btime", Desc::gauge("node_boot_time_seconds", "Node boot time, in unixtime.")),
    ("processes", Desc::counter("node_forks_total", "Total number of forks.")),
    ("procs_running", Desc::gauge("node_procs_running", "Number of processes in runnable state.")),
    (
        "procs_blocked",
        Desc::gauge(
            "node_procs_blocked",
            "Number of processes blocked waiting for I/O to complete.",
        ),
    ),
];
pub(super) const DESCS: &[Desc] =
    &[FIELDS[0].1, FIELDS[1].1, FIELDS[2].1, FIELDS[3].1, FIELDS[4].1, FIELDS[5].1];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Stat(config.collectors.host.proc_root.join("stat")))
}

struct Stat(PathBuf);

#[async_trait]
impl Collector for Stat {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.0)?;
        for line in text.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some((_, desc)) = FIELDS.iter().find(|(field, _)| *field == first) {
                // `intr` goes on with a number for each interrupt.
                out.set(desc, number(&self.0, rest.split(' ').next().unwrap_or(""))?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn reads_the_lines_below_the_processors() {
        let text = "cpu  1 2\ncpu0 1 2\nintr 296877 0 1 2\nctxt 439950\nbtime 1795239282\n\
            processes 13360\nprocs_running 2\nprocs_blocked 0\nsoftirq 7 0\n";
        let want = "node_boot_time_seconds 1795239282\nnode_context_switches_total 439950\n\
            node_forks_total 13360\nnode_intr_total 296877\nnode_procs_blocked 0\n\
            node_procs_running 2\n";
        check(
            super::build,
            &[
                Case { files: &[("proc/stat", text)], want: Ok(want) },
                Case { files: &[("proc/stat", "ctxt lots\n")], want: Err("found \"lots\"") },
            ],
        );
    }
}
