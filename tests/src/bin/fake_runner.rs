//! `fake-runner`: installs, registers and runs fake runners; as `Runner.Listener` and
//! `Runner.Worker` it is their processes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use pitcrew_tests::fake_runner::{FakeHost, Options, listener, worker};
use tokio::signal::unix::{SignalKind, signal};

/// Runs fake runners against the GitHub simulator until SIGTERM, or until the last one has died.
///
/// Each has the folder, the process names and the logs of GitHub's agent, so that the exporter sees
/// real runners. Kill one (`kill -9` its Runner.Listener) to see what a dead runner looks like.
#[derive(Parser)]
#[command(name = "fake-runner")]
struct Args {
    /// The simulator's address, such as http://127.0.0.1:8080
    #[arg(long)]
    github: String,
    /// Where to install: each runner gets DIR/actions-runner-NAME
    #[arg(long)]
    root: PathBuf,
    /// The runner's name; with --count, NAME-1, NAME-2, …
    #[arg(long)]
    name: String,
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Labels besides self-hosted, Linux and X64
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    /// OWNER/NAME of a repository, or an organisation
    #[arg(long)]
    scope: String,
    #[arg(long, default_value = "Default")]
    group: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).context("a program lies in a folder")?;
    match own.file_name().and_then(|name| name.to_str()) {
        Some("Runner.Listener") => listener::run(folder).await,
        Some("Runner.Worker") => worker::run(folder),
        _ => host(Args::parse(), own).await,
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn host(args: Args, program: PathBuf) -> anyhow::Result<ExitCode> {
    let Args { github, root, name, count, labels, scope, group } = args;
    anyhow::ensure!(count > 0, "--count: expected at least 1, found 0");
    let options = Options { program, github, name, count, labels, scope, group };
    let mut host = FakeHost::install(options, &root).await?;
    host.restart()?;
    for runner in &host.runners {
        let pid = runner.pid().map_or(0, |pid| pid.as_raw_nonzero().get());
        println!("{}: listening, process {pid}, in {}", runner.name, runner.folder.display());
    }
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        for runner in &mut host.runners {
            if let Some(status) = runner.just_ended() {
                println!("{}: ended, {status}", runner.name);
            }
        }
        if host.runners.iter().all(|runner| runner.pid().is_none()) {
            return Ok(ExitCode::FAILURE);
        }
    }
    println!("stopping: jobs that run are finished first");
    host.stop_all().await;
    Ok(ExitCode::SUCCESS)
}
