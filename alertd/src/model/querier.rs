//! What evaluation asks of a store, and what scraping and rules give it.

use super::labels::Labels;
use super::matcher::Matcher;
use super::sample::{Sample, Series, Timestamp};

/// The read side: the embedded store now; the same questions go to a remote one.
pub trait Querier: Send + Sync {
    /// Every series that all of `matchers` match, with its samples in `from..=to`.
    ///
    /// Sorted by labels; series without a sample in the range are left out. Stale markers are
    /// returned as they were stored: lookback needs to see them.
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Series>, StoreError>;

    /// Names of the labels of the matching series, sorted.
    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StoreError>;

    /// Values that `name` has among the matching series, sorted.
    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StoreError>;
}

/// The write side. What `append` returned `Ok` for is visible to the next `select`.
pub trait Appender: Send + Sync {
    /// Adds the samples it can and counts the rest by reason; an error means that none was taken.
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError>;
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
    /// Older than what the store still takes for that series.
    pub out_of_order: usize,
    /// The store holds as many series as it may.
    pub over_limit: usize,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("query would load more than {limit} samples")]
    TooManySamples { limit: usize },
    #[error("query would touch more than {limit} series")]
    TooManySeries { limit: usize },
    #[error("store is not available: {0}")]
    Unavailable(String),
}
