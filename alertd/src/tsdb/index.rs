//! Postings: which series have which label.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};

/// Identifies a series, also in the files; never used twice.
pub(super) type SeriesId = u64;

/// No store gives so many; behind a file that has a higher one there would be none left to give.
pub(super) const HIGHEST_ID: SeriesId = 1 << 62;

/// Label name to value to the ids of the series that have it, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Index {
    postings: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Ids>>,
}

/// Most values of most labels belong to one series only, or to very many.
#[derive(Debug)]
enum Ids {
    One(SeriesId),
    Many(Vec<SeriesId>),
}

/// What the matchers leave, as far as the index tells.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// `None` when no matcher narrows the choice.
    pub(super) ids: Option<Vec<SeriesId>>,
    /// These have still to be checked, series by series.
    pub(super) unchecked: Vec<&'a Matcher>,
}

impl Index {
    /// Adds a series and returns its labels made of the strings that the index already shares.
    pub(super) fn insert<'a>(
        &mut self,
        id: SeriesId,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Labels {
        let shared = labels.map(|(name, value)| {
            let name = match self.postings.get_key_value(name) {
                Some((known, _)) => known.clone(),
                None => Arc::from(name),
            };
            let values = self.postings.entry(name.clone()).or_default();
            let value: Arc<str> = match values.get_key_value(value) {
                Some((known, _)) => known.clone(),
                None => Arc::from(value),
            };
            let ids = values.entry(value.clone());
            ids.and_modify(|ids| ids.push(id)).or_insert(Ids::One(id));
            (name, value)
        });
        Labels::from_sorted(shared.collect())
    }

    /// Removes series; `labels` are all those that any of them has.
    pub(super) fn remove<'a>(
        &mut self,
        gone: &HashSet<SeriesId>,
        labels: impl Iterator<Item = &'a (Arc<str>, Arc<str>)>,
    ) {
        let labels: HashSet<_> = labels.collect();
        for (name, value) in labels {
            let Some(values) = self.postings.get_mut(name) else { continue };
            if values.get_mut(value).is_some_and(|ids| !ids.keep(gone)) {
                values.remove(value);
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
    }

    pub(super) fn find<'a>(&self, matchers: &'a [Matcher]) -> Found<'a> {
        /// So few series that looking at them costs less than another list.
        const FEW: usize = 100;
        // Matchers that also match an absent label only take away.
        let (taking, narrowing): (Vec<_>, Vec<_>) =
            matchers.iter().partition(|one| one.matches(""));
        let (plain, other): (Vec<_>, Vec<_>) =
            narrowing.into_iter().partition(|one| one.op == MatchOp::Equal);
        let mut plain: Vec<(&Matcher, &[SeriesId])> =
            plain.into_iter().map(|one| (one, self.list(&one.name, &one.value))).collect();
        plain.sort_by_key(|(_, ids)| ids.len());
        let mut found: Option<Vec<SeriesId>> = None;
        let mut unchecked = Vec::new();
        for (_, list) in plain {
            match &mut found {
                None => found = Some(list.to_vec()),
                // Steps through a list, however long, are cheaper than a look at a series.
                Some(ids) => intersect(ids, list),
            }
        }
        for matcher in other {
            match &mut found {
                Some(ids) if ids.len() <= FEW => unchecked.push(matcher),
                Some(ids) => intersect(ids, &self.union(matcher, true)),
                None => found = Some(self.union(matcher, true)),
            }
        }
        for matcher in taking {
            match &mut found {
                Some(ids) if ids.len() > FEW => subtract(ids, &self.union(matcher, false)),
                _ => unchecked.push(matcher),
            }
        }
        Found { ids: found, unchecked }
    }

    fn list(&self, name: &str, value: &str) -> &[SeriesId] {
        let ids = self.postings.get(name).and_then(|values| values.get(value));
        ids.map(Ids::as_slice).unwrap_or_default()
    }

    /// Series that have the matcher's label with a value that it matches, or does not.
    fn union(&self, matcher: &Matcher, matching: bool) -> Vec<SeriesId> {
        let values = self.postings.get(matcher.name.as_str()).into_iter().flatten();
        let mut all = Vec::new();
        for (value, ids) in values {
            if matcher.matches(value) == matching {
                all.extend_from_slice(ids.as_slice());
            }
        }
        // Stable, because that sort uses the runs that the lists are.
        all.sort();
        all
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.postings.keys().map(AsRef::as_ref)
    }

    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.postings.get(name).into_iter().flat_map(|values| values.keys()).map(AsRef::as_ref)
    }

    /// Bytes that the index takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        let value = |(value, ids): (&Arc<str>, &Ids)| {
            let own = 2 * size_of::<usize>() + size_of::<(Arc<str>, Ids)>();
            value.len() + own + ids.heap_bytes()
        };
        self.postings.values().flatten().map(value).sum()
    }
}

impl Ids {
    fn push(&mut self, id: SeriesId) {
        match self {
            Ids::One(first) => *self = Ids::Many(vec![id.min(*first), id.max(*first)]),
            // A new id is the highest; only the files may bring them in another order.
            Ids::Many(ids) => {
                let at = match ids.last() {
                    Some(last) if *last >= id => ids.partition_point(|one| *one < id),
                    _ => ids.len(),
                };
                ids.insert(at, id);
            }
        }
    }

    fn as_slice(&self) -> &[SeriesId] {
        match self {
            Ids::One(id) => std::slice::from_ref(id),
            Ids::Many(ids) => ids,
        }
    }

    /// False when none is left.
    fn keep(&mut self, gone: &HashSet<SeriesId>) -> bool {
        match self {
            Ids::One(id) => !gone.contains(id),
            Ids::Many(ids) => {
                ids.retain(|id| !gone.contains(id));
                ids.shrink_to(ids.len() * 2);
                !ids.is_empty()
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Ids::One(_) => 0,
            Ids::Many(ids) => ids.capacity() * size_of::<SeriesId>(),
        }
    }
}

fn intersect(ids: &mut Vec<SeriesId>, with: &[SeriesId]) {
    let mut rest = with;
    ids.retain(|id| skip_to(&mut rest, *id) == Some(*id));
}

fn subtract(ids: &mut Vec<SeriesId>, without: &[SeriesId]) {
    let mut rest = without;
    ids.retain(|id| skip_to(&mut rest, *id) != Some(*id));
}

/// The first of `rest` that is not below `id`; those before it are passed over.
fn skip_to(rest: &mut &[SeriesId], id: SeriesId) -> Option<SeriesId> {
    // In widening steps: cheap when the next one is near, and when the lists differ much in length.
    let mut step = 1;
    while rest.get(step).is_some_and(|one| *one < id) {
        *rest = rest.get(step..).unwrap_or_default();
        step *= 2;
    }
    let near = rest.get(..=step).unwrap_or(rest);
    let passed = near.partition_point(|one| *one < id);
    *rest = rest.get(passed..).unwrap_or_default();
    rest.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_and_subtracted() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let mut list = |most: usize, span: u64| {
                let mut ids: Vec<u64> =
                    (0..random.usize(..most)).map(|_| random.u64(..span)).collect();
                ids.sort_unstable();
                ids.dedup();
                ids
            };
            let (left, right) = (list(50, 200), list(200, 300));
            for (left, right) in [(&left, &right), (&right, &left)] {
                let (mut both, mut only) = (left.clone(), left.clone());
                intersect(&mut both, right);
                subtract(&mut only, right);
                let want = |inside: bool| -> Vec<u64> {
                    left.iter().copied().filter(|id| right.contains(id) == inside).collect()
                };
                assert_eq!((both, only), (want(true), want(false)));
            }
        }
    }
}
