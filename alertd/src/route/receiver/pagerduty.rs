//! `pagerduty_configs`: a service of PagerDuty.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::place::{HttpFile, Place};
use super::{SecretSource, check_url};
use crate::http_client::HttpClientConfig;

const EVENTS_V2: &str = "https://events.pagerduty.com/v2/enqueue";

/// Texts may be templates; one that is absent leaves the wording to the notifier.
#[derive(Debug, Clone)]
pub struct PagerDuty {
    pub send_resolved: bool,
    pub http: HttpClientConfig,
    /// Where events of version 2 go.
    pub url: String,
    pub key: PagerDutyKey,
    pub client: Option<String>,
    pub client_url: Option<String>,
    pub description: Option<String>,
    pub details: BTreeMap<String, String>,
    pub images: Vec<PagerDutyImage>,
    pub links: Vec<PagerDutyLink>,
    pub source: Option<String>,
    pub severity: Option<String>,
    pub class: Option<String>,
    pub component: Option<String>,
    pub group: Option<String>,
}

/// Which of its two interfaces a service is reached by.
#[derive(Debug, Clone)]
pub enum PagerDutyKey {
    /// Events API, version 2.
    Routing(SecretSource),
    /// The older one, for integrations of type "Prometheus".
    Service(SecretSource),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDutyImage {
    pub src: String,
    pub alt: String,
    pub href: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDutyLink {
    pub href: String,
    pub text: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PagerDutyFile {
    #[serde(default = "super::yes")]
    send_resolved: bool,
    http_config: Option<HttpFile>,
    service_key: Option<Secret>,
    service_key_file: Option<PathBuf>,
    routing_key: Option<Secret>,
    routing_key_file: Option<PathBuf>,
    url: Option<Secret>,
    client: Option<String>,
    client_url: Option<String>,
    description: Option<String>,
    #[serde(default)]
    details: BTreeMap<String, String>,
    #[serde(default)]
    images: Vec<PagerDutyImage>,
    #[serde(default)]
    links: Vec<PagerDutyLink>,
    source: Option<String>,
    severity: Option<String>,
    class: Option<String>,
    component: Option<String>,
    group: Option<String>,
}

impl PagerDutyFile {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<PagerDuty, Invalid> {
        let url = self.url.or_else(|| place.global.pagerduty_url.clone());
        let url = url.unwrap_or_else(|| Secret::new(EVENTS_V2));
        check_url(&url).map_err(|found| place.bad("url", "an http or https URL", found))?;
        let routing =
            place.optional_secret("routing_key", self.routing_key, self.routing_key_file)?;
        let service =
            place.optional_secret("service_key", self.service_key, self.service_key_file)?;
        // With both, Alertmanager takes the newer interface.
        let key = match (routing, service) {
            (Some(key), _) => PagerDutyKey::Routing(key),
            (None, Some(key)) => PagerDutyKey::Service(key),
            (None, None) => {
                let expected = "a routing_key or a service_key, here or in a file";
                return Err(place.bad("routing_key", expected, "none"));
            }
        };
        Ok(PagerDuty {
            send_resolved: self.send_resolved,
            http: place.http(self.http_config)?,
            url: url.reveal().to_owned(),
            key,
            source: self.source.or_else(|| self.client.clone()),
            client: self.client,
            client_url: self.client_url,
            description: self.description,
            details: self.details,
            images: self.images,
            links: self.links,
            severity: self.severity,
            class: self.class,
            component: self.component,
            group: self.group,
        })
    }
}
