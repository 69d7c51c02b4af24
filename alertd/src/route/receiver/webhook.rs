//! `webhook_configs`, and the signature that alertd.yaml adds to them.

use std::path::PathBuf;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::SecretSource;
use super::place::{HttpFile, Place};
use crate::http_client::HttpClientConfig;

#[derive(Debug, Clone)]
pub struct Webhook {
    pub send_resolved: bool,
    pub url: SecretSource,
    pub http: HttpClientConfig,
    /// 0: all of them.
    pub max_alerts: usize,
    /// Longest wait for an answer; the time-out of every attempt holds too.
    pub timeout: Option<Duration>,
    /// What each body is signed with, so that the receiver knows who sent it.
    pub signature: Option<SecretSource>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookFile {
    #[serde(default = "super::yes")]
    send_resolved: bool,
    http_config: Option<HttpFile>,
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    #[serde(default)]
    max_alerts: usize,
    #[serde(default, with = "duration::optional")]
    timeout: Option<Duration>,
}

/// `webhook_signature` of alertd.yaml: signs every webhook of the receiver.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureConfig {
    secret: Option<Secret>,
    secret_file: Option<PathBuf>,
}

impl WebhookFile {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Webhook, Invalid> {
        Ok(Webhook {
            send_resolved: self.send_resolved,
            url: place.url("url", self.url, self.url_file)?,
            http: place.http(self.http_config)?,
            max_alerts: self.max_alerts,
            timeout: self.timeout.filter(|timeout| !timeout.is_zero()),
            signature: None,
        })
    }
}

impl SignatureConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<SecretSource, Invalid> {
        place.secret("secret", self.secret, self.secret_file)
    }
}
