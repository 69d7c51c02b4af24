//! GitHub's REST API as Pitcrew uses it: runners, their labels, jobs, and issues.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::Method;
use serde_json::json;
use tracing::warn;

use answer::parse_json;
use client::Client;
use config::GithubConfig;
use error::GithubError;
use metrics::GithubMetrics;
use model::{Job, JobPage, LabelList, RunPage, Runner, RunnerLabel, RunnerPage};
use rate_limit::Urgency;
use scope::{Repository, Scope};
use transport::Ask;

mod answer;
pub mod app_auth;
mod cache;
mod client;
pub mod config;
mod credential;
pub mod error;
pub mod issues;
pub mod metrics;
pub mod model;
mod pages;
pub mod rate_limit;
pub mod scope;
pub(crate) mod time;
mod transport;

/// Runs in these states may hold jobs that are not done.
const LIVE: [&str; 4] = ["in_progress", "queued", "waiting", "pending"];
/// Runs per repository whose jobs are read; each costs a call.
const MAX_RUNS: usize = 500;

/// One credential at one GitHub. Cheap to clone; the clones share budget, token and cache.
#[derive(Clone)]
pub struct Github {
    client: Arc<Client>,
    urgency: Urgency,
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Github")
    }
}

impl Github {
    /// Reads the credential's file; calls nothing. Must run within a tokio runtime.
    pub fn new(config: &GithubConfig, metrics: GithubMetrics) -> Result<Github, GithubError> {
        let client = Arc::new(Client::new(config, metrics)?);
        Ok(Github { client, urgency: Urgency::Routine })
    }

    /// The same, for the calls of a failover: they may use the last part of the rate limit.
    /// Label calls always may.
    pub fn urgent(&self) -> Github {
        Github { client: Arc::clone(&self.client), urgency: Urgency::Urgent }
    }

    /// All runners registered in the scope, by id.
    pub async fn runners(&self, scope: &Scope) -> Result<Vec<Runner>, GithubError> {
        let mut found = BTreeMap::new();
        // A runner that comes or goes meanwhile shifts the pages: then the count does not fit, and
        // the list is read once more.
        for _ in 0..2 {
            let path = format!("{}/actions/runners?per_page=100", scope.path());
            let ask = Ask::get("{scope}/actions/runners", path);
            let pages: Vec<RunnerPage> = self.client.pages(ask, self.urgency).await?;
            let total = pages.last().map_or(0, |page| page.total_count);
            let runners = pages.into_iter().flat_map(|page| page.runners);
            found = runners.map(|runner| (runner.id, runner)).collect();
            if found.len() as u64 == total {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    /// The labels that the runner has now.
    pub async fn runner_labels(
        &self,
        scope: &Scope,
        runner: u64,
    ) -> Result<Vec<RunnerLabel>, GithubError> {
        let path = format!("{}/actions/runners/{runner}/labels", scope.path());
        let ask = Ask::get("{scope}/actions/runners/{runner_id}/labels", path);
        let (list, _): (LabelList, _) = self.client.read(&ask, Urgency::Urgent).await?;
        Ok(list.labels)
    }

    /// Adds one label and leaves the others; the answer is all of them. Having it already is no
    /// error.
    pub async fn add_label(
        &self,
        scope: &Scope,
        runner: u64,
        label: &str,
    ) -> Result<Vec<RunnerLabel>, GithubError> {
        let ask = Ask {
            method: Method::POST,
            path: format!("{}/actions/runners/{runner}/labels", scope.path()),
            endpoint: "{scope}/actions/runners/{runner_id}/labels",
            body: Some(json!({ "labels": [label] })),
        };
        let (reply, token) = self.client.write(&ask).await?;
        let list: LabelList = parse_json(&ask, &reply, &token.secret)?;
        Ok(list.labels)
    }

    /// Removes one label and leaves the others; not having it is no error, but a runner that is
    /// gone is `NotFound`.
    pub async fn remove_label(
        &self,
        scope: &Scope,
        runner: u64,
        label: &str,
    ) -> Result<(), GithubError> {
        let ask = Ask {
            method: Method::DELETE,
            path: format!("{}/actions/runners/{runner}/labels/{}", scope.path(), encode(label)),
            endpoint: "{scope}/actions/runners/{runner_id}/labels/{name}",
            body: None,
        };
        match self.client.write(&ask).await {
            Ok(_) => Ok(()),
            // Either the label or the runner is gone; reading the labels tells.
            Err(GithubError::NotFound { call }) => {
                let labels = self.runner_labels(scope, runner).await?;
                match labels.iter().any(|held| held.name.eq_ignore_ascii_case(label)) {
                    true => Err(GithubError::NotFound { call }),
                    false => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The jobs of all runs that are not done, finished ones of these runs included.
    ///
    /// `JobsUnknown` for an organization whose scope names no repositories.
    pub async fn jobs(&self, scope: &Scope) -> Result<Vec<Job>, GithubError> {
        if let Scope::Organization { name, repositories } = scope
            && repositories.is_empty()
        {
            return Err(GithubError::JobsUnknown { organization: name.clone() });
        }
        let mut jobs = BTreeMap::new();
        for repository in scope.repositories() {
            for run in self.live_runs(repository).await? {
                for job in self.run_jobs(repository, run).await? {
                    jobs.insert(job.id, job);
                }
            }
        }
        Ok(jobs.into_values().collect())
    }

    /// Ids of the runs that are not done, those that have begun first, each once.
    async fn live_runs(&self, repository: &Repository) -> Result<Vec<u64>, GithubError> {
        let mut runs = Vec::new();
        for status in LIVE {
            let path = format!("{}/actions/runs?status={status}&per_page=100", repository.path());
            let ask = Ask::get("{repository}/actions/runs", path);
            let pages: Vec<RunPage> = self.client.pages(ask, self.urgency).await?;
            let found = pages.into_iter().flat_map(|page| page.workflow_runs).map(|run| run.id);
            for run in found {
                if !runs.contains(&run) {
                    runs.push(run);
                }
            }
        }
        if runs.len() > MAX_RUNS {
            let (runs, read) = (runs.len(), MAX_RUNS);
            warn!(%repository, runs, read, "more live runs than are read");
        }
        runs.truncate(MAX_RUNS);
        Ok(runs)
    }

    async fn run_jobs(&self, repository: &Repository, run: u64) -> Result<Vec<Job>, GithubError> {
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
}

/// A label as one segment of a path; nothing in it can leave the segment.
fn encode(label: &str) -> String {
    let mut text = String::new();
    for byte in label.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => text.push(byte.into()),
            b'.' if label.len() > 2 => text.push('.'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn labels_stay_in_their_segment() {
        for (label, segment) in [
            ("ci-active", "ci-active"),
            ("v1.2", "v1.2"),
            ("a/../b", "a%2F..%2Fb"),
            ("..", "%2E%2E"),
            ("a b?c#d%", "a%20b%3Fc%23d%25"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(encode(label), segment);
        }
    }
}
