//! What polls told already, so that only changes go on, and runs whose jobs must be read (pure).

use std::collections::BTreeMap;

use crate::github::model::{Job, JobStatus, Run};

/// Ended runs are only told within this many seconds: who counts them must remember them as long.
const HORIZON: f64 = 3600.0;
/// Runs on the page of the newest, and the longest time that GitHub lets one live.
const PAGE: usize = 100;
const LONGEST_RUN: f64 = 35.0 * 86_400.0;
/// A change that webhooks had this long to tell and did not was missed by them.
const LATE: f64 = 30.0;

/// The runs of one repository.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether runs have been read before.
    begun: bool,
    /// Whether older live runs than the newest hundred may be there.
    pub(super) deep: bool,
    /// The repository's name as GitHub spells it, which the configuration may not; empty until a
    /// run was read.
    pub(super) name: String,
    runs: BTreeMap<u64, Known>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    attempt: u32,
    done: bool,
    status: Option<JobStatus>,
    updated_at: Option<f64>,
    /// Its jobs by id: what they were.
    jobs: BTreeMap<u64, (JobStatus, Option<String>)>,
    /// The jobs were read after the run was done.
    complete: bool,
}

/// What one reading changed.
#[derive(Debug, PartialEq)]
pub(super) struct Changes<T> {
    pub(super) news: Vec<T>,
    /// Whether some of it is older than webhooks take.
    pub(super) late: bool,
}

impl Seen {
    /// Learns from the newest runs how deep others may lie.
    pub(super) fn look_deep(&mut self, newest: &[Run], now: f64) {
        let oldest = newest.iter().filter_map(|run| run.created_at).reduce(f64::min);
        self.deep = newest.len() >= PAGE && oldest.is_none_or(|at| at > now - LONGEST_RUN);
    }

    /// Some runs as they are now.
    pub(super) fn runs(&mut self, listed: Vec<Run>, now: f64) -> Changes<Run> {
        let (mut news, mut late) = (Vec::new(), false);
        for run in listed {
            self.name.clone_from(&run.repository);
            let done = run.status == Some(JobStatus::Completed);
            let known = self.runs.get(&run.id);
            if known.is_none() && done && run.updated_at.is_none_or(|at| at < now - HORIZON) {
                continue;
            }
            let now_known = Known {
                attempt: run.run_attempt,
                done,
                status: run.status,
                updated_at: run.updated_at,
                ..Known::default()
            };
            match self.runs.get_mut(&run.id) {
                Some(known) if known.is_as(&now_known) => continue,
                Some(known) if known.attempt == now_known.attempt => {
                    let jobs = std::mem::take(&mut known.jobs);
                    *known = Known { jobs, ..now_known };
                }
                _ => drop(self.runs.insert(run.id, now_known)),
            }
            late |= self.begun && run.updated_at.is_some_and(|at| at < now - LATE);
            news.push(run);
        }
        self.begun = true;
        Changes { news, late }
    }

    /// The jobs of one run, all of them; none when the run is gone.
    pub(super) fn jobs(&mut self, run: u64, listed: Vec<Job>, now: f64) -> Changes<Job> {
        let (mut news, mut late) = (Vec::new(), false);
        let known = self.runs.entry(run).or_default();
        if listed.is_empty() {
            (known.done, known.complete) = (true, true);
            return Changes { news, late };
        }
        let before = std::mem::take(&mut known.jobs);
        for job in listed {
            let state = (job.status, job.runner_name.clone());
            let changed = before.get(&job.id) != Some(&state);
            known.jobs.insert(job.id, state);
            if changed {
                let times = [job.created_at, job.started_at, job.completed_at];
                let at = times.into_iter().flatten().reduce(f64::max);
                late |= !before.is_empty() && at.is_some_and(|at| at < now - LATE);
                news.push(job);
            }
        }
        let all_done = known.jobs.values().all(|(status, _)| *status == JobStatus::Completed);
        known.complete = known.done && all_done;
        Changes { news, late }
    }

    /// Whether nothing more can be learnt of the run.
    pub(super) fn is_complete(&self, run: u64) -> bool {
        self.runs.get(&run).is_some_and(|known| known.complete)
    }

    /// Whether all jobs of the run have ended, and it has not as far as is known.
    pub(super) fn may_be_done(&self, run: u64) -> bool {
        self.runs.get(&run).is_some_and(|known| {
            let ended = |(status, _): &(JobStatus, _)| *status == JobStatus::Completed;
            !known.done && !known.jobs.is_empty() && known.jobs.values().all(ended)
        })
    }

    /// All runs whose jobs may still change, or have not been read since they last could.
    pub(super) fn open(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().filter(|(_, known)| !known.complete).map(|(id, _)| *id)
    }

    /// The jobs of this run are known to be done from elsewhere.
    pub(super) fn settle(&mut self, run: u64) {
        if let Some(known) = self.runs.get_mut(&run).filter(|known| known.done) {
            known.complete = true;
        }
    }

    /// Forgets runs that ended long before `now`.
    pub(super) fn expire(&mut self, now: f64) {
        self.runs.retain(|_, known| {
            !known.complete || known.updated_at.is_some_and(|at| at > now - 2.0 * HORIZON)
        });
    }
}

impl Known {
    fn is_as(&self, other: &Known) -> bool {
        (self.attempt, self.status, self.updated_at)
            == (other.attempt, other.status, other.updated_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1e9;

    fn run(id: u64, status: JobStatus, age: f64) -> Run {
        let run = serde_json::json!({ "id": id });
        let run: Run = serde_json::from_value(run).unwrap();
        Run { status: Some(status), updated_at: Some(NOW - age), ..run }
    }

    fn job(id: u64, status: JobStatus, age: f64) -> Job {
        let job = serde_json::json!({ "id": id, "run_id": 1, "name": "a", "status": "queued" });
        let job: Job = serde_json::from_value(job).unwrap();
        Job { status, created_at: Some(NOW - age), ..job }
    }

    #[test]
    fn runs_are_told_once_for_each_change() {
        use JobStatus::{Completed, InProgress, Queued};
        let mut seen = Seen::default();
        let ids = |changes: Changes<Run>| {
            let ids: Vec<_> = changes.news.iter().map(|run| run.id).collect();
            (ids, changes.late)
        };
        let first = vec![run(1, Queued, 9.0), run(2, Completed, 99.0), run(3, Completed, 9999.0)];
        // What is long over is not told; what was there at the start is nobody's delay.
        assert_eq!(ids(seen.runs(first.clone(), NOW)), (vec![1, 2], false));
        assert_eq!(ids(seen.runs(first, NOW)), (vec![], false));
        assert_eq!(ids(seen.runs(vec![run(1, InProgress, 5.0)], NOW)), (vec![1], false));
        assert_eq!(ids(seen.runs(vec![run(1, Completed, 0.0)], NOW + 40.0)), (vec![1], true));
        let again = Run { run_attempt: 2, ..run(1, Queued, -60.0) };
        assert_eq!(ids(seen.runs(vec![again], NOW + 61.0)), (vec![1], false));
        assert_eq!(seen.open().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn jobs_are_wanted_until_read_after_the_end() {
        use JobStatus::{Completed, InProgress, Queued};
        let mut seen = Seen::default();
        seen.runs(vec![run(1, InProgress, 50.0)], NOW);
        let listed = vec![job(7, Completed, 40.0), job(8, Queued, 40.0)];
        let changes = seen.jobs(1, listed.clone(), NOW);
        assert_eq!((changes.news.len(), changes.late), (2, false));
        assert!(seen.jobs(1, listed, NOW).news.is_empty());
        let changes = seen.jobs(1, vec![job(7, Completed, 40.0), job(8, Completed, 40.0)], NOW);
        assert_eq!((changes.news[0].id, changes.news.len(), changes.late), (8, 1, true));
        assert!(seen.may_be_done(1) && !seen.is_complete(1), "another job may follow");
        seen.runs(vec![run(1, Completed, 0.0)], NOW);
        assert_eq!(seen.open().collect::<Vec<_>>(), [1]);
        let listed = vec![job(7, Completed, 40.0), job(8, Completed, 40.0)];
        assert!(seen.jobs(1, listed, NOW).news.is_empty());
        assert!(seen.is_complete(1));
        seen.expire(NOW + 9000.0);
        assert!(seen.runs.is_empty());
        // A run that was deleted has no jobs any more.
        seen.runs(vec![run(2, Queued, 0.0)], NOW);
        seen.jobs(2, Vec::new(), NOW);
        assert!(seen.is_complete(2));
    }
}
