//! `heartbeat`: a URL that is asked as long as an alert that always fires is told.

use std::path::PathBuf;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::SecretSource;
use super::place::{HttpFile, Place};
use crate::http_client::HttpClientConfig;

#[derive(Debug, Clone)]
pub struct Heartbeat {
    pub url: SecretSource,
    pub http: HttpClientConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeartbeatConfig {
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    http_config: Option<HttpFile>,
}

impl HeartbeatConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Heartbeat, Invalid> {
        let url = place.url("url", self.url, self.url_file)?;
        Ok(Heartbeat { url, http: place.http(self.http_config)? })
    }
}
