//! The store of a script; beside it where a Prometheus would hold native histograms, and starts.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::{Sample, Timestamp};
use crate::tsdb::{Limits, Tsdb};

pub(super) struct Watched {
    pub(super) floats: Tsdb,
    /// Series with the times of their native histograms, milliseconds.
    natives: Vec<(Labels, Vec<i64>)>,
    starts: HashMap<Labels, BTreeMap<Timestamp, Timestamp>>,
    /// A native histogram was among what was asked for.
    seen: AtomicBool,
}

impl Default for Watched {
    fn default() -> Watched {
        let limits = Limits { out_of_order_window: Duration::MAX, ..Limits::default() };
        Watched {
            floats: Tsdb::new(limits),
            natives: Vec::new(),
            starts: HashMap::new(),
            seen: AtomicBool::new(false),
        }
    }
}

impl Watched {
    pub(super) fn add_native(&mut self, labels: &Labels, times: impl Iterator<Item = i64>) {
        let times: Vec<i64> = times.collect();
        if !times.is_empty() {
            self.natives.push((labels.clone(), times));
        }
    }

    pub(super) fn add_start(&mut self, labels: &Labels, at: Timestamp, start: Timestamp) {
        self.starts.entry(labels.clone()).or_default().insert(at, start);
    }

    /// Whether a native histogram was asked for since this was asked last.
    pub(super) fn saw_native(&self) -> bool {
        self.seen.swap(false, Ordering::Relaxed)
    }
}

impl Querier for Watched {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let native = self.natives.iter().any(|(labels, times)| {
            times.iter().any(|time| (from.0..=to.0).contains(time))
                && matchers.iter().all(|matcher| matcher.matches_labels(labels))
        });
        self.seen.fetch_or(native, Ordering::Relaxed);
        self.floats.visit(matchers, from, to, each)
    }

    fn starts(&self, of: &Labels, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let found = self.starts.get(of).map(|starts| starts.range(from..=to));
        found.into_iter().flatten().map(|(at, start)| (*at, *start)).collect()
    }
}
