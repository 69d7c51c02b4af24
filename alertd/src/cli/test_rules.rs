//! `test rules FILE…`: unit tests of rules, in promtool's format with some keys more.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod cases;
mod difference;
mod expect;
mod junit;
mod play;
mod told;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pitcrew_exporter::config::{glob, yaml};
use regex::Regex;

use self::cases::TestFile;
use crate::rules::file;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only tests whose names match this regular expression somewhere; may be given again
    #[arg(long, value_name = "REGEX")]
    run: Vec<String>,
    /// Write the outcome as JUnit's XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Show of what differs only the difference, line by line
    #[arg(long)]
    diff: bool,
    /// Unit-test files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How the tests of one file went.
#[derive(Debug, Default)]
struct Report {
    /// Cases that held.
    passed: usize,
    /// Each test that was played, with a text for each case that failed.
    tests: Vec<(String, Vec<String>)>,
    /// Why the file cannot be played.
    faults: Vec<String>,
    warnings: Vec<String>,
}

/// Prints each failure with what was expected and got, then one line of counts. Exit code 1 when
/// one failed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = match args.run.is_empty() {
        true => None,
        false => Some(Regex::new(&args.run.join("|")).context("--run")?),
    };
    let (mut passed, mut failed) = (0, 0);
    let mut reports = Vec::new();
    for path in &args.files {
        let report = one_file(path, run.as_ref(), args.diff);
        for warning in &report.warnings {
            eprintln!("{}: warning: {warning}", path.display());
        }
        for failure in report.failures() {
            println!("{}: {failure}", path.display());
        }
        passed += report.passed;
        failed += report.failures().count();
        reports.push((path.display().to_string(), report));
    }
    println!("{passed} passed, {failed} failed");
    if let Some(path) = &args.junit {
        let wrong = || format!("cannot write {}", path.display());
        fs::write(path, junit::xml(&reports)).with_context(wrong)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    fn failures(&self) -> impl Iterator<Item = String> {
        let tests = self.tests.iter();
        let failed = tests.flat_map(|(name, failures)| {
            failures.iter().map(move |failure| format!("test {name}: {failure}"))
        });
        self.faults.iter().cloned().chain(failed)
    }
}

fn one_file(path: &Path, run: Option<&Regex>, diff: bool) -> Report {
    let mut report = Report::default();
    let tests: TestFile = match yaml::load(path) {
        Ok(tests) => tests,
        Err(error) => {
            report.faults.push(format!("{:#}", anyhow::Error::from(error)));
            return report;
        }
    };
    // Rule files are named as seen from the test file's folder.
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut paths = Vec::new();
    for pattern in tests.rule_files.iter().map(|file| folder.join(file)) {
        let mut files = glob::expand(&pattern);
        files.retain(|file| file.exists());
        if files.is_empty() {
            report.warnings.push(format!("rule_files: no file matches {}", pattern.display()));
        }
        paths.extend(files);
    }
    let groups = file::load(&paths).map_err(|errors| errors.to_string());
    let groups = match groups.and_then(|groups| tests.ordered(groups)) {
        Ok(groups) => groups,
        Err(fault) => {
            report.faults.push(fault);
            return report;
        }
    };
    for (at, test) in tests.tests.iter().enumerate() {
        if run.is_some_and(|run| !run.is_match(&test.name)) {
            continue;
        }
        let name = match test.name.as_str() {
            "" => (at + 1).to_string(),
            name => format!("{name:?}"),
        };
        let outcomes = play::play(&tests, test, &groups, folder);
        report.passed += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let failed = outcomes.into_iter().filter_map(Result::err);
        report.tests.push((name, failed.map(|failure| failure.text(diff)).collect()));
    }
    report
}

#[cfg(test)]
mod tests;
