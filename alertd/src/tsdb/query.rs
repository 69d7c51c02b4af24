//! The read side of the store.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::{Sample, Timestamp, is_stale};

use super::Tsdb;
use super::block::decode;
use super::chunk::Chunk;
use super::head::Entry;
use super::series::Samples;

impl Querier for Tsdb {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let _reading = self.reading();
        let limit = self.limits.max_select_samples;
        let mut left = limit;
        let cut = from.max(self.cut());
        let head = self.matching(matchers);
        let mut head = head.iter().peekable();
        let older = self.older(matchers, from, to)?;
        let mut older = older.into_iter().peekable();
        let mut samples = Vec::new();
        loop {
            let order = match (older.peek(), head.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((labels, _)), Some(entry)) => labels.cmp(&entry.labels),
            };
            samples.clear();
            let part = older.next_if(|_| order.is_le());
            if let Some((labels, chunks)) = &part {
                decode(chunks, from, to, &mut samples).map_err(|error| {
                    StoreError::Unavailable(format!("block with {labels}: {error}"))
                })?;
            }
            let entry = head.next_if(|_| order.is_ge());
            if let Some(entry) = entry {
                let before = samples.len();
                read(entry, &entry.samples(), cut, to, &mut samples);
                unite(&mut samples, before);
            }
            let labels = entry.map(|entry| &entry.labels).or(part.as_ref().map(|part| &part.0));
            left = left.checked_sub(samples.len()).ok_or(StoreError::TooManySamples { limit })?;
            if let Some(labels) = labels.filter(|_| !samples.is_empty())
                && each(labels, &samples).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn latest(
        &self,
        matchers: &[Matcher],
        at: Timestamp,
        lookback: Duration,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        let _reading = self.reading();
        let limit = self.limits.max_select_samples;
        // The lookback is open to the left.
        let from = Timestamp(at.minus(lookback).0.saturating_add(1));
        let (mut found, mut samples) = (Vec::new(), Vec::new());
        if self.disk.as_ref().is_some_and(|disk| disk.blocks.any_between(from, at)) {
            self.visit(matchers, from, at, &mut |labels, samples| {
                let last = samples.last().map(|sample| sample.value);
                let last = last.filter(|value| !is_stale(*value));
                found.extend(last.map(|value| (labels.clone(), value)));
                ControlFlow::Continue(())
            })?;
            return Ok(found);
        }
        let from = from.max(self.cut());
        for entry in self.matching(matchers) {
            let series = entry.samples();
            let last = series.last_between(from, at).or_else(|| {
                samples.clear();
                read(&entry, &series, from, at, &mut samples);
                samples.last().copied()
            });
            drop(series);
            if let Some(last) = last.filter(|last| !is_stale(last.value)) {
                found.push((entry.labels.clone(), last.value));
            }
            if found.len() > limit {
                return Err(StoreError::TooManySamples { limit });
            }
        }
        Ok(found)
    }

    fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        let _reading = self.reading();
        let cut = from.max(self.cut());
        let mut found = self.matching(matchers);
        found.retain(|entry| entry.samples().any_between(cut, to));
        let found = found.into_iter().map(|entry| entry.labels.clone());
        let Some(disk) = &self.disk else { return Ok(found.collect()) };
        let mut older = disk.blocks.series(matchers, from, to)?;
        if older.is_empty() {
            return Ok(found.collect());
        }
        older.extend(found);
        Ok(older.into_iter().collect())
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let _reading = self.reading();
        let found = (!matchers.is_empty()).then(|| self.matching(matchers));
        let mut names = self.read_head().label_names(found.as_deref());
        if let Some(disk) = &self.disk {
            disk.blocks.label_names(matchers, from, to, &mut names)?;
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let _reading = self.reading();
        let found = (!matchers.is_empty()).then(|| self.matching(matchers));
        let mut values = self.read_head().label_values(name, found.as_deref());
        if let Some(disk) = &self.disk {
            disk.blocks.label_values(name, matchers, from, to, &mut values)?;
        }
        Ok(values.into_iter().collect())
    }
}

/// Brings what was added from `start` on in order with what was there: rarely both have the same,
/// and then what was there counts.
fn unite(samples: &mut Vec<Sample>, start: usize) {
    let before = start.checked_sub(1).and_then(|last| samples.get(last));
    let apart = match (before, samples.get(start)) {
        (Some(last), Some(next)) => last.timestamp < next.timestamp,
        _ => true,
    };
    if !apart {
        samples.sort_by_key(|sample| sample.timestamp);
        samples.dedup_by_key(|sample| sample.timestamp);
    }
}

/// A chunk that cannot be read is left out, with those after it: one damaged series is no reason to
/// have none.
fn read(entry: &Entry, series: &Samples, from: Timestamp, to: Timestamp, out: &mut Vec<Sample>) {
    if series.between(from, to, out).is_err() {
        error!(series = %entry.labels, "samples cannot be read");
    }
}

impl Tsdb {
    /// What the blocks have, sorted by labels.
    fn older(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Labels, Vec<Chunk>)>, StoreError> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        disk.blocks.select(matchers, from, to, self.limits.max_select_samples)
    }

    /// Sorted by labels.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> Vec<Arc<Entry>> {
        if let Some(found) = self.read_head().matching(matchers) {
            return found;
        }
        let mut head = self.write_head();
        head.put_in_order();
        head.matching(matchers).unwrap_or_default()
    }
}
