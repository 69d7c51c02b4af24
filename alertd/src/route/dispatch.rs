//! All alert groups: alerts go in, what is due comes out (pure).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::acknowledge::Acknowledgements;
use super::config::Notifications;
use super::due::Due;
use super::group::{self, Group};
use super::inhibit::Inhibitor;
use super::notification::{Memory, labels};
use super::receiver::Integration;
use super::silence::Silences;
use super::tree::Timing;
use crate::db::notification_log::{Lane, LogEntry};
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;

/// Alerts of our own held in all groups, beside as many as other programs may have posted; more are
/// dropped and counted.
const MAX_HELD: usize = 100_000;
/// How often alerts are looked through for those that ended.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How a group is timed whose route went away: its end is told soon, nothing is repeated.
const ORPHAN_TIMING: Timing = Timing {
    group_wait: Duration::from_secs(30),
    group_interval: Duration::from_secs(60),
    repeat_interval: Duration::MAX,
};

pub struct Dispatcher {
    pub(super) config: Arc<Notifications>,
    /// Of each receiver.
    integrations: HashMap<String, Arc<[Integration]>>,
    pub(super) groups: HashMap<GroupId, Group>,
    /// Every group by when it is looked at next.
    queue: BTreeSet<(Timestamp, GroupId)>,
    /// Every alert that some group holds and that has not been swept away after its end.
    pub(super) alerts: HashMap<Fingerprint, Held>,
    /// Sum of the groups' alerts.
    members: usize,
    /// When there are so many, further ones of other programs are dropped: there is always room for
    /// our own.
    most_posted: usize,
    /// The groups without a route that an alert is in.
    orphans: HashMap<Fingerprint, Vec<GroupId>>,
    inhibitor: Inhibitor,
    /// The longest that any group waits by its route.
    longest: Duration,
    swept_at: Timestamp,
}

/// Who reports an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A rule of ours, or a pool.
    Own,
    /// Another program, with credentials. It cannot end an alert that fires by our own word.
    Known,
    /// Another program, or a job, without any.
    Anonymous,
}

#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) alert: Arc<Alert>,
    pub(super) updated_at: Timestamp,
    /// Places in the tree.
    pub(super) routes: Arc<[usize]>,
    origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum GroupId {
    Route {
        /// Place in the tree.
        at: usize,
        labels: Labels,
    },
    /// Told through a route that the configuration no longer has: only its end is still told.
    Orphan(Lane),
}

/// What people said of alerts, as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub silences: &'a Silences,
    pub acknowledged: &'a Acknowledgements,
}

impl Dispatcher {
    pub fn new(config: Arc<Notifications>, most_posted: usize) -> Dispatcher {
        let by_name = |receiver: &super::receiver::Receiver| {
            (receiver.name.clone(), Arc::from(receiver.integrations()))
        };
        let waits = config.tree.routes.iter().map(|route| route.timing);
        let waits = waits.chain([ORPHAN_TIMING]);
        let longest = waits.map(|timing| timing.group_interval.max(timing.group_wait)).max();
        Dispatcher {
            integrations: config.receivers.iter().map(by_name).collect(),
            inhibitor: Inhibitor::new(&config.inhibit),
            config,
            groups: HashMap::new(),
            queue: BTreeSet::new(),
            alerts: HashMap::new(),
            members: 0,
            most_posted,
            orphans: HashMap::new(),
            longest: longest.unwrap_or_default(),
            swept_at: Timestamp::default(),
        }
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Alerts in all groups: one that is in two counts twice.
    pub fn alerts(&self) -> usize {
        self.members
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
                let alert = Arc::new(remembered.alert(lease));
                let fingerprint = alert.fingerprint();
                if !entry.firing.contains(&fingerprint) {
                    continue;
                }
                let home = self.home(&alert.labels, &integration.receiver, &entry.lane.group_key);
                let (id, timing) = home.unwrap_or_else(|| {
                    let id = GroupId::Orphan(entry.lane.clone());
                    self.orphans.entry(fingerprint).or_default().push(id.clone());
                    (id, ORPHAN_TIMING)
                });
                // Those that report it now say soon who they are.
                self.inhibitor.take(&alert, Origin::Known, now);
                let labels = labels(&memory.group_labels);
                let make = || Group::restored(labels, timing, entry.notified_at, now);
                self.insert(id, Arc::clone(&alert), make, now);
                let routes = self.config.tree.matching(&alert.labels).into();
                let held = Held { alert, updated_at: now, routes, origin: Origin::Known };
                self.alerts.entry(fingerprint).or_insert(held);
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
    pub fn take(&mut self, alerts: Vec<Alert>, origin: Origin, now: Timestamp) -> u64 {
        let own = if origin == Origin::Own { MAX_HELD } else { 0 };
        let most = self.most_posted + own;
        let mut dropped = 0;
        for alert in alerts {
            let fingerprint = alert.fingerprint();
            let known = self.alerts.get(&fingerprint);
            let own = known
                .is_some_and(|held| held.origin == Origin::Own && !held.alert.is_resolved(now));
            if own && origin != Origin::Own {
                continue;
            }
            let (routes, known_before) =
                (known.map(|held| Arc::clone(&held.routes)), known.is_some());
            let Some(alert) = group::merged(known.map(|held| &*held.alert), alert, now) else {
                continue;
            };
            let routes = routes.unwrap_or_else(|| self.config.tree.matching(&alert.labels).into());
            let alert = Arc::new(alert);
            self.inhibitor.take(&alert, origin, now);
            for id in self.orphans.get(&fingerprint).cloned().unwrap_or_default() {
                if self.groups.contains_key(&id) {
                    let never = || Group::new(Labels::empty(), ORPHAN_TIMING, now);
                    self.insert(id, Arc::clone(&alert), never, now);
                }
            }
            let (over, mut inside_any) = (alert.is_resolved(now), known_before);
            let config = Arc::clone(&self.config);
            for at in routes.iter().copied() {
                let Some(route) = config.tree.routes.get(at) else { continue };
                let labels = route.group_labels(&alert.labels);
                let id = GroupId::Route { at, labels: labels.clone() };
                let inside = self.groups.get(&id).is_some_and(|group| group.contains(fingerprint));
                match (inside, over) {
                    (false, true) => continue,
                    (false, false) if self.members >= most => dropped += 1,
                    _ => {
                        inside_any = true;
                        let make = || Group::new(labels, route.timing, now);
                        self.insert(id, Arc::clone(&alert), make, now);
                    }
                }
            }
            if inside_any {
                self.alerts.insert(fingerprint, Held { alert, updated_at: now, routes, origin });
            }
        }
        dropped
    }

    fn insert(
        &mut self,
        id: GroupId,
        alert: Arc<Alert>,
        make: impl FnOnce() -> Group,
        now: Timestamp,
    ) {
        let group = self.groups.entry(id.clone()).or_insert_with(make);
        let (len, next) = (group.len(), group.next_flush());
        group.insert(alert.fingerprint(), alert, now);
        self.members += group.len() - len;
        let then = group.next_flush();
        if next != then {
            self.queue.remove(&(next, id.clone()));
        }
        if next != then || len == 0 {
            self.queue.insert((then, id));
        }
    }

    /// When there is something to do next: a group to look at, or ends to look for.
    pub fn next_flush(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Groups whose time has come, as they stand.
    pub fn due(&mut self, said: Said<'_>, now: Timestamp) -> Vec<Due> {
        self.inhibitor.forget(now);
        // A clock that went back has left groups in a future that their routes do not know.
        let future = now.plus(self.longest);
        let ahead = self.queue.iter().rev().take_while(|(at, _)| *at > future);
        let due = self.queue.iter().take_while(|(at, _)| *at <= now).chain(ahead);
        let due: Vec<&GroupId> = due.map(|(_, id)| id).collect();
        due.into_iter().filter_map(|id| self.due_group(id, said, now)).collect()
    }

    fn due_group(&self, id: &GroupId, said: Said<'_>, now: Timestamp) -> Option<Due> {
        let group = self.groups.get(id)?;
        let none = || Arc::from([]);
        let (group_key, integrations) = match id {
            GroupId::Route { at, .. } => match self.config.tree.routes.get(*at) {
                Some(route) => {
                    let mine = self.integrations.get(&route.receiver).cloned();
                    (route.group_key(&group.labels), mine.unwrap_or_else(none))
                }
                None => (String::new(), none()),
            },
            GroupId::Orphan(lane) => {
                let known = self.integrations.values().flat_map(|list| list.iter());
                let mine = known.filter(|known| known.key == lane.integration).cloned();
                (lane.group_key.clone(), mine.collect())
            }
        };
        let snapshot = group.snapshot(now);
        let out_of_time = !self.time_muted_by(id, now).is_empty();
        let muted = |hash: Fingerprint, alert: &Alert| {
            out_of_time
                || self.inhibited_by(hash, &alert.labels, now).is_some()
                || said.silences.mutes(&alert.labels, now)
        };
        Some(Due::new(id.clone(), group_key, group, integrations, snapshot, muted, said))
    }

    /// The time intervals by which the group's route tells nobody now.
    pub(super) fn time_muted_by(&self, id: &GroupId, now: Timestamp) -> Vec<&str> {
        let GroupId::Route { at, .. } = id else { return Vec::new() };
        let route = self.config.tree.routes.get(*at);
        route.map(|route| self.config.time_muted_by(route, now)).unwrap_or_default()
    }

    /// The alert that silences this one, by an inhibition rule.
    pub(super) fn inhibited_by(
        &self,
        hash: Fingerprint,
        labels: &Labels,
        now: Timestamp,
    ) -> Option<Fingerprint> {
        let origin = self.alerts.get(&hash).map_or(Origin::Known, |held| held.origin);
        self.inhibitor.inhibited_by(labels, origin, now)
    }

    /// After the transaction: what ended goes, and empty groups with it.
    pub fn flushed(&mut self, due: &[Due], now: Timestamp) {
        for due in due {
            let Some(group) = self.groups.get_mut(&due.id) else { continue };
            let (len, next) = (group.len(), group.next_flush());
            group.flushed(&due.snapshot, now);
            self.members -= len - group.len();
            let (then, empty) = (group.next_flush(), group.is_empty());
            self.queue.remove(&(next, due.id.clone()));
            match empty {
                false => drop(self.queue.insert((then, due.id.clone()))),
                true => drop(self.groups.remove(&due.id)),
            }
        }
    }

    /// After a transaction that failed: nothing changed, look again at `at`.
    pub fn try_again(&mut self, due: &[Due], at: Timestamp) {
        for due in due {
            if let Some(group) = self.groups.get_mut(&due.id) {
                self.queue.remove(&(group.next_flush(), due.id.clone()));
                group.try_again(at);
                self.queue.insert((at, due.id.clone()));
            }
        }
    }

    /// After the clock was set forward by so much: what fired before it fires still, until a lease
    /// as long as what was left of it has passed.
    pub fn after_step(&mut self, by: Duration, now: Timestamp) {
        for held in self.alerts.values_mut() {
            if let Some(ends_at) = group::after_step(&held.alert, by, now) {
                Arc::make_mut(&mut held.alert).ends_at = ends_at;
                self.inhibitor.take(&held.alert, held.origin, now);
            }
        }
        self.groups.values_mut().for_each(|group| group.after_step(by, now));
    }

    /// Alerts that ended since they were last looked through, which is now and then.
    pub fn ended(&mut self, now: Timestamp) -> Vec<Arc<Alert>> {
        // Also when the clock went back.
        if self.swept_at <= now && now.since(self.swept_at) < SWEEP_EVERY {
            return Vec::new();
        }
        self.swept_at = now;
        let mut ended = Vec::new();
        self.alerts.retain(|fingerprint, held| {
            let over = held.alert.is_resolved(now);
            if over {
                self.orphans.remove(fingerprint);
                ended.push(Arc::clone(&held.alert));
            }
            !over
        });
        ended
    }

    /// Whether any alert that these match still fires.
    pub fn fires(&self, matchers: &[crate::model::matcher::Matcher], now: Timestamp) -> bool {
        self.alerts.values().any(|held| {
            let labels = &held.alert.labels;
            !held.alert.is_resolved(now) && matchers.iter().all(|m| m.matches_labels(labels))
        })
    }
}

#[cfg(test)]
mod tests;
