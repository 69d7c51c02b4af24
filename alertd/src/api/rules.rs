//! `/api/v1/rules` and `/api/v1/alerts`: rules, their health and their alerts.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::error::ApiError;
use super::params::Params;
use super::series::selector;
use super::{Success, success};
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
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
#[serde(rename_all = "camelCase")]
struct Groups {
    groups: Vec<Group>,
    /// Where the next page begins, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_next_token: Option<String>,
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
    /// A recording rule without any has no such key.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    health: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
    /// Selectors that match no series, because of which the rule yields nothing. Not Prometheus'.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unmatched: Vec<String>,
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
    /// `null` with `exclude_alerts=true`.
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

/// Which rules of which groups are wanted.
struct Filter<'a> {
    alerting: Option<bool>,
    names: Vec<&'a str>,
    groups: Vec<&'a str>,
    files: Vec<&'a str>,
    /// A rule's own labels have to fit any of these.
    selectors: Vec<Vec<Matcher>>,
}

impl<'a> Filter<'a> {
    fn read(params: &'a Params) -> Result<Filter<'a>, ApiError> {
        let alerting = match params.get("type").map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("alert") => Some(true),
            Some("record") => Some(false),
            Some(other) => {
                let message = format!("not supported value {other:?}");
                return Err(ApiError::parameter("type", message));
            }
        };
        let selectors = params.all("match[]").map(|text| selector("match[]", text));
        Ok(Filter {
            alerting,
            names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            selectors: selectors.collect::<Result<_, _>>()?,
        })
    }

    fn takes_group(&self, group: &GroupStatus) -> bool {
        let among = |wanted: &[&str], name| wanted.is_empty() || wanted.contains(&name);
        among(&self.groups, group.name.as_str()) && among(&self.files, group.file.as_str())
    }

    fn takes_rule(&self, rule: &RuleStatus) -> bool {
        let value = |name: &str| rule.labels.get(name).map_or("", String::as_str);
        let fits =
            |matchers: &Vec<Matcher>| matchers.iter().all(|one| one.matches(value(&one.name)));
        (self.names.is_empty() || self.names.contains(&rule.name.as_str()))
            && self.alerting.is_none_or(|wanted| rule.alerting.is_some() == wanted)
            && (self.selectors.is_empty() || self.selectors.iter().any(fits))
    }

    /// Whether a group of which nothing is left is left out.
    fn is_about_rules(&self) -> bool {
        self.alerting.is_some() || !self.names.is_empty() || !self.selectors.is_empty()
    }
}

/// How many groups a page has, and with which one it begins.
struct Page<'a> {
    limit: usize,
    token: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn read(params: &'a Params) -> Result<Page<'a>, ApiError> {
        let wrong = |why| ApiError::parameter("group_limit", why);
        let token = params.get("group_next_token");
        let limit = match params.get("group_limit").map(str::parse::<usize>) {
            None if token.is_some() => {
                let why = "group_limit needs to be present in order to paginate over the groups";
                return Err(wrong(why));
            }
            None => usize::MAX,
            Some(Ok(0)) => return Err(wrong("group_limit needs to be greater than 0")),
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return Err(wrong("group_limit needs to be a valid number")),
        };
        Ok(Page { limit, token })
    }
}

/// Names a group from one request to the next, also when others come and go.
fn token(group: &GroupStatus) -> String {
    Labels::from_pairs([("file", group.file.as_str()), ("name", &group.name)])
        .fingerprint()
        .to_string()
}

async fn rules(
    State(view): State<View>,
    params: Params,
) -> Result<Json<Success<Groups>>, ApiError> {
    let (filter, page) = (Filter::read(&params)?, Page::read(&params)?);
    let exclude = params.flag("exclude_alerts")?;
    let all = view.groups();
    let first = match page.token {
        None => 0,
        Some(wanted) => all.iter().position(|group| token(group) == wanted).ok_or_else(|| {
            let why = format!("invalid group_next_token '{wanted}'. were rule groups changed?");
            ApiError::parameter("group_next_token", why)
        })?,
    };
    let (mut groups, mut group_next_token) = (Vec::new(), None);
    for status in all.iter().skip(first).filter(|group| filter.takes_group(group)) {
        let fits = status.rules.iter().filter(|rule| filter.takes_rule(rule));
        let rules: Vec<Rule> = fits.map(|of| rule(of, exclude)).collect();
        if rules.is_empty() && filter.is_about_rules() {
            continue;
        }
        if groups.len() >= page.limit {
            group_next_token = Some(token(status));
            break;
        }
        groups.push(group(status, rules));
    }
    Ok(success(Groups { groups, group_next_token }))
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
        labels: (status.alerting.is_some() || !status.labels.is_empty())
            .then(|| status.labels.clone()),
        health,
        last_error,
        unmatched: status.unmatched.clone(),
        evaluation_time: status.took.as_secs_f64(),
        last_evaluation: time(status.evaluated_at),
        r#type: if status.alerting.is_some() { "alerting" } else { "recording" },
    }
}

fn alert(instance: &AlertInstance) -> Alert {
    Alert {
        labels: instance.labels.clone(),
        annotations: (*instance.annotations).clone(),
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
mod compliance;
#[cfg(test)]
mod tests;
