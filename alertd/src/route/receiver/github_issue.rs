//! `github_issue`: an issue for each group of alerts, closed when the group is over.

use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::place::Place;

#[derive(Debug, Clone)]
pub struct GithubIssue {
    /// `owner/name`.
    pub repository: String,
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GithubIssueConfig {
    repository: String,
    #[serde(default)]
    labels: Vec<String>,
}

impl GithubIssueConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<GithubIssue, Invalid> {
        let parts: Vec<_> = self.repository.split('/').collect();
        let plain = |part: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
        };
        if parts.len() != 2 || !parts.iter().all(plain) {
            return Err(place.bad("repository", "owner/name", self.repository));
        }
        Ok(GithubIssue { repository: self.repository, labels: self.labels })
    }
}
