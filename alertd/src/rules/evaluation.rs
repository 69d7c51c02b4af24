//! One evaluation of one rule: ask, move its alerts on, tell routing, write the result.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::alerting::{self, Seen, Timing};
use super::file::{AlertingSpec, RuleSpec};
use super::group::{Context, Evaluated, Kept, Rule, Send};
use super::recording;
use super::status::Health;
use super::template::{QueryFn, Scope, table_link};
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::{ALERT_NAME, Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::sample::{Sample, Timestamp, is_stale, stale_marker};
use crate::promql::{self, Value, syntax::Expr};

/// One evaluation of one rule.
pub(super) struct Run<'a> {
    pub(super) spec: &'a RuleSpec,
    pub(super) at: Timestamp,
    /// `at` less the query offset: what the expression sees as now, and the samples' timestamp.
    pub(super) sample_at: Timestamp,
    pub(super) limit: usize,
    pub(super) lease: Duration,
    pub(super) context: &'a Context,
    pub(super) total: &'a mut Evaluated,
}

impl Run<'_> {
    pub(super) fn rule(&mut self, rule: &mut Rule, send: Send<'_>) -> Result<(), String> {
        let elements = elements(&self.spec.expr, self.context, self.sample_at);
        let Some(alerting) = self.spec.alerting() else {
            let samples = recording::record(self.spec, elements?, self.sample_at)?;
            self.check_limit(samples.len(), "series")?;
            return self.write(rule, samples);
        };
        match elements.and_then(|elements| self.advance(alerting, rule, elements)) {
            Ok(()) => {
                self.send(rule, None, send);
                let alive = rule.instances.values();
                let samples =
                    alive.flat_map(|one| alerting::samples(one, self.sample_at)).collect();
                self.write(rule, samples)
            }
            Err(error) => {
                self.send(rule, Some(&error), send);
                Err(error)
            }
        }
    }

    /// All instances one evaluation on. Nothing changes when an error comes back, but for the limit.
    fn advance(
        &self,
        alerting: &AlertingSpec,
        rule: &mut Rule,
        elements: Vec<(Labels, f64)>,
    ) -> Result<(), String> {
        let mut seen = self.seen(alerting, elements)?;
        let timing = Timing { hold: alerting.hold, keep_firing: alerting.keep_firing_for };
        let (mut after, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for (labels, before) in &rule.instances {
            let element = seen.remove(labels);
            if element.is_some() {
                rule.unseen.remove(labels);
            } else if let Some(why) = self.doubt(before, rule.unseen.contains(labels))? {
                let since = rule.kept.get(labels).map_or(self.at, |kept| kept.since);
                if self.at.since(since) < self.context.config.keep_unverified {
                    kept.insert(labels.clone(), Kept { since, why });
                    after.insert(labels.clone(), before.clone());
                    continue;
                }
            }
            let instance = alerting::next(Some(before), element, timing, self.at);
            after.extend(instance.map(|instance| (labels.clone(), instance)));
        }
        for (labels, element) in seen {
            let instance = alerting::next(None, Some(element), timing, self.at);
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

    /// Why an alert that the expression does not yield may hold all the same, if so: the store has
    /// not been filled again since a restart, or the scrape of the alert's target fails now.
    fn doubt(&self, instance: &AlertInstance, unseen: bool) -> Result<Option<String>, String> {
        if instance.state == AlertState::Inactive || self.context.config.keep_unverified.is_zero() {
            return Ok(None);
        }
        if unseen && self.at < self.context.store_filled_at {
            return Ok(Some("restarted, and its data is not there again yet".to_owned()));
        }
        let Some(target) = instance.labels.get("instance") else { return Ok(None) };
        if instance.state != AlertState::Firing {
            return Ok(None);
        }
        let job = instance.labels.get("job").map(|job| Matcher::equal("job", job));
        let up = [Matcher::equal(METRIC_NAME, "up"), Matcher::equal("instance", target)];
        let up: Vec<Matcher> = up.into_iter().chain(job).collect();
        let found = self.context.store.latest(&up, self.sample_at, self.context.options.lookback);
        let found = found.map_err(|error| error.to_string())?;
        let fails = found.iter().any(|(_, value)| *value == 0.0);
        Ok(fails.then(|| format!("the scrape of {target} fails")))
    }

    fn seen(
        &self,
        alerting: &AlertingSpec,
        elements: Vec<(Labels, f64)>,
    ) -> Result<BTreeMap<Labels, Seen>, String> {
        let query = query_function(self.context, self.sample_at);
        let name = &self.spec.name;
        let mut seen = BTreeMap::new();
        for (element, value) in elements {
            let around = &self.context.around;
            let scope = Scope::new(&element, value, self.at, around, Arc::clone(&query));
            let own = element.iter().filter(|(label, _)| *label != METRIC_NAME);
            let own = own.map(|(label, value)| (label.to_owned(), value.to_owned()));
            let added = self.spec.labels.iter();
            let added =
                added.map(|(label, template)| (label.clone(), template.expand(name, &scope)));
            let alert_name = (ALERT_NAME.to_owned(), name.clone());
            let labels = Labels::from_pairs(own.chain(added).chain([alert_name]));
            let annotations = alerting.annotations.iter();
            let annotations = annotations
                .map(|(annotation, template)| (annotation.clone(), template.expand(name, &scope)))
                .collect();
            let one = Seen { labels: labels.clone(), annotations, value };
            if seen.insert(labels.clone(), one).is_some() {
                return Err(format!("two elements of the result become one alert {labels}"));
            }
        }
        Ok(seen)
    }

    /// Tells routing what it must hear of. With an `error`, only firing ones, marked, and no longer
    /// than the set time: then their lease runs out.
    fn send(&mut self, rule: &mut Rule, error: Option<&str>, send: Send<'_>) {
        let since = failing_since(&rule.health, self.at);
        if error.is_some() && self.at.since(since) >= self.context.config.keep_unverified {
            return;
        }
        let around = &self.context.around;
        let url = around.external_url.trim_end_matches('/');
        let url = format!("{url}{}", table_link(&self.spec.query));
        let (mut alerts, mut due) = (Vec::new(), Vec::new());
        for (labels, instance) in &rule.instances {
            if !alerting::needs_sending(instance, self.at, self.context.config.resend_delay) {
                continue;
            }
            let doubt = error.map(|error| (since, error));
            let kept = || rule.kept.get(labels).map(|kept| (kept.since, kept.why.as_str()));
            let marked = doubt
                .or_else(kept)
                .filter(|_| instance.state == AlertState::Firing)
                .map(|(since, why)| alerting::unverified(instance, since, why));
            let shown = marked.as_ref().unwrap_or(instance);
            let until = self.at.plus(self.lease);
            alerts.push(alerting::told(shown, until, &around.external_labels, &url));
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

    /// Appends the samples, for [`Group::evaluate`] to settle, and a stale marker for each series of the last evaluation that is gone.
    fn write(&mut self, rule: &mut Rule, mut samples: Vec<(Labels, Sample)>) -> Result<(), String> {
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
            format!("cannot write the result: {error}")
        })?;
        self.total.samples += appended.accepted;
        let refused: usize = appended.refused().iter().map(|(_, count)| count).sum();
        self.total.refused += refused - appended.over_limit;
        match appended.over_limit {
            0 => Ok(()),
            refused => Err(format!("the store is full: {refused} series of the result refused")),
        }
    }

    fn check_limit(&self, count: usize, what: &str) -> Result<(), String> {
        match self.limit > 0 && count > self.limit {
            true => Err(format!("exceeded limit of {} with {count} {what}", self.limit)),
            false => Ok(()),
        }
    }
}

/// When the current failure began: `now` when there was none before.
pub(super) fn failing_since(health: &Health, now: Timestamp) -> Timestamp {
    match health {
        Health::Failing { since, .. } => *since,
        Health::Unknown | Health::Ok => now,
    }
}

/// The elements of an expression's value: those of a vector, or the one of a scalar.
fn elements(expr: &Expr, context: &Context, at: Timestamp) -> Result<Vec<(Labels, f64)>, String> {
    let answer = promql::instant(expr, &*context.store, at, &context.options);
    match answer.map_err(|error| error.to_string())?.value {
        Value::Vector(elements) => {
            Ok(elements.into_iter().map(|(labels, sample)| (labels, sample.value)).collect())
        }
        Value::Scalar(sample) => Ok(vec![(Labels::empty(), sample.value)]),
        Value::String(..) | Value::Matrix(_) => {
            Err("the expression's value is neither a vector nor a scalar".to_owned())
        }
    }
}

fn query_function(context: &Context, at: Timestamp) -> QueryFn {
    let context = context.clone();
    Arc::new(move |text: &str| {
        let expr = promql::parse(text).map_err(|error| error.to_string())?;
        elements(&expr, &context, at)
    })
}
