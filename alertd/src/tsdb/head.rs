//! Series in memory: found by their labels or through the index, and put in the order of labels.

mod order;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;

use self::order::Order;
use super::index::{Index, SeriesId};
use super::series::Samples;

#[derive(Debug, Default)]
pub(super) struct Head {
    series: HashMap<SeriesId, Arc<Entry>, DefaultHashBuilder>,
    by_labels: HashTable<Arc<Entry>>,
    hasher: DefaultHashBuilder,
    index: Index,
    order: Order,
    next_id: SeriesId,
}

/// One series. Its lock is held for one append or one copy at a time.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SeriesId,
    pub(super) labels: Labels,
    hash: u64,
    /// Place in the order of labels; 0 until it has one.
    rank: AtomicU64,
    samples: Mutex<Samples>,
}

/// A label set, sorted, in whatever form it came.
pub(super) trait Pairs {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)>;
}

impl Pairs for Labels {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.iter()
    }
}

impl Pairs for [(&str, &str)] {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.iter().copied()
    }
}

impl Entry {
    // A panic elsewhere cannot leave samples half changed in a way that a reader would notice.
    pub(super) fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rank(&self) -> u64 {
        self.rank.load(Ordering::Relaxed)
    }
}

impl Head {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn get(&self, id: SeriesId) -> Option<&Arc<Entry>> {
        self.series.get(&id)
    }

    pub(super) fn find<P: Pairs + ?Sized>(&self, labels: &P) -> Option<&Arc<Entry>> {
        self.by_labels.find(self.hash(labels), |entry| {
            let known = entry.labels.iter();
            known.len() == labels.pairs().len() && known.eq(labels.pairs())
        })
    }

    /// Adds a series that is not there yet, under the next id.
    pub(super) fn create<P: Pairs + ?Sized>(&mut self, labels: &P) -> Arc<Entry> {
        self.restore(self.next_id, labels)
    }

    /// Adds a series that is not there yet, under an id that it had before.
    pub(super) fn restore<P: Pairs + ?Sized>(&mut self, id: SeriesId, labels: &P) -> Arc<Entry> {
        self.skip_id(id);
        let entry = Arc::new(Entry {
            id,
            hash: self.hash(labels),
            labels: self.index.insert(id, labels.pairs()),
            rank: AtomicU64::new(0),
            samples: Mutex::default(),
        });
        self.by_labels.insert_unique(entry.hash, entry.clone(), |one| one.hash);
        self.series.insert(id, entry.clone());
        self.order.add(entry.clone());
        entry
    }

    /// The id has been given to some series already.
    pub(super) fn skip_id(&mut self, id: SeriesId) {
        self.next_id = self.next_id.max(id.saturating_add(1));
    }

    pub(super) fn next_id(&self) -> SeriesId {
        self.next_id
    }

    /// Whether [`Head::matching`] should be preceded by [`Head::put_in_order`].
    pub(super) fn is_out_of_order(&self) -> bool {
        self.order.is_behind()
    }

    pub(super) fn put_in_order(&mut self) {
        self.order.catch_up();
    }

    /// All series, by labels once they are in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.order.iter()
    }

    /// Every series that all matchers match, sorted by labels. `None` when there are so many that
    /// they should be put in order first.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> Option<Vec<Arc<Entry>>> {
        /// So few are sorted by comparing texts while new series are not in order.
        const FEW: usize = 256;
        let found = self.index.find(matchers);
        let right = |entry: &&Arc<Entry>| {
            found.unchecked.iter().all(|matcher| matcher.matches_labels(&entry.labels))
        };
        let Some(ids) = &found.ids else {
            let sorted = !self.is_out_of_order();
            return sorted.then(|| self.all().filter(right).cloned().collect());
        };
        let entries = ids.iter().filter_map(|id| self.series.get(id)).filter(right);
        if self.is_out_of_order() {
            if ids.len() > FEW || !self.order.put_off(ids.len()) {
                return None;
            }
            let mut entries: Vec<_> = entries.cloned().collect();
            entries.sort_unstable_by(order::by_labels);
            return Some(entries);
        }
        let mut ranked: Vec<_> = entries.map(|entry| (entry.rank(), entry)).collect();
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        Some(ranked.into_iter().map(|(_, entry)| entry.clone()).collect())
    }

    /// Names of all labels, or those of these series.
    pub(super) fn label_names(&self, of: Option<&[Arc<Entry>]>) -> BTreeSet<String> {
        let Some(entries) = of else {
            return self.index.names().map(str::to_owned).collect();
        };
        let names: HashSet<&str> =
            entries.iter().flat_map(|entry| entry.labels.iter().map(|(name, _)| name)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// All values of a label, or those that these series have.
    pub(super) fn label_values(&self, name: &str, of: Option<&[Arc<Entry>]>) -> BTreeSet<String> {
        let Some(entries) = of else {
            return self.index.values(name).map(str::to_owned).collect();
        };
        let values: HashSet<&str> =
            entries.iter().filter_map(|entry| entry.labels.get(name)).collect();
        values.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn remove(&mut self, gone: &[Arc<Entry>]) {
        let ids: HashSet<SeriesId> = gone.iter().map(|entry| entry.id).collect();
        self.index.remove(&ids, gone.iter().flat_map(|entry| entry.labels.pairs()));
        self.series.retain(|id, _| !ids.contains(id));
        self.by_labels.retain(|entry| !ids.contains(&entry.id));
        self.order.retain(|entry| !ids.contains(&entry.id));
        self.series.shrink_to(self.series.len() * 2);
        self.by_labels.shrink_to(self.series.len() * 2, |entry| entry.hash);
    }

    /// Bytes that series, labels and samples take, roughly.
    pub(super) fn bytes(&self) -> usize {
        let own = |entry: &Arc<Entry>| {
            let labels = entry.labels.len() * size_of::<(Arc<str>, Arc<str>)>();
            // Three tables point to it, and it counts its references.
            size_of::<Entry>() + labels + 7 * size_of::<usize>() + entry.samples().size().1
        };
        self.series.values().map(own).sum::<usize>() + self.index.bytes()
    }

    fn hash<P: Pairs + ?Sized>(&self, labels: &P) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for (name, value) in labels.pairs() {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
            hasher.write(value.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }
}
