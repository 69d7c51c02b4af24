//! This process's own metrics, by the names that Prometheus' client libraries use.

use std::fs;
use std::sync::OnceLock;

use crate::metric::{Desc, Families};

const CPU: Desc =
    Desc::counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
const RESIDENT: Desc =
    Desc::gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
const START: Desc = Desc::gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
);
const OPEN_FDS: Desc = Desc::gauge("process_open_fds", "Number of open file descriptors.");
pub const DESCS: &[Desc] = &[CPU, RESIDENT, START, OPEN_FDS];

/// Adds what can be read; what cannot is absent.
pub fn collect(out: &mut Families) {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(stat) = parse(&stat) {
        out.set(&CPU, stat.cpu_ticks / ticks);
        out.set(&RESIDENT, stat.resident_pages * rustix::param::page_size() as f64);
        if let Some(boot) = boot_time() {
            out.set(&START, boot + stat.start_ticks / ticks);
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The folder being read is open itself.
        out.set(&OPEN_FDS, files.count().saturating_sub(1) as f64);
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    resident_pages: f64,
}

/// Source: proc_pid_stat(5); the name in parentheses may hold anything, even a parenthesis.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first field here is number 3, the state.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        start_ticks: field(22)?,
        resident_pages: field(24)?,
    })
}

/// Read once: it is the start of the clock by which the process's own start is measured.
fn boot_time() -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_behind_any_name() {
        let text = "7 (a) b) S 1 7 7 0 -1 0 1 2 3 4 50 25 0 0 20 0 1 0 900 8192 33 0";
        let want = Stat { cpu_ticks: 75.0, start_ticks: 900.0, resident_pages: 33.0 };
        assert_eq!(parse(text), Some(want));
        for text in ["", "7 (a", "7 (a) S 1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let mut families = Families::default();
        collect(&mut families);
        assert_eq!(families.iter().count(), DESCS.len());
    }
}
