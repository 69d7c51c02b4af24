//! What remote write says about itself on `/metrics`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Protocol;
use super::message::Outcome;
use crate::model::sample::Timestamp;

/// The receiver's counters. Cheap to clone: the values are shared.
#[derive(Debug, Clone)]
pub struct ReceiveMetrics {
    requests: Family<RequestLabels, Counter>,
    samples: Counter,
    refused: Family<ReasonLabels, Counter>,
    exemplars: Counter,
    metadata_refused: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl ReceiveMetrics {
    pub fn new(registry: &mut Registry) -> ReceiveMetrics {
        let metrics = ReceiveMetrics {
            requests: Family::default(),
            samples: Counter::default(),
            refused: Family::default(),
            exemplars: Counter::default(),
            metadata_refused: Counter::default(),
        };
        let name = |rest: &str| format!("pitcrew_alertd_remote_write_{rest}");
        registry.register(
            name("received_requests"),
            "Write requests from others by protocol and what came of them",
            metrics.requests.clone(),
        );
        registry.register(
            name("received_samples"),
            "Samples of write requests that the store took, stale markers included",
            metrics.samples.clone(),
        );
        registry.register(
            name("received_samples_refused"),
            "Samples of write requests that were not stored, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            name("received_exemplars_dropped"),
            "Exemplars of write requests, which are not kept",
            metrics.exemplars.clone(),
        );
        registry.register(
            name("received_metadata_refused"),
            "Metrics of which write requests said something that is not kept",
            metrics.metadata_refused.clone(),
        );
        metrics
    }

    /// `outcome` is a short name of what the sender was told.
    pub fn answered(&self, protocol: Protocol, outcome: &'static str) {
        let labels = RequestLabels { protocol: protocol.version(), outcome };
        self.requests.get_or_create(&labels).inc();
    }

    /// `refused` metrics for which there was no room beside what was kept before.
    pub fn stored(&self, outcome: &Outcome, refused: usize) {
        self.metadata_refused.inc_by((outcome.metadata_refused + refused) as u64);
        self.samples.inc_by(outcome.appended.accepted as u64);
        self.exemplars.inc_by(outcome.exemplars as u64);
        let refused = outcome.appended.refused().into_iter();
        for (reason, count) in refused.chain([("native_histogram", outcome.histograms)]) {
            if count > 0 {
                self.refused.get_or_create(&ReasonLabels { reason }).inc_by(count as u64);
            }
        }
    }
}

type Seconds = Gauge<f64, AtomicU64>;

/// The senders' counters, each by receiver. Cheap to clone: the values are shared.
#[derive(Debug, Clone)]
pub struct SendMetrics {
    sent: Family<RemoteLabels, Counter>,
    metadata: Family<RemoteLabels, Counter>,
    metadata_failed: Family<RemoteLabels, Counter>,
    retried: Family<RemoteLabels, Counter>,
    dropped: Family<DropLabels, Counter>,
    bytes: Family<RemoteLabels, Counter>,
    pending: Family<RemoteLabels, Gauge>,
    queue_bytes: Family<RemoteLabels, Gauge>,
    shards: Family<RemoteLabels, Gauge>,
    newest_in: Family<RemoteLabels, Seconds>,
    newest_sent: Family<RemoteLabels, Seconds>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemoteLabels {
    remote: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    remote: Arc<str>,
    reason: &'static str,
}

/// One receiver's share of them.
#[derive(Debug, Clone)]
pub struct RemoteMetrics {
    all: SendMetrics,
    remote: Arc<str>,
}

impl SendMetrics {
    pub fn new(registry: &mut Registry) -> SendMetrics {
        let metrics = SendMetrics {
            sent: Family::default(),
            metadata: Family::default(),
            metadata_failed: Family::default(),
            retried: Family::default(),
            dropped: Family::default(),
            bytes: Family::default(),
            pending: Family::default(),
            queue_bytes: Family::default(),
            shards: Family::default(),
            newest_in: Family::default(),
            newest_sent: Family::default(),
        };
        let name = |rest: &str| format!("pitcrew_alertd_remote_write_{rest}");
        for (rest, help, family) in [
            ("sent_samples", "Samples that the receiver took", &metrics.sent),
            ("sent_metadata", "Metrics of which the receiver was told", &metrics.metadata),
            (
                "failed_metadata",
                "Metrics of which the receiver would not be told; the next time is an interval later",
                &metrics.metadata_failed,
            ),
            ("retried_samples", "Samples that were sent again after an error", &metrics.retried),
            ("sent_bytes", "Bytes of requests that the receiver took, compressed", &metrics.bytes),
        ] {
            registry.register(name(rest), help, family.clone());
        }
        registry.register(
            name("dropped_samples"),
            "Samples that will not be sent any more, by reason",
            metrics.dropped.clone(),
        );
        for (rest, help, family) in [
            ("pending_samples", "Samples that wait in the queue on disk", &metrics.pending),
            ("queue_bytes", "Size of the queue on disk", &metrics.queue_bytes),
            ("shards", "Requests that may be under way at a time", &metrics.shards),
        ] {
            registry.register(name(rest), help, family.clone());
        }
        for (rest, help, family) in [
            ("queued_timestamp", "Newest timestamp that was queued, unixtime", &metrics.newest_in),
            ("sent_timestamp", "Newest timestamp that was sent, unixtime", &metrics.newest_sent),
        ] {
            registry.register_with_unit(name(rest), help, Unit::Seconds, family.clone());
        }
        metrics
    }

    pub fn of(&self, remote: &str) -> RemoteMetrics {
        RemoteMetrics { all: self.clone(), remote: remote.into() }
    }
}

impl RemoteMetrics {
    pub fn sent(&self, samples: usize, bytes: usize, newest: Timestamp) {
        self.all.sent.get_or_create(&self.labels()).inc_by(samples as u64);
        self.all.bytes.get_or_create(&self.labels()).inc_by(bytes as u64);
        raise(&self.all.newest_sent.get_or_create(&self.labels()), newest);
    }

    pub fn described(&self, metrics: usize, taken: bool) {
        let family = if taken { &self.all.metadata } else { &self.all.metadata_failed };
        family.get_or_create(&self.labels()).inc_by(metrics as u64);
    }

    pub fn retried(&self, samples: usize) {
        self.all.retried.get_or_create(&self.labels()).inc_by(samples as u64);
    }

    pub fn dropped(&self, reason: &'static str, samples: u64) {
        if samples > 0 {
            let labels = DropLabels { remote: Arc::clone(&self.remote), reason };
            self.all.dropped.get_or_create(&labels).inc_by(samples);
        }
    }

    pub fn came_in(&self, newest: Timestamp) {
        raise(&self.all.newest_in.get_or_create(&self.labels()), newest);
    }

    /// Samples and bytes.
    pub fn queue(&self, (samples, bytes): (u64, u64)) {
        let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.all.pending.get_or_create(&self.labels()).set(number(samples));
        self.all.queue_bytes.get_or_create(&self.labels()).set(number(bytes));
    }

    pub fn shards(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.all.shards.get_or_create(&self.labels()).set(count);
    }

    fn labels(&self) -> RemoteLabels {
        RemoteLabels { remote: Arc::clone(&self.remote) }
    }
}

fn raise(gauge: &Seconds, to: Timestamp) {
    if gauge.get() < to.seconds() {
        gauge.set(to.seconds());
    }
}
