//! `alertmanager`: other Alertmanagers that alerts are passed on to.

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::check_url;
use super::place::{HttpFile, Place};
use crate::http_client::HttpClientConfig;

#[derive(Debug, Clone)]
pub struct Alertmanager {
    /// Each is told of everything; paths below which `/api/v2/alerts` lies.
    pub urls: Vec<String>,
    pub http: HttpClientConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertmanagerConfig {
    urls: Vec<Secret>,
    http_config: Option<HttpFile>,
}

impl AlertmanagerConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Alertmanager, Invalid> {
        if self.urls.is_empty() {
            return Err(place.bad("urls", "at least one URL", "none"));
        }
        for (at, url) in self.urls.iter().enumerate() {
            check_url(url).map_err(|found| {
                place.bad(&format!("urls[{at}]"), "an http or https URL", found)
            })?;
        }
        Ok(Alertmanager {
            urls: self.urls.iter().map(|url| url.reveal().to_owned()).collect(),
            http: place.http(self.http_config)?,
        })
    }
}
