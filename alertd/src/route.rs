//! Which alerts are told to whom and when: routing, grouping, inhibition, deduplication.
//!
//! `Routing::run` owns the timers and the inbox; what is due and what it says is decided in pure
//! code. What is to be told goes to the outbox, together with the log of it, in one transaction.

pub mod acknowledge;
pub mod board;
pub mod config;
pub mod dedup;
pub mod dispatch;
pub mod due;
pub mod group;
pub mod history;
pub mod inhibit;
pub mod intake;
pub mod limits;
pub mod matchers;
pub mod metrics;
pub mod notification;
pub mod receiver;
pub mod silence;
pub mod template;
pub mod time_interval;
pub mod tree;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::board::Board;
use self::config::Notifications;
use self::dispatch::Origin;
use self::due::Due;
use self::history::Notes;
use self::metrics::RouteMetrics;
use self::view::View;
use crate::clock;
use crate::db::outbox::Outbox;
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// What else is known of an alert, by its labels: its pool and member.
pub type Enrich = Arc<dyn Fn(&Labels) -> Vec<(String, String)> + Send + Sync>;

/// Longest sleep, so that the end of an alert, and a wall clock that was set forward, are noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// After a flush that the database refused.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// How often what is too old is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Groups written in one transaction.
const BATCH: usize = 200;

/// One configuration's routing.
pub struct Routing {
    outbox: Outbox,
    board: Board,
    enrich: Enrich,
    metrics: RouteMetrics,
    view: View,
}

impl Routing {
    pub fn new(
        config: Arc<Notifications>,
        outbox: Outbox,
        board: Board,
        enrich: Enrich,
        metrics: RouteMetrics,
    ) -> Routing {
        let view = View::new(config, board.limits().max);
        Routing { outbox, board, enrich, metrics, view }
    }

    /// The same, with every report of an alert told to `notes`.
    pub fn noticed_by(self, notes: Notes) -> Routing {
        Routing { view: self.view.noticed_by(notes), ..self }
    }

    /// Takes alerts until the inbox closes or `stop`, and puts what is to be told into the outbox.
    ///
    /// What was told before a restart is known again: its groups go on, and an alert that no rule
    /// speaks of within `resolve_timeout` is told as resolved. `firing` are our own alerts of the
    /// last run: known before the first look at any group, so that whatever one of them silences
    /// stays silent.
    pub async fn run(
        self,
        firing: Vec<Alert>,
        mut inbox: mpsc::Receiver<Vec<Alert>>,
        stop: CancellationToken,
    ) {
        self.restore().await;
        self.take(firing);
        self.board.serve(&self.view, clock::now());
        let (mut pruned_at, mut steps) = (clock::now(), clock::Steps::begin());
        loop {
            let (groups, alerts, next) = {
                let dispatcher = self.view.lock();
                (dispatcher.groups(), dispatcher.alerts(), dispatcher.next_flush())
            };
            self.metrics.held(groups, alerts);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                batch = inbox.recv() => {
                    let Some(alerts) = batch else { return };
                    self.take(alerts);
                }
                () = self.view.news() => {}
                () = until(next) => {}
            }
            let now = clock::now();
            if let Some(by) = steps.ahead() {
                warn!(?by, "the clock was set forward; alerts that fired go on");
                self.view.lock().after_step(by, now);
                self.board.after_step(by, now);
            }
            let due = self.board.with_said(|said| self.view.lock().due(said, now));
            let mut due = due.into_iter();
            while due.len() > 0 {
                self.flush(due.by_ref().take(BATCH).collect()).await;
            }
            let ended = self.view.lock().ended(clock::now());
            if !ended.is_empty() {
                self.board.look_after(ended, &self.view).await;
            }
            if now.since(pruned_at) >= PRUNE_EVERY || now < pruned_at {
                pruned_at = now;
                self.board.prune(&self.view).await;
            }
        }
    }

    async fn restore(&self) {
        match self.outbox.lanes_with_firing().await {
            Ok(entries) => {
                let lanes = entries.len();
                let lost = self.view.lock().restore(entries, clock::now());
                if lanes > 0 {
                    info!(lanes, "alert groups restored");
                }
                for lane in lost {
                    let (group, integration) = (lane.group_key, lane.integration);
                    warn!(group, integration, "receiver of a told alert is no longer configured");
                }
            }
            Err(error) => error!(%error, "alert groups not restored"),
        }
    }

    fn take(&self, alerts: Vec<Alert>) {
        let now = clock::now();
        self.view.notice(&alerts, now);
        let dropped = self.view.lock().take(alerts, Origin::Own, now);
        if dropped > 0 {
            self.metrics.dropped(dropped);
            error!(dropped, "too many alerts held");
        }
    }

    async fn flush(&self, due: Arc<[Due]>) {
        let now = clock::now();
        let lanes = due.iter().flat_map(Due::lanes).collect();
        let (owned, enrich) = (Arc::clone(&due), Arc::clone(&self.enrich));
        let decide = move |lane: &_, entry: Option<&_>| {
            let due = owned.iter().find(|due| due.has(lane))?;
            due.plan(lane, entry, &*enrich, now)
        };
        match self.outbox.flush(lanes, now, decide).await {
            Ok(_) => self.view.lock().flushed(&due, now),
            Err(error) => {
                self.metrics.flush_failed();
                error!(%error, groups = due.len(), "alert groups not flushed");
                self.view.lock().try_again(&due, now.plus(TRY_AGAIN));
            }
        }
    }

    /// For who asks what routing holds.
    pub fn view(&self) -> View {
        self.view.clone()
    }
}

async fn until(at: Option<Timestamp>) {
    let wait = at.map_or(LONGEST_SLEEP, |at| at.since(clock::now()));
    time::sleep(wait.min(LONGEST_SLEEP)).await;
}
