//! `slack_bot`: Slack by bot token, which can change what it said.

use std::path::PathBuf;

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::SecretSource;
use super::place::Place;

#[derive(Debug, Clone)]
pub struct SlackBot {
    /// `xoxb-…`.
    pub token: SecretSource,
    pub channel: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlackBotConfig {
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    channel: String,
}

impl SlackBotConfig {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<SlackBot, Invalid> {
        let token = place.secret("token", self.token, self.token_file)?;
        if self.channel.is_empty() {
            return Err(place.bad("channel", "the name or id of a channel", "none"));
        }
        Ok(SlackBot { token, channel: self.channel })
    }
}
