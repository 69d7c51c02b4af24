//! `test promql PATH…`: scripts that load series, evaluate, and say what must come out.
#![expect(clippy::print_stdout, reason = "a command line prints")]

mod compare;
pub(super) mod notation;
mod replay;
mod script;
mod starts;
mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use self::replay::Verdict;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scripts, or folders of files that end in .test
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also print what was skipped, and why
    #[arg(short, long)]
    verbose: bool,
}

/// How the evaluations of one script, or of many, went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Prints each failure with its file and line, then one line of counts. Exit code 1 when one
/// failed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(scripts(path)?);
    }
    anyhow::ensure!(!files.is_empty(), "no files that end in .test among the paths given");
    let mut total = Counts::default();
    for file in &files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let counts = one_script(file, &text, args.verbose);
        if files.len() > 1 {
            println!("{}: {counts}", file.display());
        }
        total.passed += counts.passed;
        total.failed += counts.failed;
        total.skipped += counts.skipped;
    }
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one_script(file: &Path, text: &str, verbose: bool) -> Counts {
    let mut counts = Counts::default();
    for (line, verdict) in replay::replay(&script::parse(text)) {
        let place = format!("{}:{line}", file.display());
        match verdict {
            Verdict::Passed => counts.passed += 1,
            Verdict::Failed(why) => {
                counts.failed += 1;
                println!("{place}: {why}");
            }
            Verdict::Skipped(why) => {
                counts.skipped += 1;
                if verbose {
                    println!("{place}: skipped: {why}");
                }
            }
        }
    }
    counts
}

fn scripts(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let entries =
        fs::read_dir(path).with_context(|| format!("cannot read folder {}", path.display()))?;
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|end| end == "test") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_of_the_project_passes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/promql");
        let files = scripts(&folder).unwrap();
        assert!(files.len() >= 7, "{files:?}");
        for file in files {
            let counts = one_script(&file, &fs::read_to_string(&file).unwrap(), true);
            assert!(counts.failed == 0 && counts.skipped == 0 && counts.passed > 5, "{counts}");
        }
    }

    #[test]
    fn a_wrong_script_fails_with_its_line() {
        let counts = |text: &str| one_script(Path::new("x.test"), text, false);
        let failed = |failed: usize| Counts { failed, ..Counts::default() };
        assert_eq!(counts("load 1m\n  up 1\n\neval instant at 0 up\n  up 2\n"), failed(1));
        assert_eq!(counts("eval instant at 0 up\n  expect fail\n"), failed(1));
        assert_eq!(counts("eval instant at 0 1 +\n  1\n"), failed(1));
        assert_eq!(counts("lod 1m\n"), failed(1));
        assert_eq!(counts("eval instant at noon up\n"), failed(1));
        let native = "load 1m\n  up {{count:1}}\n\neval instant at 0 up\n";
        assert_eq!(counts(native), Counts { skipped: 1, ..Counts::default() });
        // What cannot be read costs only itself.
        let half = "eval instant at 0 1\n  one\n\neval instant at 0 2\n  2\n";
        assert_eq!(counts(half), Counts { passed: 1, failed: 1, skipped: 0 });
        let commands = script::parse("\n# note\nlod\n");
        assert!(matches!(commands.as_slice(), [script::Command::Bad { line: 3, .. }]));
    }
}
