//! Orders from clicks, as routing understands them: acknowledgements and silences on its board.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::click::{Order, What};
use super::clicks::Desk;
use crate::clock;
use crate::model::labels::Fingerprint;
use crate::model::sample::Timestamp;
use crate::notify::noted::Noting;
use crate::notify::wording::rough;
use crate::route::acknowledge::Acknowledgement;
use crate::route::board::Board;
use crate::route::silence::{Condition, Silence};

/// A silence that ends with its alerts ends after this time at the latest.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// When it was clicked, in milliseconds: by it the same click is known again.
const CLICKED: &str = "slack_click";

/// Routing, for who clicks.
#[derive(Clone)]
pub struct RoutingDesk {
    pub board: Board,
    pub noting: Noting,
}

#[async_trait]
impl Desk for RoutingDesk {
    async fn carry_out(&self, order: Order) -> Result<(), String> {
        let now = clock::now();
        let said = match order.what {
            What::Acknowledge => self.acknowledge(&order, now).await?,
            What::Silence(length) => self.silence(&order, length, now).await?,
        };
        // The same click again: it stands in the message already.
        let Some(said) = said else { return Ok(()) };
        let Order { lane, alerts, .. } = order;
        match order.what {
            What::Acknowledge => self.noting.acknowledged(alerts, said, now).await,
            What::Silence(_) => self.noting.note(lane, alerts, "silenced", said, now).await,
        }
        Ok(())
    }
}

impl RoutingDesk {
    /// What is shown of it; `None` when all of them were acknowledged by this person before.
    async fn acknowledge(&self, order: &Order, now: Timestamp) -> Result<Option<String>, String> {
        let Some(view) = self.board.view() else { return Err("Pitcrew is starting.".to_owned()) };
        let fires = |hash: &Fingerprint| Some((*hash, view.alert(*hash, now)?));
        let alerts: Vec<_> = order.alerts.iter().filter_map(fires).collect();
        if alerts.is_empty() {
            return Err("None of these alerts fires any longer.".to_owned());
        }
        let entries: Vec<_> = {
            let known = self.board.acknowledged();
            let new = alerts.iter().filter(|(hash, alert)| {
                let same = |entry: &Arc<Acknowledgement>| entry.owner == order.by;
                !known.of(*hash, alert.starts_at).is_some_and(same)
            });
            new.map(|(hash, alert)| Acknowledgement {
                fingerprint: hash.to_string(),
                labels: alert.labels.to_map(),
                owner: order.by.clone(),
                note: String::new(),
                signed_in: None,
                at: order.at,
                starts_at: alert.starts_at,
            })
            .collect()
        };
        if entries.is_empty() {
            return Ok(None);
        }
        self.board.acknowledge(entries).await.map_err(|error| error.to_string())?;
        Ok(Some(order.by.clone()))
    }

    async fn silence(
        &self,
        order: &Order,
        length: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<String>, String> {
        if order.labels.is_empty() {
            let why = "These alerts have no label in common: silence them one by one.";
            return Err(why.to_owned());
        }
        let matchers: Vec<_> =
            order.labels.iter().map(|(name, value)| equal(name, value)).collect();
        let known = {
            let silences = self.board.silences();
            let same = |one: &&Arc<Silence>| {
                one.matchers == matchers
                    && one.ends_at > now
                    && one.annotations.contains_key(CLICKED)
            };
            silences.iter().find(same).map(|one| Silence::clone(one))
        };
        let clicked = |one: &Silence| one.annotations.get(CLICKED)?.parse::<i64>().ok();
        if known.as_ref().and_then(clicked).is_some_and(|before| before >= order.at.0) {
            return Ok(None);
        }
        let wanted = Silence {
            id: known.as_ref().map(|one| one.id.clone()).unwrap_or_default(),
            matchers,
            starts_at: known.as_ref().map_or(now, |one| one.starts_at),
            ends_at: order.at.plus(length.unwrap_or(LONGEST)),
            updated_at: now,
            created_by: order.by.clone(),
            signed_in: None,
            comment: "from Slack".to_owned(),
            annotations: BTreeMap::from([(CLICKED.to_owned(), order.at.0.to_string())]),
            ends_with_alert: length.is_none(),
        };
        self.board.silence(wanted).await.map_err(|error| error.to_string())?;
        Ok(Some(match length {
            Some(length) => format!("for {} by {}", rough(length), order.by),
            None => format!("until resolved by {}", order.by),
        }))
    }
}

fn equal(name: &str, value: &str) -> Condition {
    Condition { name: name.to_owned(), value: value.to_owned(), is_regex: false, is_equal: true }
}
