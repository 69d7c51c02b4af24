//! What the page shows, as data: gathered once a request, rendered as HTML or JSON.

use serde::Serialize;

use crate::model::alert::{ActiveAlerts, AlertInstance, AlertState};
use crate::model::labels::ALERT_NAME;
use crate::model::sample::Timestamp;
use crate::remote::source::Condition;

/// The alert that fires always, to prove that alerts flow.
const WATCHDOG: &str = "Watchdog";

/// How a row should strike the eye.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Quiet,
    Good,
    Warn,
    Bad,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    pub now: Timestamp,
    pub version: &'static str,
    pub verdict: Verdict,
    /// Why no pool acts at all, when a person said so.
    pub hold: Option<String>,
    pub alerts: Vec<AlertRow>,
    pub pools: Vec<PoolRow>,
    pub runners: Vec<RunnerRow>,
    pub hosts: Vec<HostRow>,
    pub actions: Vec<ActionRow>,
    /// The remote API that stands in the embedded store's place.
    pub source: Option<SourceRow>,
    /// Why the store does not tell of runners and hosts.
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SourceRow {
    pub url: String,
    /// Why it does not answer, if it does not.
    pub trouble: Option<String>,
}

impl From<Condition> for SourceRow {
    fn from(condition: Condition) -> SourceRow {
        SourceRow { url: condition.url, trouble: condition.trouble }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    pub level: Level,
    pub text: String,
    /// Age of the newest scrape, in seconds; absent before the first one.
    pub data_age_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct AlertRow {
    pub name: String,
    pub state: String,
    pub level: Level,
    /// The runner, else the instance, else nothing.
    pub place: String,
    pub since: Timestamp,
    pub summary: String,
    pub runbook: Option<String>,
    /// Who looks after it.
    pub acknowledged: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct PoolRow {
    pub name: String,
    pub label: String,
    pub trust: String,
    pub state: String,
    pub level: Level,
    pub since: Timestamp,
    pub hold: Option<String>,
    pub error: Option<String>,
    pub members: Vec<MemberRow>,
    /// The last ones, newest first.
    pub transitions: Vec<TransitionRow>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct MemberRow {
    pub name: String,
    pub capacity: usize,
    pub runners: usize,
    pub healthy: usize,
    pub labelled: usize,
    pub busy: usize,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct TransitionRow {
    pub at: Timestamp,
    pub to: String,
    pub cause: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct RunnerRow {
    pub name: String,
    pub instance: String,
    pub state: String,
    pub level: Level,
    pub version: String,
    /// Jobs finished since the exporter can tell.
    pub jobs: f64,
    /// Bytes left for the work folder.
    pub free: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct HostRow {
    pub job: String,
    pub instance: String,
    pub health: String,
    pub level: Level,
    /// Why the last scrape failed.
    pub detail: String,
    /// Age of the last scrape that worked, in seconds.
    pub age_seconds: Option<f64>,
    pub load: Option<f64>,
    pub cpus: Option<f64>,
    /// Bytes.
    pub memory_used: Option<f64>,
    pub memory_total: Option<f64>,
    /// Bytes of the fullest file system.
    pub disk_used: Option<f64>,
    pub disk_total: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ActionRow {
    pub at: Timestamp,
    pub action: String,
    pub target: String,
    pub outcome: String,
    pub level: Level,
    pub detail: String,
    pub cause: String,
    pub who: String,
}

/// Says who looks after an alert.
pub type Owner<'a> = &'a dyn Fn(&AlertInstance) -> Option<String>;

/// The rows of what is pending or firing, worst first; the Watchdog, which always fires, is no news.
pub fn alert_rows(active: &ActiveAlerts, owner: Owner<'_>) -> Vec<AlertRow> {
    let mut rows: Vec<_> = active
        .instances
        .iter()
        .filter(|alert| alert.labels.get(ALERT_NAME) != Some(WATCHDOG))
        .map(|alert| AlertRow { acknowledged: owner(alert), ..alert_row(alert) })
        .collect();
    rows.sort_by(|a, b| {
        (b.level, a.since, &a.name, &a.place).cmp(&(a.level, b.since, &b.name, &b.place))
    });
    rows
}

fn alert_row(alert: &AlertInstance) -> AlertRow {
    let label = |name| alert.labels.get(name).unwrap_or("").to_owned();
    let note = |name: &str| alert.annotations.get(name).cloned();
    let (state, level) = match alert.state {
        AlertState::Firing if alert.labels.get("severity") == Some("critical") => {
            ("firing", Level::Bad)
        }
        AlertState::Firing => ("firing", Level::Warn),
        AlertState::Pending => ("pending", Level::Quiet),
        AlertState::Inactive => ("resolved", Level::Good),
    };
    AlertRow {
        name: label(ALERT_NAME),
        state: state.to_owned(),
        level,
        place: Some(label("runner"))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| label("instance")),
        since: alert.fired_at.unwrap_or(alert.active_at),
        summary: note("summary").or_else(|| note("description")).unwrap_or_default(),
        runbook: note("runbook_url"),
        acknowledged: None,
    }
}

/// One sentence for the whole fleet, from the rows below it.
pub fn verdict(status: &Status) -> Verdict {
    let newest = status.hosts.iter().filter_map(|host| host.age_seconds).reduce(f64::min);
    let count = |level| status.alerts.iter().filter(|alert| alert.level == level).count();
    let down = status.hosts.iter().filter(|host| host.level == Level::Bad).count();
    let away = status.pools.iter().find(|pool| pool.level >= Level::Warn);
    let blind = status.trouble.is_some()
        || status.source.as_ref().is_some_and(|source| source.trouble.is_some());
    let (level, text) = match (count(Level::Bad), count(Level::Warn)) {
        _ if blind => (Level::Bad, "The source of metrics does not answer".to_owned()),
        _ if newest.is_none() && down == 0 => {
            (Level::Quiet, "Waiting for the first scrape".to_owned())
        }
        (bad, _) if bad > 0 => (Level::Bad, format!("{} firing", many(bad, "critical alert"))),
        _ if down > 0 => (Level::Bad, format!("{} cannot be scraped", many(down, "target"))),
        (_, warn) if warn > 0 => (Level::Warn, format!("{} firing", many(warn, "alert"))),
        _ => (Level::Good, "All is well".to_owned()),
    };
    let text = match away {
        Some(pool) => format!("{text}; pool {} is {}", pool.name, pool.state.replace('_', " ")),
        None => text,
    };
    let level = away.map_or(level, |pool| level.max(pool.level));
    Verdict { level, text, data_age_seconds: newest }
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
