//! A notification as templates see it.
//!
//! The crate knows maps and lists. A struct of Go's is a map with [`KIND`] among its keys, which no
//! label can be named; a map without it is Alertmanager's `KV`, whose absent keys are empty texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::moment;
use crate::model::sample::Timestamp;
use crate::route::notification::{Notification, NotifiedAlert, common};

/// The key of a struct's type.
pub(super) const KIND: &str = "\0";

pub(super) fn data(notification: &Notification, external_url: &str) -> Value {
    let annotations: Vec<_> = notification.alerts.iter().map(annotations).collect();
    let alerts = notification.alerts.iter().zip(&annotations);
    let alerts = alerts.map(|(alert, annotations)| self::alert(alert, annotations));
    let state = if notification.is_resolved() { "resolved" } else { "firing" };
    record(
        "Data",
        [
            ("Receiver", text(&quote(&notification.receiver))),
            ("Status", text(state)),
            ("Alerts", Value::List(alerts.collect())),
            ("GroupLabels", kv(&notification.group_labels)),
            ("CommonLabels", kv(&common(notification.alerts.iter().map(|alert| &alert.labels)))),
            ("CommonAnnotations", kv(&common(annotations.iter()))),
            ("ExternalURL", text(external_url.trim_end_matches('/'))),
        ],
    )
}

fn alert(alert: &NotifiedAlert, annotations: &BTreeMap<String, String>) -> Value {
    let state = if alert.ends_at.is_some() { "resolved" } else { "firing" };
    record(
        "Alert",
        [
            ("Status", text(state)),
            ("Labels", kv(&alert.labels)),
            ("Annotations", kv(annotations)),
            ("StartsAt", moment::time(alert.starts_at, "UTC")),
            ("EndsAt", moment::time(alert.ends_at.unwrap_or(NEVER), "UTC")),
            ("GeneratorURL", text(&alert.generator_url)),
            ("Fingerprint", text(&alert.fingerprint)),
        ],
    )
}

/// Go's zero time, 0001-01-01T00:00:00Z: the end of what has none.
pub(super) const NEVER: Timestamp = Timestamp(-62_135_596_800_000);

/// Pool and member stand among the annotations, where no label of the alert is touched.
fn annotations(alert: &NotifiedAlert) -> BTreeMap<String, String> {
    let mut annotations = alert.annotations.clone();
    for (name, value) in &alert.extra {
        annotations.entry(name.clone()).or_insert_with(|| value.clone());
    }
    annotations
}

/// The receiver's name as a regular expression that matches it, which is what Alertmanager gives.
pub fn quote(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// A struct of Go's.
pub(super) fn record<const N: usize>(kind: &str, fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value));
    Value::Map(Arc::new(fields.chain([(Arc::from(KIND), text(kind))]).collect()))
}

/// The type of a struct; `None` for everything else.
pub(super) fn kind(value: &Value) -> Option<&str> {
    match value.field(KIND) {
        Some(Value::String(kind)) => Some(kind),
        _ => None,
    }
}

pub(super) fn kv(map: &BTreeMap<String, String>) -> Value {
    let pairs = map.iter().map(|(name, value)| (Arc::from(name.as_str()), text(value)));
    Value::Map(Arc::new(pairs.collect()))
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.into())
}
