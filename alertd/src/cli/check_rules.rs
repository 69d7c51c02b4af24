//! `check rules FILE…`: whether Prometheus rule files can be loaded, and what is odd in them.
#![expect(clippy::print_stdout, reason = "a command line prints")]

mod catalogue;
mod lint;
mod references;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use pitcrew_exporter::config::{duration, yaml};

use self::lint::{CODES, Finding, Settings, Severity, lint};
use crate::rules::file;

/// As promtool's.
const LINT_FATAL: u8 = 3;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to look for besides errors: all, none, or codes such as duplicate-rules
    #[arg(long, value_name = "CODES", default_value = "all", value_delimiter = ',')]
    lint: Vec<String>,
    /// Exit with 3 when there is a warning
    #[arg(long)]
    lint_fatal: bool,
    /// A file with names of metrics that there are too, one a line
    #[arg(long, value_name = "FILE")]
    known: Vec<PathBuf>,
    /// How often targets are scraped
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    scrape_interval: Duration,
    /// How often groups are evaluated that do not say it
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    evaluation_interval: Duration,
    /// How findings are written
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// Rule files; wildcards are expanded
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints one line a pattern, and each fault or finding with its file and line. Exit code 2 when a
/// file is wrong, 3 when the findings are fatal.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let chosen = chosen(&args.lint)?;
    let mut known = Vec::new();
    for path in &args.known {
        let names = yaml::read(path)?;
        let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
        known.extend(names.filter(|name| !name.starts_with('#')).map(str::to_owned));
    }
    let settings = Settings {
        scrape_interval: args.scrape_interval,
        evaluation_interval: args.evaluation_interval,
        known,
    };
    let (mut groups, mut findings, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for pattern in &args.files {
        match file::load(std::slice::from_ref(pattern)) {
            Ok(found) => {
                let rules: usize = found.iter().map(|group| group.rules.len()).sum();
                let file = pattern.display();
                lines.push(format!("{file}: ok: {rules} rules in {} groups", found.len()));
                groups.extend(found);
            }
            Err(errors) => {
                findings.extend(errors.0.iter().map(|error| invalid(pattern.display(), error)));
            }
        }
    }
    let wrong = !findings.is_empty();
    let mut sources = BTreeMap::new();
    for group in &groups {
        if !sources.contains_key(&group.file) {
            let text = yaml::read(group.file.as_ref())?;
            sources.insert(group.file.clone(), text);
        }
    }
    let odd = lint(&groups, &sources, &settings);
    findings.extend(odd.into_iter().filter(|finding| chosen.contains(&finding.code)));
    match args.output {
        Output::Text => {
            lines.extend(findings.iter().map(shown));
            lines.iter().for_each(|line| println!("{line}"));
        }
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&findings).context("findings")?);
        }
    }
    let warned = findings.iter().any(|finding| finding.severity == Severity::Warning);
    Ok(match () {
        () if wrong => ExitCode::from(2),
        () if args.lint_fatal && warned => ExitCode::from(LINT_FATAL),
        () => ExitCode::SUCCESS,
    })
}

/// The codes that `--lint` names; promtool's own names are understood too.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let mut chosen = Vec::new();
    for name in names {
        match name.as_str() {
            "none" => {}
            "all" => chosen.extend(CODES.iter().map(|(code, _)| *code)),
            "duplicate-rules" => chosen.push("duplicate-rule"),
            name => match CODES.iter().find(|(code, _)| *code == name) {
                Some((code, _)) => chosen.push(*code),
                None => {
                    let codes: Vec<_> = CODES.iter().map(|(code, _)| *code).collect();
                    bail!(
                        "--lint: expected all, none or some of {}, found {name:?}",
                        codes.join(", ")
                    )
                }
            },
        }
    }
    Ok(chosen)
}

fn invalid(file: std::path::Display<'_>, error: &file::RuleError) -> Finding {
    let (at, group, rule) = match error {
        file::RuleError::File(_) | file::RuleError::NoMatch { .. } => (None, "", ""),
        file::RuleError::Group { at, group, .. } => (Some(at), group.as_str(), ""),
        file::RuleError::Rule { at, group, rule, .. } => (Some(at), group.as_str(), rule.as_str()),
    };
    Finding {
        file: file.to_string(),
        line: at.map_or(0, |at| at.line),
        column: at.map_or(0, |at| at.column),
        severity: Severity::Error,
        code: "invalid",
        group: group.to_owned(),
        rule: rule.to_owned(),
        message: crate::model::causes::causes(error),
    }
}

fn shown(finding: &Finding) -> String {
    let Finding { file, line, column, code, rule, message, .. } = finding;
    let severity = match finding.severity {
        // Its message says where it is.
        Severity::Error => return message.clone(),
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    format!("{file}:{line}:{column}: {severity}: {rule}: {message} [{code}]")
}

#[cfg(test)]
mod tests;
