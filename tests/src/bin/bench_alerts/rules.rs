//! Ten thousand rules at 15 s.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use pitcrew_exporter::clock::monotonic;

use crate::fleet::{Fleet, SHARD};
use crate::hook::Hook;
use crate::row;
use crate::sides::{Setup, Side};

const TARGETS: usize = 50;
const RULES: usize = 10_000;
const INTERVAL: f64 = 15.0;

pub(super) async fn run(folder: &Path) -> Result<()> {
    let gauges = RULES / 2 / (TARGETS / SHARD);
    let mut fleet = Fleet::new(TARGETS, gauges);
    let rules = fleet.rules(RULES, "15s");
    let hook = Hook::start().await?;
    let notifications = format!(
        "route: {{ receiver: r }}\nreceivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]\n",
        hook.url
    );
    let setup = Setup { rules: &rules, notifications: &notifications, more: "" };
    let ours = Side::ours(&folder.join("ours"), &setup).await?;
    let theirs = Side::theirs(&folder.join("theirs"), &setup).await?;
    println!("\n{RULES} rules at 15 s over {} series\n", 2 * gauges * TARGETS);
    println!("| work | pitcrew-alertd | Prometheus + Alertmanager | ratio |\n|---|---|---|---|");
    // Rounds of nothing but rules: the samples of a round stay fresh for five minutes.
    for _ in 0..2 {
        for body in fleet.bodies(|_, _| false) {
            ours.write(body.clone()).await?;
            theirs.write(body).await?;
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, begun) = ([ours.cpu()?, theirs.cpu()?], monotonic());
    tokio::time::sleep(Duration::from_secs_f64(4.0 * INTERVAL)).await;
    let spent = [ours.cpu()? - before[0], theirs.cpu()? - before[1]];
    let share = spent.map(|cpu| 100.0 * cpu / begun.elapsed().as_secs_f64());
    row("CPU, % of a core", share);
    row("memory, MB", [ours.memory()?, theirs.memory()?]);
    let missed = [
        ours.metric("pitcrew_alertd_rule_group_iterations_missed_total").await?,
        theirs.metric("prometheus_rule_group_iterations_missed_total").await?,
    ];
    row("rounds missed", missed);
    ours.check().await?;
    ours.end().await?;
    theirs.end().await
}
