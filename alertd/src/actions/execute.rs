//! One label call after the other, each with an intent before and an outcome after.

use std::time::Duration;

use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::error::GithubError;
use pitcrew_exporter::github::scope::Scope;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::metrics::ActionMetrics;
use super::sight::{Listed, has_label};
use super::wanted::Change;
use crate::clock;
use crate::db::journal::Intent;
use crate::db::{Db, DbError};
use crate::model::causes::causes;

/// Longest wait for one call, the client's own waiting for its budget included.
const CALL_TIME_OUT: Duration = Duration::from_secs(60);

/// Carries out changes of one pool's label.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) pool: String,
    pub(super) label: String,
    pub(super) scope: Scope,
    pub(super) github: Github,
    pub(super) db: Db,
    pub(super) metrics: ActionMetrics,
    pub(super) stop: CancellationToken,
}

/// Why a run of changes ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{}", causes(.0))]
    Github(GithubError),
    #[error("GitHub: no answer in time; whether the call took effect is not known")]
    TimeOut,
    #[error("{}", causes(.0))]
    Journal(DbError),
    #[error("the store cannot be read: {0}")]
    Store(String),
    #[error("stopping")]
    Stopping,
}

impl Trouble {
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Trouble::Github(GithubError::Unauthorized { .. }) => "unauthorized",
            Trouble::Github(GithubError::Forbidden { .. }) => "forbidden",
            Trouble::Github(GithubError::RateLimited { .. }) => "rate_limited",
            Trouble::Github(GithubError::NotFound { .. }) => "not_found",
            Trouble::Github(GithubError::Rejected { .. }) => "rejected",
            Trouble::Github(GithubError::Server { .. }) => "server",
            Trouble::Github(GithubError::Malformed { .. }) => "malformed",
            Trouble::Github(GithubError::Unreachable { .. }) | Trouble::TimeOut => "unreachable",
            Trouble::Github(_) => "other",
            Trouble::Journal(_) => "journal",
            Trouble::Store(_) => "store",
            Trouble::Stopping => "stopping",
        }
    }
}

/// How a run of changes went.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) done: usize,
    /// The last failure that concerned one runner alone.
    pub(super) failure: Option<Trouble>,
    /// What ended the run early.
    pub(super) trouble: Option<Trouble>,
}

impl Executor {
    /// Makes the changes in order; `intent` gives each its plan, cause, person and mode, and
    /// `may_go_on` is asked before each.
    pub(super) async fn apply(
        &self,
        changes: &[Change],
        intent: impl Fn(&Change) -> Intent,
        may_go_on: impl Fn() -> bool,
    ) -> Applied {
        let mut applied = Applied::default();
        for change in changes {
            if self.stop.is_cancelled() {
                applied.trouble = Some(Trouble::Stopping);
                return applied;
            }
            if !may_go_on() {
                return applied;
            }
            let (action, runner) = (action(change), &change.runner);
            let row = match self.db.journal_intent(&intent(change), clock::now()) {
                Ok(row) => row,
                Err(error) => {
                    applied.trouble = Some(Trouble::Journal(error));
                    return applied;
                }
            };
            let call = time::timeout(CALL_TIME_OUT, self.call(change));
            let result = match self.stop.run_until_cancelled(call).await {
                None => Err(Trouble::Stopping),
                Some(Err(_)) => Err(Trouble::TimeOut),
                Some(Ok(result)) => result.map_err(Trouble::Github),
            };
            let outcome = match &result {
                Ok(()) => "done",
                Err(error) if is_open(error) => "unknown",
                Err(_) => "failed",
            };
            self.metrics.changed(&self.pool, action, outcome);
            let text = result.as_ref().err().map(ToString::to_string);
            let written = match outcome {
                "unknown" => self.db.journal_unknown(row, text.as_deref().unwrap_or("")),
                _ => self.db.journal_outcome(row, outcome, text.as_deref(), clock::now()),
            };
            if let Err(error) = written {
                applied.trouble = Some(Trouble::Journal(error));
                return applied;
            }
            match result {
                Ok(()) => {
                    info!(pool = self.pool, action, runner, "label changed");
                    applied.done += 1;
                }
                Err(error) if concerns_one_runner(&error) => {
                    warn!(%error, pool = self.pool, action, runner, "label not changed");
                    applied.failure = Some(error);
                }
                Err(error) => {
                    applied.trouble = Some(error);
                    return applied;
                }
            }
        }
        applied
    }

    /// Gives every row that was left open an outcome, by what the world shows.
    pub(super) fn settle(&self, listed: &[Listed]) -> Result<(), DbError> {
        for row in self.db.journal_open(&self.pool)? {
            let runner = listed.iter().find(|one| one.name.eq_ignore_ascii_case(&row.target));
            let labelled = runner.map(|runner| has_label(&runner.labels, &self.label));
            let outcome = match (row.action.as_str(), labelled) {
                (ADD, Some(true)) | (REMOVE, Some(false)) => "done, read back later",
                (ADD, Some(false)) | (REMOVE, Some(true)) => "not done, read back later",
                (ADD | REMOVE, None) => "runner gone, read back later",
                _ => "ended, not observed",
            };
            self.db.journal_outcome(row.id, outcome, None, clock::now())?;
            info!(pool = self.pool, id = row.id, outcome, "open journal row settled");
        }
        Ok(())
    }

    async fn call(&self, change: &Change) -> Result<(), GithubError> {
        match change.add {
            true => self.github.add_label(&self.scope, change.id, &self.label).await.map(|_| ()),
            false => self.github.remove_label(&self.scope, change.id, &self.label).await,
        }
    }
}

const ADD: &str = "add_label";
const REMOVE: &str = "remove_label";

pub(super) fn action(change: &Change) -> &'static str {
    if change.add { ADD } else { REMOVE }
}

/// Whether the call may have taken effect for all we know.
fn is_open(error: &Trouble) -> bool {
    match error {
        Trouble::TimeOut | Trouble::Stopping => true,
        Trouble::Github(error) => matches!(
            error,
            GithubError::Server { .. }
                | GithubError::Malformed { .. }
                | GithubError::Unreachable { .. }
                | GithubError::Moved { .. }
        ),
        Trouble::Journal(_) | Trouble::Store(_) => false,
    }
}

/// Such an error says nothing about the next runner: it has registered anew, or GitHub refuses
/// this one.
fn concerns_one_runner(error: &Trouble) -> bool {
    let one = |error: &GithubError| {
        matches!(error, GithubError::NotFound { .. } | GithubError::Rejected { .. })
    };
    matches!(error, Trouble::Github(error) if one(error))
}
