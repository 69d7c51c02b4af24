//! Generic webhook: Alertmanager's payload, version 4, an id to tell repeats by, and a signature.

mod signature;

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::header::HeaderName;
use serde::Serialize;

use super::http::Endpoint;
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::clock;
use crate::model::sample::Timestamp;
use crate::route::notification::{Notification, NotifiedAlert, common};
use crate::route::receiver::{Receiver, SecretSource};
use crate::route::template::quote;

/// The same for every attempt at one notification.
const DELIVERY_HEADER: HeaderName = HeaderName::from_static("x-pitcrew-delivery");
const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-pitcrew-signature");
/// How Alertmanager writes the end of an alert that has none.
const NO_END: &str = "0001-01-01T00:00:00Z";

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let mut built: Notifiers = Vec::new();
    for config in &receiver.webhook {
        let (url, http) = (config.url.clone(), config.http.clone());
        built.push(Box::new(Webhook {
            endpoint: Endpoint::new(
                url,
                http,
                config.timeout.unwrap_or(settings.attempt_timeout).min(settings.attempt_timeout),
            ),
            max_alerts: config.max_alerts,
            secret: config.signature.clone(),
            external_url: settings.external_url.clone(),
        }));
    }
    Ok(built)
}

struct Webhook {
    endpoint: Endpoint,
    max_alerts: usize,
    secret: Option<SecretSource>,
    external_url: String,
}

#[async_trait]
impl Notifier for Webhook {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let payload = payload(delivery.notification, self.max_alerts, &self.external_url);
        let body =
            serde_json::to_string(&payload).expect("maps with text as keys always serialize");
        let mut headers = vec![(DELIVERY_HEADER, delivery.id)];
        let signature = match &self.secret {
            Some(secret) => Some(signature::sign(secret.read()?.reveal(), &body, clock::now())),
            None => None,
        };
        headers.extend(signature.as_deref().map(|signature| (SIGNATURE_HEADER, signature)));
        self.endpoint.post(body, &headers).await.map(|_| Sent::default())
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<Alert<'a>>,
    group_labels: &'a BTreeMap<String, String>,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: Cow<'a, BTreeMap<String, String>>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: &'a str,
}

/// `max_alerts` of 0 takes all. Pool and member stand among the annotations, where no label of the
/// alert is touched.
fn payload<'a>(
    notification: &'a Notification,
    max_alerts: usize,
    external_url: &'a str,
) -> Payload<'a> {
    let all = notification.alerts.len();
    let taken = if max_alerts == 0 { all } else { max_alerts.min(all) };
    let shown = || notification.alerts.iter().take(taken);
    let alerts: Vec<_> = shown().map(alert).collect();
    let fires = alerts.iter().any(|alert| alert.status == "firing");
    Payload {
        receiver: quote(&notification.receiver),
        status: if fires { "firing" } else { "resolved" },
        group_labels: &notification.group_labels,
        common_labels: common(shown().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &*alert.annotations)),
        alerts,
        external_url,
        version: "4",
        group_key: &notification.group_key,
        truncated_alerts: (all - taken) as u64 + notification.truncated,
    }
}

fn alert(alert: &NotifiedAlert) -> Alert<'_> {
    let mut annotations = Cow::Borrowed(&alert.annotations);
    for (name, value) in &alert.extra {
        annotations.to_mut().entry(name.clone()).or_insert_with(|| value.clone());
    }
    Alert {
        status: if alert.ends_at.is_some() { "resolved" } else { "firing" },
        labels: &alert.labels,
        annotations,
        starts_at: time(alert.starts_at),
        ends_at: alert.ends_at.map_or_else(|| NO_END.to_owned(), time),
        generator_url: &alert.generator_url,
        fingerprint: &alert.fingerprint,
    }
}

/// RFC 3339 without zeros at the end of the fraction, as Go writes it.
fn time(at: Timestamp) -> String {
    let text = at.rfc3339();
    let bare = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    match at.0 % 1000 {
        0 => format!("{}Z", text.trim_end_matches(".000Z")),
        _ => format!("{bare}Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    #[test]
    fn payload_of_version_4() {
        let notification = sample(true);
        let value = serde_json::to_value(payload(&notification, 0, "http://x")).unwrap();
        assert_eq!(value["status"], "firing");
        assert_eq!(value["alerts"][0]["endsAt"], NO_END);
        assert_eq!(value["alerts"][1]["endsAt"], "2023-11-14T22:17:25Z");
        assert_eq!(value["alerts"][1]["annotations"]["pool"], "ci");
        assert!(value["alerts"][1]["labels"].get("pool").is_none());
        assert!(value["commonLabels"].get("instance").is_none());
        let cut = serde_json::to_value(payload(&notification, 1, "http://x")).unwrap();
        assert_eq!(
            (&cut["truncatedAlerts"], &cut["commonLabels"]["instance"]),
            (&1.into(), &"a".into())
        );
        assert_eq!(quote("a.b-c"), r"a\.b-c");
        assert_eq!(time(Timestamp(120)), "1970-01-01T00:00:00.12Z");
        assert_eq!(time(Timestamp(10_000)), "1970-01-01T00:00:10Z");
    }
}
