//! Delivery of what the outbox holds: at least once, in order per group and receiver.
//!
//! A row is marked `sending` on disk before the receiver is asked and finished after it answered.
//! Only a kill or a time-out between the two can make it arrive twice, once per such event, counted
//! in `pitcrew_alertd_notification_possible_repeats_total` and under the same id.
//!
//! What waits is merged in one case only: a repeat, which says again what the receiver was told, is
//! not queued while an earlier row of its lane is still on its way. A change (something fires,
//! something ended) always has a row of its own, so an outage ends with every change told, in order.
//! An end is told only to who was told, or may have been told, of the beginning.

pub mod alertmanager;
pub mod digest;
pub mod discord;
pub mod email;
mod error;
pub mod github_issue;
pub mod heartbeat;
pub mod http;
pub mod metrics;
pub mod noted;
pub mod pagerduty;
pub mod slack;
pub mod slack_bot;
pub mod undelivered;
pub mod webhook;
pub mod wording;

mod mrkdwn;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pitcrew_exporter::clock::monotonic;
use pitcrew_exporter::config::duration;
use pitcrew_exporter::github::Github;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use self::error::NotifyError;
use self::metrics::NotifyMetrics;
use crate::clock;
use crate::db::lane_memory::MAX_MEMORY;
use crate::db::outbox::{Claimed, Outbox, Outcome};
use crate::model::sample::Timestamp;
use crate::route::config::Notifications;
use crate::route::notification::Notification;
use crate::route::receiver::{Integration, Receiver, integration_key};
use crate::route::template::Templates;

/// Code that sends to one integration of one receiver.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Sends one notification once; `Ok` means that the receiver took it.
    ///
    /// May be dropped at any `.await` when the time of the attempt is up.
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError>;
}

/// What a receiver that took a notification leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Given to the next delivery to this group and integration; `None` forgets the last one. Kept
    /// in the same transaction as the success, up to [`MAX_MEMORY`] bytes.
    pub memory: Option<String>,
}

/// One line of `NOTIFIERS`.
pub struct Entry {
    /// The kind of receiver: `slack` of `slack_configs`.
    pub name: &'static str,
    /// One notifier for each integration of this kind, in order.
    pub build: fn(&Receiver, &Settings) -> Result<Notifiers, NotifyError>,
}

pub type Notifiers = Vec<Box<dyn Notifier>>;

/// Every kind of receiver.
pub const NOTIFIERS: &[Entry] = &[
    Entry { name: "slack", build: slack::build },
    Entry { name: "slack_bot", build: slack_bot::build },
    Entry { name: "email", build: email::build },
    Entry { name: "webhook", build: webhook::build },
    Entry { name: "discord", build: discord::build },
    Entry { name: "pagerduty", build: pagerduty::build },
    Entry { name: "github_issue", build: github_issue::build },
    Entry { name: "alertmanager", build: alertmanager::build },
];

/// What a notifier is given.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The same for every attempt, and of no other notification.
    pub id: &'a str,
    pub notification: &'a Notification,
    /// What the last delivery to this group and integration left in [`Sent::memory`].
    pub memory: Option<&'a str>,
}

/// How delivery is timed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where people reach this program; shown in notifications.
    #[serde(skip)]
    pub external_url: String,
    /// For the texts that receivers' keys ask for.
    #[serde(skip)]
    pub templates: Arc<Templates>,
    /// For issues; of its own, so that no other calls wait for theirs.
    #[serde(skip)]
    pub github: Option<Github>,
    /// Longest wait for the answer to one attempt.
    #[serde(with = "duration")]
    pub attempt_timeout: Duration,
    /// Before the second attempt; doubles with each further one, with jitter.
    #[serde(with = "duration")]
    pub min_backoff: Duration,
    #[serde(with = "duration")]
    pub max_backoff: Duration,
    /// After which a notification is given up and recorded as failed.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// How long finished notifications are remembered.
    #[serde(with = "duration")]
    pub keep_finished: Duration,
    /// Attempts under way at once to one integration.
    pub concurrency: usize,
    /// A receiver counts as not reached when a notification has been on its way for so long, or was
    /// given up.
    #[serde(with = "duration")]
    pub failing_after: Duration,
    /// Who is told of such a receiver; without it, whoever routing says.
    pub failure_receiver: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            external_url: String::new(),
            templates: Arc::default(),
            github: None,
            attempt_timeout: Duration::from_secs(10),
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(120),
            deadline: Duration::from_secs(24 * 3600),
            keep_finished: Duration::from_secs(7 * 24 * 3600),
            concurrency: 4,
            failing_after: Duration::from_secs(600),
            failure_receiver: None,
        }
    }
}

/// Longest wait that a receiver's Retry-After is obeyed for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// How often old rows are forgotten; also the longest sleep, in case the wall clock jumped.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How often what waits is counted while deliveries go on.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Attempts under way at the stop may take this long to finish.
const DRAIN: Duration = Duration::from_secs(3);
/// Between two tries to write down what a receiver answered.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// An integration of a kind that nothing here sends to.
pub fn without_notifier(config: &Notifications) -> Option<Integration> {
    let known = |kind| NOTIFIERS.iter().any(|entry| entry.name == kind);
    config.integrations().into_iter().find(|integration| !known(integration.kind))
}

struct Channel {
    kind: &'static str,
    notifier: Box<dyn Notifier>,
}

/// Delivers until `stop`, then lets attempts under way finish for a few seconds.
///
/// # Errors
/// When a notifier cannot be set up.
pub async fn run(
    config: Arc<Notifications>,
    settings: Settings,
    outbox: Outbox,
    metrics: NotifyMetrics,
    stop: CancellationToken,
) -> Result<(), NotifyError> {
    let channels = channels(&config, &settings)?;
    start(&channels, &outbox, &metrics, &stop).await;
    let worker = Worker { settings, outbox, metrics, stop: stop.clone() };
    let (mut running, mut owners) = (JoinSet::new(), HashMap::new());
    let mut busy: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut prune, mut counted) = (time::interval(PRUNE_EVERY), monotonic());
    loop {
        // What is due by now is claimed below; what comes due later is what to sleep for.
        let now = clock::now();
        for (key, channel) in &channels {
            let busy = busy.entry(key).or_default();
            for row in worker.claim(key, worker.settings.concurrency.max(1) - *busy, now).await {
                *busy += 1;
                let (worker, channel) = (worker.clone(), Arc::clone(channel));
                let task = running.spawn(async move { worker.deliver(&channel, row).await });
                owners.insert(task.id(), key.as_str());
            }
        }
        let mut sleep = worker.time_to_next(now).await;
        // With much to do the depth is counted now and then, not for each delivery.
        match running.is_empty() || counted.elapsed() >= COUNT_EVERY {
            true => counted = worker.count().await,
            false => sleep = sleep.min(COUNT_EVERY),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = worker.outbox.added() => {}
            Some(done) = running.join_next_with_id() => {
                // Those that ended meanwhile too: the next rows are claimed in one transaction.
                let others = std::iter::from_fn(|| running.try_join_next_with_id());
                for done in [done].into_iter().chain(others) {
                    let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                    let count = owners.remove(&id).and_then(|key| busy.get_mut(key));
                    count.into_iter().for_each(|count| *count -= 1);
                }
            }
            () = time::sleep(sleep) => {}
            _ = prune.tick() => worker.prune().await,
        }
    }
    let drained = time::timeout(DRAIN, async { while running.join_next().await.is_some() {} });
    if drained.await.is_err() {
        warn!(left = running.len(), "stopped while receivers were asked; they may be asked again");
    }
    Ok(())
}

fn channels(
    config: &Notifications,
    settings: &Settings,
) -> Result<BTreeMap<String, Arc<Channel>>, NotifyError> {
    let settings = Settings { templates: Arc::clone(&config.templates), ..settings.clone() };
    let mut channels = BTreeMap::new();
    for receiver in &config.receivers {
        for entry in NOTIFIERS {
            for (index, notifier) in (entry.build)(receiver, &settings)?.into_iter().enumerate() {
                let key = integration_key(&receiver.name, entry.name, index);
                channels.insert(key, Arc::new(Channel { kind: entry.name, notifier }));
            }
        }
    }
    Ok(channels)
}

/// Deals with what an earlier run left; tried until the database answers.
async fn start(
    channels: &BTreeMap<String, Arc<Channel>>,
    outbox: &Outbox,
    metrics: &NotifyMetrics,
    stop: &CancellationToken,
) {
    let known: Vec<String> = channels.keys().cloned().collect();
    while !stop.is_cancelled() {
        let now = clock::now();
        let found = async {
            let repeats = outbox.recover(now).await?;
            Ok::<_, crate::db::DbError>((repeats, outbox.fail_unknown(known.clone(), now).await?))
        };
        match found.await {
            Ok((repeats, gone)) => {
                for lane in repeats {
                    let kind = channels.get(&lane.integration).map_or("gone", |c| c.kind);
                    metrics.possible_repeat(kind, "restart");
                    let (group, integration) = (lane.group_key, lane.integration);
                    info!(group, integration, "answer lost by a restart; it may be told twice");
                }
                for lane in gone {
                    metrics.outcome("gone", "unconfigured");
                    let (group, integration) = (lane.group_key, lane.integration);
                    error!(group, integration, "notification given up: no such receiver now");
                }
                return;
            }
            Err(error) => {
                error!(%error, "outbox cannot be read");
                stop.run_until_cancelled(time::sleep(RECORD_AGAIN)).await;
            }
        }
    }
}

#[derive(Clone)]
struct Worker {
    settings: Settings,
    outbox: Outbox,
    metrics: NotifyMetrics,
    stop: CancellationToken,
}

impl Worker {
    async fn claim(&self, key: &str, free: usize, now: Timestamp) -> Vec<Claimed> {
        if free == 0 {
            return Vec::new();
        }
        let found = self.outbox.claim(key.to_owned(), free, now).await;
        found.unwrap_or_else(|error| {
            error!(%error, integration = key, "outbox cannot be read");
            Vec::new()
        })
    }

    /// Brings the gauges up to date; when that was.
    async fn count(&self) -> Instant {
        match self.outbox.depth().await {
            Ok((count, oldest)) => self.metrics.depth(count, oldest),
            Err(error) => error!(%error, "outbox cannot be read"),
        }
        monotonic()
    }

    /// Until the first row due after `now` comes due.
    async fn time_to_next(&self, now: Timestamp) -> Duration {
        match self.outbox.next_due(now).await {
            Ok(Some(at)) => at.since(clock::now()).min(LONGEST_SLEEP),
            Ok(None) => LONGEST_SLEEP,
            Err(_) => RECORD_AGAIN,
        }
    }

    async fn prune(&self) {
        let before = clock::now().minus(self.settings.keep_finished);
        if let Err(error) = self.outbox.prune(before).await {
            error!(%error, "finished notifications not pruned");
        }
    }

    /// One attempt at one row, and the record of it.
    async fn deliver(&self, channel: &Channel, mut row: Claimed) {
        let kind = channel.kind;
        let read = serde_json::from_str::<Notification>(&row.payload);
        // Of thousands of alerts it is large, and said twice from here on.
        row.payload = String::new();
        let integration = row.lane.integration.as_str();
        let outcome = match read {
            Ok(mut notification) => {
                notification.retain_told(&row.told);
                match notification.alerts.is_empty() {
                    true => Outcome::Skipped,
                    false => self.attempt(channel, &row, &notification).await,
                }
            }
            Err(error) => Outcome::Failed { error: error.to_string(), perhaps: false },
        };
        let (id, attempt) = (row.delivery_id.as_str(), row.attempts);
        match &outcome {
            Outcome::Delivered { .. } => {
                self.metrics.outcome(kind, "delivered");
                if let Some(fired_at) = row.fired_at {
                    self.metrics.latency(kind, clock::now().since(fired_at));
                }
                debug!(integration, id, attempt, "notification delivered");
            }
            Outcome::Skipped => self.metrics.outcome(kind, "skipped"),
            Outcome::Retry { error, perhaps, .. } => {
                self.metrics.outcome(kind, "retried");
                if *perhaps {
                    self.metrics.possible_repeat(kind, "timeout");
                }
                warn!(error, integration, id, attempt, "notification not delivered yet");
            }
            Outcome::Failed { error, .. } => {
                self.metrics.outcome(kind, "failed");
                error!(error, integration, id, attempt, "notification given up");
            }
        }
        self.record(row.id, outcome).await;
    }

    async fn attempt(&self, channel: &Channel, row: &Claimed, what: &Notification) -> Outcome {
        let memory = row.memory.as_deref();
        let delivery = Delivery { id: &row.delivery_id, notification: what, memory };
        let limit = self.settings.attempt_timeout;
        let error = match time::timeout(limit, channel.notifier.send(&delivery)).await {
            Ok(Ok(sent)) => return Outcome::Delivered { memory: self.fitting(sent.memory, row) },
            Ok(Err(error)) => error,
            Err(_) => NotifyError::NoAnswer {
                to: row.lane.integration.clone(),
                cause: format!("none within {}", duration::format(limit)),
            },
        };
        judge(&error, row, &self.settings, clock::now(), fastrand::f64())
    }

    fn fitting(&self, memory: Option<String>, row: &Claimed) -> Option<String> {
        let bytes = memory.as_ref().map_or(0, String::len);
        if bytes > MAX_MEMORY {
            error!(bytes, integration = row.lane.integration, "a receiver's memory is too long");
        }
        memory.filter(|_| bytes <= MAX_MEMORY)
    }

    /// Writes the outcome down; until that is done the row stays `sending` and holds up its lane.
    async fn record(&self, id: i64, outcome: Outcome) {
        loop {
            match self.outbox.record(id, outcome.clone(), clock::now()).await {
                Ok(()) => return,
                Err(error) => error!(%error, "outcome of a notification not recorded"),
            }
            if self.stop.run_until_cancelled(time::sleep(RECORD_AGAIN)).await.is_none() {
                return;
            }
        }
    }
}

/// What to do after a failed attempt; `chance` in 0–1 spreads the retries.
fn judge(
    error: &NotifyError,
    row: &Claimed,
    settings: &Settings,
    now: Timestamp,
    chance: f64,
) -> Outcome {
    let (text, perhaps) = (error.to_string(), matches!(error, NotifyError::NoAnswer { .. }));
    if let NotifyError::Refused { .. } = error {
        return Outcome::Failed { error: text, perhaps };
    }
    let asked = match error {
        NotifyError::Busy { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let doublings = row.attempts.saturating_sub(1).min(16);
    let backoff = settings.min_backoff.saturating_mul(1 << doublings).min(settings.max_backoff);
    // Nobody comes back before the time that was asked for, and not everybody right at it.
    let asked = asked.min(LONGEST_RETRY_AFTER).mul_f64(1.0 + chance / 10.0);
    let due_at = now.plus(backoff.mul_f64(0.5 + chance / 2.0).max(asked));
    match due_at > row.created_at.plus(settings.deadline) {
        true => Outcome::Failed { error: format!("deadline passed: {text}"), perhaps },
        false => Outcome::Retry { due_at, error: text, perhaps },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::notification_log::{Hashes, Lane};

    #[test]
    fn back_off_doubles_obeys_retry_after_and_ends_at_the_deadline() {
        let to = || "host".to_owned();
        let settings = Settings::default();
        let busy = |retry_after| NotifyError::Busy { to: to(), answer: "503".into(), retry_after };
        let lost = || NotifyError::NoAnswer { to: to(), cause: "closed".into() };
        let refused = || NotifyError::Refused { to: to(), answer: "404".into() };
        // attempts so far | error | age in s | due after s (0: given up) | may have arrived
        for (attempts, error, age, due, maybe) in [
            (1, busy(None), 0, 1, false),
            (2, lost(), 0, 2, true),
            (4, busy(None), 0, 8, false),
            (40, busy(None), 0, 120, false),
            (1, busy(Some(Duration::from_secs(30))), 0, 33, false),
            (1, busy(Some(Duration::from_secs(999_999))), 0, 3960, false),
            (1, refused(), 0, 0, false),
            (1, busy(None), 86_400, 0, false),
            (9, lost(), 86_400, 0, true),
        ] {
            let row = Claimed {
                id: 1,
                lane: Lane { group_key: String::new(), integration: String::new() },
                delivery_id: String::new(),
                payload: String::new(),
                fired_at: None,
                created_at: Timestamp(0),
                attempts,
                told: Hashes::new(),
                memory: None,
            };
            let now = Timestamp(age * 1000);
            match judge(&error, &row, &settings, now, 1.0) {
                Outcome::Retry { due_at, perhaps, .. } => {
                    assert_eq!((due_at.since(now).as_secs(), perhaps), (due, maybe), "{error}");
                }
                Outcome::Failed { perhaps, .. } => {
                    assert_eq!((0, perhaps), (due, maybe), "{error}")
                }
                other => panic!("{error}: {other:?}"),
            }
        }
    }
}
