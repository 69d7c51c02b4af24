//! Counts by label values that cannot grow without end, and a memory of what was counted.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::workflows::normalise::OTHER;

/// Values by label values, at most so many; what comes beyond goes to `other`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tally<V> {
    #[serde(
        with = "pairs",
        bound(serialize = "V: Serialize", deserialize = "V: Deserialize<'de>")
    )]
    entries: BTreeMap<Vec<String>, Entry<V>>,
    /// Times that something was put under `other`.
    pub(super) folded: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Entry<V> {
    value: V,
    touched: f64,
}

impl<V> Default for Tally<V> {
    fn default() -> Tally<V> {
        Tally { entries: BTreeMap::new(), folded: 0 }
    }
}

impl<V: Default> Tally<V> {
    /// The value for these label values; when `room` others are there already, the one for
    /// `other`, which keeps the last `keep` values as they are: those must be of a closed set.
    pub(super) fn at(&mut self, key: &[&str], keep: usize, room: usize, now: f64) -> &mut V {
        let mut owned: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        if self.entries.len() >= room && !self.entries.contains_key(&owned) {
            self.folded += 1;
            let open = owned.len().saturating_sub(keep);
            owned.iter_mut().take(open).for_each(|part| OTHER.clone_into(part));
        }
        let entry = self.entries.entry(owned).or_default();
        entry.touched = entry.touched.max(now);
        &mut entry.value
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Vec<&str>, &V)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.iter().map(String::as_str).collect(), &entry.value))
    }

    /// Lets go of what nothing was added to since `before`.
    pub(super) fn expire(&mut self, before: f64) {
        self.entries.retain(|_, entry| entry.touched >= before);
    }
}

/// Observed times, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Histogram {
    /// Of each bucket alone.
    counts: Vec<u64>,
    /// Whole, so that what is read back is never a little less: that would be a counter's reset.
    milliseconds: u64,
    pub(super) count: u64,
}

impl Histogram {
    pub(super) fn observe(&mut self, bounds: &[f64], seconds: f64) {
        // Stored by a version with other buckets: a reset, as readers of counters expect.
        if self.counts.len() != bounds.len() {
            *self = Histogram { counts: vec![0; bounds.len()], ..Histogram::default() };
        }
        if let Some(at) = bounds.iter().position(|bound| seconds <= *bound) {
            self.counts[at] += 1;
        }
        self.milliseconds += milliseconds(seconds);
        self.count += 1;
    }

    /// Of all observed times, in seconds.
    pub(super) fn sum(&self) -> f64 {
        self.milliseconds as f64 / 1000.0
    }

    /// Upper bounds with the count of each bucket alone.
    pub(super) fn buckets(&self, bounds: &[f64]) -> Vec<(f64, u64)> {
        let count = |at: usize| self.counts.get(at).copied().unwrap_or(0);
        bounds.iter().enumerate().map(|(at, bound)| (*bound, count(at))).collect()
    }
}

/// 0 for what is below it.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round().max(0.0) as u64
}

/// What was counted already, so that it is not counted again when it is told again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Counted<K: Ord> {
    #[serde(
        with = "pairs",
        bound(serialize = "K: Serialize", deserialize = "K: Ord + Deserialize<'de>")
    )]
    known: BTreeMap<K, Once>,
    /// What ended by then and is not known may have been counted and forgotten.
    horizon: f64,
}

/// When it was counted, by our clock, and when it ended, by GitHub's.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Once {
    counted: f64,
    ended: f64,
}

impl<K: Ord> Default for Counted<K> {
    fn default() -> Counted<K> {
        Counted { known: BTreeMap::new(), horizon: 0.0 }
    }
}

impl<K: Ord + Clone> Counted<K> {
    pub(super) fn has(&self, key: &K) -> bool {
        self.known.contains_key(key)
    }

    pub(super) fn has_any(&self, keys: RangeInclusive<K>) -> bool {
        self.known.range(keys).next().is_some()
    }

    /// Whether something unknown that ended then may have been counted before.
    pub(super) fn is_too_late(&self, ended: f64) -> bool {
        ended <= self.horizon
    }

    /// Remembers it; beyond `room`, an eighth of what was counted first is forgotten.
    pub(super) fn add(&mut self, key: K, ended: f64, now: f64, room: usize) {
        self.known.insert(key, Once { counted: now, ended: ended.min(now) });
        if self.known.len() > room {
            let order = self.known.iter().map(|(key, once)| (once.counted, key.clone()));
            let last = eldest(order.collect());
            self.retain(|key, once| later((once.counted, key), &last));
        }
    }

    /// Lets go of what was counted before `before`.
    pub(super) fn forget(&mut self, before: f64) {
        self.retain(|_, once| once.counted >= before);
    }

    fn retain(&mut self, keep: impl Fn(&K, &Once) -> bool) {
        let horizon = &mut self.horizon;
        self.known.retain(|key, once| {
            let kept = keep(key, once);
            if !kept {
                *horizon = horizon.max(once.ended);
            }
            kept
        });
    }
}

/// The last of the eldest eighth.
pub(super) fn eldest<K: Ord>(mut order: Vec<(f64, K)>) -> Option<(f64, K)> {
    let at = order.len() / 8;
    if at < order.len() {
        order.select_nth_unstable_by(at, |a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        return Some(order.swap_remove(at));
    }
    None
}

/// Whether it comes after that one.
pub(super) fn later<K: Ord>((at, key): (f64, &K), last: &Option<(f64, K)>) -> bool {
    last.as_ref().is_none_or(|(last, than)| at.total_cmp(last).then_with(|| key.cmp(than)).is_gt())
}

/// Maps whose keys JSON cannot take as names, as lists of pairs.
pub(super) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::workflows) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(in crate::workflows) fn deserialize<'de, K, V, D>(
        from: D,
    ) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_room_a_tally_counts_under_other() {
        let mut tally = Tally::<u64>::default();
        for at in 0..100 {
            *tally.at(&[&format!("r{at}"), "failure"], 1, 10, 5.0) += 1;
        }
        *tally.at(&["r3", "failure"], 1, 10, 6.0) += 1;
        assert_eq!((tally.iter().count(), tally.folded), (11, 90));
        let of = |tally: &Tally<u64>, name: &str| {
            tally.iter().find(|(key, _)| key[0] == name).map(|(key, n)| (key[1].to_owned(), *n))
        };
        assert_eq!(of(&tally, OTHER), Some(("failure".to_owned(), 90)));
        assert_eq!(of(&tally, "r3"), Some(("failure".to_owned(), 2)));
        let text = serde_json::to_string(&tally).unwrap();
        let mut back: Tally<u64> = serde_json::from_str(&text).unwrap();
        assert_eq!(of(&back, "r3"), Some(("failure".to_owned(), 2)));
        back.expire(6.0);
        assert_eq!(back.iter().count(), 1, "an idle series ends and makes room");
    }

    #[test]
    fn what_was_forgotten_is_too_late_and_not_counted_twice() {
        let mut counted = Counted::<u64>::default();
        assert!(!counted.is_too_late(1.0), "nothing was forgotten");
        for at in 0..1000_u64 {
            counted.add(at, at as f64 - 5.0, at as f64, 100);
            assert!(counted.known.len() <= 100);
        }
        assert!(counted.has(&999) && !counted.has(&0));
        assert!(counted.is_too_late(-5.0) && !counted.is_too_late(994.0));
        for at in 0..1000_u64 {
            counted.add(at, 2000.0, 3000.0, 100);
        }
        assert!(counted.known.len() <= 100, "all at the same time");
        let text = serde_json::to_string(&counted).unwrap();
        assert!(serde_json::from_str::<Counted<u64>>(&text).unwrap().has(&999));
    }

    #[test]
    fn a_histogram_of_other_buckets_begins_anew() {
        let mut histogram = Histogram::default();
        for seconds in [0.0, 1.0, 1.5, 99.0] {
            histogram.observe(&[1.0, 2.0], seconds);
        }
        assert_eq!(histogram.buckets(&[1.0, 2.0]), [(1.0, 2), (2.0, 1)]);
        assert_eq!((histogram.count, histogram.sum()), (4, 101.5));
        histogram.observe(&[1.0], 0.5);
        assert_eq!((histogram.buckets(&[1.0]), histogram.count), (vec![(1.0, 1)], 1));
    }
}
