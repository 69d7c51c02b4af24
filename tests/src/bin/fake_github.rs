//! `fake-github`: the GitHub simulator as a program of its own.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use pitcrew_tests::fake_github::FakeGithub;
use pitcrew_tests::fake_github::settings::{Settings, TOKEN};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates the part of GitHub's REST API that concerns runners and jobs, until SIGTERM.
///
/// The API is at the address and beneath its /api/v3. What only a simulator has is under /_sim/:
/// POST /_sim/jobs queues jobs, POST /_sim/faults breaks answers, GET and POST /_sim/settings are
/// the settings, GET /_sim/ledger is everything that happened.
#[derive(Parser)]
#[command(name = "fake-github")]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// A JSON file with settings that differ from the defaults
    #[arg(long)]
    settings: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut settings = Settings::default();
    if let Some(file) = args.settings {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let change = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        settings = settings
            .with(&change)
            .map_err(|message| anyhow::anyhow!("{}: {message}", file.display()))?;
    }
    let github = FakeGithub::start_at(&args.listen, settings).await.context(args.listen)?;
    println!("listening on {}, token {TOKEN}", github.url);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
