//! Runs of a repository and their jobs.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use tracing::warn;

use super::Github;
use super::error::GithubError;
use super::model::{Job, JobPage, Run, RunPage};
use super::scope::{Repository, Scope};
use super::time;
use super::transport::Ask;

/// Runs in these states may hold jobs that are not done.
const LIVE: [&str; 5] = ["in_progress", "queued", "waiting", "pending", "requested"];
/// Runs per repository that are read; the jobs of each cost a call more.
const MAX_RUNS: usize = 5000;
/// Of these, the runs whose jobs [`Github::jobs`] reads.
const MAX_RUNS_OF_JOBS: usize = 500;
/// GitHub shows at most so many runs of a state.
const FILTERED: usize = 1000;
/// Repositories of an organization that are read.
const MAX_REPOSITORIES: usize = 1000;

/// Runs of one repository that are not done.
#[derive(Debug, Clone, Default)]
pub struct LiveRuns {
    /// Each once, those that have begun first.
    pub runs: Vec<Run>,
    /// Whether there may be more than GitHub shows or than is read.
    pub truncated: bool,
}

/// A repository of an organization.
#[derive(Deserialize)]
struct Listed {
    full_name: Repository,
    #[serde(default)]
    archived: bool,
    #[serde(default, deserialize_with = "time::optional")]
    pushed_at: Option<f64>,
}

impl Github {
    /// The jobs of all runs that are not done, finished ones of these runs included.
    ///
    /// `JobsUnknown` for an organization or enterprise whose scope names no repositories.
    pub async fn jobs(&self, scope: &Scope) -> Result<Vec<Job>, GithubError> {
        if scope.repositories().is_empty() {
            return Err(GithubError::JobsUnknown { scope: scope.to_string() });
        }
        let mut jobs = BTreeMap::new();
        for repository in scope.repositories() {
            let live = self.live_runs(repository).await?;
            let read = live.runs.len().min(MAX_RUNS_OF_JOBS);
            if live.truncated || read < live.runs.len() {
                warn!(%repository, runs = live.runs.len(), read, "more live runs than are read");
            }
            for run in live.runs.iter().take(read) {
                for job in self.run_jobs(repository, run.id).await? {
                    jobs.insert(job.id, job);
                }
            }
        }
        Ok(jobs.into_values().collect())
    }

    /// The hundred newest runs, whatever became of them; one call.
    pub async fn newest_runs(&self, repository: &Repository) -> Result<Vec<Run>, GithubError> {
        let path = format!("{}/actions/runs?per_page=100", repository.path());
        let ask = Ask::get("{repository}/actions/runs", path);
        let (page, _): (RunPage, _) = self.client.read(&ask, self.urgency).await?;
        Ok(named(page.workflow_runs, repository).collect())
    }

    /// One run as it is now; `None` when it is gone.
    pub async fn run(&self, repository: &Repository, run: u64) -> Result<Option<Run>, GithubError> {
        let path = format!("{}/actions/runs/{run}", repository.path());
        let ask = Ask::get("{repository}/actions/runs/{run_id}", path);
        match self.client.read(&ask, self.urgency).await {
            Ok((run, _)) => Ok(named([run], repository).next()),
            Err(GithubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All runs that are not done, however old.
    pub async fn live_runs(&self, repository: &Repository) -> Result<LiveRuns, GithubError> {
        let mut live = LiveRuns::default();
        let mut seen = HashSet::new();
        for status in LIVE {
            let mut until = None;
            loop {
                let found = self.runs_until(repository, status, until).await?;
                let (count, oldest) = (found.len(), oldest(&found));
                live.runs.extend(found.into_iter().filter(|run| seen.insert(run.id)));
                if live.runs.len() > MAX_RUNS {
                    live.runs.truncate(MAX_RUNS);
                    live.truncated = true;
                    return Ok(live);
                }
                if count < FILTERED {
                    break;
                }
                // The next thousand are those that began no later than the oldest of these.
                if oldest.is_none() || oldest == until {
                    live.truncated = true;
                    break;
                }
                until = oldest;
            }
        }
        Ok(live)
    }

    /// Runs of this state, created no later than `until`, newest first.
    async fn runs_until(
        &self,
        repository: &Repository,
        status: &str,
        until: Option<i64>,
    ) -> Result<Vec<Run>, GithubError> {
        let path = repository.path();
        let mut path = format!("{path}/actions/runs?status={status}&per_page=100");
        if let Some(until) = until {
            path.push_str(&format!("&created=%3C%3D{}", time::format(until as f64)));
        }
        let ask = Ask::get("{repository}/actions/runs", path);
        let pages: Vec<RunPage> = self.client.pages(ask, self.urgency).await?;
        Ok(named(pages.into_iter().flat_map(|page| page.workflow_runs), repository).collect())
    }

    /// The jobs of the run's latest attempt; none when the run is gone.
    pub async fn run_jobs(
        &self,
        repository: &Repository,
        run: u64,
    ) -> Result<Vec<Job>, GithubError> {
        let path = repository.path();
        let path = format!("{path}/actions/runs/{run}/jobs?filter=latest&per_page=100");
        let ask = Ask::get("{repository}/actions/runs/{run_id}/jobs", path);
        let pages: Vec<JobPage> = match self.client.pages(ask, self.urgency).await {
            // Deleted since it was listed.
            Err(GithubError::NotFound { .. }) => Vec::new(),
            other => other?,
        };
        let mut jobs: Vec<Job> = pages.into_iter().flat_map(|page| page.jobs).collect();
        for job in &mut jobs {
            job.repository = repository.to_string();
        }
        Ok(jobs)
    }

    /// Repositories of the organization that were pushed to since `since`, in seconds since the Unix
    /// epoch, and are not archived; the latest first, at most a thousand.
    pub async fn repositories(
        &self,
        organization: &str,
        since: f64,
    ) -> Result<Vec<Repository>, GithubError> {
        let path = format!("/orgs/{organization}/repos?sort=pushed&direction=desc&per_page=100");
        let mut ask = Ask::get("{organization}/repos", path);
        let mut found = Vec::new();
        loop {
            let (page, next): (Vec<Listed>, _) = self.client.read(&ask, self.urgency).await?;
            let fresh = |listed: &Listed| listed.pushed_at.is_some_and(|at| at >= since);
            let more = page.last().is_some_and(fresh);
            let living = page.into_iter().filter(|listed| fresh(listed) && !listed.archived);
            found.extend(living.map(|listed| listed.full_name));
            match next {
                Some(path) if more && found.len() < MAX_REPOSITORIES => ask.path = path,
                _ => break,
            }
        }
        found.truncate(MAX_REPOSITORIES);
        Ok(found)
    }
}

fn named(
    runs: impl IntoIterator<Item = Run>,
    repository: &Repository,
) -> impl Iterator<Item = Run> {
    let asked = repository.to_string();
    runs.into_iter().map(move |run| match run.repository.is_empty() {
        true => Run { repository: asked.clone(), ..run },
        false => run,
    })
}

/// The earliest creation, in whole seconds since the Unix epoch.
fn oldest(runs: &[Run]) -> Option<i64> {
    runs.iter().filter_map(|run| run.created_at).map(|at| at as i64).min()
}
