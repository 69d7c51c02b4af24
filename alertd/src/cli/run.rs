//! `run --config FILE`: alertd for a fleet.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::app::{self, App, Source, Start};
use crate::config::Overrides;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
alertd.yaml; every key is optional, relative paths begin at its folder:
  listen: 127.0.0.1:9611
  data_dir: data                            # state and the operator token
  external_url: https://pitcrew.example.org
  global: { scrape_interval: 30s, evaluation_interval: 1m }
  metrics: { embedded: { retention: 15d, retention_size: 10GB } }   # no size: no bound
  scrape_configs:                           # as Prometheus has them
    - { job_name: pitcrew-exporter, static_configs: [{ targets: ['192.168.0.201:9610'] }] }
  rule_files: [rules/*.yaml]                # Prometheus rule files
  notifications: alertmanager.yaml          # in Alertmanager's format
  github: { auth: { token_file: github-token } }
  pools:
    - name: ci
      label: ci-active                      # what workflows ask for in runs-on
      scope: { repository: owner/name }
      trust: shadow                         # then approve, then auto
      members:
        - { name: primary, runners: ['dell-*'], instances: ['192.168.0.201:9610'], capacity: 8 }
        - { name: backup, runners: ['spare-*'], instances: ['192.168.0.202:9610'], capacity: 4 }

`pitcrew-alertd check config FILE` says what is wrong with it. SIGHUP, and POST /-/reload with the
operator token, read it again; a bad file changes nothing. PITCREW_LOG=debug logs more.
Flags go before the environment, the environment before the file.
Beyond loopback it serves only with web.tls and web.users, or with --insecure-listen.")]
pub struct Args {
    /// alertd.yaml
    #[arg(long, env = "PITCREW_CONFIG", value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Listen beyond loopback without TLS and authentication
    #[arg(long)]
    insecure_listen: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    app::log("info")?;
    let start = Start { insecure_listen: args.insecure_listen, ..Start::default() };
    let app = App::open(Source::File(args.config, args.overrides), start).await?;
    let github = app.loaded().config.github.as_ref();
    if github.is_some_and(|it| it.webhook_secret_file.is_some() || !it.scopes.is_empty()) {
        warn!("github.webhook_secret_file and github.scopes are the exporter's; `up` runs it too");
    }
    app.run(CancellationToken::new()).await?;
    Ok(ExitCode::SUCCESS)
}
