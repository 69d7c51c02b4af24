//! Slack, by bot token: one message per alert group, changed in place, its history in its thread.

mod blocks;
mod click;
pub mod clicks;
pub mod desk;
mod message;
mod pace;
mod reply;
mod signature;
mod socket;
mod web;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use self::message::Content;
use self::pace::Pace;
use self::web::{Failure, Web};
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::model::sample::Timestamp;
use crate::route::dedup::Reason;
use crate::route::notification::{Notification, hex};
use crate::route::receiver::Receiver;
use crate::route::receiver::slack_bot::SlackBot;

/// Firing alerts that are remembered by fingerprint, to say what is new.
const MAX_KNOWN: usize = 500;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let Some(config) = &receiver.additions.slack_bot else { return Ok(Vec::new()) };
    Ok(vec![Box::new(Bot::new(config.clone(), settings))])
}

struct Bot {
    config: SlackBot,
    web: Web,
    pace: Pace,
    external_url: String,
}

/// Where a group's message stands; kept from one delivery to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// As configured when it was sent.
    channel: String,
    /// As Slack calls the channel.
    id: String,
    ts: String,
    /// When the group began to be told: with the group, what a button stands for.
    incident: Timestamp,
    /// What the message shows as firing.
    firing: BTreeSet<String>,
}

/// A message as both of `chat.postMessage` and `chat.update` take it.
#[derive(Debug, Serialize)]
struct Message<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<&'a str>,
    #[serde(flatten)]
    content: &'a Content,
    /// Slack shall make no mention or link of what merely looks like one.
    parse: &'static str,
    link_names: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfurl_links: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unfurl_media: Option<bool>,
}

impl Bot {
    fn new(config: SlackBot, settings: &Settings) -> Bot {
        let web = Web::of(&config, settings);
        let external_url = settings.external_url.clone();
        Bot { config, web, pace: Pace::default(), external_url }
    }

    /// `None`: the message is gone, or cannot be changed any longer.
    async fn update(&self, known: &Memory, content: &Content) -> Result<Option<()>, NotifyError> {
        let message = Message { ts: Some(&known.ts), ..Message::new(&known.id, content) };
        match self.call("chat.update", &message).await {
            Ok(_) => Ok(Some(())),
            Err(Failure { code, .. }) if is_gone(&code) => {
                info!(code, channel = known.channel, "message in Slack is gone, a new one is sent");
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn post(&self, channel: &str, message: &Value) -> Result<Value, NotifyError> {
        self.pace.turn(channel).await.map_err(|wait| self.wait(wait))?;
        self.call("chat.postMessage", message).await.map_err(NotifyError::from)
    }

    /// Asks Slack, unless it said that it wants to hear nothing for a while.
    async fn call(&self, method: &str, body: &impl Serialize) -> Result<Value, Failure> {
        if let Some(left) = self.pace.paused() {
            return Err(self.wait(left).into());
        }
        let answer = self.web.call(method, body).await;
        if let Err(Failure { error: NotifyError::Busy { retry_after: Some(wait), .. }, .. }) =
            &answer
        {
            self.pace.pause(*wait);
        }
        answer
    }

    fn wait(&self, time: Duration) -> NotifyError {
        let to = self.web.base.host_str().unwrap_or("Slack").to_owned();
        let answer = "not asked: it takes one message a second, or wants a pause".to_owned();
        NotifyError::Busy { to, answer, retry_after: Some(time) }
    }

    /// What changed, beneath the message; what people have to notice shows in the channel as well.
    async fn reply(&self, notification: &Notification, known: &Memory) -> Result<(), NotifyError> {
        let Some(text) = reply::reply(notification, &known.firing) else { return Ok(()) };
        let loud = matches!(notification.reason, Reason::NewAlerts | Reason::Repeat);
        let reply = json!({
            "channel": known.id,
            "thread_ts": known.ts,
            "reply_broadcast": loud && self.config.broadcast,
            "text": text,
            "blocks": [blocks::Block::section(text.clone())],
            "parse": "none",
            "link_names": false,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        self.post(&known.channel, &reply).await.map(drop)
    }
}

#[async_trait]
impl Notifier for Bot {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let notification = delivery.notification;
        let known = delivery.memory.and_then(|memory| serde_json::from_str::<Memory>(memory).ok());
        let known = known.filter(|known| {
            // What begins anew is told anew, where people see it.
            notification.reason != Reason::First && known.channel == self.config.channel
        });
        if known.is_none() && notification.reason == Reason::Noted {
            // No message is there that could show it.
            return Ok(Sent::default());
        }
        let incident = known.as_ref().map_or(notification.at, |known| known.incident);
        let key = button_key(&notification.group_key, incident);
        let key = self.config.has_buttons().then_some(key.as_str());
        let content = message::content(notification, &self.external_url, key);
        let place = match known {
            Some(known) => self.update(&known, &content).await?.map(|()| known),
            None => None,
        };
        let memory = match place {
            Some(known) => {
                self.reply(notification, &known).await?;
                Memory { firing: firing(notification), ..known }
            }
            None => {
                let channel = self.config.channel.as_str();
                let message = json!(Message::posted(channel, &content));
                let sent = self.post(channel, &message).await?;
                let word = |name: &str| sent.get(name).and_then(Value::as_str).unwrap_or_default();
                Memory {
                    channel: channel.to_owned(),
                    id: word("channel").to_owned(),
                    ts: word("ts").to_owned(),
                    incident,
                    firing: firing(notification),
                }
            }
        };
        let lasts = !notification.is_resolved();
        Ok(Sent { memory: lasts.then(|| serde_json::to_string(&memory).ok()).flatten() })
    }
}

impl<'a> Message<'a> {
    fn new(channel: &'a str, content: &'a Content) -> Message<'a> {
        Message {
            channel,
            ts: None,
            content,
            parse: "none",
            link_names: false,
            unfurl_links: None,
            unfurl_media: None,
        }
    }

    fn posted(channel: &'a str, content: &'a Content) -> Message<'a> {
        let (unfurl_links, unfurl_media) = (Some(false), Some(false));
        Message { unfurl_links, unfurl_media, ..Message::new(channel, content) }
    }
}

/// What a button carries: which group, and which of its incidents.
fn button_key(group_key: &str, incident: Timestamp) -> String {
    let group = digest::digest(&digest::SHA256, group_key.as_bytes());
    format!("{}.{}", hex(group.as_ref()), incident.0)
}

fn firing(notification: &Notification) -> BTreeSet<String> {
    let firing = notification.firing().map(|alert| alert.fingerprint.clone());
    firing.take(MAX_KNOWN).collect()
}

fn is_gone(code: &str) -> bool {
    let codes =
        ["message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"];
    codes.contains(&code)
}
