//! The read side of the store.

use std::ops::ControlFlow;
use std::sync::Arc;

use tracing::error;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::{Sample, Timestamp};

use super::Tsdb;
use super::head::Entry;

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
        let from = from.max(self.oldest());
        let mut samples = Vec::new();
        for entry in self.matching(matchers) {
            samples.clear();
            if entry.samples().between(from, to, &mut samples).is_err() {
                // Checked when it was read from disk: this is damage in memory.
                error!(series = %entry.labels, "samples cannot be read");
                continue;
            }
            left = left.checked_sub(samples.len()).ok_or(StoreError::TooManySamples { limit })?;
            if !samples.is_empty() && each(&entry.labels, &samples).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        let from = from.max(self.oldest());
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

impl Tsdb {
    /// Sorted by labels.
    fn matching(&self, matchers: &[Matcher]) -> Vec<Arc<Entry>> {
        if let Some(found) = self.read_head().matching(matchers) {
            return found;
        }
        let mut head = self.write_head();
        head.put_in_order();
        head.matching(matchers).unwrap_or_default()
    }
}
