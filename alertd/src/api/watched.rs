//! `Watched`: the store as one query sees it: bounded in series, and left once nobody waits any more.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::model::engine::Engine;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::{Sample, Timestamp};

pub(super) struct Watched<'a> {
    store: &'a dyn Querier,
    max_series: usize,
    cancel: &'a AtomicBool,
    /// Series shown so far, by all selectors of the query.
    series: AtomicUsize,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        store: &'a dyn Querier,
        max_series: usize,
        cancel: &'a AtomicBool,
    ) -> Watched<'a> {
        Watched { store, max_series, cancel, series: AtomicUsize::new(0) }
    }

    /// Counts further series against the limit, and looks whether anybody still waits.
    fn pass(&self, series: usize) -> Result<(), StoreError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(StoreError::Cancelled);
        }
        let before = self.series.fetch_add(series, Ordering::Relaxed);
        match before.saturating_add(series) > self.max_series {
            true => Err(StoreError::TooManySeries { limit: self.max_series }),
            false => Ok(()),
        }
    }
}

impl Querier for Watched<'_> {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut refused = None;
        self.store.visit(matchers, from, to, &mut |labels, samples| match self.pass(1) {
            Ok(()) => each(labels, samples),
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        })?;
        refused.map_or(Ok(()), Err)
    }

    // What a store answers from its index, it answers itself; what it found is counted afterwards.

    fn latest(
        &self,
        matchers: &[Matcher],
        at: Timestamp,
        lookback: Duration,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        let found = self.store.latest(matchers, at, lookback)?;
        self.pass(found.len()).map(|()| found)
    }

    fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        let found = self.store.series(matchers, from, to)?;
        self.pass(found.len()).map(|()| found)
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let found = self.store.label_names(matchers, from, to)?;
        self.pass(found.len()).map(|()| found)
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let found = self.store.label_values(name, matchers, from, to)?;
        self.pass(found.len()).map(|()| found)
    }

    fn engine(&self) -> Option<&dyn Engine> {
        self.store.engine()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::querier::Appender;
    use crate::tsdb::{Limits, Tsdb};

    #[test]
    fn series_are_counted_over_all_questions_and_cancelling_ends_each() {
        let store = Tsdb::new(Limits::default());
        let labels = |i: &str| Labels::from_pairs([("__name__", "x"), ("i", i)]);
        let sample = Sample { timestamp: Timestamp(1), value: 1.0 };
        store.append(&["1", "2", "3"].map(|i| (labels(i), sample))).unwrap();
        let (all, cancel) = ([Matcher::equal("__name__", "x")], AtomicBool::new(false));
        let (from, to) = (Timestamp(0), Timestamp(2));

        let watched = Watched::new(&store, 6, &cancel);
        assert_eq!(watched.select(&all, from, to).unwrap().len(), 3);
        assert_eq!(watched.series(&all, from, to).unwrap().len(), 3);
        let seventh = watched.select(&all, from, to);
        assert!(matches!(seventh, Err(StoreError::TooManySeries { limit: 6 })), "{seventh:?}");

        let watched = Watched::new(&store, 6, &cancel);
        let mut seen = 0;
        let stopped = watched.visit(&all, from, to, &mut |_, _| {
            seen += 1;
            cancel.store(true, Ordering::Relaxed);
            ControlFlow::Continue(())
        });
        assert!(matches!(stopped, Err(StoreError::Cancelled)), "{stopped:?}");
        assert_eq!(seen, 1);
        assert!(watched.label_names(&all, from, to).is_err());
    }
}
