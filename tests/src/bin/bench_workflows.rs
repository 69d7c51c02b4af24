//! The state of workflows: rebuilding it from 100,000 jobs, and a page of it.
//!
//! `cargo run --release -p pitcrew-tests --bin bench-workflows`

#![expect(clippy::print_stdout, reason = "its output is the point")]

use std::time::Instant;

use anyhow::{Context, Result};
use pitcrew_exporter::clock;
use pitcrew_exporter::exposition::{Format, render};
use pitcrew_exporter::github::model::Runner;
use pitcrew_exporter::metric::Families;
use pitcrew_exporter::workflows::event::{Event, Job, Run, Source, Status, What};
use pitcrew_exporter::workflows::fleet::{Fleet, Registered};
use pitcrew_exporter::workflows::state::State;
use pitcrew_tests::measure::{median, resident_megabytes};

const JOBS: u64 = 100_000;
const BEGIN: f64 = 1_700_000_000.0;
/// Jobs a second.
const RATE: f64 = 2.0;
const PAGES: usize = 21;

fn main() -> Result<()> {
    let fleet = fleet()?;
    println!(
        "{JOBS} jobs with their runs, 1,000 runners; pages are medians of {PAGES}\n\n\
         | names | events | rebuilt from the log's JSON in | a page in | of which written in | series | \
         page | snapshot | read back in | memory |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for (title, hostile) in
        [("100 repositories, 5 workflows, 3 label sets", false), ("hostile", true)]
    {
        let events = (0..JOBS).flat_map(|at| life(at, hostile));
        let log: Vec<String> =
            events.map(|event| serde_json::to_string(&event)).collect::<Result<_, _>>()?;
        let before = resident_megabytes(std::process::id()).context("memory")?;
        let mut state = State::default();
        let begun = clock::monotonic();
        for line in &log {
            state.apply(&serde_json::from_str(line)?);
        }
        let rebuilt = begun.elapsed();
        let memory = resident_megabytes(std::process::id()).context("memory")? - before;
        let now = BEGIN + JOBS as f64 / RATE + 400.0;
        let (mut whole, mut written) = (Vec::new(), Vec::new());
        let (mut series, mut bytes) = (0, 0);
        for _ in 0..PAGES {
            let begun = clock::monotonic();
            let mut out = Families::default();
            state.families(now, &fleet, &mut out);
            let filled = clock::monotonic();
            let page = render(&out, Format::Text004);
            whole.push(milliseconds(begun));
            written.push(milliseconds(filled));
            series = out.iter().map(|family| family.samples.len()).sum();
            bytes = page.len();
        }
        let snapshot = serde_json::to_string(&state)?;
        let begun = clock::monotonic();
        let _again: State = serde_json::from_str(&snapshot)?;
        println!(
            "| {title} | {} | {:.2} s | {:.1} ms | {:.1} ms | {series} | {} kB | {:.1} MB | {:.2} s | {memory:.0} MB |",
            log.len(),
            rebuilt.as_secs_f64(),
            median(whole),
            median(written),
            bytes / 1000,
            snapshot.len() as f64 / 1e6,
            begun.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// What is told of one job: queued, started and ended after some minutes, and every tenth one's run.
fn life(at: u64, hostile: bool) -> Vec<Event> {
    let created = BEGIN + at as f64 / RATE;
    let (started, ended) = (created + (at % 300) as f64, created + 300.0 + (at % 600) as f64);
    let name = |what: &str, count: u64| match hostile {
        true => format!("{what} {at} \"{}\"", "x".repeat(at as usize % 90)),
        false => format!("{what}-{}", at % count),
    };
    let job = |status: Status| Job {
        id: at,
        run_id: at / 10,
        run_attempt: 1,
        repository: format!("octo/{}", name("repo", 100)),
        workflow: name("workflow", 5),
        name: name("job", 7),
        labels: vec!["self-hosted".to_owned(), name("size", 3)],
        status,
        created_at: Some(created),
        started_at: Some(if status == Status::Queued { created } else { started }),
        runner: (status != Status::Queued).then(|| format!("runner-{}", at % 1000)),
        ..Job::default()
    };
    let over = Job {
        completed_at: Some(ended),
        conclusion: Some(if at.is_multiple_of(9) { "failure" } else { "success" }.to_owned()),
        ..job(Status::Completed)
    };
    let told = |received: f64, what: What| Event { source: Source::Webhook, received, what };
    // Every fiftieth never ends, and every fifth of those never starts.
    let mut events = vec![told(created + 1.0, What::Job(job(Status::Queued)))];
    if !at.is_multiple_of(250) {
        events.push(told(started + 1.0, What::Job(job(Status::InProgress))));
    }
    if !at.is_multiple_of(50) {
        events.push(told(ended + 1.0, What::Job(over)));
    }
    if at.is_multiple_of(10) {
        let run = Run {
            id: at / 10,
            attempt: 1,
            repository: format!("octo/{}", name("repo", 100)),
            workflow: name("workflow", 5),
            event: "push".to_owned(),
            branch: Some("main".to_owned()),
            status: Status::InProgress,
            created_at: Some(created),
            started_at: Some(created),
            updated_at: Some(started),
            ..Run::default()
        };
        events.push(told(started + 1.0, What::Run(run)));
    }
    events
}

fn fleet() -> Result<Fleet> {
    let runner = |at: u64| -> Result<Runner> {
        let labels = [("self-hosted", ""), ("size-", ["0", "1"][at as usize % 2])];
        let labels: Vec<_> =
            labels.iter().map(|(a, b)| serde_json::json!({ "name": format!("{a}{b}") })).collect();
        let runner = serde_json::json!({
            "id": at, "name": format!("runner-{at}"), "status": "online", "busy": at.is_multiple_of(3),
            "labels": labels,
        });
        Ok(serde_json::from_value(runner)?)
    };
    let runners = (0..1000).map(runner).collect::<Result<_>>()?;
    let read_at = BEGIN + JOBS as f64 / RATE + 380.0;
    let registered = Registered { runners, read_at };
    Ok(Fleet { scopes: [("octo".to_owned(), registered)].into() })
}
