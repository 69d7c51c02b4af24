//! Moving what is older than the head has to be into blocks, two hours at a time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{error, info};

use crate::model::sample::Timestamp;

use super::block::full;
use super::head::Entry;
use super::{Disk, Tsdb};

/// Blocks begin and end at multiples of it.
const WINDOW: i64 = 2 * 3_600_000;
/// A window stays in the head for so long after its end.
const LINGER: Duration = Duration::from_secs(3600);
/// How often it is looked whether the last reader of what has to go has ended.
const POLL: Duration = Duration::from_millis(20);

/// Held by whoever reads: what it may still have to see stays in the head.
pub(super) type Reading = Arc<()>;

impl Tsdb {
    /// To be taken before anything else is looked at.
    pub(super) fn reading(&self) -> Reading {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes every window that is due as a block. False when one could not be written, or there
    /// was none.
    pub(super) fn cut_windows(&self, disk: &Disk, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(end) = self.due(now) {
            if self.stopping.load(Ordering::Relaxed) || !self.cut_at(disk, end) {
                return false;
            }
            any = true;
        }
        any
    }

    /// The end of the oldest window with samples, when it is long enough ago.
    fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let late = self.limits.out_of_order_window.max(LINGER);
        let latest = now.minus(late).0.div_euclid(WINDOW).saturating_mul(WINDOW);
        let cut = self.cut();
        if latest <= cut.0 {
            return None;
        }
        let head = self.read_head();
        // Of a chunk across the cut, the part behind it is what is left.
        let oldest = head.all().filter_map(|entry| entry.samples().oldest()).min()?.max(cut);
        drop(head);
        let end = oldest.0.div_euclid(WINDOW).saturating_add(1).saturating_mul(WINDOW);
        (end <= latest).then_some(Timestamp(end))
    }

    fn cut_at(&self, disk: &Disk, end: Timestamp) -> bool {
        let appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.fetch_max(end.0, Ordering::Relaxed);
        drop(appending);

        let (begin, last) = (self.cut(), Timestamp(end.0 - 1));
        let entries = self.matching(&[]);
        let rows = entries.iter().filter_map(|entry| {
            let chunks = entry.samples().chunks_between(begin, last);
            let chunks = chunks.unwrap_or_else(|_| {
                error!(series = %entry.labels, "samples cannot be read and are left out of a block");
                Vec::new()
            });
            (!chunks.is_empty()).then(|| (entry.labels.clone(), chunks))
        });
        match disk.blocks.add(rows) {
            Ok(Some(block)) => info!(samples = block.samples, bytes = block.bytes, "block written"),
            Ok(None) => {}
            Err(error) => {
                // It stays in the head, and is tried again.
                error!(error = full(&error), "no block");
                return false;
            }
        }
        // Whoever begins to read from here on sees the block and not the window in the head.
        self.cut.fetch_max(end.0, Ordering::Relaxed);
        self.wait_for_readers();
        self.forget(&entries, end);
        true
    }

    fn wait_for_readers(&self) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *reading);
        drop(reading);
        while Arc::strong_count(&before) > 1 && !self.stopping.load(Ordering::Relaxed) {
            thread::sleep(POLL);
        }
    }

    /// Takes what is older out of the head, and series that have nothing else.
    pub(super) fn forget(&self, entries: &[Arc<Entry>], oldest: Timestamp) {
        let (mut dropped, mut empty) = (0, Vec::new());
        for entry in entries {
            let mut samples = entry.samples();
            if samples.oldest().is_some_and(|first| first >= oldest) {
                continue;
            }
            dropped += samples.drop_before(oldest);
            if samples.newest().is_none() {
                empty.push(entry.clone());
            }
        }
        self.samples.fetch_sub(dropped, Ordering::Relaxed);
        if empty.is_empty() {
            return;
        }
        // No append is under way now, so that nobody is about to fill one of them.
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        empty.retain(|entry| entry.samples().newest().is_none());
        self.write_head().remove(&empty);
    }
}

#[cfg(test)]
mod tests;
