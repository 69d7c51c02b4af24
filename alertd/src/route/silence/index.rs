//! Finds the silences that may match an alert by the values of its labels, not by trying them all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Silence;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};

/// An alternation of more values than this is tried on every alert.
const MAX_VALUES: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Index {
    held: HashMap<String, Held>,
    /// Ids by a label's name and value. A silence stands under one of its conditions alone.
    by_value: HashMap<String, HashMap<String, BTreeSet<String>>>,
    /// Those that ask for no certain value.
    rest: BTreeSet<String>,
    with_regex: usize,
}

#[derive(Debug)]
struct Held {
    silence: Arc<Silence>,
    matchers: Vec<Matcher>,
    /// Where in `by_value`; nothing when it is in `rest`.
    name: String,
    values: Vec<String>,
}

pub(super) fn takes_regex(matchers: &[Matcher]) -> bool {
    matchers.iter().any(|matcher| matches!(matcher.op, MatchOp::Regex | MatchOp::NotRegex))
}

pub(super) fn is_findable(matchers: &[Matcher]) -> bool {
    matchers.iter().any(|matcher| values(matcher).is_some())
}

impl Index {
    pub(super) fn with_regex(&self) -> usize {
        self.with_regex
    }

    pub(super) fn unindexed(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn insert(&mut self, silence: Arc<Silence>, matchers: Vec<Matcher>) {
        let id = silence.id.clone();
        // Under the condition that the fewest others stand under, so that a thousand silences of
        // one alert are told apart by what differs.
        let crowd = |name: &str, values: &[String]| {
            let names = self.by_value.get(name);
            let count = |value| names.and_then(|names| names.get(value)).map_or(0, BTreeSet::len);
            values.iter().map(count).max().unwrap_or(0)
        };
        let places = matchers.iter().filter_map(|matcher| Some((&matcher.name, values(matcher)?)));
        let place = places.min_by_key(|(name, values)| (crowd(name, values), values.len()));
        let (name, values) = match place {
            Some((name, values)) => (name.clone(), values),
            None => (String::new(), Vec::new()),
        };
        for value in &values {
            let ids = self.by_value.entry(name.clone()).or_default();
            ids.entry(value.clone()).or_default().insert(id.clone());
        }
        if values.is_empty() {
            self.rest.insert(id.clone());
        }
        self.with_regex += usize::from(takes_regex(&matchers));
        self.held.insert(id, Held { silence, matchers, name, values });
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(held) = self.held.remove(id) else { return };
        self.rest.remove(id);
        self.with_regex -= usize::from(takes_regex(&held.matchers));
        let Some(names) = self.by_value.get_mut(&held.name) else { return };
        for value in &held.values {
            if let Some(ids) = names.get_mut(value) {
                ids.remove(id);
                if ids.is_empty() {
                    names.remove(value);
                }
            }
        }
        if names.is_empty() {
            self.by_value.remove(&held.name);
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Silence) -> bool) {
        let gone = self.held.iter().filter(|(_, held)| !keep(&held.silence));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.remove(id));
    }

    /// Calls `found` with each silence that matches the labels, until it says no.
    pub(super) fn each<'a>(&'a self, labels: &Labels, mut found: impl FnMut(&'a Silence) -> bool) {
        self.each_with_matchers(labels, |silence, _| found(silence));
    }

    pub(super) fn each_with_matchers<'a>(
        &'a self,
        labels: &Labels,
        mut found: impl FnMut(&'a Silence, &'a [Matcher]) -> bool,
    ) {
        let by_value =
            labels.iter().filter_map(|(name, value)| self.by_value.get(name)?.get(value));
        for id in by_value.flatten().chain(&self.rest) {
            let Some(held) = self.held.get(id) else { continue };
            if held.matchers.iter().all(|matcher| matcher.matches_labels(labels))
                && !found(&held.silence, &held.matchers)
            {
                return;
            }
        }
    }
}

/// The only values, none of them empty, that the matcher takes, if they can be listed.
fn values(matcher: &Matcher) -> Option<Vec<String>> {
    match matcher.op {
        MatchOp::Equal => Some(vec![matcher.value.clone()]),
        MatchOp::Regex => {
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | ' ');
            let values: Vec<String> = matcher.value.split('|').map(str::to_owned).collect();
            let listed = values.iter().all(|value| value.chars().all(plain));
            (listed && values.len() <= MAX_VALUES).then_some(values)
        }
        MatchOp::NotEqual | MatchOp::NotRegex => None,
    }
    .filter(|values| values.iter().all(|value| !value.is_empty()))
}
