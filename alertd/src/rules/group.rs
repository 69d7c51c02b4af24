//! One group: evaluates its rules in order at one timestamp and keeps what they yield.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pitcrew_exporter::clock;

use super::alerting;
use super::config::RulesConfig;
use super::evaluation::{Run, failing_since};
use super::file::{GroupSpec, RuleSpec};
use super::status::{AlertingStatus, GroupStatus, Health, RuleStatus};
use super::template::{Surroundings, Template};
use crate::db::alerts::{AlertChanges, RuleKey, StoredAlert};
use crate::model::alert::{Alert, AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::querier::Store;
use crate::model::sample::Timestamp;
use crate::promql::Options;

/// What an evaluation works with; the same for all groups.
#[derive(Clone)]
pub struct Context {
    pub store: Arc<dyn Store>,
    pub options: Options,
    pub around: Surroundings,
    pub config: RulesConfig,
    /// Until then the store may lack what it held before the restart, and an alert of the last run
    /// that is not found again is not taken for one that ended.
    pub store_filled_at: Timestamp,
}

impl Context {
    /// Over a store that is full, with nothing around it.
    pub fn new(store: Arc<dyn Store>) -> Context {
        Context {
            store,
            options: Options::default(),
            around: Surroundings::default(),
            config: RulesConfig::default(),
            store_filled_at: Timestamp::default(),
        }
    }
}

/// How far an evaluation is, and the ways to end it early.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rules that were begun.
    pub started: AtomicUsize,
    /// Ends the rule that is running; cleared before the next one.
    pub cancel: Arc<AtomicBool>,
    /// Leaves out the rules that are not begun yet.
    pub stop: AtomicBool,
}

/// What one evaluation did, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evaluated {
    pub rules: usize,
    pub failed: usize,
    /// Samples that were written, stale markers included.
    pub samples: usize,
    /// Samples that the store refused, such as duplicates and ones out of order.
    pub refused: usize,
    /// Alerts that routing had no room for; they are told at the next evaluation.
    pub not_accepted: usize,
    pub took: Duration,
}

pub struct Group {
    spec: Arc<GroupSpec>,
    interval: Duration,
    offset: Duration,
    rules: Vec<Rule>,
    evaluated_at: Option<Timestamp>,
    took: Duration,
    /// What the database holds of this group, and when that was written.
    saved: BTreeMap<(usize, Labels), AlertInstance>,
    saved_at: Option<Timestamp>,
}

pub(super) struct Rule {
    key: RuleKey,
    /// By the final labels of the alert.
    pub(super) instances: BTreeMap<Labels, AlertInstance>,
    /// Alerts of an earlier run that no evaluation has found again yet.
    pub(super) unseen: HashSet<Labels>,
    /// Alerts kept alive although the expression did not yield them.
    pub(super) kept: BTreeMap<Labels, Kept>,
    /// The series that the last evaluation wrote.
    pub(super) written: HashSet<Labels>,
    pub(super) health: Health,
    evaluated_at: Option<Timestamp>,
    took: Duration,
}

/// Why an alert is kept alive although nothing shows that it still holds.
pub(super) struct Kept {
    pub(super) since: Timestamp,
    pub(super) why: String,
}

/// Takes alerts for routing; `false` when there was no room for them.
pub type Send<'a> = &'a mut dyn FnMut(Vec<Alert>) -> bool;

impl Group {
    /// `interval` and `offset` are used where the file gives none.
    pub fn new(spec: GroupSpec, interval: Duration, offset: Duration) -> Group {
        let mut rules: Vec<Rule> = Vec::with_capacity(spec.rules.len());
        for rule in &spec.rules {
            let mut key = RuleKey {
                file: spec.file.clone(),
                group: spec.name.clone(),
                rule: rule.name.clone(),
                labels: texts(&rule.labels),
                nth: 0,
            };
            while rules.iter().any(|other| other.key == key) {
                key.nth += 1;
            }
            rules.push(Rule {
                key,
                instances: BTreeMap::new(),
                unseen: HashSet::new(),
                kept: BTreeMap::new(),
                written: HashSet::new(),
                health: Health::Unknown,
                evaluated_at: None,
                took: Duration::ZERO,
            });
        }
        Group {
            interval: spec.interval.unwrap_or(interval),
            offset: spec.query_offset.unwrap_or(offset),
            spec: Arc::new(spec),
            rules,
            evaluated_at: None,
            took: Duration::ZERO,
            saved: BTreeMap::new(),
            saved_at: None,
        }
    }

    pub fn spec(&self) -> &GroupSpec {
        &self.spec
    }

    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes back an alert of an earlier run; `false` when no alerting rule of this group is its rule.
    pub fn restore(&mut self, stored: &StoredAlert, now: Timestamp) -> bool {
        let spec = Arc::clone(&self.spec);
        let found =
            self.rules.iter_mut().zip(&spec.rules).enumerate().find_map(|(at, (rule, spec))| {
                let alerting = spec.alerting().filter(|_| rule.key == stored.rule)?;
                Some((at, rule, alerting))
            });
        let Some((at, rule, alerting)) = found else { return false };
        let labels = stored.instance.labels.clone();
        self.saved.insert((at, labels.clone()), stored.instance.clone());
        self.saved_at = Some(stored.evaluated_at);
        // A durable store still holds the series of the last run: they end when the state changed.
        let series = alerting::samples(&stored.instance, now);
        rule.written.extend(series.into_iter().map(|(labels, _)| labels));
        let instance = alerting::carried_over(stored.instance.clone(), alerting.hold, now);
        rule.unseen.insert(labels.clone());
        rule.instances.insert(labels, instance);
        true
    }

    /// Evaluates all rules at `at`. Alerts go to `send` before the samples are written.
    ///
    /// `progress` shows from another thread how far it is, and ends a rule or the whole evaluation.
    pub fn evaluate(
        &mut self,
        at: Timestamp,
        context: &Context,
        progress: &Progress,
        send: Send<'_>,
    ) -> Evaluated {
        let spec = Arc::clone(&self.spec);
        let (begin, mut total) = (clock::monotonic(), Evaluated::default());
        let lease = alerting::lease(self.interval, context.config.resend_delay);
        let mut context = context.clone();
        context.options.cancel = Arc::clone(&progress.cancel);
        for (rule, rule_spec) in self.rules.iter_mut().zip(&spec.rules) {
            if progress.stop.load(Ordering::Relaxed) {
                break;
            }
            progress.started.fetch_add(1, Ordering::Relaxed);
            progress.cancel.store(false, Ordering::Relaxed);
            let rule_started = clock::monotonic();
            let mut run = Run {
                spec: rule_spec,
                at,
                sample_at: at.minus(self.offset),
                limit: spec.limit,
                lease,
                context: &context,
                total: &mut total,
            };
            let outcome = run.rule(rule, send);
            rule.health = match outcome {
                Ok(()) => Health::Ok,
                Err(error) => {
                    total.failed += 1;
                    Health::Failing { since: failing_since(&rule.health, at), error }
                }
            };
            total.rules += 1;
            rule.evaluated_at = Some(at);
            rule.took = rule_started.elapsed();
        }
        // Once for all rules: each has read what those before it wrote, though no disk held it yet.
        if let Err(error) = context.store.settle() {
            let error = format!("cannot write the result: {error}");
            for rule in self.rules.iter_mut().filter(|rule| !rule.written.is_empty()) {
                if rule.health == Health::Ok && rule.evaluated_at == Some(at) {
                    total.failed += 1;
                    rule.health = Health::Failing { since: at, error: error.clone() };
                }
            }
        }
        self.evaluated_at = Some(at);
        self.took = begin.elapsed();
        total.took = self.took;
        total
    }

    /// What is to be written down after an evaluation. `None` when nothing changed; but while there
    /// are alerts, at least once in `heartbeat`, so that a restart knows how long nobody looked.
    pub fn changes(&self, heartbeat: Duration) -> Option<AlertChanges> {
        let mut changes = AlertChanges::default();
        let mut left: BTreeMap<&(usize, Labels), &AlertInstance> = self.saved.iter().collect();
        for (at, rule) in self.rules.iter().enumerate() {
            for (labels, instance) in &rule.instances {
                if left.remove(&(at, labels.clone())) != Some(instance) {
                    changes.changed.push((rule.key.clone(), instance.clone()));
                }
            }
        }
        for (at, labels) in left.into_keys() {
            changes.gone.push((self.rules[*at].key.clone(), labels.clone()));
        }
        let quiet = changes.changed.is_empty() && changes.gone.is_empty();
        let now = self.evaluated_at.unwrap_or_default();
        let recent = self.saved.is_empty()
            || self.saved_at.is_some_and(|saved| saved <= now && now.since(saved) < heartbeat);
        (!quiet || !recent).then_some(changes)
    }

    /// Says that [`Group::changes`] has been written down.
    pub fn mark_saved(&mut self) {
        let rules = self.rules.iter().enumerate();
        let all = rules.flat_map(|(at, rule)| {
            rule.instances
                .iter()
                .map(move |(labels, instance)| ((at, labels.clone()), instance.clone()))
        });
        self.saved = all.collect();
        self.saved_at = self.evaluated_at;
    }

    pub fn evaluated_at(&self) -> Option<Timestamp> {
        self.evaluated_at
    }

    pub fn status(&self) -> GroupStatus {
        let rules = self.rules.iter().zip(&self.spec.rules);
        GroupStatus {
            file: self.spec.file.clone(),
            name: self.spec.name.clone(),
            interval: self.interval,
            query_offset: self.offset,
            limit: self.spec.limit,
            evaluated_at: self.evaluated_at,
            took: self.took,
            rules: rules.map(|(rule, spec)| rule.status(spec)).collect(),
        }
    }
}

impl Rule {
    fn status(&self, spec: &RuleSpec) -> RuleStatus {
        let shown = |instance: &AlertInstance| match (&self.health, self.kept.get(&instance.labels))
        {
            (Health::Failing { since, error }, _) => alerting::unverified(instance, *since, error),
            (_, Some(kept)) => alerting::unverified(instance, kept.since, &kept.why),
            (Health::Unknown | Health::Ok, None) => instance.clone(),
        };
        let alive = self.instances.values().filter(|one| one.state != AlertState::Inactive);
        RuleStatus {
            name: spec.name.clone(),
            query: spec.query.clone(),
            labels: texts(&spec.labels),
            health: self.health.clone(),
            evaluated_at: self.evaluated_at,
            took: self.took,
            alerting: spec.alerting().map(|alerting| AlertingStatus {
                hold: alerting.hold,
                keep_firing_for: alerting.keep_firing_for,
                annotations: texts(&alerting.annotations),
                instances: alive.map(|instance| Arc::new(shown(instance))).collect(),
            }),
        }
    }
}

fn texts(templates: &BTreeMap<String, Template>) -> BTreeMap<String, String> {
    templates.iter().map(|(name, template)| (name.clone(), template.text().to_owned())).collect()
}

#[cfg(test)]
mod tests;
