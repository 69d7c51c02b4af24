//! Why a job still waits, from what is known of it and of the runners (pure).

use std::collections::HashMap;

use crate::github::model::RunnerStatus;
use crate::workflows::event::{Job, Status};
use crate::workflows::fleet::Fleet;
use crate::workflows::jobs::JobLife;
use crate::workflows::runs::RunLife;

/// What was read of runners longer ago than this says nothing about now.
const STALE: f64 = 600.0;
/// GitHub gives a job that no runner takes up after a day, two at the latest.
const GIVEN_UP: f64 = 2.0 * 86_400.0;
/// A gate may be kept closed for 30 days.
const GATE_GIVEN_UP: f64 = 31.0 * 86_400.0;

/// In the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// No registered runner that may serve the repository has all the labels.
    NoRunner,
    /// Every matching runner that is online runs a job.
    AllBusy,
    /// Every matching runner is offline.
    Offline,
    /// An environment's protection rules.
    Gate,
    /// Others of its concurrency group.
    Concurrency,
    /// Likely nobody waits for it any more.
    SuspectedZombie,
    /// A matching runner is online and idle: it is being handed over, or the runner's group does
    /// not admit the repository.
    NotAssigned,
    /// It waits for one of GitHub's own runners.
    Hosted,
    /// The runners cannot be read, or were read too long ago.
    Unknown,
}

impl Reason {
    pub(super) fn word(self) -> &'static str {
        match self {
            Reason::NoRunner => "no_runner",
            Reason::AllBusy => "all_busy",
            Reason::Offline => "offline",
            Reason::Gate => "gate",
            Reason::Concurrency => "concurrency",
            Reason::SuspectedZombie => "suspected_zombie",
            Reason::NotAssigned => "not_assigned",
            Reason::Hosted => "hosted",
            Reason::Unknown => "unknown",
        }
    }
}

/// The runners, arranged for being matched with many jobs.
pub(super) struct Runners<'a> {
    by_label: HashMap<String, Bits>,
    scopes: HashMap<&'a str, Scope>,
    online: Bits,
    busy: Bits,
    by_name: HashMap<&'a str, Vec<usize>>,
    count: usize,
}

struct Scope {
    members: Bits,
    fresh: bool,
}

impl<'a> Runners<'a> {
    pub(super) fn new(fleet: &'a Fleet, now: f64) -> Runners<'a> {
        let count = fleet.scopes.values().map(|scope| scope.runners.len()).sum();
        let none = || Bits::new(count);
        let mut runners = Runners {
            by_label: HashMap::new(),
            scopes: HashMap::new(),
            online: none(),
            busy: none(),
            by_name: HashMap::new(),
            count,
        };
        let mut at = 0;
        for (name, registered) in &fleet.scopes {
            let mut members = none();
            for runner in &registered.runners {
                members.set(at);
                if runner.status == RunnerStatus::Online {
                    runners.online.set(at);
                }
                if runner.busy {
                    runners.busy.set(at);
                }
                for label in &runner.labels {
                    let label = label.name.to_ascii_lowercase();
                    runners.by_label.entry(label).or_insert_with(none).set(at);
                }
                runners.by_name.entry(&runner.name).or_default().push(at);
                at += 1;
            }
            let fresh = now - registered.read_at <= STALE;
            runners.scopes.insert(name, Scope { members, fresh });
        }
        runners
    }

    /// GitHub may call a runner idle in the middle of a job that we know it runs. Runners of other
    /// repositories may have the same name.
    pub(super) fn works(&mut self, job: &Job) {
        let Some(named) = job.runner.as_deref().and_then(|name| self.by_name.get(name)) else {
            return;
        };
        for at in named {
            if self.scopes.iter().any(|(name, scope)| serves(name, job) && scope.members.has(*at)) {
                self.busy.set(*at);
            }
        }
    }

    /// Why a job that has all it needs but a runner still waits.
    fn reason(&self, job: &Job) -> Reason {
        let (mut fits, mut known, mut all_fresh) = (Bits::new(self.count), false, true);
        for (_, scope) in self.scopes.iter().filter(|(name, _)| serves(name, job)) {
            known = true;
            all_fresh &= scope.fresh;
            if scope.fresh {
                fits.add(&scope.members);
            }
        }
        let none = Bits::new(self.count);
        for label in &job.labels {
            fits.keep(self.by_label.get(&label.to_ascii_lowercase()).unwrap_or(&none));
        }
        if fits.is_empty() || job.labels.is_empty() {
            return match () {
                () if is_hosted(job) => Reason::Hosted,
                () if !known || !all_fresh || job.labels.is_empty() => Reason::Unknown,
                () => Reason::NoRunner,
            };
        }
        fits.keep(&self.online);
        if fits.is_empty() {
            return if all_fresh { Reason::Offline } else { Reason::Unknown };
        }
        fits.drop(&self.busy);
        match (fits.is_empty(), all_fresh) {
            (false, _) => Reason::NotAssigned,
            (true, true) => Reason::AllBusy,
            (true, false) => Reason::Unknown,
        }
    }
}

/// Whether the scope's runners may take the job.
fn serves(scope: &str, job: &Job) -> bool {
    let owner = job.repository.split_once('/').map_or("", |(owner, _)| owner);
    scope.eq_ignore_ascii_case(&job.repository)
        || scope.eq_ignore_ascii_case(owner)
        || scope.starts_with("enterprises/")
}

/// Why the job waits; `None` for one that has begun.
pub(super) fn reason(
    life: &JobLife,
    run: Option<&RunLife>,
    runners: &Runners<'_>,
    now: f64,
) -> Option<Reason> {
    let waits = life.waits_since().map_or(0.0, |since| now - since);
    Some(match life.job.status {
        Status::InProgress | Status::Completed | Status::Other => return None,
        _ if waits > GATE_GIVEN_UP => Reason::SuspectedZombie,
        Status::Waiting => Reason::Gate,
        _ if run.is_some_and(|run| run.is_suspected_zombie(now)) => Reason::SuspectedZombie,
        Status::Pending => Reason::Concurrency,
        Status::Requested | Status::Queued if waits > GIVEN_UP => Reason::SuspectedZombie,
        Status::Requested | Status::Queued => runners.reason(&life.job),
    })
}

/// Whether it asks for, or ran on, one of GitHub's own runners.
pub(super) fn is_hosted(job: &Job) -> bool {
    let names = ["ubuntu-", "windows-", "macos-"];
    let hosted = |label: &String| {
        let label = label.to_ascii_lowercase();
        names.iter().any(|name| label.strip_prefix(name).is_some_and(is_image))
    };
    let own = job.labels.iter().any(|label| label.eq_ignore_ascii_case("self-hosted"));
    let by_runner = job.runner.as_deref().map(|name| name.starts_with("GitHub Actions "));
    !own && by_runner.unwrap_or_else(|| job.labels.iter().any(hosted))
}

/// `latest`, a version, or one of them with something behind it.
fn is_image(rest: &str) -> bool {
    let first = rest.split('-').next().unwrap_or_default();
    let version = first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    first == "latest" || first == "slim" || (version && !first.is_empty())
}

/// A set of small numbers.
#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(count: usize) -> Bits {
        Bits(vec![0; count.div_ceil(64)])
    }

    fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn add(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn keep(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    fn drop(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests;
