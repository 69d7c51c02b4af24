//! Runners, jobs and runs as GitHub keeps them: a state machine without clock and sockets.

use std::collections::{BTreeMap, VecDeque};

use super::budget::Budgets;
use super::issues::Issues;
use super::ledger::{Event, Ledger, What};
use super::settings::Settings;

/// All times are in seconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Sim {
    pub settings: Settings,
    pub runners: BTreeMap<u64, Runner>,
    pub jobs: BTreeMap<u64, Job>,
    pub runs: BTreeMap<u64, Run>,
    pub issues: Issues,
    pub ledger: Ledger,
    pub budgets: Budgets,
    /// Installation tokens and the ends of their lives.
    pub issued: BTreeMap<String, f64>,
    /// Jobs whose state changed, for the webhooks: (action, job).
    pub changes: VecDeque<(&'static str, u64)>,
    last_id: u64,
}

#[derive(Debug, Clone)]
pub struct Runner {
    pub id: u64,
    pub token: String,
    pub name: String,
    /// `owner/name` or an organization's name.
    pub scope: String,
    pub os: String,
    pub group: String,
    pub ephemeral: bool,
    pub labels: Vec<Label>,
    pub last_contact: Option<f64>,
    /// The job that it runs.
    pub job: Option<u64>,
    /// When `job` last changed.
    pub job_changed: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub id: u64,
    pub name: String,
    pub read_only: bool,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub id: u64,
    pub run: u64,
    pub attempt: u32,
    pub name: String,
    pub labels: Vec<String>,
    pub status: Status,
    pub conclusion: Option<String>,
    pub created: f64,
    pub started: Option<f64>,
    pub completed: Option<f64>,
    /// Who took it; stays when that runner is gone.
    pub runner: Option<(u64, String, String)>,
    /// What the runner is told: how long to work, and how it ends.
    pub duration_ms: u64,
    pub result: String,
    /// The last sign of life from its runner.
    pub heartbeat: f64,
    /// Whether the runner has shown that it got the job.
    pub confirmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Waiting,
    Queued,
    InProgress,
    Completed,
}

#[derive(Debug, Clone)]
pub struct Run {
    pub id: u64,
    pub repository: String,
    pub workflow: String,
    pub event: String,
    pub branch: String,
    pub attempt: u32,
    pub created: f64,
    pub updated: f64,
}

/// A run to be queued: `count` equal jobs.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJobs {
    pub repository: String,
    #[serde(default = "build")]
    pub name: String,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default = "second")]
    pub duration_ms: u64,
    /// `succeeded`, `failed` or `canceled`, as the agent says it.
    #[serde(default = "succeeded")]
    pub result: String,
    #[serde(default = "one")]
    pub count: u32,
    #[serde(default = "workflow")]
    pub workflow: String,
    /// Held back, as by an environment's rule.
    #[serde(default)]
    pub waiting: bool,
}

/// Why a runner is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The runner is not registered (any more).
    Gone,
    WrongToken,
    /// The job is not this runner's, or is over.
    NotItsJob,
}

impl Sim {
    pub fn new(settings: Settings) -> Sim {
        Sim { settings, last_id: 1000, ..Sim::default() }
    }

    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Queues a run; the answer is its id and its jobs' ids.
    pub fn queue(&mut self, new: &NewJobs, event: &str, now: f64) -> (u64, Vec<u64>) {
        let run = self.next_id();
        let (repository, workflow) = (new.repository.clone(), new.workflow.clone());
        let (event, branch) = (event.to_owned(), "main".to_owned());
        let (attempt, created, updated) = (1, now, now);
        let run_record =
            Run { id: run, repository, workflow, event, branch, attempt, created, updated };
        self.runs.insert(run, run_record);
        let ids = (1..=new.count).map(|at| {
            let name =
                if new.count == 1 { new.name.clone() } else { format!("{} ({at})", new.name) };
            let status = if new.waiting { Status::Waiting } else { Status::Queued };
            let job = Job {
                id: 0,
                run,
                attempt: 1,
                name,
                labels: new.labels.clone(),
                status,
                conclusion: None,
                created: now,
                started: None,
                completed: None,
                runner: None,
                duration_ms: new.duration_ms,
                result: new.result.clone(),
                heartbeat: now,
                confirmed: false,
            };
            self.insert(job, now)
        });
        (run, ids.collect())
    }

    /// Queues a finished job again, as a new attempt of its run; `None` while its run is not done.
    pub fn rerun(&mut self, id: u64, now: f64) -> Option<u64> {
        let old = self.jobs.get(&id)?.clone();
        if self.jobs.values().any(|job| job.run == old.run && job.status != Status::Completed) {
            return None;
        }
        let run = self.runs.get_mut(&old.run)?;
        run.attempt += 1;
        run.updated = now;
        let attempt = run.attempt;
        let (status, conclusion, created) = (Status::Queued, None, now);
        let (started, completed, runner, confirmed) = (None, None, None, false);
        let job = Job { attempt, status, conclusion, created, started, completed, ..old };
        Some(self.insert(Job { runner, confirmed, heartbeat: now, ..job }, now))
    }

    fn insert(&mut self, job: Job, now: f64) -> u64 {
        let id = self.next_id();
        self.jobs.insert(id, Job { id, ..job });
        self.ledger.add(now, Event::Queued, What { job: Some(id), ..What::default() });
        self.changes.push_back(("queued", id));
        id
    }

    /// What time alone changes: jobs whose runner fell silent fail, jobs that nobody took end.
    pub fn tick(&mut self, now: f64) {
        let Settings { lost_after, queue_limit, .. } = self.settings;
        let due = |job: &&Job| match job.status {
            Status::InProgress => now - job.heartbeat >= lost_after,
            Status::Queued => now - job.created >= queue_limit,
            Status::Waiting | Status::Completed => false,
        };
        let due: Vec<_> = self.jobs.values().filter(due).map(|job| (job.id, job.status)).collect();
        for (id, status) in due {
            match status {
                Status::InProgress => self.end(id, "failure", Event::Lost, now),
                _ => self.end(id, "cancelled", Event::Cancelled, now),
            }
        }
    }

    /// A runner asks for work, which also shows that it lives. A job that it never confirmed is
    /// handed to it again: the first answer may not have reached it.
    pub fn poll(&mut self, runner: u64, token: &str, now: f64) -> Result<Option<Job>, Refused> {
        self.tick(now);
        let runner = self.contact(runner, token, now)?;
        if let Some(job) = runner.job.and_then(|id| self.jobs.get(&id)) {
            return Ok((!job.confirmed).then(|| job.clone()));
        }
        let delay = self.settings.assign_delay;
        let open = |job: &&Job| job.status == Status::Queued && now - job.created >= delay;
        let next = self.jobs.values().filter(open).find(|job| self.fits(&runner, job));
        let Some(id) = next.map(|job| job.id) else { return Ok(None) };
        let what = What { job: Some(id), runner: Some(runner.id), ..What::default() };
        self.ledger.add(
            now,
            Event::Assigned,
            What { runner_name: Some(runner.name.clone()), ..what },
        );
        self.changes.push_back(("in_progress", id));
        self.set_job(runner.id, Some(id), now);
        let job = self.jobs.get_mut(&id).expect("found above");
        job.status = Status::InProgress;
        job.started = Some(now);
        job.heartbeat = now;
        job.runner = Some((runner.id, runner.name, runner.group));
        let job = job.clone();
        self.touch(job.run, now);
        Ok(Some(job))
    }

    /// The runner still works on the job.
    pub fn heartbeat(
        &mut self,
        runner: u64,
        token: &str,
        job: u64,
        now: f64,
    ) -> Result<(), Refused> {
        self.tick(now);
        let job = self.running(runner, token, job, now)?;
        job.heartbeat = now;
        job.confirmed = true;
        Ok(())
    }

    pub fn complete(
        &mut self,
        runner: u64,
        token: &str,
        job: u64,
        conclusion: &str,
        now: f64,
    ) -> Result<(), Refused> {
        self.tick(now);
        self.running(runner, token, job, now)?;
        self.end(job, conclusion, Event::Completed, now);
        if self.runners.get(&runner).is_some_and(|runner| runner.ephemeral) {
            self.remove_runner(runner, None, now);
        }
        Ok(())
    }

    fn running(
        &mut self,
        runner: u64,
        token: &str,
        job: u64,
        now: f64,
    ) -> Result<&mut Job, Refused> {
        let runner = self.contact(runner, token, now)?;
        let mine = |_: &&mut Job| runner.job == Some(job);
        self.jobs.get_mut(&job).filter(mine).ok_or(Refused::NotItsJob)
    }

    fn contact(&mut self, id: u64, token: &str, now: f64) -> Result<Runner, Refused> {
        let runner = self.runners.get_mut(&id).ok_or(Refused::Gone)?;
        if runner.token != token {
            return Err(Refused::WrongToken);
        }
        runner.last_contact = Some(now);
        Ok(runner.clone())
    }

    fn end(&mut self, id: u64, conclusion: &str, event: Event, now: f64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.status = Status::Completed;
        job.conclusion = Some(conclusion.to_owned());
        job.completed = Some(now);
        let (run, runner) = (job.run, job.runner.clone());
        let mut what = What { job: Some(id), ..What::default() };
        what.conclusion = Some(conclusion.to_owned());
        if let Some((runner, name, _)) = runner {
            what.runner = Some(runner);
            what.runner_name = Some(name);
            if self.runners.get(&runner).is_some_and(|runner| runner.job == Some(id)) {
                self.set_job(runner, None, now);
            }
        }
        self.ledger.add(now, event, what);
        self.changes.push_back(("completed", id));
        self.touch(run, now);
    }

    fn set_job(&mut self, runner: u64, job: Option<u64>, now: f64) {
        if let Some(runner) = self.runners.get_mut(&runner) {
            runner.job = job;
            runner.job_changed = now;
        }
    }

    fn touch(&mut self, run: u64, now: f64) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.updated = now;
        }
    }

    /// Whether the runner serves the job's repository and has all labels that the job asks for.
    fn fits(&self, runner: &Runner, job: &Job) -> bool {
        let Some(run) = self.runs.get(&job.run) else { return false };
        let owner = run.repository.split_once('/').map_or("", |(owner, _)| owner);
        let scope = &runner.scope;
        let serves =
            scope.eq_ignore_ascii_case(&run.repository) || scope.eq_ignore_ascii_case(owner);
        serves && job.labels.iter().all(|wanted| runner.has_label(wanted))
    }
}

impl Runner {
    pub fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label.name.eq_ignore_ascii_case(name))
    }

    pub fn is_online(&self, settings: &Settings, now: f64) -> bool {
        self.last_contact.is_some_and(|contact| now - contact < settings.offline_after)
    }

    /// What GitHub shows, which is not always true.
    pub fn shows_busy(&self, settings: &Settings, now: f64) -> bool {
        let settled = now - self.job_changed >= settings.busy_lag;
        (self.job.is_some() == settled) && self.job_changed > 0.0 && !settings.busy_hidden
    }
}

fn build() -> String {
    "build".to_owned()
}

fn second() -> u64 {
    1000
}

fn succeeded() -> String {
    "succeeded".to_owned()
}

fn one() -> u32 {
    1
}

fn workflow() -> String {
    "CI".to_owned()
}

#[cfg(test)]
mod tests;
