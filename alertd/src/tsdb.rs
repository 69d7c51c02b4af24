//! The embedded store: series in memory behind `Querier` and `Appender`.

mod chunk;
mod head;
mod index;
mod series;

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Querier, StoreError};
use crate::model::sample::{Sample, Timestamp};

use self::head::{Entry, Head};
use self::series::Outcome;

#[derive(Debug, Clone)]
pub struct Limits {
    /// Series that are kept; samples of further ones are refused and counted.
    pub max_series: usize,
    /// How long samples are kept, counted from their timestamp.
    pub retention: Duration,
    /// How far behind the newest sample of its series a sample may be; zero refuses all such.
    pub out_of_order_window: Duration,
    /// Samples that one `select` may return.
    pub max_select_samples: usize,
}

/// Reading holds the common lock only while it looks series up, and each series' own lock while it
/// copies that one; appending to known series needs no more.
#[derive(Debug)]
pub struct Tsdb {
    limits: Limits,
    head: RwLock<Head>,
}

/// What the store holds now, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub series: usize,
    pub samples: usize,
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_series: 500_000,
            retention: Duration::from_secs(15 * 86_400),
            out_of_order_window: Duration::ZERO,
            max_select_samples: 50_000_000,
        }
    }
}

impl Tsdb {
    pub fn new(limits: Limits) -> Tsdb {
        Tsdb { limits, head: RwLock::default() }
    }

    /// Forgets samples older than the retention, and series that have none left.
    pub fn expire(&self, now: Timestamp) {
        self.write().drop_before(now.minus(self.limits.retention));
    }

    pub fn stats(&self) -> Stats {
        self.read().stats()
    }

    // A panic elsewhere cannot leave the maps half changed in a way that a reader would notice.
    fn read(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let mut entries: Vec<Arc<Entry>> = self.read().matching(matchers).cloned().collect();
        entries.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        for entry in entries {
            let samples = entry.samples().between(from, to);
            left = left.checked_sub(samples.len()).ok_or(StoreError::TooManySamples { limit })?;
            if !samples.is_empty() && each(&entry.labels, &samples).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        Ok(self.read().label_names(matchers))
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        Ok(self.read().label_values(name, matchers))
    }
}

impl Appender for Tsdb {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        let mut appended = Appended::default();
        let mut new = Vec::new();
        let head = self.read();
        for (labels, sample) in samples {
            match head.append(labels, *sample, &self.limits) {
                Some(outcome) => count(&mut appended, outcome),
                None => new.push((labels, sample)),
            }
        }
        drop(head);
        if new.is_empty() {
            return Ok(appended);
        }
        let mut head = self.write();
        for (labels, sample) in new {
            let known = head.create(labels, &self.limits);
            match head.append(labels, *sample, &self.limits).filter(|_| known) {
                Some(outcome) => count(&mut appended, outcome),
                None => appended.over_limit += 1,
            }
        }
        Ok(appended)
    }
}

fn count(appended: &mut Appended, outcome: Outcome) {
    match outcome {
        Outcome::Accepted => appended.accepted += 1,
        Outcome::Duplicate => appended.duplicate += 1,
        Outcome::OutOfOrder => appended.out_of_order += 1,
    }
}

#[cfg(test)]
mod tests;
