//! What the page shows, as data: gathered once a request, rendered as HTML or JSON.

use std::sync::Arc;

use serde::Serialize;

use super::queue::QueuePart;
use crate::model::alert::{ActiveAlerts, AlertInstance, AlertState};
use crate::model::labels::ALERT_NAME;
use crate::model::sample::Timestamp;
use crate::remote::source::Condition;
use crate::rules::alerting::UNVERIFIED;
use crate::rules::flapping::FLAPPING;
use crate::rules::status::{GroupStatus, Health};

/// The alert that fires always, to prove that alerts flow.
const WATCHDOG: &str = "Watchdog";
/// Rules in trouble that are shown; of more, the count says how many there are.
const MOST_RULES: usize = 100;

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
    pub rules: RulesPart,
    pub pools: Vec<PoolRow>,
    pub queue: QueuePart,
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
    /// Since when and why nobody knows whether it still holds.
    pub unverified: Option<String>,
    /// Since when it begins and ends all the time, and is held still.
    pub flapping: Option<String>,
    pub runbook: Option<String>,
    /// Who looks after it.
    pub acknowledged: Option<String>,
}

/// How the rules fare, and those of which a person should know, worst first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RulesPart {
    pub loaded: usize,
    pub failing: usize,
    /// Rules that can yield nothing, because their selectors match no series.
    pub unmatched: usize,
    pub rows: Vec<RuleRow>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct RuleRow {
    pub name: String,
    pub group: String,
    pub state: &'static str,
    pub level: Level,
    /// Since when it fails.
    pub since: Option<Timestamp>,
    pub detail: String,
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
        unverified: note(UNVERIFIED),
        flapping: note(FLAPPING),
        runbook: note("runbook_url"),
        acknowledged: None,
    }
}

/// Rules that fail, then those that match nothing.
pub fn rules_part(groups: &[Arc<GroupStatus>]) -> RulesPart {
    let mut part = RulesPart::default();
    for group in groups {
        for rule in &group.rules {
            part.loaded += 1;
            let (state, level, since, detail) = match &rule.health {
                Health::Failing { since, error, .. } => {
                    part.failing += 1;
                    ("failing", Level::Bad, Some(*since), error.clone())
                }
                Health::Ok if !rule.unmatched.is_empty() => {
                    part.unmatched += 1;
                    ("matches nothing", Level::Quiet, None, rule.unmatched.join(", "))
                }
                Health::Ok | Health::Unknown => continue,
            };
            let (name, group) = (rule.name.clone(), group.name.clone());
            part.rows.push(RuleRow { name, group, state, level, since, detail });
        }
    }
    part.rows.sort_by_key(|row| std::cmp::Reverse(row.level));
    part.rows.truncate(MOST_RULES);
    part
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
        _ if status.rules.failing > 0 => {
            let failing = many(status.rules.failing, "rule");
            (Level::Warn, format!("{failing} cannot be evaluated"))
        }
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::model::labels::{Labels, METRIC_NAME};
    use crate::model::querier::Appender;
    use crate::model::sample::Sample;
    use crate::rules::config::Flapping;
    use crate::rules::file;
    use crate::rules::group::{Context, Group, Progress};
    use crate::tsdb::{Limits, Tsdb};

    /// One rule fails from the third evaluation on, one matches nothing, one flaps.
    const RULES: &str = "groups: [{ name: g, rules: [
        { alert: Fails, expr: x / on () y > 0, annotations: { summary: s } },
        { alert: Blind, expr: nothing > 1 },
        { alert: Flaps, expr: z > 0, labels: { severity: critical } } ] }]";

    fn after_four_evaluations() -> Status {
        let store = Arc::new(Tsdb::new(Limits::default()));
        let mut context = Context::new(store.clone());
        context.config.flapping = Flapping { changes: 2, evaluations: 10 };
        let spec = file::parse(Path::new("r.yaml"), RULES).unwrap().remove(0);
        let mut group = Group::new(spec, Duration::from_secs(60), Duration::ZERO);
        for minute in 0..4 {
            let at = Timestamp(minute * 60_000);
            let put = |name: &str, i: &str, value: f64| {
                let labels = Labels::from_pairs([(METRIC_NAME, name), ("i", i)]);
                store.append(&[(labels, Sample { timestamp: at, value })]).unwrap();
            };
            put("x", "1", 1.0);
            put("y", "1", 1.0);
            if minute >= 2 {
                put("y", "2", 1.0);
            }
            put("z", "1", (minute % 2) as f64);
            group.evaluate(at, &context, &Progress::default(), &mut |_| true);
        }
        let groups = [Arc::new(group.status())];
        let active = ActiveAlerts { at: Timestamp(0), instances: groups[0].instances().collect() };
        let alerts = alert_rows(&active, &|_| None);
        Status { alerts, rules: rules_part(&groups), ..Status::default() }
    }

    #[test]
    fn rules_in_trouble_and_alerts_that_nobody_can_trust() {
        let mut status = after_four_evaluations();
        let rules = &status.rules;
        assert_eq!((rules.loaded, rules.failing, rules.unmatched), (3, 1, 1));
        let rows: Vec<_> = rules.rows.iter().map(|row| (&*row.name, row.state)).collect();
        assert_eq!(rows, [("Fails", "failing"), ("Blind", "matches nothing")]);
        assert_eq!(rules.rows[0].since, Some(Timestamp(120_000)));
        assert!(rules.rows[0].detail.contains("many"), "{:?}", rules.rows[0]);
        assert!(rules.rows[1].detail.contains("nothing"), "{:?}", rules.rows[1]);

        let marks = status
            .alerts
            .iter()
            .map(|row| (&*row.name, row.level, row.unverified.is_some(), row.flapping.is_some()));
        let marks: Vec<_> = marks.collect();
        let want = [("Flaps", Level::Bad, false, true), ("Fails", Level::Warn, true, false)];
        assert_eq!(marks, want);
        let page = crate::api::page::render(&status).into_string();
        for text in ["not verified since 1970-01-01T00:02:00", ">flapping<", ">matches nothing<"] {
            assert!(page.contains(text), "{text}: {page}");
        }

        // Without alerts, and with a host that answers, the rules are the news.
        status.alerts.clear();
        status.hosts.push(HostRow { age_seconds: Some(1.0), ..HostRow::default() });
        let found = verdict(&status);
        assert_eq!((found.level, &*found.text), (Level::Warn, "1 rule cannot be evaluated"));
    }
}
