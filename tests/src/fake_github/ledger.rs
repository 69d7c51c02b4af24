//! Everything that happened in the simulator, in order, and what must hold of it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Older entries go first beyond this.
const MAX_ENTRIES: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A job waits for a runner, or first for what holds it back.
    Queued,
    /// Nothing but the lack of a runner holds the job back any more.
    Released,
    /// A runner has taken the job.
    Assigned,
    /// The runner said how the job ended.
    Completed,
    /// The runner fell silent and the job failed.
    Lost,
    /// Nobody took the job, or it was cancelled.
    Cancelled,
    RunnerRegistered,
    RunnerRemoved,
    LabelAdded,
    LabelRemoved,
    /// A call to the REST API, with its answer's status.
    Call,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// From 1 up, without gaps.
    pub seq: u64,
    /// Seconds since the Unix epoch.
    pub time: f64,
    pub event: Event,
    #[serde(flatten)]
    pub what: What,
}

/// Which fields are set depends on the event.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct What {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// From its creation to its start, less what it was held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
    /// The token's holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    last: u64,
}

impl Ledger {
    pub fn add(&mut self, time: f64, event: Event, what: What) {
        self.last += 1;
        self.entries.push_back(Entry { seq: self.last, time, event, what });
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
        }
    }

    /// The entries after the one with this number.
    pub fn after(&self, seq: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }
}

/// What a whole ledger says about its jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub queued: usize,
    pub completed: usize,
    pub lost: usize,
    pub cancelled: usize,
    /// Waiting or running at the end.
    pub open: usize,
}

/// Counts the jobs, and finds the first breach of: each job is queued once, runs on at most one
/// runner and ends once; each runner runs one job at a time.
pub fn check(entries: &[Entry]) -> Result<Tally, String> {
    let mut jobs: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    let mut ended: BTreeMap<u64, Event> = BTreeMap::new();
    let mut running: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in entries {
        let breach = |rule: &str| Err(format!("{rule}: {entry:?}"));
        let Some(job) = entry.what.job else { continue };
        match entry.event {
            Event::Queued if jobs.insert(job, None).is_some() => return breach("queued twice"),
            Event::Queued => {}
            _ if !jobs.contains_key(&job) => return breach("never queued"),
            _ if ended.contains_key(&job) => return breach("after its end"),
            Event::Assigned => {
                let Some(runner) = entry.what.runner else { return breach("no runner") };
                if jobs.insert(job, Some(runner)).flatten().is_some() {
                    return breach("assigned twice");
                }
                if running.insert(runner, job).is_some() {
                    return breach("runner has a job already");
                }
            }
            Event::Completed | Event::Lost | Event::Cancelled => {
                ended.insert(job, entry.event);
                if let Some(runner) = jobs[&job] {
                    running.remove(&runner);
                } else if entry.event != Event::Cancelled {
                    return breach("ended without a runner");
                }
            }
            _ => {}
        }
    }
    let count = |event| ended.values().filter(|end| **end == event).count();
    Ok(Tally {
        queued: jobs.len(),
        completed: count(Event::Completed),
        lost: count(Event::Lost),
        cancelled: count(Event::Cancelled),
        open: jobs.len() - ended.len(),
    })
}
