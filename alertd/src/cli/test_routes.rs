//! `test routes FILE LABEL=VALUE…`: who would be told of an alert with these labels.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::config;
use crate::model::labels::Labels;
use crate::model::matcher::MatchOp;
use crate::route::matchers;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Alertmanager's file, or alertd.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The alert's labels, as in severity=page
    #[arg(value_name = "LABEL=VALUE")]
    labels: Vec<String>,
    /// Exit with 1 unless these receivers are told, in this order: team,pager
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    expect: Vec<String>,
    /// Also print the route that each receiver is told by, and how it groups
    #[arg(long)]
    routes: bool,
}

/// Prints the receivers, separated by commas.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = config::routing(&args.file)?;
    let mut pairs = Vec::new();
    for text in &args.labels {
        for matcher in matchers::parse(text).with_context(|| format!("label {text}"))? {
            if matcher.op != MatchOp::Equal {
                bail!("label {text}: expected LABEL=VALUE, found another operator");
            }
            pairs.push((matcher.name, matcher.value));
        }
    }
    let labels = Labels::from_pairs(pairs);
    let routes = config.tree.matching(&labels).into_iter();
    let routes: Vec<_> = routes.filter_map(|at| config.tree.routes.get(at)).collect();
    let receivers: Vec<&str> = routes.iter().map(|route| route.receiver.as_str()).collect();
    println!("{}", receivers.join(","));
    if args.routes {
        for route in &routes {
            println!("{}: {}", route.receiver, route.group_key(&route.group_labels(&labels)));
        }
    }
    Ok(match args.expect.is_empty() || args.expect == receivers {
        true => ExitCode::SUCCESS,
        false => {
            println!("expected {}", args.expect.join(","));
            ExitCode::FAILURE
        }
    })
}
