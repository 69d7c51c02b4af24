//! How the keeper reads the world: the store, GitHub's runners and jobs.

use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::github::error::GithubError;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{Keeper, hold_text};
use crate::actions::execute::Trouble;
use crate::actions::exporters::{self, Said};
use crate::actions::github;
use crate::actions::sight::{Evidence, Sight};
use crate::clock;
use crate::model::sample::Timestamp;

/// Wait after the jobs could not be read.
const JOBS_WAIT: Duration = Duration::from_secs(5);
/// Within this time after the start every target is scraped, or its interval is long.
const STARTING: Duration = Duration::from_secs(120);

impl Keeper {
    pub(super) async fn read_exporters(&self, now: Timestamp) -> Result<Said, String> {
        let store = Arc::clone(&self.store);
        let alerts = Arc::clone(&self.active.borrow());
        let read = spawn_blocking(move || exporters::read(store.as_ref(), alerts, now)).await;
        let said = match read {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(error) => return Err(error.to_string()),
        };
        self.roster.see(said.places.iter().cloned(), now);
        Ok(said)
    }

    pub(super) async fn read_runners(&mut self) -> Result<(), Trouble> {
        let asked = clock::now();
        let stop = self.executor.stop.clone();
        let call = self.github.runners(&self.pool.scope);
        let runners = stop.run_until_cancelled(call).await.ok_or(Trouble::Stopping)?;
        let runners = runners.map_err(Trouble::Github)?;
        self.known.listed = runners.into_iter().map(github::listed).collect();
        self.known.listed_at = Some(asked);
        self.executor.settle(&self.known.listed).map_err(Trouble::Journal)
    }

    /// Reads the jobs and says whether there is something new. What fails here is told, and does
    /// not keep the label from being moved; an alert that asks for a move ends the reading.
    pub(super) async fn read_jobs(&mut self) -> bool {
        let asked = clock::now();
        let read = tokio::select! {
            read = self.github.jobs(&self.pool.scope) => read,
            () = self.executor.stop.cancelled() => return false,
            () = self.concern_changes() => return false,
        };
        let known = &mut self.known;
        match read {
            Ok(jobs) => {
                let jobs = jobs.into_iter().filter_map(|job| github::job(job, asked)).collect();
                known.jobs = Some((jobs, asked));
                (known.jobs_trouble, known.jobs_not_before) = (None, None);
                return true;
            }
            // The scope does not say where its jobs are: not a failure, and said in the docs.
            Err(GithubError::JobsUnknown { .. }) => known.jobs = None,
            Err(error) => {
                let trouble = Trouble::Github(error);
                let text = format!("jobs cannot be read: {trouble}");
                if known.jobs_trouble.as_ref().is_none_or(|(had, _)| *had != text) {
                    warn!(pool = self.pool.name, error = text, "jobs cannot be read");
                }
                self.metrics.failed(&self.pool.name, trouble.cause());
                let since = known.jobs_trouble.as_ref().map_or(asked, |(_, since)| *since);
                known.jobs_trouble = Some((text, since));
                known.jobs_not_before = Some(clock::now().plus(JOBS_WAIT));
            }
        }
        false
    }

    async fn concern_changes(&self) {
        let mut active = self.active.clone();
        let before = self.concern_of(&self.known.said.alerts);
        loop {
            if self.concern() != before {
                return;
            }
            if active.changed().await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    }

    pub(super) fn sight(&self, said: &Said, fresh: bool, now: Timestamp) -> Sight {
        let memory = self.roster.memory();
        let believe_for = (self.config.reconcile_interval * 2).max(Duration::from_secs(10));
        let age = self.known.listed_at.map(|at| now.since(at));
        let evidence = Evidence {
            exporters: &said.exporters,
            memory: &memory,
            alerts: &said.alerts.instances,
            listed: &self.known.listed,
            believed: fresh || age.is_some_and(|age| age <= believe_for),
            fresh,
            starting: now.since(self.known.began) < STARTING,
            jobs: self.known.jobs.as_ref().map(|(jobs, at)| (jobs.as_slice(), *at)),
            hold: hold_text(&self.holds.borrow(), &self.pool.name),
        };
        Sight::of(&self.pool, &evidence, now)
    }

    pub(super) fn remember_ids(&mut self) {
        let ids = self.known.listed.iter().map(|listed| (listed.name.clone(), listed.id));
        self.known.ids = ids.collect();
    }
}
