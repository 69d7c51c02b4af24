//! A group whose time has come: what it means for each receiver's lane (pure).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::acknowledge::Acknowledgement;
use super::dedup::{Current, Reason, decide};
use super::dispatch::{GroupId, Said};
use super::group::{self, Group, Snapshot};
use super::notification::{
    Draft, DraftAlert, MAX_ALERTS, MemoryDraft, RememberedDraft, delivery_id,
};
use super::receiver::Integration;
use crate::db::notification_log::{Hashes, Lane, LogEntry};
use crate::db::outbox::{Message, Update};
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;
use crate::rules::flapping::FLAPPING;

/// How an acknowledgement stands among what else is known of an alert.
pub const ACKNOWLEDGED: &str = "acknowledged";

/// With all that the transaction needs to know.
#[derive(Debug, Clone)]
pub struct Due {
    pub(super) id: GroupId,
    group_key: String,
    labels: Labels,
    repeat_interval: Duration,
    integrations: Arc<[Integration]>,
    pub(super) snapshot: Snapshot,
    current: Current,
    acknowledged: HashMap<Fingerprint, Arc<Acknowledgement>>,
}

impl Due {
    /// `muted` says of a firing alert whether it is not to be told now.
    pub(super) fn new(
        id: GroupId,
        group_key: String,
        group: &Group,
        integrations: Arc<[Integration]>,
        snapshot: Snapshot,
        muted: impl Fn(Fingerprint, &Alert) -> bool,
        said: Said<'_>,
    ) -> Due {
        let (mut current, mut acknowledged) = (Current::default(), HashMap::new());
        for (hash, alert) in &snapshot.firing {
            if alert.annotations.contains_key(FLAPPING) {
                current.quiet.insert(*hash);
            }
            if let Some(entry) = said.acknowledged.of(*hash, alert.starts_at) {
                current.quiet.insert(*hash);
                acknowledged.insert(*hash, Arc::clone(entry));
            }
            let set = if muted(*hash, alert) { &mut current.muted } else { &mut current.firing };
            set.insert(*hash);
        }
        current.resolved = snapshot.resolved.iter().map(|(hash, _)| *hash).collect();
        Due {
            id,
            group_key,
            labels: group.labels.clone(),
            repeat_interval: group.timing.repeat_interval,
            integrations,
            snapshot,
            current,
            acknowledged,
        }
    }

    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.integrations.iter().map(|integration| Lane {
            group_key: self.group_key.clone(),
            integration: integration.key.clone(),
        })
    }

    pub fn has(&self, lane: &Lane) -> bool {
        self.group_key == lane.group_key
            && self.integrations.iter().any(|integration| integration.key == lane.integration)
    }

    /// What this flush means for one lane, given what was last told there.
    pub fn plan<'a>(
        &'a self,
        lane: &Lane,
        entry: Option<&LogEntry>,
        enrich: &dyn Fn(&Labels) -> Vec<(String, String)>,
        now: Timestamp,
    ) -> Option<Update> {
        let integration = self.integrations.iter().find(|known| known.key == lane.integration)?;
        let send_resolved = integration.send_resolved;
        let found = decide(entry, &self.current, send_resolved, self.repeat_interval, now)?;
        let those = |list: &'a [(Fingerprint, Arc<Alert>)], set: &Hashes| -> Vec<_> {
            list.iter().filter(|(hash, _)| set.contains(hash)).collect()
        };
        let remembered = those(&self.snapshot.firing, &found.firing);
        let memory = MemoryDraft {
            group_labels: &self.labels,
            alerts: remembered.iter().map(|(_, alert)| RememberedDraft::from(&**alert)).collect(),
        };
        let message = found.reason.map(|reason| {
            let firing = those(&self.snapshot.firing, &self.current.firing);
            let resolved = match send_resolved {
                true => those(&self.snapshot.resolved, &found.resolved),
                false => Vec::new(),
            };
            let known = |hash| entry.is_some_and(|entry| entry.firing.contains(hash));
            let new = firing.iter().filter(|(hash, _)| !known(hash));
            let fired_at = new.map(|(_, alert)| alert.starts_at).min();
            let tagged = |list: Vec<_>, over: bool| list.into_iter().map(move |one| (one, over));
            let mut alerts: Vec<_> = tagged(firing, false).chain(tagged(resolved, true)).collect();
            // Those that fire stand first, and go last when there are too many.
            let truncated = alerts.len().saturating_sub(most_alerts(integration.kind));
            alerts.truncate(alerts.len() - truncated);
            alerts.sort_by(|((_, a), _), ((_, b), _)| group::order(a, b));
            let told = |((hash, alert), over): (&'a (Fingerprint, Arc<Alert>), bool)| {
                let mut extra = enrich(&alert.labels);
                if let Some(entry) = self.acknowledged.get(hash) {
                    extra.push((ACKNOWLEDGED.to_owned(), entry.text()));
                }
                DraftAlert::new(*hash, alert, over, extra)
            };
            let notification = Draft {
                receiver: &integration.receiver,
                group_key: &lane.group_key,
                group_labels: &self.labels,
                reason,
                truncated: truncated as u64,
                alerts: alerts.into_iter().map(told).collect(),
                at: now,
            };
            let sequence = entry.map_or(0, |entry| entry.sequence) + 1;
            Message {
                delivery_id: delivery_id(lane, sequence, now, notification.marks()),
                payload: json(&notification),
                fired_at,
                repeat: reason == Reason::Repeat,
            }
        });
        Some(Update {
            firing: found.firing,
            resolved: found.resolved,
            memory: json(&memory),
            message,
        })
    }
}

/// Programs are told of every alert; what people read is bounded.
fn most_alerts(kind: &str) -> usize {
    match kind {
        "webhook" | "alertmanager" => usize::MAX,
        _ => MAX_ALERTS,
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps with text as keys always serialize")
}
