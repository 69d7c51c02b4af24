//! `up`: exporter and alertd in one process, on this host, without configuration or with one file.
#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pitcrew_exporter::config::{self as exporter, duration, state_dir};
use pitcrew_exporter::server::{self, Bound, WebConfig};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::UP;
use crate::api::masked;
use crate::app::{self, App, Source, Start};
use crate::config::{self, Config, DEFAULT_LISTEN, Loaded, Overrides};
use crate::route::config::Notifications;
use crate::rules;
use crate::scrape::config::Settings;

/// The name under which messages about the built-in configuration go.
const BUILT_IN: &str = "built-in configuration";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// alertd.yaml; without `scrape_configs` this host is scraped, without `rule_files` the bundled
    /// rules count, and `github` may have the exporter's keys too (webhook_secret_file, scopes)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of the page and the API; default: the file's, or 127.0.0.1:9611
    #[arg(long, value_name = "ADDR", env = "PITCREW_LISTEN")]
    listen: Option<String>,
    /// Where state is kept; default: the file's, or pitcrew in $XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "DIR", env = "PITCREW_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Listen beyond loopback without TLS and authentication
    #[arg(long)]
    insecure_listen: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    app::log("warn")?;
    let bound = exporter_address().await?;
    let exporter_url = bound.local_addr().to_string();
    let usual = exporter_url == exporter::DEFAULT_LISTEN;
    let why = if usual { "" } else { " (port 9610 is taken)" };
    let exporter = Some(exporter_url.clone());
    let overrides = Overrides { listen: args.listen, data_dir: args.data_dir, exporter };
    let (loaded, source) = match args.config {
        Some(file) => (config::load(&file, &overrides)?, Source::File(file, overrides)),
        None => {
            let data_dir = overrides.data_dir.or_else(|| state_dir(UP));
            let data_dir = data_dir.context("no HOME to keep state in: say --data-dir DIR")?;
            let listen = overrides.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
            let loaded = built_in(listen, &data_dir, &exporter_url)?;
            (loaded.clone(), Source::Made(Box::new(loaded)))
        }
    };
    let data_dir = loaded.config.data_dir.clone();
    let exporter = exporter::Config {
        data_dir: Some(data_dir.join("exporter")),
        github: loaded.config.github.clone(),
        ..exporter::Config::default()
    };
    let rules: usize = loaded.groups.iter().map(|group| group.rules.len()).sum();
    let start = Start {
        insecure_listen: args.insecure_listen,
        exporter: Some((exporter, bound)),
        eager: true,
    };
    let built_in = matches!(source, Source::Made(_));
    let app = App::open(source, start).await?;
    println!("Pitcrew is watching this host.");
    println!("  page      {}/", app.url());
    println!("  exporter  http://{exporter_url}/metrics{why}");
    match built_in {
        true => println!(
            "  rules     {rules} bundled; alerts are shown on the page, nobody is told yet"
        ),
        false => println!("  rules     {rules}"),
    }
    println!("  data      {}", data_dir.display());
    println!("Ctrl-C ends it. For a fleet: pitcrew-alertd run --config alertd.yaml");
    app.run(CancellationToken::new()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The exporter's usual address, or a free one when that is taken.
async fn exporter_address() -> anyhow::Result<Bound> {
    let web = WebConfig::default();
    match server::bind(exporter::DEFAULT_LISTEN, &web, false).await {
        Ok(bound) => Ok(bound),
        Err(_) => Ok(server::bind("127.0.0.1:0", &web, false).await?),
    }
}

fn built_in(listen: &str, data_dir: &Path, exporter: &str) -> anyhow::Result<Loaded> {
    let file = Path::new(BUILT_IN);
    let mut config =
        Config { listen: listen.to_owned(), data_dir: data_dir.to_owned(), ..Config::default() };
    config.watch_host(exporter, true, true)?;
    let scrape = Settings::new(config.global.clone(), config.scrape_configs.clone(), file)?;
    let jobs = config.scrape_configs.iter().map(|job| {
        let targets: Vec<_> = job.static_configs.iter().map(|group| &group.targets).collect();
        let groups = targets.iter().map(|targets| json!({ "targets": targets }));
        json!({ "job_name": job.job_name, "static_configs": groups.collect::<Vec<_>>() })
    });
    let shown = masked::yaml(json!({
        "listen": listen,
        "data_dir": data_dir.to_string_lossy(),
        "global": {
            "scrape_interval": duration::format(config.global.scrape_interval),
            "evaluation_interval": duration::format(config.global.evaluation_interval),
        },
        "scrape_configs": jobs.collect::<Vec<_>>(),
    }));
    let (notifications, file) = (Notifications::none().into(), PathBuf::new());
    Ok(Loaded {
        scrape,
        groups: rules::bundled()?,
        notifications,
        config,
        file,
        shown,
        shown_notifications: "".into(),
    })
}
