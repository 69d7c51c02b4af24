//! What `github:` in exporter.yaml turns on: the log, the door for webhooks, and polls.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Request;
use axum::response::Response;
use prometheus_client::registry::Registry;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, warn};

use super::intake::Intake;
use super::log::LogError;
use super::poll::{self, Poll};
use super::runners;
use super::webhook::Webhook;
use crate::config::{Config, state_dir};
use crate::exposition::registry_families;
use crate::github::Github;
use crate::github::config::GithubConfig;
use crate::github::error::GithubError;
use crate::github::metrics::GithubMetrics;
use crate::metric::Families;
use crate::secret::{Secret, SecretError};

/// Ends when it is dropped.
pub struct Service {
    intake: Intake,
    webhook: Webhook,
    polls: Mutex<Polls>,
    data_dir: PathBuf,
    calls: GithubMetrics,
    registry: Registry,
    _running: DropGuard,
}

/// The poller of one configuration, if that has scopes; it ends with this.
struct Polls {
    config: GithubConfig,
    running: Option<(Poll, DropGuard)>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("github.webhook_secret_file")]
    Secret(#[from] SecretError),
    #[error("github")]
    Github(#[from] GithubError),
    #[error("data_dir: expected a folder, found none, and no HOME to keep state in")]
    NoFolder,
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Service {
    /// Opens the log and rebuilds what it tells; `None` without a section `github`. Must run
    /// within a tokio runtime.
    ///
    /// Cancels `stop` should the log break down later: then nothing could be accepted any more.
    pub fn open(
        config: &Config,
        stop: &CancellationToken,
    ) -> Result<Option<Service>, ServiceError> {
        let Some(github) = &config.github else { return Ok(None) };
        let webhook = Webhook::new(secret(github)?.as_ref());
        let mut registry = Registry::default();
        let calls = GithubMetrics::new(&mut registry, "pitcrew_exporter");
        let client = client(github, &calls)?;
        let data_dir = data_dir(config)?;
        let intake = Intake::open(&data_dir, Arc::new(github.metrics.clone()))?;
        let running = CancellationToken::new();
        let (broken, stop, run) = (intake.broken(), stop.clone(), running.clone());
        tokio::spawn(async move {
            if run.run_until_cancelled(broken.cancelled()).await.is_some() {
                error!("the workflows' log broke down");
                stop.cancel();
            }
        });
        let polls = Mutex::new(Polls::start(github, client, &intake));
        let _running = running.drop_guard();
        Ok(Some(Service { intake, webhook, polls, data_dir, calls, registry, _running }))
    }

    /// Takes a new configuration; the folder stays until the next start.
    ///
    /// # Errors
    /// When a secret cannot be read; nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<(), ServiceError> {
        let Some(github) = &config.github else { return Ok(()) };
        let secret = secret(github)?;
        let changed = self.polls().config != *github;
        let client = if changed { client(github, &self.calls)? } else { None };
        if data_dir(config)? != self.data_dir {
            warn!("data_dir changed, which takes effect at the next start");
        }
        self.webhook.set_secret(secret.as_ref());
        self.intake.configure(Arc::new(github.metrics.clone()));
        if changed {
            // Runners of a scope that is no longer read would stay for ever.
            let names: Vec<_> = github.scopes.iter().map(ToString::to_string).collect();
            self.intake.change_fleet(|fleet| fleet.scopes.retain(|name, _| names.contains(name)));
            *self.polls() = Polls::start(github, client, &self.intake);
        }
        Ok(())
    }

    /// Answers a request to [`super::webhook::PATH`].
    pub async fn receive(&self, request: Request) -> Response {
        self.webhook.receive(&self.intake, request).await
    }

    /// All that is known of workflows at `now`, in seconds since the Unix epoch.
    pub fn families(&self, now: f64) -> Families {
        let mut out = Families::default();
        self.intake.with_state(|state, fleet| {
            state.families(now, fleet, &mut out);
            runners::families(fleet, &mut out);
        });
        self.intake.families(&mut out);
        self.webhook.families(&mut out);
        if let Some((poll, _)) = &self.polls().running {
            poll.families(&mut out);
            out.merge(registry_families(&self.registry));
        }
        out
    }

    fn polls(&self) -> MutexGuard<'_, Polls> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Polls {
    fn start(config: &GithubConfig, client: Option<Github>, intake: &Intake) -> Polls {
        let running = client.map(|client| {
            let settings = poll::Settings {
                scopes: config.scopes.clone(),
                webhooks: config.webhook_secret_file.is_some(),
                billing: config.billing,
                ..poll::Settings::default()
            };
            let poll = Poll::new(&client, settings, intake.clone());
            let stop = CancellationToken::new();
            tokio::spawn(poll.clone().run(stop.clone()));
            (poll, stop.drop_guard())
        });
        Polls { config: config.clone(), running }
    }
}

/// Reads what `config` names and opens nothing, for `check`. Must run within a tokio runtime.
pub fn check(config: &Config) -> Result<(), ServiceError> {
    let Some(github) = &config.github else { return Ok(()) };
    secret(github)?;
    client(github, &GithubMetrics::default())?;
    data_dir(config).map(drop)
}

fn secret(github: &GithubConfig) -> Result<Option<Secret>, ServiceError> {
    let file = github.webhook_secret_file.as_deref();
    Ok(file.map(Secret::read).transpose()?)
}

/// Who polls; nobody without scopes.
fn client(github: &GithubConfig, calls: &GithubMetrics) -> Result<Option<Github>, ServiceError> {
    match github.scopes.is_empty() {
        true => Ok(None),
        false => Ok(Some(Github::new(github, calls.clone())?)),
    }
}

fn data_dir(config: &Config) -> Result<PathBuf, ServiceError> {
    let given = config.data_dir.clone();
    given.or_else(|| state_dir("pitcrew-exporter")).ok_or(ServiceError::NoFolder)
}
