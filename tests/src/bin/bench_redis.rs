//! 100 streams × 2 groups × 5 consumers: pitcrew-exporter beside prometheus-redis-exporter, in one
//! run against one Redis.
//!
//! `cargo run -p pitcrew-tests --bin bench-redis [PITCREW_EXPORTER [REDIS_EXPORTER]]`, after a
//! release build. Scrapes alternate, so that whatever else the machine does hurts both.

#![expect(clippy::print_stdout, reason = "its output is the point")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitcrew_exporter::clock;
use pitcrew_tests::measure::{median, percentile, processor_seconds, resident_megabytes};
use pitcrew_tests::process::{Process, free_address, tls};
use pitcrew_tests::redis::{Redis, redis_exporter};
use pitcrew_tests::{programs, wait};

const STREAMS: usize = 100;
const GROUPS: [&str; 2] = ["builders", "reporters"];
const CONSUMERS: usize = 5;
/// Of a stream; half of them are delivered, and none is acknowledged.
const ENTRIES: usize = 20;
const SCRAPES: usize = 80;
/// A hundredth of 15 s; what our settings say is scaled as this is.
const INTERVAL: Duration = Duration::from_millis(150);

/// What one side cost for each scrape.
#[derive(Default)]
struct Cost {
    milliseconds: Vec<f64>,
    commands: u64,
    own_seconds: f64,
    redis_seconds: f64,
    bytes: usize,
    memory: f64,
}

struct Side {
    url: String,
    process: Process,
    cost: Cost,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tls();
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let release = programs::workspace().join("target/release/pitcrew-exporter");
    let ours = paths.next().unwrap_or(release);
    let theirs = paths.next();
    let redis = Redis::start(&["--appendonly", "no"]).await;
    fill(&redis).await?;
    println!(
        "{STREAMS} streams × {} groups × {CONSUMERS} consumers; {SCRAPES} scrapes of each in turns\n",
        GROUPS.len()
    );
    println!("| scrape | pitcrew-exporter | redis_exporter | ratio | aim |\n|---|---|---|---|---|");
    // 300 s, 300 s and 1800 s, as scaled as the interval; and nothing kept from scrape to scrape.
    for (title, settings) in [
        ("", "refresh: 3s, idle_after: 3s, dead_after: 18s"),
        (", `refresh: 0s`", "refresh: 0s, idle_after: 3s, dead_after: 18s"),
    ] {
        let mut pair = [
            start_ours(&ours, &redis, settings).await?,
            start_theirs(theirs.clone(), &redis).await?,
        ];
        for _ in 0..SCRAPES {
            for side in &mut pair {
                scrape(side, &redis).await?;
            }
            tokio::time::sleep(INTERVAL).await;
        }
        for side in &mut pair {
            side.cost.memory = resident_megabytes(side.process.pid())?;
        }
        report(title, &pair[0].cost, &pair[1].cost);
    }
    Ok(())
}

async fn fill(redis: &Redis) -> Result<()> {
    let mut client = redis.client().await;
    for stream in 0..STREAMS {
        let key = format!("jobs:{stream:03}");
        let mut pipe = redis::pipe();
        for n in 0..ENTRIES {
            pipe.cmd("XADD").arg(&key).arg("*").arg("job").arg(n).arg("repository").arg("o/n");
        }
        for group in GROUPS {
            pipe.cmd("XGROUP").arg("CREATE").arg(&key).arg(group).arg(0);
            for consumer in 0..CONSUMERS {
                pipe.cmd("XREADGROUP").arg("GROUP").arg(group).arg(format!("c{consumer}"));
                let count = ENTRIES / 2 / CONSUMERS;
                pipe.arg("COUNT").arg(count).arg("STREAMS").arg(&key).arg(">");
            }
        }
        pipe.exec_async(&mut client).await?;
    }
    Ok(())
}

async fn start_ours(program: &std::path::Path, redis: &Redis, settings: &str) -> Result<Side> {
    let address = free_address();
    let file = std::env::temp_dir().join(format!("bench-redis-{}.yaml", std::process::id()));
    let host = "cpu, memory, loadavg, pressure, disk, filesystem, network, vmstat, stat, filefd, \
                uname, time, runner";
    let text = format!(
        "collectors: {{ off: [{host}], redis: {{ url: '{}', streams: ['jobs:*'], \
         per_consumer: true, rescan: 1s, {settings} }} }}\n",
        redis.url()
    );
    fs::write(&file, text)?;
    let file = file.to_string_lossy();
    let arguments = ["run", "--listen", &address, "--log", "warn", "--config", &file];
    ready(Process::start(program, &arguments), &address).await
}

async fn start_theirs(program: Option<PathBuf>, redis: &Redis) -> Result<Side> {
    let address = free_address();
    let arguments = [
        format!("--redis.addr={}", redis.url()),
        format!("--web.listen-address={address}"),
        "--check-streams=jobs:*".to_owned(),
        "--redis-only-metrics".to_owned(),
    ];
    ready(redis_exporter(program, &arguments), &address).await
}

async fn ready(process: Process, address: &str) -> Result<Side> {
    let url = format!("http://{address}/metrics");
    wait::until(Duration::from_secs(20), &url, async || reqwest::get(&url).await.is_ok()).await;
    Ok(Side { url, process, cost: Cost::default() })
}

async fn scrape(side: &mut Side, redis: &Redis) -> Result<()> {
    let client = reqwest::Client::new();
    let before = (commands(redis).await?, spent(side, redis)?);
    let begun = clock::monotonic();
    let page = client.get(&side.url).send().await?.error_for_status()?.text().await?;
    let took = begun.elapsed();
    let after = (commands(redis).await?, spent(side, redis)?);
    let name = ["queue_depth{", "stream_length{"].iter().find(|name| page.contains(**name));
    let found = page.matches(*name.context("no stream on the page")?).count();
    ensure!(found == STREAMS, "{found} streams on the page of {}", side.url);
    let Cost { milliseconds, commands, own_seconds, redis_seconds, bytes, .. } = &mut side.cost;
    milliseconds.push(took.as_secs_f64() * 1000.0);
    // The INFO that told what was before.
    *commands += after.0 - before.0 - 1;
    *own_seconds += after.1.0 - before.1.0;
    *redis_seconds += after.1.1 - before.1.1;
    *bytes = page.len();
    Ok(())
}

fn spent(side: &Side, redis: &Redis) -> Result<(f64, f64)> {
    Ok((processor_seconds(side.process.pid())?, processor_seconds(redis.pid())?))
}

/// Calls of all commands so far; the connection that asks adds one `INFO` to the next answer.
async fn commands(redis: &Redis) -> Result<u64> {
    let mut client = redis.client().await;
    let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut client).await?;
    let ours = "cmdstat_client|setinfo:";
    let calls = |line: &str| -> Option<u64> {
        line.split_once("calls=")?.1.split(',').next()?.parse().ok()
    };
    let lines = text.lines().filter(|line| !line.starts_with(ours));
    Ok(lines.filter_map(calls).sum())
}

fn report(title: &str, ours: &Cost, theirs: &Cost) {
    let row = |name: &str, values: (f64, f64), digits: usize, unit: &str, aim: &str| {
        let (a, b) = values;
        println!(
            "| {name}{title} | {a:.digits$}{unit} | {b:.digits$}{unit} | {:.2} | {aim} |",
            a / b
        );
    };
    let each = |cost: &Cost, value: f64| value * 1000.0 / cost.milliseconds.len() as f64;
    let time = |cost: &Cost, share| percentile(cost.milliseconds.clone(), share);
    let medians = (median(ours.milliseconds.clone()), median(theirs.milliseconds.clone()));
    // What is promised is promised of the defaults.
    let aim = |text| if title.is_empty() { text } else { "" };
    row("time, median", medians, 1, " ms", aim("≤ 0.3"));
    row("time, p95", (time(ours, 0.95), time(theirs, 0.95)), 1, " ms", "");
    let count = |cost: &Cost| cost.commands as f64 / cost.milliseconds.len() as f64;
    row("commands sent", (count(ours), count(theirs)), 0, "", aim("≤ 0.5"));
    let own = (each(ours, ours.own_seconds), each(theirs, theirs.own_seconds));
    row("CPU of the exporter", own, 2, " ms", "");
    let redis = (each(ours, ours.redis_seconds), each(theirs, theirs.redis_seconds));
    row("CPU of Redis", redis, 2, " ms", "");
    row("page", (ours.bytes as f64 / 1e3, theirs.bytes as f64 / 1e3), 0, " KB", "");
    row("memory", (ours.memory, theirs.memory), 1, " MB", "");
}
