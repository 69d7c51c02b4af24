//! Discord, by webhook: one embed per alert, coloured by severity, within Discord's limits.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::http::Endpoint;
use super::wording::{self, Severity, legible};
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::route::notification::{Notification, NotifiedAlert};
use crate::route::receiver::{Receiver, discord};
use crate::route::template::{Scope, Templates};

/// Discord's limits, in the units of UTF-16 that it counts.
const MAX_CONTENT: usize = 2000;
const MAX_EMBEDS: usize = 10;
const MAX_TITLE: usize = 256;
const MAX_TEXT: usize = 4096;
const MAX_FIELDS: usize = 25;
const MAX_FIELD_NAME: usize = 256;
const MAX_FIELD_VALUE: usize = 1024;
const MAX_USERNAME: usize = 80;
/// Of all embeds of one message together.
const MAX_TOTAL: usize = 6000;
/// Left for further alerts by each description of ours.
const OUR_TEXT: usize = 700;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let mut built: Notifiers = Vec::new();
    for config in &receiver.discord {
        let (url, http) = (config.url.clone(), config.http.clone());
        built.push(Box::new(Discord {
            endpoint: Endpoint::new(url, http, settings.attempt_timeout),
            config: config.clone(),
            external_url: settings.external_url.clone(),
            templates: Arc::clone(&settings.templates),
        }));
    }
    Ok(built)
}

struct Discord {
    endpoint: Endpoint,
    config: discord::Discord,
    external_url: String,
    templates: Arc<Templates>,
}

#[async_trait]
impl Notifier for Discord {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let plain = Scope { notification: delivery.notification, external_url: &self.external_url };
        // What people read: no label can be markup there.
        let escaped = delivery.notification.mapped(escape);
        let shown = Scope { notification: &escaped, ..plain };
        let config = expanded(&self.config, &self.templates, &plain, &shown);
        let message = message(delivery.notification, &config, &self.external_url);
        let body = serde_json::to_string(&message).expect("text and numbers always serialize");
        self.endpoint.post(body, &[]).await.map(|_| Sent::default())
    }
}

/// The configuration with what its texts say of this notification.
fn expanded(
    config: &discord::Discord,
    templates: &Templates,
    plain: &Scope<'_>,
    shown: &Scope<'_>,
) -> discord::Discord {
    let text = |own: &Option<String>, name| templates.text(own.as_deref(), name, shown);
    let own = |own: &Option<String>| own.as_deref().map(|text| templates.expand(text, plain));
    discord::Discord {
        title: text(&config.title, "discord.default.title"),
        message: text(&config.message, "discord.default.message"),
        content: text(&config.content, "discord.default.content"),
        username: own(&config.username),
        avatar_url: own(&config.avatar_url),
        ..config.clone()
    }
}

#[derive(Debug, Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    content: String,
    embeds: Vec<Embed>,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    allowed_mentions: AllowedMentions,
}

/// Nobody is called, whatever a label says.
#[derive(Debug, Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

#[derive(Debug, Serialize)]
struct Embed {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    color: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    timestamp: String,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    value: String,
    inline: bool,
}

/// What is left of the characters that all embeds may have together.
struct Budget(usize);

impl Budget {
    /// As much of the text as fits both.
    fn take(&mut self, text: &str, limit: usize) -> String {
        let text = fit(text, limit.min(self.0));
        self.0 -= units(&text);
        text
    }
}

fn message(notification: &Notification, config: &discord::Discord, external_url: &str) -> Message {
    let mut budget = Budget(MAX_TOTAL);
    let subject = config.title.clone();
    let subject = subject.unwrap_or_else(|| escape(&wording::subject(notification)));
    let mut content = config.content.clone().unwrap_or_default();
    let embeds = match &config.message {
        Some(message) => vec![Embed {
            title: budget.take(&subject, MAX_TITLE),
            url: wording::link(external_url).map(|url| url.to_string()),
            description: budget.take(message, MAX_TEXT),
            color: notification.alerts.first().map_or(0, color),
            fields: Vec::new(),
            timestamp: notification.at.rfc3339(),
        }],
        None => {
            let mut embeds = Vec::new();
            for alert in notification.alerts.iter().take(MAX_EMBEDS) {
                // A title and some words at least, or none of it.
                if budget.0 < MAX_TITLE + 100 {
                    break;
                }
                embeds.push(embed(alert, &mut budget));
            }
            let left = (notification.alerts.len() - embeds.len()) as u64 + notification.truncated;
            let more =
                if left > 0 { format!("\n… and {left} more alerts") } else { String::new() };
            if content.is_empty() || config.title.is_some() {
                let line = if content.is_empty() { "" } else { "\n" };
                content = fit(&content, MAX_CONTENT / 2);
                content.push_str(&format!("{line}**{}**{more}", fit(&subject, MAX_CONTENT / 3)));
            }
            embeds
        }
    };
    Message {
        content: fit(&content, MAX_CONTENT),
        embeds,
        username: fit(config.username.as_deref().unwrap_or("Pitcrew"), MAX_USERNAME),
        avatar_url: config.avatar_url.clone().filter(|url| wording::link(url).is_some()),
        allowed_mentions: AllowedMentions { parse: [] },
    }
}

fn embed(alert: &NotifiedAlert, budget: &mut Budget) -> Embed {
    let headline = wording::headline(alert);
    let title = match wording::ended(alert) {
        Some(ended) => format!("{} – {ended}", fit(&escape(headline), MAX_TITLE - 60)),
        None => escape(headline),
    };
    let title = budget.take(&title, MAX_TITLE);
    let description = budget.take(&escape(wording::description(alert)), OUR_TEXT);
    let mut fields = Vec::new();
    for (name, value) in wording::facts(alert).into_iter().take(MAX_FIELDS) {
        let (name, value) = (escape(&name), escape(&value));
        // An empty field is refused, and with it the message.
        if name.is_empty() || value.is_empty() || budget.0 < 100 {
            continue;
        }
        let name = budget.take(&name, MAX_FIELD_NAME);
        let value = budget.take(&value, MAX_FIELD_VALUE.min(200));
        if !value.is_empty() {
            fields.push(Field { name, value, inline: true });
        }
    }
    let url = wording::link(alert.annotation("runbook_url"));
    let url = url.or_else(|| wording::link(&alert.generator_url)).map(|url| url.to_string());
    Embed {
        title,
        // Longer ones are refused.
        url: url.filter(|url| url.len() <= 2048),
        description,
        color: color(alert),
        fields,
        timestamp: alert.ends_at.unwrap_or(alert.starts_at).rfc3339(),
    }
}

fn color(alert: &NotifiedAlert) -> u32 {
    match (alert.ends_at.is_some(), Severity::of(alert)) {
        (true, _) => 0x2e_9e5b,
        (false, Severity::Critical) => 0xd1_3438,
        (false, Severity::Warning) => 0xe8_a317,
        (false, Severity::Info) => 0x3b_82d6,
    }
}

/// Text in which no character is markup, a mention or a control character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in legible(text).chars() {
        if r"\*_~`|>[]()#<@:-+".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out.trim().to_owned()
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// At most `limit` units, with an ellipsis when some are missing; an escape is not cut in two.
fn fit(text: &str, limit: usize) -> String {
    if units(text) <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.len_utf16()) else { break };
        left = rest;
        out.push(c);
    }
    let slashes = out.chars().rev().take_while(|c| *c == '\\').count();
    if slashes % 2 == 1 {
        out.pop();
    }
    if limit > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;
    use crate::route::config;
    use std::path::Path;

    fn config(more: &str) -> discord::Discord {
        let text = format!(
            "route: {{ receiver: a }}
receivers: [ {{ name: a, discord_configs: [ {{ webhook_url: 'http://x.test/hook'{more} }} ] }} ]"
        );
        config::parse(Path::new("a"), &text).unwrap().receivers.remove(0).discord.remove(0)
    }

    #[test]
    fn a_message_that_calls_nobody() {
        let message = message(&sample(true), &config(""), "");
        let value = serde_json::to_value(&message).unwrap();
        assert_eq!(value["allowed_mentions"], serde_json::json!({ "parse": [] }));
        assert_eq!(value["content"], r"**\[FIRING\:1\] RunnerOffline ci**");
        let [first, second] = [&value["embeds"][0], &value["embeds"][1]];
        assert_eq!(first["title"], r"\<b\>Runner\</b\> & \<!here\> gone");
        assert_eq!(first["color"], 0xe8_a317);
        assert_eq!(first["url"], "https://x.test/RunnerOffline.md?a=1&b=|%3E");
        assert!(second["title"].as_str().unwrap().ends_with(" – resolved after 4m 5s"));
        assert_eq!(
            first["fields"][0],
            serde_json::json!({ "name": "pool", "value": "ci", "inline": true })
        );
    }

    #[test]
    fn a_flood_stays_within_the_limits() {
        let mut notification = sample(false);
        let mut one = notification.alerts[0].clone();
        one.annotations.insert("summary".into(), "\u{1f525}*".repeat(40_000));
        one.annotations.insert("description".into(), "*".repeat(65_536));
        one.labels.insert("runner".into(), "x".repeat(65_536));
        one.labels.insert("job".into(), String::new());
        notification.alerts = vec![one; 500];
        for config in [config(""), config(&format!(", title: '{}', message: b", "t".repeat(300)))] {
            let message = message(&notification, &config, "http://p.test/");
            let mut total = 0;
            for embed in &message.embeds {
                assert!(units(&embed.title) <= MAX_TITLE && units(&embed.description) <= MAX_TEXT);
                total += units(&embed.title) + units(&embed.description);
                for field in &embed.fields {
                    assert!(!field.name.is_empty() && !field.value.is_empty());
                    assert!(units(&field.value) <= MAX_FIELD_VALUE);
                    total += units(&field.name) + units(&field.value);
                }
            }
            assert!(total <= MAX_TOTAL && message.embeds.len() <= MAX_EMBEDS, "{total}");
            assert!(units(&message.content) <= MAX_CONTENT);
        }
    }

    #[test]
    fn what_is_cut_ends_between_characters() {
        for (text, limit, want) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), (r"a\*bc", 3, "a…"), ("\u{1f525}x", 2, "…")]
        {
            assert_eq!(fit(text, limit), want);
        }
    }
}
