//! Jobs by the thousand through the GitHub simulator, at a clock of their own: gates, groups,
//! reruns, cancellations, oddities, runners that die. One seed gives one story.

use std::collections::BTreeMap;

use crate::fake_github::odd::Odd;
use crate::fake_github::registry::NewRunner;
use crate::fake_github::sim::{Job, NewJobs, Sim, Status};

/// Where concurrency groups hold runs back: a webhook of that has no time in it, so it is told
/// right only by one that comes at once.
pub const SERIAL: &str = "serial/deploy";

/// What jobs ask for, how many of a hundred do, and how many runners can do it.
const KINDS: [(&[&str], u64, usize); 5] = [
    (&["self-hosted", "linux"], 60, 20),
    (&["self-hosted", "linux", "gpu"], 25, 9),
    (&["self-hosted", "arm"], 13, 6),
    (&["self-hosted", "rare"], 1, 1),
    // Until GitHub gives the job up.
    (&["self-hosted", "nobody"], 1, 0),
];
/// Between times at which the runner that is rarely there looks for work.
const RARELY: u64 = 2 * 3600;
/// Busy for so long, then quiet for so long.
const TIDE: u64 = 600;
/// After so many jobs comes a night without any.
const DAYS_WORK: usize = 2500;
const NIGHT: f64 = 16.0 * 3600.0;
const HUGE_RUN: u32 = 120;

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub jobs: usize,
    /// Runs are spread over so many repositories; each has its own when it is `None`.
    pub repositories: Option<u64>,
    /// Whether concurrency groups hold runs back.
    pub groups: bool,
    /// Neither gates nor reruns: of those polls tell nothing once they are over.
    pub plain: bool,
    pub start: f64,
}

/// Who makes things happen in a simulator.
#[derive(Debug)]
pub struct Traffic {
    plan: Plan,
    pub now: f64,
    random: fastrand::Rng,
    made: usize,
    runs: u64,
    runners: Vec<Worker>,
    /// What is still to happen, by time and order.
    coming: BTreeMap<(u64, u64), Step>,
    last_step: u64,
    night_ends: f64,
}

#[derive(Debug)]
struct Worker {
    id: u64,
    token: String,
    busy: bool,
    next_look: f64,
    rare: bool,
}

#[derive(Debug)]
enum Step {
    Approve(u64),
    CancelQueued(u64),
    Cancel(u64),
    Complete {
        worker: usize,
        job: u64,
        conclusion: &'static str,
    },
    /// It was silent for a while.
    Back(usize),
    RerunFailed(u64),
}

impl Traffic {
    /// Registers the runners.
    pub fn new(plan: Plan, sim: &mut Sim) -> Traffic {
        let now = plan.start;
        let mut runners = Vec::new();
        for (labels, _, count) in KINDS {
            for _ in 0..count {
                let new = NewRunner {
                    name: format!("runner-{}", runners.len()),
                    labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                    scope: "enterprises/acme".to_owned(),
                    os: "Linux".to_owned(),
                    group: "Default".to_owned(),
                    ephemeral: false,
                };
                let runner = sim.register(&new, now);
                let (id, token, rare) = (runner.id, runner.token, labels.contains(&"rare"));
                runners.push(Worker { id, token, busy: false, next_look: now, rare });
            }
        }
        Traffic {
            random: fastrand::Rng::with_seed(plan.seed),
            plan,
            now,
            made: 0,
            runs: 0,
            runners,
            coming: BTreeMap::new(),
            last_step: 0,
            night_ends: now,
        }
    }

    /// Lets time pass, mostly a second; false when all jobs have come and ended.
    pub fn step(&mut self, sim: &mut Sim) -> bool {
        let all_made = self.made >= self.plan.jobs;
        let idle = self.coming.is_empty() && !sim.open_jobs().any(is_common);
        let quiet = all_made || self.now < self.night_ends;
        self.now += if quiet && idle { 60.0 } else { 1.0 };
        sim.settings.time = Some(self.now);
        sim.tick(self.now);
        let due = (self.now as u64, u64::MAX);
        while let Some(entry) = self.coming.first_entry().filter(|entry| *entry.key() <= due) {
            let step = entry.remove();
            self.happen(step, sim);
        }
        if !quiet {
            self.arrive(sim);
        }
        self.work(sim);
        !all_made || sim.open_jobs().next().is_some() || !self.coming.is_empty()
    }

    /// Runs that somebody sets off in this second.
    fn arrive(&mut self, sim: &mut Sim) {
        let busy = (self.now as u64 / TIDE).is_multiple_of(3);
        let share = if busy { 0.7 } else { 0.12 };
        if self.random.f64() >= share {
            return;
        }
        let mut new = self.new_run();
        new.count = new.count.min((self.plan.jobs - self.made) as u32);
        let (_, jobs) = sim.queue(&new, "push", self.now);
        self.made += jobs.len();
        if self.made / DAYS_WORK > (self.made - jobs.len()) / DAYS_WORK {
            self.night_ends = self.now + NIGHT;
        }
        for job in jobs {
            if new.waiting && self.random.u64(..100) < 95 {
                let after = [5, 40, 600, 5000][self.random.usize(..4)] + self.random.u64(..30);
                self.later(after, Step::Approve(job));
            } else if new.waiting {
                self.later(7200, Step::Cancel(job));
            } else if self.random.u64(..100) < 4 {
                let after = self.random.u64(..90);
                self.later(after, Step::CancelQueued(job));
            }
        }
    }

    fn new_run(&mut self) -> NewJobs {
        self.runs += 1;
        let mut dice = self.random.u64(..100);
        let kind = KINDS.iter().find(|(_, share, _)| {
            let found = dice < *share;
            dice = dice.saturating_sub(*share);
            found
        });
        let (labels, ..) = kind.unwrap_or(&KINDS[0]);
        let repository = match self.plan.repositories {
            Some(count) => format!("acme/repo-{}", self.random.u64(..count)),
            None => format!("acme/repo-{}", self.runs),
        };
        let mut new = NewJobs::new(&repository, labels);
        new.count = match self.random.u64(..1000) {
            0 => HUGE_RUN,
            1..200 => 3,
            200..400 => 2,
            _ => 1,
        };
        match self.random.u64(..100) {
            0..8 => new.waiting = !self.plan.plain,
            8..12 => new.skipped = true,
            12..17 if self.plan.groups => {
                new.repository = SERIAL.to_owned();
                new.concurrency = Some(format!("group-{}", self.random.u64(..4)));
            }
            17..45 => new.odd = Odd::ALL[self.random.usize(..Odd::ALL.len())],
            _ => {}
        }
        new.waiting |= new.odd == Odd::QueuedAtGate && !self.plan.plain;
        new
    }

    /// Idle runners look for work.
    fn work(&mut self, sim: &mut Sim) {
        if !sim.open_jobs().any(|job| job.status == Status::Queued) {
            return;
        }
        for at in 0..self.runners.len() {
            let worker = &mut self.runners[at];
            if worker.busy || worker.next_look > self.now {
                continue;
            }
            let pause = if worker.rare { RARELY } else { self.random.u64(2..12) };
            worker.next_look = self.now + pause as f64;
            let found = sim.poll(worker.id, &worker.token, self.now).expect("it is registered");
            let Some(job) = found else { continue };
            worker.busy = true;
            let lasts = self.random.u64(3..70);
            match self.random.u64(..1000) {
                0..5 => self.later(900, Step::Back(at)),
                5..20 => {
                    self.later(lasts / 2, Step::Cancel(job.id));
                    self.later(lasts, Step::Back(at));
                }
                20..120 => self.complete(lasts, at, job.id, "failure"),
                _ => self.complete(lasts, at, job.id, "success"),
            }
        }
    }

    fn complete(&mut self, after: u64, worker: usize, job: u64, conclusion: &'static str) {
        self.later(after, Step::Complete { worker, job, conclusion });
    }

    fn later(&mut self, seconds: u64, step: Step) {
        self.last_step += 1;
        self.coming.insert((self.now as u64 + seconds, self.last_step), step);
    }

    fn happen(&mut self, step: Step, sim: &mut Sim) {
        let now = self.now;
        match step {
            Step::Approve(job) => drop(sim.approve(job, now)),
            Step::Cancel(job) => drop(sim.cancel(job, now)),
            Step::CancelQueued(job) => {
                if sim.jobs[&job].status == Status::Queued {
                    sim.cancel(job, now);
                }
            }
            Step::Back(worker) => self.runners[worker].busy = false,
            Step::Complete { worker, job, conclusion } => {
                let run = sim.jobs[&job].run;
                let Worker { id, token, busy, .. } = &mut self.runners[worker];
                *busy = false;
                sim.complete(*id, token, job, conclusion, now).expect("it works on that job");
                if conclusion == "failure" && self.random.bool() && !self.plan.plain {
                    let after = self.random.u64(60..400);
                    self.later(after, Step::RerunFailed(run));
                }
            }
            Step::RerunFailed(run) => drop(sim.rerun_failed(run, now)),
        }
    }
}

/// Whether it is a matter of minutes until the job has ended.
fn is_common(job: &Job) -> bool {
    !job.labels.iter().any(|label| label == "rare" || label == "nobody")
}
