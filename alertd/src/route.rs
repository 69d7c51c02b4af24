//! Which alerts are told to whom and when: routing, grouping, inhibition, deduplication.
//!
//! `run` owns the timers and the inbox; what is due and what it says is decided in pure code. What
//! is to be told goes to the outbox, together with the log of it, in one transaction.

pub mod acknowledge;
pub mod config;
pub mod dedup;
pub mod dispatch;
pub mod group;
pub mod history;
pub mod inhibit;
pub mod intake;
pub mod matchers;
pub mod notification;
pub mod receiver;
pub mod silence;
pub mod template;
pub mod time_interval;
pub mod tree;

use std::future;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::config::Notifications;
use self::dispatch::{Dispatcher, Due};
use crate::clock;
use crate::db::outbox::Outbox;
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// What else is known of an alert, by its labels: its pool and member.
pub type Enrich = Arc<dyn Fn(&Labels) -> Vec<(String, String)> + Send + Sync>;

/// Longest sleep, so that a wall clock that was set forward is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After a flush that the database refused.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Groups written in one transaction.
const BATCH: usize = 200;

#[derive(Clone, Default)]
pub struct RouteMetrics {
    groups: Gauge,
    alerts: Gauge,
    dropped: Counter,
    flush_failures: Counter,
}

impl RouteMetrics {
    pub fn new(registry: &mut Registry) -> RouteMetrics {
        let metrics = RouteMetrics::default();
        let name = |rest: &str| format!("pitcrew_alertd_{rest}");
        registry.register(name("alert_groups"), "Alert groups now held", metrics.groups.clone());
        registry.register(
            name("routed_alerts"),
            "Alerts now held, once per group",
            metrics.alerts.clone(),
        );
        registry.register(
            name("alerts_dropped"),
            "Alerts not routed because too many are held",
            metrics.dropped.clone(),
        );
        registry.register(
            name("group_flush_failures"),
            "Group flushes that could not be recorded and are tried again",
            metrics.flush_failures.clone(),
        );
        metrics
    }
}

/// Takes alerts until the inbox closes or `stop`, and puts what is to be told into the outbox.
///
/// What was told before a restart is known again: its groups go on, and an alert that no rule
/// speaks of within `resolve_timeout` is told as resolved.
pub async fn run(
    config: Arc<Notifications>,
    outbox: Outbox,
    mut inbox: mpsc::Receiver<Vec<Alert>>,
    enrich: Enrich,
    metrics: RouteMetrics,
    stop: CancellationToken,
) {
    let mut dispatcher = Dispatcher::new(config);
    match outbox.lanes_with_firing().await {
        Ok(entries) => {
            let (lanes, lost) = (entries.len(), dispatcher.restore(entries, clock::now()));
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
    loop {
        metrics.groups.set(i64::try_from(dispatcher.groups()).unwrap_or(i64::MAX));
        metrics.alerts.set(i64::try_from(dispatcher.alerts()).unwrap_or(i64::MAX));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            batch = inbox.recv() => {
                let Some(alerts) = batch else { return };
                let dropped = dispatcher.take(alerts, clock::now());
                if dropped > 0 {
                    metrics.dropped.inc_by(dropped);
                    error!(dropped, "too many alerts held");
                }
            }
            () = until(dispatcher.next_flush()) => {}
        }
        let due = dispatcher.due(clock::now());
        for due in due.chunks(BATCH) {
            flush(&mut dispatcher, due, &outbox, &enrich, &metrics).await;
        }
    }
}

async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => time::sleep(at.since(clock::now()).min(LONGEST_SLEEP)).await,
        None => future::pending().await,
    }
}

async fn flush(
    dispatcher: &mut Dispatcher,
    due: &[Due],
    outbox: &Outbox,
    enrich: &Enrich,
    metrics: &RouteMetrics,
) {
    let now = clock::now();
    let lanes = due.iter().flat_map(Due::lanes).collect();
    let (owned, enrich) = (due.to_vec(), Arc::clone(enrich));
    let decide = move |lane: &_, entry: Option<&_>| {
        let due = owned.iter().find(|due| due.has(lane))?;
        due.plan(lane, entry, &*enrich, now)
    };
    match outbox.flush(lanes, now, decide).await {
        Ok(_) => dispatcher.flushed(due, now),
        Err(error) => {
            metrics.flush_failures.inc();
            error!(%error, groups = due.len(), "alert groups not flushed");
            dispatcher.try_again(due, now.plus(TRY_AGAIN));
        }
    }
}
