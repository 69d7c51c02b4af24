//! Slack, by incoming webhook: one attachment per alert, coloured by severity.

mod classic;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use super::http::Endpoint;
use super::mrkdwn::{anchor, escape};
use super::wording::{self, Severity, clip};
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::route::notification::{Notification, NotifiedAlert};
use crate::route::receiver::{Receiver, slack};
use crate::route::template::{Scope, Templates};

/// Alerts that get an attachment of their own; the rest is counted.
const MAX_ATTACHMENTS: usize = 10;
const MAX_TITLE: usize = 200;
const MAX_TEXT: usize = 1500;
const MAX_FIELD: usize = 200;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let mut built: Notifiers = Vec::new();
    for config in &receiver.slack {
        let (url, http) = (config.url.clone(), config.http.clone());
        built.push(Box::new(Slack {
            endpoint: Endpoint::new(url, http, settings.attempt_timeout),
            config: config.clone(),
            external_url: settings.external_url.clone(),
            templates: Arc::clone(&settings.templates),
        }));
    }
    Ok(built)
}

struct Slack {
    endpoint: Endpoint,
    config: slack::Slack,
    external_url: String,
    templates: Arc<Templates>,
}

#[async_trait]
impl Notifier for Slack {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let body = body(delivery.notification, &self.config, &self.external_url, &self.templates);
        let body = body.to_string();
        let answer = self.endpoint.post(body, &[]).await?;
        judge(&answer).map(|()| Sent::default())
    }
}

fn body(
    notification: &Notification,
    config: &slack::Slack,
    external_url: &str,
    templates: &Templates,
) -> Value {
    let shown = notification.mapped(escape);
    let plain = Scope { notification, external_url };
    let shown = Scope { notification: &shown, external_url };
    let config = config.expanded(templates, &plain, &shown);
    let made = match classic::is_worded(&config) {
        true => {
            let subject = escape(&wording::subject(notification));
            serde_json::to_value(classic::message(config, notification, subject, external_url))
        }
        false => serde_json::to_value(message(notification, &config, external_url)),
    };
    made.expect("maps with text as keys always serialize")
}

/// An incoming webhook says `ok`, or in one word what is wrong; Slack's other addresses say in JSON
/// what they think of it. A status of 200 alone says nothing.
fn judge(answer: &str) -> Result<(), NotifyError> {
    let value: Value = serde_json::from_str(answer).unwrap_or_default();
    let word = match value.get("ok").and_then(Value::as_bool) {
        Some(true) => return Ok(()),
        Some(false) => value.get("error").and_then(Value::as_str).unwrap_or("not_ok"),
        None if answer.trim() == "ok" => return Ok(()),
        None => answer.trim(),
    };
    let (to, answer) = ("Slack".to_owned(), clip(word, 100));
    match word {
        "ratelimited" | "rate_limited" | "rollup_error" | "service_unavailable" => {
            Err(NotifyError::Busy { to, answer, retry_after: None })
        }
        // Slack says that part of it may have happened.
        "internal_error" | "fatal_error" | "request_timeout" => {
            Err(NotifyError::NoAnswer { to, cause: answer })
        }
        _ if !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
            Err(NotifyError::Refused { to, answer })
        }
        // A proxy's page, say. It is not shown: it may repeat the URL, which is a secret.
        _ => Err(NotifyError::NoAnswer { to, cause: "it said something else than ok".to_owned() }),
    }
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_emoji: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<&'a str>,
    text: String,
    attachments: Vec<Attachment>,
}

#[derive(Debug, Serialize)]
struct Attachment {
    color: &'static str,
    fallback: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title_link: Option<String>,
    text: String,
    fields: Vec<Field>,
    footer: String,
    /// Seconds since 1970, as a text: so Slack's own types have it.
    ts: String,
    mrkdwn_in: [&'static str; 1],
}

#[derive(Debug, Serialize)]
struct Field {
    title: String,
    value: String,
    short: bool,
}

fn message<'a>(
    notification: &Notification,
    config: &'a slack::Slack,
    external_url: &str,
) -> Message<'a> {
    let mut text = format!("*{}*", escape(&wording::subject(notification)));
    if let Some(url) = wording::link(external_url) {
        text.push_str(&format!(" {}", anchor(&url, "open Pitcrew")));
    }
    let left = notification.alerts.len().saturating_sub(MAX_ATTACHMENTS) as u64;
    if left + notification.truncated > 0 {
        text.push_str(&format!("\n… and {} more alerts", left + notification.truncated));
    }
    let alerts = notification.alerts.iter().take(MAX_ATTACHMENTS);
    Message {
        channel: config.channel.as_deref(),
        username: Some(config.username.as_deref().unwrap_or("Pitcrew")),
        icon_emoji: config.icon_emoji.as_deref(),
        icon_url: config.icon_url.as_deref(),
        text,
        attachments: alerts.map(attachment).collect(),
    }
}

fn attachment(alert: &NotifiedAlert) -> Attachment {
    let color = match (alert.ends_at.is_some(), Severity::of(alert)) {
        (true, _) => "#2e9e5b",
        (false, Severity::Critical) => "#d13438",
        (false, Severity::Warning) => "#e8a317",
        (false, Severity::Info) => "#3b82d6",
    };
    let headline = escape(&clip(wording::headline(alert), MAX_TITLE));
    let title = match wording::ended(alert) {
        Some(ended) => format!("{headline} – {ended}"),
        None => headline,
    };
    let mut lines = vec![escape(&clip(wording::description(alert), MAX_TEXT))];
    if let Some(url) = wording::link(alert.annotation("runbook_url")) {
        lines.push(anchor(&url, "Runbook"));
    }
    let facts = wording::facts(alert);
    let fields = facts.into_iter().map(|(name, value)| Field {
        title: escape(&clip(&name, MAX_FIELD)),
        value: escape(&clip(&value, MAX_FIELD)),
        short: true,
    });
    Attachment {
        color,
        fallback: title.clone(),
        title,
        title_link: wording::link(&alert.generator_url).map(|url| escape(url.as_str())),
        text: lines.join("\n").trim().to_owned(),
        fields: fields.collect(),
        footer: format!("{} started", escape(&clip(alert.name(), MAX_FIELD))),
        ts: alert.starts_at.0.div_euclid(1000).to_string(),
        mrkdwn_in: ["text"],
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;
    use crate::route::config;
    use std::path::Path;

    /// What is sent with these keys beside the URL.
    pub(crate) fn payload(keys: &str) -> Value {
        let text = format!(
            "route: {{ receiver: a }}\nreceivers:\n- name: a\n  slack_configs:\n          - \
             api_url: http://x/\n            {}",
            keys.trim_start()
        );
        let mut config = config::parse(Path::new("a"), &text).unwrap();
        let slack = config.receivers.remove(0).slack.remove(0);
        body(&sample(false), &slack, "http://p.test", &Templates::default())
    }

    fn config(extra: &str) -> slack::Slack {
        let text = format!(
            "route: {{ receiver: a }}\nreceivers: [ {{ name: a, slack_configs: \
             [ {{ api_url: 'http://x/', channel: '#ci' {extra} }} ] }} ]"
        );
        config::parse(Path::new("a"), &text).unwrap().receivers.remove(0).slack.remove(0)
    }

    #[test]
    fn a_message_with_everything_escaped() {
        let config = config("");
        let value =
            serde_json::to_value(message(&sample(true), &config, "http://p.test/")).unwrap();
        assert_eq!(value["channel"], "#ci");
        assert_eq!(value["text"], "*[FIRING:1] RunnerOffline ci* <http://p.test/|open Pitcrew>");
        let [first, second] = [&value["attachments"][0], &value["attachments"][1]];
        assert_eq!((&first["color"], &second["color"]), (&"#e8a317".into(), &"#2e9e5b".into()));
        assert_eq!(first["title"], "&lt;b&gt;Runner&lt;/b&gt; &amp; &lt;!here&gt; gone");
        assert!(second["title"].as_str().unwrap().ends_with(" – resolved after 4m 5s"));
        assert_eq!(
            first["text"],
            "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;\n\
             <https://x.test/RunnerOffline.md?a=1&amp;b=%7C%3E|Runbook>"
        );
        assert!(first.get("title_link").is_none(), "only http links");
        assert_eq!(
            first["fields"][0],
            serde_json::json!({"title":"pool","value":"ci","short":true})
        );
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut notification = sample(false);
        let one = notification.alerts[0].clone();
        notification.alerts = vec![one; 500];
        notification.truncated = 3;
        let config = config("");
        let message = message(&notification, &config, "");
        assert_eq!(message.attachments.len(), 10);
        assert!(message.text.ends_with("*\n… and 493 more alerts"), "{}", message.text);
    }

    #[test]
    fn answers() {
        // What it says | later (l), perhaps taken (p), never (n), taken (t)
        for (answer, want) in [
            ("ok", 't'),
            ("ok\n", 't'),
            (r#"{"ok":true}"#, 't'),
            ("", 'p'),
            ("<html>/services/T0/B0/hunter2", 'p'),
            (r#"{"ok":"yes"}"#, 'p'),
            (r#"{"ok":false}"#, 'n'),
            (r#"{"ok":false,"error":"channel_not_found"}"#, 'n'),
            (r#"{"ok":false,"error":"ratelimited"}"#, 'l'),
            (r#"{"ok":false,"error":"internal_error"}"#, 'p'),
            ("no_text", 'n'),
            ("rollup_error", 'l'),
        ] {
            let found = judge(answer);
            let text = found.as_ref().map_or_else(ToString::to_string, |()| String::new());
            let kind = match found {
                Ok(()) => 't',
                Err(NotifyError::Busy { .. }) => 'l',
                Err(NotifyError::NoAnswer { .. }) => 'p',
                Err(_) => 'n',
            };
            assert_eq!(kind, want, "{answer}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
