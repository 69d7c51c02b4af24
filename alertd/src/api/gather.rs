//! From the live views to what the page shows.

use std::sync::Arc;

use super::error::ApiError;
use super::queue::QueuePart;
use super::status::{
    ActionRow, HostRow, Level, MemberRow, Owner, PoolRow, RunnerRow, SourceRow, Status,
    TransitionRow, alert_rows, rules_part, verdict,
};
use crate::actions::health::Health;
use crate::actions::view::{PoolView, PoolsView};
use crate::db::journal::Entry;
use crate::model::alert::ActiveAlerts;
use crate::model::sample::Timestamp;
use crate::rules::status::GroupStatus;

/// Rows of recent actions, and transitions of each pool.
const RECENT: usize = 20;

/// What the store does not tell is left out, and why is said.
pub fn status(
    (active, rules): (&ActiveAlerts, &[Arc<GroupStatus>]),
    pools: &PoolsView,
    rows: Result<(QueuePart, Vec<RunnerRow>, Vec<HostRow>), ApiError>,
    source: Option<SourceRow>,
    owner: Owner<'_>,
    now: Timestamp,
) -> Status {
    let mut actions: Vec<_> =
        pools.pools.iter().flat_map(|pool| pool.journal.iter().map(action_row)).collect();
    actions.sort_by_key(|row| std::cmp::Reverse(row.at));
    actions.truncate(RECENT);
    let mut status = Status {
        now,
        version: env!("CARGO_PKG_VERSION"),
        hold: pools.hold.as_ref().map(|hold| format!("{} ({})", hold.reason, hold.who)),
        alerts: alert_rows(active, owner),
        rules: rules_part(rules),
        pools: pools.pools.iter().map(pool_row).collect(),
        actions,
        source,
        ..Status::default()
    };
    match rows {
        Ok(rows) => (status.queue, status.runners, status.hosts) = rows,
        Err(error) => status.trouble = Some(error.to_string()),
    }
    status.verdict = verdict(&status);
    status
}

fn pool_row(pool: &PoolView) -> PoolRow {
    let level = match pool.state {
        "normal" => Level::Good,
        "unknown" => Level::Quiet,
        "on_backup" | "recovering" | "failing_back" => Level::Warn,
        _ => Level::Bad,
    };
    let members = pool.members.iter().map(|member| {
        let count = |holds: fn(&crate::actions::view::RunnerView) -> bool| {
            member.runners.iter().filter(|runner| holds(runner)).count()
        };
        MemberRow {
            name: member.name.clone(),
            capacity: member.capacity,
            runners: member.runners.len(),
            healthy: count(|runner| runner.health == Health::Healthy),
            labelled: count(|runner| runner.labelled),
            busy: count(|runner| runner.busy),
        }
    });
    let transitions = pool.transitions.iter().take(RECENT).map(|step| TransitionRow {
        at: step.at,
        to: step.to.clone(),
        cause: step.cause.clone(),
    });
    PoolRow {
        name: pool.name.clone(),
        label: pool.label.clone(),
        trust: text(pool.trust),
        state: pool.state.replace('_', " "),
        level,
        since: pool.since,
        hold: pool.hold.clone(),
        error: pool.error.clone(),
        members: members.collect(),
        transitions: transitions.collect(),
    }
}

fn action_row(entry: &Entry) -> ActionRow {
    let outcome = entry.outcome.clone().unwrap_or_else(|| "under way".to_owned());
    let level = match outcome.as_str() {
        "done" => Level::Good,
        "failed" => Level::Bad,
        "denied" => Level::Warn,
        _ => Level::Quiet,
    };
    ActionRow {
        at: entry.intent_at,
        action: entry.action.replace('_', " "),
        target: entry.target.clone(),
        outcome,
        level,
        detail: entry.error.clone().unwrap_or_default(),
        cause: entry.cause.clone(),
        who: entry.who.clone(),
    }
}

/// The name that a unit variant has in JSON.
fn text(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
