//! alertd's program: flags, then the library.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use pitcrew_alertd::cli::{self, Cli};

/// Longest wait for threads that hang in the kernel, after everything else has ended.
const LINGER: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed a provider before the first line of main");
    run(Cli::parse()).unwrap_or_else(|error| {
        report(&error);
        ExitCode::from(2)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(cli::run(cli));
    runtime.shutdown_timeout(LINGER);
    result
}

#[expect(clippy::print_stderr, reason = "the one place where a failed start is told")]
fn report(error: &anyhow::Error) {
    eprintln!("pitcrew-alertd: {error:#}");
}
