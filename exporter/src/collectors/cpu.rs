//! Time per processor and mode from `/proc/stat`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

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
const IDLE: usize = 3;
/// A processor whose idle time goes back this many seconds was taken out and counts anew.
const RESTARTED: f64 = 3.0;

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Cpu {
        path: config.collectors.host.proc_root.join("stat"),
        ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        shown: Mutex::default(),
    })
}

struct Cpu {
    path: PathBuf,
    ticks_per_second: f64,
    /// Seconds by processor, in the order of the columns, as last reported.
    shown: Mutex<BTreeMap<u32, Vec<f64>>>,
}

#[async_trait]
impl Collector for Cpu {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.path)?;
        let mut processors = BTreeMap::new();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let cpu = fields.next().and_then(|first| first.strip_prefix("cpu"));
            // The line without a number is the sum of the others.
            let Some(cpu) = cpu.and_then(|cpu| cpu.parse().ok()) else { continue };
            let ticks = fields.take(MODES.len() + GUEST_MODES.len()).map(str::parse::<f64>);
            let seconds = ticks.map(|ticks| Ok(ticks? / self.ticks_per_second));
            let seconds: Result<Vec<f64>, std::num::ParseFloatError> = seconds.collect();
            let wrong = |_| CollectError::parse(&self.path, "ticks in numbers", line);
            processors.insert(cpu, seconds.map_err(wrong)?);
        }
        if processors.is_empty() {
            return Err(CollectError::parse(&self.path, "a line per cpu", text));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|cpu, _| processors.contains_key(cpu));
        for (cpu, seconds) in processors {
            let shown = shown.entry(cpu).or_default();
            advance(shown, seconds);
            let cpu = cpu.to_string();
            let guests = GUEST_MODES.map(|mode| (&GUEST, mode));
            let columns = MODES.map(|mode| (&SECONDS, mode)).into_iter().chain(guests);
            // Old kernels have fewer columns: absent, not 0.
            for ((desc, mode), seconds) in columns.zip(shown) {
                out.add(desc, &[&cpu, mode], *seconds);
            }
        }
        Ok(())
    }
}

/// The kernel corrects idle and iowait downwards now and then, which a reader of counters would
/// take for a restart: such a value stays where it was until it is passed again.
///
/// Source: proc_stat(5) on iowait; node_exporter does the same.
fn advance(shown: &mut Vec<f64>, read: Vec<f64>) {
    let idle = |seconds: &[f64]| seconds.get(IDLE).copied().unwrap_or(0.0);
    if shown.len() != read.len() || idle(shown) - idle(&read) >= RESTARTED {
        *shown = read;
        return;
    }
    for (shown, read) in shown.iter_mut().zip(read) {
        *shown = shown.max(read);
    }
}

#[cfg(test)]
mod tests {
    use super::advance;
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

    #[test]
    fn counters_go_back_only_when_the_processor_began_anew() {
        let mut shown = Vec::new();
        for (what, read, want) in [
            ("first", [1.0, 0.0, 0.0, 100.0, 5.0], [1.0, 0.0, 0.0, 100.0, 5.0]),
            ("idle and iowait corrected", [2.0, 0.0, 0.0, 99.0, 4.5], [2.0, 0.0, 0.0, 100.0, 5.0]),
            ("passed again", [2.0, 0.0, 0.0, 101.0, 5.5], [2.0, 0.0, 0.0, 101.0, 5.5]),
            ("taken out and back", [0.0, 0.0, 0.0, 98.0, 0.0], [0.0, 0.0, 0.0, 98.0, 0.0]),
        ] {
            advance(&mut shown, read.to_vec());
            assert_eq!(shown, want, "{what}");
        }
        advance(&mut shown, vec![7.0]);
        assert_eq!(shown, [7.0], "another kernel's columns");
    }
}
