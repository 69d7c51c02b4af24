//! What became of deliveries, by kind of event and by reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metric::{Desc, Families};
use crate::workflows::payload::KINDS;

const DELIVERIES: Desc = Desc::counter(
    "pitcrew_exporter_webhook_deliveries_total",
    "Deliveries of GitHub's webhook that were accepted, by kind of event; other: kinds that tell \
     nothing here.",
)
.with_labels(&["event"]);
const DUPLICATES: Desc = Desc::counter(
    "pitcrew_exporter_webhook_duplicates_total",
    "Deliveries that had been accepted before, by their id; they change nothing.",
);
const REFUSED: Desc = Desc::counter(
    "pitcrew_exporter_webhook_refused_total",
    "Deliveries that were not accepted, by reason.",
)
.with_labels(&["reason"]);
const LAST: Desc = Desc::gauge(
    "pitcrew_exporter_webhook_last_delivery_timestamp_seconds",
    "When a delivery was last accepted, in unixtime; absent before the first one.",
);
const ANSWERED: Desc = Desc::histogram(
    "pitcrew_exporter_webhook_answer_duration_seconds",
    "From a delivery's head to its answer, the body's way and the disk's sync included.",
);
pub const DESCS: &[Desc] = &[DELIVERIES, DUPLICATES, REFUSED, LAST, ANSWERED];

/// All that there are, so that each is there from the start.
const REASONS: [&str; 13] = [
    "unsigned",
    "signature",
    "too_large",
    "incomplete",
    "slow",
    "content_type",
    "header",
    "payload",
    "busy",
    "disk_full",
    "disk_slow",
    "log_failed",
    "stopping",
];
/// In seconds.
const BOUNDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 10.0];
const OTHER: &str = "other";

#[derive(Default)]
pub(super) struct WebhookMetrics(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    deliveries: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    duplicates: u64,
    last: Option<f64>,
    answered: [u64; BOUNDS.len()],
    answers: u64,
    seconds: f64,
}

impl WebhookMetrics {
    pub(super) fn accepted(&self, kind: &str, now: f64) {
        let kind = KINDS.into_iter().find(|known| *known == kind).unwrap_or(OTHER);
        let mut counts = self.counts();
        *counts.deliveries.entry(kind).or_default() += 1;
        counts.last = Some(now);
    }

    pub(super) fn duplicate(&self) {
        self.counts().duplicates += 1;
    }

    pub(super) fn refused(&self, reason: &'static str) {
        *self.counts().refused.entry(reason).or_default() += 1;
    }

    pub(super) fn answered(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        let mut counts = self.counts();
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            counts.answered[at] += 1;
        }
        counts.answers += 1;
        counts.seconds += seconds;
    }

    pub(super) fn families(&self, out: &mut Families) {
        let counts = self.counts();
        let number = |of: &BTreeMap<&str, u64>, key| of.get(key).copied().unwrap_or(0) as f64;
        for kind in KINDS.into_iter().chain([OTHER]) {
            out.add(&DELIVERIES, &[kind], number(&counts.deliveries, kind));
        }
        out.set(&DUPLICATES, counts.duplicates as f64);
        for reason in REASONS {
            out.add(&REFUSED, &[reason], number(&counts.refused, reason));
        }
        if let Some(last) = counts.last {
            out.set(&LAST, last);
        }
        let buckets: Vec<_> = BOUNDS.into_iter().zip(counts.answered).collect();
        out.add_histogram(&ANSWERED, &[], &buckets, counts.seconds, counts.answers);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
