//! What the store says about itself on `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::report::Report;
use super::{Stats, Tsdb};

/// Cheap to clone: the values are shared.
#[derive(Debug, Clone, Default)]
pub struct StoreMetrics {
    series: Gauge,
    samples: Gauge,
    bytes: Gauge,
    log_bytes: Gauge,
    syncs: Counter,
    sync_seconds: Counter<f64, AtomicU64>,
    write_failures: Counter,
    checkpoints: Family<Outcome, Counter>,
    checkpoint_seconds: Counter<f64, AtomicU64>,
    appended: Counter,
    refused: Family<Reason, Counter>,
    repairs: Family<Kind, Counter>,
    orphans: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl StoreMetrics {
    pub fn new(registry: &mut Registry) -> StoreMetrics {
        let metrics = StoreMetrics::default();
        let mut registry = registry.sub_registry_with_prefix("pitcrew_alertd_tsdb");
        let registry = &mut registry;
        registry.register("series", "Series in memory", metrics.series.clone());
        registry.register("samples", "Samples in memory", metrics.samples.clone());
        registry.register(
            "memory_bytes",
            "Memory that the store's samples and labels take",
            metrics.bytes.clone(),
        );
        registry.register("wal_bytes", "Size of the write-ahead log", metrics.log_bytes.clone());
        registry.register(
            "wal_syncs",
            "Times that the log was brought to disk, each for all who waited",
            metrics.syncs.clone(),
        );
        registry.register(
            "wal_sync_seconds",
            "Time that bringing the log to disk has taken",
            metrics.sync_seconds.clone(),
        );
        registry.register(
            "wal_write_failures",
            "Attempts to bring the log to disk that failed; nothing of them was acknowledged",
            metrics.write_failures.clone(),
        );
        registry.register(
            "checkpoints",
            "Checkpoints of the memory, which end the log before them, by what came of them",
            metrics.checkpoints.clone(),
        );
        registry.register(
            "checkpoint_seconds",
            "Time that checkpoints have taken",
            metrics.checkpoint_seconds.clone(),
        );
        registry.register(
            "samples_appended",
            "Samples that were taken, those known already among them",
            metrics.appended.clone(),
        );
        registry.register(
            "samples_refused",
            "Samples that were not taken, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "repairs",
            "Damage in the store's files that was found and passed over, by kind",
            metrics.repairs.clone(),
        );
        registry.register(
            "orphaned_samples",
            "Samples in the log whose series was lost with a damaged record",
            metrics.orphans.clone(),
        );
        metrics
    }

    /// What opening the store found.
    pub fn opened(&self, report: &Report) {
        for (kind, count) in &report.repaired {
            self.repairs.get_or_create(&Kind { kind: kind.name() }).inc_by(*count);
        }
        self.orphans.inc_by(report.orphans as u64);
    }

    /// As it is now.
    pub fn update(&self, tsdb: &Tsdb) {
        let Stats { series, samples, bytes, log_bytes, log, checkpoints, appended } = tsdb.stats();
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.series, series);
        set(&self.samples, samples);
        set(&self.bytes, bytes);
        self.log_bytes.set(i64::try_from(log_bytes).unwrap_or(i64::MAX));
        // These only grow, and are counted where they happen.
        self.syncs.inner().store(log.syncs, Ordering::Relaxed);
        self.sync_seconds.inner().store(log.syncing.as_secs_f64().to_bits(), Ordering::Relaxed);
        for (outcome, count) in [("done", checkpoints.done), ("failed", checkpoints.failed)] {
            let counter = self.checkpoints.get_or_create(&Outcome { outcome });
            counter.inner().store(count, Ordering::Relaxed);
        }
        let seconds = checkpoints.took.as_secs_f64().to_bits();
        self.checkpoint_seconds.inner().store(seconds, Ordering::Relaxed);
        self.write_failures.inner().store(log.failures, Ordering::Relaxed);
        self.appended.inner().store(appended.accepted as u64, Ordering::Relaxed);
        for (reason, count) in appended.refused() {
            let counter = self.refused.get_or_create(&Reason { reason });
            counter.inner().store(count as u64, Ordering::Relaxed);
        }
    }
}
