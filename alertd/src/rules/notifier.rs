//! Alerts of the rules to other Alertmanagers, as Prometheus sends them: `alerting` of alertd.yaml.
//!
//! Each of them has a queue of its own, in memory: rules tell a firing alert again every minute and
//! the end of one for a quarter of an hour, so what a kill loses is told again. What an Alertmanager
//! does not take is tried again, with growing pauses, for as long as it is true.

pub mod config;
pub mod metrics;
mod post;
mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::config::AlertingConfig;
use self::metrics::{AlertmanagerMetrics, NotifierMetrics};
use self::post::{Answer, Poster};
use self::queue::{Queue, Waiting};
use crate::clock;
use crate::model::alert::Alert;
use crate::relabel::{self, Rule};

/// Alerts of one request.
const MOST_PER_REQUEST: usize = 256;
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// How long what waits at the stop may take to be sent.
const GRACE: Duration = Duration::from_millis(800);

/// The Alertmanagers that rules tell; clones share the queues. By default there are none.
#[derive(Clone, Default)]
pub struct Notifier {
    relabel: Arc<[Rule]>,
    outlets: Arc<[Arc<Outlet>]>,
}

struct Outlet {
    poster: Poster,
    relabel: Vec<Rule>,
    queue: Mutex<Queue>,
    bell: Notify,
    metrics: AlertmanagerMetrics,
}

impl Notifier {
    /// One queue for each Alertmanager of a configuration that has been checked.
    pub fn new(config: &AlertingConfig, metrics: &NotifierMetrics) -> Notifier {
        let mut outlets = Vec::new();
        for alertmanager in &config.alertmanagers {
            for url in alertmanager.urls() {
                outlets.push(Arc::new(Outlet {
                    metrics: metrics.of(&url),
                    poster: Poster::new(url, alertmanager),
                    relabel: alertmanager.alert_relabel_configs.clone(),
                    queue: Mutex::default(),
                    bell: Notify::new(),
                }));
            }
        }
        metrics.discovered(outlets.len());
        Notifier { relabel: config.alert_relabel_configs.clone().into(), outlets: outlets.into() }
    }

    /// Where alerts go.
    pub fn urls(&self) -> Vec<String> {
        self.outlets.iter().map(|outlet| outlet.poster.url().to_owned()).collect()
    }

    /// Queues the alerts everywhere and returns at once; a full queue loses its oldest, counted.
    pub fn send(&self, alerts: &[Alert]) {
        if self.outlets.is_empty() {
            return;
        }
        let now = clock::now();
        let alerts: Vec<_> =
            alerts.iter().filter_map(|alert| relabelled(&self.relabel, alert)).collect();
        for outlet in self.outlets.iter() {
            let own = alerts.iter().filter_map(|alert| match outlet.relabel.is_empty() {
                true => Some(Arc::clone(alert)),
                false => relabelled(&outlet.relabel, alert),
            });
            let mut queue = outlet.queue();
            let lost: usize = own.map(|alert| queue.push(Waiting::new(alert, now))).sum();
            outlet.metrics.dropped("full", lost);
            outlet.metrics.waiting(queue.len());
            drop(queue);
            outlet.bell.notify_one();
        }
    }

    /// Sends until `stop`, then for a moment what still waits.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for outlet in self.outlets.iter() {
            tasks.spawn(Arc::clone(outlet).run(stop.clone()));
        }
        stop.cancelled().await;
        while tasks.join_next().await.is_some() {}
    }
}

/// The alert that is left of one after the rules.
fn relabelled(rules: &[Rule], alert: &Alert) -> Option<Arc<Alert>> {
    let labels = relabel::apply(rules, &alert.labels).filter(|labels| !labels.is_empty())?;
    Some(Arc::new(Alert { labels, ..alert.clone() }))
}

impl Outlet {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let Some(batch) = self.next() else {
                stop.run_until_cancelled(self.bell.notified()).await;
                continue;
            };
            // What is under way at the stop may end.
            let limit = async {
                stop.cancelled().await;
                time::sleep(GRACE).await;
            };
            let sent = tokio::select! {
                sent = self.send(batch, failures) => sent,
                () = limit => return,
            };
            match sent {
                Ok(()) => failures = 0,
                Err(wait) => {
                    failures += 1;
                    stop.run_until_cancelled(time::sleep(wait)).await;
                }
            }
        }
        let drain = async {
            while let Some(batch) = self.next() {
                if self.send(batch, failures).await.is_err() {
                    return;
                }
            }
        };
        time::timeout(GRACE, drain).await.ok();
    }

    /// The next alerts that are still true.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.queue();
        let (batch, expired) = queue.take(MOST_PER_REQUEST, clock::now());
        self.metrics.dropped("expired", expired);
        self.metrics.waiting(queue.len());
        (!batch.is_empty()).then_some(batch)
    }

    /// One request. An error says how long to wait: the alerts are back in the queue then.
    async fn send(&self, batch: Vec<Waiting>, failures: u32) -> Result<(), Duration> {
        let began = pitcrew_exporter::clock::monotonic();
        let answer = self.poster.post(batch.iter().map(|waiting| &*waiting.alert)).await;
        self.metrics.asked(began.elapsed());
        let url = self.poster.url();
        match answer {
            Answer::Taken => {
                if failures > 0 {
                    info!(url, failures, "the Alertmanager takes alerts again");
                }
                self.metrics.sent(batch.len());
                Ok(())
            }
            Answer::Refused { why } => {
                warn!(url, alerts = batch.len(), why, "the Alertmanager refused alerts");
                self.metrics.failed(batch.len());
                self.metrics.dropped("refused", batch.len());
                Ok(())
            }
            Answer::Later { why, after } => {
                if failures == 0 {
                    warn!(url, why, "alerts not sent; it goes on while they are true");
                }
                self.metrics.failed(batch.len());
                let lost = self.queue().put_back(batch);
                self.metrics.dropped("full", lost);
                let wait = MIN_BACKOFF.saturating_mul(1 << failures.min(10)).min(MAX_BACKOFF);
                let wait = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
                Err(wait.max(after.unwrap_or_default()))
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
