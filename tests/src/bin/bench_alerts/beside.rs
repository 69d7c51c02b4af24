//! The same samples and rules on both sides: how long until the message about each crossing.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pitcrew_exporter::clock::monotonic;
use pitcrew_tests::measure::{median, percentile};

use crate::fleet::{self, ALARM, Fleet, SHARD};
use crate::hook::Hook;
use crate::row;
use crate::sides::{Setup, Side};

const TARGETS: usize = 50;
const RULES: usize = 500;
const WRITES: Duration = Duration::from_secs(5);
const WARM: Duration = Duration::from_secs(12);
const LASTS: Duration = Duration::from_secs(40);
/// Between two crossings, on average.
const GAP: Duration = Duration::from_millis(150);

pub(super) async fn run(folder: &Path) -> Result<()> {
    for wait in [Duration::ZERO, Duration::from_secs(1)] {
        once(&folder.join(wait.as_secs().to_string()), wait).await?;
    }
    Ok(())
}

async fn once(folder: &Path, group_wait: Duration) -> Result<()> {
    let gauges = RULES / 2 / (TARGETS / SHARD);
    let mut fleet = Fleet::new(TARGETS, gauges);
    let rules = fleet.rules(RULES, "1s");
    let hooks = [Hook::start().await?, Hook::start().await?];
    let notifications = |hook: &Hook| {
        format!(
            "route: {{ receiver: r, group_by: [alertname, instance], group_wait: {}s, group_interval: 5m }}\nreceivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]\n",
            group_wait.as_secs(),
            hook.url
        )
    };
    let ours = notifications(&hooks[0]);
    let ours = Setup { rules: &rules, notifications: &ours, more: "" };
    let ours = Side::ours(&folder.join("ours"), &ours).await?;
    let theirs = notifications(&hooks[1]);
    let theirs = Setup { rules: &rules, notifications: &theirs, more: "" };
    let theirs = Side::theirs(&folder.join("theirs"), &theirs).await?;

    let mut crossed: HashMap<(usize, usize), [Instant; 2]> = HashMap::new();
    let (begun, mut written, mut measured) = (monotonic(), None::<Instant>, None);
    while begun.elapsed() < WARM + LASTS {
        if written.is_none_or(|at| at.elapsed() >= WRITES) {
            written = Some(monotonic());
            for body in fleet.bodies(|gauge, target| crossed.contains_key(&(gauge, target))) {
                let both = tokio::join!(ours.write(body.clone()), theirs.write(body));
                both.0.and(both.1)?;
            }
        }
        if begun.elapsed() < WARM {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        if measured.is_none() {
            measured = Some([ours.cpu()?, theirs.cpu()?]);
        }
        tokio::time::sleep(GAP.mul_f64(2.0 * fastrand::f64())).await;
        let place = (fastrand::usize(..gauges), fastrand::usize(..TARGETS));
        if crossed.contains_key(&place) {
            continue;
        }
        let body = fleet::one(place.0, place.1, ALARM);
        let send = async |side: &Side, body| {
            let at = monotonic();
            side.write(body).await.map(|()| at)
        };
        let both = tokio::join!(send(&ours, body.clone()), send(&theirs, body));
        crossed.insert(place, [both.0?, both.1?]);
    }
    let told = |hook: &Hook| hook.look(|told| told.firing.len());
    let waiting = monotonic();
    while hooks.iter().any(|hook| told(hook) < crossed.len()) {
        let both = hooks.each_ref().map(told);
        ensure!(waiting.elapsed().as_secs() < 30, "{both:?} of {} told", crossed.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let [before_ours, before_theirs] = measured.unwrap_or_default();
    let cpu = [ours.cpu()? - before_ours, theirs.cpu()? - before_theirs];
    let mut times = [Vec::new(), Vec::new()];
    for ((gauge, target), begun) in &crossed {
        let number = 2 * (gauge + gauges * (target / SHARD));
        let key = (format!("Rule{number:05}"), fleet::instance(*target));
        for ((hook, begun), times) in hooks.iter().zip(begun).zip(&mut times) {
            let at = hook.look(|told| told.firing.get(&key).copied());
            let at = at.ok_or_else(|| anyhow::anyhow!("{key:?} was not told"))?;
            times.push(at.duration_since(*begun).as_secs_f64());
        }
    }
    let wait = group_wait.as_secs();
    println!(
        "\n{RULES} rules each second over {} series of {TARGETS} targets, {} crossings, group_wait {wait} s\n",
        2 * gauges * TARGETS,
        crossed.len()
    );
    println!("| work | pitcrew-alertd | Prometheus + Alertmanager | ratio |\n|---|---|---|---|");
    row("sample → webhook, median s", times.each_ref().map(|times| median(times.clone())));
    row("sample → webhook, p99 s", times.each_ref().map(|times| percentile(times.clone(), 0.99)));
    row("CPU s of the run", cpu);
    row("memory, MB", [ours.memory()?, theirs.memory()?]);
    ours.check().await?;
    ours.end().await?;
    theirs.end().await
}
