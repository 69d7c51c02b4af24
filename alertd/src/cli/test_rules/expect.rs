//! What a case expects against what there is.

use std::collections::BTreeMap;
use std::time::Duration;

use pitcrew_exporter::config::duration;

use super::cases::{
    AlertCase, ExpectedAlert, ExpectedEnds, ExpectedNotification, ExpectedTold, ExprCase, Pairs,
    Status,
};
use super::difference::{Outcome, compare};
use crate::cli::test_promql::notation;
use crate::model::alert::AlertState;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::sample::Timestamp;
use crate::promql::{self, Value};
use crate::route::notification::{Notification, NotifiedAlert};
use crate::rules::group::{Context, Group};

/// An alert as a case compares it: labels and annotations, empty values included.
type Shown = (Pairs, Pairs);

/// The state of the rules at a case's time.
pub(super) struct Seen<'a> {
    pub(super) groups: &'a [Group],
    pub(super) ended: &'a BTreeMap<Labels, Timestamp>,
    pub(super) start: Timestamp,
}

impl Seen<'_> {
    /// One answer for each key of the case.
    pub(super) fn check(&self, case: &AlertCase) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if case.exp_alerts.is_some() || !case.asks_more_than_promtool() {
            let expected = case.exp_alerts.as_deref().unwrap_or_default();
            outcomes.push(self.alerts(case, "alert", AlertState::Firing, expected));
        }
        if let Some(expected) = &case.exp_pending {
            outcomes.push(self.alerts(case, "pending alert", AlertState::Pending, expected));
        }
        if let Some(expected) = &case.exp_resolved_at {
            outcomes.push(self.ends(case, expected));
        }
        outcomes
    }

    fn alerts(
        &self,
        case: &AlertCase,
        what: &str,
        state: AlertState,
        expected: &[ExpectedAlert],
    ) -> Outcome {
        let mut got: Vec<Shown> = Vec::new();
        for rule in self.groups.iter().flat_map(|group| group.status().rules) {
            let alive = rule.alerting.filter(|_| rule.name == case.alertname).into_iter();
            let alive = alive.flat_map(|alerting| alerting.instances);
            let alive = alive.filter(|instance| instance.state == state);
            got.extend(alive.map(|one| (one.labels.to_map(), (*one.annotations).clone())));
        }
        let expected = expected.iter().map(|alert| {
            let labels = named(alert.exp_labels.clone().unwrap_or_default(), &case.alertname);
            (labels, alert.exp_annotations.clone().unwrap_or_default())
        });
        let mut expected: Vec<Shown> = expected.collect();
        expected.sort();
        got.sort();
        let lines = |alerts: &[Shown]| {
            let lines = alerts.iter();
            lines.map(|(labels, texts)| format!("{} {texts:?}", shown(labels))).collect()
        };
        compare(&title(what, case), expected == got, lines(&expected), lines(&got))
    }

    fn ends(&self, case: &AlertCase, expected: &ExpectedEnds) -> Outcome {
        let mine = |labels: &&Labels| labels.get(ALERT_NAME) == Some(case.alertname.as_str());
        let got = self.ended.iter().filter(|(labels, _)| mine(labels));
        let mut got: Vec<(Pairs, Duration)> =
            got.map(|(labels, at)| (labels.to_map(), at.since(self.start))).collect();
        got.sort();
        let line = |labels: &Pairs, at: Duration| {
            format!("{} resolved at {}", shown(labels), duration::format(at))
        };
        let lines = |ends: &[(Pairs, Duration)]| -> Vec<String> {
            ends.iter().map(|(labels, at)| line(labels, *at)).collect()
        };
        let title = title("end of alert", case);
        match expected {
            ExpectedEnds::All(at) => {
                let same = !got.is_empty() && got.iter().all(|(_, end)| end == at);
                let expected = vec![format!("all resolved at {}", duration::format(*at))];
                compare(&title, same, expected, lines(&got))
            }
            ExpectedEnds::Each(ends) => {
                let ends = ends.iter();
                let mut expected: Vec<(Pairs, Duration)> = ends
                    .map(|end| (named(end.exp_labels.clone(), &case.alertname), end.at))
                    .collect();
                expected.sort();
                compare(&title, expected == got, lines(&expected), lines(&got))
            }
        }
    }
}

/// One answer for each case with `exp_notifications`: each looks at what was told after the one
/// before it of the same alert. `cases` are in the order of their times.
pub(super) fn notifications(
    cases: &[&AlertCase],
    told: &[Notification],
    start: Timestamp,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut seen: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for case in cases {
        let Some(expected) = &case.exp_notifications else { continue };
        let until = start.plus(case.eval_time);
        let since = seen.insert(&case.alertname, until);
        let got: Vec<&Notification> = told
            .iter()
            .filter(|told| since.is_none_or(|since| told.at > since) && told.at <= until)
            .filter(|told| told.alerts.iter().any(|alert| alert.name() == case.alertname))
            .collect();
        let same = expected.len() == got.len()
            && expected.iter().zip(&got).all(|(want, got)| fits(want, got, case, start));
        let expected = expected.iter().map(|want| wanted(want, &case.alertname)).collect();
        let got = got.iter().map(|told| notification(told, start)).collect();
        outcomes.push(compare(&title("notifications of alert", case), same, expected, got));
    }
    outcomes
}

pub(super) fn expression(
    case: &ExprCase,
    context: &Context,
    start: Timestamp,
    fuzzy: bool,
) -> Outcome {
    let at = duration::format(case.eval_time);
    let title = format!("expression {:?} at {at}", case.expr);
    let wrong = |message: String| format!("{title}: {message}");
    let mut expected = Vec::new();
    for sample in case.exp_samples.iter().flatten() {
        if sample.histogram.is_some() {
            return Err(wrong("native histograms are not supported".to_owned()).into());
        }
        let line = notation::line(&format!("{} _", labels_or_none(&sample.labels)));
        expected.push((line.map_err(wrong)?.labels, sample.value));
    }
    let expr = promql::parse(&case.expr).map_err(|error| wrong(error.to_string()))?;
    let now = start.plus(case.eval_time);
    let answer = promql::instant(&expr, &*context.store, now, &context.options);
    let mut got = match answer.map_err(|error| wrong(error.to_string()))?.value {
        Value::Vector(vector) => {
            vector.into_iter().map(|(labels, sample)| (labels, sample.value)).collect()
        }
        Value::Scalar(sample) => vec![(Labels::empty(), sample.value)],
        Value::String(..) | Value::Matrix(_) => {
            return Err(wrong("expected a vector or a scalar as its value".to_owned()).into());
        }
    };
    expected.sort_by(|one, two| one.0.cmp(&two.0));
    got.sort_by(|one: &(Labels, f64), two| one.0.cmp(&two.0));
    let same = expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|(expected, got)| expected.0 == got.0 && equal(expected.1, got.1, fuzzy));
    let lines = |samples: &[(Labels, f64)]| {
        samples.iter().map(|(labels, value)| format!("{labels} {value:?}")).collect()
    };
    compare(&title, same, lines(&expected), lines(&got))
}

fn fits(
    want: &ExpectedNotification,
    got: &Notification,
    case: &AlertCase,
    start: Timestamp,
) -> bool {
    let status = if got.is_resolved() { Status::Resolved } else { Status::Firing };
    want.receiver == got.receiver
        && want.at.is_none_or(|at| start.plus(at) == got.at)
        && want.status.is_none_or(|wanted| wanted == status)
        && want.reason.is_none_or(|reason| reason == got.reason)
        && want.exp_alerts.as_ref().is_none_or(|alerts| {
            let mut left: Vec<&NotifiedAlert> = got.alerts.iter().collect();
            alerts.len() == left.len()
                && alerts.iter().all(|want| {
                    let at = left.iter().position(|got| fits_alert(want, got, &case.alertname));
                    at.map(|at| left.swap_remove(at)).is_some()
                })
        })
}

fn fits_alert(want: &ExpectedTold, got: &NotifiedAlert, name: &str) -> bool {
    want.status.is_none_or(|status| status == told_as(got))
        && labels_of(want, name) == got.labels
        && want.exp_annotations.as_ref().is_none_or(|texts| *texts == got.annotations)
}

fn told_as(alert: &NotifiedAlert) -> Status {
    if alert.ends_at.is_some() { Status::Resolved } else { Status::Firing }
}

/// With the case's name where the labels have none.
fn labels_of(want: &ExpectedTold, name: &str) -> Pairs {
    let mut labels = want.exp_labels.clone();
    labels.entry(ALERT_NAME.to_owned()).or_insert_with(|| name.to_owned());
    labels
}

fn named(mut labels: Pairs, name: &str) -> Pairs {
    labels.insert(ALERT_NAME.to_owned(), name.to_owned());
    labels
}

fn notification(told: &Notification, start: Timestamp) -> String {
    let at = duration::format(told.at.since(start));
    let mut alerts: Vec<String> = told
        .alerts
        .iter()
        .map(|alert| format!("{} {}", shown(&alert.labels), told_as(alert)))
        .collect();
    alerts.sort();
    let status = if told.is_resolved() { Status::Resolved } else { Status::Firing };
    let (to, reason, alerts) = (&told.receiver, reason(&told.reason), alerts.join(", "));
    format!("{to} at {at}: {status}, {reason}: {alerts}")
}

fn wanted(want: &ExpectedNotification, name: &str) -> String {
    let or_any = |text: Option<String>| text.unwrap_or_else(|| "any".to_owned());
    let mut alerts: Vec<String> = want
        .exp_alerts
        .iter()
        .flatten()
        .map(|alert| {
            let status = or_any(alert.status.map(|status| status.to_string()));
            format!("{} {status}", shown(&labels_of(alert, name)))
        })
        .collect();
    alerts.sort();
    format!(
        "{} at {}: {}, {}: {}",
        want.receiver,
        or_any(want.at.map(duration::format)),
        or_any(want.status.map(|status| status.to_string())),
        or_any(want.reason.as_ref().map(reason)),
        if want.exp_alerts.is_some() { alerts.join(", ") } else { "any".to_owned() },
    )
}

/// As test files write it.
fn reason(reason: &crate::route::dedup::Reason) -> String {
    let text = serde_json::to_value(reason).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

fn title(what: &str, case: &AlertCase) -> String {
    format!("{what} {} at {}", case.alertname, duration::format(case.eval_time))
}

/// `{a="b"}`, with values that are empty too.
fn shown(labels: &Pairs) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// An empty label set may be written as nothing at all.
fn labels_or_none(labels: &str) -> &str {
    if labels.trim().is_empty() { "{}" } else { labels.trim() }
}

fn equal(one: f64, two: f64, fuzzy: bool) -> bool {
    let near = fuzzy && (one.next_up() == two || one.next_down() == two);
    one == two || near || (one.is_nan() && two.is_nan())
}
