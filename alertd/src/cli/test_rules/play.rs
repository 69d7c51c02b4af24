//! Plays one test: samples and evaluations from second 0 on, then what the cases expect.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::config::duration;

use super::cases::{AlertCase, ExprCase, Test, TestFile};
use crate::cli::test_promql::notation;
use crate::model::alert::AlertState;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::querier::Store;
use crate::model::sample::{Sample, Timestamp};
use crate::promql::{self, Options, Value};
use crate::rules::config::RulesConfig;
use crate::rules::file::GroupSpec;
use crate::rules::group::{Context, Group, Progress};
use crate::rules::status::Health;
use crate::rules::template::Surroundings;
use crate::tsdb::{Limits, Tsdb};

/// An alert as a case compares it: labels and annotations.
type Shown = (Labels, BTreeMap<String, String>);

/// One answer a case; only the fault when the test cannot be played.
pub(super) fn play(file: &TestFile, test: &Test, groups: &[GroupSpec]) -> Vec<Result<(), String>> {
    let interval = file.evaluation_interval();
    let options = Options { subquery_step: interval, ..Options::default() };
    let input = match Input::read(test, interval) {
        Ok(input) => input,
        Err(fault) => return vec![Err(fault)],
    };
    let limits = Limits { max_series: 5_000_000, ..Limits::default() };
    let context = Context {
        options,
        around: Surroundings {
            external_labels: Labels::from_pairs(test.external_labels.clone()),
            external_url: test.external_url.clone(),
        },
        config: RulesConfig::plain(),
        ..Context::new(Arc::new(Tsdb::new(limits)))
    };
    let mut groups: Vec<Group> =
        groups.iter().map(|spec| Group::new(spec.clone(), interval, Duration::ZERO)).collect();
    let mut outcomes = Vec::new();
    let mut cases: Vec<&AlertCase> = test.alert_rule_test.iter().collect();
    cases.sort_by_key(|case| case.eval_time);
    let mut cases = cases.into_iter().peekable();
    let (mut loaded, mut at) = (None, Duration::ZERO);
    while at <= test.ends() {
        let now = Timestamp::default().plus(at);
        if let Err(fault) = input.load(&*context.store, loaded, now) {
            return vec![Err(fault)];
        }
        loaded = Some(now);
        for group in &mut groups {
            group.evaluate(now, &context, &Progress::default(), &mut |_| true);
            if let Some(fault) = failure(group) {
                return vec![Err(format!("at {}: {fault}", duration::format(at)))];
            }
        }
        // A case between two evaluations sees the earlier one.
        while let Some(case) = cases.next_if(|case| case.eval_time < at + interval) {
            outcomes.push(check_alert(case, &groups));
        }
        at += interval;
    }
    for case in &test.promql_expr_test {
        outcomes.push(check_expr(case, &context, file.fuzzy_compare));
    }
    outcomes
}

/// The input series, with their interval.
struct Input {
    series: Vec<(Labels, Vec<Option<f64>>)>,
    interval: i64,
}

impl Input {
    fn read(test: &Test, evaluation_interval: Duration) -> Result<Input, String> {
        let interval = test.interval.filter(|interval| !interval.is_zero());
        let interval = interval.unwrap_or(evaluation_interval);
        let mut series = Vec::new();
        for input in &test.input_series {
            let wrong = |message: String| format!("input series {}: {message}", input.series);
            let line = notation::line(&format!("{} {}", input.series, input.values));
            let line = line.map_err(wrong)?;
            if !line.natives.is_empty() {
                return Err(wrong("native histograms are not supported".to_owned()));
            }
            series.push((line.labels, line.values));
        }
        Ok(Input { series, interval: i64::try_from(interval.as_millis()).unwrap_or(i64::MAX) })
    }

    /// Appends what lies after `from` (from the beginning without it) and not after `to`.
    fn load(
        &self,
        store: &dyn Store,
        from: Option<Timestamp>,
        to: Timestamp,
    ) -> Result<(), String> {
        let first = from.map_or(0, |from| from.0 / self.interval + 1);
        let mut samples = Vec::new();
        for (labels, values) in &self.series {
            for index in first..=to.0 / self.interval {
                let value = usize::try_from(index).ok().and_then(|index| values.get(index));
                let Some(Some(value)) = value else { continue };
                let timestamp = Timestamp(index * self.interval);
                samples.push((labels.clone(), Sample { timestamp, value: *value }));
            }
        }
        let appended = store.append(&samples).map_err(|error| error.to_string())?;
        match appended.accepted == samples.len() {
            true => Ok(()),
            false => Err(format!("input series were not all taken: {appended:?}")),
        }
    }
}

/// The first rule of a group that could not be evaluated.
fn failure(group: &Group) -> Option<String> {
    group.status().rules.iter().find_map(|rule| match &rule.health {
        Health::Failing { error, .. } => Some(format!("rule {:?}: {error}", rule.name)),
        Health::Unknown | Health::Ok => None,
    })
}

fn check_alert(case: &AlertCase, groups: &[Group]) -> Result<(), String> {
    let mut got: Vec<Shown> = Vec::new();
    for rule in groups.iter().flat_map(|group| group.status().rules) {
        let firing = rule.alerting.filter(|_| rule.name == case.alertname).into_iter();
        let firing = firing.flat_map(|alerting| alerting.instances);
        let firing = firing.filter(|instance| instance.state == AlertState::Firing);
        got.extend(firing.map(|one| (one.labels.clone(), one.annotations.clone())));
    }
    let expected = case.exp_alerts.iter().flatten().map(|alert| {
        let labels = Labels::from_pairs(alert.exp_labels.clone().unwrap_or_default());
        let annotations = alert.exp_annotations.clone().unwrap_or_default();
        (labels.with(ALERT_NAME, &case.alertname), annotations)
    });
    let mut expected: Vec<Shown> = expected.collect();
    expected.sort();
    got.sort();
    if expected == got {
        return Ok(());
    }
    let lines = |alerts: &[Shown]| {
        list(alerts.iter().map(|(labels, annotations)| format!("{labels} {annotations:?}")))
    };
    let at = duration::format(case.eval_time);
    let (name, expected, got) = (&case.alertname, lines(&expected), lines(&got));
    Err(format!("alert {name} at {at}:\n  expected:{expected}\n  got:{got}"))
}

fn check_expr(case: &ExprCase, context: &Context, fuzzy: bool) -> Result<(), String> {
    let at = duration::format(case.eval_time);
    let wrong = |message: String| format!("expression {:?} at {at}: {message}", case.expr);
    let mut expected = Vec::new();
    for sample in case.exp_samples.iter().flatten() {
        if sample.histogram.is_some() {
            return Err(wrong("native histograms are not supported".to_owned()));
        }
        let line = notation::line(&format!("{} _", labels_or_none(&sample.labels)));
        expected.push((line.map_err(wrong)?.labels, sample.value));
    }
    let expr = promql::parse(&case.expr).map_err(|error| wrong(error.to_string()))?;
    let now = Timestamp::default().plus(case.eval_time);
    let answer = promql::instant(&expr, &*context.store, now, &context.options);
    let mut got = match answer.map_err(|error| wrong(error.to_string()))?.value {
        Value::Vector(vector) => {
            vector.into_iter().map(|(labels, sample)| (labels, sample.value)).collect()
        }
        Value::Scalar(sample) => vec![(Labels::empty(), sample.value)],
        Value::String(..) | Value::Matrix(_) => {
            return Err(wrong("expected a vector or a scalar as its value".to_owned()));
        }
    };
    expected.sort_by(|one, two| one.0.cmp(&two.0));
    got.sort_by(|one: &(Labels, f64), two| one.0.cmp(&two.0));
    let same = expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|(expected, got)| expected.0 == got.0 && equal(expected.1, got.1, fuzzy));
    if same {
        return Ok(());
    }
    let lines = |samples: &[(Labels, f64)]| {
        list(samples.iter().map(|(labels, value)| format!("{labels} {value:?}")))
    };
    Err(wrong(format!("\n  expected:{}\n  got:{}", lines(&expected), lines(&got))))
}

/// An empty label set may be written as nothing at all.
fn labels_or_none(labels: &str) -> &str {
    if labels.trim().is_empty() { "{}" } else { labels.trim() }
}

fn equal(one: f64, two: f64, fuzzy: bool) -> bool {
    let near = fuzzy && (one.next_up() == two || one.next_down() == two);
    one == two || near || (one.is_nan() && two.is_nan())
}

fn list(lines: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines {
        // Writing to a `String` cannot fail.
        write!(text, "\n    {line}").expect("a string takes any text");
    }
    if text.is_empty() { " nothing".to_owned() } else { text }
}
