//! What a collector is, and the list of all of them.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::config::Config;
use crate::metric::{Desc, Families};

/// One source of metrics.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Reads the source once and adds its samples to `out`.
    ///
    /// Runs on every scrape under a deadline, so it may be dropped at any `.await`.
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError>;
}

/// One line of `COLLECTORS`.
pub struct Entry {
    pub name: &'static str,
    /// Whether it runs when the configuration does not name it.
    pub on: bool,
    /// What it exposes, for METRICS.md and the contract test.
    pub descs: &'static [Desc],
    pub build: fn(&Config) -> Box<dyn Collector>,
}

/// Every collector, in the order that `--help` and METRICS.md list them.
pub const COLLECTORS: &[Entry] = &[];

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
