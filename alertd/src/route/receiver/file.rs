//! A receiver as Alertmanager's file writes it: lists of integrations by kind.

use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::Receiver;
use super::discord::DiscordFile;
use super::email::EmailFile;
use super::pagerduty::PagerDutyFile;
use super::place::Place;
use super::slack::Slack;
use super::webhook::WebhookFile;
use crate::route::config::global::Present;
use crate::route::config::nullable;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::route) struct ReceiverFile {
    pub(in crate::route) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) discord_configs: Vec<DiscordFile>,
    #[serde(deserialize_with = "nullable")]
    pub(super) email_configs: Vec<EmailFile>,
    #[serde(deserialize_with = "nullable")]
    pub(super) pagerduty_configs: Vec<PagerDutyFile>,
    #[serde(deserialize_with = "nullable")]
    pub(super) slack_configs: Vec<Slack>,
    #[serde(deserialize_with = "nullable")]
    pub(super) webhook_configs: Vec<WebhookFile>,
    #[serde(deserialize_with = "nullable")]
    pub(super) incidentio_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) jira_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) mattermost_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) msteams_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) msteamsv2_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) opsgenie_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) pushover_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) rocketchat_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) sns_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) telegram_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) victorops_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) webex_configs: Vec<Present>,
    #[serde(deserialize_with = "nullable")]
    pub(super) wechat_configs: Vec<Present>,
}

impl ReceiverFile {
    pub(in crate::route) fn resolve(self, place: &Place<'_>) -> Result<Receiver, Invalid> {
        for (name, found) in [
            ("incidentio_configs", &self.incidentio_configs),
            ("jira_configs", &self.jira_configs),
            ("mattermost_configs", &self.mattermost_configs),
            ("msteams_configs", &self.msteams_configs),
            ("msteamsv2_configs", &self.msteamsv2_configs),
            ("opsgenie_configs", &self.opsgenie_configs),
            ("pushover_configs", &self.pushover_configs),
            ("rocketchat_configs", &self.rocketchat_configs),
            ("sns_configs", &self.sns_configs),
            ("telegram_configs", &self.telegram_configs),
            ("victorops_configs", &self.victorops_configs),
            ("webex_configs", &self.webex_configs),
            ("wechat_configs", &self.wechat_configs),
        ] {
            if !found.is_empty() {
                let expected = "a kind of receiver that Pitcrew sends to (webhook_configs reach \
                    everything else)";
                return Err(place.bad(name, expected, "one that is not supported"));
            }
        }
        let at = |kind: &str, at: usize| place.within(&format!("{kind}_configs[{at}]"));
        let mut receiver = Receiver { name: self.name, ..Receiver::default() };
        for (index, discord) in self.discord_configs.into_iter().enumerate() {
            receiver.discord.push(discord.resolve(&at("discord", index))?);
        }
        for (index, email) in self.email_configs.into_iter().enumerate() {
            receiver.email.push(email.resolve(&at("email", index))?);
        }
        for (index, pagerduty) in self.pagerduty_configs.into_iter().enumerate() {
            receiver.pagerduty.push(pagerduty.resolve(&at("pagerduty", index))?);
        }
        for (index, slack) in self.slack_configs.into_iter().enumerate() {
            receiver.slack.push(slack.resolve(&at("slack", index))?);
        }
        for (index, webhook) in self.webhook_configs.into_iter().enumerate() {
            receiver.webhook.push(webhook.resolve(&at("webhook", index))?);
        }
        Ok(receiver)
    }
}
