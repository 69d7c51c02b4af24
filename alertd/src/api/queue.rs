//! The jobs that wait and how long others waited, as exporters of workflows tell it, from the store.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fleet::stored;
use super::status::Level;
use crate::model::labels::Labels;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::Timestamp;
use crate::promql::{self, Options, Value};

/// Rows of the table; more label sets are better looked at through queries and dashboards.
const MAX_ROWS: usize = 100;

/// Any series of it shows that an exporter hears of workflows.
const KNOWN: &str = "pitcrew_exporter_github_tracked";
// Two exporters may tell of the same repository: what both say counts once.
const WAITING: &str =
    "sum by (labels, reason) (max by (repository, labels, reason) (github_workflow_jobs_queued))";
const OLDEST: &str = "min by (labels) (github_workflow_job_oldest_queued_timestamp_seconds)";
const TIMES: &str = "sum by (labels, le) (max by (repository, labels, le) \
    (increase(github_workflow_job_queue_duration_seconds_bucket[1h])))";
/// Reasons that do not pass by themselves.
const STUCK: [&str; 3] = ["no_runner", "offline", "suspected_zombie"];

/// What the page shows of queues.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QueuePart {
    /// Whether anything tells of them.
    pub known: bool,
    pub rows: Vec<QueueRow>,
}

/// The jobs that ask for the same labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QueueRow {
    pub labels: String,
    pub level: Level,
    /// How many wait now.
    pub waiting: f64,
    /// Why, the most first.
    pub reasons: Vec<(String, f64)>,
    /// How long the first of them has been waiting, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Of the last hour's jobs, in seconds.
    pub median_seconds: Option<f64>,
    pub p95_seconds: Option<f64>,
}

/// Those that wait, then those that waited within the last hour.
pub fn part(store: &dyn Querier, now: Timestamp) -> Result<QueuePart, StoreError> {
    let mut rows: BTreeMap<String, QueueRow> = BTreeMap::new();
    let mut row = |labels: &Labels, change: &mut dyn FnMut(&mut QueueRow)| {
        let name = labels.get("labels").unwrap_or("").to_owned();
        change(rows.entry(name).or_default());
    };
    for (labels, count) in ask(store, WAITING, now)? {
        let reason = labels.get("reason").unwrap_or("").to_owned();
        row(&labels, &mut |row| {
            row.waiting += count;
            row.reasons.push((reason.clone(), count));
        });
    }
    for (labels, since) in ask(store, OLDEST, now)? {
        let waited = now.since(Timestamp::from_seconds(since)).as_secs_f64();
        row(&labels, &mut |row| row.oldest_seconds = Some(waited));
    }
    for (labels, seconds) in quantile(store, 0.5, now)? {
        row(&labels, &mut |row| row.median_seconds = Some(seconds));
    }
    for (labels, seconds) in quantile(store, 0.95, now)? {
        row(&labels, &mut |row| row.p95_seconds = Some(seconds));
    }
    let named = rows.into_iter().map(|(labels, row)| finished(QueueRow { labels, ..row }));
    let mut rows: Vec<_> = named.collect();
    rows.sort_by(|a, b| b.waiting.total_cmp(&a.waiting).then_with(|| a.labels.cmp(&b.labels)));
    rows.truncate(MAX_ROWS);
    let known = !rows.is_empty() || !ask(store, KNOWN, now)?.is_empty();
    Ok(QueuePart { known, rows })
}

fn finished(mut row: QueueRow) -> QueueRow {
    row.reasons.retain(|(_, count)| *count > 0.0);
    row.reasons.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let stuck = row.reasons.iter().any(|(reason, _)| STUCK.contains(&reason.as_str()));
    row.level = if stuck { Level::Warn } else { Level::Quiet };
    row
}

fn quantile(
    store: &dyn Querier,
    share: f64,
    now: Timestamp,
) -> Result<Vec<(Labels, f64)>, StoreError> {
    ask(store, &format!("histogram_quantile({share}, {TIMES})"), now)
}

/// The series that the expression gives and their values, as far as these are numbers.
fn ask(store: &dyn Querier, expr: &str, now: Timestamp) -> Result<Vec<(Labels, f64)>, StoreError> {
    let expr = promql::parse(expr);
    let answer = expr.and_then(|expr| promql::instant(&expr, store, now, &Options::default()));
    let Value::Vector(found) = answer.map_err(stored)?.value else { return Ok(Vec::new()) };
    let values = found.into_iter().map(|(labels, sample)| (labels, sample.value));
    Ok(values.filter(|(_, value)| value.is_finite()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_its_reasons_in_order_and_whether_they_pass() {
        let row = |reasons: &[(&str, f64)]| {
            let reasons = reasons.iter().map(|(word, count)| ((*word).to_owned(), *count));
            finished(QueueRow { reasons: reasons.collect(), ..QueueRow::default() })
        };
        for (given, want, level) in [
            (&[("all_busy", 3.0)][..], &["all_busy"][..], Level::Quiet),
            (&[("all_busy", 1.0), ("gate", 2.0)], &["gate", "all_busy"], Level::Quiet),
            (&[("all_busy", 9.0), ("no_runner", 1.0)], &["all_busy", "no_runner"], Level::Warn),
            (&[("offline", 0.0), ("all_busy", 1.0)], &["all_busy"], Level::Quiet),
            (&[], &[], Level::Quiet),
        ] {
            let row = row(given);
            let words: Vec<_> = row.reasons.iter().map(|(word, _)| word.as_str()).collect();
            assert_eq!((&words[..], row.level), (want, level), "{given:?}");
        }
    }

    #[test]
    fn the_queries_can_be_read() {
        for expr in [KNOWN, WAITING, OLDEST, TIMES] {
            promql::parse(expr).unwrap();
        }
    }
}
