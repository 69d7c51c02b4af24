//! One thing that GitHub said, in the same words whether a webhook or a poll told it.
//!
//! Events are what is stored: a field is only ever added, with `#[serde(default)]`.

use serde::{Deserialize, Serialize};

/// What was said, when we heard it and from whom. All times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub source: Source,
    /// By our own clock.
    pub received: f64,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Webhook,
    Poll,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Job(Job),
    Run(Run),
    PullRequest(PullRequest),
    Deployment(Deployment),
}

/// A job as it was then. Times that GitHub gave as zero, empty or not at all are `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub run_id: u64,
    pub run_attempt: u32,
    /// `owner/name`.
    pub repository: String,
    pub workflow: String,
    pub name: String,
    pub branch: Option<String>,
    /// What `runs-on` asks for, as GitHub spells it.
    pub labels: Vec<String>,
    pub status: Status,
    /// `success`, `failure`, `cancelled` and so on; `None` until completed.
    pub conclusion: Option<String>,
    pub created_at: Option<f64>,
    /// While queued it repeats `created_at`.
    pub started_at: Option<f64>,
    pub completed_at: Option<f64>,
    /// `None` until a runner has taken it.
    pub runner: Option<String>,
    pub runner_group: Option<String>,
    /// When its gate last changed: `deployment.updated_at` beside the job of a webhook. `None`
    /// for a job without an environment; the only time that tells when a gate opened.
    #[serde(default)]
    pub gate_changed_at: Option<f64>,
}

/// One attempt of a workflow run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Run {
    pub id: u64,
    pub attempt: u32,
    /// `owner/name`.
    pub repository: String,
    pub workflow: String,
    /// What set it off: `push`, `pull_request`, `schedule` and so on.
    pub event: String,
    pub branch: Option<String>,
    /// Of the repository; `None` where the payload does not say.
    #[serde(default)]
    pub default_branch: Option<String>,
    pub status: Status,
    pub conclusion: Option<String>,
    pub created_at: Option<f64>,
    /// Of this attempt.
    pub started_at: Option<f64>,
    pub updated_at: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PullRequest {
    /// `owner/name`.
    pub repository: String,
    pub number: u64,
    /// `opened`, `closed`, `reopened` and so on.
    pub action: String,
    pub merged: bool,
    /// `None` where the payload does not say.
    pub changed_files: Option<u64>,
    /// Whether a bot opened it.
    pub bot: bool,
    pub created_at: Option<f64>,
    pub closed_at: Option<f64>,
}

/// A deployment's new status.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Deployment {
    /// Of the status, not of the deployment.
    pub id: u64,
    /// `owner/name`.
    pub repository: String,
    pub environment: String,
    /// `success`, `failure`, `in_progress` and so on.
    pub state: String,
}

/// Where a job or run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Requested,
    /// Behind other runs of its concurrency group.
    Pending,
    /// Held back by an environment's gate.
    Waiting,
    Queued,
    InProgress,
    Completed,
    /// A word that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_json_as_it_was() {
        let job = Job { id: 1, created_at: Some(1.25), status: Status::Queued, ..Job::default() };
        let event = Event { source: Source::Poll, received: 1e9 + 0.1, what: What::Job(job) };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
