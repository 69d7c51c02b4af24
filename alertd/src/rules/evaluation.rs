//! One evaluation of one rule: ask, move its alerts on, tell routing, write the result.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::alerting::{self, Seen, Timing};
use super::doubt::{Doubt, Targets};
use super::file::{AlertingSpec, RuleSpec};
use super::flapping::{self, Limit};
use super::group::{Context, Evaluated, Rule, Send};
use super::recording;
use super::template::{QueryFn, Scope, table_link};
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::{ALERT_NAME, Labels, METRIC_NAME};
use crate::model::querier::StoreError;
use crate::model::sample::{Sample, Timestamp, is_stale, stale_marker};
use crate::promql::error::PromqlError;
use crate::promql::{self, Value, presence, syntax::Expr};

/// How long what a rule's selectors match is believed; what they do not, a fifth of it.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// One evaluation of one rule.
pub(super) struct Run<'a> {
    pub(super) spec: &'a RuleSpec,
    pub(super) at: Timestamp,
    /// `at` less the query offset: what the expression sees as now, and the samples' timestamp.
    pub(super) sample_at: Timestamp,
    pub(super) interval: Duration,
    pub(super) limit: usize,
    pub(super) context: &'a Context,
    pub(super) total: &'a mut Evaluated,
}

/// Why an evaluation failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: String,
    /// The store does not answer or take samples: not the rule's own fault.
    pub(super) source: bool,
}

impl From<String> for Fault {
    fn from(error: String) -> Fault {
        Fault { error, source: false }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        let source = matches!(error, StoreError::Unavailable(_) | StoreError::TimedOut(_));
        Fault { error: error.to_string(), source }
    }
}

impl From<PromqlError> for Fault {
    fn from(error: PromqlError) -> Fault {
        match error {
            PromqlError::Store(error) => error.into(),
            other => other.to_string().into(),
        }
    }
}

impl Run<'_> {
    pub(super) fn rule(&mut self, rule: &mut Rule, send: Send<'_>) -> Result<(), Fault> {
        let elements = self
            .check_clock(rule)
            .and_then(|()| elements(&self.spec.expr, self.context, self.sample_at));
        let Some(alerting) = self.spec.alerting() else {
            let samples = recording::record(self.spec, elements?, self.sample_at)?;
            self.check_limit(samples.len(), "series")?;
            self.look_for_matches(rule, !samples.is_empty())?;
            rule.newest = Some(self.at);
            return self.write(rule, samples);
        };
        let advanced = elements.and_then(|elements| {
            self.look_for_matches(rule, !elements.is_empty())?;
            self.advance(alerting, rule, elements)
        });
        match advanced {
            Ok(()) => {
                rule.newest = Some(self.at);
                self.send(rule, None, send);
                let alive = rule.instances.values();
                let samples =
                    alive.flat_map(|one| alerting::samples(one, self.sample_at)).collect();
                self.write(rule, samples)
            }
            Err(fault) => {
                for instance in rule.instances.values_mut() {
                    if instance.state == AlertState::Firing {
                        instance.unverified_since.get_or_insert(self.at);
                    }
                }
                self.send(rule, Some(&fault.error), send);
                Err(fault)
            }
        }
    }

    /// After the clock went back, the store shows what was then and takes nothing of what is now,
    /// until that time has come again: as blind as without a source.
    fn check_clock(&self, rule: &Rule) -> Result<(), Fault> {
        match rule.newest.filter(|newest| self.at < *newest && !self.context.own) {
            None => Ok(()),
            Some(newest) => {
                let newest = newest.rfc3339();
                let error = format!("the clock went back: nothing new is seen until {newest}");
                Err(Fault { error, source: true })
            }
        }
    }

    /// All instances one evaluation on. Nothing changes when an error comes back, but for the limit.
    fn advance(
        &self,
        alerting: &AlertingSpec,
        rule: &mut Rule,
        elements: Vec<(Labels, f64)>,
    ) -> Result<(), Fault> {
        let mut seen = self.seen(alerting, elements)?;
        let mut still = self.still(alerting, rule, &seen)?;
        self.look_for_gap(rule);
        let timing = Timing { hold: alerting.hold, keep_firing: alerting.keep_firing_for };
        let config = &self.context.config;
        let within = self.interval.saturating_mul(config.flapping.evaluations);
        let limit = Limit { changes: config.flapping.changes, within };
        let mut targets = Targets::default();
        let (mut after, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for (labels, before) in &rule.instances {
            let element = seen.remove(labels).or_else(|| still.remove(labels));
            let found = element.is_some();
            if found {
                rule.unseen.remove(labels);
            } else if let Some(doubt) = self.doubt(rule, before, &mut targets)? {
                let since = before.unverified_since.unwrap_or(self.at);
                if self.at.since(since) < config.keep_unverified {
                    kept.insert(labels.clone(), doubt);
                    let unverified_since = Some(since);
                    after.insert(
                        labels.clone(),
                        AlertInstance { unverified_since, ..before.clone() },
                    );
                    continue;
                }
            }
            let instance = alerting::next(Some(before), element, timing, self.at);
            let instance = flapping::held(Some(before), instance, found, limit, self.at);
            after.extend(instance.map(|instance| (labels.clone(), instance)));
        }
        for (labels, element) in seen {
            let instance = alerting::next(None, Some(element), timing, self.at);
            let instance = flapping::held(None, instance, true, limit, self.at);
            after.extend(instance.map(|instance| (labels, instance)));
        }
        (rule.instances, rule.kept) = (after, kept);
        rule.unseen.retain(|labels| rule.instances.contains_key(labels));
        let alive = rule.instances.values().filter(|one| one.state != AlertState::Inactive).count();
        let checked = self.check_limit(alive, "alerts");
        if checked.is_err() {
            // As Prometheus: which of them to keep would be chance.
            rule.instances.clear();
            rule.kept.clear();
        }
        checked
    }

    /// After a time without evaluation the store may lack what came meanwhile: no alert is taken for
    /// over until everything has been scraped again.
    fn look_for_gap(&self, rule: &mut Rule) {
        let refill = self.context.refill;
        let gap = rule.newest.map_or(Duration::ZERO, |newest| self.at.since(newest));
        if !refill.is_zero() && gap > self.interval + refill {
            rule.filled_at = self.at.plus(refill);
            rule.unseen.extend(rule.instances.keys().cloned());
        }
    }

    /// Why an alert that the expression does not yield may hold all the same, if so.
    fn doubt(
        &self,
        rule: &Rule,
        instance: &AlertInstance,
        targets: &mut Targets,
    ) -> Result<Option<Doubt>, Fault> {
        let never = self.context.config.keep_unverified.is_zero();
        if instance.state == AlertState::Inactive || never {
            return Ok(None);
        }
        let filled_at = self.context.store_filled_at.max(rule.filled_at);
        if self.at < filled_at && rule.unseen.contains(&instance.labels) {
            let why = "nothing was evaluated for a while, and its data is not there again yet";
            return Ok(Some(Doubt { why: why.to_owned(), target: None }));
        }
        if instance.state != AlertState::Firing {
            return Ok(None);
        }
        Ok(targets.silent(instance, self.context, self.sample_at)?)
    }

    /// Elements of the expression that keeps firing alerts firing, where the rule has one and an
    /// alert needs it.
    fn still(
        &self,
        alerting: &AlertingSpec,
        rule: &Rule,
        seen: &BTreeMap<Labels, Seen>,
    ) -> Result<BTreeMap<Labels, Seen>, Fault> {
        let Some(expr) = &alerting.keep_firing_while else { return Ok(BTreeMap::new()) };
        let firing = rule.instances.iter().filter(|(_, one)| one.state == AlertState::Firing);
        let needed: HashSet<&Labels> =
            firing.map(|(labels, _)| labels).filter(|labels| !seen.contains_key(labels)).collect();
        if needed.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut still = self.seen(alerting, elements(expr, self.context, self.sample_at)?)?;
        still.retain(|labels, _| needed.contains(labels));
        Ok(still)
    }

    /// What the rule's selectors match, looked at now and then while it yields nothing.
    fn look_for_matches(&self, rule: &mut Rule, yields: bool) -> Result<(), Fault> {
        if yields || self.context.own || self.at < self.context.store_filled_at {
            rule.unmatched.clear();
            rule.looked_at = None;
            return Ok(());
        }
        let rest = if rule.unmatched.is_empty() { LOOK_AGAIN } else { LOOK_AGAIN / 5 };
        let recent = |at| at <= self.at && self.at.since(at) < rest;
        if !rule.looked_at.is_some_and(recent) {
            let Context { store, options, .. } = self.context;
            rule.unmatched =
                presence::unmatched(&self.spec.expr, &**store, self.sample_at, options)?;
            rule.looked_at = Some(self.at);
        }
        Ok(())
    }

    fn seen(
        &self,
        alerting: &AlertingSpec,
        elements: Vec<(Labels, f64)>,
    ) -> Result<BTreeMap<Labels, Seen>, String> {
        let query = query_function(self.context, self.sample_at);
        let name = &self.spec.name;
        // What all of them have is there once.
        let alert_name: (Arc<str>, Arc<str>) = (ALERT_NAME.into(), name.as_str().into());
        let label_names: Vec<Arc<str>> =
            self.spec.labels.keys().map(|label| label.as_str().into()).collect();
        let mut seen = BTreeMap::new();
        for (element, value) in elements {
            let around = &self.context.around;
            let scope = Scope::new(&element, value, self.at, around, Arc::clone(&query));
            let own = element.pairs().iter().filter(|(label, _)| **label != *METRIC_NAME).cloned();
            let added = label_names.iter().cloned().zip(self.spec.labels.values());
            let added =
                added.map(|(label, template)| (label, Arc::from(template.expand(name, &scope))));
            let labels = Labels::from_pairs(own.chain(added).chain([alert_name.clone()]));
            let annotations = alerting.annotations.iter();
            let annotations = annotations
                .map(|(annotation, template)| (annotation.clone(), template.expand(name, &scope)))
                .collect();
            let annotations = Arc::new(annotations);
            let one = Seen { labels: labels.clone(), annotations, value };
            if seen.insert(labels.clone(), one).is_some() {
                return Err(format!("two elements of the result become one alert {labels}"));
            }
        }
        Ok(seen)
    }

    /// Tells routing what it must hear of. With an `error`, firing ones marked, and no longer than
    /// the set time: then their lease runs out.
    fn send(&mut self, rule: &mut Rule, error: Option<&str>, send: Send<'_>) {
        let around = &self.context.around;
        let config = &self.context.config;
        let lease = alerting::lease(self.interval, config.resend_delay);
        let url = around.external_url.trim_end_matches('/');
        let url: Arc<str> = Arc::from(format!("{url}{}", table_link(&self.spec.query)));
        let (mut alerts, mut due) = (Vec::new(), Vec::new());
        for (labels, instance) in &rule.instances {
            if !alerting::needs_sending(instance, self.at, config.resend_delay) {
                continue;
            }
            let why = error.or_else(|| rule.kept.get(labels).map(|kept| kept.why.as_str()));
            let since = instance.unverified_since.filter(|_| instance.state == AlertState::Firing);
            if error.is_some()
                && since.is_some_and(|since| self.at.since(since) >= config.keep_unverified)
            {
                continue;
            }
            let marked = marked(instance, since.zip(why));
            let shown = marked.as_ref().unwrap_or(instance);
            let until = self.at.plus(lease);
            alerts.push(alerting::told(shown, until, &around.external_labels, Arc::clone(&url)));
            due.push(labels.clone());
        }
        if alerts.is_empty() {
            return;
        }
        if !send(alerts) {
            self.total.not_accepted += due.len();
            return;
        }
        for labels in due {
            if let Some(instance) = rule.instances.get_mut(&labels) {
                instance.last_sent_at = Some(self.at);
            }
        }
    }

    /// Appends the samples, for [`Group::evaluate`] to settle, and a stale marker for each series of
    /// the last evaluation that is gone.
    ///
    /// [`Group::evaluate`]: super::group::Group::evaluate
    fn write(&mut self, rule: &mut Rule, mut samples: Vec<(Labels, Sample)>) -> Result<(), Fault> {
        let now: HashSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
        let mut ended: Vec<&Labels> = rule.written.difference(&now).collect();
        ended.sort();
        let marker = Sample { timestamp: self.sample_at, value: stale_marker() };
        samples.extend(ended.into_iter().map(|labels| (labels.clone(), marker)));
        rule.written = now;
        if samples.is_empty() {
            return Ok(());
        }
        let appended = self.context.store.append_unsettled(&samples).map_err(|error| {
            // What ended has to end once the store takes samples again.
            let markers = samples.iter().filter(|(_, sample)| is_stale(sample.value));
            rule.written.extend(markers.map(|(labels, _)| labels.clone()));
            Fault { error: format!("cannot write the result: {error}"), source: true }
        })?;
        self.total.samples += appended.accepted;
        let refused: usize = appended.refused().iter().map(|(_, count)| count).sum();
        self.total.refused += refused - appended.over_limit;
        match appended.over_limit {
            0 => Ok(()),
            refused => {
                let error = format!("the store is full: {refused} series of the result refused");
                Err(Fault { error, source: true })
            }
        }
    }

    fn check_limit(&self, count: usize, what: &str) -> Result<(), Fault> {
        match self.limit > 0 && count > self.limit {
            true => Err(format!("exceeded limit of {} with {count} {what}", self.limit).into()),
            false => Ok(()),
        }
    }
}

/// The instance with what is odd about it, if anything is: it is held still, or nobody knows since
/// then whether it holds, and why.
pub(super) fn marked(
    instance: &AlertInstance,
    doubt: Option<(Timestamp, &str)>,
) -> Option<AlertInstance> {
    let held = flapping::marked(instance);
    match doubt {
        None => held,
        Some((since, why)) => {
            Some(alerting::unverified(held.as_ref().unwrap_or(instance), since, why))
        }
    }
}

/// The elements of an expression's value: those of a vector, or the one of a scalar.
fn elements(expr: &Expr, context: &Context, at: Timestamp) -> Result<Vec<(Labels, f64)>, Fault> {
    match promql::instant(expr, &*context.store, at, &context.options)?.value {
        Value::Vector(elements) => {
            Ok(elements.into_iter().map(|(labels, sample)| (labels, sample.value)).collect())
        }
        Value::Scalar(sample) => Ok(vec![(Labels::empty(), sample.value)]),
        Value::String(..) | Value::Matrix(_) => {
            Err("the expression's value is neither a vector nor a scalar".to_owned().into())
        }
    }
}

fn query_function(context: &Context, at: Timestamp) -> QueryFn {
    let context = context.clone();
    Arc::new(move |text: &str| {
        let expr = promql::parse(text).map_err(|error| error.to_string())?;
        elements(&expr, &context, at).map_err(|fault| fault.error)
    })
}
