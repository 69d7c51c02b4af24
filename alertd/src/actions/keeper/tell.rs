//! How the keeper says what it found: alerts to persons, the view, metrics, and its own failures.

use std::time::Duration;

use pitcrew_exporter::github::error::GithubError;
use tokio::sync::mpsc;
use tracing::warn;

use super::Keeper;
use crate::actions::execute::Trouble;
use crate::actions::notices::{self, Background};
use crate::actions::sight::Sight;
use crate::actions::view::PoolView;
use crate::clock;
use crate::model::sample::Timestamp;

/// Waits after failures: doubled from the first to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);
/// Jobs that a message names at most.
const NAMED: usize = 5;

impl Keeper {
    /// Notes how the look went, and when GitHub may be asked again.
    pub(super) fn account(&mut self, result: Result<(), Trouble>, fresh: bool) {
        let now = clock::now();
        let known = &mut self.known;
        match result {
            Ok(()) if fresh => {
                (known.trouble, known.failures, known.not_before) = (None, 0, None);
            }
            Ok(()) | Err(Trouble::Stopping) => {}
            Err(trouble) => {
                let text = trouble.to_string();
                let since = known.trouble.as_ref().map_or(now, |(_, since)| *since);
                if known.trouble.as_ref().is_none_or(|(had, _)| *had != text) {
                    warn!(pool = self.pool.name, error = text, "pool cannot be looked after");
                }
                self.metrics.failed(&self.pool.name, trouble.cause());
                known.trouble = Some((text, since));
                known.failures = known.failures.saturating_add(1);
                let doubled = FIRST_WAIT * 2_u32.saturating_pow(known.failures.min(10) - 1);
                let mut until = now.plus(doubled.min(LAST_WAIT));
                let limited = match &trouble {
                    Trouble::Github(GithubError::RateLimited { retry_at, .. }) => {
                        Some(Timestamp::from_seconds(*retry_at))
                    }
                    _ => None,
                };
                // A server whose clock is wrong must not silence the pool for days.
                until = limited.map_or(until, |at| at.clamp(until, now.plus(LAST_WAIT * 65)));
                known.not_before = Some(until);
            }
        }
    }

    pub(super) fn tell(&mut self, sight: &Sight) {
        let now = clock::now();
        let known = &mut self.known;
        let state = known.state.as_ref();
        let jobs = known.jobs.as_ref().map_or(&[][..], |(jobs, _)| jobs.as_slice());
        let unlabelled = notices::without_label(jobs, sight, &self.pool, NAMED);
        let strays = state.map_or(Vec::new(), |state| notices::strays(state, sight, NAMED));
        let background = Background {
            trouble: known
                .trouble
                .as_ref()
                .or(known.jobs_trouble.as_ref())
                .map(|(text, since)| (text.as_str(), *since)),
            drift: known.drift.as_ref().map(|(text, at)| (text.as_str(), *at)),
            unlabelled: &unlabelled,
            strays: &strays,
        };
        let told = notices::notices(state, sight, &self.pool, &background, now);
        let again = self.config.reconcile_interval.max(Duration::from_secs(15));
        let send = known.raised.update(&self.pool.name, &told, again, now);
        // What could not be sent is sent first next time; a newer word on the same thing replaces it.
        known.unsent.retain(|old| send.iter().all(|new| new.labels != old.labels));
        known.unsent.extend(send);
        if known.unsent.is_empty() {
            return;
        }
        match self.alerts.try_send(std::mem::take(&mut known.unsent)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(alerts)) => known.unsent = alerts,
        }
    }

    pub(super) fn show(&mut self, sight: &Sight) {
        let known = &self.known;
        let mut view = PoolView::new(&self.pool, known.state.as_ref(), sight);
        view.error =
            known.trouble.as_ref().or(known.jobs_trouble.as_ref()).map(|(text, _)| text.clone());
        view.github_read_at = known.listed_at;
        view.denied = view.denied.or(known.denied.clone());
        let name = &self.pool.name;
        view.transitions = self.db.pool_transitions(name, 20).unwrap_or_default();
        view.journal = self.db.journal_last(Some(name), 30).unwrap_or_default();
        view.notices = known.raised.summaries();
        self.metrics.show(&view);
        self.board.show(view);
    }
}
