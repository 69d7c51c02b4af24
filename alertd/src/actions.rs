//! Failover of a pool's routing label between its members.
//!
//! One task a pool reads the world, asks the pure state machine, writes an intent, calls GitHub,
//! writes the outcome and reads the world again. A crash between any two of these loses nothing:
//! the next look starts from what the world shows.

pub mod config;
mod execute;
mod exporters;
mod github;
pub mod glob;
pub mod guard;
pub mod health;
mod keeper;
pub mod machine;
pub mod metrics;
pub mod notices;
pub mod roster;
pub mod sight;
pub mod view;
pub mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::github::Github;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock;
use crate::db::journal::Intent;
use crate::db::pools::{Hold, RunnerPlace};
use crate::db::{Db, DbError};
use crate::model::alert::{ActiveAlerts, Alert};
use crate::model::querier::Querier;
use config::{ActionsConfig, PoolConfig};
use execute::Executor;
use keeper::{Depth, Keeper, Known};
use machine::Order;
use metrics::ActionMetrics;
use roster::{Memory, Place, Roster};
use view::{Board, PoolsView};

#[cfg(test)]
mod fixtures;

/// How often the runners' places go to disk: at once where one is new, and now and then for the
/// times.
const LOOK_FOR_PLACES: Duration = Duration::from_secs(1);
const SAVE_PLACES: Duration = Duration::from_secs(60);
/// Orders that wait for one pool.
const ORDERS: usize = 16;

/// What a person wants; the answer goes back through `reply`.
#[derive(Debug)]
pub struct Command {
    pub what: What,
    pub who: String,
    pub reason: String,
    pub reply: oneshot::Sender<Result<String, CommandError>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Failover(String),
    Failback(String),
    /// One pool, or all.
    Hold(Option<String>),
    Release(Option<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("no pool is called {name:?}; there are: {known}")]
    NoSuchPool { name: String, known: String },
    #[error("{0}")]
    Refused(String),
    #[error("cannot write it down, so it was not done")]
    Journal(#[from] DbError),
}

/// Everything that [`run`] needs from outside.
pub struct Actions {
    pub config: ActionsConfig,
    /// Made of the pools by [`roster`]; routing enriches alerts with the same one.
    pub roster: Roster,
    pub github: Github,
    pub store: Arc<dyn Querier>,
    pub active: watch::Receiver<Arc<ActiveAlerts>>,
    /// What persons must be told goes out as alerts.
    pub alerts: mpsc::Sender<Vec<Alert>>,
    pub db: Db,
    pub commands: mpsc::Receiver<Command>,
    pub view: watch::Sender<Arc<PoolsView>>,
    pub metrics: ActionMetrics,
    pub stop: CancellationToken,
}

/// The pools with what the database remembers of their runners.
pub fn roster(pools: Vec<PoolConfig>, db: &Db) -> Result<Roster, DbError> {
    let rows = db.runner_places()?.into_iter();
    let place =
        |row: RunnerPlace| (row.runner, Place { instance: row.instance, seen_at: row.seen_at });
    Ok(Roster::new(pools, Memory::new(rows.map(place))))
}

/// Looks after every pool until `stop`. Ends early only when a pool's task panics.
pub async fn run(actions: Actions) {
    let Actions { config, roster, github, store, active, alerts, db, commands, .. } = actions;
    let Actions { view, metrics, stop, .. } = actions;
    let held = db.holds().unwrap_or_else(|error| {
        error!(%error, "holds cannot be read");
        Vec::new()
    });
    let board = Board::new(view);
    board.show_hold(held.iter().find(|hold| hold.pool.is_empty()).cloned());
    let (holds, held) = watch::channel(Arc::new(held));
    let mut tasks = JoinSet::new();
    let mut orders = BTreeMap::new();
    for pool in roster.pools() {
        let (sender, inbox) = mpsc::channel(ORDERS);
        orders.insert(pool.name.clone(), sender);
        let keeper = Keeper {
            executor: Executor {
                pool: pool.name.clone(),
                label: pool.label.clone(),
                scope: pool.scope.clone(),
                github: github.urgent(),
                db: db.clone(),
                metrics: metrics.clone(),
                stop: stop.clone(),
            },
            pool: pool.clone(),
            config: config.clone(),
            github: github.urgent(),
            store: Arc::clone(&store),
            active: active.clone(),
            alerts: alerts.clone(),
            db: db.clone(),
            roster: roster.clone(),
            holds: held.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
            known: Known::new(clock::now()),
        };
        tasks.spawn(keep(keeper, inbox, stop.clone()));
    }
    drop((active, alerts));
    tasks.spawn(save_places(roster, db.clone(), stop.clone()));
    let desk = Desk { db, holds, orders, board };
    tasks.spawn(desk.serve(commands, stop.clone()));
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a pool's task ended");
            return;
        }
    }
}

/// An order on its way to its pool.
struct Ordered {
    order: Order,
    who: String,
    reason: String,
    reply: oneshot::Sender<Result<String, CommandError>>,
}

/// One pool's loop: an alert, an order, a hold or the clock wakes it.
async fn keep(mut keeper: Keeper, mut orders: mpsc::Receiver<Ordered>, stop: CancellationToken) {
    let mut active = keeper.active.clone();
    let mut holds = keeper.holds.clone();
    let mut concern = keeper.concern();
    let mut depth = Depth::All;
    loop {
        let wait = keeper.look(depth).await;
        let deadline = time::Instant::now() + wait;
        depth = Depth::Runners;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep_until(deadline) => break,
                changed = active.changed() => {
                    if changed.is_err() {
                        // Rules have ended: the program is stopping.
                        stop.cancelled().await;
                        return;
                    }
                    // Most evaluations change nothing for this pool, and then GitHub is not asked.
                    let now = keeper.concern();
                    if now != concern {
                        concern = now;
                        keeper.hurry();
                        break;
                    }
                }
                _ = holds.changed() => break,
                Some(ordered) = orders.recv() => {
                    let Ordered { order, who, reason, reply } = ordered;
                    let answer = keeper.obey(order, &who, &reason).await;
                    if reply.send(answer.map_err(CommandError::Refused)).is_err() {
                        warn!(pool = keeper.pool.name, who, "nobody waited for the answer");
                    }
                    depth = Depth::All;
                    break;
                }
            }
        }
    }
}

/// Where commands arrive: holds are kept here, orders go to their pool.
struct Desk {
    db: Db,
    holds: watch::Sender<Arc<Vec<Hold>>>,
    orders: BTreeMap<String, mpsc::Sender<Ordered>>,
    board: Board,
}

impl Desk {
    async fn serve(self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        while let Some(Some(command)) = stop.run_until_cancelled(commands.recv()).await {
            let Command { what, who, reason, reply } = command;
            let answer = match what {
                What::Failover(pool) => {
                    self.pass_on(&pool, Ordered { order: Order::Failover, who, reason, reply });
                    continue;
                }
                What::Failback(pool) => {
                    self.pass_on(&pool, Ordered { order: Order::Failback, who, reason, reply });
                    continue;
                }
                What::Hold(pool) => self.hold(pool.as_deref(), &who, &reason),
                What::Release(pool) => self.release(pool.as_deref(), &who, &reason),
            };
            if reply.send(answer).is_err() {
                warn!("nobody waited for the answer to a command");
            }
        }
    }

    fn pass_on(&self, pool: &str, ordered: Ordered) {
        let refused = match self.known(pool) {
            Err(error) => Some((ordered, error)),
            Ok(orders) => match orders.try_send(ordered) {
                Ok(()) => None,
                Err(error) => {
                    let busy = CommandError::Refused("the pool is busy; try again".to_owned());
                    Some((error.into_inner(), busy))
                }
            },
        };
        if let Some((ordered, error)) = refused
            && ordered.reply.send(Err(error)).is_err()
        {
            warn!(pool, "nobody waited for the answer to a command");
        }
    }

    fn known(&self, pool: &str) -> Result<&mpsc::Sender<Ordered>, CommandError> {
        self.orders.get(pool).ok_or_else(|| CommandError::NoSuchPool {
            name: pool.to_owned(),
            known: self.orders.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    fn hold(&self, pool: Option<&str>, who: &str, reason: &str) -> Result<String, CommandError> {
        pool.map(|pool| self.known(pool)).transpose()?;
        let name = pool.unwrap_or("");
        let text = |text: &str| text.to_owned();
        let hold =
            Hold { pool: text(name), who: text(who), reason: text(reason), at: clock::now() };
        self.db.hold(&hold)?;
        self.spread()?;
        self.note("hold", name, who, reason);
        Ok(format!("{} held", if name.is_empty() { "all pools" } else { name }))
    }

    fn release(&self, pool: Option<&str>, who: &str, reason: &str) -> Result<String, CommandError> {
        pool.map(|pool| self.known(pool)).transpose()?;
        let name = pool.unwrap_or("");
        let there = self.db.release(name)?;
        self.spread()?;
        if there {
            self.note("release", name, who, reason);
        }
        let what = if name.is_empty() { "all pools" } else { name };
        let still = self.holds.borrow().iter().any(|hold| hold.pool.is_empty());
        match (there, still) {
            (true, true) => Ok(format!("{what} released; the hold on all pools stays")),
            (true, false) => Ok(format!("{what} released")),
            (false, _) => Err(CommandError::Refused(format!("no hold on {what}"))),
        }
    }

    /// Journals who held or released what. It is done already, so a failure is only logged.
    fn note(&self, action: &str, pool: &str, who: &str, reason: &str) {
        let now = clock::now();
        let intent = Intent {
            pool: pool.to_owned(),
            plan: format!("{action}-{}", now.0),
            action: action.to_owned(),
            target: if pool.is_empty() { "all pools" } else { pool }.to_owned(),
            cause: reason.to_owned(),
            who: who.to_owned(),
            mode: "person".to_owned(),
        };
        if let Err(error) = self.db.journal_notes(&[(intent, "done")], now) {
            error!(%error, action, pool, who, "order not journaled");
        }
    }

    /// Shows the holds to all pools at once.
    fn spread(&self) -> Result<(), CommandError> {
        let holds = self.db.holds()?;
        self.board.show_hold(holds.iter().find(|hold| hold.pool.is_empty()).cloned());
        self.holds.send_replace(Arc::new(holds));
        Ok(())
    }
}

/// Keeps the runners' places on disk, so that a restart does not forget a silent host.
async fn save_places(roster: Roster, db: Db, stop: CancellationToken) {
    let mut saved = roster.memory();
    let mut saved_at = clock::now();
    loop {
        let stopped = stop.run_until_cancelled(time::sleep(LOOK_FOR_PLACES)).await.is_none();
        let (memory, now) = (roster.memory(), clock::now());
        let due = stopped || SAVE_PLACES <= now.since(saved_at) || !memory.same_places(&saved);
        if due && memory != saved {
            saved_at = now;
            let rows: Vec<RunnerPlace> = memory
                .iter()
                .map(|(runner, place)| RunnerPlace {
                    runner: runner.to_owned(),
                    instance: place.instance.clone(),
                    seen_at: place.seen_at,
                })
                .collect();
            if let Err(error) = db.save_runner_places(&rows) {
                warn!(%error, "runners' places cannot be saved");
            }
            // After a failure the next try is with the next times, not at once.
            saved = memory;
        }
        if stopped {
            return;
        }
    }
}
