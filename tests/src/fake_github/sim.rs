//! Runners, jobs and runs as GitHub keeps them: a state machine without clock and sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::budget::Budgets;
use super::deliveries::Deliveries;
use super::issues::Issues;
use super::ledger::{Event, Ledger, What};
use super::odd::Odd;
use super::settings::Settings;
use super::webhooks::Change;

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
    /// What webhooks are still to tell, as it was when it happened.
    pub changes: VecDeque<Change>,
    pub deliveries: Deliveries,
    /// Jobs and runs that have not ended.
    open: BTreeSet<u64>,
    pub(super) open_runs: BTreeSet<u64>,
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
    /// Since when it waits for nothing but a runner, or would: its creation, or the end of what
    /// held it back.
    pub ready: f64,
    /// When its environment's gate last changed, for a job that has one.
    pub gate_changed: Option<f64>,
    /// What GitHub gets wrong when it tells of this job.
    pub odd: Odd,
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
    /// Held back by an environment's gate.
    Waiting,
    /// Behind another run of its concurrency group.
    Pending,
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
    /// Of this attempt.
    pub started: f64,
    pub updated: f64,
    pub concurrency: Option<String>,
    /// Of all attempts.
    pub jobs: Vec<u64>,
    /// The last action that webhooks told of this attempt.
    pub(super) told: &'static str,
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
    /// Runs of one group and repository go one after another; a newer one ends the one that waits.
    #[serde(default)]
    pub concurrency: Option<String>,
    /// Its condition is false: it is over at once.
    #[serde(default)]
    pub skipped: bool,
    #[serde(default = "branch")]
    pub branch: String,
    #[serde(default)]
    pub odd: Odd,
}

impl NewJobs {
    /// One job of a second that asks for these labels.
    pub fn new(repository: &str, labels: &[&str]) -> NewJobs {
        let new = serde_json::json!({ "repository": repository, "labels": labels });
        serde_json::from_value(new).expect("the other keys have defaults")
    }
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

    /// Jobs that have not ended.
    pub fn open_jobs(&self) -> impl Iterator<Item = &Job> {
        self.open.iter().filter_map(|id| self.jobs.get(id))
    }

    /// Queues a run; the answer is its id and its jobs' ids.
    pub fn queue(&mut self, new: &NewJobs, event: &str, now: f64) -> (u64, Vec<u64>) {
        let id = self.next_id();
        let run = Run {
            id,
            repository: new.repository.clone(),
            workflow: new.workflow.clone(),
            event: event.to_owned(),
            branch: new.branch.clone(),
            attempt: 1,
            created: now,
            started: now,
            updated: now,
            concurrency: new.concurrency.clone(),
            jobs: Vec::new(),
            told: "requested",
        };
        let status = match self.blocked_by(&run) {
            Some(before) => {
                self.make_way(&run, before, now);
                Status::Pending
            }
            None if new.waiting => Status::Waiting,
            None => Status::Queued,
        };
        self.changes.push_back(Change::run("requested", &run, (status.word(), None)));
        self.runs.insert(id, run);
        self.open_runs.insert(id);
        let ids = (1..=new.count).map(|at| {
            let name =
                if new.count == 1 { new.name.clone() } else { format!("{} ({at})", new.name) };
            let job = Job {
                id: 0,
                run: id,
                attempt: 1,
                name,
                labels: new.labels.clone(),
                status,
                conclusion: None,
                created: now,
                started: None,
                completed: None,
                ready: now,
                gate_changed: new.waiting.then_some(now),
                odd: new.odd,
                runner: None,
                duration_ms: new.duration_ms,
                result: new.result.clone(),
                heartbeat: now,
                confirmed: false,
            };
            let job = self.insert(job, now);
            if new.skipped {
                self.end(job, "skipped", Event::Cancelled, now);
            }
            job
        });
        (id, ids.collect())
    }

    pub(super) fn insert(&mut self, job: Job, now: f64) -> u64 {
        let id = self.next_id();
        let job = Job { id, ..job };
        let Some(run) = self.runs.get_mut(&job.run) else { return id };
        run.jobs.push(id);
        if job.status != Status::Completed {
            self.open.insert(id);
            self.open_runs.insert(job.run);
            let what = What { job: Some(id), labels: job.labels.clone(), ..What::default() };
            self.ledger.add(now, Event::Queued, what);
            let action = match job.status {
                Status::Queued => "queued",
                _ if job.odd == Odd::QueuedAtGate => "queued",
                _ => "waiting",
            };
            self.changes.push_back(Change::job(action, &job, run));
        }
        self.jobs.insert(id, job);
        id
    }

    /// What time alone changes: jobs whose runner fell silent fail, jobs that nobody took end.
    pub fn tick(&mut self, now: f64) {
        let Settings { lost_after, queue_limit, .. } = self.settings;
        let due = |job: &&Job| match job.status {
            Status::InProgress => now - job.heartbeat >= lost_after,
            Status::Queued => now - job.ready >= queue_limit,
            Status::Waiting | Status::Pending | Status::Completed => false,
        };
        let due: Vec<_> = self.open_jobs().filter(due).map(|job| (job.id, job.status)).collect();
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
        let next = self.open_jobs().filter(open).find(|job| self.fits(&runner, job));
        let Some(id) = next.map(|job| job.id) else { return Ok(None) };
        self.set_job(runner.id, Some(id), now);
        let job = self.jobs.get_mut(&id).expect("found above");
        job.status = Status::InProgress;
        job.started = Some(job.odd.started(job.created, now));
        job.heartbeat = now;
        job.runner = Some((runner.id, runner.name.clone(), runner.group));
        let job = job.clone();
        let what = What {
            job: Some(id),
            runner: Some(runner.id),
            runner_name: Some(runner.name),
            repository: self.runs.get(&job.run).map(|run| run.repository.clone()),
            labels: job.labels.clone(),
            queue_seconds: job.queue_seconds(),
            ..What::default()
        };
        self.ledger.add(now, Event::Assigned, what);
        self.touch(job.run, now);
        self.changes.push_back(Change::job("in_progress", &job, &self.runs[&job.run]));
        self.tell_run(job.run, now);
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

    pub(super) fn end(&mut self, id: u64, conclusion: &str, event: Event, now: f64) {
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
        self.open.remove(&id);
        self.touch(run, now);
        self.changes.push_back(Change::job("completed", &self.jobs[&id], &self.runs[&run]));
        self.tell_run(run, now);
    }

    fn set_job(&mut self, runner: u64, job: Option<u64>, now: f64) {
        if let Some(runner) = self.runners.get_mut(&runner) {
            runner.job = job;
            runner.job_changed = now;
        }
    }

    pub(super) fn touch(&mut self, run: u64, now: f64) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.updated = now;
        }
    }

    /// Whether the runner serves the job's repository and has all labels that the job asks for.
    fn fits(&self, runner: &Runner, job: &Job) -> bool {
        let Some(run) = self.runs.get(&job.run) else { return false };
        let owner = run.repository.split_once('/').map_or("", |(owner, _)| owner);
        let scope = &runner.scope;
        let serves = scope.eq_ignore_ascii_case(&run.repository)
            || scope.eq_ignore_ascii_case(owner)
            || scope.starts_with("enterprises/");
        serves && job.labels.iter().all(|wanted| runner.has_label(wanted))
    }
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Pending => "pending",
            Status::Queued => "queued",
            Status::InProgress => "in_progress",
            Status::Completed => "completed",
        }
    }
}

impl Job {
    /// How long it waited for a runner once nothing else held it back, in the whole seconds that
    /// GitHub tells: less than zero where GitHub's own times are in the wrong order.
    pub fn queue_seconds(&self) -> Option<f64> {
        Some(self.started?.floor() - self.ready.floor())
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

fn branch() -> String {
    "main".to_owned()
}

fn workflow() -> String {
    "CI".to_owned()
}

#[cfg(test)]
mod tests;
