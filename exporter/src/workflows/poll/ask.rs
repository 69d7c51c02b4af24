//! What each target asks, and where its answer goes.

use tracing::{info, warn};

use super::plan::Target;
use super::seen::Changes;
use super::{Inner, cause, translate};
use crate::clock;
use crate::github::error::GithubError;
use crate::github::hooks::Hook;
use crate::github::model::Run;
use crate::github::scope::Repository;
use crate::workflows::event::Event;
use crate::workflows::fleet::Registered;

/// Where webhooks come in.
const PATH: &str = "/webhooks/github";
/// The events that are taken; others are not missed.
const EVENTS: [&str; 4] = ["workflow_job", "workflow_run", "pull_request", "deployment_status"];
/// Repositories that nobody pushed to for so long, in seconds, are left out.
const ASLEEP: f64 = 30.0 * 86_400.0;

impl Inner {
    pub(super) async fn answer(&self, target: &Target, now: f64) -> Result<(), GithubError> {
        match target {
            Target::Runners(scope) => {
                let runners = self.github.runners(scope).await?;
                let read_at = clock::unix_seconds();
                self.intake.set_fleet(&scope.to_string(), Registered { runners, read_at });
            }
            Target::Repositories(organization) => {
                let found = self.github.repositories(organization, now - ASLEEP).await?;
                self.known().found.insert(organization.clone(), found);
            }
            Target::Runs(repository) => {
                let runs = self.github.newest_runs(repository).await?;
                if let Some(seen) = self.known().seen.get_mut(repository) {
                    seen.look_deep(&runs, now);
                }
                self.tell_runs(repository, runs).await;
            }
            Target::Sweep(repository) => {
                let live = self.github.live_runs(repository).await?;
                if live.truncated {
                    warn!(%repository, read = live.runs.len(), "more live runs than are read");
                }
                self.known().report.truncated(repository, live.truncated);
                self.tell_runs(repository, live.runs).await;
            }
            Target::Jobs(repository, run) => self.jobs(repository, *run).await?,
            Target::Hooks(Some(scope)) => {
                let hooks = self.github.hooks(scope, PATH).await?;
                self.known().hooks.insert(Some(scope.clone()), hooks);
            }
            Target::Hooks(None) => {
                let hooks = self.github.app_hook(PATH).await?.into_iter().collect();
                self.known().hooks.insert(None, hooks);
            }
            Target::Deliveries(hook) => self.deliveries(hook, now).await?,
            Target::Billing(organization) => {
                let bill = self.github.billed(organization, now).await?;
                self.known().report.bills.insert(organization.clone(), bill);
            }
        }
        Ok(())
    }

    async fn jobs(&self, repository: &Repository, run: u64) -> Result<(), GithubError> {
        let mut jobs = self.github.run_jobs(repository, run).await?;
        let now = clock::unix_seconds();
        let (changes, may_be_done) = {
            let mut known = self.known();
            let seen = known.seen.entry(repository.clone()).or_default();
            if !seen.name.is_empty() {
                jobs.iter_mut().for_each(|job| job.repository.clone_from(&seen.name));
            }
            let changes = seen.jobs(run, jobs, now);
            (changes, seen.may_be_done(run))
        };
        let Changes { news, late } = changes;
        let events = news.iter().map(|job| translate::job(job, now)).collect();
        self.tell(repository, events, late).await;
        if may_be_done {
            let run = self.github.run(repository, run).await?;
            self.tell_runs(repository, run.into_iter().collect()).await;
        }
        Ok(())
    }

    async fn tell_runs(&self, repository: &Repository, runs: Vec<Run>) {
        let now = clock::unix_seconds();
        let Changes { news, late } =
            self.known().seen.entry(repository.clone()).or_default().runs(runs, now);
        let events = news.iter().map(|run| translate::run(run, now)).collect();
        self.tell(repository, events, late).await;
    }

    /// Hands changes on. What is refused is told anew by the next reading.
    async fn tell(&self, repository: &Repository, events: Vec<Event>, late: bool) {
        if events.is_empty() {
            return;
        }
        let told = self.intake.observe(events).await;
        let mut known = self.known();
        // The jobs of new runs are wanted at once, and webhooks may have turned out silent.
        known.synced = 0.0;
        match told {
            Ok(told) => {
                known.report.news += told as u64;
                if late && told > 0 {
                    known.late.insert(repository.clone(), clock::unix_seconds());
                }
            }
            Err(refused) => {
                known.report.failed("log", refused.reason());
                known.seen.remove(repository);
            }
        }
    }

    /// Finds what was not delivered and asks for it again, as far as the budget goes.
    async fn deliveries(&self, hook: &Hook, now: f64) -> Result<(), GithubError> {
        let since = {
            let mut known = self.known();
            let read =
                known.plan.oldest(|target| matches!(target, Target::Deliveries(h) if h == hook));
            known.missed.entry(hook.clone()).or_default().since(now, read)
        };
        let mut deliveries = self.github.deliveries(hook, since).await?;
        deliveries.retain(|one| EVENTS.contains(&one.event.as_str()));
        // An answer that came too late for GitHub is no loss.
        let lost = deliveries.iter().filter(|one| !one.arrived()).map(|one| one.guid.clone());
        let lost: Vec<_> = lost.collect();
        if let Ok(knows) = self.intake.knows(lost.clone()).await {
            let here: std::collections::HashSet<_> =
                lost.iter().zip(knows).filter(|(_, here)| *here).map(|(guid, _)| guid).collect();
            for one in deliveries.iter_mut().filter(|one| here.contains(&one.guid)) {
                one.status_code = 200;
            }
        }
        let due = {
            let mut known = self.known();
            known.missed.entry(hook.clone()).or_default().due(&deliveries, now)
        };
        for delivery in due {
            // A write may use the reserve; this one does not.
            if !self.github.must_wait().is_zero() {
                break;
            }
            let asked = self.github.redeliver(hook, delivery).await;
            let result = if asked.is_ok() { "accepted" } else { "refused" };
            self.known().report.redelivered(result);
            match asked {
                Ok(()) => info!(delivery, "a delivery that did not arrive is asked for again"),
                Err(error) => {
                    warn!(%error, cause = cause(&error), "a delivery cannot be asked for again");
                    break;
                }
            }
        }
        Ok(())
    }
}
