//! What the keeper writes down beside its label calls: plans, denials, drift, interrupted jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::warn;

use super::{Keeper, plan_id};
use crate::actions::config::Trust;
use crate::actions::execute::{Trouble, action};
use crate::actions::guard::Denied;
use crate::actions::health::{OnGithub, Word};
use crate::actions::machine::{Interrupted, Phase, PoolState, Proof};
use crate::actions::sight::{RunnerSight, Sight, Stage};
use crate::actions::wanted::{self, Change};
use crate::db::journal::Intent;
use crate::model::sample::Timestamp;

/// Interrupted jobs remembered at most, and how long.
const REMEMBERED: (usize, Duration) = (200, Duration::from_secs(24 * 3600));

impl Keeper {
    /// Journals what a step decided without a label call: plans, denials, the end of a failover.
    pub(super) fn note_changes(
        &self,
        before: &PoolState,
        next: &PoolState,
        sight: &Sight,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let mut notes = Vec::new();
        let pool = &self.pool.name;
        let trust = if self.pool.trust == Trust::Approve { "approve" } else { "shadow" };
        if let Some(proposal) =
            next.proposal.as_ref().filter(|one| before.proposal.as_ref() != Some(one))
        {
            let outcome = if trust == "approve" { "waits for a person" } else { "would have" };
            let plan = plan_id(pool, proposal.at);
            for change in wanted::whole_plan(next, &proposal.what, sight) {
                notes.push((
                    self.intent(&change, &plan, &proposal.cause, "pitcrew", trust),
                    outcome,
                ));
            }
        }
        for (had, has) in [(&before.denied, &next.denied), (&before.help_denied, &next.help_denied)]
        {
            if let Some(denied) = has.as_ref().filter(|_| had != has) {
                notes.push((self.denial(denied, next), "denied"));
                self.metrics.denied(pool, denied.guard.name());
            }
        }
        self.db.journal_notes(&notes, now).map_err(Trouble::Journal)?;
        if matches!(before.phase, Phase::FailingOver { .. }) && before.phase != next.phase {
            let outcome = match (&next.phase, &next.proof) {
                (Phase::OnBackup { .. }, Proof::Proven(_)) => "proven",
                (Phase::OnBackup { .. }, Proof::Failed(_)) => "failed",
                (Phase::OnBackup { .. }, _) => "unproven",
                (Phase::FailingOver { .. }, _) => return Ok(()),
                _ => "undone",
            };
            let began = before.failed_over_at.unwrap_or(before.since);
            self.metrics.failover_ended(pool, outcome, now.since(began));
        }
        Ok(())
    }

    /// Names each job that was in flight on a runner that is gone, once.
    ///
    /// Only a list read in this look counts: a job of an older one may have ended before its runner.
    pub(super) fn name_interrupted(
        &mut self,
        sight: &Sight,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let (Some(state), Some((jobs, asked))) = (&self.known.state, &self.known.jobs) else {
            return Ok(());
        };
        if *asked < self.known.looked_at {
            return Ok(());
        }
        let mut next = state.clone();
        let mut notes = Vec::new();
        for job in jobs {
            let Stage::Running { runner, .. } = &job.stage else { continue };
            let seen = sight.member_with(runner).and_then(|member| member.runner(runner));
            if !seen.is_some_and(is_gone) || next.interrupted.iter().any(|one| one.job == job.id) {
                continue;
            }
            let (most, _) = REMEMBERED;
            if next.interrupted.len() >= most {
                break;
            }
            let cause =
                format!("job {} of {} was in flight: {}", job.name, job.repository, job.url);
            warn!(pool = self.pool.name, runner, job = job.name, url = job.url, "job interrupted");
            let intent = Intent {
                action: "job_interrupted".to_owned(),
                target: runner.clone(),
                ..self.note(state, &cause)
            };
            notes.push((intent, "noted"));
            self.metrics.interrupted(&self.pool.name);
            next.interrupted.push(Interrupted {
                at: now,
                job: job.id,
                name: job.name.clone(),
                repository: job.repository.clone(),
                run: job.run_id,
                url: job.url.clone(),
                runner: runner.clone(),
            });
        }
        next.interrupted.retain(|job| now.since(job.at) < REMEMBERED.1);
        if next.interrupted != state.interrupted {
            let before = state.clone();
            self.db.journal_notes(&notes, now).map_err(Trouble::Journal)?;
            self.save(&before, next, now).map_err(Trouble::Journal)?;
        }
        Ok(())
    }

    /// A removal that the last guard stopped, told once.
    pub(super) fn note_denied(
        &mut self,
        denied: Option<Denied>,
        state: &PoolState,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        if self.known.denied != denied {
            if let Some(denied) = &denied {
                let note = (self.denial(denied, state), "denied");
                self.db.journal_notes(&[note], now).map_err(Trouble::Journal)?;
                self.metrics.denied(&self.pool.name, denied.guard.name());
                warn!(pool = self.pool.name, reason = denied.reason, "label change denied");
            }
            self.known.denied = denied;
        }
        Ok(())
    }

    pub(super) fn cause_of(
        &mut self,
        changes: &[Change],
        state: &PoolState,
        drift: bool,
        now: Timestamp,
    ) -> String {
        if !drift {
            return state.cause.clone();
        }
        let anew = |change: &&Change| {
            self.known.ids.get(&change.runner).is_some_and(|id| *id != change.id)
        };
        let names = |changes: &mut dyn Iterator<Item = &Change>| {
            changes.map(|change| change.runner.as_str()).collect::<Vec<_>>().join(", ")
        };
        let new = names(&mut changes.iter().filter(anew));
        let old = names(&mut changes.iter().filter(|change| !anew(change)));
        let mut parts = Vec::new();
        if !new.is_empty() {
            parts.push(format!("registered anew with wrong labels: {new}"));
        }
        if !old.is_empty() {
            let label = &self.pool.label;
            parts.push(format!(
                "label {label} is not as the pool wants it on {old}: changed by others"
            ));
        }
        let text = parts.join("; ");
        if self.known.drift.as_ref().is_none_or(|(had, _)| *had != text) {
            warn!(pool = self.pool.name, what = text, "labels drifted");
        }
        self.known.drift = Some((text.clone(), now));
        text
    }

    /// Journals changes that are not made, each once.
    pub(super) fn report(
        &mut self,
        changes: &[Change],
        cause: &str,
        sight: &Sight,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let key = |change: &Change| format!("{} {}", action(change), change.runner);
        let (mode, outcome) = match (&sight.hold, self.pool.trust) {
            (Some(_), _) => ("hold", "not done: on hold"),
            (None, Trust::Approve) => ("approve", "waits for a person"),
            (None, _) => ("shadow", "would have"),
        };
        let keys: BTreeSet<String> = changes.iter().map(key).collect();
        let plan = plan_id(&self.pool.name, now);
        let new = changes.iter().filter(|change| !self.known.reported.contains(&key(change)));
        let notes: Vec<_> = new
            .map(|change| (self.intent(change, &plan, cause, "pitcrew", mode), outcome))
            .collect();
        self.db.journal_notes(&notes, now).map_err(Trouble::Journal)?;
        self.known.reported = keys;
        Ok(())
    }

    pub(super) fn intent(
        &self,
        change: &Change,
        plan: &str,
        cause: &str,
        who: &str,
        mode: &str,
    ) -> Intent {
        Intent {
            pool: self.pool.name.clone(),
            plan: plan.to_owned(),
            action: action(change).to_owned(),
            target: change.runner.clone(),
            cause: cause.to_owned(),
            who: who.to_owned(),
            mode: mode.to_owned(),
        }
    }

    pub(super) fn denial(&self, denied: &Denied, state: &PoolState) -> Intent {
        Intent {
            action: format!("denied_{}", denied.guard.name()),
            target: denied.member.clone(),
            ..self.note(state, &denied.reason)
        }
    }

    pub(super) fn note(&self, state: &PoolState, cause: &str) -> Intent {
        Intent {
            pool: self.pool.name.clone(),
            plan: plan_id(&self.pool.name, state.since),
            cause: cause.to_owned(),
            who: "pitcrew".to_owned(),
            mode: match self.pool.trust {
                Trust::Shadow => "shadow",
                Trust::Approve => "approve",
                Trust::Auto => "auto",
            }
            .to_owned(),
            ..Intent::default()
        }
    }
}

/// Dead by the word of its own host, or silent there and offline on GitHub.
fn is_gone(runner: &RunnerSight) -> bool {
    runner.word == Word::Down || (runner.word == Word::Silent && runner.github == OnGithub::Offline)
}
