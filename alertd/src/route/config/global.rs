//! The `global` section of Alertmanager's file: what receivers take where they say nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::http_client::TlsConfig;
use crate::route::receiver::check_url;
use crate::route::receiver::place::{HttpFile, Place};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::route) struct Global {
    #[serde(with = "duration::optional")]
    pub(in crate::route) resolve_timeout: Option<Duration>,
    pub(in crate::route) http_config: Option<HttpFile>,
    pub(in crate::route) slack_api_url: Option<Secret>,
    pub(in crate::route) slack_api_url_file: Option<PathBuf>,
    pub(in crate::route) smtp_smarthost: Option<String>,
    pub(in crate::route) smtp_from: Option<String>,
    pub(in crate::route) smtp_hello: Option<String>,
    pub(in crate::route) smtp_auth_username: Option<String>,
    pub(in crate::route) smtp_auth_password: Option<Secret>,
    pub(in crate::route) smtp_auth_password_file: Option<PathBuf>,
    pub(in crate::route) smtp_auth_identity: Option<String>,
    pub(in crate::route) smtp_auth_secret: Option<Secret>,
    pub(in crate::route) smtp_auth_secret_file: Option<PathBuf>,
    pub(in crate::route) smtp_require_tls: Option<bool>,
    pub(in crate::route) smtp_force_implicit_tls: Option<bool>,
    pub(in crate::route) smtp_tls_config: Option<TlsConfig>,
    pub(in crate::route) pagerduty_url: Option<Secret>,
    // Of receivers that are refused where they are configured: alone they do nothing.
    jira_api_url: Present,
    opsgenie_api_key: Present,
    opsgenie_api_key_file: Present,
    opsgenie_api_url: Present,
    rocketchat_api_url: Present,
    rocketchat_token: Present,
    rocketchat_token_file: Present,
    rocketchat_token_id: Present,
    rocketchat_token_id_file: Present,
    telegram_api_url: Present,
    victorops_api_key: Present,
    victorops_api_key_file: Present,
    victorops_api_url: Present,
    webex_api_url: Present,
    wechat_api_corp_id: Present,
    wechat_api_secret: Present,
    wechat_api_url: Present,
}

/// Whether a key stands in the file whose value this program does not act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::route) struct Present(pub(in crate::route) bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Present, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Present(true))
    }
}

impl Global {
    /// Refuses two sources for one secret and what no receiver could use.
    pub(super) fn check(&self, file: &Path) -> Result<(), Invalid> {
        let place = Place::new(file, "global".to_owned(), self);
        place.http(None)?;
        place.tls(None)?;
        for (name, url) in
            [("slack_api_url", &self.slack_api_url), ("pagerduty_url", &self.pagerduty_url)]
        {
            let checked = url.as_ref().map_or(Ok(()), |url| check_url(url).map(drop));
            checked.map_err(|found| place.bad(name, "an http or https URL", found))?;
        }
        let smarthost = self.smtp_smarthost.as_deref().filter(|text| !text.is_empty());
        let port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty());
        if let Some(text) = smarthost.filter(|text| !port(text)) {
            return Err(place.bad("smtp_smarthost", "host:port", text));
        }
        for (name, value, path) in [
            ("slack_api_url", self.slack_api_url.is_some(), self.slack_api_url_file.is_some()),
            (
                "smtp_auth_password",
                self.smtp_auth_password.is_some(),
                self.smtp_auth_password_file.is_some(),
            ),
            (
                "smtp_auth_secret",
                self.smtp_auth_secret.is_some(),
                self.smtp_auth_secret_file.is_some(),
            ),
            ("opsgenie_api_key", self.opsgenie_api_key.0, self.opsgenie_api_key_file.0),
            ("victorops_api_key", self.victorops_api_key.0, self.victorops_api_key_file.0),
            ("rocketchat_token", self.rocketchat_token.0, self.rocketchat_token_file.0),
            ("rocketchat_token_id", self.rocketchat_token_id.0, self.rocketchat_token_id_file.0),
        ] {
            if value && path {
                let expected = format!("one of {name} and {name}_file");
                return Err(Invalid::value(file, format!("global.{name}"), expected, "both"));
            }
        }
        Ok(())
    }
}
