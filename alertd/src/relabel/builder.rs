//! A label set with changes laid over it, in the order that Prometheus keeps them in.

use std::sync::Arc;

use crate::model::labels::Labels;

type Change = (Arc<str>, Option<Arc<str>>);

pub(super) struct Builder<'a> {
    base: &'a Labels,
    /// Each name once; `None` for a label that was removed.
    changes: Vec<Change>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(base: &'a Labels) -> Builder<'a> {
        Builder { base, changes: Vec::new() }
    }

    /// Empty when there is no such label.
    pub(super) fn get(&self, name: &str) -> &str {
        match self.changes.iter().find(|(have, _)| have.as_ref() == name) {
            Some((_, value)) => value.as_deref().unwrap_or(""),
            None => self.base.get(name).unwrap_or(""),
        }
    }

    /// Sets a label, or removes it when the value is empty.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let at = self.changes.iter().position(|(have, _)| have.as_ref() == name);
        let new = (!value.is_empty()).then(|| Arc::from(value));
        match at {
            // What takes the place of another value keeps its place in the order.
            Some(at) if new.is_some() && self.changes[at].1.is_some() => self.changes[at].1 = new,
            Some(at) => {
                let (name, _) = self.changes.remove(at);
                self.changes.push((name, new));
            }
            None => self.changes.push((Arc::from(name), new)),
        }
    }

    /// Every label: first those that were there, then those that came.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let changed = |name: &Arc<str>| self.changes.iter().any(|(have, _)| have == name);
        let base = self.base.pairs().iter().filter(|(name, _)| !changed(name)).cloned();
        let set = self.changes.iter().filter_map(|(name, new)| Some((name.clone(), new.clone()?)));
        base.chain(set).collect()
    }

    pub(super) fn labels(self) -> Labels {
        match self.changes.is_empty() {
            true => self.base.clone(),
            false => Labels::from_pairs(self.all()),
        }
    }
}
