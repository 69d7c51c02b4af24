//! What evaluation asks of a store, and what scraping and rules give it.

use std::collections::BTreeSet;
use std::ops::{AddAssign, ControlFlow};
use std::time::Duration;

use super::engine::Engine;
use super::labels::Labels;
use super::matcher::Matcher;
use super::sample::{Sample, Series, Timestamp, is_stale};

/// The read side: the embedded store, or a remote one that is asked the same questions.
///
/// Times bound what counts as there: a series has to have a sample in `from..=to`. A store may
/// answer the questions about names and values from what it has indexed, and so name too much.
pub trait Querier: Send + Sync {
    /// Shows `each` every series that all of `matchers` match, with its samples in `from..=to`,
    /// oldest first, until it breaks off.
    ///
    /// Sorted by labels; series without a sample in the range are left out. Stale markers are
    /// shown as they were stored: lookback needs to see them.
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// What `visit` shows, kept.
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Series>, StoreError> {
        let mut found = Vec::new();
        self.visit(matchers, from, to, &mut |labels, samples| {
            found.push(Series { labels: labels.clone(), samples: samples.to_vec() });
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// What an instant selector finds: the last value of each matching series, not older than
    /// `lookback`, of series that have not ended.
    fn latest(
        &self,
        matchers: &[Matcher],
        at: Timestamp,
        lookback: Duration,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        let mut found = Vec::new();
        // The lookback is open to the left.
        let from = Timestamp(at.minus(lookback).0.saturating_add(1));
        self.visit(matchers, from, at, &mut |labels, samples| {
            let last = samples.last().map(|sample| sample.value).filter(|value| !is_stale(*value));
            found.extend(last.map(|value| (labels.clone(), value)));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// What a series' samples in `from..=to` say about when the counting began: the time of the
    /// sample, ascending, and that of the start. Most stores, and most samples, say nothing.
    fn starts(&self, _: &Labels, _: Timestamp, _: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        Vec::new()
    }

    /// The label sets of the matching series, sorted.
    fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        let mut found = Vec::new();
        self.visit(matchers, from, to, &mut |labels, _| {
            found.push(labels.clone());
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Names of the labels of the matching series, sorted.
    fn label_names(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let found = self.series(matchers, from, to)?;
        let names: BTreeSet<_> =
            found.iter().flat_map(Labels::iter).map(|(name, _)| name).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// Values that `name` has among the matching series, sorted.
    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let found = self.series(matchers, from, to)?;
        let values: BTreeSet<_> = found.iter().filter_map(|labels| labels.get(name)).collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    /// Who evaluates expressions over this store, where that is not this program.
    fn engine(&self) -> Option<&dyn Engine> {
        None
    }
}

/// The write side. What an append returned `Ok` for is durable, where the store is, and visible to
/// the next `visit`.
pub trait Appender: Send + Sync {
    /// Adds the samples it can and counts the rest by reason; an error means that none of them is
    /// acknowledged.
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError>;

    /// As `append`, but on disk only when [`Appender::settle`] has returned: for a caller with more
    /// to append before its work counts.
    fn append_unsettled(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        self.append(samples)
    }

    /// Returns when all that was appended before is on disk.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// As `append`, for a caller that has label sets only as text.
    fn append_incoming(&self, batch: &[Incoming<'_>]) -> Result<Appended, StoreError> {
        let mut samples = Vec::new();
        for incoming in batch {
            let labels = Labels::from_pairs(incoming.labels.iter().copied());
            samples.extend(incoming.samples.iter().map(|sample| (labels.clone(), *sample)));
        }
        self.append(&samples)
    }
}

/// Some samples of one series on their way in.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Sorted by name, no name twice, no empty value.
    pub labels: &'a [(&'a str, &'a str)],
    pub samples: &'a [Sample],
}

/// A store that rules can evaluate over and write back to.
pub trait Store: Querier + Appender {}
impl<T: Querier + Appender> Store for T {}

/// How one batch went: every sample is in exactly one count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Stored, or already there with the same value.
    pub accepted: usize,
    /// Another value was already stored at that timestamp; the first one stays.
    pub duplicate: usize,
    /// Older than the newest sample of its series, by more than the store allows.
    pub out_of_order: usize,
    /// Older than anything that the store still takes.
    pub too_old: usize,
    /// Further ahead of now than the store allows.
    pub too_new: usize,
    /// Too many labels, or one too long.
    pub bad_labels: usize,
    /// The store holds as many series as it may.
    pub over_limit: usize,
}

impl Appended {
    /// What was not stored, by a short name of the reason as metrics have it.
    pub fn refused(&self) -> [(&'static str, usize); 6] {
        [
            ("duplicate", self.duplicate),
            ("out_of_order", self.out_of_order),
            ("too_old", self.too_old),
            ("too_new", self.too_new),
            ("bad_labels", self.bad_labels),
            ("over_limit", self.over_limit),
        ]
    }
}

impl AddAssign for Appended {
    fn add_assign(&mut self, other: Appended) {
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.out_of_order += other.out_of_order;
        self.too_old += other.too_old;
        self.too_new += other.too_new;
        self.bad_labels += other.bad_labels;
        self.over_limit += other.over_limit;
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("query would load more than {limit} samples")]
    TooManySamples { limit: usize },
    #[error("query would touch more than {limit} series")]
    TooManySeries { limit: usize },
    #[error("store is not available: {0}")]
    Unavailable(String),
    /// An engine elsewhere says that the question is wrong.
    #[error("{0}")]
    BadData(String),
    /// An engine elsewhere says that the data or its limits do not allow the question.
    #[error("{0}")]
    Execution(String),
    #[error("{0}")]
    TimedOut(String),
    #[error("query was cancelled")]
    Cancelled,
}
