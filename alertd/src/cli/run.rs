//! `run --config FILE`: alertd for a fleet.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Source, Start};

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
    app::log("info")?;
    let start = Start { insecure_listen: args.insecure_listen, ..Start::default() };
    App::open(Source::File(args.config), start).await?.run(CancellationToken::new()).await?;
    Ok(ExitCode::SUCCESS)
}
