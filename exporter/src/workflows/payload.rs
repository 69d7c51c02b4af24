//! A webhook's body to events: JSON or a form, of the kinds of event that metrics are made of.
//!
//! What a field leaves out, is null or zero is `None` in the event; what has another type is an
//! error that names the field.

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::event::{Deployment, Event, Job, PullRequest, Run, Source, Status, What};
use crate::github::time;

/// The kinds of event, by their name in `X-GitHub-Event`, that are read; others are taken and
/// change nothing.
pub const KINDS: [&str; 5] =
    ["workflow_job", "workflow_run", "pull_request", "deployment_status", "ping"];

/// Longer texts are cut: GitHub's own limits for names and labels lie well below.
const MAX_TEXT: usize = 512;
/// Further labels of a job are left out.
const MAX_LABELS: usize = 100;
/// Longest piece of a message that comes from the body.
const MAX_MESSAGE: usize = 300;

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    /// `payload=` and the JSON, percent-encoded.
    Form,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("expected a form with a field payload, found none")]
    NoPayload,
    /// No JSON, or not the whole of it.
    #[error("expected JSON: {message}")]
    Syntax { message: String },
    /// JSON that is no such event.
    #[error("{field}: {message}")]
    Field { field: String, message: String },
}

impl Encoding {
    /// By the value of `Content-Type`; `None` for any that GitHub does not send.
    pub fn of(content_type: &str) -> Option<Encoding> {
        let kind = content_type.split(';').next().unwrap_or("").trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => Some(Encoding::Json),
            "application/x-www-form-urlencoded" => Some(Encoding::Form),
            _ => None,
        }
    }
}

/// What the body of an event of this `kind` tells; `now` is when it came, in seconds since the
/// Unix epoch. Nothing for `ping` and for kinds that are not read.
///
/// # Errors
/// When it is not what GitHub sends for this kind; a kind that is not read is not looked into.
pub fn parse(
    kind: &str,
    encoding: Encoding,
    body: &[u8],
    now: f64,
) -> Result<Vec<Event>, PayloadError> {
    if !KINDS.contains(&kind) {
        return Ok(Vec::new());
    }
    let form;
    let json = match encoding {
        Encoding::Json => body,
        Encoding::Form => {
            let mut fields = form_urlencoded::parse(body);
            let found = fields.find(|(name, _)| name == "payload");
            form = found.ok_or(PayloadError::NoPayload)?.1;
            form.as_bytes()
        }
    };
    let what = match kind {
        "workflow_job" => read::<JobPayload>(json)?.into_event(),
        "workflow_run" => read::<RunPayload>(json)?.into_event(),
        "pull_request" => read::<PullRequestPayload>(json)?.into_event(),
        "deployment_status" => read::<DeploymentPayload>(json)?.into_event(),
        _ => {
            read::<serde_json::Map<String, Value>>(json)?;
            return Ok(Vec::new());
        }
    };
    Ok(vec![Event { source: Source::Webhook, received: now, what }])
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, PayloadError> {
    let mut from = serde_json::Deserializer::from_slice(json);
    let read = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "payload".to_owned() } else { path };
        let error = error.into_inner();
        let message = error.to_string();
        match error.classify() {
            serde_json::error::Category::Data => {
                PayloadError::Field { field: shortened(&field), message: shortened(&message) }
            }
            _ => PayloadError::Syntax { message: shortened(&message) },
        }
    })?;
    let end = |error: serde_json::Error| PayloadError::Syntax { message: error.to_string() };
    from.end().map_err(end)?;
    Ok(read)
}

fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_MESSAGE).map(plain).collect()
}

#[derive(Deserialize)]
struct Repository {
    full_name: Text,
    #[serde(default)]
    default_branch: Option<Text>,
}

#[derive(Deserialize)]
struct JobPayload {
    workflow_job: JobFields,
    /// Beside a job with an environment.
    #[serde(default)]
    deployment: Option<Gate>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Gate {
    #[serde(default, deserialize_with = "moment")]
    updated_at: Option<f64>,
}

#[derive(Deserialize)]
struct JobFields {
    id: u64,
    run_id: u64,
    #[serde(default)]
    run_attempt: Option<u32>,
    #[serde(default)]
    workflow_name: Option<Text>,
    name: Text,
    #[serde(default)]
    head_branch: Option<Text>,
    #[serde(default)]
    labels: Vec<Text>,
    status: Status,
    #[serde(default)]
    conclusion: Option<Text>,
    #[serde(default, deserialize_with = "moment")]
    created_at: Option<f64>,
    #[serde(default, deserialize_with = "moment")]
    started_at: Option<f64>,
    #[serde(default, deserialize_with = "moment")]
    completed_at: Option<f64>,
    #[serde(default)]
    runner_name: Option<Text>,
    #[serde(default)]
    runner_group_name: Option<Text>,
}

impl JobPayload {
    fn into_event(self) -> What {
        let job = self.workflow_job;
        let labels = job.labels.into_iter().take(MAX_LABELS).map(|label| label.0);
        What::Job(Job {
            id: job.id,
            run_id: job.run_id,
            run_attempt: attempt(job.run_attempt),
            repository: self.repository.full_name.0,
            workflow: job.workflow_name.unwrap_or_default().0,
            name: job.name.0,
            branch: given(job.head_branch),
            labels: labels.collect(),
            status: job.status,
            conclusion: given(job.conclusion),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
            runner: given(job.runner_name),
            runner_group: given(job.runner_group_name),
            gate_changed_at: self.deployment.and_then(|gate| gate.updated_at),
        })
    }
}

#[derive(Deserialize)]
struct RunPayload {
    workflow_run: RunFields,
    #[serde(default)]
    workflow: Option<Workflow>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Workflow {
    name: Text,
}

#[derive(Deserialize)]
struct RunFields {
    id: u64,
    #[serde(default)]
    run_attempt: Option<u32>,
    #[serde(default)]
    name: Option<Text>,
    #[serde(default)]
    event: Option<Text>,
    #[serde(default)]
    head_branch: Option<Text>,
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    conclusion: Option<Text>,
    #[serde(default, deserialize_with = "moment")]
    created_at: Option<f64>,
    #[serde(default, deserialize_with = "moment")]
    run_started_at: Option<f64>,
    #[serde(default, deserialize_with = "moment")]
    updated_at: Option<f64>,
}

impl RunPayload {
    fn into_event(self) -> What {
        let run = self.workflow_run;
        // The run's own name can be set for each run; the workflow's is what they share.
        let workflow = given(self.workflow.map(|workflow| workflow.name));
        What::Run(Run {
            id: run.id,
            attempt: attempt(run.run_attempt),
            repository: self.repository.full_name.0,
            workflow: workflow.or(given(run.name)).unwrap_or_default(),
            event: run.event.unwrap_or_default().0,
            branch: given(run.head_branch),
            default_branch: given(self.repository.default_branch),
            status: run.status.unwrap_or_default(),
            conclusion: given(run.conclusion),
            created_at: run.created_at,
            started_at: run.run_started_at,
            updated_at: run.updated_at,
        })
    }
}

#[derive(Deserialize)]
struct PullRequestPayload {
    action: Text,
    pull_request: PullRequestFields,
    repository: Repository,
}

#[derive(Deserialize)]
struct PullRequestFields {
    number: u64,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    changed_files: Option<u64>,
    /// Null when the account is gone.
    #[serde(default)]
    user: Option<User>,
    #[serde(default, deserialize_with = "moment")]
    created_at: Option<f64>,
    #[serde(default, deserialize_with = "moment")]
    closed_at: Option<f64>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default, rename = "type")]
    kind: Option<Text>,
}

impl PullRequestPayload {
    fn into_event(self) -> What {
        let pull_request = self.pull_request;
        let kind = pull_request.user.and_then(|user| user.kind);
        What::PullRequest(PullRequest {
            repository: self.repository.full_name.0,
            number: pull_request.number,
            action: self.action.0,
            merged: pull_request.merged.unwrap_or(false),
            changed_files: pull_request.changed_files,
            bot: kind.is_some_and(|kind| kind.0 == "Bot"),
            created_at: pull_request.created_at,
            closed_at: pull_request.closed_at,
        })
    }
}

#[derive(Deserialize)]
struct DeploymentPayload {
    deployment_status: DeploymentFields,
    #[serde(default)]
    deployment: Option<Environment>,
    repository: Repository,
}

#[derive(Deserialize)]
struct DeploymentFields {
    id: u64,
    state: Text,
    #[serde(default)]
    environment: Option<Text>,
}

#[derive(Deserialize)]
struct Environment {
    #[serde(default)]
    environment: Option<Text>,
}

impl DeploymentPayload {
    fn into_event(self) -> What {
        let status = self.deployment_status;
        let of_all = self.deployment.and_then(|deployment| deployment.environment);
        What::Deployment(Deployment {
            id: status.id,
            repository: self.repository.full_name.0,
            environment: given(status.environment).or(given(of_all)).unwrap_or_default(),
            state: status.state.0,
        })
    }
}

/// A text of at most `MAX_TEXT` bytes.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        let mut text = String::deserialize(from)?;
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        Ok(Text(text))
    }
}

/// Left out, null and empty mean the same.
fn given(text: Option<Text>) -> Option<String> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}

/// Old servers do not number them.
fn attempt(number: Option<u32>) -> u32 {
    number.unwrap_or(1).max(1)
}

/// An RFC 3339 time; `None` where it is null, empty, or the zero of some clock.
fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || de::Error::invalid_value(de::Unexpected::Str(&text), &"an RFC 3339 time");
    time::parse(&text).ok_or_else(wrong).map(|seconds| Some(seconds).filter(|at| *at > 0.0))
}

#[cfg(test)]
mod tests;
