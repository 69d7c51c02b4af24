//! Alerts from the sample that starts them to the message about them, beside Debian's Prometheus
//! and Alertmanager: latency, processor time, memory; and how much of it alertd bears.
//!
//! `cargo run --release -p pitcrew-tests --bin bench-alerts [PART…]`, after a release build of
//! alertd; the parts are those of [`PARTS`], all of them when none is named.

#![expect(clippy::print_stdout, reason = "its output is the point")]

mod alerts;
mod beside;
mod fleet;
mod hook;
mod rules;
mod sides;
mod slack;
mod storm;

use std::path::Path;

use anyhow::{Result, ensure};
use pitcrew_tests::process::tls;

const PARTS: [&str; 6] = ["beside", "rules", "storm", "alerts", "held", "slack"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tls();
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let unknown = asked.iter().find(|part| !PARTS.contains(&part.as_str()));
    ensure!(unknown.is_none(), "{unknown:?} is none of {PARTS:?}");
    let folder = tempfile::tempdir_in(pitcrew_tests::programs::workspace().join("target"))?;
    let mut failed = Vec::new();
    for part in PARTS {
        if asked.is_empty() || asked.iter().any(|one| one == part) {
            let ended = run(part, &folder.path().join(part)).await;
            failed.extend(ended.err().map(|error| format!("{part}: {error:#}")));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

async fn run(part: &str, folder: &Path) -> Result<()> {
    match part {
        "beside" => beside::run(folder).await,
        "rules" => rules::run(folder).await,
        "storm" => storm::run(folder).await,
        "alerts" => alerts::listed(folder).await,
        "held" => {
            alerts::held(&folder.join("posted")).await?;
            storm::held(&folder.join("rules")).await
        }
        _ => slack::run(folder).await,
    }
}

/// A row of a table: ours, theirs, ratio.
fn row(title: &str, [ours, theirs]: [f64; 2]) {
    println!("| {title} | {ours:.3} | {theirs:.3} | {:.2} |", ours / theirs);
}
