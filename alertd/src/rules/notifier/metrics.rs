//! How alerts get to the Alertmanagers, in numbers.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The same for all Alertmanagers; [`NotifierMetrics::of`] is the share of one.
#[derive(Clone)]
pub struct NotifierMetrics {
    discovered: Gauge,
    sent: Family<Of, Counter>,
    errors: Family<Of, Counter>,
    dropped: Family<Dropped, Counter>,
    waiting: Family<Of, Gauge>,
    latency: Family<Of, Histogram, fn() -> Histogram>,
}

/// `alertmanager` is where alerts are posted to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    alertmanager: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    alertmanager: Arc<str>,
    reason: &'static str,
}

pub(super) struct AlertmanagerMetrics {
    all: NotifierMetrics,
    of: Of,
}

impl NotifierMetrics {
    pub fn new(registry: &mut Registry) -> NotifierMetrics {
        let metrics = NotifierMetrics {
            discovered: Gauge::default(),
            sent: Family::default(),
            errors: Family::default(),
            dropped: Family::default(),
            waiting: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        let name = |rest: &str| format!("pitcrew_alertd_alertmanager{rest}");
        registry.register(
            name("s_discovered"),
            "Alertmanagers that rules tell of their alerts",
            metrics.discovered.clone(),
        );
        for (rest, help, family) in [
            ("_sent_alerts", "Alerts that the Alertmanager took", &metrics.sent),
            ("_errors", "Alerts in requests that the Alertmanager did not take", &metrics.errors),
        ] {
            registry.register(name(rest), help, family.clone());
        }
        registry.register(
            name("_dropped_alerts"),
            "Alerts that will not be sent, by reason; rules tell what still fires again",
            metrics.dropped.clone(),
        );
        registry.register(
            name("_queue_length"),
            "Alerts that wait to be sent",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            name("_latency"),
            "Time that requests with alerts took",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        metrics
    }

    pub(super) fn discovered(&self, count: usize) {
        self.discovered.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Its counters exist from now on: an increase from nothing cannot be seen.
    pub(super) fn of(&self, url: &str) -> AlertmanagerMetrics {
        let metrics =
            AlertmanagerMetrics { all: self.clone(), of: Of { alertmanager: url.into() } };
        metrics.sent(0);
        metrics.failed(0);
        for reason in ["full", "expired", "refused"] {
            metrics.dropped(reason, 0);
        }
        metrics
    }
}

impl AlertmanagerMetrics {
    pub(super) fn sent(&self, alerts: usize) {
        self.all.sent.get_or_create(&self.of).inc_by(alerts as u64);
    }

    pub(super) fn failed(&self, alerts: usize) {
        self.all.errors.get_or_create(&self.of).inc_by(alerts as u64);
    }

    pub(super) fn dropped(&self, reason: &'static str, alerts: usize) {
        let labels = Dropped { alertmanager: Arc::clone(&self.of.alertmanager), reason };
        self.all.dropped.get_or_create(&labels).inc_by(alerts as u64);
    }

    pub(super) fn waiting(&self, alerts: usize) {
        let count = i64::try_from(alerts).unwrap_or(i64::MAX);
        self.all.waiting.get_or_create(&self.of).set(count);
    }

    pub(super) fn asked(&self, time: Duration) {
        self.all.latency.get_or_create(&self.of).observe(time.as_secs_f64());
    }
}
