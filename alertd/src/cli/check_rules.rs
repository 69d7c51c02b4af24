//! `check rules FILE…`: whether Prometheus rule files can be loaded, and what is odd in them.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::PathBuf;
use std::process::ExitCode;

use crate::rules::file;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files; wildcards are expanded
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints one line a pattern, and each fault with its file and line. Exit code 2 when one is wrong.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut wrong = 0;
    for pattern in &args.files {
        match file::load(std::slice::from_ref(pattern)) {
            Ok(groups) => {
                let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
                let file = pattern.display();
                println!("{file}: ok: {rules} rules in {} groups", groups.len());
                for group in &groups {
                    for rule in group.repeated() {
                        let (file, group, rule) = (&group.file, &group.name, &rule.name);
                        println!(
                            "{file}: group {group:?}, rule {rule:?}: warning: repeats an earlier rule"
                        );
                    }
                }
            }
            Err(errors) => {
                wrong += 1;
                println!("{errors}");
            }
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
