//! What a click on a button asks for (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::message::{ACKNOWLEDGE, SILENCE_1H, SILENCE_4H, SILENCE_ALERT};
use crate::db::notification_log::{Hashes, Lane};
use crate::model::sample::Timestamp;
use crate::notify::wording::clip;

/// A click that Slack tells of later than this happened now, as far as we are concerned.
const LATEST: Duration = Duration::from_secs(300);
const MAX_NAME: usize = 80;

/// What is to happen to the alerts of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Acknowledge,
    /// Nobody is told for this long; `None`: until they end.
    Silence(Option<Duration>),
}

/// One wish, from somebody who may have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub lane: Lane,
    pub what: What,
    /// Those that the receiver was told of and that have not ended.
    pub alerts: Hashes,
    /// The labels that all of them have.
    pub labels: BTreeMap<String, String>,
    /// `slack:U012AB3CD (ann)`.
    pub by: String,
    /// When it was clicked, by Slack's clock: the same click, told twice, is the same order.
    pub at: Timestamp,
}

/// A click, as far as it is ours.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Click {
    pub(super) what: What,
    /// The message's group and incident.
    pub(super) key: String,
    pub(super) user: String,
    pub(super) by: String,
    pub(super) channel: String,
    /// Of the message.
    pub(super) thread: Option<String>,
    pub(super) at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    channel: Option<Channel>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    username: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Channel {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    message_ts: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    action_ts: String,
}

/// `None` for what is none of ours: other interactions, and buttons that only open a page.
///
/// # Errors
/// When it is no interaction at all.
pub(super) fn read(payload: &str, now: Timestamp) -> Result<Option<Click>, serde_json::Error> {
    let payload: Payload = serde_json::from_str(payload)?;
    let ours = payload.actions.into_iter().find_map(|action| Some((what(&action)?, action)));
    let (Some((what, action)), Some(user), "block_actions") =
        (ours, payload.user, payload.kind.as_str())
    else {
        return Ok(None);
    };
    let name = user.username.or(user.name).unwrap_or_default();
    let name = clip(&name.replace(char::is_control, " "), MAX_NAME);
    Ok(Some(Click {
        what,
        key: action.value,
        by: match name.as_str() {
            "" => format!("slack:{}", user.id),
            name => format!("slack:{} ({name})", user.id),
        },
        user: user.id,
        channel: payload.channel.map(|channel| channel.id).unwrap_or_default(),
        thread: payload.container.and_then(|container| container.message_ts),
        at: time(&action.action_ts, now),
    }))
}

fn what(action: &Action) -> Option<What> {
    let hours = |hours: u64| What::Silence(Some(Duration::from_secs(hours * 3600)));
    match action.action_id.as_str() {
        ACKNOWLEDGE => Some(What::Acknowledge),
        SILENCE_1H => Some(hours(1)),
        SILENCE_4H => Some(hours(4)),
        SILENCE_ALERT => Some(What::Silence(None)),
        // Ours that only open a page among them: Slack tells of these too.
        _ => None,
    }
}

/// Slack's seconds with a fraction, unless they are far from now.
fn time(text: &str, now: Timestamp) -> Timestamp {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let millis = fraction.get(..3).unwrap_or("0").parse::<i64>().unwrap_or(0);
    let at = seconds.parse::<i64>().ok().and_then(|s| s.checked_mul(1000)?.checked_add(millis));
    let latest = i64::try_from(LATEST.as_millis()).unwrap_or(i64::MAX);
    match at {
        Some(at) if now.0.abs_diff(at) <= latest.unsigned_abs() => Timestamp(at),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clicks() {
        let now = Timestamp(1_700_000_010_000);
        let payload = |kind: &str, action: &str, at: &str| {
            json!({
                "type": kind,
                "user": {"id": "U1", "username": "ann\n"},
                "channel": {"id": "C1", "name": "ci"},
                "container": {"type": "message_attachment", "message_ts": "1.2"},
                "actions": [{"type": "button", "action_id": action, "value": "k.1", "action_ts": at}],
                "more": [1, 2],
            })
            .to_string()
        };
        let hour = Some(Duration::from_secs(3600));
        for (kind, action, at, want) in [
            (
                "block_actions",
                ACKNOWLEDGE,
                "1700000000.123456",
                Some((What::Acknowledge, 1_700_000_000_123)),
            ),
            (
                "block_actions",
                SILENCE_1H,
                "1700000000",
                Some((What::Silence(hour), 1_700_000_000_000)),
            ),
            ("block_actions", SILENCE_ALERT, "1690000000.1", Some((What::Silence(None), now.0))),
            ("block_actions", SILENCE_ALERT, "é.é", Some((What::Silence(None), now.0))),
            (
                "block_actions",
                SILENCE_ALERT,
                "9223372036854775807.9",
                Some((What::Silence(None), now.0)),
            ),
            ("block_actions", "pitcrew_open_page", "1.1", None),
            ("block_actions", "others", "1.1", None),
            ("view_submission", ACKNOWLEDGE, "1.1", None),
        ] {
            let click = read(&payload(kind, action, at), now).unwrap();
            let found = click.as_ref().map(|click| (click.what, click.at.0));
            assert_eq!(found, want, "{kind} {action} {at}");
            if let Some(click) = click {
                assert_eq!(
                    (&*click.key, &*click.user, &*click.by),
                    ("k.1", "U1", "slack:U1 (ann )")
                );
                assert_eq!((&*click.channel, click.thread.as_deref()), ("C1", Some("1.2")));
            }
        }
        assert!(read("{", now).is_err() && read("[]", now).is_err());
        assert_eq!(read(r#"{"type":"block_actions"}"#, now).unwrap(), None);
    }
}
