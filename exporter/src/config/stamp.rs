//! `Stamp`: tells that a file was written or replaced.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What changes when a file is written in place or another one takes its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl Stamp {
    /// `None` when there is no such file, or none that can be looked at.
    pub fn of(path: &Path) -> Option<Stamp> {
        let meta = fs::metadata(path).ok()?;
        let changed = (meta.mtime(), meta.mtime_nsec());
        Some(Stamp { changed, size: meta.size(), inode: meta.ino() })
    }
}
