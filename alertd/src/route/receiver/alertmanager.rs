//! `alertmanager`: other Alertmanagers that alerts are passed on to.

use std::time::Duration;

use pitcrew_exporter::config::duration;
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
    /// How long an alert is taken to fire there when nothing more is heard of it.
    pub lease: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertmanagerConfig {
    urls: Vec<Secret>,
    http_config: Option<HttpFile>,
    #[serde(default, with = "duration::optional")]
    lease: Option<Duration>,
}

const DEFAULT_LEASE: Duration = Duration::from_secs(86_400);
/// Less would end between two notifications of most routes.
const MIN_LEASE: Duration = Duration::from_secs(300);

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
        let lease = self.lease.unwrap_or(DEFAULT_LEASE);
        if lease < MIN_LEASE {
            let expected = "at least 5m, and more than the route's repeat_interval";
            return Err(place.bad("lease", expected, duration::format(lease)));
        }
        Ok(Alertmanager {
            lease,
            urls: self.urls.iter().map(|url| url.reveal().to_owned()).collect(),
            http: place.http(self.http_config)?,
        })
    }
}
