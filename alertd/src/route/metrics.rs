//! What routing counts of itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::intake::Plan;
use super::silence::State;
use crate::clock;
use crate::model::sample::Timestamp;

#[derive(Clone, Default)]
pub struct RouteMetrics {
    groups: Gauge,
    alerts: Gauge,
    dropped: Counter,
    flush_failures: Counter,
    /// When routing last looked around, in milliseconds.
    beat: Arc<AtomicI64>,
}

impl RouteMetrics {
    pub fn new(registry: &mut Registry) -> RouteMetrics {
        let metrics = RouteMetrics::default();
        let name = |rest: &str| format!("pitcrew_alertd_{rest}");
        registry.register(name("alert_groups"), "Alert groups now held", metrics.groups.clone());
        registry.register(
            name("routed_alerts"),
            "Alerts now held, once per group",
            metrics.alerts.clone(),
        );
        registry.register(
            name("alerts_dropped"),
            "Alerts not routed because too many are held",
            metrics.dropped.clone(),
        );
        registry.register(
            name("group_flush_failures"),
            "Group flushes that could not be recorded and are tried again",
            metrics.flush_failures.clone(),
        );
        metrics
    }

    /// When routing last looked around.
    pub fn last_look(&self) -> Timestamp {
        Timestamp(self.beat.load(Ordering::Relaxed))
    }

    pub(super) fn held(&self, groups: usize, alerts: usize) {
        self.beat.store(clock::now().0, Ordering::Relaxed);
        self.groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
        self.alerts.set(i64::try_from(alerts).unwrap_or(i64::MAX));
    }

    pub(super) fn dropped(&self, alerts: u64) {
        self.dropped.inc_by(alerts);
    }

    pub(super) fn flush_failed(&self) {
        self.flush_failures.inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

pub(super) struct BoardMetrics {
    received: Family<Status, Counter>,
    refused: Family<Reason, Counter>,
    silences: Family<InState, Gauge>,
    acknowledged: Gauge,
    save_failures: Counter,
}

impl BoardMetrics {
    pub(super) fn new(registry: &mut Registry) -> BoardMetrics {
        let metrics = BoardMetrics {
            received: Family::default(),
            refused: Family::default(),
            silences: Family::default(),
            acknowledged: Gauge::default(),
            save_failures: Counter::default(),
        };
        let name = |rest: &str| format!("pitcrew_alertd_{rest}");
        registry.register(
            name("alerts_received"),
            "Alerts taken over the API",
            metrics.received.clone(),
        );
        registry.register(
            name("alerts_refused"),
            "Alerts of the API not taken, or not routed",
            metrics.refused.clone(),
        );
        registry.register(name("silences"), "Silences held, by state", metrics.silences.clone());
        registry.register(
            name("acknowledgements"),
            "Alerts that somebody looks after",
            metrics.acknowledged.clone(),
        );
        registry.register(
            name("board_save_failures"),
            "Ends of silences, acknowledgements and posted alerts that could not be recorded",
            metrics.save_failures.clone(),
        );
        for status in ["firing", "resolved"] {
            drop(metrics.received.get_or_create(&Status { status }));
        }
        for reason in ["invalid", "full", "too_fast", "not_routed"] {
            drop(metrics.refused.get_or_create(&Reason { reason }));
        }
        metrics
    }

    pub(super) fn received(&self, plan: &Plan) {
        let over = plan.taken.iter().filter(|received| received.over).count();
        let both = [("firing", plan.taken.len() - over), ("resolved", over)];
        for (status, count) in both {
            self.received.get_or_create(&Status { status }).inc_by(count as u64);
        }
        for (reason, count) in [("invalid", plan.invalid.len()), ("full", plan.refused)] {
            self.refused.get_or_create(&Reason { reason }).inc_by(count as u64);
        }
    }

    pub(super) fn too_fast(&self, alerts: usize) {
        self.refused.get_or_create(&Reason { reason: "too_fast" }).inc_by(alerts as u64);
    }

    pub(super) fn dropped(&self, alerts: u64) {
        self.refused.get_or_create(&Reason { reason: "not_routed" }).inc_by(alerts);
    }

    pub(super) fn held(&self, silences: BTreeMap<State, usize>, acknowledged: usize) {
        for (state, count) in silences {
            let state = match state {
                State::Active => "active",
                State::Pending => "pending",
                State::Expired => "expired",
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.silences.get_or_create(&InState { state }).set(count);
        }
        self.acknowledged.set(i64::try_from(acknowledged).unwrap_or(i64::MAX));
    }

    pub(super) fn save_failed(&self) {
        self.save_failures.inc();
    }
}
