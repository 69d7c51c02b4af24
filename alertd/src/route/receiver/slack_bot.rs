//! `slack_bot`: Slack by bot token, which can change what it said and hear what people click.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use reqwest::Url;
use serde::Deserialize;

use super::SecretSource;
use super::place::{HttpFile, Place};
use crate::http_client::HttpClientConfig;

const API: &str = "https://slack.com/api/";

#[derive(Debug, Clone)]
pub struct SlackBot {
    /// `xoxb-…`.
    pub token: SecretSource,
    /// A name or an id.
    pub channel: String,
    /// Whether new alerts of a group and reminders show in the channel, not in the thread alone.
    pub broadcast: bool,
    /// `xapp-…`: clicks come over Socket Mode.
    pub app_token: Option<SecretSource>,
    /// Clicks come as requests that are signed with it.
    pub signing_secret: Option<SecretSource>,
    /// Slack's ids of those who may use the buttons.
    pub users: BTreeSet<String>,
    /// Ends in a slash.
    pub api_url: Url,
    pub http: HttpClientConfig,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlackBotConfig {
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    channel: String,
    #[serde(default = "super::yes")]
    broadcast: bool,
    app_token: Option<Secret>,
    app_token_file: Option<PathBuf>,
    signing_secret: Option<Secret>,
    signing_secret_file: Option<PathBuf>,
    #[serde(default)]
    users: BTreeSet<String>,
    /// Another address of Slack's API, as GovSlack has one.
    api_url: Option<String>,
    http_config: Option<HttpFile>,
}

impl SlackBotConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<SlackBot, Invalid> {
        let token = place.secret("token", self.token, self.token_file)?;
        let app_token = place.optional_secret("app_token", self.app_token, self.app_token_file)?;
        let signing_secret = place.optional_secret(
            "signing_secret",
            self.signing_secret,
            self.signing_secret_file,
        )?;
        if self.channel.trim().is_empty() {
            return Err(place.bad("channel", "the name or id of a channel", "none"));
        }
        // A click tells the id alone; names can be changed by their owners.
        let is_id = |user: &&String| {
            user.starts_with(['U', 'W'])
                && user.len() > 1
                && user.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        let ids = "Slack's ids of people, such as U012AB3CD (profile, ⋮, Copy member ID)";
        if let Some(other) = self.users.iter().find(|user| !is_id(user)) {
            return Err(place.bad("users", ids, format!("{other:?}")));
        }
        let buttons = app_token.is_some() || signing_secret.is_some();
        match (buttons, self.users.is_empty()) {
            (true, true) => return Err(place.bad("users", ids, "nobody who may use the buttons")),
            (false, false) => {
                let expected = "app_token or signing_secret, by which clicks come";
                return Err(place.bad("users", expected, "users and neither"));
            }
            _ => {}
        }
        let text = self.api_url.unwrap_or_else(|| API.to_owned());
        let url = Url::parse(&format!("{}/", text.trim_end_matches('/'))).ok();
        let web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let api_url = url.filter(web);
        let api_url = api_url.ok_or_else(|| place.bad("api_url", "an http or https URL", text))?;
        Ok(SlackBot {
            token,
            channel: self.channel.trim().to_owned(),
            broadcast: self.broadcast,
            app_token,
            signing_secret,
            users: self.users,
            api_url,
            http: place.http(self.http_config)?,
        })
    }
}

impl SlackBot {
    /// Whether clicks reach us.
    pub fn has_buttons(&self) -> bool {
        self.app_token.is_some() || self.signing_secret.is_some()
    }

    /// All of its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        [Some(&self.token), self.app_token.as_ref(), self.signing_secret.as_ref()]
            .into_iter()
            .flatten()
    }
}
