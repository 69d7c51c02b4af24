//! What routing would tell: the real dispatcher over a log in memory, at the times of the test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config;
use crate::db::notification_log::{Hashes, Lane, LogEntry};
use crate::model::alert::Alert;
use crate::model::causes::causes;
use crate::model::sample::Timestamp;
use crate::route::acknowledge::Acknowledgements;
use crate::route::dispatch::{Dispatcher, Origin, Said};
use crate::route::notification::Notification;
use crate::route::silence::Silences;

/// Notifications of one test beyond which it is not played on.
const MAX_TOLD: usize = 100_000;

pub(super) struct Told {
    dispatcher: Dispatcher,
    log: BTreeMap<Lane, LogEntry>,
    /// In the order in which they were told; once a receiver, however many integrations it has.
    pub(super) notifications: Vec<Notification>,
}

impl Told {
    /// Routing as Alertmanager's `file` or alertd.yaml has it, with nothing told yet.
    pub(super) fn load(file: &Path) -> Result<Told, String> {
        let config = config::routing(file).map_err(|error| causes(&error))?;
        let dispatcher = Dispatcher::new(Arc::new(config), 0);
        Ok(Told { dispatcher, log: BTreeMap::new(), notifications: Vec::new() })
    }

    pub(super) fn take(&mut self, alerts: Vec<Alert>, now: Timestamp) {
        self.dispatcher.take(alerts, Origin::Own, now);
    }

    /// Flushes every group whose time comes until then.
    pub(super) fn flush(&mut self, from: Timestamp, until: Timestamp) -> Result<(), String> {
        // Nobody silences or acknowledges in a test.
        let (silences, acknowledged) = (Silences::default(), Acknowledgements::default());
        let said = Said { silences: &silences, acknowledged: &acknowledged };
        while let Some(next) = self.dispatcher.next_flush().filter(|next| *next <= until) {
            let now = next.max(from);
            let due = self.dispatcher.due(said, now);
            for one in &due {
                for lane in one.lanes().collect::<Vec<_>>() {
                    let entry = self.log.get(&lane);
                    let Some(update) = one.plan(&lane, entry, &|_| Vec::new(), now) else {
                        continue;
                    };
                    let (sequence, notified_at) = entry.map_or((0, now), |old| {
                        let at = if update.message.is_some() { now } else { old.notified_at };
                        (old.sequence, at)
                    });
                    if let Some(message) = &update.message {
                        self.tell(&message.payload)?;
                    }
                    let entry = LogEntry {
                        lane: lane.clone(),
                        told: update.firing.clone(),
                        firing: update.firing,
                        resolved: Hashes::new(),
                        memory: update.memory,
                        sequence: sequence + u64::from(update.message.is_some()),
                        notified_at,
                    };
                    self.log.insert(lane, entry);
                }
            }
            self.dispatcher.flushed(&due, now);
            self.dispatcher.ended(now);
        }
        Ok(())
    }

    fn tell(&mut self, payload: &str) -> Result<(), String> {
        let notification: Notification =
            serde_json::from_str(payload).map_err(|error| format!("notification: {error}"))?;
        if self.notifications.len() >= MAX_TOLD {
            return Err(format!("more than {MAX_TOLD} notifications"));
        }
        let same_time = self.notifications.iter().rev().take_while(|n| n.at == notification.at);
        if !same_time.clone().any(|told| *told == notification) {
            self.notifications.push(notification);
        }
        Ok(())
    }
}
