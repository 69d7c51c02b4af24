//! What GitHub says about runners and jobs, as far as Pitcrew needs it.
//!
//! Unknown fields are ignored and optional ones may be missing, as they differ between GitHub's
//! versions; a field of another type is an error that names it.

use serde::{Deserialize, Deserializer};

use super::time;

/// A registered runner.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Runner {
    /// Changes when the runner registers anew; its name is what stays.
    pub id: u64,
    pub name: String,
    #[serde(default)]
    pub os: String,
    /// Lags: GitHub takes about a minute to see that a runner is gone.
    #[serde(deserialize_with = "runner_status")]
    pub status: RunnerStatus,
    /// Lags by up to a minute and can be false in the middle of a job.
    #[serde(default)]
    pub busy: bool,
    #[serde(default)]
    pub labels: Vec<RunnerLabel>,
    /// `None` when this GitHub does not say.
    #[serde(default)]
    pub ephemeral: Option<bool>,
    /// Of its agent, such as `2.330.0`; `None` before it first connected, and on older servers.
    #[serde(default, deserialize_with = "not_empty")]
    pub version: Option<String>,
    #[serde(default)]
    pub runner_group_id: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerStatus {
    Online,
    Offline,
    /// A word that this version does not know: proves neither life nor death.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunnerLabel {
    pub name: String,
    #[serde(rename = "type", default)]
    pub kind: LabelKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum LabelKind {
    /// Set by the runner itself, such as `self-hosted` and `Linux`; cannot be removed.
    #[serde(rename = "read-only")]
    ReadOnly,
    #[default]
    #[serde(rename = "custom", other)]
    Custom,
}

impl Runner {
    /// Whether it carries the label; GitHub ignores case.
    pub fn has_label(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label.name.eq_ignore_ascii_case(name))
    }
}

/// One job of a workflow run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Job {
    pub id: u64,
    pub run_id: u64,
    #[serde(default = "first_attempt")]
    pub run_attempt: u32,
    /// `owner/name`; GitHub's answer does not hold it, the client fills it in.
    #[serde(skip)]
    pub repository: String,
    pub name: String,
    #[serde(default)]
    pub workflow_name: Option<String>,
    #[serde(default, deserialize_with = "not_empty")]
    pub head_branch: Option<String>,
    pub status: JobStatus,
    /// `success`, `failure`, `cancelled` and so on; `None` until completed.
    #[serde(default)]
    pub conclusion: Option<String>,
    /// What `runs-on` asks for.
    #[serde(default)]
    pub labels: Vec<String>,
    /// `None` until a runner has taken it.
    #[serde(default, deserialize_with = "not_empty")]
    pub runner_name: Option<String>,
    #[serde(default, deserialize_with = "not_empty")]
    pub runner_group_name: Option<String>,
    /// Seconds since the Unix epoch, as are the next two; older servers leave it out.
    #[serde(default, deserialize_with = "time::optional")]
    pub created_at: Option<f64>,
    /// While queued: the time of its creation.
    #[serde(default, deserialize_with = "time::optional")]
    pub started_at: Option<f64>,
    #[serde(default, deserialize_with = "time::optional")]
    pub completed_at: Option<f64>,
    #[serde(default)]
    pub html_url: Option<String>,
}

/// One attempt of a workflow's run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Run {
    pub id: u64,
    #[serde(default = "first_attempt")]
    pub run_attempt: u32,
    /// `owner/name` as GitHub spells it.
    #[serde(default, deserialize_with = "full_name")]
    pub repository: String,
    /// The workflow's name.
    #[serde(default)]
    pub name: Option<String>,
    /// What set it off.
    #[serde(default)]
    pub event: String,
    #[serde(default, deserialize_with = "not_empty")]
    pub head_branch: Option<String>,
    #[serde(default)]
    pub status: Option<JobStatus>,
    #[serde(default)]
    pub conclusion: Option<String>,
    /// Seconds since the Unix epoch, as are the next two.
    #[serde(default, deserialize_with = "time::optional")]
    pub created_at: Option<f64>,
    /// Of this attempt.
    #[serde(default, deserialize_with = "time::optional")]
    pub run_started_at: Option<f64>,
    #[serde(default, deserialize_with = "time::optional")]
    pub updated_at: Option<f64>,
}

/// Where a job or a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    Queued,
    InProgress,
    Completed,
    /// Held back by an environment's rule, not by a lack of runners.
    Waiting,
    Requested,
    Pending,
    #[serde(other)]
    Other,
}

/// One page of each list, and the one answer to a label call.
#[derive(Debug, Deserialize)]
pub(super) struct RunnerPage {
    pub(super) total_count: u64,
    pub(super) runners: Vec<Runner>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RunPage {
    pub(super) workflow_runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
pub(super) struct JobPage {
    pub(super) jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LabelList {
    pub(super) labels: Vec<RunnerLabel>,
}

/// The answer to a request for an installation token.
#[derive(Deserialize)]
pub(super) struct InstallationToken {
    pub(super) token: crate::secret::Secret,
    #[serde(deserialize_with = "time::required")]
    pub(super) expires_at: f64,
}

fn full_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    struct Named {
        full_name: String,
    }
    Ok(Option::<Named>::deserialize(from)?.map(|named| named.full_name).unwrap_or_default())
}

fn first_attempt() -> u32 {
    1
}

fn runner_status<'de, D: Deserializer<'de>>(from: D) -> Result<RunnerStatus, D::Error> {
    let word = String::deserialize(from)?;
    Ok(match word.to_ascii_lowercase().as_str() {
        "online" => RunnerStatus::Online,
        "offline" => RunnerStatus::Offline,
        _ => RunnerStatus::Other,
    })
}

fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_strangers_are_tolerated() {
        let text = r#"{"total_count": 2, "runners": [
            {"id": 1, "name": "a", "status": "Online", "labels": [{"name": "x"}], "new": {}},
            {"id": 2, "name": "b", "os": "linux", "status": "asleep", "busy": true,
             "ephemeral": true, "labels": [{"id": 5, "name": "Linux", "type": "read-only"},
             {"name": "y", "type": "novel"}]}]}"#;
        let page: RunnerPage = serde_json::from_str(text).unwrap();
        let [a, b] = &page.runners[..] else { panic!("{page:?}") };
        assert_eq!((a.status, a.busy, a.ephemeral), (RunnerStatus::Online, false, None));
        assert!(a.has_label("X") && !a.has_label("y"));
        assert_eq!((b.status, b.busy, b.ephemeral), (RunnerStatus::Other, true, Some(true)));
        let kinds: Vec<_> = b.labels.iter().map(|label| label.kind).collect();
        assert_eq!(kinds, [LabelKind::ReadOnly, LabelKind::Custom]);
    }

    #[test]
    fn job_that_nobody_took() {
        let text = r#"{"id": 1, "run_id": 2, "name": "build", "status": "queued", "labels": [],
            "conclusion": null, "runner_name": "", "started_at": "1970-01-01T00:01:00Z"}"#;
        let job: Job = serde_json::from_str(text).unwrap();
        assert_eq!((job.status, job.run_attempt, job.runner_name), (JobStatus::Queued, 1, None));
        assert_eq!((job.created_at, job.started_at), (None, Some(60.0)));
        let odd = text.replace("queued", "dreaming");
        assert_eq!(serde_json::from_str::<Job>(&odd).unwrap().status, JobStatus::Other);
    }
}
