//! Time per processor and mode from `/proc/stat`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

const SECONDS: Desc =
    Desc::counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.")
        .with_labels(&["cpu", "mode"]);
const GUEST: Desc = Desc::counter(
    "node_cpu_guest_seconds_total",
    "Seconds the CPUs spent in guests (virtual machines), by their mode; user and nice of \
     node_cpu_seconds_total include them.",
)
.with_labels(&["cpu", "mode"]);
pub(super) const DESCS: &[Desc] = &[SECONDS, GUEST];

/// The columns of a `cpuN` line, in order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Cpu {
        path: config.collectors.host.proc_root.join("stat"),
        ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
    })
}

struct Cpu {
    path: PathBuf,
    ticks_per_second: f64,
}

#[async_trait]
impl Collector for Cpu {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.path)?;
        let mut any = false;
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let cpu = fields.next().and_then(|first| first.strip_prefix("cpu"));
            // The line without a number is the sum of the others.
            let Some(cpu) = cpu.filter(|cpu| cpu.parse::<u32>().is_ok()) else { continue };
            any = true;
            let guests = GUEST_MODES.map(|mode| (&GUEST, mode));
            for (desc, mode) in MODES.map(|mode| (&SECONDS, mode)).into_iter().chain(guests) {
                // Old kernels have fewer columns: absent, not 0.
                let Some(field) = fields.next() else { break };
                let ticks: f64 = field
                    .parse()
                    .map_err(|_| CollectError::parse(&self.path, "ticks in numbers", line))?;
                out.add(desc, &[cpu, mode], ticks / self.ticks_per_second);
            }
        }
        match any {
            true => Ok(()),
            false => Err(CollectError::parse(&self.path, "a line per cpu", text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn reads_modes_per_cpu() {
        let full = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu3 100 200 300 400 500 600 700 800 50 25\nintr 1\n";
        let want = "node_cpu_guest_seconds_total{cpu=\"3\",mode=\"user\"} 0.5\n\
            node_cpu_guest_seconds_total{cpu=\"3\",mode=\"nice\"} 0.25\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"user\"} 1\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"nice\"} 2\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"system\"} 3\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"idle\"} 4\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"iowait\"} 5\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"irq\"} 6\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"softirq\"} 7\n\
            node_cpu_seconds_total{cpu=\"3\",mode=\"steal\"} 8\n";
        let old = "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1\n\
            node_cpu_seconds_total{cpu=\"0\",mode=\"nice\"} 2\n";
        check(
            super::build,
            &[
                Case { files: &[("proc/stat", full)], want: Ok(want) },
                Case { files: &[("proc/stat", "cpu0 100 200\n")], want: Ok(old) },
                Case { files: &[("proc/stat", "cpu0 1 two\n")], want: Err("ticks in numbers") },
                Case { files: &[("proc/stat", "cpufreq 1\n")], want: Err("a line per cpu") },
            ],
        );
    }
}
