//! PagerDuty: one incident per alert group, by its events API (version 2, or 1 for a service key).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Url;
use ring::digest;
use serde::Serialize;

use super::http::Endpoint;
use super::wording::{self, Severity, clip, legible};
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::route::dedup::Reason;
use crate::route::notification::{Notification, NotifiedAlert};
use crate::route::receiver::pagerduty::{self, PagerDutyImage, PagerDutyKey, PagerDutyLink};
use crate::route::receiver::{Receiver, SecretSource};
use crate::route::template::{Scope, Templates};

/// Path of the older interface on the same host.
const EVENTS_V1: &str = "/generic/2010-04-15/create_event.json";
/// What PagerDuty takes of one event, in bytes of JSON.
const MAX_EVENT: usize = 512_000;
const MAX_SUMMARY: usize = 1024;
/// Alerts that the details spell out, and characters of each line.
const MAX_SHOWN: usize = 100;
const MAX_LINE: usize = 1000;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let mut built: Notifiers = Vec::new();
    for config in &receiver.pagerduty {
        let url = match config.key {
            PagerDutyKey::Routing(_) => config.url.clone(),
            PagerDutyKey::Service(_) => older(&config.url),
        };
        let url = SecretSource::Value(pitcrew_exporter::secret::Secret::new(url));
        built.push(Box::new(PagerDuty {
            endpoint: Endpoint::new(url, config.http.clone(), settings.attempt_timeout),
            config: config.clone(),
            external_url: settings.external_url.clone(),
            templates: Arc::clone(&settings.templates),
        }));
    }
    Ok(built)
}

/// The older interface of the server that the newer one's URL names.
fn older(url: &str) -> String {
    Url::parse(url).and_then(|url| url.join(EVENTS_V1)).map_or_else(|_| url.to_owned(), Into::into)
}

struct PagerDuty {
    endpoint: Endpoint,
    config: pagerduty::PagerDuty,
    external_url: String,
    templates: Arc<Templates>,
}

#[async_trait]
impl Notifier for PagerDuty {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let (notification, url) = (delivery.notification, &self.external_url);
        let scope = Scope { notification, external_url: url };
        let config = expanded(&self.config, &self.templates, &scope);
        let key = |source: &SecretSource| {
            source.read().map(|key| self.templates.expand(key.reveal(), &scope))
        };
        let (body, old) = match &self.config.key {
            PagerDutyKey::Routing(source) => {
                (json(event(notification, &config, &key(source)?, url)), false)
            }
            PagerDutyKey::Service(source) => {
                (json(old_event(notification, &config, &key(source)?, url)), true)
            }
        };
        match self.endpoint.post(body, &[]).await {
            Ok(_) => Ok(Sent::default()),
            // The older interface says 403 when it is asked too often.
            Err(NotifyError::Refused { to, answer }) if old && answer.starts_with("403") => {
                Err(NotifyError::Busy { to, answer, retry_after: None })
            }
            Err(error) => Err(error),
        }
    }
}

/// The configuration with what its texts say of this notification.
fn expanded(
    config: &pagerduty::PagerDuty,
    templates: &Templates,
    of: &Scope<'_>,
) -> pagerduty::PagerDuty {
    let text = |own: &Option<String>, name| templates.text(own.as_deref(), name, of);
    let own = |own: &Option<String>| own.as_deref().map(|text| templates.expand(text, of));
    let expand = |text: &String| templates.expand(text, of);
    let images = config.images.iter().map(|image| PagerDutyImage {
        src: expand(&image.src),
        alt: expand(&image.alt),
        href: expand(&image.href),
    });
    let links = config.links.iter();
    let links =
        links.map(|link| PagerDutyLink { href: expand(&link.href), text: expand(&link.text) });
    pagerduty::PagerDuty {
        client: text(&config.client, "pagerduty.default.client"),
        client_url: text(&config.client_url, "pagerduty.default.clientURL"),
        description: text(&config.description, "pagerduty.default.description"),
        details: config.details.iter().map(|(name, text)| (name.clone(), expand(text))).collect(),
        images: images.collect(),
        links: links.collect(),
        source: own(&config.source),
        severity: own(&config.severity),
        class: own(&config.class),
        component: own(&config.component),
        group: own(&config.group),
        ..config.clone()
    }
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    dedup_key: String,
    payload: Payload,
    client: String,
    client_url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

#[derive(Debug, Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    class: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    custom_details: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Image {
    src: String,
    alt: String,
    href: String,
}

#[derive(Debug, Serialize)]
struct Link {
    href: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct OldEvent<'a> {
    service_key: &'a str,
    event_type: &'static str,
    incident_key: String,
    description: String,
    client: String,
    client_url: String,
    details: BTreeMap<String, String>,
}

/// What may be too long: its details go before anything else does.
trait Shorten: Serialize {
    fn details(&mut self) -> &mut BTreeMap<String, String>;
}

impl Shorten for Event<'_> {
    fn details(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.payload.custom_details
    }
}

impl Shorten for OldEvent<'_> {
    fn details(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.details
    }
}

fn json(mut event: impl Shorten) -> String {
    let text = |event: &_| serde_json::to_string(event).expect("text always serializes");
    let whole = text(&event);
    if whole.len() <= MAX_EVENT {
        return whole;
    }
    let note = format!("left out: the event would have {} bytes of {MAX_EVENT}", whole.len());
    *event.details() = BTreeMap::from([("details".to_owned(), note)]);
    text(&event)
}

/// The same for every notification of a group, so that its end ends the incident: SHA-256 of the
/// group's key in hexadecimal, as Alertmanager has it.
fn dedup_key(notification: &Notification) -> String {
    let hash = digest::digest(&digest::SHA256, notification.group_key.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn action(notification: &Notification) -> &'static str {
    match notification.reason {
        Reason::Noted => "acknowledge",
        _ if notification.is_resolved() => "resolve",
        _ => "trigger",
    }
}

fn event<'a>(
    notification: &Notification,
    config: &pagerduty::PagerDuty,
    routing_key: &'a str,
    external_url: &str,
) -> Event<'a> {
    let text = |given: &Option<String>| clip(given.as_deref().unwrap_or(""), MAX_SUMMARY);
    let client = client(config);
    let source = config.source.clone().or_else(|| source(notification));
    let images = config.images.iter().filter(|image| !image.src.is_empty()).map(|image| Image {
        src: image.src.clone(),
        alt: image.alt.clone(),
        href: image.href.clone(),
    });
    let links = config
        .links
        .iter()
        .map(|link| Link { href: link.href.clone(), text: link.text.clone() })
        .chain(our_links(notification));
    Event {
        routing_key,
        event_action: action(notification),
        dedup_key: dedup_key(notification),
        payload: Payload {
            summary: summary(notification, config),
            source: clip(
                &source.filter(|s| !s.is_empty()).unwrap_or_else(|| client.clone()),
                MAX_SUMMARY,
            ),
            severity: severity(notification, config.severity.as_deref()),
            class: text(&config.class),
            component: text(&config.component),
            group: text(&config.group),
            custom_details: details(notification, config),
        },
        client,
        client_url: client_url(config, external_url),
        images: images.collect(),
        links: links.filter(|link| wording::link(&link.href).is_some()).collect(),
    }
}

fn old_event<'a>(
    notification: &Notification,
    config: &pagerduty::PagerDuty,
    service_key: &'a str,
    external_url: &str,
) -> OldEvent<'a> {
    OldEvent {
        service_key,
        event_type: action(notification),
        incident_key: dedup_key(notification),
        description: summary(notification, config),
        client: client(config),
        client_url: client_url(config, external_url),
        details: details(notification, config),
    }
}

fn summary(notification: &Notification, config: &pagerduty::PagerDuty) -> String {
    let own = || {
        let subject = wording::subject(notification);
        let alert = notification.firing().next().or(notification.alerts.first());
        match alert.map(wording::headline).filter(|headline| !headline.is_empty()) {
            Some(headline) => format!("{subject}: {headline}"),
            None => subject,
        }
    };
    let text = config.description.clone().unwrap_or_else(own);
    // Refused when empty.
    let text = if text.trim().is_empty() { "alert".to_owned() } else { text };
    clip(&legible(&text).replace('\n', " "), MAX_SUMMARY)
}

fn client(config: &pagerduty::PagerDuty) -> String {
    clip(config.client.as_deref().unwrap_or("Pitcrew"), MAX_SUMMARY)
}

fn client_url(config: &pagerduty::PagerDuty, external_url: &str) -> String {
    config.client_url.clone().unwrap_or_else(|| external_url.to_owned())
}

/// The host that it is about, where there is one.
fn source(notification: &Notification) -> Option<String> {
    let alert = notification.firing().next().or(notification.alerts.first())?;
    ["runner", "instance"].iter().find_map(|name| alert.labels.get(*name)).cloned()
}

/// One of PagerDuty's four words; any other would be refused.
fn severity(notification: &Notification, given: Option<&str>) -> &'static str {
    if let Some(given) = given {
        return match given.trim().to_ascii_lowercase().as_str() {
            "critical" => "critical",
            "warning" => "warning",
            "info" => "info",
            _ => "error",
        };
    }
    let alerts: Vec<_> = match notification.is_resolved() {
        true => notification.alerts.iter().collect(),
        false => notification.firing().collect(),
    };
    let has = |severity| alerts.iter().any(|alert| Severity::of(alert) == severity);
    match () {
        () if has(Severity::Critical) => "critical",
        () if has(Severity::Warning) => "warning",
        () => "info",
    }
}

/// Alertmanager's four, and what the configuration adds or replaces.
fn details(notification: &Notification, config: &pagerduty::PagerDuty) -> BTreeMap<String, String> {
    let (over, firing): (Vec<_>, Vec<_>) =
        notification.alerts.iter().partition(|alert| alert.ends_at.is_some());
    let count = firing.len() as u64 + notification.truncated;
    let mut details = BTreeMap::from([
        ("firing".to_owned(), lines(&firing)),
        ("resolved".to_owned(), lines(&over)),
        ("num_firing".to_owned(), count.to_string()),
        ("num_resolved".to_owned(), over.len().to_string()),
    ]);
    details.extend(config.details.clone());
    details
}

fn lines(alerts: &[&NotifiedAlert]) -> String {
    let mut lines = Vec::new();
    for alert in alerts.iter().take(MAX_SHOWN) {
        let labels: Vec<_> = alert.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let line = format!("{} ({})", wording::headline(alert), labels.join(", "));
        lines.push(clip(&legible(&line).replace('\n', " "), MAX_LINE));
    }
    if alerts.len() > MAX_SHOWN {
        lines.push(format!("… and {} more", alerts.len() - MAX_SHOWN));
    }
    lines.join("\n")
}

/// Where the runbooks of its alerts are, each once.
fn our_links(notification: &Notification) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for alert in &notification.alerts {
        let href = alert.annotation("runbook_url");
        if !href.is_empty() && links.len() < 10 && links.iter().all(|link| link.href != href) {
            links.push(Link { href: href.to_owned(), text: format!("Runbook: {}", alert.name()) });
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;
    use crate::route::config;
    use std::path::Path;

    fn config(more: &str) -> pagerduty::PagerDuty {
        let text = format!(
            "route: {{ receiver: a }}
receivers: [ {{ name: a, pagerduty_configs: [ {{ {more} }} ] }} ]"
        );
        config::parse(Path::new("a"), &text).unwrap().receivers.remove(0).pagerduty.remove(0)
    }

    #[test]
    fn an_event_that_the_next_one_ends() {
        let config = config("routing_key: k");
        let mut notification = sample(true);
        let value = serde_json::to_value(event(&notification, &config, "k", "http://p")).unwrap();
        assert_eq!(value["routing_key"], "k");
        assert_eq!(value["event_action"], "trigger");
        // SHA-256 of `{}:{}`.
        let key = "cc9772a1ec901d26ef71dae861793e4d08979fa5030a3f0a5f3ba549f1f2d0b6";
        assert_eq!(value["dedup_key"], key);
        assert_eq!(value["payload"]["severity"], "warning");
        assert_eq!(value["payload"]["source"], "a");
        assert_eq!(value["payload"]["custom_details"]["num_resolved"], "1");
        assert_eq!(value["links"][0]["text"], "Runbook: RunnerOffline");
        notification.alerts.remove(0);
        let end = serde_json::to_value(event(&notification, &config, "k", "")).unwrap();
        assert_eq!(
            (&end["event_action"], &end["dedup_key"]),
            (&"resolve".into(), &value["dedup_key"])
        );
    }

    #[test]
    fn keys_of_the_configuration_and_words_that_pagerduty_knows() {
        let config = config(
            "service_key: s, severity: '{{ urgent }}', class: deep, description: 'a b', \
             details: { num_firing: many, own: x }, links: [{ href: 'http://l', text: l }, { href: '' }], \
             url: 'https://events.eu.pagerduty.com/v2/enqueue'",
        );
        let sample = sample(false);
        let value = serde_json::to_value(event(&sample, &config, "k", "")).unwrap();
        assert_eq!(value["payload"]["severity"], "error");
        assert_eq!(value["payload"]["class"], "deep");
        assert_eq!(value["payload"]["summary"], "a b");
        assert_eq!(value["payload"]["custom_details"]["num_firing"], "many");
        assert_eq!(value["links"].as_array().unwrap().len(), 2);
        assert_eq!(
            older(&config.url),
            "https://events.eu.pagerduty.com/generic/2010-04-15/create_event.json"
        );
        let old = serde_json::to_value(old_event(&sample, &config, "s", "")).unwrap();
        assert_eq!((&old["event_type"], &old["service_key"]), (&"trigger".into(), &"s".into()));
        assert_eq!(old["incident_key"], value["dedup_key"]);
    }

    #[test]
    fn too_much_loses_its_details_alone() {
        let mut config = config("routing_key: k");
        config.details.insert("big".into(), "x".repeat(MAX_EVENT));
        let text = json(event(&sample(false), &config, "k", ""));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(text.len() <= MAX_EVENT && value["dedup_key"].is_string());
        assert!(value["payload"]["custom_details"]["details"].as_str().unwrap().contains("512000"));
        config.details.clear();
        config.description = Some("ä".repeat(5000));
        assert_eq!(event(&sample(false), &config, "k", "").payload.summary.chars().count(), 1024);
    }
}
