//! Webhooks per second that the exporter takes, each on disk before its answer, and how long it
//! takes to know again what 100,000 of them told.
//!
//! `cargo run --release -p pitcrew-tests --bin bench-webhooks [PITCREW_EXPORTER]`, after a release
//! build. Bodies are as large as GitHub's.

#![expect(clippy::print_stdout, reason = "its output is the point")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitcrew_exporter::clock;
use pitcrew_exporter::exposition::{Format, render};
use pitcrew_exporter::metric::Families;
use pitcrew_exporter::workflows::event::Event;
use pitcrew_exporter::workflows::intake::Intake;
use pitcrew_exporter::workflows::log::{Entry, Log};
use pitcrew_exporter::workflows::payload::{self, Encoding};
use pitcrew_tests::deliveries::{Hook, job};
use pitcrew_tests::live::Live;
use pitcrew_tests::measure::{percentile, processor_seconds, resident_megabytes};
use pitcrew_tests::process::free_address;
use pitcrew_tests::programs;

const SECRET: &str = "secret";
const TIME: Duration = Duration::from_secs(20);
/// How many deliveries GitHub has under way at a time.
const AT_ONCE: [usize; 3] = [1, 8, 32];
/// Of one body: GitHub's have more links, and steps.
const BYTES: usize = 12_000;
const ACTIONS: [&str; 3] = ["queued", "in_progress", "completed"];
const REBUILT: u64 = 100_000;

fn main() -> Result<()> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let program =
        given.unwrap_or_else(|| programs::workspace().join("target/release/pitcrew-exporter"));
    println!("{} s each; bodies of {BYTES} bytes, signed\n", TIME.as_secs());
    println!(
        "| deliveries at a time | taken a second | syncs a second | answered, median | p99 | \
         longest | CPU a delivery | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for senders in AT_ONCE {
        runtime.block_on(take(&program, senders))?;
    }
    rebuild()
}

async fn take(program: &Path, senders: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (address, secret) = (free_address(), folder.path().join("secret"));
    std::fs::write(&secret, SECRET)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode)?;
    let config = folder.path().join("exporter.yaml");
    let text = "{ data_dir: data, github: { webhook_secret_file: secret } }";
    std::fs::write(&config, text)?;
    let config = config.to_str().context("a name of letters")?;
    let arguments = ["run", "--config", config, "--listen", &address];
    let live = Live::ready(program, &arguments, &address, folder.path()).await;
    let hook = Hook::new(&live.url, SECRET);
    let pid = live.pid().as_raw_nonzero().get().unsigned_abs();
    let (before, start) = (processor_seconds(pid)?, clock::monotonic());
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let (hook, next) = (hook.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut answered = Vec::new();
                while start.elapsed() < TIME {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (body, sent) = (body(number), clock::monotonic());
                    let status = hook.send("workflow_job", &number.to_string(), &body).await;
                    ensure!(status == Some(202), "{number}: {status:?}");
                    answered.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
                Ok(answered)
            })
        })
        .collect();
    let mut answered = Vec::new();
    for task in tasks {
        answered.extend(task.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let spent = (processor_seconds(pid)? - before) * 1000.0 / answered.len() as f64;
    let commits = live.sum("pitcrew_exporter_workflow_log_commits_total").await;
    println!(
        "| {senders} | {:.0} | {:.0} | {:.1} ms | {:.1} ms | {:.0} ms | {spent:.2} ms | {:.0} MB |",
        answered.len() as f64 / seconds,
        commits / seconds,
        percentile(answered.clone(), 0.5),
        percentile(answered.clone(), 0.99),
        percentile(answered, 1.0),
        resident_megabytes(pid)?,
    );
    Ok(())
}

/// The three events of one job after the other, as large as GitHub's.
fn body(number: u64) -> String {
    let action = ACTIONS[(number % 3) as usize];
    let body = job(number / 3 + 1, action, clock::unix_seconds());
    let steps = "x".repeat(BYTES.saturating_sub(body.len()));
    body.replacen("\"steps\":[]", &format!("\"steps\":[{{\"name\":\"{steps}\"}}]"), 1)
}

/// A log that was never replaced by a snapshot, opened; and the page after it.
fn rebuild() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut events: Vec<Event> = Vec::new();
    for number in 0..REBUILT {
        let now = clock::unix_seconds();
        let body = job(number / 3 + 1, ACTIONS[(number % 3) as usize], now);
        events.extend(payload::parse("workflow_job", Encoding::Json, body.as_bytes(), now)?);
    }
    let mut log = Log::open(folder.path(), |_| Ok(()))?;
    for some in events.chunks(10_000) {
        log.add(&[Entry { delivery: None, events: some, received: 0.0 }])?;
    }
    let bytes = log.size();
    drop(log);
    let start = clock::monotonic();
    let intake = Intake::open(folder.path(), Arc::default())?;
    let rebuilt = start.elapsed().as_secs_f64();
    let start = clock::monotonic();
    let mut families = Families::default();
    let now = clock::unix_seconds();
    intake.with_state(|state, fleet| state.families(now, fleet, &mut families));
    let page = render(&families, Format::Text004);
    let page_time = start.elapsed().as_secs_f64() * 1000.0;
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    println!(
        "\n{REBUILT} job events in a log of {:.0} MB: state rebuilt in {rebuilt:.2} s; families and \
         page of {series} series in {page_time:.1} ms",
        bytes as f64 / 1e6
    );
    Ok(())
}
