//! One group: evaluates its rules in order at one timestamp and keeps what they yield.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pitcrew_exporter::clock;

use super::alerting;
use super::config::RulesConfig;
use super::doubt::Doubt;
use super::evaluation::{Fault, Run, marked};
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
    /// For rules over what this program knows of itself: it has no past, and mostly there is nothing.
    pub own: bool,
    /// The time after which a store that has been away holds again what rules look at; zero: it
    /// misses nothing.
    pub refill: Duration,
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
            own: false,
            refill: Duration::ZERO,
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
    places: HashMap<RuleKey, usize>,
    evaluated_at: Option<Timestamp>,
    took: Duration,
    /// When the database was last written to.
    saved_at: Option<Timestamp>,
}

pub(super) struct Rule {
    key: RuleKey,
    /// By the final labels of the alert.
    pub(super) instances: BTreeMap<Labels, AlertInstance>,
    /// What the database holds of them.
    saved: BTreeMap<Labels, AlertInstance>,
    /// Alerts from before a restart or another time without evaluation that none has found again.
    pub(super) unseen: HashSet<Labels>,
    /// When the store holds again what it may have missed meanwhile.
    pub(super) filled_at: Timestamp,
    /// The last evaluation that succeeded.
    pub(super) newest: Option<Timestamp>,
    /// Alerts kept alive although the expression did not yield them.
    pub(super) kept: BTreeMap<Labels, Doubt>,
    /// Selectors because of which the expression yields nothing, and when that was looked at.
    pub(super) unmatched: Vec<String>,
    pub(super) looked_at: Option<Timestamp>,
    /// The series that the last evaluation wrote.
    pub(super) written: HashSet<Labels>,
    pub(super) health: Health,
    evaluated_at: Option<Timestamp>,
    took: Duration,
}

/// Takes alerts for routing; `false` when there was no room for them.
pub type Send<'a> = &'a mut dyn FnMut(Vec<Alert>) -> bool;

impl Group {
    /// `interval` and `offset` are used where the file gives none.
    pub fn new(spec: GroupSpec, interval: Duration, offset: Duration) -> Group {
        let mut rules: Vec<Rule> = Vec::with_capacity(spec.rules.len());
        let mut places = HashMap::new();
        for rule in &spec.rules {
            let mut key = RuleKey {
                file: spec.file.clone(),
                group: spec.name.clone(),
                rule: rule.name.clone(),
                labels: texts(&rule.labels),
                nth: 0,
            };
            while places.contains_key(&key) {
                key.nth += 1;
            }
            places.insert(key.clone(), rules.len());
            rules.push(Rule {
                key,
                instances: BTreeMap::new(),
                saved: BTreeMap::new(),
                unseen: HashSet::new(),
                filled_at: Timestamp::default(),
                newest: None,
                kept: BTreeMap::new(),
                unmatched: Vec::new(),
                looked_at: None,
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
            places,
            evaluated_at: None,
            took: Duration::ZERO,
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
        let Some(at) = self.places.get(&stored.rule) else { return false };
        let alerting = spec.rules.get(*at).and_then(RuleSpec::alerting);
        let Some((alerting, rule)) = alerting.zip(self.rules.get_mut(*at)) else { return false };
        let labels = stored.instance.labels.clone();
        rule.saved.insert(labels.clone(), stored.instance.clone());
        rule.newest = Some(stored.evaluated_at);
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
                interval: self.interval,
                limit: spec.limit,
                context: &context,
                total: &mut total,
            };
            let outcome = run.rule(rule, send);
            rule.health = match outcome {
                Ok(()) => Health::Ok,
                Err(Fault { error, source }) => {
                    total.failed += 1;
                    let since = match &rule.health {
                        Health::Failing { since, .. } => *since,
                        Health::Unknown | Health::Ok => at,
                    };
                    Health::Failing { since, error, source }
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
                    let error = error.clone();
                    rule.health = Health::Failing { since: at, error, source: true };
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
        let mut alerts = 0;
        for rule in &self.rules {
            alerts += rule.saved.len();
            let mut saved = rule.saved.iter().peekable();
            for (labels, instance) in &rule.instances {
                let mut before = None;
                // Both are in the order of the labels.
                while let Some((other, old)) = saved.next_if(|(other, _)| *other <= labels) {
                    match other == labels {
                        true => before = Some(old),
                        false => changes.gone.push((rule.key.clone(), other.clone())),
                    }
                }
                if !before.is_some_and(|before| same_life(before, instance)) {
                    changes.changed.push((rule.key.clone(), instance.clone()));
                }
            }
            let gone = saved.map(|(labels, _)| (rule.key.clone(), labels.clone()));
            changes.gone.extend(gone);
        }
        let quiet = changes.changed.is_empty() && changes.gone.is_empty();
        let now = self.evaluated_at.unwrap_or_default();
        let recent = alerts == 0
            || self.saved_at.is_some_and(|saved| saved <= now && now.since(saved) < heartbeat);
        (!quiet || !recent).then_some(changes)
    }

    /// Says that what [`Group::changes`] answered has been written down.
    pub fn mark_saved(&mut self, changes: AlertChanges) {
        for (key, instance) in changes.changed {
            if let Some(rule) = self.rule(&key) {
                rule.saved.insert(instance.labels.clone(), instance);
            }
        }
        for (key, labels) in changes.gone {
            if let Some(rule) = self.rule(&key) {
                rule.saved.remove(&labels);
            }
        }
        self.saved_at = self.evaluated_at;
    }

    fn rule(&mut self, key: &RuleKey) -> Option<&mut Rule> {
        self.rules.get_mut(*self.places.get(key)?)
    }

    /// How long each rule took that the last evaluation came to.
    pub fn durations(&self) -> impl Iterator<Item = Duration> {
        let last = self.rules.iter().filter(|rule| rule.evaluated_at == self.evaluated_at);
        last.map(|rule| rule.took)
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
        let shown = |instance: &AlertInstance| {
            let since = |other| instance.unverified_since.unwrap_or(other);
            let doubt = match (&self.health, self.kept.get(&instance.labels)) {
                (Health::Failing { since: failing, error, .. }, _) => {
                    Some((since(*failing), error.as_str()))
                }
                (_, Some(kept)) => instance.unverified_since.zip(Some(kept.why.as_str())),
                (Health::Unknown | Health::Ok, None) => None,
            };
            marked(instance, doubt).unwrap_or_else(|| instance.clone())
        };
        let alive = self.instances.values().filter(|one| one.state != AlertState::Inactive);
        RuleStatus {
            name: spec.name.clone(),
            query: spec.query.clone(),
            labels: texts(&spec.labels),
            health: self.health.clone(),
            unmatched: self.unmatched.clone(),
            silent: self.kept.values().filter_map(|kept| kept.target.clone()).collect(),
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

/// Whether nothing of an alert's life differs. What it says does so in each evaluation, and the next
/// one after a restart finds it again.
fn same_life(one: &AlertInstance, other: &AlertInstance) -> bool {
    let life = |of: &AlertInstance| {
        let begun = (of.state, of.active_at, of.fired_at, of.resolved_at);
        (begun, of.keep_firing_since, of.last_sent_at, of.unverified_since, of.flapping_since)
    };
    life(one) == life(other) && one.changes == other.changes
}

fn texts(templates: &BTreeMap<String, Template>) -> BTreeMap<String, String> {
    templates.iter().map(|(name, template)| (name.clone(), template.text().to_owned())).collect()
}

#[cfg(test)]
mod tests;
