//! What the files hold, taken back into memory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::model::sample::{Sample, Timestamp};

use super::block::metrics::BlockMetrics;
use super::block::{self, Blocks};
use super::checkpoint::{Checkpoints, load};
use super::head::{Entry, Head};
use super::index::SeriesId;
use super::report::{Repair, Report};
use super::wal::{self, Log, Sink};
use super::{Disk, Tsdb};

struct Restore<'a> {
    head: &'a mut Head,
    oldest: Timestamp,
    /// Series that were dropped and came back under another id, by that id.
    again: HashMap<SeriesId, Arc<Entry>>,
    /// Most samples are of the same series as the one before, or of another after all series' one.
    last: Option<(SeriesId, Arc<Entry>)>,
    orphans: usize,
}

impl Tsdb {
    /// The last checkpoint, then the log behind it; gives what goes on from there.
    pub(super) fn restore(
        &mut self,
        folder: &Path,
        blocks: BlockMetrics,
    ) -> io::Result<(Report, Disk)> {
        let mut report = Report::default();
        let (log, chunks) = (&folder.join("wal"), &folder.join("head"));
        for folder in [log, chunks] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let at = folder.join(block::FOLDER);
        let (blocks, found) = Blocks::open(&at, blocks).map_err(io::Error::other)?;
        for (name, why) in found.set_aside {
            report.add(Repair::block(&at.join(name), why));
        }
        let head = self.head.get_mut().unwrap_or_else(PoisonError::into_inner);
        let loaded = load(chunks, head, &mut report)?;
        let oldest = loaded.cut;
        (*self.cut.get_mut(), *self.closed.get_mut()) = (oldest.0, oldest.0);
        let mut restore = Restore { head, oldest, again: HashMap::new(), last: None, orphans: 0 };
        let replayed = wal::replay(log, loaded.log, &mut restore, &mut report)?;
        report.orphans += restore.orphans;
        report.log_bytes = replayed.bytes;
        head.put_in_order();
        let empty: Vec<_> =
            head.all().filter(|one| one.samples().newest().is_none()).cloned().collect();
        if !empty.is_empty() {
            head.remove(&empty);
        }
        report.series = head.len();
        report.samples = head.all().map(|entry| entry.samples().size().0).sum();
        *self.samples.get_mut() = report.samples;
        let checkpoints = Checkpoints::new(chunks, &loaded, replayed.bytes);
        let log = Log::open(log, replayed.next);
        // A crash may have come between a checkpoint and the end of what it replaced.
        log.remove_before(loaded.log)?;
        Ok((report, Disk { log, checkpoints, blocks }))
    }
}

impl Sink for Restore<'_> {
    fn series(&mut self, id: SeriesId, labels: &[(&str, &str)]) {
        if self.head.get(id).is_some() {
            return;
        }
        match self.head.find(labels).cloned() {
            Some(known) => {
                self.head.skip_id(id);
                self.again.insert(id, known);
            }
            None => drop(self.head.restore(id, labels)),
        }
    }

    /// What is known already, because a file holds it too, changes nothing.
    fn sample(&mut self, id: SeriesId, sample: Sample) {
        if sample.timestamp < self.oldest {
            return;
        }
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            let entry = self.head.get(id).or_else(|| self.again.get(&id));
            self.last = entry.map(|entry| (id, entry.clone()));
        }
        match &self.last {
            Some((_, entry)) => drop(entry.samples().append(sample, Duration::MAX)),
            None => {
                self.head.skip_id(id);
                self.orphans += 1;
            }
        }
    }
}
