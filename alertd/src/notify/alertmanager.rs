//! Other Alertmanagers: every alert is passed on to each of them by its API, version 2.
//!
//! They do not tell each other of alerts, so each is an integration of its own: one that is down is
//! tried again until the deadline and holds up no other. A firing alert is passed on with an end in
//! the future, its lease, that outlasts the wait for the next notification; the real end follows
//! when it has come.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use pitcrew_exporter::secret::Secret;
use serde::Serialize;

use super::http::Endpoint;
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::clock;
use crate::model::sample::Timestamp;
use crate::route::notification::{Notification, NotifiedAlert};
use crate::route::receiver::{Receiver, SecretSource};

/// Alerts of one request, as Prometheus has it.
const BATCH: usize = 256;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let mut built: Notifiers = Vec::new();
    let Some(config) = &receiver.additions.alertmanager else { return Ok(built) };
    for url in &config.urls {
        let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
        let url = SecretSource::Value(Secret::new(url));
        let endpoint = Endpoint::new(url, config.http.clone(), settings.attempt_timeout);
        built.push(Box::new(Alertmanager { endpoint, lease: config.lease }));
    }
    Ok(built)
}

struct Alertmanager {
    endpoint: Endpoint,
    lease: Duration,
}

#[async_trait]
impl Notifier for Alertmanager {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let alerts = alerts(delivery.notification, clock::now().plus(self.lease));
        for batch in alerts.chunks(BATCH) {
            let body = serde_json::to_string(batch).expect("text always serializes");
            // One that took the first of several is sent it again, which changes nothing there.
            self.endpoint.post(body, &[]).await?;
        }
        Ok(Sent::default())
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

fn alerts(notification: &Notification, lease: Timestamp) -> Vec<Alert<'_>> {
    notification.alerts.iter().map(|alert| one(alert, lease)).collect()
}

fn one(alert: &NotifiedAlert, lease: Timestamp) -> Alert<'_> {
    let mut annotations: BTreeMap<&str, &str> =
        alert.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in &alert.extra {
        annotations.entry(name).or_insert(value);
    }
    // An end before the start is refused, and with it the whole request.
    let ends_at = alert.ends_at.unwrap_or(lease).max(alert.starts_at);
    // A reference that is no URL would be refused too.
    let url = crate::notify::wording::link(&alert.generator_url).is_some();
    Alert {
        labels: &alert.labels,
        annotations,
        starts_at: alert.starts_at.rfc3339(),
        ends_at: ends_at.rfc3339(),
        generator_url: if url { &alert.generator_url } else { "" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    #[test]
    fn what_fires_has_a_lease_and_what_is_over_its_end() {
        let mut notification = sample(true);
        notification.alerts[1].generator_url = "http://p.test/graph".into();
        let lease = Timestamp(1_700_000_600_000);
        let value = serde_json::to_value(alerts(&notification, lease)).unwrap();
        assert_eq!(value[0]["endsAt"], "2023-11-14T22:23:20.000Z");
        assert_eq!(value[1]["endsAt"], "2023-11-14T22:17:25.000Z");
        assert_eq!(value[1]["startsAt"], "2023-11-14T22:13:20.000Z");
        assert_eq!(value[0]["annotations"]["pool"], "ci");
        assert!(value[0].get("generatorURL").is_none(), "no javascript");
        assert_eq!(value[1]["generatorURL"], "http://p.test/graph");
    }
}
