//! The life of one alert instance, and what is told of it. Pure: time comes as an argument.

use std::sync::Arc;
use std::time::Duration;

use crate::model::alert::{Alert, AlertInstance, AlertState, Annotations};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::{Sample, Timestamp};

/// How long an instance that ended is kept and told again.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);
/// The annotation that marks an alert kept alive although its rule cannot be evaluated.
pub const UNVERIFIED: &str = "pitcrew_unverified";

/// An element that the expression yielded in this evaluation, with the rule's labels and texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub labels: Labels,
    pub annotations: Annotations,
    pub value: f64,
}

/// `for` and `keep_firing_for` of the rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    pub hold: Duration,
    pub keep_firing: Duration,
}

/// The instance after an evaluation at `now`; `None` when there is nothing left of it.
///
/// Source: Prometheus `rules/alerting.go`, `Eval`.
pub fn next(
    before: Option<&AlertInstance>,
    seen: Option<Seen>,
    timing: Timing,
    now: Timestamp,
) -> Option<AlertInstance> {
    let alive = before.filter(|instance| instance.state != AlertState::Inactive);
    let mut instance = match (alive, seen) {
        (Some(before), Some(seen)) => AlertInstance {
            labels: before.labels.clone(),
            annotations: seen.annotations,
            value: seen.value,
            keep_firing_since: None,
            unverified_since: None,
            ..before.clone()
        },
        (None, Some(seen)) => AlertInstance {
            labels: seen.labels,
            annotations: seen.annotations,
            state: AlertState::Pending,
            value: seen.value,
            active_at: now,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent_at: None,
            unverified_since: None,
            changes: Vec::new(),
            flapping_since: None,
        },
        (Some(before), None) => return missing(before, timing.keep_firing, now),
        (None, None) => {
            let ended = before?;
            let kept = now.since(ended.resolved_at.unwrap_or(now)) <= RESOLVED_RETENTION;
            return kept.then(|| ended.clone());
        }
    };
    if instance.state == AlertState::Pending && now.since(instance.active_at) >= timing.hold {
        instance.state = AlertState::Firing;
        instance.fired_at = Some(now);
    }
    Some(instance)
}

fn missing(before: &AlertInstance, keep: Duration, now: Timestamp) -> Option<AlertInstance> {
    if before.state == AlertState::Pending {
        return None;
    }
    let since = before.keep_firing_since.unwrap_or(now);
    if now.since(since) < keep {
        let unverified_since = None;
        let keep_firing_since = Some(since);
        return Some(AlertInstance { keep_firing_since, unverified_since, ..before.clone() });
    }
    Some(resolved(before, now))
}

/// The end of a firing instance.
pub fn resolved(before: &AlertInstance, now: Timestamp) -> AlertInstance {
    AlertInstance {
        state: AlertState::Inactive,
        resolved_at: Some(now),
        keep_firing_since: None,
        unverified_since: None,
        ..before.clone()
    }
}

/// Takes an instance over into a rule whose `for` may have grown: one that would not have fired yet
/// under the new `for` is pending again.
pub fn carried_over(instance: AlertInstance, hold: Duration, now: Timestamp) -> AlertInstance {
    let fired_early = instance.fired_at.is_some_and(|fired| fired.since(instance.active_at) < hold)
        && now.since(instance.active_at) < hold;
    match instance.state == AlertState::Firing && fired_early {
        true => AlertInstance { state: AlertState::Pending, fired_at: None, ..instance },
        false => instance,
    }
}

/// Whether routing must hear of the instance now: at once when it fires or ends, then again each time
/// more than `resend_delay` has passed.
pub fn needs_sending(instance: &AlertInstance, now: Timestamp, resend_delay: Duration) -> bool {
    if instance.state == AlertState::Pending {
        return false;
    }
    match (instance.last_sent_at, instance.resolved_at) {
        (None, _) => true,
        (Some(sent), Some(ended)) if ended > sent => true,
        (Some(sent), _) if instance.flapping_since.is_some_and(|since| since > sent) => true,
        // A clock that went back must not silence an alert until it catches up.
        (Some(sent), _) => sent > now || sent.plus(resend_delay) < now,
    }
}

/// How long a firing alert stays valid without being told again.
pub fn lease(interval: Duration, resend_delay: Duration) -> Duration {
    interval.max(resend_delay).saturating_mul(4)
}

/// What routing is told. `external` are added where the alert has no such label.
pub fn told(
    instance: &AlertInstance,
    valid_until: Timestamp,
    external: &Labels,
    generator_url: impl Into<Arc<str>>,
) -> Alert {
    Alert {
        labels: external.overlaid(&instance.labels),
        annotations: Arc::clone(&instance.annotations),
        starts_at: instance.fired_at.unwrap_or(instance.active_at),
        ends_at: instance.resolved_at.unwrap_or(valid_until),
        generator_url: generator_url.into(),
    }
}

/// `ALERTS` and `ALERTS_FOR_STATE` of a pending or firing instance.
pub fn samples(instance: &AlertInstance, at: Timestamp) -> Vec<(Labels, Sample)> {
    let state = match instance.state {
        AlertState::Inactive => return Vec::new(),
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    };
    let alerts = instance.labels.with(METRIC_NAME, "ALERTS").with("alertstate", state);
    let since = instance.labels.with(METRIC_NAME, "ALERTS_FOR_STATE");
    let active_at = instance.active_at.0.div_euclid(1000) as f64;
    vec![
        (alerts, Sample { timestamp: at, value: 1.0 }),
        (since, Sample { timestamp: at, value: active_at }),
    ]
}

/// The instance as it is shown while its rule fails: alive, and marked as not known to be true.
pub fn unverified(instance: &AlertInstance, since: Timestamp, error: &str) -> AlertInstance {
    let mut marked = instance.clone();
    let text = format!("not verified since {}: {error}", since.rfc3339());
    Arc::make_mut(&mut marked.annotations).insert(UNVERIFIED.to_owned(), text);
    marked
}

#[cfg(test)]
mod tests;
