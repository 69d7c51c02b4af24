//! All series in the order of their labels, kept lazily: new ones are sorted in when somebody asks.

use std::cmp::Ordering as Compare;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Entry;

/// A series' rank is its place; ranks have gaps, so that new series fit between others.
#[derive(Debug, Default)]
pub(super) struct Order {
    sorted: Vec<Arc<Entry>>,
    new: Vec<Arc<Entry>>,
    /// Series that were sorted by their texts since `new` began to fill.
    put_off: AtomicUsize,
}

/// As comparing the labels, but equal texts are mostly the same one, since the index shares them.
pub(super) fn by_labels(a: &Arc<Entry>, b: &Arc<Entry>) -> Compare {
    let (a, b) = (a.labels.pairs(), b.labels.pairs());
    let text = |a: &Arc<str>, b: &Arc<str>| match Arc::ptr_eq(a, b) {
        true => Compare::Equal,
        false => a.cmp(b),
    };
    for (a, b) in a.iter().zip(b) {
        let compared = text(&a.0, &b.0).then_with(|| text(&a.1, &b.1));
        if compared != Compare::Equal {
            return compared;
        }
    }
    a.len().cmp(&b.len())
}

impl Order {
    pub(super) fn add(&mut self, entry: Arc<Entry>) {
        self.new.push(entry);
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.new.is_empty()
    }

    /// Whether `count` series may be sorted by their texts for one more time: not when that has cost
    /// as much as catching up would.
    pub(super) fn put_off(&self, count: usize) -> bool {
        self.put_off.fetch_add(count, Ordering::Relaxed) < self.sorted.len() + self.new.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.sorted.iter().chain(&self.new)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Arc<Entry>) -> bool) {
        self.sorted.retain(&keep);
        self.new.retain(&keep);
        self.sorted.shrink_to(self.sorted.len() * 2);
    }

    pub(super) fn catch_up(&mut self) {
        let mut new = std::mem::take(&mut self.new);
        self.put_off = AtomicUsize::new(0);
        // Stable, because that sort is quick where runs are sorted already, as they are in a file.
        new.sort_by(by_labels);
        let mut merged = Vec::with_capacity(self.sorted.len() + new.len());
        let mut old = self.sorted.as_slice();
        let mut new = new.into_iter().peekable();
        let mut fits = true;
        while let Some(next) = new.peek() {
            let before = old.partition_point(|entry| by_labels(entry, next) == Compare::Less);
            merged.extend_from_slice(old.get(..before).unwrap_or_default());
            old = old.get(before..).unwrap_or_default();
            let above = old.first().cloned();
            let below = merged.last().map_or(0, |entry: &Arc<Entry>| entry.rank());
            let start = merged.len();
            let belongs = |entry: &Arc<Entry>| {
                above.as_ref().is_none_or(|above| by_labels(entry, above) == Compare::Less)
            };
            while let Some(entry) = new.next_if(belongs) {
                merged.push(entry);
            }
            let placed = merged.get(start..).unwrap_or_default();
            let space = above.as_ref().map_or(u64::MAX, |entry| entry.rank()) - below;
            let step = space / (placed.len() as u64 + 1);
            fits &= step > 0 && !placed.is_empty();
            number(placed, below, step);
            if placed.is_empty() {
                // Equal labels are a contradiction; going on is better than hanging.
                merged.extend(new.next());
            }
        }
        merged.extend_from_slice(old);
        if !fits {
            number(&merged, 0, u64::MAX / (merged.len() as u64 + 1));
        }
        self.sorted = merged;
    }
}

fn number(entries: &[Arc<Entry>], below: u64, step: u64) {
    let mut rank = below;
    for entry in entries {
        rank += step;
        entry.rank.store(rank, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Head;
    use super::*;
    use crate::model::labels::Labels;
    use crate::model::matcher::Matcher;

    #[test]
    fn ranks_follow_labels_however_series_come() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut head = Head::default();
        let mut all = Vec::new();
        for round in 0..200 {
            for _ in 0..random.usize(1..20) {
                // Every third round descends, so that gaps are used up.
                let name =
                    if round % 3 == 0 { 1_000_000 - all.len() } else { random.usize(..1_000_000) };
                let labels =
                    Labels::from_pairs([("a", format!("{name:07}")), ("b", "x".to_owned())]);
                if head.find(&labels).is_none() {
                    all.push(head.create(&labels));
                }
            }
            head.put_in_order();
            let ranks: Vec<u64> = head.all().map(|entry| entry.rank()).collect();
            assert!(ranks.windows(2).all(|two| two[0] < two[1]), "{round}");
            let labels: Vec<_> = head.all().map(|entry| &entry.labels).collect();
            assert!(labels.is_sorted(), "{round}");
        }
        assert_eq!(head.all().count(), all.len());
    }

    #[test]
    fn few_are_sorted_until_that_costs_as_much_as_sorting_all() {
        let mut head = Head::default();
        for name in (0..300).rev() {
            let (a, b) = (format!("{name:03}"), format!("{}", name % 10));
            head.create(&Labels::from_pairs([("a", a), ("b", b)]));
        }
        let few = [Matcher::equal("b", "3")];
        let sorted = |found: &[Arc<Entry>]| {
            found.len() == 30 && found.is_sorted_by_key(|entry| entry.labels.clone())
        };
        for _ in 0..10 {
            assert!(head.matching(&few).is_some_and(|found| sorted(&found)));
        }
        assert!(head.matching(&few).is_none());
        head.put_in_order();
        assert!(head.matching(&few).is_some_and(|found| sorted(&found)));
    }
}
