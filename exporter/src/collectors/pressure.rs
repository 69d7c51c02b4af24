//! Pressure stall information: time in which tasks waited, from `/proc/pressure`.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{CollectError, Collector, number, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

const CPU_WAITING: Desc = Desc::counter(
    "node_pressure_cpu_waiting_seconds_total",
    "Total time in seconds that processes have waited for CPU time.",
);
const IO_STALLED: Desc = Desc::counter(
    "node_pressure_io_stalled_seconds_total",
    "Total time in seconds no process could make progress due to IO congestion.",
);
const IO_WAITING: Desc = Desc::counter(
    "node_pressure_io_waiting_seconds_total",
    "Total time in seconds that processes have waited due to IO congestion.",
);
const MEMORY_STALLED: Desc = Desc::counter(
    "node_pressure_memory_stalled_seconds_total",
    "Total time in seconds no process could make progress due to memory congestion.",
);
const MEMORY_WAITING: Desc = Desc::counter(
    "node_pressure_memory_waiting_seconds_total",
    "Total time in seconds that processes have waited for memory.",
);
pub(super) const DESCS: &[Desc] =
    &[CPU_WAITING, IO_STALLED, IO_WAITING, MEMORY_STALLED, MEMORY_WAITING];

/// File, line and metric. `full` of the processor is always 0 for the whole system.
const TOTALS: [(&str, &str, &Desc); 5] = [
    ("cpu", "some", &CPU_WAITING),
    ("io", "full", &IO_STALLED),
    ("io", "some", &IO_WAITING),
    ("memory", "full", &MEMORY_STALLED),
    ("memory", "some", &MEMORY_WAITING),
];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Pressure(config.collectors.host.proc_root.join("pressure")))
}

struct Pressure(PathBuf);

#[async_trait]
impl Collector for Pressure {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        for file in ["cpu", "io", "memory"] {
            let path = self.0.join(file);
            let text = read(&path).map_err(absent)?;
            for (_, kind, desc) in TOTALS.iter().filter(|(of, ..)| *of == file) {
                out.set(desc, total(&path, &text, kind)? / 1e6);
            }
        }
        Ok(())
    }
}

/// A kernel without pressure information, or one that was started with `psi=0`.
fn absent(error: CollectError) -> CollectError {
    let unsupported = |source: &io::Error| {
        source.kind() == io::ErrorKind::NotFound
            || source.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
    };
    match error {
        CollectError::Read { source, .. } if unsupported(&source) => {
            CollectError::Absent("this kernel has no pressure information")
        }
        error => error,
    }
}

/// Microseconds from `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`.
fn total(path: &Path, text: &str, kind: &str) -> Result<f64, CollectError> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let line = lines.find(|(first, _)| *first == kind);
    let total = line.and_then(|(_, rest)| {
        rest.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))
    });
    match total {
        Some(total) => number(path, total),
        None => Err(CollectError::parse(path, "lines `some` and `full` with total=", text)),
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn reads_totals_in_seconds() {
        let file = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n\
            full avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n";
        let files = [
            ("proc/pressure/cpu", file),
            ("proc/pressure/io", file),
            ("proc/pressure/memory", file),
        ];
        let want = "node_pressure_cpu_waiting_seconds_total 1.5\n\
            node_pressure_io_stalled_seconds_total 0.25\n\
            node_pressure_io_waiting_seconds_total 1.5\n\
            node_pressure_memory_stalled_seconds_total 0.25\n\
            node_pressure_memory_waiting_seconds_total 1.5\n";
        let broken = [("proc/pressure/cpu", "some total=many\n")];
        let empty = [("proc/pressure/cpu", "")];
        check(
            super::build,
            &[
                Case { files: &files, want: Ok(want) },
                Case { files: &broken, want: Err("found \"many\"") },
                Case { files: &empty, want: Err("expected lines `some`") },
                Case { files: &[], want: Err("nothing to collect") },
            ],
        );
    }
}
