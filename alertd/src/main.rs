//! alertd's program: flags, then the library.

use std::process::ExitCode;

use clap::Parser;
use pitcrew_alertd::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed a provider before the first line of main");
    match cli::run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a failed start is told")]
fn report(error: &anyhow::Error) {
    eprintln!("pitcrew-alertd: {error:#}");
}
