//! The live view of all targets, for the API and the page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::target::Target;
use crate::model::labels::Labels;
use crate::model::metadata::Metadata;
use crate::model::sample::Timestamp;

/// Shared by the loops, which write it, and whoever shows it.
#[derive(Debug, Clone, Default)]
pub struct Targets(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    active: BTreeMap<Arc<Target>, Known>,
    dropped: Vec<(String, Labels)>,
}

#[derive(Debug, Default)]
struct Known {
    last: Outcome,
    metadata: Arc<Metadata>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// The job that configures it.
    pub job_name: String,
    pub job: String,
    pub instance: String,
    pub url: String,
    pub labels: Labels,
    /// With the labels that start with `__`.
    pub discovered: Labels,
    pub interval: Duration,
    pub timeout: Duration,
    pub last: Outcome,
}

/// What came of a target's last scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub health: Health,
    /// When it started; `None` before the first.
    pub at: Option<Timestamp>,
    pub duration: Duration,
    /// Why it is down, in one line.
    pub error: Option<String>,
    pub samples: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Targets {
    /// Sorted by job name, then URL.
    pub fn snapshot(&self) -> Vec<TargetStatus> {
        let of = |(target, known): (&Arc<Target>, &Known)| TargetStatus {
            job_name: target.job_name.clone(),
            job: target.job().to_owned(),
            instance: target.instance().to_owned(),
            url: target.url.clone(),
            labels: target.labels.clone(),
            discovered: target.discovered.clone(),
            interval: target.interval,
            timeout: target.timeout,
            last: known.last.clone(),
        };
        self.lock().active.iter().map(of).collect()
    }

    /// Job names, and what was known about targets that a rule dropped; not all where there are
    /// very many.
    pub fn dropped(&self) -> Vec<(String, Labels)> {
        self.lock().dropped.clone()
    }

    pub(super) fn set_dropped(&self, dropped: Vec<(String, Labels)>) {
        self.lock().dropped = dropped;
    }

    pub(super) fn add(&self, target: Arc<Target>) {
        self.lock().active.entry(target).or_default();
    }

    pub(super) fn remove(&self, target: &Arc<Target>) {
        self.lock().active.remove(target);
    }

    /// Records a scrape and returns what came of the one before.
    pub(super) fn record(&self, target: &Arc<Target>, outcome: Outcome) -> Option<Outcome> {
        self.lock().active.get_mut(target).map(|known| std::mem::replace(&mut known.last, outcome))
    }

    /// What the pages of each target say about their metrics, beside the target's labels.
    pub fn metadata(&self) -> Vec<(Labels, Arc<Metadata>)> {
        let of = |(target, known): (&Arc<Target>, &Known)| {
            (target.labels.clone(), Arc::clone(&known.metadata))
        };
        self.lock().active.iter().map(of).collect()
    }

    pub(super) fn describe(&self, target: &Arc<Target>, metadata: Arc<Metadata>) {
        if let Some(known) = self.lock().active.get_mut(target) {
            known.metadata = metadata;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one step, so a panic elsewhere cannot have left half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
