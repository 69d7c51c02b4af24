//! What `github:` in exporter.yaml turns on: the log, and the door for webhooks.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, warn};

use super::intake::Intake;
use super::log::LogError;
use super::webhook::Webhook;
use crate::config::{Config, state_dir};
use crate::github::config::GithubConfig;
use crate::metric::Families;
use crate::secret::{Secret, SecretError};

/// Ends with its last clone.
pub struct Service {
    intake: Intake,
    webhook: Webhook,
    data_dir: PathBuf,
    _running: DropGuard,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("github.webhook_secret_file")]
    Secret(#[from] SecretError),
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
        Ok(Some(Service { intake, webhook, data_dir, _running: running.drop_guard() }))
    }

    /// Takes a new configuration; the folder stays until the next start.
    ///
    /// # Errors
    /// When the secret cannot be read; nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<(), ServiceError> {
        let Some(github) = &config.github else { return Ok(()) };
        let secret = secret(github)?;
        if data_dir(config)? != self.data_dir {
            warn!("data_dir changed, which takes effect at the next start");
        }
        self.webhook.set_secret(secret.as_ref());
        self.intake.configure(Arc::new(github.metrics.clone()));
        Ok(())
    }

    /// Answers a request to [`super::webhook::PATH`].
    pub async fn receive(&self, request: Request) -> Response {
        self.webhook.receive(&self.intake, request).await
    }

    /// All that is known of workflows at `now`, in seconds since the Unix epoch.
    pub fn families(&self, now: f64) -> Families {
        let mut out = Families::default();
        self.intake.with_state(|state, fleet| state.families(now, fleet, &mut out));
        self.intake.families(&mut out);
        self.webhook.families(&mut out);
        out
    }

    pub fn intake(&self) -> &Intake {
        &self.intake
    }
}

/// Reads what `config` names and opens nothing, for `check`.
pub fn check(config: &Config) -> Result<(), ServiceError> {
    match &config.github {
        Some(github) => secret(github).and_then(|_| data_dir(config)).map(drop),
        None => Ok(()),
    }
}

fn secret(github: &GithubConfig) -> Result<Option<Secret>, ServiceError> {
    let file = github.webhook_secret_file.as_deref();
    Ok(file.map(Secret::read).transpose()?)
}

fn data_dir(config: &Config) -> Result<PathBuf, ServiceError> {
    let given = config.data_dir.clone();
    given.or_else(|| state_dir("pitcrew-exporter")).ok_or(ServiceError::NoFolder)
}
