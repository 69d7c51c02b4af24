//! A notification as templates see it.
//!
//! Structs are what `rules/template/record.rs` makes of them; a map without a kind is Alertmanager's
//! `KV`, whose absent keys are empty texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use crate::route::notification::{Notification, NotifiedAlert, common};
use crate::rules::template::moment::{self, NEVER};
use crate::rules::template::record::{record, text};

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

pub(super) fn kv(map: &BTreeMap<String, String>) -> Value {
    let pairs = map.iter().map(|(name, value)| (Arc::from(name.as_str()), text(value)));
    Value::Map(Arc::new(pairs.collect()))
}
