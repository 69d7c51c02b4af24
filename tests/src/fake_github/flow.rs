//! What holds jobs back and ends them early: gates, concurrency groups, cancelling, running again.

use super::json;
use super::ledger::{Event, What};
use super::odd::Odd;
use super::sim::{Job, Run, Sim, Status};
use super::webhooks::Change;

impl Sim {
    /// Opens the gate before a job; false when none holds it back.
    pub fn approve(&mut self, id: u64, now: f64) -> bool {
        let held = self.jobs.get(&id).is_some_and(|job| job.status == Status::Waiting);
        if held {
            self.jobs.entry(id).and_modify(|job| job.gate_changed = Some(now));
            self.release(id, now);
        }
        held
    }

    /// Ends a job, whether a runner has it or nobody; false when it is over.
    pub fn cancel(&mut self, id: u64, now: f64) -> bool {
        let open = self.jobs.get(&id).is_some_and(|job| job.status != Status::Completed);
        if open {
            self.end(id, "cancelled", Event::Cancelled, now);
        }
        open
    }

    /// Queues a finished job again, as a new attempt of its run; `None` while its run is not done.
    pub fn rerun(&mut self, id: u64, now: f64) -> Option<u64> {
        let run = self.jobs.get(&id)?.run;
        self.begin_attempt(run, now)?;
        Some(self.again(id, now))
    }

    /// A new attempt of a finished run. Jobs that succeeded are not run again: GitHub lists them
    /// under new ids, created now and started before that, and tells no webhook of them.
    pub fn rerun_failed(&mut self, run: u64, now: f64) -> Option<Vec<u64>> {
        let last: Vec<Job> =
            json::latest(self, self.runs.get(&run)?).into_iter().cloned().collect();
        let failed = |job: &Job| job.conclusion.as_deref() != Some("success");
        if !last.iter().any(failed) {
            return None;
        }
        let attempt = self.begin_attempt(run, now)?;
        let mut queued = Vec::new();
        for job in last {
            match failed(&job) {
                true => queued.push(self.again(job.id, now)),
                false => drop(self.insert(Job { attempt, created: now, ..job }, now)),
            }
        }
        Some(queued)
    }

    /// The run of the same group and repository that has not ended, the one at work first.
    pub(super) fn blocked_by(&self, run: &Run) -> Option<u64> {
        run.concurrency.as_ref()?;
        let mut group: Vec<&Run> = self.open_runs.iter().map(|id| &self.runs[id]).collect();
        group.retain(|other| {
            other.concurrency == run.concurrency && other.repository == run.repository
        });
        group.sort_by_key(|run| json::run_state(self, run).0 == "pending");
        group.first().map(|run| run.id)
    }

    /// Of a concurrency group one run is at work and one waits: the newest.
    pub(super) fn make_way(&mut self, run: &Run, at_work: u64, now: f64) {
        let waiting: Vec<u64> = self
            .open_runs
            .iter()
            .filter(|id| **id != at_work)
            .map(|id| &self.runs[id])
            .filter(|other| {
                other.concurrency == run.concurrency && other.repository == run.repository
            })
            .flat_map(|run| run.jobs.clone())
            .filter(|job| self.jobs[job].status == Status::Pending)
            .collect();
        for job in waiting {
            self.cancel(job, now);
        }
    }

    /// Tells where the run stands, if that is news; its end lets the next of its group begin.
    pub(super) fn tell_run(&mut self, id: u64, now: f64) {
        let state = json::run_state(self, &self.runs[&id]);
        let Some(run) = self.runs.get_mut(&id) else { return };
        let action = match state.0 {
            "in_progress" => "in_progress",
            "completed" => "completed",
            _ => return,
        };
        if run.told == action {
            return;
        }
        run.told = action;
        self.changes.push_back(Change::run(action, run, state));
        if action != "completed" {
            return;
        }
        let run = run.clone();
        self.open_runs.remove(&id);
        if let Some(next) = self.blocked_by(&run) {
            for job in self.runs[&next].jobs.clone() {
                if self.jobs[&job].status == Status::Pending {
                    self.release(job, now);
                }
            }
        }
    }

    fn release(&mut self, id: u64, now: f64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.status, job.ready) = (Status::Queued, now);
        let (run, job) = (job.run, job.clone());
        self.ledger.add(now, Event::Released, What { job: Some(id), ..What::default() });
        self.touch(run, now);
        self.changes.push_back(Change::job("queued", &job, &self.runs[&run]));
    }

    /// The number of the new attempt; `None` while a job of the last one is open.
    fn begin_attempt(&mut self, run: u64, now: f64) -> Option<u32> {
        if self.open_runs.contains(&run) {
            return None;
        }
        let run = self.runs.get_mut(&run)?;
        run.attempt += 1;
        (run.started, run.updated, run.told) = (now, now, "requested");
        self.changes.push_back(Change::run("requested", run, ("queued", None)));
        Some(run.attempt)
    }

    /// The same job once more, in its run's newest attempt.
    fn again(&mut self, id: u64, now: f64) -> u64 {
        let old = self.jobs[&id].clone();
        let attempt = self.runs[&old.run].attempt;
        let (status, conclusion, created) = (Status::Queued, None, now);
        let (started, completed, runner, confirmed) = (None, None, None, false);
        let job = Job { attempt, status, conclusion, created, started, completed, ..old };
        // An environment that was approved once is approved for the run.
        let job = Job { ready: now, gate_changed: None, odd: Odd::No, ..job };
        self.insert(Job { runner, confirmed, heartbeat: now, ..job }, now)
    }
}
