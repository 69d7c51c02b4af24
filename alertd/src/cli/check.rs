//! `check config FILE`: everything that can be said about a configuration without side effects.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_exporter::server;
use prometheus_client::registry::Registry;

use crate::config::{self, ConfigError, Loaded, Overrides};
use crate::model::causes::causes;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// As for `run`
    #[arg(long)]
    insecure_listen: bool,
}

/// Prints one line a file. A file that is wrong gives exit code 2.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut wrong = 0;
    for file in &args.files {
        match load(file, args.insecure_listen).await {
            Ok(loaded) => println!(
                "{}: ok: {} scrape configurations, {} rule groups, {} pools",
                file.display(),
                loaded.config.scrape_configs.len(),
                loaded.groups.len(),
                loaded.config.pools.len(),
            ),
            Err(error) => {
                wrong += 1;
                println!("{:#}", anyhow::Error::from(error));
            }
        }
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Also reads the secrets and certificates that are otherwise read at the start or when used.
async fn load(file: &Path, insecure_listen: bool) -> Result<Loaded, ConfigError> {
    let loaded = config::load(file, &Overrides::default())?;
    server::check(&loaded.config.listen, &loaded.config.web, insecure_listen).await?;
    if let Some(github) = loaded.config.github.as_ref().filter(|it| it.auth.is_some()) {
        Github::new(github, GithubMetrics::new(&mut Registry::default(), "pitcrew_alertd"))?;
    }
    if let Some(source) = &loaded.config.metrics.prometheus {
        source.http.check_files().map_err(|error| {
            Invalid::value(file, "metrics.prometheus", "files that can be used", causes(&error))
        })?;
    }
    for remote in &loaded.config.remote_write {
        remote.http.check_files().map_err(|error| {
            let key = format!("remote_write[{}]", remote.name);
            Invalid::value(file, key, "files that can be used", causes(&error))
        })?;
    }
    for (number, alertmanager) in loaded.config.alerting.alertmanagers.iter().enumerate() {
        alertmanager.http.check_files().map_err(|error| {
            let key = format!("alerting.alertmanagers[{number}]");
            Invalid::value(file, key, "files that can be used", causes(&error))
        })?;
    }
    if let Some(heartbeat) = &loaded.config.heartbeat {
        heartbeat.check_files(file)?;
    }
    loaded.scrape.check_secrets(file)?;
    Ok(loaded)
}
