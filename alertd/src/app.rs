//! Wiring: what lives as long as the program, and the loop that reloads the rest.

mod core;
mod generation;
mod web;

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use pitcrew_exporter::lifecycle::{self, Signals};
use pitcrew_exporter::server::{self, Bound};
use pitcrew_exporter::{app as exporter, config as exporter_config};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::core::Core;
use self::generation::Generation;
use crate::api::{operator, slack};
use crate::config::{self, ConfigError, Loaded, Overrides};

/// Where the configuration comes from.
#[derive(Debug)]
pub enum Source {
    /// A file, read again on reload, and what stands in its place all the same.
    File(PathBuf, Overrides),
    /// Made by the program; it does not change.
    Made(Box<Loaded>),
}

/// What the command line decides.
#[derive(Debug, Default)]
pub struct Start {
    pub insecure_listen: bool,
    /// With one, the exporter runs in this process too.
    pub exporter: Option<(exporter_config::Config, Bound)>,
    /// Scrape and evaluate at once instead of at each one's place in its interval.
    pub eager: bool,
}

/// A wish to reload; the answer says what is wrong with the new configuration, if anything.
pub(crate) type Reload = oneshot::Sender<Result<(), String>>;

/// An alertd that has its address and its data, and does not run yet.
pub struct App {
    source: Source,
    loaded: Loaded,
    start: Start,
    bound: Bound,
    core: Core,
    signals: Signals,
}

impl App {
    /// Loads the configuration, opens the data directory and takes the address.
    ///
    /// # Errors
    /// When the configuration is wrong, the data directory is in use, or the address is taken.
    pub async fn open(source: Source, start: Start) -> anyhow::Result<App> {
        let signals = Signals::catch().context("cannot catch signals")?;
        let loaded = match &source {
            Source::File(file, overrides) => config::load(file, overrides)?,
            Source::Made(loaded) => Loaded::clone(loaded),
        };
        let config = &loaded.config;
        server::check(&config.listen, &config.web, start.insecure_listen).await?;
        let mut core = Core::open(&loaded)?;
        let token = operator::token(&config.data_dir).context("operator token")?;
        let bound = server::bind(&config.listen, &config.web, start.insecure_listen).await?;
        let mut bound = bound.with_operator(&token).with_open_path(slack::PATH);
        for path in web::READ_ONLY.into_iter().chain(web::JUDGED) {
            bound = bound.with_read_only(path);
        }
        if let Some(host) = config.external_url.as_deref().and_then(web::host) {
            bound = bound.with_host(&host);
        }
        core.exposed = !bound.local_addr().ip().to_canonical().is_loopback();
        Ok(App { source, loaded, start, bound, core, signals })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        format!("{}://{}", self.bound.scheme(), self.bound.local_addr())
    }

    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Runs until `stop`, SIGTERM or SIGINT.
    ///
    /// # Errors
    /// When a part cannot be set up, or ends although nothing asked it to.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let App { source, mut loaded, start, bound, core, signals } = self;
        let github = generation::github(&core, &loaded)?;
        let (wishes, mut reloads) = mpsc::channel::<Reload>(1);
        let tasks = TaskTracker::new();
        let guard = || stop.clone().drop_guard();
        let front = web::Front::default();
        let router = front.router(core.clone(), wishes.clone());
        let serve = server::serve(bound, router, stop.clone());
        tasks.spawn(guarded(async move { serve.await.map_err(Into::into) }, guard()));
        if let Some((config, bound)) = start.exporter {
            let run = exporter::run(config, bound, stop.clone());
            tasks.spawn(guarded(async move { run.await.map_err(Into::into) }, guard()));
        }
        tasks.spawn(core.clone().look_after(
            loaded.scrape.clone(),
            start.eager,
            stop.clone(),
            guard(),
        ));
        let on_signal = async move || {
            let (reply, answer) = oneshot::channel();
            // Both ends live as long as the program; its end is no news here.
            if wishes.send(reply).await.is_ok() {
                answer.await.ok();
            }
        };
        tasks.spawn(signals.obey(on_signal, stop.clone(), guard()));
        tasks.spawn(lifecycle::watchdog(stop.clone()));

        let mut generation = Generation::start(&core, &loaded, github, start.eager, &stop)?;
        front.show(generation.router());
        lifecycle::ready();
        let mut failed = None;
        loop {
            let reply = tokio::select! {
                () = stop.cancelled() => break,
                () = core.restart.cancelled() => break,
                () = generation.failed() => {
                    failed = Some(anyhow::anyhow!("a part of alertd ended by itself; its log line says why"));
                    break;
                }
                Some(reply) = reloads.recv() => reply,
            };
            // Whatever can be wrong is found out before the old generation ends.
            let new = reread(&source).map_err(anyhow::Error::from);
            let new = new.and_then(|new| {
                let github = generation::github(&core, &new)?;
                core.forward_to(&new.config.remote_write).context("remote_write")?;
                Ok((github, new))
            });
            let answer = match new {
                Ok((github, new)) => {
                    let ending = generation.end(Instant::now() + generation::DRAIN);
                    if stop.run_until_cancelled(ending).await.is_none() {
                        break;
                    }
                    say_what_stays(&loaded, &new);
                    core.scrape_settings(new.scrape.clone());
                    generation = Generation::start(&core, &new, github, start.eager, &stop)?;
                    front.show(generation.router());
                    loaded = new;
                    core.reloaded(true);
                    info!("configuration reloaded");
                    Ok(())
                }
                Err(error) => {
                    core.reloaded(false);
                    let error = format!("{error:#}");
                    error!(error, "reload failed, the old configuration stays");
                    Err(error)
                }
            };
            reply.send(answer).ok();
        }
        stop.cancel();
        let end = Instant::now() + generation::DRAIN;
        generation.end(end).await;
        tasks.close();
        if timeout_at(end, tasks.wait()).await.is_err() {
            warn!(left = tasks.len(), "stopped before every task had ended");
        }
        if core.restart.is_cancelled() {
            failed = Some(begin_anew());
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Replaces this process by a new one of the same program, with the same number and arguments;
/// returns only when that cannot be done.
fn begin_anew() -> anyhow::Error {
    info!("beginning anew");
    let begun = env::current_exe().map(|program| {
        #[expect(
            clippy::disallowed_methods,
            reason = "there is nothing to time: it does not return"
        )]
        let mut command = Command::new(program);
        command.args(env::args_os().skip(1)).exec()
    });
    let error = begun.unwrap_or_else(|error| error);
    anyhow::Error::new(error).context("cannot begin anew; start it again")
}

fn reread(source: &Source) -> Result<Loaded, ConfigError> {
    match source {
        Source::File(file, overrides) => config::load(file, overrides),
        Source::Made(loaded) => Ok(Loaded::clone(loaded)),
    }
}

/// What is fixed at the start keeps its old value; the log says so.
fn say_what_stays(old: &Loaded, new: &Loaded) {
    let fixed = |Loaded { config, .. }: &Loaded| {
        format!(
            "{:?}",
            (&config.listen, &config.data_dir, &config.web, &config.metrics, &config.query)
        )
    };
    if fixed(old) != fixed(new) {
        warn!("listen, data_dir, web, metrics and query change at the next start");
    }
}

/// Runs one root task; when it ends, the program does.
async fn guarded(
    work: impl Future<Output = anyhow::Result<()>>,
    _guard: tokio_util::sync::DropGuard,
) {
    if let Err(error) = work.await {
        error!(error = format!("{error:#}"), "a root task failed");
    }
}

/// Starts logging to standard error; `PITCREW_LOG` is a filter such as `info` or `debug`.
pub fn log(default: &str) -> anyhow::Result<()> {
    let filter = std::env::var("PITCREW_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .context("PITCREW_LOG: expected a filter such as info")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(false).init();
    Ok(())
}
