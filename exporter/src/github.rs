//! GitHub's REST API as Pitcrew uses it: runners, their labels, jobs, and issues.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;

use answer::parse_json;
use client::Client;
use config::GithubConfig;
use error::GithubError;
use metrics::GithubMetrics;
use model::{LabelList, Runner, RunnerLabel, RunnerPage};
use rate_limit::Urgency;
use scope::Scope;
use transport::Ask;

mod answer;
pub mod app_auth;
pub mod billing;
mod cache;
mod client;
pub mod config;
mod credential;
pub mod error;
pub mod hooks;
pub mod issues;
pub mod metrics;
pub mod model;
mod pages;
pub mod rate_limit;
pub mod runs;
pub mod scope;
pub(crate) mod time;
mod transport;

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

    /// The same, for what only metrics wait for: it leaves a fifth of the rate limit alone.
    pub fn background(&self) -> Github {
        Github { client: Arc::clone(&self.client), urgency: Urgency::Background }
    }

    /// Whether it is a GitHub App's credential.
    pub fn is_app(&self) -> bool {
        self.client.is_app()
    }

    /// Calls that GitHub counted so far, of all clones.
    pub fn spent(&self) -> u64 {
        self.client.spent()
    }

    /// Calls a second that spend the rest of the window evenly; `None` while GitHub names no limit.
    pub fn pace(&self) -> Option<f64> {
        self.client.pace(self.urgency)
    }

    /// How long GitHub's limits forbid the next call.
    pub fn must_wait(&self) -> Duration {
        self.client.wait(self.urgency)
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
            as_app: false,
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
            as_app: false,
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
