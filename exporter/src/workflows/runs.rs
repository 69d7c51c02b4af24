//! One attempt of a run: what is told of it and of its jobs (pure).

use serde::{Deserialize, Serialize};

use crate::workflows::event::{Job, Run, Source, Status};
use crate::workflows::jobs::{LONGEST, Odd, time};
use crate::workflows::normalise;
use crate::workflows::state::Settings;

/// A run that is older than this and has not moved since it was created is likely stuck.
const UNMOVED: f64 = 6.0 * 3600.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunLife {
    pub(super) run: Run,
    /// As the series are labelled.
    pub(super) workflow: String,
    /// When the first of its jobs began.
    first_start: Option<f64>,
    /// When a webhook said that it is in progress.
    in_progress_at: Option<f64>,
    seen_running: bool,
    pub(super) queue_settled: bool,
    /// When the last news of it or its jobs came, by our clock.
    pub(super) heard: f64,
}

impl RunLife {
    /// A run of which nothing is known but whose it is.
    pub(super) fn new(id: u64, attempt: u32, repository: &str) -> RunLife {
        let repository = normalise::text(repository);
        RunLife {
            run: Run { id, attempt: attempt.max(1), repository, ..Run::default() },
            workflow: normalise::workflow(""),
            first_start: None,
            in_progress_at: None,
            seen_running: false,
            queue_settled: false,
            heard: 0.0,
        }
    }

    /// The life with the news in it; `None` when it tells nothing new.
    pub(super) fn with(
        &self,
        news: &Run,
        source: Source,
        received: f64,
        settings: &Settings,
    ) -> Option<RunLife> {
        let mut next = self.clone();
        let run = &mut next.run;
        if run.workflow.is_empty() && !news.workflow.is_empty() {
            run.workflow = normalise::text(&news.workflow);
            next.workflow = settings.workflow(&run.workflow);
        }
        if run.event.is_empty() {
            run.event = normalise::text(&news.event);
        }
        let named = |name: &Option<String>| name.as_deref().map(normalise::text);
        run.branch = run.branch.take().or_else(|| named(&news.branch));
        run.default_branch = run.default_branch.take().or_else(|| named(&news.default_branch));
        run.created_at = run.created_at.or(time(news.created_at));
        run.started_at = run.started_at.or(time(news.started_at));
        if rank(news.status) > rank(run.status) {
            run.status = news.status;
            run.updated_at = time(news.updated_at).or(run.updated_at);
        }
        if news.status == Status::InProgress {
            next.seen_running = true;
            if source == Source::Webhook && next.in_progress_at.is_none() {
                next.in_progress_at = time(news.updated_at);
            }
        }
        if news.status == Status::Completed && run.conclusion.is_none() {
            let word = normalise::conclusion(news.conclusion.as_deref());
            run.conclusion = Some(word.to_owned());
        }
        if next == *self {
            return None;
        }
        next.heard = received.max(self.heard);
        Some(next)
    }

    /// Takes in what one of its jobs tells about it.
    pub(super) fn hear_of(&mut self, job: &Job, ran: bool, received: f64) {
        self.heard = received.max(self.heard);
        if let Some(started) = job.started_at.filter(|_| ran) {
            self.first_start = Some(self.first_start.map_or(started, |first| first.min(started)));
        }
    }

    pub(super) fn is_completed(&self) -> bool {
        self.run.status == Status::Completed
    }

    pub(super) fn ran(&self) -> bool {
        let conclusion = self.run.conclusion.as_deref();
        !matches!(conclusion, Some("skipped" | "action_required" | "startup_failure" | "stale"))
            && (self.seen_running
                || self.first_start.is_some()
                || matches!(conclusion, Some("success" | "failure" | "timed_out")))
    }

    /// When this attempt was asked for. GitHub repeats the first attempt's creation in later ones.
    pub(super) fn began(&self) -> Option<f64> {
        match self.run.attempt {
            1 => self.run.created_at.or(self.run.started_at),
            _ => self.run.started_at,
        }
    }

    /// Whether all that tells its queue time has come in, if it ever does.
    pub(super) fn knows_start(&self) -> bool {
        self.first_start.is_some()
    }

    /// From asking for it until the first of its jobs began; `None` when it never ran.
    pub(super) fn queue_time(&self) -> Option<Result<f64, Odd>> {
        if !self.ran() {
            return None;
        }
        let Some(began) = self.began() else { return Some(Err(Odd::CreatedUnknown)) };
        // GitHub's own start of the first attempt is the time of its creation, as a rule.
        let own = self.run.started_at.filter(|own| self.run.attempt == 1 && *own > began);
        Some(match self.first_start.or(own).or(self.in_progress_at) {
            None => Err(Odd::StartUnknown),
            Some(start) if start - began > LONGEST => Err(Odd::AbsurdTime),
            Some(start) => Ok(start - began),
        })
    }

    /// From the attempt's start to its end; `None` when it never ran.
    pub(super) fn duration(&self) -> Option<Result<f64, Odd>> {
        if !self.ran() {
            return None;
        }
        Some(match (self.run.started_at.or(self.run.created_at), self.run.updated_at) {
            (None, _) => Err(Odd::CreatedUnknown),
            (_, None) => Err(Odd::EndUnknown),
            (Some(from), Some(to)) if to - from > LONGEST => Err(Odd::AbsurdTime),
            (Some(from), Some(to)) => Ok(to - from),
        })
    }

    /// Whether nobody may be waiting for it any more: created long ago, and not touched since.
    pub(super) fn is_suspected_zombie(&self, now: f64) -> bool {
        let Run { status, created_at, updated_at, .. } = self.run;
        let Some(created) = created_at else { return false };
        let queued = matches!(status, Status::Requested | Status::Queued | Status::Pending);
        queued
            && now - created > UNMOVED
            && updated_at.is_none_or(|at| at <= created)
            && !self.seen_running
            && self.first_start.is_none()
            && self.run.attempt == 1
    }
}

fn rank(status: Status) -> u8 {
    match status {
        Status::Other => 0,
        Status::Requested => 1,
        Status::Pending => 2,
        Status::Waiting => 3,
        Status::Queued => 4,
        Status::InProgress => 5,
        Status::Completed => 6,
    }
}
