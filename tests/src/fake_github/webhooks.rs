//! What webhooks tell: each change as it was when it happened, in GitHub's words.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::json::{self, RunState};
use super::sim::{Job, Run, Sim, Status};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Change {
    Job {
        action: &'static str,
        job: Box<Job>,
        run: Box<Run>,
    },
    Run {
        action: &'static str,
        run: Box<Run>,
        state: RunState,
    },
    PullRequest(PullRequest),
    Deployment(Deployment),
    /// To the hook of this id alone.
    Ping(u64),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    pub repository: String,
    pub number: u64,
    /// `opened`, `closed`, `reopened` and so on.
    pub action: String,
    #[serde(default)]
    pub merged: bool,
    #[serde(default)]
    pub changed_files: u64,
    #[serde(default)]
    pub bot: bool,
    pub created: f64,
    #[serde(default)]
    pub closed: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    pub id: u64,
    pub repository: String,
    pub environment: String,
    pub state: String,
    pub time: f64,
}

/// One event, before it is sent to anybody.
#[derive(Debug, Clone)]
pub struct Payload {
    pub event: &'static str,
    pub action: Option<String>,
    /// Empty for what concerns none.
    pub repository: String,
    pub body: Value,
}

impl Change {
    pub(super) fn job(action: &'static str, job: &Job, run: &Run) -> Change {
        Change::Job { action, job: Box::new(job.clone()), run: Box::new(run.clone()) }
    }

    pub(super) fn run(action: &'static str, run: &Run, state: RunState) -> Change {
        Change::Run { action, run: Box::new(run.clone()), state }
    }

    pub fn payload(&self, sim: &Sim, base: &str) -> Payload {
        let (event, action, repository, mut body) = match self {
            Change::Job { action, job, run } => {
                let mut body = json!({ "workflow_job": json::job(job, run, base) });
                // Webhooks have one word for whatever holds a job back.
                if job.status == Status::Pending {
                    body["workflow_job"]["status"] = json!(Status::Waiting.word());
                }
                if let Some(changed) = job.gate_changed {
                    body["deployment"] = gate(job, run, changed, base);
                }
                ("workflow_job", Some(*action), &run.repository, body)
            }
            Change::Run { action, run, state } => {
                let body = json!({
                    "workflow_run": json::run(run, *state, base),
                    "workflow": workflow(run, base),
                });
                ("workflow_run", Some(*action), &run.repository, body)
            }
            Change::PullRequest(pull) => {
                let body =
                    json!({ "number": pull.number, "pull_request": pull_request(pull, base) });
                ("pull_request", Some(pull.action.as_str()), &pull.repository, body)
            }
            Change::Deployment(deployment) => {
                let body = json!({
                    "deployment": deployed(deployment, base),
                    "deployment_status": deployment_status(deployment, base),
                });
                ("deployment_status", Some("created"), &deployment.repository, body)
            }
            Change::Ping(id) => {
                let hook = sim.settings.webhooks.iter().find(|hook| hook.id == *id);
                let body = json!({
                    "zen": "Approachable is better than simple.",
                    "hook_id": id,
                    "hook": hook.map(|hook| super::hooks::hook(hook, base)),
                });
                return Payload { event: "ping", action: None, repository: String::new(), body };
            }
        };
        let owner = repository.split_once('/').map_or("", |(owner, _)| owner);
        if let Some(action) = action {
            body["action"] = json!(action);
        }
        body["repository"] = json::whole_repository(repository, base);
        body["organization"] = json::organization(owner, base);
        body["sender"] = json::user(owner, base);
        let (action, repository) = (action.map(str::to_owned), repository.clone());
        Payload { event, action, repository, body }
    }
}

impl Sim {
    pub fn pull_request(&mut self, pull: PullRequest) {
        self.changes.push_back(Change::PullRequest(pull));
    }

    pub fn deploy(&mut self, deployment: Deployment) {
        self.changes.push_back(Change::Deployment(deployment));
    }

    /// What happened since the last call, oldest first.
    pub fn take_payloads(&mut self, base: &str) -> Vec<Payload> {
        let changes = std::mem::take(&mut self.changes);
        changes.iter().map(|change| change.payload(self, base)).collect()
    }
}

fn workflow(run: &Run, base: &str) -> Value {
    let id = json::number(&run.workflow);
    let url = format!("{base}/repos/{}/actions/workflows/{id}", run.repository);
    let html = format!("{}/{}/actions/workflows", json::html(base), run.repository);
    json!({
        "id": id,
        "node_id": format!("W_{id}"),
        "name": run.workflow,
        "path": ".github/workflows/ci.yml",
        "state": "active",
        "created_at": json::time(0.0),
        "updated_at": json::time(0.0),
        "url": url,
        "html_url": format!("{html}/ci.yml"),
        "badge_url": format!("{html}/badge.svg"),
    })
}

fn pull_request(pull: &PullRequest, base: &str) -> Value {
    let number = pull.number;
    let api = format!("{base}/repos/{}/pulls/{number}", pull.repository);
    let issue = format!("{base}/repos/{}/issues/{number}", pull.repository);
    let html = format!("{}/{}/pull/{number}", json::html(base), pull.repository);
    let mut author = json::user("someone", base);
    author["type"] = json!(if pull.bot { "Bot" } else { "User" });
    let whole = json::whole_repository(&pull.repository, base);
    let sha = format!("{number:040x}");
    let end = |name: &str| {
        json!({
            "label": format!("someone:{name}"),
            "ref": name,
            "sha": sha,
            "user": author,
            "repo": whole,
        })
    };
    let ended = |fits: bool| pull.closed.filter(|_| fits).map(json::time);
    let mut links: BTreeMap<&str, String> = BTreeMap::new();
    for (name, at) in [
        ("self", &api),
        ("html", &html),
        ("issue", &issue),
        ("comments", &issue),
        ("review_comments", &api),
        ("review_comment", &api),
        ("commits", &api),
        ("statuses", &api),
    ] {
        links.insert(name, at.clone());
    }
    let links: Value =
        links.into_iter().map(|(name, at)| (name.to_owned(), json!({ "href": at }))).collect();
    let mut shown = json!({
        "url": api,
        "id": number,
        "node_id": format!("PR_{number}"),
        "html_url": html,
        "diff_url": format!("{html}.diff"),
        "patch_url": format!("{html}.patch"),
        "issue_url": issue,
        "number": number,
        "state": if pull.closed.is_some() { "closed" } else { "open" },
        "title": "A change",
        "user": author,
        "created_at": json::time(pull.created),
        "updated_at": json::time(pull.closed.unwrap_or(pull.created)),
        "closed_at": ended(true),
        "merged_at": ended(pull.merged),
        "commits_url": format!("{api}/commits"),
        "review_comments_url": format!("{api}/comments"),
        "review_comment_url": format!("{api}/comments{{/number}}"),
        "comments_url": format!("{issue}/comments"),
        "statuses_url": format!("{base}/repos/{}/statuses/{sha}", pull.repository),
        "head": end("change"),
        "base": end("main"),
        "_links": links,
        "author_association": "MEMBER",
        "merged": pull.merged,
        "mergeable_state": "unknown",
        "merged_by": pull.merged.then(|| author.clone()),
        "changed_files": pull.changed_files,
    });
    for (fields, value) in [
        (&["body", "merge_commit_sha", "assignee", "milestone", "auto_merge"][..], Value::Null),
        (&["active_lock_reason", "mergeable", "rebaseable"], Value::Null),
        (&["assignees", "requested_reviewers", "requested_teams", "labels"], json!([])),
        (&["locked", "draft", "maintainer_can_modify"], json!(false)),
        (&["comments", "review_comments", "commits", "additions", "deletions"], json!(1)),
    ] {
        for field in fields {
            shown[*field] = value.clone();
        }
    }
    shown
}

fn deployed(deployment: &Deployment, base: &str) -> Value {
    let api = format!("{base}/repos/{}", deployment.repository);
    let url = format!("{api}/deployments/{}", deployment.id);
    json!({
        "url": url,
        "id": deployment.id,
        "node_id": format!("DE_{}", deployment.id),
        "sha": format!("{:040x}", deployment.id),
        "ref": "main",
        "task": "deploy",
        "payload": {},
        "original_environment": deployment.environment,
        "environment": deployment.environment,
        "description": null,
        "creator": json::user("someone", base),
        "created_at": json::time(deployment.time),
        "updated_at": json::time(deployment.time),
        "statuses_url": format!("{url}/statuses"),
        "repository_url": api,
    })
}

/// The deployment beside a job that wants an environment.
fn gate(job: &Job, run: &Run, changed: f64, base: &str) -> Value {
    let deployment = Deployment {
        id: job.id,
        repository: run.repository.clone(),
        environment: "production".to_owned(),
        state: String::new(),
        time: job.created,
    };
    let mut shown = deployed(&deployment, base);
    shown["updated_at"] = json!(json::time(changed));
    shown
}

fn deployment_status(deployment: &Deployment, base: &str) -> Value {
    let api = format!("{base}/repos/{}", deployment.repository);
    let url = format!("{api}/deployments/{}", deployment.id);
    json!({
        "url": format!("{url}/statuses/{}", deployment.id),
        "id": deployment.id,
        "node_id": format!("DES_{}", deployment.id),
        "state": deployment.state,
        "creator": json::user("someone", base),
        "description": "",
        "environment": deployment.environment,
        "target_url": "",
        "created_at": json::time(deployment.time),
        "updated_at": json::time(deployment.time),
        "deployment_url": url,
        "repository_url": api,
    })
}
