//! GitHub issues: one per alert group, opened when it fires, commented on change, closed when it is
//! over, and opened again when it fires anew.
//!
//! The issue's number is remembered with the lane. What was written is found again by a hidden mark
//! at its start, so an answer that was lost leads to no second issue or comment.

mod text;

use std::time::Duration;

use async_trait::async_trait;
use pitcrew_exporter::clock as exporter_clock;
use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::error::GithubError;
use pitcrew_exporter::github::issues::Issue;
use pitcrew_exporter::github::scope::Repository;
use serde::{Deserialize, Serialize};

use super::wording::{self, clip};
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::model::causes::causes;
use crate::route::dedup::Reason;
use crate::route::receiver::Receiver;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let Some(config) = &receiver.additions.github_issue else { return Ok(Vec::new()) };
    let setup = |cause: String| NotifyError::Setup { what: "github_issue", cause };
    let github = settings.github.clone();
    Ok(vec![Box::new(GithubIssue {
        github: github.ok_or_else(|| setup("alertd.yaml has no `github` section".into()))?,
        repository: config.repository.parse().map_err(setup)?,
        labels: config.labels.clone(),
        external_url: settings.external_url.clone(),
    })])
}

/// By how much GitHub's clock may be behind.
const CLOCKS_DIFFER: Duration = Duration::from_secs(600);

struct GithubIssue {
    github: Github,
    repository: Repository,
    labels: Vec<String>,
    external_url: String,
}

/// What the lane remembers.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    issue: u64,
}

#[async_trait]
impl Notifier for GithubIssue {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let told = self.tell(delivery).await;
        let issue = told.map_err(|error| self.failed(&error))?;
        let memory = issue.map(|issue| {
            serde_json::to_string(&Memory { issue }).expect("a number always serializes")
        });
        Ok(Sent { memory })
    }
}

impl GithubIssue {
    /// The number of the group's issue, if it has one now.
    async fn tell(&self, delivery: &Delivery<'_>) -> Result<Option<u64>, GithubError> {
        let over = delivery.notification.is_resolved();
        let Some(issue) = self.find(delivery).await? else {
            return match over {
                true => Ok(None),
                false => self.open(delivery).await.map(Some),
            };
        };
        let mark = text::delivery_mark(delivery.id);
        // The text of one that this very delivery opened says it all.
        let said = text::marks(&issue.body).any(|line| line == mark)
            || delivery.notification.reason == Reason::Repeat
            || self.has_comment(&issue, delivery, &mark).await?;
        if !said {
            let body = text::comment(delivery, &self.external_url);
            self.github.comment(&self.repository, issue.number, &body).await?;
        }
        if issue.is_closed() != over {
            self.github.set_issue_open(&self.repository, issue.number, !over).await?;
        }
        Ok(Some(issue.number))
    }

    /// The group's issue: the one that is remembered, else an open one with its mark.
    async fn find(&self, delivery: &Delivery<'_>) -> Result<Option<Issue>, GithubError> {
        let memory = delivery.memory.and_then(|text| serde_json::from_str::<Memory>(text).ok());
        let mark = text::group_mark(delivery.notification);
        if let Some(Memory { issue }) = memory {
            match self.github.issue(&self.repository, issue).await {
                Ok(found) => return Ok(Some(found)),
                // Deleted, or moved to another repository: 404, or 410.
                Err(GithubError::NotFound { .. } | GithubError::Rejected { status: 410, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.github.find_open_issue(&self.repository, &self.labels, &mark).await
    }

    async fn open(&self, delivery: &Delivery<'_>) -> Result<u64, GithubError> {
        let title = text::title(&wording::title(delivery.notification));
        let body = text::body(delivery, &self.external_url);
        let opened = self.github.open_issue(&self.repository, &title, &body, &self.labels).await;
        opened.map(|issue| issue.number)
    }

    async fn has_comment(
        &self,
        issue: &Issue,
        delivery: &Delivery<'_>,
        mark: &str,
    ) -> Result<bool, GithubError> {
        // In whole seconds, and by GitHub's clock, which may be behind ours.
        let since = delivery.notification.at.minus(CLOCKS_DIFFER).rfc3339();
        let since = format!("{}Z", since.split('.').next().unwrap_or(""));
        self.github.has_comment(&self.repository, issue.number, mark, &since).await
    }

    fn failed(&self, error: &GithubError) -> NotifyError {
        let to = format!("GitHub ({})", self.repository);
        let answer = clip(&causes(error), 300);
        let busy =
            |retry_after| NotifyError::Busy { to: to.clone(), answer: answer.clone(), retry_after };
        match error {
            GithubError::RateLimited { retry_at, .. } => {
                let wait = (retry_at - exporter_clock::unix_seconds()).clamp(0.0, 86_400.0);
                busy(Some(Duration::from_secs_f64(wait)))
            }
            // A person may put it right meanwhile.
            GithubError::Unauthorized { .. }
            | GithubError::Forbidden { .. }
            | GithubError::Token(_)
            | GithubError::Key(_)
            | GithubError::Server { .. } => busy(None),
            GithubError::Unreachable { .. } | GithubError::Malformed { .. } => {
                NotifyError::NoAnswer { to, cause: answer }
            }
            _ => NotifyError::Refused { to, answer },
        }
    }
}
