//! What time does to the state: held times are taken as they are, and what is old goes.

use std::sync::Arc;

use super::{MAX_JOBS, MAX_RUNS, State};
use crate::workflows::event::Status;
use crate::workflows::jobs::{JobLife, LONGEST, Odd};
use crate::workflows::tally::{eldest, later, milliseconds};

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// GitHub ends a job after five days.
const LONGEST_JOB: f64 = 6.0 * DAY;
/// How long what was counted is remembered: longer than a delivery can be asked for again.
const MEMORY: f64 = 8.0 * DAY;

impl State {
    /// Lets go of what `now`, in seconds since the Unix epoch, has made old.
    pub fn expire(&mut self, now: f64) {
        self.settle(now);
        self.counts.expire(now - self.settings.idle.as_secs_f64());
        self.done_jobs.forget(now - MEMORY);
        self.done_runs.forget(now - MEMORY);
        self.done_others.forget(now - MEMORY);
        let gone: Vec<(u64, Odd)> = self
            .jobs
            .values()
            .filter_map(|life| Some((life.job.id, self.why_gone(life, now)?)))
            .collect();
        for (id, odd) in gone {
            self.jobs.remove(&id);
            self.counts.odd(odd);
        }
        self.runs.retain(|_, life| match life.run.status {
            // Only its jobs were ever heard of.
            Status::Other => now - life.heard < DAY,
            _ => now - life.heard < LONGEST + DAY,
        });
        let (jobs, runs) = (&self.jobs, &self.runs);
        self.held_jobs.retain(|(_, id)| jobs.contains_key(id));
        self.held_runs.retain(|(_, key)| runs.contains_key(key));
    }

    /// Whether [`State::settle`] has something to do.
    pub fn is_due(&self, now: f64) -> bool {
        let due = milliseconds(now);
        self.held_jobs.first().is_some_and(|(at, _)| *at <= due)
            || self.held_runs.first().is_some_and(|(at, _)| *at <= due)
    }

    /// Takes the queue times that were held back until `now` as they are. Events do the same.
    pub fn settle(&mut self, now: f64) {
        let due = milliseconds(now);
        while let Some((at, id)) = self.held_jobs.first().copied().filter(|(at, _)| *at <= due) {
            self.held_jobs.remove(&(at, id));
            if let Some(mut life) = self.jobs.get(&id).filter(|life| !life.queue_settled).cloned() {
                let queue = life.queue_time();
                self.settle_queue(&mut life, queue, now);
                self.keep_job(life, now);
            }
        }
        while let Some((at, key)) = self.held_runs.first().copied().filter(|(at, _)| *at <= due) {
            self.held_runs.remove(&(at, key));
            if let Some(mut life) = self.runs.get(&key).filter(|life| !life.queue_settled).cloned()
            {
                let settings = Arc::clone(&self.settings);
                life.queue_settled = true;
                self.counts.run_queue_time(&life, &settings, now);
                self.keep_run(life, now);
            }
        }
    }

    fn why_gone(&self, life: &JobLife, now: f64) -> Option<Odd> {
        let unheard = now - life.heard;
        if life.is_completed() {
            return None;
        }
        if self.is_over(life.job.run_id, life.job.run_attempt) && unheard > HOUR {
            return Some(Odd::Superseded);
        }
        let since = life.job.started_at.unwrap_or(life.heard);
        let too_long = life.job.status == Status::InProgress && now - since > LONGEST_JOB;
        ((too_long && unheard > DAY) || unheard > LONGEST).then_some(Odd::EndUnknown)
    }

    /// Gives up the lives that were not heard of for longest when there is no room left.
    pub(super) fn make_room_for_jobs(&mut self) {
        if self.jobs.len() >= MAX_JOBS {
            let order = self.jobs.iter().map(|(id, life)| (life.heard, *id));
            let last = eldest(order.collect());
            let count = self.jobs.len();
            self.jobs.retain(|id, life| later((life.heard, id), &last));
            self.counts.crowded_out += (count - self.jobs.len()) as u64;
        }
    }

    pub(super) fn make_room_for_runs(&mut self) {
        if self.runs.len() >= MAX_RUNS {
            let order = self.runs.iter().map(|(key, life)| (life.heard, *key));
            let last = eldest(order.collect());
            let crowded_out = &mut self.counts.crowded_out;
            self.runs.retain(|key, life| {
                let kept = later((life.heard, key), &last);
                let told = life.run.status != Status::Other;
                *crowded_out += u64::from(!kept && told);
                kept
            });
        }
    }
}
