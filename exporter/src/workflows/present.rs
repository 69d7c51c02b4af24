//! Who waits and who runs now, in groups that cannot grow without end (pure).

use std::collections::BTreeMap;

use crate::workflows::event::Status;
use crate::workflows::fleet::Fleet;
use crate::workflows::normalise::OTHER;
use crate::workflows::state::State;
use crate::workflows::state::counts::{OPEN_RUNS, QUEUED_NOW, RUNNING_NOW};
use crate::workflows::waiting::{self, Reason, Runners};

/// Jobs or runs with the same labels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Group {
    pub(super) count: u64,
    /// When the eldest of them began to wait, or to run.
    pub(super) oldest: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct Present<'a> {
    /// By repository, labels and reason.
    pub(super) queued: BTreeMap<(&'a str, &'a str, Reason), Group>,
    /// Running jobs by repository and labels.
    pub(super) running: BTreeMap<(&'a str, &'a str), Group>,
    /// Running jobs by repository and workflow.
    pub(super) by_workflow: BTreeMap<(&'a str, &'a str), Group>,
    /// Open runs by repository and status.
    pub(super) runs: BTreeMap<(&'a str, &'static str), Group>,
}

impl<'a> Present<'a> {
    pub(super) fn new(state: &'a State, now: f64, fleet: &Fleet) -> Present<'a> {
        let settings = &state.settings;
        let mut runners = Runners::new(fleet, now);
        let mut present = Present::default();
        let open = || {
            state.jobs.values().filter(|life| !state.is_over(life.job.run_id, life.job.run_attempt))
        };
        for life in open().filter(|life| life.job.status == Status::InProgress) {
            let repository = settings.repository(&life.job.repository);
            let began = life.job.started_at;
            present.running.entry((repository, &life.labels)).or_default().add(began);
            present.by_workflow.entry((repository, &life.workflow)).or_default().add(began);
            runners.works(&life.job);
        }
        for life in open() {
            let run = state.runs.get(&(life.job.run_id, life.job.run_attempt));
            if let Some(reason) = waiting::reason(life, run, &runners, now) {
                let key = (settings.repository(&life.job.repository), &*life.labels, reason);
                present.queued.entry(key).or_default().add(life.waits_since());
            }
        }
        for life in state.runs.values() {
            let over = state.is_over(life.run.id, life.run.attempt);
            if let Some(word) = word(life.run.status).filter(|_| !over) {
                let key = (settings.repository(&life.run.repository), word);
                present.runs.entry(key).or_default().add(life.began());
            }
        }
        fold(&mut present.queued, QUEUED_NOW.room(settings), |key| (OTHER, OTHER, key.2));
        fold(&mut present.running, RUNNING_NOW.room(settings), |_| (OTHER, OTHER));
        fold(&mut present.by_workflow, RUNNING_NOW.room(settings), |_| (OTHER, OTHER));
        fold(&mut present.runs, OPEN_RUNS.room(settings), |key| (OTHER, key.1));
        present
    }
}

impl Group {
    fn add(&mut self, began: Option<f64>) {
        self.merge(Group { count: 1, oldest: began });
    }

    fn merge(&mut self, other: Group) {
        self.count += other.count;
        self.oldest = match (self.oldest, other.oldest) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }
}

/// Keeps the `room` largest groups, and puts the others together under the key that `other` gives.
fn fold<K: Ord + Copy>(groups: &mut BTreeMap<K, Group>, room: usize, other: impl Fn(&K) -> K) {
    if groups.len() <= room {
        return;
    }
    let mut all: Vec<(K, Group)> = std::mem::take(groups).into_iter().collect();
    all.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    for (at, (key, group)) in all.into_iter().enumerate() {
        let key = if at < room { key } else { other(&key) };
        groups.entry(key).or_default().merge(group);
    }
}

fn word(status: Status) -> Option<&'static str> {
    Some(match status {
        Status::Requested => "requested",
        Status::Pending => "pending",
        Status::Waiting => "waiting",
        Status::Queued => "queued",
        Status::InProgress => "in_progress",
        Status::Completed | Status::Other => return None,
    })
}
