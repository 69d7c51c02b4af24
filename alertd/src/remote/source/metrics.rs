//! How the remote source fares, in numbers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

const BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone)]
pub struct SourceMetrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<OperationLabels, Histogram, fn() -> Histogram>,
    samples: Family<OutcomeLabels, Counter>,
    up: Family<DirectionLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

impl SourceMetrics {
    pub fn new(registry: &mut Registry) -> SourceMetrics {
        let metrics = SourceMetrics {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            samples: Family::default(),
            up: Family::default(),
        };
        let name = |rest: &str| format!("pitcrew_alertd_source_{rest}");
        registry.register(
            name("requests"),
            "Requests to the remote source, by what they ask and what came of them",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            name("request_duration"),
            "Time of a request to the remote source, repeats included",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            name("samples"),
            "Samples for the remote source, by whether it took them",
            metrics.samples.clone(),
        );
        registry.register(
            name("up"),
            "Whether the remote source answered when last asked, by direction",
            metrics.up.clone(),
        );
        metrics
    }

    pub(super) fn asked(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, outcome }).inc();
        let duration = self.duration.get_or_create(&OperationLabels { operation });
        duration.observe(took.as_secs_f64());
    }

    pub(super) fn samples(&self, outcome: &'static str, count: usize) {
        self.samples.get_or_create(&OutcomeLabels { outcome }).inc_by(count as u64);
    }

    pub(super) fn up(&self, direction: &'static str, up: bool) {
        self.up.get_or_create(&DirectionLabels { direction }).set(i64::from(up));
    }
}
