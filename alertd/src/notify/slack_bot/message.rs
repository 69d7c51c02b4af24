//! One alert group as a message of Slack's blocks (pure).

use reqwest::Url;
use serde::Serialize;

use super::blocks::{Block, Button, MAX_FIELD, MAX_FIELDS, MAX_SECTION, Text};
use crate::notify::mrkdwn::{line, moment, paragraph};
use crate::notify::wording::{self, Severity};
use crate::route::notification::{Notification, NotifiedAlert, common};

/// Alerts that are spelled out; the rest is counted. With it a message stays below Slack's limits
/// on blocks and on the whole of its text.
const MAX_SHOWN: usize = 10;
const MAX_HEADLINE: usize = 200;
const MAX_DESCRIPTION: usize = 2000;
const MAX_NAME: usize = 60;
const MAX_VALUE: usize = 200;
/// Of what only one of several alerts has.
const MAX_OWN: usize = 5;
const MAX_OWN_VALUE: usize = 60;

/// What the buttons are called when somebody clicks.
pub(super) const ACKNOWLEDGE: &str = "pitcrew_acknowledge";
pub(super) const SILENCE_1H: &str = "pitcrew_silence_1h";
pub(super) const SILENCE_4H: &str = "pitcrew_silence_4h";
pub(super) const SILENCE_ALERT: &str = "pitcrew_silence_until_resolved";

/// The content of a message, wherever it is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Content {
    /// For notifications and for who reads no blocks.
    pub(super) text: String,
    pub(super) blocks: Vec<Block>,
    pub(super) attachments: Vec<Attachment>,
}

/// Blocks beside a coloured bar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Attachment {
    color: &'static str,
    fallback: String,
    blocks: Vec<Block>,
}

/// `key` is what buttons say of the group when they are clicked; without it there are none.
pub(super) fn content(
    notification: &Notification,
    external_url: &str,
    key: Option<&str>,
) -> Content {
    let severity = notification.firing().map(Severity::of).min_by_key(|found| rank(*found));
    let subject = wording::subject(notification);
    let headline = notification.alerts.first().map_or("", wording::headline);
    let text = format!("{} {}: {}", sign(severity), line(&subject, 300), line(headline, 300));
    let mut blocks = vec![overview(notification, severity)];
    let firing = notification.firing();
    let over = notification.alerts.iter().filter(|alert| alert.ends_at.is_some());
    let runbook = shared_runbook(notification);
    for alert in firing.chain(over).take(MAX_SHOWN) {
        details(alert, notification, runbook.is_none(), &mut blocks);
    }
    let left = notification.alerts.len().saturating_sub(MAX_SHOWN) as u64 + notification.truncated;
    if left > 0 {
        blocks.push(Block::context(format!("… and {left} more alerts")));
    }
    let elements = actions(notification, external_url, runbook.as_ref(), key);
    if !elements.is_empty() {
        blocks.push(Block::Actions { elements });
    }
    let fallback = format!("{} {}", sign(severity), line(&subject, 300));
    Content {
        text,
        blocks: vec![Block::header(&title(notification, severity))],
        attachments: vec![Attachment { color: color(severity), fallback, blocks }],
    }
}

/// `None`: it is over.
pub(super) fn color(severity: Option<Severity>) -> &'static str {
    match severity {
        None => "#2e9e5b",
        Some(Severity::Critical) => "#d13438",
        Some(Severity::Warning) => "#e8a317",
        Some(Severity::Info) => "#3b82d6",
    }
}

pub(super) fn sign(severity: Option<Severity>) -> &'static str {
    match severity {
        None => "✅",
        Some(Severity::Critical) => "🔴",
        Some(Severity::Warning) => "🟠",
        Some(Severity::Info) => "🔵",
    }
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// What the message is about: sign, alert, other group labels.
fn title(notification: &Notification, severity: Option<Severity>) -> String {
    let shared = common(notification.alerts.iter().map(|alert| &alert.labels));
    let name = shared.get("alertname").map_or("Alerts", String::as_str);
    let others = notification.group_labels.iter().filter(|(label, _)| *label != "alertname");
    let others = others.map(|(_, value)| value.as_str());
    format!(
        "{} {}",
        sign(severity),
        [name].into_iter().chain(others).collect::<Vec<_>>().join(" · ")
    )
}

/// How many, how bad, since when, and what all of them share.
fn overview(notification: &Notification, severity: Option<Severity>) -> Block {
    let firing = notification.firing().count() as u64 + notification.truncated;
    let over = notification.alerts.len() - notification.firing().count();
    let since = notification.firing().map(|alert| alert.starts_at).min();
    let mut words = Vec::new();
    match (severity, since) {
        (Some(severity), Some(since)) => {
            words.push(format!("*{firing} firing*"));
            words.push(word(severity).to_owned());
            words.push(format!("since {}", moment(since)));
            if over > 0 {
                words.push(format!("{over} resolved"));
            }
        }
        _ => {
            words.push("*Resolved*".to_owned());
            words.extend(
                notification.alerts.iter().filter_map(|alert| alert.ends_at).max().map(moment),
            );
        }
    }
    let fields = shared_facts(notification).into_iter().map(|(name, value)| {
        Text::markup(format!("*{}*\n{}", line(&name, MAX_NAME), line(&value, MAX_VALUE)))
    });
    const { assert!(2 * (MAX_NAME + MAX_VALUE) < MAX_FIELD) };
    Block::Section {
        text: Some(Text::markup(words.join(" · "))),
        fields: fields.take(MAX_FIELDS).collect(),
        accessory: None,
    }
}

/// What happened, and what this alert has that not all of the others have.
fn details(alert: &NotifiedAlert, all: &Notification, runbook: bool, blocks: &mut Vec<Block>) {
    // The more alerts there are, the less each may say.
    let shown = all.alerts.len().clamp(1, MAX_SHOWN);
    let mut text = format!("*{}*", line(wording::headline(alert), MAX_HEADLINE));
    let description = paragraph(wording::description(alert), MAX_DESCRIPTION / shown);
    if !description.is_empty() {
        text.push('\n');
        text.push_str(&description);
    }
    const { assert!(MAX_HEADLINE + MAX_DESCRIPTION + 3 < MAX_SECTION) };
    let link = wording::link(alert.annotation("runbook_url")).filter(|_| runbook);
    blocks.push(Block::Section {
        text: Some(Text::markup(text)),
        fields: Vec::new(),
        accessory: link.and_then(|url| Button::open("pitcrew_open_runbook", "Runbook", &url)),
    });
    if all.alerts.len() == 1 {
        return;
    }
    let shared = shared_facts(all);
    let own = facts(alert).into_iter().filter(|fact| !shared.contains(fact));
    let mut words: Vec<String> = own
        .take(MAX_OWN)
        .map(|(name, value)| format!("{} {}", line(&name, MAX_NAME), line(&value, MAX_OWN_VALUE)))
        .collect();
    match wording::ended(alert) {
        Some(ended) => words.insert(0, format!("✅ {ended}")),
        None => words.push(format!("since {}", moment(alert.starts_at))),
    }
    blocks.push(Block::context(words.join(" · ")));
}

fn actions(
    notification: &Notification,
    external_url: &str,
    runbook: Option<&Url>,
    key: Option<&str>,
) -> Vec<Button> {
    let mut elements = Vec::new();
    if let Some(key) = key.filter(|_| !notification.is_resolved()) {
        let act = |id, words| Button::act(id, words, key);
        elements.push(act(ACKNOWLEDGE, "Acknowledge").primary());
        elements.push(act(SILENCE_1H, "Silence 1 h"));
        elements.push(act(SILENCE_4H, "Silence 4 h"));
        elements.push(act(SILENCE_ALERT, "Silence until resolved"));
    }
    let open = |id, words, url: &Url| Button::open(id, words, url);
    elements.extend(runbook.and_then(|url| open("pitcrew_open_runbook", "Runbook", url)));
    if let [alert] = notification.alerts.as_slice() {
        let query = wording::link(&alert.generator_url);
        elements.extend(query.and_then(|url| open("pitcrew_open_query", "Query", &url)));
    }
    let page = wording::link(external_url);
    elements.extend(page.and_then(|url| open("pitcrew_open_page", "Pitcrew", &url)));
    elements
}

fn shared_runbook(notification: &Notification) -> Option<Url> {
    let mut links = notification.alerts.iter().map(|alert| alert.annotation("runbook_url"));
    let first = links.next()?;
    links.all(|link| link == first).then(|| wording::link(first)).flatten()
}

/// Where it is first, then every other label.
fn facts(alert: &NotifiedAlert) -> Vec<(String, String)> {
    let mut facts = wording::facts(alert);
    for (name, value) in &alert.labels {
        if name != "alertname" && !facts.iter().any(|(known, _)| known == name) {
            facts.push((name.clone(), value.clone()));
        }
    }
    facts
}

fn shared_facts(notification: &Notification) -> Vec<(String, String)> {
    let mut alerts = notification.alerts.iter().map(facts);
    let mut shared = alerts.next().unwrap_or_default();
    for facts in alerts {
        shared.retain(|fact| facts.contains(fact));
    }
    shared
}

#[cfg(test)]
mod tests;
