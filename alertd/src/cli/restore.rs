//! `restore --from DIR`: what `backup` wrote takes the place of what alertd has.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::running::Running;
use crate::backup::restore;
use crate::db::{self, DbError};

/// Longest wait for a restart.
const RESTART: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The backup is copied into the data directory and checked, byte by byte, before anything is replaced.
With a stopped alertd, name its directory with --data-dir. A running one ends, begins anew in the
same process, and answers with the backup's data. What was there is kept in `before-restore` of the
data directory until the next restore. What had not been sent when the backup was made is sent.")]
pub struct Args {
    /// A folder written by `backup`
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    running: Running,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data_dir = args.running.data_dir();
    let manifest = restore::stage(&args.from, &data_dir)?;
    let made = format!("backup of {} by alertd {}", manifest.made_at.rfc3339(), manifest.alertd);
    match db::lock(&data_dir) {
        Ok(lock) => {
            let replaced = restore::apply(&data_dir)?;
            drop(lock);
            println!("{made} is in {}: start alertd", data_dir.display());
            tell(replaced.as_deref());
        }
        Err(DbError::InUse(_)) => {
            if let Err(error) = args.running.order("api/admin/restore", json!({})).await {
                restore::unstage(&data_dir)?;
                let why = "alertd runs, but not at this address; nothing was changed. Name it with \
                           --url, or stop it and try again";
                return Err(error.context(why));
            }
            let back = timeout(RESTART, async {
                while restore::is_staged(&data_dir) || !args.running.is_ready().await {
                    sleep(LOOK_AGAIN).await;
                }
            });
            if back.await.is_err() {
                bail!("alertd did not come back within {RESTART:?}; its log says why");
            }
            println!("{made} is in {}, and alertd runs with it", data_dir.display());
            tell(Some(&data_dir.join(restore::REPLACED)));
        }
        Err(error) => {
            restore::unstage(&data_dir)?;
            return Err(error).context("cannot use the data directory");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(replaced: Option<&Path>) {
    if let Some(replaced) = replaced {
        println!("what was there before is in {}", replaced.display());
    }
}
