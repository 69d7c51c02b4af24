//! What somebody did about alerts, told at once where it is shown: in Slack's messages, and at
//! PagerDuty's incidents.

use std::sync::Arc;

use tracing::warn;

use crate::db::notification_log::{Hashes, Lane, LogEntry};
use crate::db::outbox::{Message, Outbox};
use crate::model::sample::Timestamp;
use crate::route::board::Board;
use crate::route::config::Notifications;
use crate::route::dedup::Reason;
use crate::route::due::ACKNOWLEDGED;
use crate::route::notification::{Notification, delivery_id};

/// Kinds of receivers whose messages are kept up to date.
const SHOWN: [&str; 2] = ["slack_bot", PAGERDUTY];
/// Its incident is about the whole group: acknowledged when all alerts of it are.
const PAGERDUTY: &str = "pagerduty";

/// Of one configuration; cheap to clone.
#[derive(Clone)]
pub struct Noting {
    board: Board,
    outbox: Outbox,
    /// The integrations that are told, with their kinds.
    integrations: Arc<[(String, &'static str)]>,
}

impl Noting {
    pub fn new(config: &Notifications, board: Board, outbox: Outbox) -> Noting {
        let all = config.integrations().into_iter();
        let shown = all.filter(|one| SHOWN.contains(&one.kind)).map(|one| (one.key, one.kind));
        Noting { board, outbox, integrations: shown.collect() }
    }

    /// Tells everybody who was told of one of these alerts that they are acknowledged, in these words.
    pub async fn acknowledged(&self, alerts: Hashes, said: String, now: Timestamp) {
        for (integration, kind) in self.integrations.iter() {
            let lanes = self.outbox.telling(integration.clone(), alerts.clone()).await;
            let lanes = lanes.unwrap_or_else(|error| {
                warn!(%error, "acknowledgement not told at once");
                Vec::new()
            });
            for LogEntry { lane, firing, .. } in lanes {
                if *kind != PAGERDUTY || self.all_acknowledged(&firing) {
                    self.note(lane, alerts.clone(), ACKNOWLEDGED, said.clone(), now).await;
                }
            }
        }
    }

    /// Says the lane's last notification again, with what was done to these of its alerts.
    pub async fn note(
        &self,
        lane: Lane,
        alerts: Hashes,
        what: &'static str,
        said: String,
        now: Timestamp,
    ) {
        let to = lane.clone();
        let change = move |entry: &LogEntry, payload: &str| {
            let last = serde_json::from_str::<Notification>(payload).ok()?;
            let notification = noted(last, &entry.firing, &alerts, (what, &said), now)?;
            let delivery_id = delivery_id(&to, entry.sequence + 1, now, notification.marks());
            let payload = serde_json::to_string(&notification).ok()?;
            Some(Message { delivery_id, payload, fired_at: None, repeat: false })
        };
        // What was ordered is done; the message shows it at its next change all the same.
        if let Err(error) = self.outbox.tell_again(lane, now, change).await {
            warn!(%error, "message not brought up to date");
        }
    }

    fn all_acknowledged(&self, alerts: &Hashes) -> bool {
        let known = self.board.acknowledged();
        alerts.iter().all(|hash| known.contains(*hash))
    }
}

/// The last notification with what somebody did to its alerts that still fire; these stand first.
/// `None` when it shows none of them.
fn noted(
    last: Notification,
    firing: &Hashes,
    alerts: &Hashes,
    (what, said): (&str, &str),
    now: Timestamp,
) -> Option<Notification> {
    let mut notification = Notification { reason: Reason::Noted, at: now, ..last };
    notification.alerts.retain(|alert| alert.ends_at.is_none() && alert.is_among(firing));
    notification.alerts.sort_by_key(|alert| !alert.is_among(alerts));
    for alert in notification.alerts.iter_mut().take_while(|alert| alert.is_among(alerts)) {
        alert.extra.retain(|(known, _)| known != what);
        alert.extra.push((what.to_owned(), said.to_owned()));
    }
    let any = notification.alerts.first().is_some_and(|first| first.is_among(alerts));
    any.then_some(notification)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    #[test]
    fn what_is_meant_stands_first_and_what_is_over_goes() {
        let mut last = sample(true);
        for (alert, hash) in last.alerts.iter_mut().zip(["a", "b", "c"]) {
            alert.fingerprint = hash.to_owned();
        }
        last.alerts[1].ends_at = None;
        let hash = |c: char| c.to_string().parse().unwrap();
        let set = |text: &str| text.chars().map(hash).collect::<Hashes>();
        for (firing, alerts, want) in [
            ("ab", "b", Some("b! a")),
            ("ab", "ab", Some("a! b!")),
            ("a", "b", None),
            ("ab", "c", None),
        ] {
            let said = (ACKNOWLEDGED, "ann");
            let found = noted(last.clone(), &set(firing), &set(alerts), said, Timestamp(9));
            let found = found.map(|found| {
                assert_eq!((found.reason, found.at), (Reason::Noted, Timestamp(9)));
                let marked = |extra: &[(String, String)]| {
                    extra.last().is_some_and(|last| last.0 == ACKNOWLEDGED && last.1 == "ann")
                };
                let words = found.alerts.iter().map(|alert| {
                    format!("{}{}", alert.fingerprint, if marked(&alert.extra) { "!" } else { "" })
                });
                words.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), want, "{firing} {alerts}");
        }
    }
}
