//! Posted alerts: how long the list of them takes, and what holding many of them costs.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use pitcrew_exporter::clock::monotonic;
use pitcrew_tests::measure::{median, percentile};
use serde_json::{Value, json};

use crate::hook::Hook;
use crate::row;
use crate::sides::{Setup, Side};

const LISTED: usize = 10_000;
const HELD: usize = 100_000;
const INHIBITIONS: usize = 86;
const ROUNDS: usize = 15;
const PER_REQUEST: usize = 5_000;

/// `GET /api/v2/alerts` of ten thousand alerts under many inhibition rules.
pub(super) async fn listed(folder: &Path) -> Result<()> {
    let hook = Hook::start().await?;
    let notifications = notifications(&hook);
    let setup = Setup { rules: "groups: []\n", notifications: &notifications, more: "" };
    let sides = [
        Side::ours(&folder.join("ours"), &setup).await?,
        Side::theirs(&folder.join("theirs"), &setup).await?,
    ];
    let (mut times, mut sizes) = ([Vec::new(), Vec::new()], [0, 0]);
    for (side, size) in sides.iter().zip(&mut sizes) {
        post(side, LISTED).await?;
        let list: Vec<Value> = serde_json::from_str(&side.alerts().await?)?;
        *size = list.iter().filter(|one| one["status"]["state"] == "suppressed").count();
        ensure!(list.len() == LISTED, "{} alerts", list.len());
    }
    ensure!(sizes[0] == sizes[1] && sizes[0] > 0, "inhibited: {sizes:?}");
    for _ in 0..ROUNDS {
        for (side, times) in sides.iter().zip(&mut times) {
            let begun = monotonic();
            side.alerts().await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    println!("\n{LISTED} alerts, {INHIBITIONS} inhibition rules, {} inhibited\n", sizes[0]);
    println!("| work | pitcrew-alertd | Alertmanager | ratio |\n|---|---|---|---|");
    row("GET /api/v2/alerts, median ms", times.each_ref().map(|times| median(times.clone())));
    row("p99 ms", times.map(|times| percentile(times, 0.99)));
    let [ours, theirs] = sides;
    ours.end().await?;
    theirs.end().await
}

/// A hundred thousand posted alerts held at once.
pub(super) async fn held(folder: &Path) -> Result<()> {
    let hook = Hook::start().await?;
    let notifications = notifications(&hook);
    let setup = Setup { rules: "groups: []\n", notifications: &notifications, more: "" };
    let side = Side::ours(folder, &setup).await?;
    let (memory, cpu, begun) = (side.memory()?, side.cpu()?, monotonic());
    post(&side, HELD).await?;
    let posted = begun.elapsed().as_secs_f64();
    // Those that are inhibited are not told.
    let told = || hook.look(|told| (told.firing.len() + told.truncated, told.last));
    let mut before = told();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = told();
        if now.0 > 0 && now == before {
            break;
        }
        ensure!(begun.elapsed().as_secs() < 120, "{} told", now.0);
        before = now;
    }
    let all = before.1.map_or(f64::NAN, |last| last.duration_since(begun).as_secs_f64());
    let routed = side.metric("pitcrew_alertd_routed_alerts").await?;
    let groups = side.metric("pitcrew_alertd_alert_groups").await?;
    let (full, spent) = (side.memory()?, side.cpu()? - cpu);
    let idle = side.cpu()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = (side.cpu()? - idle) * 10.0;
    println!(
        "\n{HELD} alerts posted in {posted:.1} s, {routed} held in {groups} groups, {} told after {all:.1} s, CPU {spent:.1} s; \
         memory {memory:.0} MB before, {full:.0} MB after, {:.0} MB at most; then {idle:.1} % of a core",
        before.0,
        side.peak()?
    );
    side.end().await
}

async fn post(side: &Side, count: usize) -> Result<()> {
    let alert = |at: usize| {
        let severity = if at.is_multiple_of(20) { "critical" } else { "warning" };
        json!({
            "labels": {
                "alertname": format!("Alert{}", at % INHIBITIONS), "severity": severity,
                "cluster": format!("c{}", at / 100), "instance": format!("10.0.0.{at}:9100"),
                "job": format!("job{}", at % 50),
            },
            "annotations": { "summary": format!("number {at}"), "description": "It is as it is." },
            "generatorURL": "http://prometheus.test/graph?g0.expr=up",
        })
    };
    for from in (0..count).step_by(PER_REQUEST) {
        let some: Vec<Value> = (from..count.min(from + PER_REQUEST)).map(alert).collect();
        side.post_alerts(&Value::Array(some)).await?;
    }
    Ok(())
}

fn notifications(hook: &Hook) -> String {
    let mut text = format!(
        "route: {{ receiver: r, group_by: [alertname, job], group_wait: 1s, group_interval: 1m }}\nreceivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]\ninhibit_rules:\n",
        hook.url
    );
    for at in 0..INHIBITIONS {
        let rule = format!(
            "- {{ source_matchers: [alertname=Alert{at}, severity=critical], target_matchers: [severity=warning], equal: [cluster, alertname] }}"
        );
        writeln!(text, "{rule}").expect("memory takes text");
    }
    text
}
