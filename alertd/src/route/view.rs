//! What others see of the routing that runs: its alerts and groups, with who silences what.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::config::Notifications;
use super::dispatch::{Dispatcher, GroupId, Held, Origin};
use super::history::Notes;
use super::intake::Received;
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::matcher::Matcher;
use crate::model::sample::Timestamp;

/// Clones share the routing's state. Whoever holds the lock does not wait for anything.
#[derive(Clone)]
pub struct View {
    dispatcher: Arc<Mutex<Dispatcher>>,
    /// Rung when there is something to do sooner than routing knows.
    bell: Arc<Notify>,
    /// Takes notice of all that comes in.
    notes: Option<Notes>,
}

/// An alert that fires, as routing has it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub fingerprint: Fingerprint,
    pub alert: Arc<Alert>,
    pub updated_at: Timestamp,
    /// Places of its routes in the tree.
    pub routes: Arc<[usize]>,
    pub inhibited_by: Option<Fingerprint>,
}

#[derive(Debug, Clone)]
pub struct ShownGroup {
    pub labels: Labels,
    pub receiver: String,
    /// The time intervals by which nobody is told of it now.
    pub muted_by: Vec<String>,
    pub alerts: Vec<Shown>,
}

impl View {
    pub(super) fn new(config: Arc<Notifications>, most_posted: usize) -> View {
        let dispatcher = Arc::new(Mutex::new(Dispatcher::new(config, most_posted)));
        View { dispatcher, bell: Arc::default(), notes: None }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Dispatcher> {
        self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, with every report told to `notes`.
    pub(super) fn noticed_by(self, notes: Notes) -> View {
        View { notes: Some(notes), ..self }
    }

    pub(super) fn notice(&self, alerts: &[Alert], now: Timestamp) {
        if let Some(notes) = &self.notes {
            notes.take(alerts, now);
        }
    }

    pub(super) async fn news(&self) {
        self.bell.notified().await;
    }

    /// Takes alerts that another program posted; returns how many were dropped.
    pub(super) fn take_posted<'a>(
        &self,
        received: impl IntoIterator<Item = &'a Arc<Received>>,
        now: Timestamp,
    ) -> u64 {
        let (mut known, mut anonymous) = (Vec::new(), Vec::new());
        for one in received {
            if one.anonymous { &mut anonymous } else { &mut known }.push(one.alert());
        }
        let mut dropped = 0;
        for (alerts, origin) in [(known, Origin::Known), (anonymous, Origin::Anonymous)] {
            self.notice(&alerts, now);
            dropped += self.lock().take(alerts, origin, now);
        }
        self.bell.notify_one();
        dropped
    }

    pub fn config(&self) -> Arc<Notifications> {
        Arc::clone(&self.lock().config)
    }

    /// Every alert that fires and that all of `matchers` match, by fingerprint.
    pub fn alerts(&self, matchers: &[Matcher], now: Timestamp) -> Vec<Shown> {
        let dispatcher = self.lock();
        let wanted = |alert: &Alert| {
            !alert.is_resolved(now) && matchers.iter().all(|m| m.matches_labels(&alert.labels))
        };
        let found = dispatcher.alerts.iter().filter(|(_, held)| wanted(&held.alert));
        let mut shown: Vec<_> =
            found.map(|(hash, held)| dispatcher.shown(*hash, held, now)).collect();
        drop(dispatcher);
        shown.sort_by_key(|one| one.fingerprint);
        shown
    }

    /// Every group with what fires in it, by labels and receiver.
    pub fn groups(&self, now: Timestamp) -> Vec<ShownGroup> {
        let dispatcher = self.lock();
        let mut groups = Vec::new();
        for (id, group) in &dispatcher.groups {
            let GroupId::Route { at, .. } = id else { continue };
            let Some(route) = dispatcher.config.tree.routes.get(*at) else { continue };
            let firing = group.snapshot(now).firing;
            let held = firing.iter().filter_map(|(hash, _)| {
                Some(dispatcher.shown(*hash, dispatcher.alerts.get(hash)?, now))
            });
            let (labels, receiver) = (group.labels.clone(), route.receiver.clone());
            let muted_by = dispatcher.time_muted_by(id, now).into_iter().map(str::to_owned);
            let (muted_by, alerts) = (muted_by.collect(), held.collect());
            groups.push(ShownGroup { labels, receiver, muted_by, alerts });
        }
        drop(dispatcher);
        groups.sort_by(|a, b| (&a.labels, &a.receiver).cmp(&(&b.labels, &b.receiver)));
        groups
    }

    /// One that fires.
    pub fn alert(&self, fingerprint: Fingerprint, now: Timestamp) -> Option<Arc<Alert>> {
        let dispatcher = self.lock();
        let held = dispatcher.alerts.get(&fingerprint)?;
        (!held.alert.is_resolved(now)).then(|| Arc::clone(&held.alert))
    }
}

impl Dispatcher {
    fn shown(&self, fingerprint: Fingerprint, held: &Held, now: Timestamp) -> Shown {
        Shown {
            fingerprint,
            alert: Arc::clone(&held.alert),
            updated_at: held.updated_at,
            routes: Arc::clone(&held.routes),
            inhibited_by: self.inhibited_by(fingerprint, &held.alert.labels, now),
        }
    }
}
