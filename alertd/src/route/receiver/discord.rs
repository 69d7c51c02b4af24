//! `discord_configs`: a webhook of Discord.

use std::path::PathBuf;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::SecretSource;
use super::place::{HttpFile, Place};
use crate::http_client::HttpClientConfig;

/// Texts may be templates; one that is absent leaves the wording to the notifier.
#[derive(Debug, Clone)]
pub struct Discord {
    pub send_resolved: bool,
    pub url: SecretSource,
    pub http: HttpClientConfig,
    pub title: Option<String>,
    pub message: Option<String>,
    pub content: Option<String>,
    pub username: Option<String>,
    pub avatar_url: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiscordFile {
    #[serde(default = "super::yes")]
    send_resolved: bool,
    http_config: Option<HttpFile>,
    webhook_url: Option<Secret>,
    webhook_url_file: Option<PathBuf>,
    title: Option<String>,
    message: Option<String>,
    content: Option<String>,
    username: Option<String>,
    avatar_url: Option<String>,
}

impl DiscordFile {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Discord, Invalid> {
        Ok(Discord {
            send_resolved: self.send_resolved,
            url: place.url("webhook_url", self.webhook_url, self.webhook_url_file)?,
            http: place.http(self.http_config)?,
            title: self.title,
            message: self.message,
            content: self.content,
            username: self.username,
            avatar_url: self.avatar_url,
        })
    }
}
