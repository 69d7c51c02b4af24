//! Series in memory: labels to samples, found through the index.

use std::collections::{BTreeSet, HashMap};
use std::mem::size_of;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::sample::{Sample, Timestamp};

use super::index::{Index, SeriesId};
use super::{Limits, Stats};

#[derive(Debug, Default)]
pub(super) struct Head {
    series: HashMap<SeriesId, (Labels, Stored)>,
    ids: HashMap<Labels, SeriesId>,
    index: Index,
    next_id: SeriesId,
}

/// Samples of one series, oldest first, no two at one timestamp.
#[derive(Debug, Default)]
pub(super) struct Stored {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Duplicate,
    OutOfOrder,
    OverLimit,
}

impl Head {
    pub(super) fn append(&mut self, labels: &Labels, sample: Sample, limits: &Limits) -> Outcome {
        let id = match self.ids.get(labels) {
            Some(id) => *id,
            None if self.series.len() >= limits.max_series => return Outcome::OverLimit,
            None => self.create(labels),
        };
        match self.series.get_mut(&id) {
            Some((_, stored)) => stored.append(sample, limits),
            None => Outcome::OverLimit,
        }
    }

    /// Every series that all matchers match, in no particular order.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = (Labels, &Stored)> {
        let ids = self.index.candidates(matchers);
        let ids = ids.unwrap_or_else(|| self.series.keys().copied().collect());
        ids.into_iter()
            .filter_map(|id| self.series.get(&id))
            .filter(|(labels, _)| matchers.iter().all(|matcher| matcher.matches_labels(labels)))
            .map(|(labels, stored)| (labels.clone(), stored))
    }

    pub(super) fn label_names(&self, matchers: &[Matcher]) -> Vec<String> {
        if matchers.is_empty() {
            return self.index.names().map(str::to_owned).collect();
        }
        let mut names = BTreeSet::new();
        for (labels, _) in self.matching(matchers) {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        names.into_iter().collect()
    }

    pub(super) fn label_values(&self, name: &str, matchers: &[Matcher]) -> Vec<String> {
        if matchers.is_empty() {
            return self.index.values(name).map(str::to_owned).collect();
        }
        let found = self.matching(matchers);
        let values: BTreeSet<_> =
            found.filter_map(|(labels, _)| labels.get(name).map(str::to_owned)).collect();
        values.into_iter().collect()
    }

    pub(super) fn drop_before(&mut self, oldest: Timestamp) {
        let (ids, index) = (&mut self.ids, &mut self.index);
        self.series.retain(|id, (labels, stored)| {
            stored.drop_before(oldest);
            let keep = !stored.samples.is_empty();
            if !keep {
                ids.remove(labels);
                index.remove(*id, labels);
            }
            keep
        });
    }

    pub(super) fn stats(&self) -> Stats {
        let samples = self.series.values().map(|(_, stored)| stored.samples.len()).sum();
        let bytes =
            self.series.values().map(|(_, stored)| stored.samples.capacity()).sum::<usize>()
                * size_of::<Sample>();
        Stats { series: self.series.len(), samples, bytes }
    }

    fn create(&mut self, labels: &Labels) -> SeriesId {
        let id = self.next_id;
        self.next_id += 1;
        let labels = self.index.insert(id, labels);
        self.ids.insert(labels.clone(), id);
        self.series.insert(id, (labels, Stored::default()));
        id
    }
}

impl Stored {
    pub(super) fn between(&self, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let low = self.samples.partition_point(|sample| sample.timestamp < from);
        let high = self.samples.partition_point(|sample| sample.timestamp <= to);
        self.samples.get(low..high).unwrap_or(&[]).to_vec()
    }

    fn append(&mut self, sample: Sample, limits: &Limits) -> Outcome {
        let Some(newest) = self.samples.last() else {
            self.samples.push(sample);
            return Outcome::Accepted;
        };
        if sample.timestamp > newest.timestamp {
            self.samples.push(sample);
            return Outcome::Accepted;
        }
        let oldest_taken = newest.timestamp.minus(limits.out_of_order_window);
        match self.samples.binary_search_by_key(&sample.timestamp, |known| known.timestamp) {
            Ok(at) => match self.samples.get(at) {
                Some(known) if known.value.to_bits() == sample.value.to_bits() => Outcome::Accepted,
                _ => Outcome::Duplicate,
            },
            Err(_) if sample.timestamp < oldest_taken => Outcome::OutOfOrder,
            Err(at) => {
                self.samples.insert(at, sample);
                Outcome::Accepted
            }
        }
    }

    fn drop_before(&mut self, oldest: Timestamp) {
        let keep_from = self.samples.partition_point(|sample| sample.timestamp < oldest);
        self.samples.drain(..keep_from);
        if self.samples.len() * 4 < self.samples.capacity() {
            self.samples.shrink_to_fit();
        }
    }
}
