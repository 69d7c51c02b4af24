//! Upkeep: small blocks become larger ones, and what is too old or too much goes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tracing::{info, warn};

use super::index::{ChunkRef, SeriesId};
use super::merge::recode;
use super::metrics::{OutcomeLabels, ReasonLabels};
use super::opened::{LabelMaker, Opened};
use super::plan::{self, Keep};
use super::writer::BlockWriter;
use super::{Block, BlockError, Blocks, full};
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

impl Blocks {
    /// Deletes what is too old, merges what can be merged, and deletes the oldest blocks until the
    /// store, which takes `others` bytes beside them, is as small as it has to be.
    ///
    /// Takes as long as the disk needs for some hours of samples. What fails is logged, counted and
    /// tried again at the next call.
    pub fn maintain(&self, now: Timestamp, keep: &Keep, others: u64) {
        let _one = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let old = plan::too_old(&Blocks::spans(&self.read()), now, keep.retention);
        self.delete(&old, "age");
        loop {
            let list = self.read().clone();
            let Some(group) = plan::merge(&Blocks::spans(&list), keep.retention) else { break };
            let sources: Vec<_> = group.iter().filter_map(|at| list.get(*at)).cloned().collect();
            drop(list);
            let merged = self.merge(&sources);
            let outcome = if merged.is_ok() { "merged" } else { "failed" };
            self.metrics.merges.get_or_create(&OutcomeLabels { outcome }).inc();
            match merged {
                Ok(()) => {}
                // What is bad is left out of the next plan.
                Err((Some(block), error)) if error.is_lasting() => {
                    self.blame(&block, &error);
                }
                Err((_, error)) => {
                    warn!(error = full(&error), "blocks were not merged");
                    break;
                }
            }
        }
        if let Some(most) = keep.size {
            let much = plan::too_large(&Blocks::spans(&self.read()), others, most);
            self.delete(&much, "size");
        }
        self.show();
    }

    /// Takes the blocks at these places, ascending, out of the list; they are deleted when their
    /// last reader has gone.
    fn delete(&self, places: &[usize], reason: &'static str) {
        let mut list = self.write();
        let mut gone = Vec::new();
        for at in places.iter().rev() {
            if *at < list.len() {
                gone.push(list.remove(*at));
            }
        }
        drop(list);
        for block in gone {
            info!(block = block.name, reason, "block deleted");
            self.metrics.deleted.get_or_create(&ReasonLabels { reason }).inc();
            self.cache.remove(&block.name);
            block.doomed.store(true, Ordering::Relaxed);
        }
    }

    /// Writes one block out of several, which it takes the place of. An error names the block that
    /// is to blame, if one is.
    fn merge(&self, sources: &[Arc<Block>]) -> Result<(), (Option<Arc<Block>>, BlockError)> {
        let names = sources.iter().map(|block| block.name.clone()).collect();
        let mut writer = BlockWriter::new(&self.folder, names).map_err(|error| (None, error))?;
        let mut rows = Vec::new();
        for source in sources {
            let blame = |error| (Some(Arc::clone(source)), error);
            // Past the cache, so that what queries use stays there.
            let opened = Opened::open(&source.folder, &source.meta).map_err(blame)?;
            let mut row = Row {
                block: source,
                opened,
                maker: LabelMaker::default(),
                next: 0,
                refs: Vec::new(),
                labels: None,
            };
            row.advance().map_err(blame)?;
            rows.push(row);
        }
        while let Some(labels) = rows.iter().filter_map(|row| row.labels.as_ref()).min().cloned() {
            let mut chunks = Vec::new();
            let with = rows.iter_mut().filter(|row| row.labels.as_ref() == Some(&labels));
            for row in with {
                let blame = |error| (Some(Arc::clone(row.block)), error);
                chunks.extend(row.opened.chunks(&row.block.folder, &row.refs).map_err(blame)?);
                let block = Arc::clone(row.block);
                row.advance().map_err(|error| (Some(block), error))?;
            }
            chunks.sort_by_key(|chunk| chunk.first);
            let chunks = recode(&chunks).map_err(|error| {
                // Which of them it was is not known; each chunk had its checksum.
                let what = format!("{labels}: {error}");
                let first = sources.first();
                let path = first.map(|block| block.folder.clone()).unwrap_or_default();
                (first.cloned(), BlockError::BadChunk { path, what })
            })?;
            writer.add(&labels, &chunks).map_err(|error| (None, error))?;
        }
        let written = writer.finish().map_err(|error| (None, error))?;
        let Some((name, meta)) = written else { return Ok(()) };
        info!(block = name, sources = sources.len(), samples = meta.samples, "blocks merged");
        let merged = Arc::new(Block::new(&self.folder.join(&name), &name, meta));
        let mut list = self.write();
        // A query may have set one of them aside meanwhile; what was read of it was right.
        list.retain(|block| sources.iter().all(|source| source.name != block.name));
        list.push(merged);
        list.sort_by(|one, other| one.order().cmp(&other.order()));
        drop(list);
        for source in sources {
            self.cache.remove(&source.name);
            source.doomed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl BlockError {
    /// Whether trying again would find the same.
    fn is_lasting(&self) -> bool {
        self.is_distrust() || matches!(self, BlockError::BadChunk { .. })
    }
}

/// One source of a merge, series by series.
struct Row<'a> {
    block: &'a Arc<Block>,
    opened: Opened,
    maker: LabelMaker,
    next: SeriesId,
    /// Of the series that comes next.
    refs: Vec<ChunkRef>,
    labels: Option<Labels>,
}

impl Row<'_> {
    fn advance(&mut self) -> Result<(), BlockError> {
        self.refs.clear();
        self.labels = None;
        while self.labels.is_none() && self.next < self.opened.index.series {
            let labels = self.maker.series(&self.opened.index, self.next, EVER, &mut self.refs);
            self.labels = labels.map_err(|broken| broken.at(self.block))?;
            self.next += 1;
        }
        Ok(())
    }
}
