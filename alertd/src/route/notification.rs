//! One message about one alert group, as data: what the outbox keeps and the notifiers render.

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::db::notification_log::{Hashes, Lane};
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;

use super::dedup::Reason;

/// Alerts that one notification to people spells out; the rest is counted.
pub const MAX_ALERTS: usize = 1000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub receiver: String,
    pub group_key: String,
    pub group_labels: BTreeMap<String, String>,
    pub reason: Reason,
    /// In Alertmanager's order: by job, instance, then all labels.
    pub alerts: Vec<NotifiedAlert>,
    /// Alerts beyond `MAX_ALERTS`.
    pub truncated: u64,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotifiedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Pool and member: shown, and never part of the alert's identity.
    pub extra: Vec<(String, String)>,
    pub starts_at: Timestamp,
    /// `None` while it fires.
    pub ends_at: Option<Timestamp>,
    pub generator_url: String,
    pub fingerprint: String,
}

/// A [`Notification`] as routing writes it down: the same text, of what it holds, without a copy.
#[derive(Debug, Serialize)]
pub struct Draft<'a> {
    pub receiver: &'a str,
    pub group_key: &'a str,
    pub group_labels: &'a Labels,
    pub reason: Reason,
    pub alerts: Vec<DraftAlert<'a>>,
    pub truncated: u64,
    pub at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct DraftAlert<'a> {
    labels: &'a Labels,
    annotations: &'a BTreeMap<String, String>,
    extra: Vec<(String, String)>,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    generator_url: &'a str,
    fingerprint: String,
}

impl<'a> DraftAlert<'a> {
    pub fn new(
        fingerprint: Fingerprint,
        alert: &'a Alert,
        resolved: bool,
        extra: Vec<(String, String)>,
    ) -> DraftAlert<'a> {
        DraftAlert {
            labels: &alert.labels,
            annotations: &alert.annotations,
            extra,
            starts_at: alert.starts_at,
            ends_at: resolved.then_some(alert.ends_at),
            generator_url: &alert.generator_url,
            fingerprint: fingerprint.to_string(),
        }
    }
}

impl Draft<'_> {
    pub fn marks(&self) -> impl Iterator<Item = Mark<'_>> {
        self.alerts.iter().map(|one| Mark(&one.fingerprint, one.starts_at, one.ends_at.is_some()))
    }
}

/// What of an alert makes one notification another: identity, start, and whether it is over.
pub struct Mark<'a>(&'a str, Timestamp, bool);

impl NotifiedAlert {
    pub fn is_among(&self, hashes: &Hashes) -> bool {
        self.fingerprint.parse().is_ok_and(|hash| hashes.contains(&hash))
    }

    pub fn name(&self) -> &str {
        self.label("alertname")
    }

    /// The label's value, or nothing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    pub fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }
}

impl Notification {
    /// Drops resolved alerts of whose firing the receiver never heard.
    pub fn retain_told(&mut self, told: &Hashes) {
        self.alerts.retain(|alert| alert.ends_at.is_none() || alert.is_among(told));
    }

    /// The same with every label and annotation as `change` makes it: escaped for where it is shown.
    pub fn mapped(&self, change: impl Fn(&str) -> String) -> Notification {
        let pair = |name: &String, value: &String| (change(name), change(value));
        let map = |map: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            map.iter().map(|(name, value)| (name.clone(), change(value))).collect()
        };
        let alerts = self.alerts.iter().map(|alert| NotifiedAlert {
            labels: map(&alert.labels),
            annotations: map(&alert.annotations),
            extra: alert.extra.iter().map(|(name, value)| pair(name, value)).collect(),
            ..alert.clone()
        });
        let group_labels = map(&self.group_labels);
        Notification { group_labels, alerts: alerts.collect(), ..self.clone() }
    }

    pub fn marks(&self) -> impl Iterator<Item = Mark<'_>> {
        self.alerts.iter().map(|one| Mark(&one.fingerprint, one.starts_at, one.ends_at.is_some()))
    }

    pub fn firing(&self) -> impl Iterator<Item = &NotifiedAlert> {
        self.alerts.iter().filter(|alert| alert.ends_at.is_none())
    }

    pub fn is_resolved(&self) -> bool {
        self.firing().next().is_none()
    }
}

/// What every one of the maps has, with the same value.
pub fn common<'a>(
    mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut common = maps.next().cloned().unwrap_or_default();
    for map in maps {
        common.retain(|name, value| map.get(name) == Some(value));
    }
    common
}

/// The id that every attempt at one notification carries, and no other notification: from its lane,
/// its place in the lane, and each alert's identity, start and state.
pub fn delivery_id<'a>(
    lane: &Lane,
    sequence: u64,
    at: Timestamp,
    alerts: impl Iterator<Item = Mark<'a>>,
) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut feed = |text: &str| {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    feed(&lane.group_key);
    feed(&lane.integration);
    feed(&sequence.to_string());
    feed(&at.0.to_string());
    for Mark(fingerprint, starts_at, over) in alerts {
        feed(fingerprint);
        feed(&starts_at.0.to_string());
        feed(if over { "resolved" } else { "firing" });
    }
    hex(hash.finish().as_ref())
}

/// The first 16 bytes as 32 hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What the log keeps so that the end of an alert can be told after a restart.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Memory {
    pub group_labels: BTreeMap<String, String>,
    pub alerts: Vec<Remembered>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Remembered {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    generator_url: String,
}

/// A [`Memory`] as it is written down.
#[derive(Debug, Serialize)]
pub struct MemoryDraft<'a> {
    pub group_labels: &'a Labels,
    pub alerts: Vec<RememberedDraft<'a>>,
}

#[derive(Debug, Serialize)]
pub struct RememberedDraft<'a> {
    labels: &'a Labels,
    annotations: &'a BTreeMap<String, String>,
    starts_at: Timestamp,
    generator_url: &'a str,
}

impl<'a> From<&'a Alert> for RememberedDraft<'a> {
    fn from(alert: &'a Alert) -> RememberedDraft<'a> {
        RememberedDraft {
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at,
            generator_url: &alert.generator_url,
        }
    }
}

impl Remembered {
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The alert as firing until `ends_at`.
    pub fn alert(self, ends_at: Timestamp) -> Alert {
        Alert {
            labels: labels(&self.labels),
            annotations: self.annotations.into(),
            starts_at: self.starts_at,
            ends_at,
            generator_url: self.generator_url.into(),
        }
    }
}

pub fn labels(map: &BTreeMap<String, String>) -> Labels {
    Labels::from_pairs(map.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
