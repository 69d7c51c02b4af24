//! Postings: which series have which label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};

/// Identifies a series for as long as the process lives; never used twice.
pub(super) type SeriesId = u64;

/// Label name to value to the ids of the series that have it.
#[derive(Debug, Default)]
pub(super) struct Index {
    postings: BTreeMap<Arc<str>, BTreeMap<Arc<str>, BTreeSet<SeriesId>>>,
}

impl Index {
    /// Adds a series and returns its labels made of the strings that the index already shares.
    pub(super) fn insert(&mut self, id: SeriesId, labels: &Labels) -> Labels {
        let shared = labels.pairs().iter().map(|(name, value)| {
            let name = match self.postings.get_key_value(name) {
                Some((known, _)) => known.clone(),
                None => name.clone(),
            };
            let values = self.postings.entry(name.clone()).or_default();
            let value = match values.get_key_value(value) {
                Some((known, _)) => known.clone(),
                None => value.clone(),
            };
            values.entry(value.clone()).or_default().insert(id);
            (name, value)
        });
        Labels::from_sorted(shared.collect())
    }

    pub(super) fn remove(&mut self, id: SeriesId, labels: &Labels) {
        for (name, value) in labels.pairs() {
            let Some(values) = self.postings.get_mut(name) else { continue };
            if let Some(ids) = values.get_mut(value) {
                ids.remove(&id);
                if ids.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
    }

    /// Ids of series that the matchers may match, from the matcher that leaves fewest.
    ///
    /// `None` when no matcher narrows the choice: each of them also matches an absent label. The
    /// caller still has to check every matcher.
    pub(super) fn candidates(&self, matchers: &[Matcher]) -> Option<Vec<SeriesId>> {
        /// So few series that looking at them costs less than another regular expression.
        const FEW: usize = 100;
        let mut best: Option<Vec<&BTreeSet<SeriesId>>> = None;
        let size =
            |lists: &[&BTreeSet<SeriesId>]| -> usize { lists.iter().map(|ids| ids.len()).sum() };
        let mut narrowing: Vec<_> = matchers.iter().filter(|one| !one.matches("")).collect();
        narrowing.sort_by_key(|matcher| matcher.op != MatchOp::Equal);
        for matcher in narrowing {
            if best.as_ref().is_some_and(|best| size(best) <= FEW) {
                break;
            }
            let lists = self.lists(matcher);
            if best.as_ref().is_none_or(|best| size(&lists) < size(best)) {
                best = Some(lists);
            }
        }
        Some(best?.into_iter().flatten().copied().collect())
    }

    fn lists(&self, matcher: &Matcher) -> Vec<&BTreeSet<SeriesId>> {
        let Some(values) = self.postings.get(matcher.name.as_str()) else {
            return Vec::new();
        };
        match matcher.op {
            MatchOp::Equal => values.get(matcher.value.as_str()).into_iter().collect(),
            _ => values
                .iter()
                .filter(|(value, _)| matcher.matches(value))
                .map(|(_, ids)| ids)
                .collect(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.postings.keys().map(AsRef::as_ref)
    }

    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.postings.get(name).into_iter().flat_map(|values| values.keys()).map(AsRef::as_ref)
    }
}
