//! Hosts and runners as the page shows them, from the last samples in the store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::queue::{self, QueuePart};
use super::status::{HostRow, Level, RunnerRow};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::Timestamp;
use crate::promql::error::PromqlError;
use crate::promql::{self, Options, Value};
use crate::scrape::targets::{Health, TargetStatus};

/// Older samples are not shown: the lookback of a query.
const LOOKBACK: Duration = Duration::from_secs(300);
/// Rows of each table; a larger fleet is better looked at through queries and dashboards.
const MAX_ROWS: usize = 500;

/// Who one host or runner is: job and instance, or instance and runner.
type Place = (String, String);

/// A scraped target, as far as its row needs it.
struct Scraped {
    place: Place,
    health: Health,
    at: Option<Timestamp>,
    error: Option<String>,
}

/// Queue, runners and hosts.
pub fn rows(
    targets: &[TargetStatus],
    store: &dyn Querier,
    now: Timestamp,
) -> Result<(QueuePart, Vec<RunnerRow>, Vec<HostRow>), StoreError> {
    Ok((queue::part(store, now)?, runner_rows(store, now)?, host_rows(targets, store, now)?))
}

/// One row a target, in the order of `targets`; without any, those that others scrape.
fn host_rows(
    targets: &[TargetStatus],
    store: &dyn Querier,
    now: Timestamp,
) -> Result<Vec<HostRow>, StoreError> {
    let of = |name| latest(store, name, now);
    let scraped = match targets {
        [] => elsewhere(store, now)?,
        targets => targets.iter().map(Scraped::from).collect(),
    };
    let load = by_place(of("node_load1")?, f64::max);
    let available = by_place(of("node_memory_MemAvailable_bytes")?, f64::max);
    let total = by_place(of("node_memory_MemTotal_bytes")?, f64::max);
    let idle =
        [Matcher::equal(METRIC_NAME, "node_cpu_seconds_total"), Matcher::equal("mode", "idle")];
    let cpus = by_place(
        store.latest(&idle, now, LOOKBACK)?.into_iter().map(|(labels, _)| (labels, 1.0)).collect(),
        std::ops::Add::add,
    );
    let disks = fullest(of("node_filesystem_size_bytes")?, &of("node_filesystem_avail_bytes")?);
    let row = |target: Scraped| {
        let place = target.place;
        let (health, level) = match target.health {
            Health::Up => ("up", Level::Good),
            Health::Down => ("down", Level::Bad),
            Health::Unknown => ("not scraped yet", Level::Quiet),
        };
        let worked = target.at.filter(|_| target.health == Health::Up);
        let memory_total = total.get(&place).copied();
        let used = |total: f64| available.get(&place).map(|free| total - free);
        let disk = disks.get(&place);
        HostRow {
            health: health.to_owned(),
            level,
            detail: target.error.unwrap_or_default(),
            age_seconds: worked.map(|at| now.since(at).as_secs_f64()),
            load: load.get(&place).copied(),
            cpus: cpus.get(&place).copied(),
            memory_used: memory_total.and_then(used),
            memory_total,
            disk_used: disk.map(|(size, avail)| size - avail),
            disk_total: disk.map(|(size, _)| *size),
            job: place.0,
            instance: place.1,
        }
    };
    Ok(scraped.into_iter().take(MAX_ROWS).map(row).collect())
}

impl From<&TargetStatus> for Scraped {
    fn from(target: &TargetStatus) -> Scraped {
        Scraped {
            place: (target.job.clone(), target.instance.clone()),
            health: target.last.health,
            at: target.last.at,
            error: target.last.error.clone(),
        }
    }
}

/// What others scrape into the store, from `up` and its age.
fn elsewhere(store: &dyn Querier, now: Timestamp) -> Result<Vec<Scraped>, StoreError> {
    let mut times = BTreeMap::new();
    let expr = promql::parse("timestamp(up)");
    let answer = expr.and_then(|expr| promql::instant(&expr, store, now, &Options::default()));
    if let Value::Vector(found) = answer.map_err(stored)?.value {
        times.extend(found.iter().map(|(labels, time)| (place(labels), time.value)));
    }
    let one = |(place, up): (Place, f64)| Scraped {
        health: if up > 0.0 { Health::Up } else { Health::Down },
        at: times.get(&place).map(|seconds| Timestamp::from_seconds(*seconds)),
        error: None,
        place,
    };
    Ok(by_place(latest(store, "up", now)?, f64::min).into_iter().map(one).collect())
}

pub(super) fn stored(error: PromqlError) -> StoreError {
    match error {
        PromqlError::Store(error) => error,
        other => StoreError::Execution(other.to_string()),
    }
}

/// One row a runner that a scraped host tells of, by host and name.
fn runner_rows(store: &dyn Querier, now: Timestamp) -> Result<Vec<RunnerRow>, StoreError> {
    let of = |name| latest(store, name, now);
    let key = |labels: &Labels| (text(labels, "instance"), text(labels, "runner"));
    let values = |found: Vec<(Labels, f64)>| -> BTreeMap<Place, f64> {
        found.into_iter().map(|(labels, value)| (key(&labels), value)).collect()
    };
    let health = values(of("runner_health")?);
    let busy = values(of("runner_busy")?);
    let work = |(labels, _): &(Labels, f64)| labels.get("folder") == Some("_work");
    let free = of("runner_filesystem_avail_bytes")?.into_iter().filter(work).collect();
    let free = values(free);
    let mut jobs: BTreeMap<Place, f64> = BTreeMap::new();
    for (labels, count) in of("runner_jobs_total")? {
        *jobs.entry(key(&labels)).or_default() += count;
    }
    let row = |(labels, _): (Labels, f64)| {
        let place = key(&labels);
        let (state, level) = match (health.get(&place), busy.get(&place)) {
            (Some(0.0), _) => ("down", Level::Bad),
            (Some(_), Some(1.0)) => ("busy", Level::Good),
            (Some(_), _) => ("idle", Level::Good),
            (None, _) => ("unknown", Level::Quiet),
        };
        RunnerRow {
            state: state.to_owned(),
            level,
            version: text(&labels, "version"),
            jobs: jobs.get(&place).copied().unwrap_or(0.0),
            free: free.get(&place).copied(),
            instance: place.0,
            name: place.1,
        }
    };
    let mut rows: Vec<_> = of("runner_info")?.into_iter().map(row).collect();
    rows.sort_by(|a, b| (&a.instance, &a.name).cmp(&(&b.instance, &b.name)));
    rows.truncate(MAX_ROWS);
    Ok(rows)
}

/// The last sample of each series of one metric, unless it ended or is older than the lookback.
fn latest(
    store: &dyn Querier,
    name: &str,
    now: Timestamp,
) -> Result<Vec<(Labels, f64)>, StoreError> {
    store.latest(&[Matcher::equal(METRIC_NAME, name)], now, LOOKBACK)
}

fn by_place(found: Vec<(Labels, f64)>, join: fn(f64, f64) -> f64) -> BTreeMap<Place, f64> {
    let mut places = BTreeMap::new();
    for (labels, value) in found {
        places.entry(place(&labels)).and_modify(|have| *have = join(*have, value)).or_insert(value);
    }
    places
}

/// Size and free bytes of each host's fullest file system.
fn fullest(sizes: Vec<(Labels, f64)>, avail: &[(Labels, f64)]) -> BTreeMap<Place, (f64, f64)> {
    let free: BTreeMap<_, _> =
        avail.iter().map(|(labels, value)| (labels.without(&[METRIC_NAME]), *value)).collect();
    let mut worst: BTreeMap<Place, (f64, f64)> = BTreeMap::new();
    for (labels, size) in sizes.into_iter().filter(|(_, size)| *size > 0.0) {
        let Some(avail) = free.get(&labels.without(&[METRIC_NAME])) else { continue };
        let have = worst.entry(place(&labels)).or_insert((size, *avail));
        if avail / size < have.1 / have.0 {
            *have = (size, *avail);
        }
    }
    worst
}

fn place(labels: &Labels) -> Place {
    (text(labels, "job"), text(labels, "instance"))
}

fn text(labels: &Labels, name: &str) -> String {
    labels.get(name).unwrap_or("").to_owned()
}
