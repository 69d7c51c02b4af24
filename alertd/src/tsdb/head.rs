//! Series in memory: labels to samples, found through the index.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::sample::{Sample, Timestamp};

use super::index::{Index, SeriesId};
use super::series::{Outcome, Samples};
use super::{Limits, Stats};

#[derive(Debug, Default)]
pub(super) struct Head {
    series: HashMap<SeriesId, Arc<Entry>>,
    ids: HashMap<Labels, SeriesId>,
    index: Index,
    next_id: SeriesId,
}

/// One series. Its lock is held for one append or one copy at a time.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) labels: Labels,
    samples: Mutex<Samples>,
}

impl Entry {
    pub(super) fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    /// `None` when there is no such series yet.
    pub(super) fn append(
        &self,
        labels: &Labels,
        sample: Sample,
        limits: &Limits,
    ) -> Option<Outcome> {
        let entry = self.series.get(self.ids.get(labels)?)?;
        Some(entry.samples().append(sample, limits.out_of_order_window))
    }

    /// False when there may be no further series.
    pub(super) fn create(&mut self, labels: &Labels, limits: &Limits) -> bool {
        if self.ids.contains_key(labels) {
            return true;
        }
        if self.series.len() >= limits.max_series {
            return false;
        }
        let id = self.next_id;
        self.next_id += 1;
        let labels = self.index.insert(id, labels);
        self.ids.insert(labels.clone(), id);
        self.series.insert(id, Arc::new(Entry { labels, samples: Mutex::default() }));
        true
    }

    /// Every series that all matchers match, in no particular order.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = &Arc<Entry>> {
        let ids = self.index.candidates(matchers);
        let ids = ids.unwrap_or_else(|| self.series.keys().copied().collect());
        ids.into_iter()
            .filter_map(|id| self.series.get(&id))
            .filter(|entry| matchers.iter().all(|one| one.matches_labels(&entry.labels)))
    }

    pub(super) fn label_names(&self, matchers: &[Matcher]) -> Vec<String> {
        if matchers.is_empty() {
            return self.index.names().map(str::to_owned).collect();
        }
        let found = self.matching(matchers);
        let names: BTreeSet<_> =
            found.flat_map(|entry| entry.labels.iter().map(|(name, _)| name)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn label_values(&self, name: &str, matchers: &[Matcher]) -> Vec<String> {
        if matchers.is_empty() {
            return self.index.values(name).map(str::to_owned).collect();
        }
        let found = self.matching(matchers);
        let values: BTreeSet<_> = found.filter_map(|entry| entry.labels.get(name)).collect();
        values.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn drop_before(&mut self, oldest: Timestamp) {
        let (ids, index) = (&mut self.ids, &mut self.index);
        self.series.retain(|id, entry| {
            let keep = entry.samples().drop_before(oldest);
            if !keep {
                ids.remove(&entry.labels);
                index.remove(*id, &entry.labels);
            }
            keep
        });
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats { series: self.series.len(), ..Stats::default() };
        for entry in self.series.values() {
            let (samples, bytes) = entry.samples().size();
            stats.samples += samples;
            stats.bytes += bytes;
        }
        stats
    }
}
