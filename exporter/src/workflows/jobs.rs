//! One job's life, put together from whatever is told of it, in any order (pure).

use serde::{Deserialize, Serialize};

use crate::workflows::event::{Job, Source, Status};
use crate::workflows::normalise;
use crate::workflows::state::Settings;

/// A job that is heard of as queued this soon after its creation has not been at a gate before.
const PROMPT: f64 = 30.0;
/// News of an opened gate that comes this long after the start tells nothing of when it opened.
const LATE: f64 = 60.0;
/// Longest time that GitHub lets a run take; longer ones are a mistake in what was told.
pub(super) const LONGEST: f64 = 35.0 * 86_400.0;

/// What is known of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobLife {
    pub(super) job: Job,
    /// As the series are labelled: workflow and label set.
    pub(super) workflow: String,
    pub(super) labels: String,
    gate: Gate,
    /// Whether it was ever told as in progress.
    seen_running: bool,
    /// Whether its queue time is settled: observed, or found to be unknowable.
    pub(super) queue_settled: bool,
    /// When the last news of it came, by our clock.
    pub(super) heard: f64,
}

/// What was told about the time before the start.
///
/// GitHub gives three such events the same created and started times, so their order is known from
/// `gate_changed_at`, and without it from when each came.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Gate {
    /// Told as held back by a gate or its concurrency group.
    held: Option<Told>,
    /// Told as queued: before the gate, or since it opened.
    queued: Option<Told>,
    /// Whether the job has an environment, and so may have a gate.
    environment: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Told {
    at: f64,
    /// By GitHub's clock rather than by when we heard.
    exact: bool,
    heard: f64,
}

/// What a job's queue time is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum QueueTime {
    /// It has not begun.
    Open,
    /// It began, but what may still come in could change the answer.
    Unsettled(f64),
    Known(f64),
    /// Below zero by this much.
    Negative(f64),
    /// Cannot be told, and why.
    Unknown(Odd),
    /// It never ran.
    Never,
}

/// Why something was not counted as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Odd {
    NegativeQueueTime,
    NegativeDuration,
    CreatedUnknown,
    StartUnknown,
    EndUnknown,
    GateEndUnknown,
    AbsurdTime,
    CarriedOver,
    Superseded,
    TooLate,
}

impl Odd {
    pub(super) const ALL: [(Odd, &'static str); 10] = [
        (Odd::NegativeQueueTime, "negative_queue_time"),
        (Odd::NegativeDuration, "negative_duration"),
        (Odd::CreatedUnknown, "created_unknown"),
        (Odd::StartUnknown, "start_unknown"),
        (Odd::EndUnknown, "end_unknown"),
        (Odd::GateEndUnknown, "gate_end_unknown"),
        (Odd::AbsurdTime, "absurd_time"),
        (Odd::CarriedOver, "carried_over"),
        (Odd::Superseded, "superseded"),
        (Odd::TooLate, "too_late"),
    ];
}

impl JobLife {
    /// A life of which nothing is known but whose it is.
    pub(super) fn new(news: &Job) -> JobLife {
        let job = Job {
            id: news.id,
            run_id: news.run_id,
            run_attempt: news.run_attempt.max(1),
            repository: normalise::text(&news.repository),
            ..Job::default()
        };
        JobLife {
            job,
            workflow: normalise::workflow(""),
            labels: normalise::labels(&[]),
            gate: Gate::default(),
            seen_running: false,
            queue_settled: false,
            heard: 0.0,
        }
    }

    /// The life with the news in it; `None` when it tells nothing new.
    pub(super) fn with(
        &self,
        news: &Job,
        source: Source,
        received: f64,
        settings: &Settings,
    ) -> Option<JobLife> {
        let mut next = self.clone();
        next.fill(news, settings);
        next.gate.environment |= news.gate_changed_at.is_some();
        match rank(news.status) {
            None => {}
            Some(0) => next.before_start(news, source, received),
            Some(rank) => next.since_start(news, rank),
        }
        if next == *self {
            return None;
        }
        next.heard = received.max(self.heard);
        Some(next)
    }

    fn fill(&mut self, news: &Job, settings: &Settings) {
        let job = &mut self.job;
        if job.workflow.is_empty() && !news.workflow.is_empty() {
            job.workflow = normalise::text(&news.workflow);
            self.workflow = settings.workflow(&job.workflow);
        }
        if job.name.is_empty() && !news.name.is_empty() {
            job.name = normalise::text(&news.name);
        }
        if job.labels.is_empty() && !news.labels.is_empty() {
            let kept = news.labels.iter().take(normalise::MAX_LABELS);
            job.labels = kept.map(|label| normalise::text(label)).collect();
            self.labels = settings.labels(&job.labels);
        }
        job.branch = job.branch.take().or_else(|| news.branch.as_deref().map(normalise::text));
        job.created_at = job.created_at.or(time(news.created_at));
        if job.created_at.is_none() && rank(news.status) == Some(0) {
            job.created_at = time(news.started_at);
        }
    }

    fn before_start(&mut self, news: &Job, source: Source, received: f64) {
        let told = match time(news.gate_changed_at) {
            Some(at) => Told { at, exact: true, heard: received },
            None => Told { at: received, exact: false, heard: received },
        };
        let is_held = matches!(news.status, Status::Waiting | Status::Pending);
        let repeated = source == Source::Poll && self.job.status == news.status;
        if repeated || news.status == Status::Requested && self.job.status != Status::Other {
            return;
        }
        let gate = &mut self.gate;
        match is_held {
            // A gate that has opened is not closed again by what comes late.
            true => {
                let later = gate.held.is_none_or(|held| told.exact && told.at > held.at);
                gate.held = if later { Some(told) } else { gate.held };
            }
            // The last one that was told is when the gate opened, if there was one.
            false => {
                let later = gate.queued.is_none_or(|queued| match (told.exact, queued.exact) {
                    (true, false) => true,
                    (false, true) => false,
                    (true, true) => told.at >= queued.at,
                    (false, false) => told.at > queued.at,
                });
                gate.queued = if later { Some(told) } else { gate.queued };
            }
        }
        if rank(self.job.status).unwrap_or(0) == 0 {
            let held_as = if is_held { news.status } else { self.job.status };
            let held_as = if held_as == Status::Pending { held_as } else { Status::Waiting };
            // Within one second only the order in which they came tells what came last.
            let tie = |held: Told, opened: Told| held.exact && opened.exact && opened.at == held.at;
            self.job.status = match (gate.held, self.opened()) {
                (None, _) => news.status,
                (Some(_), None) => held_as,
                (Some(held), Some(opened)) if tie(held, opened) && opened.heard < held.heard => {
                    held_as
                }
                (Some(_), Some(_)) => Status::Queued,
            };
        }
    }

    /// When its gate opened, as far as it was told.
    fn opened(&self) -> Option<Told> {
        let (held, queued) = (self.gate.held?, self.gate.queued?);
        let after = match held.exact && queued.exact {
            true => queued.at >= held.at,
            // Queued as soon as it was created: that was before the gate, unless it came after it.
            false => queued.at > held.at || !self.is_prompt(queued),
        };
        after.then_some(queued)
    }

    /// Whether it was told as queued when it was new. A job with an environment may be at a gate
    /// all the same.
    fn is_prompt(&self, queued: Told) -> bool {
        let created = self.job.created_at;
        !queued.exact && created.is_some_and(|created| (queued.at - created).abs() <= PROMPT)
    }

    fn since_start(&mut self, news: &Job, news_rank: u8) {
        let job = &mut self.job;
        if rank(job.status).is_none_or(|rank| rank < news_rank) {
            job.status = news.status;
        }
        if news.status == Status::InProgress {
            self.seen_running = true;
        }
        job.started_at = job.started_at.or(time(news.started_at));
        let named = |name: &Option<String>| name.as_deref().map(normalise::text);
        job.runner = job.runner.take().or_else(|| named(&news.runner));
        job.runner_group = job.runner_group.take().or_else(|| named(&news.runner_group));
        if news.status == Status::Completed {
            job.completed_at = job.completed_at.or(time(news.completed_at));
            if job.conclusion.is_none() {
                let word = normalise::conclusion(news.conclusion.as_deref());
                job.conclusion = Some(word.to_owned());
            }
        }
    }

    pub(super) fn is_completed(&self) -> bool {
        self.job.status == Status::Completed
    }

    /// Whether a runner worked on it. One that was skipped, or cancelled before its start, ends
    /// without a runner and may still be given a start time.
    pub(super) fn ran(&self) -> bool {
        let conclusion = self.job.conclusion.as_deref();
        conclusion != Some("skipped")
            && (self.seen_running
                || self.job.runner.is_some()
                || matches!(conclusion, Some("success" | "timed_out")))
    }

    /// When it began to wait for a runner: its creation, or the end of its gate.
    pub(super) fn waits_since(&self) -> Option<f64> {
        match (self.opened(), self.job.created_at) {
            (Some(opened), Some(created)) => Some(opened.at.max(created)),
            (opened, created) => opened.map(|opened| opened.at).or(created),
        }
    }

    /// Start minus creation, without the time before its gate opened.
    pub(super) fn queue_time(&self) -> QueueTime {
        if !self.ran() {
            return if self.is_completed() { QueueTime::Never } else { QueueTime::Open };
        }
        let Some(started) = self.job.started_at else {
            return self.missing(Odd::StartUnknown);
        };
        let Some(created) = self.job.created_at else {
            return self.missing(Odd::CreatedUnknown);
        };
        if started - created > LONGEST {
            return QueueTime::Unknown(Odd::AbsurdTime);
        }
        let known = |seconds: f64| match seconds < 0.0 {
            true => QueueTime::Negative(seconds),
            false => QueueTime::Known(seconds),
        };
        match (self.gate.held, self.opened()) {
            (None, _) if self.gate.queued.is_some_and(|queued| self.is_prompt(queued)) => {
                known(started - created)
            }
            // The word that it was held is lost, or is still to come.
            (None, _) => match self.gate.queued {
                Some(queued) if queued.exact => {
                    QueueTime::Unsettled(started - queued.at.max(created))
                }
                None if self.gate.environment => QueueTime::Unsettled(f64::NAN),
                _ => QueueTime::Unsettled(started - created),
            },
            (Some(_), None) => QueueTime::Unsettled(f64::NAN),
            (Some(_), Some(opened)) if opened.exact => known(started - opened.at.max(created)),
            (Some(_), Some(opened)) if opened.at > started + LATE => QueueTime::Unsettled(f64::NAN),
            // Word of it takes a moment and may overtake that of the start.
            (Some(_), Some(opened)) => known(started - opened.at.max(created).min(started)),
        }
    }

    /// A time that was not told; until the job's end it may still be.
    fn missing(&self, what: Odd) -> QueueTime {
        if self.is_completed() { QueueTime::Unknown(what) } else { QueueTime::Open }
    }

    /// From start to end; `None` for a job that never ran.
    pub(super) fn duration(&self) -> Option<Result<f64, Odd>> {
        if !self.ran() {
            return None;
        }
        Some(match (self.job.started_at, self.job.completed_at) {
            (None, _) => Err(Odd::StartUnknown),
            (_, None) => Err(Odd::EndUnknown),
            (Some(from), Some(to)) if to - from > LONGEST => Err(Odd::AbsurdTime),
            (Some(from), Some(to)) => Ok(to - from),
        })
    }

    /// Whether it is a later attempt's copy of a job that ran in an earlier one: it began before
    /// the attempt did.
    pub(super) fn is_carried_over(&self, attempt_began: Option<f64>) -> bool {
        let Job { started_at, completed_at, created_at, .. } = self.job;
        let (Some(started), true) = (started_at, self.job.run_attempt > 1) else { return false };
        let before_attempt = attempt_began.is_some_and(|began| started < began - 1.0);
        let over_before = matches!((completed_at, created_at), (Some(over), Some(created))
            if over <= created && started < created);
        before_attempt || over_before
    }
}

/// Before the start 0, then 1, at the end 2; `None` for a word that is not known.
fn rank(status: Status) -> Option<u8> {
    match status {
        Status::Requested | Status::Pending | Status::Waiting | Status::Queued => Some(0),
        Status::InProgress => Some(1),
        Status::Completed => Some(2),
        Status::Other => None,
    }
}

/// A time that GitHub can have meant, neither zero nor nonsense; in whole milliseconds, which JSON
/// gives back as they were.
pub(super) fn time(at: Option<f64>) -> Option<f64> {
    let at = at.filter(|at| at.is_finite() && *at > 0.0 && *at < 1e11)?;
    Some((at * 1000.0).round() / 1000.0)
}
