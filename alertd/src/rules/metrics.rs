//! What rule evaluation tells about itself.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::group::{Evaluated, Group};
use super::status::GroupStatus;

/// `rule_group` is file and group, as in Prometheus: `rules/host.yaml;host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGroup {
    rule_group: String,
}

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone)]
pub struct RulesMetrics {
    evaluations: Family<OfGroup, Counter>,
    failures: Family<OfGroup, Counter>,
    iterations: Family<OfGroup, Counter>,
    missed: Family<OfGroup, Counter>,
    duration: Histogram,
    last_duration: Family<OfGroup, Seconds>,
    last_evaluation: Family<OfGroup, Seconds>,
    interval: Family<OfGroup, Seconds>,
    rules: Family<OfGroup, Gauge>,
    last_samples: Family<OfGroup, Gauge>,
    rule_duration: Histogram,
    last_rules_duration: Family<OfGroup, Seconds>,
    restore_duration: Seconds,
    unmatched: Family<OfGroup, Gauge>,
    unverified: Family<OfGroup, Gauge>,
    flapping: Family<OfGroup, Gauge>,
    refused: Counter,
    not_accepted: Counter,
    save_failures: Counter,
}

impl RulesMetrics {
    pub fn new(registry: &mut Registry) -> RulesMetrics {
        let buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];
        let metrics = RulesMetrics {
            evaluations: Family::default(),
            failures: Family::default(),
            iterations: Family::default(),
            missed: Family::default(),
            duration: Histogram::new(buckets),
            last_duration: Family::default(),
            last_evaluation: Family::default(),
            interval: Family::default(),
            rules: Family::default(),
            last_samples: Family::default(),
            rule_duration: Histogram::new(buckets),
            last_rules_duration: Family::default(),
            restore_duration: Seconds::default(),
            unmatched: Family::default(),
            unverified: Family::default(),
            flapping: Family::default(),
            refused: Counter::default(),
            not_accepted: Counter::default(),
            save_failures: Counter::default(),
        };
        let name = |rest: &str| format!("pitcrew_alertd_{rest}");
        registry.register(name("rule_evaluations"), "Rules evaluated", metrics.evaluations.clone());
        registry.register(
            name("rule_evaluation_failures"),
            "Rule evaluations that failed",
            metrics.failures.clone(),
        );
        registry.register(
            name("rule_group_iterations"),
            "Evaluations of a group that were due, missed ones included",
            metrics.iterations.clone(),
        );
        registry.register(
            name("rule_group_iterations_missed"),
            "Evaluations of a group that were skipped, since the one before took too long",
            metrics.missed.clone(),
        );
        registry.register(
            name("rule_group_duration_seconds"),
            "Time that evaluations of groups took",
            metrics.duration.clone(),
        );
        registry.register(
            name("rule_group_last_duration_seconds"),
            "Time that the last evaluation of a group took",
            metrics.last_duration.clone(),
        );
        registry.register(
            name("rule_group_last_evaluation_timestamp_seconds"),
            "Time of the last evaluation of a group",
            metrics.last_evaluation.clone(),
        );
        registry.register(
            name("rule_group_interval_seconds"),
            "Time between two evaluations of a group",
            metrics.interval.clone(),
        );
        registry.register(name("rule_group_rules"), "Rules of a group", metrics.rules.clone());
        registry.register(
            name("rule_group_last_evaluation_samples"),
            "Samples that the last evaluation of a group wrote",
            metrics.last_samples.clone(),
        );
        registry.register(
            name("rule_evaluation_duration_seconds"),
            "Time that evaluations of single rules took",
            metrics.rule_duration.clone(),
        );
        registry.register(
            name("rule_group_last_rule_duration_sum_seconds"),
            "Time that the rules of a group took in its last evaluation",
            metrics.last_rules_duration.clone(),
        );
        registry.register(
            name("rule_group_last_restore_duration_seconds"),
            "Time that it took to load the alerts of the last run",
            metrics.restore_duration.clone(),
        );
        for (rest, help, family) in [
            ("rules_unmatched", "Rules whose selectors match no series", &metrics.unmatched),
            (
                "alerts_unverified",
                "Firing alerts that are kept alive although nothing shows that they still hold",
                &metrics.unverified,
            ),
            ("alerts_flapping", "Alerts that are held still", &metrics.flapping),
        ] {
            registry.register(name(rest), help, family.clone());
        }
        registry.register(
            name("rule_samples_refused"),
            "Samples of rules that the store refused as duplicate or out of order",
            metrics.refused.clone(),
        );
        registry.register(
            name("rule_alerts_deferred"),
            "Alerts that routing had no room for; they are told at the next evaluation",
            metrics.not_accepted.clone(),
        );
        registry.register(
            name("rule_state_save_failures"),
            "Times that the state of alerts could not be written down",
            metrics.save_failures.clone(),
        );
        metrics
    }

    pub(super) fn loaded(&self, group: &Group) {
        let label = of(group);
        self.interval.get_or_create(&label).set(group.interval().as_secs_f64());
        self.rules.get_or_create(&label).set(group.spec().rules.len() as i64);
        // Counters that exist from the start: an increase from nothing cannot be seen.
        for counter in [&self.evaluations, &self.failures, &self.iterations, &self.missed] {
            drop(counter.get_or_create(&label));
        }
    }

    pub(super) fn restored(&self, took: Duration) {
        self.restore_duration.set(took.as_secs_f64());
    }

    pub(super) fn evaluated(
        &self,
        group: &Group,
        status: &GroupStatus,
        outcome: Evaluated,
        missed: u64,
    ) {
        let label = of(group);
        let mut sum = Duration::ZERO;
        for took in group.durations() {
            self.rule_duration.observe(took.as_secs_f64());
            sum += took;
        }
        self.last_rules_duration.get_or_create(&label).set(sum.as_secs_f64());
        let unmatched = status.rules.iter().filter(|rule| !rule.unmatched.is_empty()).count();
        self.unmatched.get_or_create(&label).set(unmatched as i64);
        let (mut unverified, mut flapping) = (0, 0);
        for instance in status.instances() {
            unverified += i64::from(instance.unverified_since.is_some());
            flapping += i64::from(instance.flapping_since.is_some());
        }
        self.unverified.get_or_create(&label).set(unverified);
        self.flapping.get_or_create(&label).set(flapping);
        self.evaluations.get_or_create(&label).inc_by(outcome.rules as u64);
        self.failures.get_or_create(&label).inc_by(outcome.failed as u64);
        self.iterations.get_or_create(&label).inc_by(1 + missed);
        self.missed.get_or_create(&label).inc_by(missed);
        self.duration.observe(outcome.took.as_secs_f64());
        self.last_duration.get_or_create(&label).set(outcome.took.as_secs_f64());
        let at = group.evaluated_at().unwrap_or_default();
        self.last_evaluation.get_or_create(&label).set(at.seconds());
        self.last_samples.get_or_create(&label).set(outcome.samples as i64);
        self.refused.inc_by(outcome.refused as u64);
        self.not_accepted.inc_by(outcome.not_accepted as u64);
    }

    pub(super) fn save_failed(&self) {
        self.save_failures.inc();
    }
}

fn of(group: &Group) -> OfGroup {
    OfGroup { rule_group: format!("{};{}", group.spec().file, group.spec().name) }
}
