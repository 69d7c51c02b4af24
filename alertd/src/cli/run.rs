//! `run --config FILE`: alertd for a fleet.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// alertd.yaml
    #[arg(long, env = "PITCREW_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Listen beyond loopback without TLS and authentication
    #[arg(long)]
    insecure_listen: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = app::Source::File(args.config);
    app::run(source, app::Start { insecure_listen: args.insecure_listen, exporter: None }).await?;
    Ok(ExitCode::SUCCESS)
}
