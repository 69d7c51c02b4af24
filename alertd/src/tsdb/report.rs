//! What opening the store found: how much came back, and what had to be repaired.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Repairs that are kept in words; all are counted.
const MAX_REPAIRS: usize = 100;

#[derive(Debug, Default)]
pub struct Report {
    pub series: usize,
    pub samples: usize,
    /// Samples in the log whose series was lost with a damaged record.
    pub orphans: usize,
    /// Bytes of the log that were read.
    pub log_bytes: u64,
    pub repairs: Vec<Repair>,
    /// How many there were of each kind, which may be more than `repairs` tells.
    pub repaired: BTreeMap<RepairKind, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    pub kind: RepairKind,
    pub path: PathBuf,
    /// How much was lost.
    pub bytes: usize,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepairKind {
    /// The end of a file, as a crash leaves it; nothing of it was acknowledged unless it was damaged
    /// afterwards.
    Torn,
    /// A record between whole ones.
    Damaged,
    /// A file, or a change to it.
    Unreadable,
    /// A block that cannot be trusted, and was renamed for a person to look at.
    Block,
}

impl Report {
    pub(super) fn add(&mut self, repair: Repair) {
        *self.repaired.entry(repair.kind).or_default() += 1;
        if self.repairs.len() < MAX_REPAIRS {
            self.repairs.push(repair);
        }
    }
}

impl Repair {
    pub(super) fn torn(path: &Path, bytes: usize) -> Repair {
        Repair { kind: RepairKind::Torn, path: path.into(), bytes, why: String::new() }
    }

    pub(super) fn damaged(path: &Path, bytes: usize) -> Repair {
        Repair { kind: RepairKind::Damaged, path: path.into(), bytes, why: String::new() }
    }

    pub(super) fn block(path: &Path, why: String) -> Repair {
        Repair { kind: RepairKind::Block, path: path.into(), bytes: 0, why }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Repair {
        let why = error.to_string();
        Repair { kind: RepairKind::Unreadable, path: path.into(), bytes: 0, why }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repair { kind, path, bytes, why } = self;
        let path = path.display();
        match kind {
            RepairKind::Torn => write!(f, "{path}: cut off {bytes} bytes at the end"),
            RepairKind::Damaged => {
                write!(f, "{path}: passed over a damaged record of {bytes} bytes")
            }
            RepairKind::Unreadable | RepairKind::Block => write!(f, "{path}: {why}"),
        }
    }
}

impl RepairKind {
    /// As it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            RepairKind::Torn => "torn",
            RepairKind::Damaged => "damaged",
            RepairKind::Unreadable => "unreadable",
            RepairKind::Block => "block",
        }
    }
}
