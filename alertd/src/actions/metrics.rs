//! What failover says about itself on `/metrics`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::machine::Phase;
use super::view::PoolView;

/// Cheap to clone: the values are shared.
#[derive(Debug, Clone)]
pub struct ActionMetrics {
    state: Family<StateLabels, Gauge>,
    in_effect: Family<PoolLabels, Gauge>,
    held: Family<PoolLabels, Gauge>,
    runners: Family<RunnerLabels, Gauge>,
    failovers: Family<OutcomeLabels, Counter>,
    duration: Family<PoolLabels, Histogram, fn() -> Histogram>,
    denied: Family<GuardLabels, Counter>,
    changes: Family<ChangeLabels, Counter>,
    failures: Family<CauseLabels, Counter>,
    interrupted: Family<PoolLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    pool: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunnerLabels {
    pool: String,
    member: String,
    is: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    pool: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GuardLabels {
    pool: String,
    guard: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    pool: String,
    action: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    pool: String,
    cause: &'static str,
}

impl ActionMetrics {
    pub fn new(registry: &mut Registry) -> ActionMetrics {
        let metrics = ActionMetrics {
            state: Family::default(),
            in_effect: Family::default(),
            held: Family::default(),
            runners: Family::default(),
            failovers: Family::default(),
            duration: Family::new_with_constructor(histogram),
            denied: Family::default(),
            changes: Family::default(),
            failures: Family::default(),
            interrupted: Family::default(),
        };
        let m = &metrics;
        registry.register(
            "pitcrew_alertd_pool_state",
            "1 for the state that the pool is in, 0 for the others",
            m.state.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_failover_in_effect",
            "1 while the label is off the primary or on its way",
            m.in_effect.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_held",
            "1 while a person holds the pool",
            m.held.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_runners",
            "Runners of a member: registered, online, busy, labelled, healthy",
            m.runners.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_failovers",
            "Failovers by outcome: proven, unproven, failed, undone",
            m.failovers.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_failover_duration_seconds",
            "Time from the decision to fail over to its verification",
            m.duration.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_guard_denied",
            "Changes that a guard denied, each counted once",
            m.denied.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_label_changes",
            "Label calls by action and outcome",
            m.changes.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_failures",
            "Looks at a pool that ended early, by what failed",
            m.failures.clone(),
        );
        registry.register(
            "pitcrew_alertd_pool_jobs_interrupted",
            "Jobs in flight on runners that died",
            m.interrupted.clone(),
        );
        metrics
    }

    pub(super) fn show(&self, view: &PoolView) {
        let pool = || view.name.clone();
        for state in Phase::NAMES {
            let labels = StateLabels { pool: pool(), state };
            self.state.get_or_create(&labels).set(i64::from(view.state == state));
        }
        let here = PoolLabels { pool: pool() };
        self.in_effect.get_or_create(&here).set(i64::from(view.away));
        self.held.get_or_create(&here).set(i64::from(view.hold.is_some()));
        for member in &view.members {
            let count = |what: fn(&super::view::RunnerView) -> bool| {
                member.runners.iter().filter(|runner| what(runner)).count() as i64
            };
            for (is, count) in [
                ("registered", count(|_| true)),
                ("online", count(|runner| runner.online == Some(true))),
                ("busy", count(|runner| runner.busy)),
                ("labelled", count(|runner| runner.labelled)),
                ("healthy", count(|runner| runner.health == super::health::Health::Healthy)),
            ] {
                let labels = RunnerLabels { pool: pool(), member: member.name.clone(), is };
                self.runners.get_or_create(&labels).set(count);
            }
        }
    }

    pub(super) fn failover_ended(&self, pool: &str, outcome: &'static str, took: Duration) {
        let here = || pool.to_owned();
        self.failovers.get_or_create(&OutcomeLabels { pool: here(), outcome }).inc();
        self.duration.get_or_create(&PoolLabels { pool: here() }).observe(took.as_secs_f64());
    }

    pub(super) fn denied(&self, pool: &str, guard: &'static str) {
        self.denied.get_or_create(&GuardLabels { pool: pool.to_owned(), guard }).inc();
    }

    pub(super) fn changed(&self, pool: &str, action: &'static str, outcome: &'static str) {
        let labels = ChangeLabels { pool: pool.to_owned(), action, outcome };
        self.changes.get_or_create(&labels).inc();
    }

    pub(super) fn failed(&self, pool: &str, cause: &'static str) {
        self.failures.get_or_create(&CauseLabels { pool: pool.to_owned(), cause }).inc();
    }

    pub(super) fn interrupted(&self, pool: &str) {
        self.interrupted.get_or_create(&PoolLabels { pool: pool.to_owned() }).inc();
    }
}

fn histogram() -> Histogram {
    Histogram::new([0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0])
}
