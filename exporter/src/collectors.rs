//! What a collector is, and the list of all of them.

mod cpu;
mod disk;
mod filefd;
mod filesystem;
mod loadavg;
mod memory;
mod network;
mod pressure;
pub mod redis;
pub mod runner;
mod stat;
#[cfg(test)]
pub(crate) mod test;
mod time;
mod uname;
mod vmstat;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::config::Config;
use crate::config::yaml::Invalid;
use crate::metric::{Desc, Families};

/// One source of metrics.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Reads the source once and adds its samples to `out`.
    ///
    /// Runs on every scrape under a deadline, so it may be dropped at any `.await`. It has a
    /// thread of its own and may block it: one that does not come back is not started again.
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError>;
}

/// One line of `COLLECTORS`.
pub struct Entry {
    pub name: &'static str,
    /// Whether it runs when neither `on` nor `off` names it.
    pub on: fn(&Config) -> bool,
    /// What it exposes, for METRICS.md and the contract test.
    pub descs: &'static [Desc],
    pub build: fn(&Config) -> Box<dyn Collector>,
}

/// Every collector, in the order that `--help` and METRICS.md list them.
pub const COLLECTORS: &[Entry] = &[
    on("cpu", cpu::DESCS, cpu::build),
    on("memory", memory::DESCS, memory::build),
    on("loadavg", loadavg::DESCS, loadavg::build),
    on("pressure", pressure::DESCS, pressure::build),
    on("disk", disk::DESCS, disk::build),
    on("filesystem", filesystem::DESCS, filesystem::build),
    on("network", network::DESCS, network::build),
    on("vmstat", vmstat::DESCS, vmstat::build),
    on("stat", stat::DESCS, stat::build),
    on("filefd", filefd::DESCS, filefd::build),
    on("uname", uname::DESCS, uname::build),
    on("time", time::DESCS, time::build),
    on("runner", runner::DESCS, runner::build),
    Entry { name: "redis", on: redis::configured, descs: redis::DESCS, build: redis::build },
];

/// A collector that runs unless it is turned off.
const fn on(
    name: &'static str,
    descs: &'static [Desc],
    build: fn(&Config) -> Box<dyn Collector>,
) -> Entry {
    Entry { name, on: |_| true, descs, build }
}

/// `collectors.host`: where this host's own files are; all the host's collectors use it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    pub proc_root: PathBuf,
    pub sys_root: PathBuf,
    /// Where the host's own root is mounted, for an exporter in a container.
    pub root: PathBuf,
}

impl Default for HostConfig {
    fn default() -> HostConfig {
        HostConfig { proc_root: "/proc".into(), sys_root: "/sys".into(), root: "/".into() }
    }
}

impl HostConfig {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let HostConfig { proc_root, sys_root, root } = self;
        for (key, path) in [("proc_root", proc_root), ("sys_root", sys_root), ("root", root)] {
            if !path.is_absolute() {
                let key = format!("collectors.host.{key}");
                let found = path.display().to_string();
                return Err(Invalid::value(file, key, "an absolute path", found));
            }
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: expected {expected}, found {found:?}")]
    Parse { path: PathBuf, expected: &'static str, found: String },
    /// This host has no such source (no GPU, no cgroup v2): not a failure.
    #[error("nothing to collect: {0}")]
    Absent(&'static str),
}

impl CollectError {
    pub(crate) fn parse(
        path: &Path,
        expected: &'static str,
        found: impl Into<String>,
    ) -> CollectError {
        let mut found: String = found.into();
        // A line says enough; what is read may be hostile and goes to the log.
        found.truncate(found.floor_char_boundary(200));
        CollectError::Parse { path: path.into(), expected, found }
    }
}

/// Larger kernel files are cut off, so that a wrong root cannot fill the memory.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The whole of a small file of the kernel.
fn read(path: &Path) -> Result<String, CollectError> {
    let read = |source| CollectError::Read { path: path.into(), source };
    let mut text = Vec::with_capacity(16 * 1024);
    File::open(path).map_err(read)?.take(MAX_FILE).read_to_end(&mut text).map_err(read)?;
    // Mount points and device names are bytes; labels are UTF-8.
    Ok(match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// One number of a file of the kernel.
fn number(path: &Path, text: &str) -> Result<f64, CollectError> {
    let text = text.trim();
    text.parse().map_err(|_| CollectError::parse(path, "a number", text))
}
