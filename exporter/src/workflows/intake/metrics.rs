//! What the log says about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metric::{Desc, Families};

const COMMITS: Desc = Desc::counter(
    "pitcrew_exporter_workflow_log_commits_total",
    "Transactions that were synced to disk; one holds many deliveries.",
);
const FAILURES: Desc = Desc::counter(
    "pitcrew_exporter_workflow_log_failures_total",
    "Transactions that failed; what they held was refused.",
);
const EVENTS: Desc = Desc::gauge(
    "pitcrew_exporter_workflow_log_events",
    "Events in the log that no snapshot holds yet.",
);
const BYTES: Desc =
    Desc::gauge("pitcrew_exporter_workflow_log_bytes", "Size of the log's file and its journal.");
const SNAPSHOTS: Desc = Desc::counter(
    "pitcrew_exporter_workflow_log_snapshots_total",
    "Snapshots of the state that took the place of events.",
);
const FORGOTTEN: Desc = Desc::counter(
    "pitcrew_exporter_workflow_log_ids_forgotten_total",
    "Delivery ids that were forgotten before their time, since there were too many.",
);
pub const DESCS: &[Desc] = &[COMMITS, FAILURES, EVENTS, BYTES, SNAPSHOTS, FORGOTTEN];

#[derive(Default)]
pub(super) struct LogMetrics {
    pub(super) commits: Number,
    pub(super) failures: Number,
    pub(super) events: Number,
    pub(super) bytes: Number,
    pub(super) snapshots: Number,
    pub(super) forgotten: Number,
}

#[derive(Default)]
pub(super) struct Number(AtomicU64);

impl Number {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl LogMetrics {
    pub(super) fn families(&self, out: &mut Families) {
        let LogMetrics { commits, failures, events, bytes, snapshots, forgotten } = self;
        let numbers = [commits, failures, events, bytes, snapshots, forgotten];
        for (desc, Number(value)) in DESCS.iter().zip(numbers) {
            out.set(desc, value.load(Ordering::Relaxed) as f64);
        }
    }
}
