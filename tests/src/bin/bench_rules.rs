//! What rules cost in numbers: 10,000 of them every 15 seconds, then a storm of 50,000 alerts in
//! one evaluation, through the engine that alertd runs, with its database on disk.
//!
//! `cargo run --release -p pitcrew-tests --bin bench-rules`; fails when an evaluation was missed.

#![expect(clippy::print_stdout, reason = "its output is the point")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use pitcrew_alertd::clock;
use pitcrew_alertd::db::Db;
use pitcrew_alertd::model::alert::{ActiveAlerts, Alert};
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::Appender;
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::rules::metrics::RulesMetrics;
use pitcrew_alertd::rules::{Engine, Settings, file};
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_exporter::clock::monotonic;
use pitcrew_tests::measure::{processor_seconds, resident_megabytes};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::time;
use tokio_util::sync::CancellationToken;

const RULES: usize = 10_000;
const GROUPS: usize = 200;
const SERIES: usize = 100_000;
const STORM: usize = 50_000;
const INTERVAL: Duration = Duration::from_secs(15);
const ROUNDS: u32 = 6;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir_in(pitcrew_tests::programs::workspace().join("target"))?;
    let db = Db::open(folder.path())?;
    let store = Arc::new(Tsdb::new(Limits::default()));
    append(&store, clock::now(), 0.0)?;
    let groups = file::parse(Path::new("bench.yaml"), &rules())?;
    let mut registry = Registry::default();
    let metrics = RulesMetrics::new(&mut registry);
    let (alerts, mut inbox) = mpsc::channel::<Vec<Alert>>(256);
    let (active, _watching) = watch::channel(Arc::new(ActiveAlerts::default()));
    let engine =
        Engine::new(groups, store.clone(), db, Settings::default(), alerts, active, metrics)?;
    let view = engine.view();
    let stop = CancellationToken::new();
    let running = tokio::spawn(engine.run(stop.clone()));
    // Every group once, so that what is measured is the steady state.
    feed(&store, INTERVAL, 0.0).await?;
    let (pid, before) = (std::process::id(), processor_seconds(std::process::id())?);
    let begin = monotonic();
    feed(&store, INTERVAL * ROUNDS, 0.0).await?;
    let spent = processor_seconds(pid)? - before;
    let each = spent / f64::from(ROUNDS);
    let memory = resident_megabytes(pid)?;
    println!("| {RULES} rules over {SERIES} series every 15 s | |\n|---|---|");
    println!("| CPU of one evaluation of all | {each:.2} s |");
    println!("| share of one core | {:.1} % |", 100.0 * spent / begin.elapsed().as_secs_f64());
    println!("| resident memory | {memory:.0} MB |");
    // The storm: one rule, all at once.
    while inbox.try_recv().is_ok() {}
    let before = processor_seconds(pid)?;
    append(&store, clock::now(), 1.0)?;
    let raised = monotonic();
    let told = time::timeout(INTERVAL * 3, async {
        while let Some(batch) = inbox.recv().await {
            if batch.len() >= STORM {
                return batch.len();
            }
        }
        0
    });
    let count = told.await?;
    let late = raised.elapsed();
    feed(&store, INTERVAL * 2, 1.0).await?;
    let storm = view.groups().into_iter().find(|group| group.name == "storm");
    let took = storm.map_or(Duration::ZERO, |group| group.took);
    println!("| a storm of {count} alerts: told after | {:.2} s |", late.as_secs_f64());
    println!("| an evaluation with all of them firing | {:.2} s |", took.as_secs_f64());
    println!("| CPU until two rounds later | {:.2} s |", processor_seconds(pid)? - before);
    println!("| resident memory then | {:.0} MB |", resident_megabytes(pid)?);
    stop.cancel();
    running.await?;
    let mut text = String::new();
    encode(&mut text, &registry)?;
    let count = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let missed = count("pitcrew_alertd_rule_group_iterations_missed_total");
    let failed = count("pitcrew_alertd_rule_evaluation_failures_total");
    let done = count("pitcrew_alertd_rule_evaluations_total");
    println!("| rules evaluated, failed; evaluations missed | {done}, {failed}; {missed} |");
    ensure!(missed == 0.0 && failed == 0.0, "missed {missed}, failed {failed}");
    Ok(())
}

/// Half of the rules look at some series each, a fifth aggregates, the rest records.
fn rules() -> String {
    let mut text = "groups:\n".to_owned();
    let each = RULES / GROUPS;
    for group in 0..GROUPS {
        text += &format!("- name: g{group}\n  interval: 15s\n  rules:\n");
        for number in 0..each {
            let rule = group * each + number;
            text += &match rule % 10 {
                0..5 => format!(
                    "  - {{alert: A{rule}, expr: 'load{{rule=\"{rule}\"}} > 0.5', for: 1m, labels: {{severity: page}}, annotations: {{summary: 'at {{{{ $value }}}}'}}}}\n"
                ),
                5..7 => format!(
                    "  - {{alert: S{rule}, expr: 'sum by (rule) (load{{rule=\"{rule}\"}}) > 100'}}\n"
                ),
                _ => format!("  - {{record: 'r:{rule}', expr: 'max(load{{rule=\"{rule}\"}})'}}\n"),
            };
        }
    }
    text + "- name: storm\n  interval: 15s\n  rules:\n  - {alert: Storm, expr: storm > 0.5, annotations: {summary: 'host {{ $labels.host }} at {{ $value }}'}}\n"
}

fn append(store: &Tsdb, now: Timestamp, storm: f64) -> Result<()> {
    let each = SERIES / RULES;
    let mut samples = Vec::with_capacity(SERIES + STORM);
    for number in 0..SERIES {
        let rule = (number / each).to_string();
        let host = (number % each).to_string();
        let pairs = [("__name__", "load"), ("rule", &rule), ("host", &host)];
        samples.push((Labels::from_pairs(pairs), Sample { timestamp: now, value: 0.1 }));
    }
    for number in 0..STORM {
        let host = number.to_string();
        let pairs = [("__name__", "storm"), ("host", &host)];
        samples.push((Labels::from_pairs(pairs), Sample { timestamp: now, value: storm }));
    }
    let appended = store.append(&samples)?;
    ensure!(appended.accepted == samples.len(), "{appended:?}");
    Ok(())
}

/// New samples once in two minutes, which is what a lookback of five allows.
async fn feed(store: &Arc<Tsdb>, time: Duration, storm: f64) -> Result<()> {
    let end = monotonic() + time;
    while monotonic() < end {
        time::sleep(Duration::from_secs(1)).await;
    }
    append(store, clock::now(), storm)
}
