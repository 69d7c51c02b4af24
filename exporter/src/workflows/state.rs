//! What is known of jobs and runs, and the counts made from them: a pure function of the events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::workflows::event::{Deployment, Event, Job, PullRequest, Run, Source, Status, What};
use crate::workflows::jobs::{JobLife, Odd, QueueTime, time};
use crate::workflows::runs::RunLife;
use crate::workflows::tally::{Counted, milliseconds, pairs};

pub(in crate::workflows) mod counts;
mod forget;
pub mod settings;

use counts::Counts;
pub use settings::Settings;

/// Lives and memories that are kept at most.
const MAX_JOBS: usize = 20_000;
const MAX_RUNS: usize = 10_000;
const MAX_DONE_JOBS: usize = 100_000;
const MAX_DONE_RUNS: usize = 50_000;
const MAX_OTHERS: usize = 20_000;

/// What came out of order may still come in for so long before a time is taken as it is.
const HOLD: f64 = 10.0;

/// Everything that the metrics of workflows are made from.
///
/// Events may come in any order and any number of times: older news never undoes newer, and
/// nothing is counted twice. After `Default` or deserializing, [`State::configure`] gives the
/// settings, which are not stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    #[serde(skip)]
    pub(super) settings: Arc<Settings>,
    #[serde(with = "pairs")]
    pub(super) jobs: BTreeMap<u64, JobLife>,
    /// By id and attempt.
    #[serde(with = "pairs")]
    pub(super) runs: BTreeMap<(u64, u32), RunLife>,
    /// Jobs and runs whose queue time is taken as it is then, in milliseconds.
    held_jobs: BTreeSet<(u64, u64)>,
    held_runs: BTreeSet<(u64, (u64, u32))>,
    done_jobs: Counted<u64>,
    done_runs: Counted<(u64, u32)>,
    done_others: Counted<String>,
    pub(super) counts: Counts,
}

/// A job that has not ended as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJob {
    pub id: u64,
    pub run_id: u64,
    pub run_attempt: u32,
    /// `owner/name`.
    pub repository: String,
    pub status: Status,
    /// When the last news of it came, by our own clock, in seconds since the Unix epoch.
    pub heard: f64,
}

/// A run that has not ended as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenRun {
    pub id: u64,
    pub attempt: u32,
    /// `owner/name`.
    pub repository: String,
    /// `Other` when only its jobs have been heard of.
    pub status: Status,
    /// When the last news of it or of one of its jobs came, as in [`OpenJob`].
    pub heard: f64,
}

impl State {
    /// What to count by, for events from now on.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Takes in what was said; its time is `event.received`.
    pub fn apply(&mut self, event: &Event) {
        let Event { source, received, ref what } = *event;
        let Some(received) = time(Some(received)) else { return };
        self.settle(received);
        match what {
            What::Job(news) => self.apply_job(news, source, received),
            What::Run(news) => self.apply_run(news, source, received),
            What::PullRequest(news) => self.apply_pull_request(news, received),
            What::Deployment(news) => self.apply_deployment(news, received),
        }
    }

    /// Whether [`State::apply`] would change anything: what polls repeat need not be stored.
    pub fn tells_news(&self, event: &Event) -> bool {
        let Event { source, received, ref what } = *event;
        let Some(received) = time(Some(received)) else { return false };
        match what {
            What::Job(news) => match self.jobs.get(&news.id) {
                Some(life) => life.with(news, source, received, &self.settings).is_some(),
                None => self.is_new_job(news) && !self.job_is_too_late(news),
            },
            What::Run(news) => match self.runs.get(&run_key(news)) {
                Some(life) => life.with(news, source, received, &self.settings).is_some(),
                None => self.is_new_run(news) && !self.run_is_too_late(news),
            },
            What::PullRequest(news) => match pull_request_key(news) {
                Some(key) => !self.done_others.has(&key),
                None => false,
            },
            What::Deployment(news) => !self.done_others.has(&deployment_key(news)),
        }
    }

    /// Jobs that may have moved on unheard.
    pub fn open_jobs(&self) -> Vec<OpenJob> {
        let open = self.jobs.values().filter(|life| !life.is_completed());
        let told = open.map(|JobLife { job, heard, .. }| OpenJob {
            id: job.id,
            run_id: job.run_id,
            run_attempt: job.run_attempt,
            repository: job.repository.clone(),
            status: job.status,
            heard: *heard,
        });
        told.collect()
    }

    /// Runs that may have moved on unheard.
    pub fn open_runs(&self) -> Vec<OpenRun> {
        let open = self.runs.values().filter(|life| !self.is_over(life.run.id, life.run.attempt));
        let told = open.map(|RunLife { run, heard, .. }| OpenRun {
            id: run.id,
            attempt: run.attempt,
            repository: run.repository.clone(),
            status: run.status,
            heard: *heard,
        });
        told.collect()
    }

    /// Whether the attempt has ended, or a later one has begun.
    pub(super) fn is_over(&self, run: u64, attempt: u32) -> bool {
        let key = (run, attempt);
        self.done_runs.has_any(key..=(run, u32::MAX))
            || self.runs.get(&key).is_some_and(RunLife::is_completed)
            || self.runs.range(key..=(run, u32::MAX)).any(|((_, later), _)| *later > attempt)
    }

    fn is_new_job(&self, news: &Job) -> bool {
        news.status != Status::Other && !self.done_jobs.has(&news.id)
    }

    fn job_is_too_late(&self, news: &Job) -> bool {
        let ended = time(news.completed_at).filter(|_| news.status == Status::Completed);
        ended.is_some_and(|ended| self.done_jobs.is_too_late(ended))
    }

    fn apply_job(&mut self, news: &Job, source: Source, received: f64) {
        let settings = Arc::clone(&self.settings);
        let old = self.jobs.get(&news.id);
        if old.is_none() && !self.is_new_job(news) {
            return;
        }
        if old.is_none() && self.job_is_too_late(news) {
            self.counts.odd(Odd::TooLate);
            return;
        }
        let is_new = old.is_none();
        let old = old.cloned().unwrap_or_else(|| JobLife::new(news));
        let Some(mut life) = old.with(news, source, received, &settings) else { return };
        let key = (life.job.run_id, life.job.run_attempt);
        let attempt_began = self.hear_of(key, &life, received);
        if life.is_carried_over(attempt_began) {
            self.counts.odd(Odd::CarriedOver);
            self.end_job(&life, received);
            return;
        }
        if is_new {
            self.counts.job_queued(&life, &settings, received);
        }
        if life.ran() && !old.ran() {
            self.counts.job_started(&life, &settings, received);
        }
        if life.is_completed() && !old.is_completed() {
            self.counts.job_ended(&life, &settings, received);
        }
        if !life.queue_settled {
            match life.queue_time() {
                QueueTime::Open => {}
                QueueTime::Unsettled(_) => {
                    self.held_jobs.insert((milliseconds(received + HOLD), news.id));
                }
                known => self.settle_queue(&mut life, known, received),
            }
        }
        self.keep_job(life, received);
    }

    /// Tells the job's run about it; the answer is when the run's attempt began, if that is known.
    fn hear_of(&mut self, key: (u64, u32), life: &JobLife, received: f64) -> Option<f64> {
        if !self.runs.contains_key(&key) {
            if key.0 == 0 || self.is_over(key.0, key.1) {
                return None;
            }
            self.make_room_for_runs();
            let run = RunLife::new(key.0, key.1, &life.job.repository);
            self.runs.insert(key, run);
        }
        let run = self.runs.get_mut(&key)?;
        let began = if key.1 > 1 { run.run.started_at } else { None };
        let knew = run.knows_start();
        if !life.is_carried_over(began) {
            run.hear_of(&life.job, life.ran(), received);
        }
        if run.knows_start() && !knew && !run.queue_settled {
            self.held_runs.insert((milliseconds(received + HOLD), key));
        }
        began
    }

    fn settle_queue(&mut self, life: &mut JobLife, queue: QueueTime, now: f64) {
        let settings = Arc::clone(&self.settings);
        life.queue_settled = true;
        match queue {
            QueueTime::Unsettled(seconds) if seconds.is_nan() => {
                self.counts.odd(Odd::GateEndUnknown);
            }
            QueueTime::Known(seconds) | QueueTime::Unsettled(seconds) if seconds >= 0.0 => {
                self.counts.job_queue_time(life, seconds, &settings, now);
            }
            QueueTime::Known(_) | QueueTime::Unsettled(_) | QueueTime::Negative(_) => {
                self.counts.odd(Odd::NegativeQueueTime);
                self.counts.job_queue_time(life, 0.0, &settings, now);
            }
            QueueTime::Unknown(odd) => self.counts.odd(odd),
            QueueTime::Open | QueueTime::Never => {}
        }
    }

    fn keep_job(&mut self, life: JobLife, now: f64) {
        if life.is_completed() && life.queue_settled {
            self.end_job(&life, now);
            return;
        }
        if !self.jobs.contains_key(&life.job.id) {
            self.make_room_for_jobs();
        }
        self.jobs.insert(life.job.id, life);
    }

    fn end_job(&mut self, life: &JobLife, now: f64) {
        self.jobs.remove(&life.job.id);
        let ended = life.job.completed_at.unwrap_or(now);
        self.done_jobs.add(life.job.id, ended, now, MAX_DONE_JOBS);
    }

    fn is_new_run(&self, news: &Run) -> bool {
        news.status != Status::Other && !self.done_runs.has(&run_key(news))
    }

    fn run_is_too_late(&self, news: &Run) -> bool {
        let ended = time(news.updated_at).filter(|_| news.status == Status::Completed);
        ended.is_some_and(|ended| self.done_runs.is_too_late(ended))
    }

    fn apply_run(&mut self, news: &Run, source: Source, received: f64) {
        let settings = Arc::clone(&self.settings);
        let key = run_key(news);
        let old = self.runs.get(&key);
        if old.is_none() && !self.is_new_run(news) {
            return;
        }
        if old.is_none() && self.run_is_too_late(news) {
            self.counts.odd(Odd::TooLate);
            return;
        }
        let old = old.cloned().unwrap_or_else(|| RunLife::new(key.0, key.1, &news.repository));
        let Some(mut life) = old.with(news, source, received, &settings) else { return };
        if old.run.workflow.is_empty() && !life.run.workflow.is_empty() {
            self.counts.run_known(&life, &settings, received);
        }
        if life.is_completed() && !old.is_completed() {
            self.counts.run_ended(&life, &settings, received);
            if !life.queue_settled {
                match life.knows_start() || !life.ran() {
                    true => {
                        life.queue_settled = true;
                        self.counts.run_queue_time(&life, &settings, received);
                    }
                    false => drop(self.held_runs.insert((milliseconds(received + HOLD), key))),
                }
            }
        }
        self.keep_run(life, received);
    }

    fn keep_run(&mut self, life: RunLife, now: f64) {
        let key = (life.run.id, life.run.attempt);
        if life.is_completed() && life.queue_settled {
            self.runs.remove(&key);
            self.done_runs.add(key, life.run.updated_at.unwrap_or(now), now, MAX_DONE_RUNS);
            return;
        }
        if !self.runs.contains_key(&key) {
            self.make_room_for_runs();
        }
        self.runs.insert(key, life);
    }

    fn apply_pull_request(&mut self, news: &PullRequest, received: f64) {
        let Some(key) = pull_request_key(news) else { return };
        if !self.done_others.has(&key) {
            let settings = Arc::clone(&self.settings);
            self.counts.pull_request(news, &settings, received);
            self.done_others.add(key, received, received, MAX_OTHERS);
        }
    }

    fn apply_deployment(&mut self, news: &Deployment, received: f64) {
        let key = deployment_key(news);
        if !self.done_others.has(&key) {
            let settings = Arc::clone(&self.settings);
            self.counts.deployment(news, &settings, received);
            self.done_others.add(key, received, received, MAX_OTHERS);
        }
    }
}

fn run_key(news: &Run) -> (u64, u32) {
    (news.id, news.attempt.max(1))
}

/// The same thing said by two webhooks has the same key; `None` for what is not counted.
fn pull_request_key(news: &PullRequest) -> Option<String> {
    let closed = news.closed_at.unwrap_or(0.0);
    match news.action.as_str() {
        "opened" => Some(format!("{}#{}", news.repository, news.number)),
        "closed" => Some(format!("{}#{} closed {closed}", news.repository, news.number)),
        _ => None,
    }
}

fn deployment_key(news: &Deployment) -> String {
    format!("{} deployment {}", news.repository, news.id)
}

#[cfg(test)]
mod tests;
