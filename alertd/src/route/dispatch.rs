//! All alert groups: alerts go in, what is due comes out (pure).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::config::Notifications;
use super::dedup::{Current, decide};
use super::group::{self, Group, Snapshot};
use super::notification::{
    MAX_ALERTS, Memory, Notification, NotifiedAlert, Remembered, delivery_id, labels,
};
use super::receiver::Integration;
use super::tree::Timing;
use crate::db::notification_log::{Hashes, Lane, LogEntry};
use crate::db::outbox::{Message, Update};
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;

/// Alerts held in all groups; more are dropped and counted.
const MAX_HELD: usize = 100_000;
/// How a group is timed whose route went away: its end is told soon, nothing is repeated.
const ORPHAN_TIMING: Timing = Timing {
    group_wait: Duration::from_secs(30),
    group_interval: Duration::from_secs(60),
    repeat_interval: Duration::MAX,
};

pub struct Dispatcher {
    config: Arc<Notifications>,
    groups: BTreeMap<GroupId, Group>,
    /// Alerts that an inhibition rule may silence others by.
    sources: HashMap<Fingerprint, Alert>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum GroupId {
    Route {
        /// Place in the tree.
        at: usize,
        labels: Labels,
    },
    /// Told through a route that the configuration no longer has: only its end is still told.
    Orphan(Lane),
}

/// A group whose time has come, with all that the transaction needs to know.
#[derive(Debug, Clone)]
pub struct Due {
    id: GroupId,
    group_key: String,
    labels: Labels,
    repeat_interval: Duration,
    integrations: Vec<Integration>,
    snapshot: Snapshot,
    current: Current,
}

impl Dispatcher {
    pub fn new(config: Arc<Notifications>) -> Dispatcher {
        Dispatcher { config, groups: BTreeMap::new(), sources: HashMap::new() }
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    pub fn alerts(&self) -> usize {
        self.groups.values().map(Group::len).sum()
    }

    /// Takes up what was told before a restart; returns lanes to receivers that are gone.
    pub fn restore(&mut self, entries: Vec<LogEntry>, now: Timestamp) -> Vec<Lane> {
        let known = self.config.integrations();
        let lease = now.plus(self.config.resolve_timeout);
        let mut lost = Vec::new();
        for entry in entries {
            let integration = known.iter().find(|known| known.key == entry.lane.integration);
            let memory = serde_json::from_str::<Memory>(&entry.memory);
            let (Some(integration), Ok(memory)) = (integration, memory) else {
                lost.push(entry.lane);
                continue;
            };
            for remembered in memory.alerts {
                let alert = remembered.alert(lease);
                if !entry.firing.contains(&alert.fingerprint().to_string()) {
                    continue;
                }
                let home = self.home(&alert.labels, &integration.receiver, &entry.lane.group_key);
                let (id, timing) = match home {
                    Some(found) => found,
                    None => (GroupId::Orphan(entry.lane.clone()), ORPHAN_TIMING),
                };
                self.note_source(&alert);
                self.groups
                    .entry(id)
                    .or_insert_with(|| {
                        let labels = labels(&memory.group_labels);
                        Group::restored(labels, timing, entry.notified_at, now)
                    })
                    .insert(alert, now);
            }
        }
        lost
    }

    /// The group that tells these labels to `receiver` under `group_key` now.
    fn home(&self, labels: &Labels, receiver: &str, group_key: &str) -> Option<(GroupId, Timing)> {
        self.config.tree.matching(labels).into_iter().find_map(|at| {
            let route = self.config.tree.routes.get(at)?;
            let group = route.group_labels(labels);
            let same = route.receiver == receiver && route.group_key(&group) == group_key;
            same.then_some((GroupId::Route { at, labels: group }, route.timing))
        })
    }

    /// Sorts alerts into their groups; returns how many were dropped because too many are held.
    pub fn take(&mut self, alerts: Vec<Alert>, now: Timestamp) -> u64 {
        let (mut held, mut dropped) = (self.alerts(), 0);
        for alert in alerts {
            self.note_source(&alert);
            let fingerprint = alert.fingerprint();
            for (id, group) in &mut self.groups {
                if matches!(id, GroupId::Orphan(_)) && group.contains(fingerprint) {
                    group.insert(alert.clone(), now);
                }
            }
            let over = alert.is_resolved(now);
            for at in self.config.tree.matching(&alert.labels) {
                let Some(route) = self.config.tree.routes.get(at) else { continue };
                let labels = route.group_labels(&alert.labels);
                let id = GroupId::Route { at, labels: labels.clone() };
                let known = self.groups.get(&id).is_some_and(|group| group.contains(fingerprint));
                match (known, over) {
                    (false, true) => continue,
                    (false, false) if held >= MAX_HELD => {
                        dropped += 1;
                        continue;
                    }
                    (false, false) => held += 1,
                    (true, _) => {}
                }
                self.groups
                    .entry(id)
                    .or_insert_with(|| Group::new(labels, route.timing, now))
                    .insert(alert.clone(), now);
            }
        }
        dropped
    }

    pub fn next_flush(&self) -> Option<Timestamp> {
        self.groups.values().map(Group::next_flush).min()
    }

    /// Groups whose time has come, as they stand.
    pub fn due(&mut self, now: Timestamp) -> Vec<Due> {
        self.sources.retain(|_, alert| !alert.is_resolved(now));
        let due = self.groups.iter().filter(|(_, group)| group.is_due(now));
        due.map(|(id, group)| self.due_group(id, group, now)).collect()
    }

    fn due_group(&self, id: &GroupId, group: &Group, now: Timestamp) -> Due {
        let known = self.config.integrations();
        let (group_key, integrations): (_, Vec<_>) = match id {
            GroupId::Route { at, .. } => match self.config.tree.routes.get(*at) {
                Some(route) => {
                    let mine = known.into_iter().filter(|i| i.receiver == route.receiver);
                    (route.group_key(&group.labels), mine.collect())
                }
                None => (String::new(), Vec::new()),
            },
            GroupId::Orphan(lane) => {
                let mine = known.into_iter().filter(|i| i.key == lane.integration);
                (lane.group_key.clone(), mine.collect())
            }
        };
        let snapshot = group.snapshot(now);
        let mut current = Current::default();
        let quiet = match id {
            GroupId::Route { at, .. } => {
                let route = self.config.tree.routes.get(*at);
                route.is_some_and(|route| !self.config.time_muted_by(route, now).is_empty())
            }
            GroupId::Orphan(_) => false,
        };
        for alert in &snapshot.firing {
            let inhibited =
                || self.config.inhibit.iter().any(|r| r.mutes(&alert.labels, &self.sources, now));
            let muted = quiet || inhibited();
            let set = if muted { &mut current.muted } else { &mut current.firing };
            set.insert(alert.fingerprint().to_string());
        }
        current.resolved = hashes(&snapshot.resolved);
        Due {
            id: id.clone(),
            group_key,
            labels: group.labels.clone(),
            repeat_interval: group.timing.repeat_interval,
            integrations,
            snapshot,
            current,
        }
    }

    /// After the transaction: what ended goes, and empty groups with it.
    pub fn flushed(&mut self, due: &[Due], now: Timestamp) {
        for due in due {
            let Some(group) = self.groups.get_mut(&due.id) else { continue };
            group.flushed(&due.snapshot, now);
            if group.is_empty() {
                self.groups.remove(&due.id);
            }
        }
    }

    /// After a transaction that failed: nothing changed, look again at `at`.
    pub fn try_again(&mut self, due: &[Due], at: Timestamp) {
        for due in due {
            if let Some(group) = self.groups.get_mut(&due.id) {
                group.try_again(at);
            }
        }
    }

    fn note_source(&mut self, alert: &Alert) {
        let source = |matchers: &[crate::model::matcher::Matcher]| {
            matchers.iter().all(|matcher| matcher.matches_labels(&alert.labels))
        };
        if self.config.inhibit.iter().any(|rule| source(&rule.source)) {
            self.sources.insert(alert.fingerprint(), alert.clone());
        }
    }
}

impl Due {
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
    pub fn plan(
        &self,
        lane: &Lane,
        entry: Option<&LogEntry>,
        enrich: &dyn Fn(&Labels) -> Vec<(String, String)>,
        now: Timestamp,
    ) -> Option<Update> {
        let integration = self.integrations.iter().find(|known| known.key == lane.integration)?;
        let send_resolved = integration.send_resolved;
        let found = decide(entry, &self.current, send_resolved, self.repeat_interval, now)?;
        let in_set = |set: &Hashes, alert: &&Alert| set.contains(&alert.fingerprint().to_string());
        let remembered = self.snapshot.firing.iter().filter(|alert| in_set(&found.firing, alert));
        let memory = Memory {
            group_labels: self.labels.to_map(),
            alerts: remembered.map(Remembered::new).collect(),
        };
        let message = found.reason.map(|reason| {
            let firing = self.snapshot.firing.iter();
            let firing = firing.filter(|alert| in_set(&self.current.firing, alert));
            let resolved = self.snapshot.resolved.iter();
            let resolved = resolved.filter(|alert| send_resolved && in_set(&found.resolved, alert));
            let told = entry.map(|entry| &entry.firing);
            let new = firing.clone().filter(|alert| !told.is_some_and(|told| in_set(told, alert)));
            let fired_at = new.map(|alert| alert.starts_at).min();
            let mut alerts: Vec<_> = firing
                .map(|alert| (alert, false))
                .chain(resolved.map(|alert| (alert, true)))
                .collect();
            alerts.sort_by(|(a, _), (b, _)| group::order(a, b));
            let notification = Notification {
                receiver: integration.receiver.clone(),
                group_key: lane.group_key.clone(),
                group_labels: self.labels.to_map(),
                reason,
                truncated: alerts.len().saturating_sub(MAX_ALERTS) as u64,
                alerts: alerts
                    .into_iter()
                    .take(MAX_ALERTS)
                    .map(|(alert, over)| NotifiedAlert::new(alert, over, enrich(&alert.labels)))
                    .collect(),
                at: now,
            };
            let sequence = entry.map_or(0, |entry| entry.sequence) + 1;
            Message {
                delivery_id: delivery_id(lane, sequence, &notification),
                payload: json(&notification),
                fired_at,
                repeat: reason == super::dedup::Reason::Repeat,
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

fn hashes(alerts: &[Alert]) -> Hashes {
    alerts.iter().map(|alert| alert.fingerprint().to_string()).collect()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps with text as keys always serialize")
}

#[cfg(test)]
mod tests;
