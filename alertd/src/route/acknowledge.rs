//! Acknowledgements: somebody looks after an alert, so it is not told again and again (pure).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::alert::Alert;
use crate::model::labels::Fingerprint;
use crate::model::sample::Timestamp;

/// Held at a time, as many as alerts.
pub const MAX_HELD: usize = 100_000;

/// One alert in one of its lives: when it ends, so does this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    pub fingerprint: String,
    /// Whose alert it is, for who reads this later.
    pub labels: BTreeMap<String, String>,
    /// Who looks after it.
    pub owner: String,
    pub note: String,
    /// Who had signed in to say so, if anybody.
    pub signed_in: Option<String>,
    pub at: Timestamp,
    /// When that life of the alert began; a later one is not acknowledged.
    pub starts_at: Timestamp,
}

/// All that stand, by alert.
#[derive(Debug, Default)]
pub struct Acknowledgements(HashMap<Fingerprint, Arc<Acknowledgement>>);

impl Acknowledgement {
    /// As it is shown beside an alert.
    pub fn text(&self) -> String {
        match self.note.is_empty() {
            true => self.owner.clone(),
            false => format!("{}: {}", self.owner, self.note),
        }
    }
}

impl Acknowledgements {
    pub fn restore(entries: impl IntoIterator<Item = Acknowledgement>) -> Acknowledgements {
        let mut restored = Acknowledgements::default();
        entries.into_iter().for_each(|entry| restored.insert(entry));
        restored
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Acknowledgement>> {
        self.0.values()
    }

    /// The one that holds for the life of the alert that began then.
    pub fn of(
        &self,
        fingerprint: Fingerprint,
        starts_at: Timestamp,
    ) -> Option<&Arc<Acknowledgement>> {
        self.0.get(&fingerprint).filter(|entry| starts_at <= entry.starts_at)
    }

    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.0.contains_key(&fingerprint)
    }

    /// Whether the end of this life of the alert ends one.
    pub fn ends_with(&self, alert: &Alert) -> bool {
        let entry = self.0.get(&alert.fingerprint());
        entry.is_some_and(|entry| entry.starts_at <= alert.ends_at)
    }

    pub fn older_than(&self, before: Timestamp) -> Vec<Fingerprint> {
        self.0.iter().filter(|(_, entry)| entry.at < before).map(|(hash, _)| *hash).collect()
    }

    pub fn insert(&mut self, entry: Acknowledgement) {
        if let Ok(hash) = entry.fingerprint.parse() {
            self.0.insert(hash, Arc::new(entry));
        }
    }

    pub fn remove(&mut self, fingerprint: Fingerprint) {
        self.0.remove(&fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    #[test]
    fn holds_for_one_life_of_one_alert() {
        let alert = |starts| Alert {
            labels: Labels::from_pairs([("alertname", "A")]),
            annotations: Arc::default(),
            starts_at: Timestamp(starts),
            ends_at: Timestamp(100),
            generator_url: Arc::default(),
        };
        let fingerprint = alert(0).fingerprint();
        let entry = Acknowledgement {
            fingerprint: fingerprint.to_string(),
            labels: alert(0).labels.to_map(),
            owner: "ann".to_owned(),
            note: "on it".to_owned(),
            signed_in: None,
            at: Timestamp(20),
            starts_at: Timestamp(10),
        };
        let mut held = Acknowledgements::restore([entry]);
        for (starts, want) in [(10, Some("ann: on it")), (5, Some("ann: on it")), (11, None)] {
            let found = held.of(fingerprint, Timestamp(starts)).map(|entry| entry.text());
            assert_eq!(found.as_deref(), want, "started at {starts}");
        }
        assert!(held.of(Fingerprint(1), Timestamp(0)).is_none());
        assert!(held.ends_with(&alert(0)));
        assert_eq!(held.older_than(Timestamp(21)), [fingerprint]);
        assert_eq!(held.older_than(Timestamp(20)), []);
        held.remove(fingerprint);
        assert!(held.is_empty());
    }
}
