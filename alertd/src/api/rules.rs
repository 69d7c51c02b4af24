//! `/api/v1/rules` and `/api/v1/alerts`: rules, their health and their alerts.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::error::ApiError;
use super::params::Params;
use super::{Success, success};
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;
use crate::rules::status::{GroupStatus, Health, RuleStatus, View};
use crate::rules::template::number;

pub fn routes(view: View) -> Router {
    Router::new()
        .route("/api/v1/rules", get(rules))
        .route("/api/v1/alerts", get(alerts))
        .with_state(view)
}

#[derive(Debug, Serialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    file: String,
    rules: Vec<Rule>,
    /// In seconds, as all times here.
    interval: f64,
    limit: usize,
    evaluation_time: f64,
    last_evaluation: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(flatten)]
    alerting: Option<Alerting>,
    name: String,
    query: String,
    labels: BTreeMap<String, String>,
    health: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    evaluation_time: f64,
    last_evaluation: String,
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alerting {
    state: AlertState,
    duration: f64,
    keep_firing_for: f64,
    annotations: BTreeMap<String, String>,
    /// Left out with `exclude_alerts=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    alerts: Option<Vec<Alert>>,
}

#[derive(Debug, Serialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: Labels,
    annotations: BTreeMap<String, String>,
    state: AlertState,
    active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_since: Option<String>,
    value: String,
}

/// Groups without a rule that fits are left out when a filter is given.
async fn rules(
    State(view): State<View>,
    params: Params,
) -> Result<Json<Success<Groups>>, ApiError> {
    let alerting = match params.get("type") {
        None => None,
        Some("alert") => Some(true),
        Some("record") => Some(false),
        Some(other) => {
            let message = format!("expected alert or record, found {other:?}");
            return Err(ApiError::parameter("type", message));
        }
    };
    let exclude = match params.get("exclude_alerts") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let message = format!("expected true or false, found {other:?}");
            return Err(ApiError::parameter("exclude_alerts", message));
        }
    };
    let named = |key: &str, name: &str| {
        let mut wanted = params.all(key).peekable();
        wanted.peek().is_none() || wanted.any(|wanted| wanted == name)
    };
    let filtered = alerting.is_some() || params.all("rule_name[]").next().is_some();
    let mut groups = Vec::new();
    for status in view.groups() {
        if !named("rule_group[]", &status.name) || !named("file[]", &status.file) {
            continue;
        }
        let fits = |rule: &&RuleStatus| {
            named("rule_name[]", &rule.name)
                && alerting.is_none_or(|wanted| rule.alerting.is_some() == wanted)
        };
        let rules: Vec<Rule> =
            status.rules.iter().filter(fits).map(|of| rule(of, exclude)).collect();
        if !(filtered && rules.is_empty()) {
            groups.push(group(&status, rules));
        }
    }
    Ok(success(Groups { groups }))
}

async fn alerts(State(view): State<View>) -> Json<Success<Alerts>> {
    let groups = view.groups();
    let instances = groups.iter().flat_map(|group| group.instances());
    success(Alerts { alerts: instances.map(|instance| alert(&instance)).collect() })
}

fn group(status: &GroupStatus, rules: Vec<Rule>) -> Group {
    Group {
        name: status.name.clone(),
        file: status.file.clone(),
        rules,
        interval: status.interval.as_secs_f64(),
        limit: status.limit,
        evaluation_time: status.took.as_secs_f64(),
        last_evaluation: time(status.evaluated_at),
    }
}

fn rule(status: &RuleStatus, exclude_alerts: bool) -> Rule {
    let (health, last_error) = match &status.health {
        Health::Unknown => ("unknown", String::new()),
        Health::Ok => ("ok", String::new()),
        Health::Failing { error, .. } => ("err", error.clone()),
    };
    Rule {
        alerting: status.alerting.as_ref().map(|alerting| Alerting {
            state: alerting.state(),
            duration: alerting.hold.as_secs_f64(),
            keep_firing_for: alerting.keep_firing_for.as_secs_f64(),
            annotations: alerting.annotations.clone(),
            alerts: (!exclude_alerts)
                .then(|| alerting.instances.iter().map(|instance| alert(instance)).collect()),
        }),
        name: status.name.clone(),
        query: status.query.clone(),
        labels: status.labels.clone(),
        health,
        last_error,
        evaluation_time: status.took.as_secs_f64(),
        last_evaluation: time(status.evaluated_at),
        r#type: if status.alerting.is_some() { "alerting" } else { "recording" },
    }
}

fn alert(instance: &AlertInstance) -> Alert {
    Alert {
        labels: instance.labels.clone(),
        annotations: instance.annotations.clone(),
        state: instance.state,
        active_at: instance.active_at.rfc3339(),
        keep_firing_since: instance.keep_firing_since.map(Timestamp::rfc3339),
        value: number::scientific(instance.value),
    }
}

/// What Go writes for a time that never was, when there is none.
fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), Timestamp::rfc3339)
}

#[cfg(test)]
mod tests;
