//! `receivers` of alertd.yaml: what Pitcrew adds to the receivers of Alertmanager's file.

use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::Receiver;
use super::alertmanager::{Alertmanager, AlertmanagerConfig};
use super::digest::{Digest, DigestConfig};
use super::discord::DiscordFile;
use super::email::EmailFile;
use super::file::ReceiverFile;
use super::github_issue::{GithubIssue, GithubIssueConfig};
use super::heartbeat::{Heartbeat, HeartbeatConfig};
use super::pagerduty::PagerDutyFile;
use super::place::Place;
use super::slack::Slack;
use super::slack_bot::{SlackBot, SlackBotConfig};
use super::webhook::{SignatureConfig, WebhookFile};

/// One entry: at most one of each kind, for the receiver of that name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiverConfig {
    pub name: String,
    // The kinds of Alertmanager's file may stand here too, for those who have no such file.
    discord_configs: Vec<DiscordFile>,
    email_configs: Vec<EmailFile>,
    pagerduty_configs: Vec<PagerDutyFile>,
    slack_configs: Vec<Slack>,
    webhook_configs: Vec<WebhookFile>,
    alertmanager: Option<AlertmanagerConfig>,
    digest: Option<DigestConfig>,
    github_issue: Option<GithubIssueConfig>,
    heartbeat: Option<HeartbeatConfig>,
    slack_bot: Option<SlackBotConfig>,
    webhook_signature: Option<SignatureConfig>,
}

/// The same, checked.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    pub alertmanager: Option<Alertmanager>,
    pub digest: Option<Digest>,
    pub github_issue: Option<GithubIssue>,
    pub heartbeat: Option<Heartbeat>,
    pub slack_bot: Option<SlackBot>,
}

impl ReceiverConfig {
    /// Checks the entry and gives it to `receiver`.
    pub(in crate::route) fn join(
        self,
        receiver: &mut Receiver,
        place: &Place<'_>,
    ) -> Result<(), Invalid> {
        let listed = ReceiverFile {
            discord_configs: self.discord_configs,
            email_configs: self.email_configs,
            pagerduty_configs: self.pagerduty_configs,
            slack_configs: self.slack_configs,
            webhook_configs: self.webhook_configs,
            ..ReceiverFile::default()
        };
        let listed = listed.resolve(place)?;
        receiver.discord.extend(listed.discord);
        receiver.email.extend(listed.email);
        receiver.pagerduty.extend(listed.pagerduty);
        receiver.slack.extend(listed.slack);
        receiver.webhook.extend(listed.webhook);
        let own = &mut receiver.additions;
        if let Some(config) = self.alertmanager {
            own.alertmanager = Some(config.resolve(&place.within("alertmanager"))?);
        }
        if let Some(config) = self.digest {
            own.digest = Some(config.resolve(&place.within("digest"))?);
        }
        if let Some(config) = self.github_issue {
            own.github_issue = Some(config.resolve(&place.within("github_issue"))?);
        }
        if let Some(config) = self.heartbeat {
            own.heartbeat = Some(config.resolve(&place.within("heartbeat"))?);
        }
        if let Some(config) = self.slack_bot {
            own.slack_bot = Some(config.resolve(&place.within("slack_bot"))?);
        }
        if let Some(config) = self.webhook_signature {
            let place = place.within("webhook_signature");
            if receiver.webhook.is_empty() {
                let expected = "webhook_configs in the receiver of that name";
                return Err(place.bad("secret", expected, "none to sign"));
            }
            let secret = config.resolve(&place)?;
            for webhook in &mut receiver.webhook {
                webhook.signature = Some(secret.clone());
            }
        }
        Ok(())
    }
}
