//! What queries ask of the blocks.

use std::collections::BTreeSet;

use super::coding::Broken;
use super::folder::INDEX;
use super::index::ChunkRef;
use super::matching::matching;
use super::opened::{LabelMaker, Opened};
use super::{Block, BlockError, Blocks};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::StoreError;
use crate::model::sample::Timestamp;
use crate::tsdb::chunk::Chunk;

/// A closed range of time.
type Range = (Timestamp, Timestamp);
/// Series with how many chunks each has, and the chunks of all of them.
type Found = (Vec<(Labels, usize)>, Vec<ChunkRef>);

impl Blocks {
    /// The series that all matchers match, sorted by labels, with their chunks in `from..=to` by
    /// their first sample; chunks of blocks that overlap may overlap.
    ///
    /// # Errors
    /// When chunks with more than `limit` samples lie within the range, and when a block cannot be
    /// read; the message names it.
    pub(in crate::tsdb) fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Labels, Vec<Chunk>)>, StoreError> {
        let mut found = Vec::new();
        let mut left = limit;
        for block in self.overlapping(from, to) {
            let part = self.ask(&block, |opened| {
                let (series, refs) = find(opened, &block, matchers, (from, to))?;
                let inside = refs.iter().filter(|one| one.first >= from && one.last <= to);
                let samples = inside.map(|one| one.count as usize).fold(0, usize::saturating_add);
                Ok(match left.checked_sub(samples) {
                    None => None,
                    Some(rest) => {
                        left = rest;
                        Some((series, opened.chunks(&block.folder, &refs)?))
                    }
                })
            })?;
            let (series, chunks) = part.ok_or(StoreError::TooManySamples { limit })?;
            let mut chunks = chunks.into_iter();
            let part = series.into_iter().map(|(labels, count)| {
                let chunks = chunks.by_ref().take(count).collect();
                (labels, chunks)
            });
            found = if found.is_empty() { part.collect() } else { join(found, part) };
        }
        for (_, chunks) in &mut found {
            // Of overlapping blocks; the sort is cheap where nothing is to be done.
            chunks.sort_by_key(|chunk| chunk.first);
        }
        Ok(found)
    }

    /// Labels of the matching series that have a chunk in the range, sorted.
    pub(in crate::tsdb) fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<BTreeSet<Labels>, StoreError> {
        let mut found = BTreeSet::new();
        for block in self.overlapping(from, to) {
            let (series, _) =
                self.ask(&block, |opened| find(opened, &block, matchers, (from, to)))?;
            found.extend(series.into_iter().map(|(labels, _)| labels));
        }
        Ok(found)
    }

    /// Adds the label names of matching series in blocks that overlap the range.
    pub(in crate::tsdb) fn label_names(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        out: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        for block in self.overlapping(from, to) {
            self.ask(&block, |opened| {
                names(opened, matchers, out).map_err(|broken| broken.at(&block))
            })?;
        }
        Ok(())
    }

    /// Adds the values that matching series in blocks that overlap the range have for `name`.
    pub(in crate::tsdb) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        out: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        for block in self.overlapping(from, to) {
            self.ask(&block, |opened| {
                values(opened, name, matchers, out).map_err(|broken| broken.at(&block))
            })?;
        }
        Ok(())
    }

    fn ask<T>(
        &self,
        block: &Block,
        question: impl FnOnce(&Opened) -> Result<T, BlockError>,
    ) -> Result<T, StoreError> {
        let answer = self.opened(block).and_then(|opened| question(&opened));
        answer.map_err(|error| self.blame(block, &error))
    }
}

impl Broken {
    pub(super) fn at(self, block: &Block) -> BlockError {
        BlockError::corrupt(&block.folder.join(INDEX), self.0)
    }
}

/// The matching series with how many chunks each has in the range, and those chunks.
fn find(
    opened: &Opened,
    block: &Block,
    matchers: &[Matcher],
    range: Range,
) -> Result<Found, BlockError> {
    let mut maker = LabelMaker::default();
    let (mut series, mut refs) = (Vec::new(), Vec::new());
    let ids = matching(&opened.index, matchers).map_err(|broken| broken.at(block))?;
    for id in ids {
        let before = refs.len();
        let labels = maker.series(&opened.index, id, range, &mut refs);
        if let Some(labels) = labels.map_err(|broken| broken.at(block))? {
            series.push((labels, refs.len() - before));
        }
    }
    Ok((series, refs))
}

fn names(opened: &Opened, matchers: &[Matcher], out: &mut BTreeSet<String>) -> Result<(), Broken> {
    let index = &opened.index;
    if matchers.is_empty() {
        for name in index.names() {
            insert(out, name?);
        }
        return Ok(());
    }
    let (mut symbols, mut found) = (Vec::new(), BTreeSet::new());
    for id in matching(index, matchers)? {
        index.labels(id, &mut symbols)?;
        found.extend(symbols.iter().map(|(name, _)| *name));
    }
    for name in found {
        insert(out, index.symbol(name)?);
    }
    Ok(())
}

fn values(
    opened: &Opened,
    name: &str,
    matchers: &[Matcher],
    out: &mut BTreeSet<String>,
) -> Result<(), Broken> {
    let index = &opened.index;
    let Some((name, values)) = index.name(name)? else { return Ok(()) };
    if matchers.is_empty() {
        for value in values {
            insert(out, index.value(value)?);
        }
        return Ok(());
    }
    let mut found = BTreeSet::new();
    for id in matching(index, matchers)? {
        found.extend(index.value_of(id, name)?);
    }
    for value in found {
        insert(out, index.symbol(value)?);
    }
    Ok(())
}

fn insert(out: &mut BTreeSet<String>, text: &str) {
    if !out.contains(text) {
        out.insert(text.to_owned());
    }
}

/// One list out of two that are sorted by labels.
fn join(
    one: Vec<(Labels, Vec<Chunk>)>,
    other: impl Iterator<Item = (Labels, Vec<Chunk>)>,
) -> Vec<(Labels, Vec<Chunk>)> {
    let mut joined = Vec::with_capacity(one.len());
    let mut one = one.into_iter().peekable();
    for (labels, chunks) in other {
        while let Some(before) = one.next_if(|(known, _)| *known < labels) {
            joined.push(before);
        }
        match one.next_if(|(known, _)| *known == labels) {
            Some((known, mut all)) => {
                all.extend(chunks);
                joined.push((known, all));
            }
            None => joined.push((labels, chunks)),
        }
    }
    joined.extend(one);
    joined
}
