//! The command line: one file a sub-command, each with its flags and its `run`.

pub mod alerts;
mod asked;
pub mod backup;
pub mod check;
pub mod check_rules;
pub mod pool;
pub mod query;
pub mod replay;
pub mod restore;
pub mod run;
mod running;
pub mod silence;
pub mod test_promql;
pub mod test_routes;
pub mod test_rules;
pub mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Watches CI runners, tells people, and moves jobs off runners that died.
///
/// Start with `pitcrew-alertd up`: it needs no configuration and prints where to look.
/// For a fleet, write alertd.yaml, let `check config` read it, then `run --config alertd.yaml`.
#[derive(Debug, Parser)]
#[command(
    name = "pitcrew-alertd",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  pitcrew-alertd up                                 watch this host: http://127.0.0.1:9611/
  pitcrew-alertd check config alertd.yaml           is the file good?
  pitcrew-alertd run --config alertd.yaml           watch a fleet; `run --help` shows the file
  pitcrew-alertd query 'up == 0'                    ask the one that runs
  pitcrew-alertd alerts                             what fires, who was told, who looks after it
  pitcrew-alertd alerts ack alertname=X --note ...  it is not repeated, its end is told
  pitcrew-alertd pool show                          who has the label, and why
  pitcrew-alertd backup --to DIR                    copy what it keeps; `restore` brings it back
  PITCREW_LOG=debug pitcrew-alertd up               log more"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Exporter and alertd in one process, bundled rules, loopback only, no configuration
    Up(up::Args),
    /// Run with a configuration file
    Run(run::Args),
    /// Validate files without side effects
    #[command(subcommand)]
    Check(Check),
    /// Run rule unit tests or PromQL scripts
    #[command(subcommand)]
    Test(Test),
    /// Ask a running alertd (or any Prometheus) a PromQL query
    Query(query::Args),
    /// Show what fires, and say who looks after it
    Alerts(alerts::Args),
    /// Keep people from being told of some alerts for a while
    Silence(silence::Args),
    /// What rules would have done over stored history
    Replay(replay::Args),
    /// Show and steer runner pools
    Pool(pool::Args),
    /// Copy all samples and state of a running alertd
    Backup(backup::Args),
    /// Put the samples and state of a backup in place of what alertd has
    Restore(restore::Args),
}

#[derive(Debug, Subcommand)]
pub enum Check {
    /// alertd.yaml and every file it names
    Config(check::Args),
    /// Prometheus rule files
    Rules(check_rules::Args),
}

#[derive(Debug, Subcommand)]
pub enum Test {
    /// Unit-test files in promtool's format
    Rules(test_rules::Args),
    /// Scripts in promqltest's format
    Promql(test_promql::Args),
    /// Who is told of an alert, by Alertmanager's file or alertd.yaml
    Routes(test_routes::Args),
}

/// Under which name `up` keeps its state.
const UP: &str = "pitcrew";

pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Up(args) => up::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Check(Check::Config(args)) => check::run(args).await,
        Command::Test(Test::Rules(args)) => test_rules::run(args),
        Command::Test(Test::Promql(args)) => test_promql::run(args),
        Command::Test(Test::Routes(args)) => test_routes::run(args),
        Command::Check(Check::Rules(args)) => check_rules::run(args),
        Command::Query(args) => query::run(args).await,
        Command::Alerts(args) => alerts::run(args).await,
        Command::Silence(args) => silence::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Pool(args) => pool::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(args).await,
    }
}
