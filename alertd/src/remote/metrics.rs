//! What remote write says about itself on `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Protocol;
use super::message::Outcome;

/// The receiver's counters. Cheap to clone: the values are shared.
#[derive(Debug, Clone)]
pub struct ReceiveMetrics {
    requests: Family<RequestLabels, Counter>,
    samples: Counter,
    refused: Family<ReasonLabels, Counter>,
    exemplars: Counter,
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
        metrics
    }

    /// `outcome` is a short name of what the sender was told.
    pub fn answered(&self, protocol: Protocol, outcome: &'static str) {
        let labels = RequestLabels { protocol: protocol.version(), outcome };
        self.requests.get_or_create(&labels).inc();
    }

    pub fn stored(&self, outcome: &Outcome) {
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
