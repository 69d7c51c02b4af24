//! `check config FILE`: everything that can be said about a configuration without side effects.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints one line a file. A file that is wrong gives exit code 2.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut wrong = 0;
    for file in &args.files {
        match config::load(file) {
            Ok(loaded) => println!(
                "{}: ok: {} scrape configurations, {} rule groups, {} pools",
                file.display(),
                loaded.config.scrape_configs.len(),
                loaded.groups.len(),
                loaded.config.pools.len(),
            ),
            Err(error) => {
                wrong += 1;
                println!("{:#}", anyhow::Error::from(error));
            }
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
