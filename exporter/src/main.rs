//! Flags, logging, signals; everything else is the library.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderMap;
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pitcrew_exporter::app::App;
use pitcrew_exporter::config::Config;
use pitcrew_exporter::config::yaml::{self, Invalid};
use pitcrew_exporter::exposition::Format;
use pitcrew_exporter::lifecycle::Signals;
use pitcrew_exporter::server::ServerError;
use pitcrew_exporter::workflows::service::{self, ServiceError};
use pitcrew_exporter::workflows::webhook;
use pitcrew_exporter::{collectors, lifecycle, metrics_md, scrape, server};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What ends the program when its configuration is wrong.
const BAD_CONFIG: u8 = 2;
/// Longest wait for collectors that hang, after the server has ended.
const LINGER: Duration = Duration::from_millis(500);

/// Metrics of this host and its CI runners, for Prometheus.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  pitcrew-exporter once                             print this host's metrics, once
  pitcrew-exporter run                              serve http://127.0.0.1:9610/metrics
  pitcrew-exporter check --config exporter.yaml     is the file good, and what would run?
  PITCREW_EXPORTER_LISTEN=127.0.0.1:9700 pitcrew-exporter run

exporter.yaml, with every key at its default:
  listen: 127.0.0.1:9610
  web: { users: {}, hosts: [], protect_loopback: false }   # and tls: { cert_file, key_file }
  collectors:
    timeout: 5s
    on: []                                                  # names that `check` prints
    off: []
    host: { proc_root: /proc, sys_root: /sys, root: / }
    runner: { roots: [the usual places], rescan: 30s, read_environ: false }
    redis: []                                               # or { streams: [\"jobs:*\"], … }, or a list
  data_dir: $STATE_DIRECTORY, else ~/.local/state/pitcrew-exporter   # what GitHub told
  github:                                                   # none: off; every key is optional
    webhook_secret_file: a file of mode 0600                # turns on POST /webhooks/github
    base_url: https://api.github.com
    auth: { token_file }                                    # or { app_id, installation_id, private_key_file }
    scopes: [{ repository: owner/name }, { organization: name }, { enterprise: name }]
    billing: false                                          # reads the organizations' last day
    budget_share: 1

Flags go before the environment, the environment before the file. SIGHUP reads the file again.
Beyond loopback it serves only with web.tls and web.users, or with --insecure-listen."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve /metrics until SIGTERM
    Run {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        exposure: Exposure,
    },
    /// Print the metrics once and exit
    Once {
        #[command(flatten)]
        settings: Settings,
        #[arg(long, value_enum, default_value_t = Text::Prometheus)]
        format: Text,
    },
    /// Check the configuration, change nothing, and print what would be collected
    Check {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        exposure: Exposure,
        /// Print METRICS.md instead
        #[arg(long)]
        metrics_md: bool,
    },
}

#[derive(Args)]
struct Settings {
    /// YAML file; without it, the defaults
    #[arg(long, value_name = "FILE", env = "PITCREW_EXPORTER_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port to serve on, instead of the file's
    #[arg(long, value_name = "ADDR", env = "PITCREW_EXPORTER_LISTEN")]
    listen: Option<String>,
    /// What to log, such as info, debug or pitcrew_exporter=debug
    #[arg(long, value_name = "FILTER", env = "PITCREW_EXPORTER_LOG", default_value = "info")]
    log: String,
    /// Log JSON objects instead of lines
    #[arg(long, env = "PITCREW_EXPORTER_LOG_JSON", value_parser = BoolishValueParser::new())]
    log_json: bool,
}

#[derive(Args)]
struct Exposure {
    /// Serve beyond loopback without TLS, and to everybody if there are no web.users
    #[arg(long, env = "PITCREW_EXPORTER_INSECURE_LISTEN", value_parser = BoolishValueParser::new())]
    insecure_listen: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Text {
    Prometheus,
    Openmetrics,
}

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().ok();
    let result = match Cli::parse().command {
        Command::Run { settings, exposure } => {
            with_config(settings, |settings, config| run(settings, config, &exposure))
        }
        Command::Once { settings, format } => {
            with_config(settings, |_, config| once(&config, format))
        }
        Command::Check { settings, exposure, metrics_md } => {
            with_config(settings, |_, config| check(&config, &exposure, metrics_md))
        }
    };
    result.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        match (error.downcast_ref(), error.downcast_ref()) {
            (None | Some(ServerError::Bind { .. }), None | Some(ServiceError::Log(_))) => {
                ExitCode::FAILURE
            }
            _ => ExitCode::from(BAD_CONFIG),
        }
    })
}

/// Starts logging, loads and checks the configuration, and hands it on.
fn with_config(
    settings: Settings,
    then: impl FnOnce(Settings, Config) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let filter = match EnvFilter::try_new(&settings.log) {
        Ok(filter) => filter,
        Err(error) => {
            complain(&format!("--log: expected a filter such as info, found an error: {error}"));
            return Ok(ExitCode::from(BAD_CONFIG));
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if settings.log_json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
    match load(settings.config.as_deref(), settings.listen.as_deref()) {
        Ok(config) => then(settings, config),
        Err(error) => {
            complain(&format!("{:#}", anyhow::Error::new(error)));
            Ok(ExitCode::from(BAD_CONFIG))
        }
    }
}

fn load(file: Option<&Path>, listen: Option<&str>) -> Result<Config, Invalid> {
    let mut config: Config = file.map_or_else(|| Ok(Config::default()), yaml::load)?;
    config.start_paths_at(file.and_then(Path::parent).unwrap_or(Path::new("")));
    if let Some(listen) = listen {
        config.listen = listen.to_owned();
    }
    config.check(file.unwrap_or(Path::new("default configuration")))?;
    Ok(config)
}

/// One thread serves; each collector under way has one of its own, which it may block.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // As many as are needed: all collectors may hang, and file systems hang by the dozen.
        .max_blocking_threads(collectors::COLLECTORS.len() + 128)
        .thread_keep_alive(Duration::from_secs(90))
        .build()
        .context("cannot start the runtime")
}

fn run(settings: Settings, config: Config, exposure: &Exposure) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = Signals::catch().context("cannot catch signals")?;
        let Exposure { insecure_listen } = *exposure;
        let bound = server::bind(&config.listen, &config.web, insecure_listen).await?;
        let source = move || load(settings.config.as_deref(), settings.listen.as_deref());
        let app = App::open(&config, Some(Box::new(source)), &stop)?;
        let reloaded = Arc::clone(&app);
        // The outcome of a reload is in the log and the metric.
        let reload = async move || drop(reloaded.reload());
        tokio::spawn(signals.obey(reload, stop.clone(), stop.clone().drop_guard()));
        tokio::spawn(lifecycle::watchdog(stop.clone()));
        lifecycle::ready();
        app.serve(bound, stop).await?;
        anyhow::Ok(())
    });
    // A collector may hang in the kernel; the program does not wait for it.
    runtime.shutdown_timeout(LINGER);
    result.map(|()| ExitCode::SUCCESS)
}

fn once(config: &Config, format: Text) -> anyhow::Result<ExitCode> {
    let format = match format {
        Text::Prometheus => Format::Text004,
        Text::Openmetrics => Format::OpenMetrics100,
    };
    let runtime = runtime()?;
    let page = runtime.block_on(App::new(config, None).page(&HeaderMap::new(), format));
    runtime.shutdown_timeout(LINGER);
    print(&page)
}

fn check(config: &Config, exposure: &Exposure, metrics_md: bool) -> anyhow::Result<ExitCode> {
    if metrics_md {
        return print(&metrics_md::render());
    }
    let listener = server::check(&config.listen, &config.web, exposure.insecure_listen);
    runtime()?.block_on(async {
        listener.await?;
        anyhow::Ok(service::check(config)?)
    })?;
    let mut text = format!("configuration is good; would serve {} and collect:\n", config.listen);
    for entry in scrape::enabled(config) {
        text.push_str(&format!("  {:<12} {} metric families\n", entry.name, entry.descs.len()));
    }
    if let Some(github) = &config.github {
        let webhooks = if github.webhook_secret_file.is_some() { webhook::PATH } else { "off" };
        text.push_str(&format!("webhooks: {webhooks}; scopes: {}\n", github.scopes.len()));
    }
    print(&text)
}

#[expect(clippy::print_stderr, reason = "the last words of the program, to a person")]
fn complain(text: &str) {
    eprintln!("pitcrew-exporter: {text}");
}

/// Writes to standard output; a reader that went away, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
