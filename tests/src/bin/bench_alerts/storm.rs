//! Fifty thousand alerts of a rule begin in one evaluation, and end in one; a hundred thousand go on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::Sample;
use pitcrew_exporter::clock::monotonic;

use crate::fleet::{body, now};
use crate::hook::{Hook, Told};
use crate::sides::{Setup, Side};

const COUNT: usize = 50_000;
const HELD: usize = 100_000;
const JOBS: usize = 500;
const INTERVAL: f64 = 10.0;
const LIMIT: Duration = Duration::from_secs(120);
/// In which each alert that goes on is reported to routing once more.
const STEADY: Duration = Duration::from_secs(70);

const RULES: &str = "
groups:
- name: storm
  interval: 10s
  rules:
  - { alert: Storm, expr: x > 1, labels: { severity: warning }, annotations: { summary: '{{ $labels.instance }} has {{ $value }}' } }
- name: steady
  interval: 10s
  rules:
  - { record: all, expr: count(x) }
  - { alert: Never, expr: x > 1e9 }
";

pub(super) async fn run(folder: &Path) -> Result<()> {
    println!(
        "\n{COUNT} alerts in one evaluation | groups | evaluation | all told after | ends told after | CPU | memory before | most"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut failed = Vec::new();
    for (name, group_by) in
        [("one", "[alertname]"), ("jobs", "[alertname, job]"), ("each", "['...']")]
    {
        let ended = once(&folder.join(name), group_by).await;
        failed.extend(ended.err().map(|error| format!("{group_by}: {error:#}")));
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

async fn once(folder: &Path, group_by: &str) -> Result<()> {
    let hook = Hook::start().await?;
    let notifications = format!(
        "route: {{ receiver: r, group_by: {group_by}, group_wait: 1s, group_interval: 5s }}\nreceivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]\n",
        hook.url
    );
    let setup = Setup { rules: RULES, notifications: &notifications, more: "" };
    let side = Side::ours(folder, &setup).await?;
    write(&side, COUNT, 0.0).await?;
    rounds(&side, 1.0).await?;
    let (memory, cpu) = (side.memory()?, side.cpu()?);
    let begun = monotonic();
    write(&side, COUNT, 2.0).await?;
    let (told, first) =
        reached(&side, &hook, COUNT, begun, |told| told.firing.len() + told.truncated).await?;
    let groups = side.metric("pitcrew_alertd_alert_groups").await?;
    rounds(&side, 1.0).await?;
    let begun = monotonic();
    write(&side, COUNT, 0.0).await?;
    let truncated = hook.look(|told| told.truncated);
    let ends = |told: &Told| told.resolved.len() + told.truncated - truncated;
    let (ended, second) = reached(&side, &hook, COUNT, begun, ends).await?;
    let cpu = side.cpu()? - cpu;
    rounds(&side, 1.0).await?;
    println!(
        "| {group_by} | {groups} | {:.2} s | {told:.1} s | {ended:.1} s | {cpu:.1} s | {memory:.0} MB | {:.0} MB |",
        first.max(second),
        side.peak()?
    );
    side.check().await?;
    side.end().await
}

/// A hundred thousand alerts of one rule that go on firing: what each evaluation costs.
pub(super) async fn held(folder: &Path) -> Result<()> {
    let hook = Hook::start().await?;
    let notifications = format!(
        "route: {{ receiver: r, group_by: [alertname, job], group_wait: 1s }}\nreceivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]\n",
        hook.url
    );
    let setup = Setup { rules: RULES, notifications: &notifications, more: "" };
    let side = Side::ours(folder, &setup).await?;
    let (memory, begun) = (side.memory()?, monotonic());
    write(&side, HELD, 2.0).await?;
    let firing = |told: &Told| told.firing.len() + told.truncated;
    let (told, _) = reached(&side, &hook, HELD, begun, firing).await?;
    let cpu = side.cpu()?;
    tokio::time::sleep(STEADY).await;
    let cpu = (side.cpu()? - cpu) / (STEADY.as_secs_f64() / INTERVAL);
    println!(
        "\n{HELD} alerts of one rule told after {told:.1} s; then {cpu:.3} s of CPU for each evaluation, \
         which takes {:.3} s; memory {memory:.0} MB before, {:.0} MB after, {:.0} MB at most",
        side.most("pitcrew_alertd_rule_group_last_duration_seconds").await?,
        side.memory()?,
        side.peak()?
    );
    side.check().await?;
    side.end().await
}

/// Waits until all are told; seconds since `begun`, and of the longest evaluation seen.
async fn reached(
    side: &Side,
    hook: &Hook,
    wanted: usize,
    begun: Instant,
    count: impl Fn(&Told) -> usize,
) -> Result<(f64, f64)> {
    let mut longest: f64 = 0.0;
    loop {
        let (found, last) = hook.look(|told| (count(told), told.last));
        let longest_now = side.most("pitcrew_alertd_rule_group_last_duration_seconds").await?;
        longest = longest.max(longest_now);
        if let (true, Some(last)) = (found >= wanted, last) {
            return Ok((last.duration_since(begun).as_secs_f64(), longest));
        }
        ensure!(begun.elapsed() < LIMIT, "{found} of {wanted} told");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// So many further evaluations of all groups.
async fn rounds(side: &Side, count: f64) -> Result<()> {
    let name = "pitcrew_alertd_rule_group_iterations_total";
    let (before, begun) = (side.metric(name).await?, monotonic());
    while side.metric(name).await? < before + 2.0 * count {
        ensure!(begun.elapsed().as_secs_f64() < (count + 2.0) * INTERVAL, "no evaluation");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn write(side: &Side, count: usize, value: f64) -> Result<()> {
    let sample = Sample { timestamp: now(), value };
    let samples: Vec<_> = (0..count)
        .map(|at| {
            let labels = Labels::from_pairs([
                ("__name__", "x".to_owned()),
                ("cluster", "eu-west-1".to_owned()),
                ("instance", format!("10.{}.{}.{}:9100", at / 65536, at / 256 % 256, at % 256)),
                ("job", format!("job{}", at % JOBS)),
            ]);
            (labels, sample)
        })
        .collect();
    for part in samples.chunks(10_000) {
        side.write(body(part)).await?;
    }
    Ok(())
}
