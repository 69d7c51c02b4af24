//! Opened blocks that are kept for the next query, bounded by bytes and by open files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::opened::Opened;

/// Blocks that are open at a time beside those in use, one file each.
const MOST_FILES: usize = 128;

/// The one that was not used for longest goes first.
#[derive(Debug)]
pub(super) struct Cache {
    most_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: HashMap<String, (Arc<Opened>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    pub(super) fn new(most_bytes: usize) -> Cache {
        Cache { most_bytes, kept: Mutex::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Opened>> {
        let mut kept = self.kept();
        kept.uses += 1;
        let now = kept.uses;
        let (opened, used) = kept.blocks.get_mut(name)?;
        *used = now;
        Some(Arc::clone(opened))
    }

    /// Keeps the newest one also when it alone is larger than all that may be kept.
    pub(super) fn put(&self, name: &str, opened: Arc<Opened>) {
        let mut kept = self.kept();
        kept.uses += 1;
        let now = kept.uses;
        kept.bytes += opened.index.bytes();
        if let Some((old, _)) = kept.blocks.insert(name.to_owned(), (opened, now)) {
            kept.bytes -= old.index.bytes();
        }
        while kept.blocks.len() > 1
            && (kept.bytes > self.most_bytes || kept.blocks.len() > MOST_FILES)
        {
            let oldest = kept.blocks.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            kept.remove(&oldest);
        }
    }

    pub(super) fn remove(&self, name: &str) {
        self.kept().remove(name);
    }

    /// Of the indexes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.kept().bytes
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, name: &str) {
        if let Some((opened, _)) = self.blocks.remove(name) {
            self.bytes -= opened.index.bytes();
        }
    }
}
