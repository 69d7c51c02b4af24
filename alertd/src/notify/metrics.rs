//! How delivery goes, in numbers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::clock;
use crate::model::sample::Timestamp;

const LATENCY_BUCKETS: [f64; 15] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0];

#[derive(Clone)]
pub struct NotifyMetrics {
    outcomes: Family<OutcomeLabels, Counter>,
    possible_repeats: Family<RepeatLabels, Counter>,
    latency: Family<IntegrationLabels, Histogram, fn() -> Histogram>,
    depth: Gauge,
    failing: Gauge,
    /// When delivery last looked around, in milliseconds.
    beat: Arc<AtomicI64>,
    /// When the oldest row was added, in milliseconds; negative when there is none.
    oldest: Arc<AtomicI64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    integration: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepeatLabels {
    integration: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IntegrationLabels {
    integration: &'static str,
}

impl NotifyMetrics {
    pub fn new(registry: &mut Registry) -> NotifyMetrics {
        let metrics = NotifyMetrics {
            outcomes: Family::default(),
            possible_repeats: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            depth: Gauge::default(),
            failing: Gauge::default(),
            beat: Arc::default(),
            oldest: Arc::new(AtomicI64::new(-1)),
        };
        let name = |rest: &str| format!("pitcrew_alertd_{rest}");
        registry.register(
            name("notifications"),
            "Attempts to deliver a notification, by kind of receiver and outcome",
            metrics.outcomes.clone(),
        );
        registry.register(
            name("notification_possible_repeats"),
            "Notifications that may arrive twice, because an answer was lost",
            metrics.possible_repeats.clone(),
        );
        registry.register_with_unit(
            name("notification_latency"),
            "From the start of an alert to its first notification being accepted",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register(
            name("receivers_failing"),
            "Integrations of receivers to which notifications cannot be delivered",
            metrics.failing.clone(),
        );
        registry.register(
            name("outbox_notifications"),
            "Notifications on their way",
            metrics.depth.clone(),
        );
        registry.register_collector(Box::new(OldestAge(Arc::clone(&metrics.oldest))));
        metrics
    }

    pub(super) fn outcome(&self, integration: &'static str, outcome: &'static str) {
        self.outcomes.get_or_create(&OutcomeLabels { integration, outcome }).inc();
    }

    pub(super) fn possible_repeat(&self, integration: &'static str, cause: &'static str) {
        self.possible_repeats.get_or_create(&RepeatLabels { integration, cause }).inc();
    }

    pub(super) fn latency(&self, integration: &'static str, time: Duration) {
        let labels = IntegrationLabels { integration };
        self.latency.get_or_create(&labels).observe(time.as_secs_f64());
    }

    /// When delivery last looked around and could read the outbox.
    pub fn last_look(&self) -> Timestamp {
        Timestamp(self.beat.load(Ordering::Relaxed))
    }

    pub(super) fn failing(&self, count: usize) {
        self.failing.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn depth(&self, count: u64, oldest: Option<Timestamp>) {
        self.beat.store(clock::now().0, Ordering::Relaxed);
        self.depth.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.oldest.store(oldest.map_or(-1, |at| at.0), Ordering::Relaxed);
    }
}

/// The age of the oldest row as of each scrape: it grows while nothing happens.
#[derive(Debug)]
struct OldestAge(Arc<AtomicI64>);

impl Collector for OldestAge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let oldest = self.0.load(Ordering::Relaxed);
        let age = match oldest < 0 {
            true => 0.0,
            false => clock::now().since(Timestamp(oldest)).as_secs_f64(),
        };
        let gauge = ConstGauge::new(age);
        let metric = encoder.encode_descriptor(
            "pitcrew_alertd_outbox_oldest_age",
            "Age of the oldest notification on its way, 0 without one",
            Some(&Unit::Seconds),
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}
