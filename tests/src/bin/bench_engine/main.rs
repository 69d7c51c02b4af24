//! The metrics engine beside Debian's Prometheus, in one run: the same samples, the same queries
//! over HTTP, the same rules; medians and ratios as the tables of BENCHMARKS.md.
//!
//! `cargo run --release -p pitcrew-tests --bin bench-engine [PART…]`, after a release build of
//! alertd; the parts are `beside` (all that has a peer), `growth` and `restart`. `alone` is for a
//! profiler: ours with the same samples, asked each query for some seconds.

#![expect(clippy::print_stdout, reason = "its output is the point")]

mod data;
mod questions;
mod sides;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitcrew_exporter::clock::{monotonic, unix_seconds};
use pitcrew_tests::measure::median;
use pitcrew_tests::process::tls;

use self::data::{Data, INTERVAL};
use self::questions::QUERIES;
use self::sides::{Name, Side};

const SERIES: usize = 100_000;
const STEPS: i64 = 240;
const ROUNDS: usize = 15;
/// The newest sample is this much ahead of now, so that the rules find it fresh after the queries.
const AHEAD: i64 = 300_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tls();
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let asked = |part: &str| parts.iter().any(|one| one == part);
    let wanted = |part: &str| parts.is_empty() || asked(part);
    let folder = tempfile::tempdir_in(pitcrew_tests::programs::workspace().join("target"))?;
    if wanted("beside") {
        beside(folder.path()).await?;
    }
    if wanted("growth") {
        growth(folder.path()).await?;
    }
    if wanted("restart") {
        restart(folder.path()).await?;
    }
    if asked("alone") {
        alone(folder.path()).await?;
    }
    Ok(())
}

async fn beside(folder: &Path) -> Result<()> {
    let ours = Side::start(Name::Pitcrew, &folder.join("pitcrew")).await?;
    let theirs = Side::start(Name::Prometheus, &folder.join("prometheus")).await?;
    println!("| work | pitcrew-alertd | Prometheus | ratio |\n|---|---|---|---|");
    let now = (unix_seconds() * 1000.0) as i64;
    let newest = (now + AHEAD) / INTERVAL * INTERVAL;
    let mut data = Data::new(SERIES);
    let before = [ours.cpu()?, theirs.cpu()?];
    fill(&mut data, newest, STEPS, &[&ours, &theirs]).await?;
    let spent = [ours.cpu()? - before[0], theirs.cpu()? - before[1]];
    let samples = data.len() as f64 * STEPS as f64;
    let rate = spent.map(|seconds| samples / seconds / 1e6);
    row("ingest, million samples per CPU-second", rate);
    row("memory after it, MB", [ours.memory()?, theirs.memory()?]);

    for (title, query) in QUERIES {
        let form = [("query", (*query).to_owned()), ("time", (newest / 1000).to_string())];
        let (mut us, mut them) = (Vec::new(), Vec::new());
        let answers =
            [ours.ask("/api/v1/query", &form).await?, theirs.ask("/api/v1/query", &form).await?];
        let sizes = answers.map(|answer| answer["result"].as_array().map(Vec::len));
        ensure!(sizes[0] == sizes[1] && sizes[0] > Some(0), "{query}: {sizes:?} elements");
        for _ in 0..ROUNDS {
            us.push(timed(&ours, &form).await?);
            them.push(timed(&theirs, &form).await?);
        }
        row(&format!("{title}, ms"), [median(us), median(them)]);
    }
    row("memory after the queries, MB", [ours.memory()?, theirs.memory()?]);

    rules(folder, &ours, &theirs).await?;

    let ours_made = ours.post("/api/admin/snapshot").await?["data"]["name"].take();
    let theirs_made = theirs.post("/api/v1/admin/tsdb/snapshot").await?["data"]["name"].take();
    let made = |side: &Side, name: &serde_json::Value| -> Result<_> {
        Ok(side.folder.join("data/snapshots").join(name.as_str().context("a snapshot's name")?))
    };
    let sizes =
        [bytes(&made(&ours, &ours_made)?.join("metrics"))?, bytes(&made(&theirs, &theirs_made)?)?];
    row("disk after compaction, bytes a sample", sizes.map(|bytes| bytes as f64 / samples));
    ours.end().await?;
    theirs.end().await
}

/// The queries and the rules on our side, each for some seconds, announced with the process.
async fn alone(folder: &Path) -> Result<()> {
    let side = Side::start(Name::Pitcrew, &folder.join("alone")).await?;
    let newest = ((unix_seconds() * 1000.0) as i64 + AHEAD) / INTERVAL * INTERVAL;
    let (mut data, before) = (Data::new(SERIES), side.cpu()?);
    fill(&mut data, newest, STEPS, &[&side]).await?;
    println!("filled: CPU {:.1} s, {:.0} MB", side.cpu()? - before, side.memory()?);
    for (title, query) in QUERIES {
        let form = [("query", (*query).to_owned()), ("time", (newest / 1000).to_string())];
        println!("{} {title}", side.process());
        let (mut times, begun) = (Vec::new(), monotonic());
        while begun.elapsed() < Duration::from_secs(4) {
            times.push(timed(&side, &form).await?);
        }
        println!("{:.2} ms", median(times));
    }
    println!("{} rules", side.process());
    println!("{:.0} ms", evaluation(folder, &side).await?);
    side.end().await
}

async fn rules(folder: &Path, ours: &Side, theirs: &Side) -> Result<()> {
    let spent = [evaluation(folder, ours).await?, evaluation(folder, theirs).await?];
    row("1,000 rules, one evaluation of all, CPU ms", spent);
    Ok(())
}

/// CPU milliseconds of one evaluation of all rules, from several: what the process used beyond
/// doing nothing.
async fn evaluation(folder: &Path, side: &Side) -> Result<f64> {
    const LASTS: Duration = Duration::from_secs(65);
    let file = folder.join("rules.yaml");
    std::fs::write(&file, questions::rules())?;
    let counter = match side.name {
        Name::Pitcrew => "pitcrew_alertd_rule_group_iterations_total",
        Name::Prometheus => "prometheus_rule_group_iterations_total",
    };
    let idle = side.cpu()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = (side.cpu()? - idle) / 10.0;
    side.rules(&file).await?;
    // Loading, and the first evaluation that makes the recorded series.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (start, began, done) = (side.cpu()?, monotonic(), side.metric(counter).await?);
    tokio::time::sleep(LASTS).await;
    let evaluations = (side.metric(counter).await? - done) / questions::GROUPS as f64;
    ensure!(evaluations >= 4.0, "only {evaluations} evaluations");
    let used = side.cpu()? - start - idle * began.elapsed().as_secs_f64();
    Ok(used * 1000.0 / evaluations)
}

/// What a series costs among 10 thousand, 100 thousand and a million.
async fn growth(folder: &Path) -> Result<()> {
    println!(
        "\n| series | ingest, CPU µs a sample | memory, bytes a series | sum by(job)(rate(m[5m])), CPU µs a series |"
    );
    println!("|---|---|---|---|");
    for count in [10_000, 100_000, 1_000_000] {
        let side = Side::start(Name::Pitcrew, &folder.join(count.to_string())).await?;
        let newest = (unix_seconds() * 1000.0) as i64 / INTERVAL * INTERVAL;
        let (before, empty) = (side.cpu()?, side.memory()?);
        let steps = 24;
        let mut data = Data::new(count);
        fill(&mut data, newest, steps, &[&side]).await?;
        let samples = count as f64 * steps as f64;
        let ingest = (side.cpu()? - before) * 1e6 / samples;
        let memory = (side.memory()? - empty) * 1e6 / count as f64;
        let form = [
            ("query", "sum by(job)(rate(m[5m]))".to_owned()),
            ("time", (newest / 1000).to_string()),
        ];
        let rounds = (20_000_000 / count).clamp(20, 400);
        let before = side.cpu()?;
        for _ in 0..rounds {
            side.fetch("/api/v1/query", &form).await?;
        }
        let query = (side.cpu()? - before) * 1e6 / rounds as f64 / (count as f64 / 5.0);
        println!("| {count} | {ingest:.3} | {memory:.0} | {query:.3} |");
        side.end().await?;
    }
    Ok(())
}

/// From the start of the program until it is ready, over a full head: after kill -9, and after an
/// orderly end.
async fn restart(folder: &Path) -> Result<()> {
    const COUNT: usize = 200_000;
    const BEFORE: i64 = 720;
    const HOUR: i64 = 3_600_000;
    let folder = folder.join("restart");
    let mut side = Side::start(Name::Pitcrew, &folder).await?;
    // As close together as it takes to stay in the head, which ends at an even hour.
    let now = (unix_seconds() * 1000.0) as i64;
    let (newest, oldest) = (now + AHEAD, (now - HOUR).div_euclid(2 * HOUR) * 2 * HOUR);
    let times: Vec<i64> = (1..=BEFORE).map(|at| oldest + (newest - oldest) / BEFORE * at).collect();
    let mut data = Data::new(COUNT);
    for times in times.chunks(30) {
        let mut bodies = Vec::new();
        data.step(times, |body| bodies.push(body));
        for body in bodies {
            side.write(body).await?;
        }
    }
    let query = format!("count(count_over_time(x[4h]) == {BEFORE})");
    let query = [("query", query), ("time", format!("{:.3}", newest as f64 / 1000.0))];
    println!("\n| {COUNT} series × {BEFORE} samples, started after | ready after | CPU | memory |");
    println!("|---|---|---|---|");
    for killed in [true, false] {
        match killed {
            true => side.kill().await,
            false => side.end().await?,
        }
        let began = monotonic();
        side = Side::start(Name::Pitcrew, &folder).await?;
        let (took, cpu) = (began.elapsed().as_secs_f64(), side.cpu()?);
        let after = if killed { "kill -9" } else { "SIGTERM" };
        println!("| {after} | {took:.1} s | {cpu:.1} s | {:.0} MB |", side.memory()?);
        let answer = side.ask("/api/v1/query", &query).await?;
        let found = answer.pointer("/result/0/value/1").context("nothing is found")?;
        let whole = (COUNT / 10).to_string();
        ensure!(found.as_str() == Some(&whole), "{found} series are whole");
    }
    side.end().await
}

/// Sends every side the same bodies, in turns.
async fn fill(data: &mut Data, newest: i64, steps: i64, sides: &[&Side]) -> Result<()> {
    for step in 0..steps {
        let mut bodies = Vec::new();
        data.step(&[newest - (steps - 1 - step) * INTERVAL], |body| bodies.push(body));
        for body in bodies {
            for side in sides {
                side.write(body.clone()).await?;
            }
        }
    }
    Ok(())
}

/// Milliseconds until the whole answer is there.
async fn timed(side: &Side, form: &[(&str, String)]) -> Result<f64> {
    let start = monotonic();
    side.fetch("/api/v1/query", form).await?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

fn row(title: &str, [ours, theirs]: [f64; 2]) {
    println!("| {title} | {ours:.2} | {theirs:.2} | {:.2} |", ours / theirs);
}

fn bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let about = entry.metadata()?;
        total += if about.is_dir() { bytes(&entry.path())? } else { about.len() };
    }
    Ok(total)
}
