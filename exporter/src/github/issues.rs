//! Issues and their comments, as far as a notifier needs them.

use http::Method;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::answer::parse_json;
use super::error::GithubError;
use super::scope::Repository;
use super::transport::Ask;
use super::{Github, encode};

/// Pages of open issues that are searched for one; a hundred issues each, the newest first.
const MAX_PAGES: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Issue {
    pub number: u64,
    /// Markdown; empty when there is none.
    #[serde(default, deserialize_with = "nullable")]
    pub body: String,
    #[serde(default, deserialize_with = "closed")]
    state: Closed,
    /// GitHub lists pull requests among issues.
    #[serde(default)]
    pull_request: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Closed(bool);

#[derive(Debug, Clone, Deserialize)]
struct Comment {
    #[serde(default, deserialize_with = "nullable")]
    body: String,
}

impl Issue {
    pub fn is_closed(&self) -> bool {
        self.state.0
    }
}

impl Github {
    /// The newest open issue whose text begins with `marker`, among the 500 newest that are open and
    /// have all these labels.
    pub async fn find_open_issue(
        &self,
        repository: &Repository,
        labels: &[String],
        marker: &str,
    ) -> Result<Option<Issue>, GithubError> {
        let path = repository.path();
        let mut path = format!("{path}/issues?state=open&sort=created&direction=desc&per_page=100");
        if !labels.is_empty() {
            let labels: Vec<_> = labels.iter().map(|label| encode(label)).collect();
            path.push_str(&format!("&labels={}", labels.join(",")));
        }
        let mut ask = Ask::get("{repository}/issues", path);
        for _ in 0..MAX_PAGES {
            let (issues, next): (Vec<Issue>, _) = self.client.read(&ask, self.urgency).await?;
            let mine =
                |issue: &Issue| issue.pull_request.is_none() && issue.body.starts_with(marker);
            if let Some(found) = issues.into_iter().find(mine) {
                return Ok(Some(found));
            }
            let Some(next) = next else { break };
            ask.path = next;
        }
        Ok(None)
    }

    /// One issue as it is now; `NotFound` also for one that was deleted.
    pub async fn issue(&self, repository: &Repository, number: u64) -> Result<Issue, GithubError> {
        let path = format!("{}/issues/{number}", repository.path());
        let ask = Ask::get("{repository}/issues/{number}", path);
        self.client.read(&ask, self.urgency).await.map(|(issue, _)| issue)
    }

    /// Opens an issue. Labels that the repository lacks are made by GitHub.
    pub async fn open_issue(
        &self,
        repository: &Repository,
        title: &str,
        body: &str,
        labels: &[String],
    ) -> Result<Issue, GithubError> {
        let ask = Ask {
            method: Method::POST,
            path: format!("{}/issues", repository.path()),
            endpoint: "{repository}/issues",
            body: Some(json!({ "title": title, "body": body, "labels": labels })),
            as_app: false,
        };
        let (reply, token) = self.client.write(&ask).await?;
        parse_json(&ask, &reply, &token.secret)
    }

    /// Closes an issue as done, or opens it again; being so already is no error.
    pub async fn set_issue_open(
        &self,
        repository: &Repository,
        number: u64,
        open: bool,
    ) -> Result<(), GithubError> {
        let body = match open {
            true => json!({ "state": "open", "state_reason": "reopened" }),
            false => json!({ "state": "closed", "state_reason": "completed" }),
        };
        let ask = Ask {
            method: Method::PATCH,
            path: format!("{}/issues/{number}", repository.path()),
            endpoint: "{repository}/issues/{number}",
            body: Some(body),
            as_app: false,
        };
        self.client.write(&ask).await.map(drop)
    }

    /// Whether a comment since `since` (RFC 3339) begins with `marker`.
    pub async fn has_comment(
        &self,
        repository: &Repository,
        number: u64,
        marker: &str,
        since: &str,
    ) -> Result<bool, GithubError> {
        let path = repository.path();
        let path = format!("{path}/issues/{number}/comments?since={since}&per_page=100");
        let mut ask = Ask::get("{repository}/issues/{number}/comments", path);
        for _ in 0..MAX_PAGES {
            let (comments, next): (Vec<Comment>, _) = self.client.read(&ask, self.urgency).await?;
            if comments.iter().any(|comment| comment.body.starts_with(marker)) {
                return Ok(true);
            }
            let Some(next) = next else { break };
            ask.path = next;
        }
        Ok(false)
    }

    pub async fn comment(
        &self,
        repository: &Repository,
        number: u64,
        body: &str,
    ) -> Result<(), GithubError> {
        let ask = Ask {
            method: Method::POST,
            path: format!("{}/issues/{number}/comments", repository.path()),
            endpoint: "{repository}/issues/{number}/comments",
            body: Some(json!({ "body": body })),
            as_app: false,
        };
        self.client.write(&ask).await.map(drop)
    }
}

fn nullable<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(from).map(Option::unwrap_or_default)
}

fn closed<'de, D: Deserializer<'de>>(from: D) -> Result<Closed, D::Error> {
    String::deserialize(from).map(|state| Closed(state == "closed"))
}
