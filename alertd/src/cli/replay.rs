//! `replay`: what rules would have done over stored history, and how two sets of them differ.
#![expect(clippy::print_stdout, reason = "a command line prints")]

mod history;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use pitcrew_exporter::config::duration;
use serde::Serialize;

use self::history::History;
use super::asked::Asked;
use crate::api::params::{parse_duration, parse_time};
use crate::clock;
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::Matcher;
use crate::model::sample::Timestamp;
use crate::promql::Options;
use crate::rules::file::{self, GroupSpec};
use crate::rules::replay::compare::{Comparison, compare};
use crate::rules::replay::{Plan, Replayed, replay};
use crate::rules::template::Surroundings;

/// Examples: `replay --from 24h rules/*.yaml`, `replay --from 2026-11-20T00:00:00Z --to
/// 2026-11-21T00:00:00Z --data-dir backup --against new.yaml old.yaml`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First evaluation: RFC 3339, Unix seconds, or how long ago (24h)
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Last time; the same forms, or now
    #[arg(long, value_name = "TIME", default_value = "now")]
    to: String,
    /// Another set of rules to compare with; may be given again
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Read a data directory that no alertd uses, or a backup, instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "file"])]
    data_dir: Option<PathBuf>,
    /// How often groups are evaluated that do not say it
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::parse)]
    evaluation_interval: Duration,
    /// How the outcome is written
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    /// Rule files; wildcards are expanded
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Everything that is told.
#[derive(Debug, Serialize)]
struct Outcome {
    from: String,
    to: String,
    #[serde(skip)]
    ends: Timestamp,
    a: Replayed,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<Replayed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

/// Prints what would have fired. Exit code 1 when a rule failed on the history.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let (from, to) = (moment("--from", &args.from, now)?, moment("--to", &args.to, now)?);
    if from >= to {
        bail!("expected --from before --to, found {} and {}", from.rfc3339(), to.rfc3339());
    }
    if args.evaluation_interval.is_zero() {
        bail!("--evaluation-interval: expected more than 0s, found 0s");
    }
    let ours = file::load(&args.files)?;
    let others = match args.against.is_empty() {
        true => None,
        false => Some(file::load(&args.against)?),
    };
    let history = match &args.data_dir {
        Some(folder) => History::folder(folder, now)?,
        None => History::api(&args.asked.url, args.asked.client()?)?,
    };
    let plan = Plan {
        from,
        to,
        evaluation_interval: args.evaluation_interval,
        around: Surroundings::default(),
        options: Options { subquery_step: args.evaluation_interval, ..Options::default() },
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let played = {
        let cancel = Arc::clone(&cancel);
        // The store may ask over the network, and waits for it on its own thread.
        let work = move || play(&ours, others.as_deref(), &history, &plan, &cancel);
        tokio::task::spawn_blocking(work)
    };
    let outcome = tokio::select! {
        outcome = played => outcome.context("the replay broke off")??,
        _ = tokio::signal::ctrl_c() => {
            cancel.store(true, Ordering::Relaxed);
            bail!("cancelled");
        }
    };
    match args.output {
        Output::Table => println!("{}", table::text(&outcome).trim_end()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&outcome)?),
    }
    let sets = [Some(&outcome.a), outcome.b.as_ref()];
    let failed = sets.into_iter().flatten().flat_map(|set| &set.rules).any(|r| r.failures > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn play(
    ours: &[GroupSpec],
    others: Option<&[GroupSpec]>,
    history: &History,
    plan: &Plan,
    cancel: &AtomicBool,
) -> anyhow::Result<Outcome> {
    // A source that does not answer at all is one error, not one for each evaluation.
    let up = [Matcher::equal(METRIC_NAME, "up")];
    history
        .store()
        .latest(&up, plan.to, plan.options.lookback)
        .context("cannot read the history")?;
    let a = replay(ours, history.store(), plan, cancel)?;
    let b = others.map(|others| replay(others, history.store(), plan, cancel)).transpose()?;
    let comparison = b.as_ref().map(|b| compare(&a.firings, &b.firings));
    let (from, to) = (plan.from.rfc3339(), plan.to.rfc3339());
    Ok(Outcome { from, to, ends: plan.to, a, b, comparison })
}

fn moment(key: &str, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if text == "now" {
        return Ok(now);
    }
    let ago = || duration::parse(text).ok().or_else(|| parse_duration(text.strip_prefix('-')?));
    let found = parse_time(text).or_else(|| Some(now.minus(ago()?)));
    found.with_context(|| {
        format!(
            "{key}: expected RFC 3339, Unix seconds, or how long ago such as 24h, found {text:?}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Timestamp(1_000_000_000);
        for (text, want) in [
            ("now", 1_000_000_000),
            ("10s", 999_990_000),
            ("-10s", 999_990_000),
            ("1970-01-01T00:00:01Z", 1000),
            ("1.5", 1500),
        ] {
            assert_eq!(moment("--from", text, now).unwrap(), Timestamp(want), "{text}");
        }
        let error = moment("--to", "yesterday", now).unwrap_err().to_string();
        assert!(error.starts_with("--to: expected RFC 3339"), "{error}");
    }
}
