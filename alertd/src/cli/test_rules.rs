//! `test rules FILE…`: unit tests of rules, in promtool's format.
#![expect(clippy::print_stdout, reason = "a command line prints")]

mod cases;
mod play;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pitcrew_exporter::config::yaml;

use self::cases::TestFile;
use crate::rules::file;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Unit-test files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How the cases of one file went: what passed, and a text for each that failed.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    failures: Vec<String>,
}

/// Prints each failure with what was expected and got, then one line of counts. Exit code 1 when
/// one failed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (mut passed, mut failed) = (0, 0);
    for path in &args.files {
        let report = one_file(path);
        for failure in &report.failures {
            println!("{}: {failure}", path.display());
        }
        passed += report.passed;
        failed += report.failures.len();
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one_file(path: &Path) -> Report {
    let mut report = Report::default();
    let tests: TestFile = match yaml::load(path) {
        Ok(tests) => tests,
        Err(error) => {
            report.failures.push(format!("{:#}", anyhow::Error::from(error)));
            return report;
        }
    };
    // Rule files are named as seen from the test file's folder.
    let folder = path.parent().unwrap_or(Path::new(""));
    let paths: Vec<PathBuf> = tests.rule_files.iter().map(|file| folder.join(file)).collect();
    let groups = match file::load(&paths) {
        Ok(groups) => tests.ordered(groups),
        Err(errors) => {
            report.failures.push(errors.to_string());
            return report;
        }
    };
    for (at, test) in tests.tests.iter().enumerate() {
        let name = match test.name.as_str() {
            "" => format!("test {}", at + 1),
            name => format!("test {name:?}"),
        };
        for outcome in play::play(&tests, test, &groups) {
            match outcome {
                Ok(()) => report.passed += 1,
                Err(failure) => report.failures.push(format!("{name}: {failure}")),
            }
        }
    }
    report
}

#[cfg(test)]
mod tests;
