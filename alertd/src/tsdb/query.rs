//! The read side of the store.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::{Sample, Timestamp, is_stale};

use super::Tsdb;
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
        let limit = self.limits.max_select_samples;
        let mut left = limit;
        let from = from.max(self.cut());
        let mut samples = Vec::new();
        for entry in self.matching(matchers) {
            samples.clear();
            read(&entry, &entry.samples(), from, to, &mut samples);
            left = left.checked_sub(samples.len()).ok_or(StoreError::TooManySamples { limit })?;
            if !samples.is_empty() && each(&entry.labels, &samples).is_break() {
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
        let limit = self.limits.max_select_samples;
        // The lookback is open to the left.
        let from = Timestamp(at.minus(lookback).0.saturating_add(1)).max(self.cut());
        let (mut found, mut samples) = (Vec::new(), Vec::new());
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
        let from = from.max(self.cut());
        let mut found = self.matching(matchers);
        found.retain(|entry| entry.samples().any_between(from, to));
        Ok(found.iter().map(|entry| entry.labels.clone()).collect())
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let found = (!matchers.is_empty()).then(|| self.matching(matchers));
        Ok(self.read_head().label_names(found.as_deref()).into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let found = (!matchers.is_empty()).then(|| self.matching(matchers));
        Ok(self.read_head().label_values(name, found.as_deref()).into_iter().collect())
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
