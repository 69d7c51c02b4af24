//! Looks after one pool: reads the world, asks the state machine, carries out what it wants.

mod record;
mod tell;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::github::Github;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::config::{ActionsConfig, PoolConfig, Trust};
use super::execute::{Executor, Trouble};
use super::exporters::Said;
use super::guard::Denied;
use super::machine::{self, Order, Phase, PoolState, orders};
use super::metrics::ActionMetrics;
use super::notices::Raised;
use super::roster::Roster;
use super::sight::{Job, Listed, Sight};
use super::view::Board;
use super::wanted::{self, Change};
use crate::clock;
use crate::db::Db;
use crate::db::pools::{Hold, Transition};
use crate::model::alert::{ActiveAlerts, Alert};
use crate::model::querier::Querier;
use crate::model::sample::Timestamp;

/// Rounds of "decide, change, read back" in one look.
const ROUNDS: usize = 6;
/// Steps of the state machine in a row.
const STEPS: usize = 8;

/// What every pool's keeper needs.
pub(super) struct Keeper {
    pub(super) pool: PoolConfig,
    pub(super) config: ActionsConfig,
    pub(super) github: Github,
    pub(super) store: Arc<dyn Querier>,
    pub(super) active: watch::Receiver<Arc<ActiveAlerts>>,
    pub(super) alerts: mpsc::Sender<Vec<Alert>>,
    pub(super) db: Db,
    pub(super) roster: Roster,
    pub(super) holds: watch::Receiver<Arc<Vec<Hold>>>,
    pub(super) board: Board,
    pub(super) metrics: ActionMetrics,
    pub(super) executor: Executor,
    pub(super) known: Known,
}

/// What is kept between two looks; all of it can be read again after a restart.
#[derive(Default)]
pub(super) struct Known {
    /// When this program began to look.
    began: Timestamp,
    /// When the look that is under way began.
    looked_at: Timestamp,
    state: Option<PoolState>,
    listed: Vec<Listed>,
    listed_at: Option<Timestamp>,
    jobs: Option<(Vec<Job>, Timestamp)>,
    /// The id that each runner had, to tell a new registration from a changed label.
    ids: BTreeMap<String, u64>,
    /// Differences that were reported and not put right, so that each is reported once.
    reported: BTreeSet<String>,
    drift: Option<(String, Timestamp)>,
    denied: Option<Denied>,
    /// What the exporters said last.
    said: Said,
    trouble: Option<(String, Timestamp)>,
    /// Why the jobs could not be read; the label is moved all the same.
    jobs_trouble: Option<(String, Timestamp)>,
    jobs_not_before: Option<Timestamp>,
    failures: u32,
    not_before: Option<Timestamp>,
    raised: Raised,
    unsent: Vec<Alert>,
}

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Runners, and what follows from them.
    Runners,
    /// The jobs as well.
    All,
}

impl Known {
    pub(super) fn new(began: Timestamp) -> Known {
        Known { began, ..Known::default() }
    }
}

impl Keeper {
    /// One look; returns after how long to look again.
    pub(super) async fn look(&mut self, depth: Depth) -> Duration {
        let now = clock::now();
        self.known.looked_at = now;
        let mut fresh = false;
        let may_ask = self.known.not_before.is_none_or(|time| time <= now);
        let mut result = match self.read_exporters(now).await {
            // The last word stands: a store that fails says nothing about the hosts.
            Err(error) => Err(Trouble::Store(error)),
            Ok(said) => {
                self.known.said = said;
                match may_ask {
                    true => self.read_runners().await.map(|()| fresh = true),
                    false => Ok(()),
                }
            }
        };
        let said = self.known.said.clone();
        if fresh {
            result = self.act(&said).await;
        }
        if result.is_ok() && fresh && self.wants_jobs(depth) && self.read_jobs().await {
            result = self.act(&said).await;
        }
        if result.is_ok() && !fresh {
            result = self.decide(&said, false);
        }
        self.account(result, fresh);
        let sight = self.sight(&said, fresh, clock::now());
        self.tell(&sight);
        self.show(&sight);
        self.next_look(&sight)
    }

    /// A person's order, on a fresh look at the world; the answer is for the person.
    pub(super) async fn obey(
        &mut self,
        order: Order,
        who: &str,
        reason: &str,
    ) -> Result<String, String> {
        let now = clock::now();
        let said = self.read_exporters(now).await?;
        self.known.not_before = None;
        let read = self.read_runners().await;
        let fresh = read.is_ok();
        let sight = self.sight(&said, fresh, now);
        let Some(state) = self.load(&sight, now).map_err(|error| error.to_string())? else {
            return Err(format!(
                "the pool was never seen: {}",
                read.map_or_else(|e| e.to_string(), |()| String::new())
            ));
        };
        let next = orders::order(&state, order, who, reason, &sight, &self.pool, now)?;
        if self.pool.trust == Trust::Shadow {
            let after = wanted::whole_plan_to(&next, &sight);
            let plan = plan_id(&self.pool.name, now);
            let note = |change: &Change| {
                let intent = self.intent(change, &plan, &next.cause, who, "shadow");
                (intent, "would have")
            };
            let notes: Vec<_> = after.iter().map(note).collect();
            self.db.journal_notes(&notes, now).map_err(|error| error.to_string())?;
            return Ok(format!(
                "pool {} is in shadow: nothing was changed; {} label changes were recorded as \
                 what would have been done (set trust to approve or auto)",
                self.pool.name,
                notes.len()
            ));
        }
        let answer = format!("{}: {} ({})", self.pool.name, next.phase.name(), next.cause);
        self.save(&state, next, now).map_err(|error| error.to_string())?;
        let warning = match read {
            Ok(()) => String::new(),
            Err(error) => format!("; GitHub cannot be read now, it is tried again: {error}"),
        };
        Ok(answer + &warning)
    }

    /// Something new asks for a look at once, whatever went wrong before. GitHub's own limits are
    /// kept by its client.
    pub(super) fn hurry(&mut self) {
        self.known.not_before = None;
    }

    /// Alerts that concern this pool, as one comparable value.
    pub(super) fn concern(&self) -> BTreeSet<(u64, Timestamp)> {
        self.concern_of(&self.active.borrow())
    }

    fn concern_of(&self, active: &ActiveAlerts) -> BTreeSet<(u64, Timestamp)> {
        let names = |name: Option<&str>| {
            self.pool.fail_over_on.iter().any(|trigger| Some(trigger.alert.as_str()) == name)
        };
        let firing = active.instances.iter().filter(|alert| names(alert.labels.get("alertname")));
        firing.filter_map(|alert| Some((alert.labels.fingerprint().0, alert.fired_at?))).collect()
    }

    fn wants_jobs(&self, depth: Depth) -> bool {
        let moving = self
            .known
            .state
            .as_ref()
            .is_some_and(|state| matches!(state.phase, Phase::FailingOver { .. }));
        let now = clock::now();
        if self.known.jobs_not_before.is_some_and(|time| now < time) {
            return false;
        }
        let age = self.known.jobs.as_ref().map(|(_, at)| now.since(*at));
        depth == Depth::All || moving || age.is_none_or(|age| self.config.reconcile_interval <= age)
    }

    /// Decides, changes labels, reads them back, and again until there is nothing to do.
    async fn act(&mut self, said: &Said) -> Result<(), Trouble> {
        for _ in 0..ROUNDS {
            self.decide(said, true)?;
            let now = clock::now();
            let sight = self.sight(said, true, now);
            // Before the state is taken: the jobs that it names are part of it.
            self.name_interrupted(&sight, now)?;
            let Some(state) = self.known.state.clone() else { return Ok(()) };
            let plan = wanted::plan(&state, &sight, &self.pool);
            self.note_denied(plan.denied.clone(), &state, now)?;
            let changes: Vec<Change> =
                if plan.adds.is_empty() { plan.removes.clone() } else { plan.adds.clone() };
            let changes = match changes.is_empty() || plan.removes.is_empty() {
                true => changes,
                // Some labels cannot be set; the removals need not wait for them.
                false => plan.changes().cloned().collect(),
            };
            let at_rest =
                !matches!(state.phase, Phase::FailingOver { .. } | Phase::FailingBack { .. });
            let executes = self.pool.trust == Trust::Auto
                || (self.pool.trust == Trust::Approve && state.ordered);
            if changes.is_empty() {
                self.known.reported.clear();
                let ordered = state.ordered && !at_rest;
                let next = PoolState { ordered, settling: false, ..state.clone() };
                if next != state {
                    self.save(&state, next, now).map_err(Trouble::Journal)?;
                }
                self.remember_ids();
                return Ok(());
            }
            let drift = at_rest && !state.settling && !state.ordered;
            let cause = self.cause_of(&changes, &state, drift, now);
            if !executes || sight.hold.is_some() {
                self.report(&changes, &cause, &sight, now)?;
                if state.settling && sight.hold.is_none() {
                    let next = PoolState { settling: false, ..state.clone() };
                    self.save(&state, next, now).map_err(Trouble::Journal)?;
                }
                self.remember_ids();
                return Ok(());
            }
            let plan = plan_id(&self.pool.name, state.since);
            let by = state.by_person.clone().filter(|_| state.ordered);
            let mode = if by.is_some() { "person" } else { "auto" };
            let who = by.as_deref().unwrap_or("pitcrew");
            let intent = |change: &Change| self.intent(change, &plan, &cause, who, mode);
            let holds = self.holds.clone();
            let name = self.pool.name.clone();
            let may_go_on = || hold_text(&holds.borrow(), &name).is_none();
            let applied = self.executor.apply(&changes, intent, may_go_on).await;
            self.remember_ids();
            if let Some(trouble) = applied.trouble {
                return Err(trouble);
            }
            self.read_runners().await?;
            if applied.done == 0 {
                // Nothing got better: the state may still move on, and then it is tried again later.
                self.decide(said, true)?;
                return applied.failure.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    /// Lets the state machine run until it rests, and writes each step down.
    fn decide(&mut self, said: &Said, fresh: bool) -> Result<(), Trouble> {
        for _ in 0..STEPS {
            let now = clock::now();
            let sight = self.sight(said, fresh, now);
            let state = self.load(&sight, now).map_err(Trouble::Journal)?;
            let Some(state) = state else { return Ok(()) };
            let next = machine::next(&state, &sight, &self.pool, &self.config, now);
            let Some(next) = next else { return Ok(()) };
            self.note_changes(&state, &next, &sight, now)?;
            self.save(&state, next, now).map_err(Trouble::Journal)?;
            self.show(&sight);
        }
        Ok(())
    }

    /// The state: what is known, else what the database holds, else what the world shows.
    fn load(
        &mut self,
        sight: &Sight,
        now: Timestamp,
    ) -> Result<Option<PoolState>, crate::db::DbError> {
        if self.known.state.is_some() {
            return Ok(self.known.state.clone());
        }
        let text = self.db.pool_state(&self.pool.name)?;
        let kept = text.and_then(|text| {
            serde_json::from_str::<PoolState>(&text)
                .inspect_err(|error| {
                    warn!(%error, pool = self.pool.name, "kept pool state cannot be read");
                })
                .ok()
        });
        match kept.filter(|state| state.fits(&self.pool)) {
            Some(state) => self.known.state = Some(state),
            None if sight.fresh => {
                let adopted = PoolState::adopt(sight, now);
                let before = PoolState::normal(now, "");
                self.save(&before, adopted, now)?;
            }
            None => {}
        }
        Ok(self.known.state.clone())
    }

    fn save(
        &mut self,
        before: &PoolState,
        next: PoolState,
        now: Timestamp,
    ) -> Result<(), crate::db::DbError> {
        let mut rows = Vec::new();
        if (&before.phase, before.since) != (&next.phase, next.since) {
            rows.push(Transition {
                at: now,
                from: before.phase.name().to_owned(),
                to: next.phase.name().to_owned(),
                cause: next.cause.clone(),
            });
        }
        let member = |state: &PoolState| state.helping.as_ref().map(|one| one.member.clone());
        if member(before) != member(&next) {
            let cause = match &next.helping {
                Some(helping) => format!("{} helps: {}", helping.member, helping.cause),
                None => "help ends".to_owned(),
            };
            let name = next.phase.name().to_owned();
            rows.push(Transition { at: now, from: name.clone(), to: name, cause });
        }
        let text =
            serde_json::to_string(&next).expect("a state has no map with other keys than text");
        self.db.save_pool(&self.pool.name, &text, &rows)?;
        for row in rows {
            let (pool, from, to) = (&self.pool.name, row.from, row.to);
            info!(pool, from, to, cause = row.cause, "pool changed its state");
        }
        self.known.state = Some(next);
        Ok(())
    }

    fn next_look(&self, sight: &Sight) -> Duration {
        let now = clock::now();
        let usual = self.config.reconcile_interval;
        let Some(state) = &self.known.state else {
            return self.known.not_before.map_or(usual, |at| at.since(now)).min(usual);
        };
        let sooner = machine::look_again(state, sight, &self.pool, now);
        let wait = sooner.map_or(usual, |sooner| sooner.min(usual));
        match self.known.not_before {
            // Sooner would only find that GitHub may not be asked yet.
            Some(at) => at.since(now).max(Duration::from_millis(50)).min(usual.max(wait)),
            None => wait,
        }
    }
}

/// The reason of the hold on this pool or on all, if there is one.
fn hold_text(holds: &[Hold], pool: &str) -> Option<String> {
    let hold = holds.iter().find(|hold| hold.pool.is_empty() || hold.pool == pool)?;
    let what = if hold.pool.is_empty() { "all pools are held" } else { "held" };
    Some(match hold.reason.as_str() {
        "" => format!("{what} by {}", hold.who),
        reason => format!("{what} by {}: {reason}", hold.who),
    })
}

fn plan_id(pool: &str, at: Timestamp) -> String {
    format!("{pool}-{}", at.0)
}
