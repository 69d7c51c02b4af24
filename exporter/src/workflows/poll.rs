//! Asks GitHub for what webhooks did not tell: jobs and runs that moved on, runners, lost deliveries.
//!
//! One call at a time, as GitHub asks for. What was read last stays until it is read again, with its
//! age; what the credential may not read is told once and costs nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::missed::Missed;
use self::plan::{Coverage, Failure, Next, Plan, Target};
use self::report::Report;
use self::seen::Seen;
use super::intake::Intake;
use super::state::OpenRun;
use crate::clock;
use crate::github::Github;
use crate::github::error::GithubError;
use crate::github::hooks::Hook;
use crate::github::scope::{Repository, Scope};
use crate::metric::Families;

mod ask;
mod missed;
mod plan;
mod report;
mod seen;
mod translate;

pub use self::report::DESCS;

/// How often it is looked at what has become open or done.
const SYNC_EVERY: f64 = 5.0;
/// A webhook speaks for its repository this long.
const SPEAKS: f64 = 86_400.0;
/// The deliveries are checked as long as one reading is no older.
const CHECKED: f64 = 300.0;

/// What to ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    pub scopes: Vec<Scope>,
    /// Whether webhooks are taken, so that lost ones are looked for.
    pub webhooks: bool,
    /// Whether the organizations' bills are read.
    pub billing: bool,
    /// Tests are in a hurry: every interval is divided by this.
    pub speed: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { scopes: Vec::new(), webhooks: false, billing: false, speed: 1.0 }
    }
}

/// Cheap to clone; the clones are one poller.
#[derive(Clone)]
pub struct Poll(Arc<Inner>);

struct Inner {
    github: Github,
    intake: Intake,
    settings: Settings,
    known: Mutex<Known>,
}

/// What the poller remembers; times are seconds since the Unix epoch.
#[derive(Default)]
struct Known {
    plan: Plan,
    seen: BTreeMap<Repository, Seen>,
    /// Repositories of organizations whose scope names none.
    found: BTreeMap<String, Vec<Repository>>,
    hooks: BTreeMap<Option<Scope>, Vec<Hook>>,
    missed: BTreeMap<Hook, Missed>,
    /// When a poll last told of something in the repository that a webhook should have told.
    late: BTreeMap<Repository, f64>,
    coverage: BTreeMap<Repository, Coverage>,
    /// When targets and coverage were last brought up to date; 0 when that is due.
    synced: f64,
    report: Report,
}

impl Poll {
    pub fn new(github: &Github, settings: Settings, intake: Intake) -> Poll {
        let known = Known { plan: Plan::new(settings.speed), ..Known::default() };
        let known = Mutex::new(known);
        Poll(Arc::new(Inner { github: github.background(), intake, settings, known }))
    }

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.0.poll()).await;
    }

    /// Adds the poller's own families.
    pub fn families(&self, out: &mut Families) {
        let pace = self.0.github.pace();
        let known = self.0.known();
        let stretch = known.plan.stretch(pace, |target| known.coverage(target));
        report::families(&known, &self.0.settings, stretch, out);
    }
}

impl Inner {
    async fn poll(&self) {
        loop {
            let now = clock::unix_seconds();
            let forbidden = self.github.must_wait();
            if !forbidden.is_zero() {
                tokio::time::sleep(forbidden.min(Duration::from_secs(60))).await;
                continue;
            }
            self.sync(now);
            let next = {
                let known = self.known();
                let pace = self.github.pace();
                known.plan.next(now, pace, |target| known.coverage(target))
            };
            match next {
                Next::Ask(target) => self.ask(&target, now).await,
                Next::Sleep(seconds) => {
                    tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.05, 5.0))).await;
                }
            }
        }
    }

    async fn ask(&self, target: &Target, now: f64) {
        let before = self.github.spent();
        let answer = self.answer(target, now).await;
        let (now, cost) = (clock::unix_seconds(), self.github.spent() - before);
        let mut known = self.known();
        let known = &mut *known;
        match answer {
            Ok(()) => {
                known.plan.answered(target, now, cost);
                if let Some(permission) = known.report.denied.remove(target) {
                    info!(%permission, data = target.data(), "GitHub lets this be read now");
                }
            }
            Err(error) => {
                let (failure, reason) = failure(&error);
                known.plan.failed(target, now, failure);
                known.report.failed(target.data(), reason);
                match failure {
                    Failure::Denied => known.report.deny(target, &error),
                    // The metrics tell; a window is spent now and then.
                    Failure::Limited => {}
                    Failure::Odd | Failure::Down => {
                        warn!(%error, cause = cause(&error), data = target.data(), "not read");
                    }
                }
            }
        }
    }

    /// Brings the targets into line with what is open.
    fn sync(&self, now: f64) {
        if now < self.known().synced + SYNC_EVERY {
            return;
        }
        let open = self.intake.with_state(|state, _| state.open_runs());
        // GitHub's names ignore case, and the configuration may spell them otherwise.
        let mut by_repository: BTreeMap<String, Vec<&OpenRun>> = BTreeMap::new();
        for run in &open {
            by_repository.entry(run.repository.to_lowercase()).or_default().push(run);
        }
        let mut known = self.known();
        let known = &mut *known;
        known.synced = now;
        let mut wanted: BTreeSet<Target> = self.fixed(known);
        let repositories = repositories(&self.settings.scopes, &known.found);
        known.seen.retain(|repository, _| repositories.contains_key(repository));
        known.late.retain(|repository, _| repositories.contains_key(repository));
        let deliveries = |target: &Target| matches!(target, Target::Deliveries(_));
        let checked = known.plan.oldest(deliveries).is_some_and(|at| at > now - CHECKED);
        known.coverage.clear();
        let (mut since, mut unread) = (BTreeMap::new(), 0);
        for repository in repositories.keys() {
            let late = known.late.get(repository).copied();
            let seen = known.seen.entry(repository.clone()).or_default();
            let asked = repository.to_string();
            let name = if seen.name.is_empty() { &asked } else { &seen.name };
            let coverage = match self.covered(name, late, now) {
                false => Coverage::Polls,
                true if checked => Coverage::CheckedWebhooks,
                true => Coverage::Webhooks,
            };
            known.coverage.insert(repository.clone(), coverage);
            let covered = coverage != Coverage::Polls;
            seen.expire(now);
            wanted.insert(Target::Runs(repository.clone()));
            if seen.deep {
                wanted.insert(Target::Sweep(repository.clone()));
            }
            let open = by_repository.remove(&asked.to_lowercase()).unwrap_or_default();
            for run in open.iter().filter(|run| !seen.is_complete(run.id)) {
                let target = Target::Jobs(repository.clone(), run.id);
                if covered {
                    since.insert(target.clone(), run.heard);
                }
                wanted.insert(target);
            }
            let others: Vec<_> =
                seen.open().filter(|id| open.iter().all(|run| run.id != *id)).collect();
            for run in others {
                match covered {
                    true => seen.settle(run),
                    false => drop(wanted.insert(Target::Jobs(repository.clone(), run))),
                }
            }
        }
        known.plan.retain(|target| wanted.contains(target));
        for target in wanted {
            let taken = match since.get(&target) {
                Some(heard) => known.plan.want_since(&target, *heard),
                None => known.plan.want(&target),
            };
            unread += u64::from(!taken);
        }
        known.report.unread_runs = unread;
        known.report.homes = repositories;
    }

    /// The targets that do not come and go with runs.
    fn fixed(&self, known: &Known) -> BTreeSet<Target> {
        let mut wanted = BTreeSet::new();
        let Settings { scopes, webhooks, billing, .. } = &self.settings;
        for scope in scopes {
            wanted.insert(Target::Runners(scope.clone()));
            if let Scope::Organization { name, repositories } = scope {
                if repositories.is_empty() {
                    wanted.insert(Target::Repositories(name.clone()));
                }
                if *billing {
                    wanted.insert(Target::Billing(name.clone()));
                }
            }
            if *webhooks && !matches!(scope, Scope::Enterprise { .. }) {
                wanted.insert(Target::Hooks(Some(scope.clone())));
            }
        }
        if *webhooks {
            if self.github.is_app() {
                wanted.insert(Target::Hooks(None));
            }
            wanted.extend(known.hooks.values().flatten().cloned().map(Target::Deliveries));
        }
        wanted
    }

    /// Whether webhooks tell of this repository, as far as experience goes.
    fn covered(&self, repository: &str, late: Option<f64>, now: f64) -> bool {
        let heard = self.intake.heard(repository);
        heard.is_some_and(|at| at > now - SPEAKS && late.is_none_or(|late| at > late))
    }

    /// What it guards is whole after every statement, even if a holder panicked.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn coverage(&self, target: &Target) -> Coverage {
        let known = target.repository().and_then(|repository| self.coverage.get(repository));
        known.copied().unwrap_or(Coverage::Polls)
    }
}

/// Each repository once, with the scope that it is read for.
fn repositories(
    scopes: &[Scope],
    found: &BTreeMap<String, Vec<Repository>>,
) -> BTreeMap<Repository, String> {
    let mut all = BTreeMap::new();
    for scope in scopes {
        let found = match scope {
            Scope::Organization { name, repositories } if repositories.is_empty() => {
                found.get(name).map_or(&[][..], Vec::as_slice)
            }
            _ => scope.repositories(),
        };
        for repository in found {
            all.entry(repository.clone()).or_insert_with(|| scope.to_string());
        }
    }
    all
}

/// What an error means for its target, and its name in metrics.
fn failure(error: &GithubError) -> (Failure, &'static str) {
    match error {
        GithubError::Forbidden { .. } => (Failure::Denied, "forbidden"),
        GithubError::NotFound { .. } => (Failure::Denied, "not_found"),
        GithubError::NoApp | GithubError::JobsUnknown { .. } => (Failure::Denied, "unknown"),
        GithubError::RateLimited { .. } => (Failure::Limited, "rate_limited"),
        GithubError::Rejected { .. } => (Failure::Odd, "rejected"),
        GithubError::Malformed { .. } => (Failure::Odd, "malformed"),
        GithubError::Moved { .. } => (Failure::Odd, "moved"),
        GithubError::Server { .. } => (Failure::Down, "server"),
        GithubError::Unreachable { .. } => (Failure::Down, "unreachable"),
        GithubError::Unauthorized { .. } => (Failure::Down, "unauthorized"),
        GithubError::NoCredential
        | GithubError::Token(_)
        | GithubError::Key(_)
        | GithubError::BaseUrl { .. }
        | GithubError::Setup(_) => (Failure::Down, "credential"),
    }
}

fn cause(error: &GithubError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
