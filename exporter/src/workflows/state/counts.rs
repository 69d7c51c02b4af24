//! Everything that is counted up: histograms and totals, each within its share of the series.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workflows::event::{Deployment, PullRequest};
use crate::workflows::jobs::{JobLife, Odd};
use crate::workflows::normalise;
use crate::workflows::runs::RunLife;
use crate::workflows::state::Settings;
use crate::workflows::tally::{Histogram, Tally, milliseconds, pairs};
use crate::workflows::waiting;

/// Upper bounds of queue times, in seconds: up to the day after which GitHub gives a job up.
pub(in crate::workflows) const QUEUE_BOUNDS: [f64; 13] =
    [1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0];
/// Upper bounds of durations, in seconds.
pub(in crate::workflows) const DURATION_BOUNDS: [f64; 14] = [
    10.0, 30.0, 60.0, 120.0, 300.0, 480.0, 720.0, 900.0, 1080.0, 1500.0, 3600.0, 10800.0, 21600.0,
    86400.0,
];

/// A family's share of `max_series`: so many of a thousand, at so many series an entry.
#[derive(Debug, Clone, Copy)]
pub(in crate::workflows) struct Share {
    per_mille: usize,
    each: usize,
}

impl Share {
    const fn new(per_mille: usize, each: usize) -> Share {
        Share { per_mille, each }
    }

    /// Entries that there is room for, the one for `other` not counted.
    pub(in crate::workflows) fn room(self, settings: &Settings) -> usize {
        (settings.max_series * self.per_mille / 1000 / self.each).max(1)
    }
}

// With the entries for `other`, which keep labels of closed sets, these stay below the whole.
const JOB_QUEUE: Share = Share::new(190, QUEUE_BOUNDS.len() + 3);
const JOB_DURATION: Share = Share::new(140, DURATION_BOUNDS.len() + 3);
/// Jobs that have a duration of their own take theirs from the share of all jobs.
const NAMED_JOBS: Share = Share::new(60, DURATION_BOUNDS.len() + 3);
const JOB_DURATION_BESIDE: Share = Share::new(80, DURATION_BOUNDS.len() + 3);
const RUN_DURATION: Share = Share::new(140, DURATION_BOUNDS.len() + 3);
const RUN_QUEUE: Share = Share::new(70, QUEUE_BOUNDS.len() + 3);
const RUN_CONCLUSIONS: Share = Share::new(70, 1);
const JOB_CONCLUSIONS: Share = Share::new(50, 1);
const IN_A_ROW: Share = Share::new(30, 1);
const PULL_REQUESTS: Share = Share::new(40, 4);
const DEPLOYMENTS: Share = Share::new(15, 1);
const RUNNER_TIME: Share = Share::new(30, 2);
const MOVES: Share = Share::new(30, 3);
pub(in crate::workflows) const QUEUED_NOW: Share = Share::new(80, 2);
pub(in crate::workflows) const RUNNING_NOW: Share = Share::new(25, 1);
pub(in crate::workflows) const OPEN_RUNS: Share = Share::new(15, 1);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::workflows) struct Counts {
    /// By repository and labels.
    pub(in crate::workflows) job_queue: Tally<Histogram>,
    /// By repository, workflow and conclusion.
    pub(in crate::workflows) job_duration: Tally<Histogram>,
    /// By repository, workflow and job, for those that are named in the settings.
    pub(in crate::workflows) named_jobs: Tally<Histogram>,
    /// By repository.
    pub(in crate::workflows) run_queue: Tally<Histogram>,
    /// By repository and workflow.
    pub(in crate::workflows) run_duration: Tally<Histogram>,
    /// By repository, workflow and conclusion, as are the next.
    pub(in crate::workflows) run_conclusions: Tally<u64>,
    pub(in crate::workflows) job_conclusions: Tally<u64>,
    /// By repository, workflow and class of branch.
    pub(in crate::workflows) in_a_row: Tally<InARow>,
    /// By repository and labels.
    pub(in crate::workflows) moves: Tally<Moves>,
    /// By repository and author.
    pub(in crate::workflows) pull_requests: Tally<PullRequests>,
    /// By repository, environment and state.
    pub(in crate::workflows) deployments: Tally<u64>,
    /// By repository, class and whether GitHub hosts it.
    pub(in crate::workflows) runner_time: Tally<RunnerTime>,
    #[serde(with = "pairs")]
    pub(in crate::workflows) odd: BTreeMap<Odd, u64>,
    /// Lives that were given up unfinished, for want of room.
    pub(in crate::workflows) crowded_out: u64,
}

/// Failed runs of one workflow since the last that succeeded.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::workflows) struct InARow {
    pub(in crate::workflows) failures: u64,
    /// When the last of them ended.
    last: f64,
}

/// How many jobs got how far.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::workflows) struct Moves {
    pub(in crate::workflows) queued: u64,
    pub(in crate::workflows) started: u64,
    pub(in crate::workflows) completed: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::workflows) struct PullRequests {
    pub(in crate::workflows) opened: u64,
    pub(in crate::workflows) closed: u64,
    pub(in crate::workflows) merged: u64,
    /// Of those that were merged.
    pub(in crate::workflows) changed_files: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::workflows) struct RunnerTime {
    pub(in crate::workflows) milliseconds: u64,
    /// Of one unit of the currency; `None` where the class has no price.
    pub(in crate::workflows) cost_millionths: Option<u64>,
}

impl Counts {
    pub(in crate::workflows) fn odd(&mut self, odd: Odd) {
        *self.odd.entry(odd).or_default() += 1;
    }

    pub(super) fn job_queued(&mut self, life: &JobLife, settings: &Settings, now: f64) {
        self.moves(life, settings, now).queued += 1;
    }

    pub(super) fn job_started(&mut self, life: &JobLife, settings: &Settings, now: f64) {
        self.moves(life, settings, now).started += 1;
    }

    fn moves(&mut self, life: &JobLife, settings: &Settings, now: f64) -> &mut Moves {
        let key = [settings.repository(&life.job.repository), &life.labels];
        self.moves.at(&key, 0, MOVES.room(settings), now)
    }

    pub(super) fn job_queue_time(
        &mut self,
        life: &JobLife,
        seconds: f64,
        settings: &Settings,
        now: f64,
    ) {
        let key = [settings.repository(&life.job.repository), &life.labels];
        let histogram = self.job_queue.at(&key, 0, JOB_QUEUE.room(settings), now);
        histogram.observe(&QUEUE_BOUNDS, seconds);
    }

    /// Conclusion, duration and cost of a job that has ended.
    pub(super) fn job_ended(&mut self, life: &JobLife, settings: &Settings, now: f64) {
        let conclusion = normalise::conclusion(life.job.conclusion.as_deref());
        let repository = settings.repository(&life.job.repository);
        let key = [repository, &life.workflow, conclusion];
        *self.job_conclusions.at(&key, 1, JOB_CONCLUSIONS.room(settings), now) += 1;
        self.moves(life, settings, now).completed += 1;
        let Some(seconds) = self.checked(life.duration()) else { return };
        let share = if settings.jobs.is_empty() { JOB_DURATION } else { JOB_DURATION_BESIDE };
        let histogram = self.job_duration.at(&key, 0, share.room(settings), now);
        histogram.observe(&DURATION_BOUNDS, seconds);
        if let Some(name) = settings.job(&life.job.name) {
            let key = [repository, &life.workflow, &name];
            let histogram = self.named_jobs.at(&key, 0, NAMED_JOBS.room(settings), now);
            histogram.observe(&DURATION_BOUNDS, seconds);
        }
        let hosted = waiting::is_hosted(&life.job);
        let price = settings.price(&life.job.labels);
        let unnamed = if hosted { "hosted" } else { "self_hosted" };
        let class = price.map_or(unnamed, |price| &price.class);
        let key = [repository, class, if hosted { "true" } else { "false" }];
        let time = self.runner_time.at(&key, 2, RUNNER_TIME.room(settings), now);
        time.milliseconds += milliseconds(seconds);
        if let Some(price) = price {
            let cost = (seconds / 60.0 * price.per_minute * 1e6).round() as u64;
            let so_far = time.cost_millionths.get_or_insert(0);
            *so_far = so_far.saturating_add(cost);
        }
    }

    /// Shows a workflow's conclusions as 0 before the first of them, so that it counts as a rise.
    pub(super) fn run_known(&mut self, life: &RunLife, settings: &Settings, now: f64) {
        for conclusion in ["success", "failure"] {
            self.run_conclusion(life, conclusion, settings, now);
        }
    }

    fn run_conclusion(
        &mut self,
        life: &RunLife,
        conclusion: &str,
        settings: &Settings,
        now: f64,
    ) -> &mut u64 {
        let key = [settings.repository(&life.run.repository), &life.workflow, conclusion];
        self.run_conclusions.at(&key, 1, RUN_CONCLUSIONS.room(settings), now)
    }

    pub(super) fn run_queue_time(&mut self, life: &RunLife, settings: &Settings, now: f64) {
        let Some(seconds) = self.checked(life.queue_time()) else { return };
        let key = [settings.repository(&life.run.repository)];
        let histogram = self.run_queue.at(&key, 0, RUN_QUEUE.room(settings), now);
        histogram.observe(&QUEUE_BOUNDS, seconds);
    }

    /// Conclusion and duration of a run that has ended, and whether its workflow keeps failing.
    pub(super) fn run_ended(&mut self, life: &RunLife, settings: &Settings, now: f64) {
        let conclusion = normalise::conclusion(life.run.conclusion.as_deref());
        *self.run_conclusion(life, conclusion, settings, now) += 1;
        let repository = settings.repository(&life.run.repository);
        let class = normalise::branch_class(&life.run, settings);
        let failed = matches!(conclusion, "failure" | "timed_out" | "startup_failure");
        if failed || conclusion == "success" {
            let key = [repository, &life.workflow, class];
            let row = self.in_a_row.at(&key, 1, IN_A_ROW.room(settings), now);
            let ended = life.run.updated_at.unwrap_or(now);
            if ended >= row.last {
                row.failures = if failed { row.failures + 1 } else { 0 };
                row.last = ended;
            }
        }
        let Some(seconds) = self.checked(life.duration()) else { return };
        let key = [repository, &life.workflow];
        let histogram = self.run_duration.at(&key, 0, RUN_DURATION.room(settings), now);
        histogram.observe(&DURATION_BOUNDS, seconds);
    }

    pub(super) fn pull_request(&mut self, news: &PullRequest, settings: &Settings, now: f64) {
        let repository = normalise::text(&news.repository);
        let key = [settings.repository(&repository), if news.bot { "bot" } else { "person" }];
        let counts = self.pull_requests.at(&key, 1, PULL_REQUESTS.room(settings), now);
        match news.action.as_str() {
            "opened" => counts.opened += 1,
            "closed" if news.merged => {
                counts.merged += 1;
                counts.changed_files += news.changed_files.unwrap_or(0);
            }
            "closed" => counts.closed += 1,
            _ => {}
        }
    }

    pub(super) fn deployment(&mut self, news: &Deployment, settings: &Settings, now: f64) {
        const STATES: [&str; 7] =
            ["success", "failure", "error", "pending", "queued", "in_progress", "inactive"];
        let state = STATES.into_iter().find(|state| *state == news.state);
        let repository = normalise::text(&news.repository);
        let environment = normalise::workflow(&news.environment);
        let state = state.unwrap_or(normalise::OTHER);
        let key = [settings.repository(&repository), &environment, state];
        *self.deployments.at(&key, 1, DEPLOYMENTS.room(settings), now) += 1;
    }

    /// The time, 0 for one below it; what is odd about it is counted.
    fn checked(&mut self, time: Option<Result<f64, Odd>>) -> Option<f64> {
        match time? {
            Ok(seconds) if seconds < 0.0 => {
                self.odd(Odd::NegativeDuration);
                Some(0.0)
            }
            Ok(seconds) => Some(seconds),
            Err(odd) => {
                self.odd(odd);
                None
            }
        }
    }

    /// Ends the series in which nothing was counted since `before`.
    pub(super) fn expire(&mut self, before: f64) {
        self.job_queue.expire(before);
        self.job_duration.expire(before);
        self.named_jobs.expire(before);
        self.run_queue.expire(before);
        self.run_duration.expire(before);
        self.run_conclusions.expire(before);
        self.job_conclusions.expire(before);
        self.in_a_row.expire(before);
        self.moves.expire(before);
        self.pull_requests.expire(before);
        self.deployments.expire(before);
        self.runner_time.expire(before);
    }
}
