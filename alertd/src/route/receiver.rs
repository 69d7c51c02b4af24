//! Receivers: who is told, and how. Each kind has its keys, checked and with the global defaults
//! worked in, in a file of its own; [`additions`] are those that Alertmanager's file does not know.

pub mod additions;
pub mod alertmanager;
pub mod digest;
pub mod discord;
pub mod email;
pub(super) mod file;
pub mod github_issue;
pub mod heartbeat;
pub mod pagerduty;
pub(super) mod place;
pub mod slack;
pub mod slack_bot;
pub mod webhook;

use std::path::{Path, PathBuf};

use pitcrew_exporter::secret::{Secret, SecretError};

use self::additions::Additions;
use self::discord::Discord;
use self::email::{Email, Login};
use self::pagerduty::{PagerDuty, PagerDutyKey};
use self::slack::Slack;
use self::slack_bot::SlackBot;
use self::webhook::Webhook;
use crate::http_client::HttpClientConfig;

/// A named list of integrations; one without any is where alerts end silently.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    pub name: String,
    pub discord: Vec<Discord>,
    pub email: Vec<Email>,
    pub pagerduty: Vec<PagerDuty>,
    pub slack: Vec<Slack>,
    pub webhook: Vec<Webhook>,
    pub additions: Additions,
}

/// One entry of one list of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// `receiver/kind[index]`: names it in the outbox and the notification log.
    pub key: String,
    /// As notifiers call it: `slack` of `slack_configs`.
    pub kind: &'static str,
    pub receiver: String,
    pub send_resolved: bool,
}

/// A secret that stands in the configuration, or in a file that is read at each use.
#[derive(Debug, Clone)]
pub enum SecretSource {
    Value(Secret),
    File(PathBuf),
}

impl Receiver {
    /// Every integration, in the order of the lists.
    pub fn integrations(&self) -> Vec<Integration> {
        let own = &self.additions;
        let all: [(&'static str, Vec<bool>); 9] = [
            ("slack", self.slack.iter().map(|slack| slack.send_resolved).collect()),
            ("email", self.email.iter().map(|email| email.send_resolved).collect()),
            ("webhook", self.webhook.iter().map(|webhook| webhook.send_resolved).collect()),
            ("discord", self.discord.iter().map(|discord| discord.send_resolved).collect()),
            ("pagerduty", self.pagerduty.iter().map(|duty| duty.send_resolved).collect()),
            ("slack_bot", own.slack_bot.iter().map(|_| true).collect()),
            ("github_issue", own.github_issue.iter().map(|_| true).collect()),
            ("alertmanager", own.alertmanager.iter().flat_map(|a| &a.urls).map(|_| true).collect()),
            ("heartbeat", own.heartbeat.iter().map(|_| false).collect()),
        ];
        let list = all.into_iter().flat_map(|(kind, flags)| {
            flags.into_iter().enumerate().map(move |(index, send_resolved)| Integration {
                key: integration_key(&self.name, kind, index),
                kind,
                receiver: self.name.clone(),
                send_resolved,
            })
        });
        list.collect()
    }

    /// Every file that holds one of its secrets, but for those of `http_configs`.
    pub fn secret_files(&self) -> Vec<&Path> {
        let own = &self.additions;
        let mut sources: Vec<&SecretSource> = Vec::new();
        sources.extend(self.slack.iter().map(|slack| &slack.url));
        sources.extend(self.webhook.iter().map(|webhook| &webhook.url));
        sources.extend(self.webhook.iter().filter_map(|webhook| webhook.signature.as_ref()));
        sources.extend(self.discord.iter().map(|discord| &discord.url));
        sources.extend(self.pagerduty.iter().map(|duty| match &duty.key {
            PagerDutyKey::Routing(key) | PagerDutyKey::Service(key) => key,
        }));
        let digest = own.digest.iter();
        let mails = self.email.iter().chain(digest.clone().filter_map(|d| d.email.as_ref()));
        sources.extend(digest.filter_map(|digest| digest.slack.as_ref()).map(|slack| &slack.url));
        let logins = mails.filter_map(|email| email.login.as_ref());
        sources.extend(logins.flat_map(Login::sources));
        sources.extend(own.slack_bot.iter().flat_map(SlackBot::secrets));
        sources.extend(own.heartbeat.iter().map(|heartbeat| &heartbeat.url));
        let files = sources.into_iter().filter_map(|source| match source {
            SecretSource::Value(_) => None,
            SecretSource::File(path) => Some(path.as_path()),
        });
        files.collect()
    }

    /// How each of its HTTP receivers is reached.
    pub fn http_configs(&self) -> Vec<&HttpClientConfig> {
        let own = &self.additions;
        let mut configs: Vec<&HttpClientConfig> = Vec::new();
        configs.extend(self.slack.iter().map(|slack| &slack.http));
        configs.extend(self.webhook.iter().map(|webhook| &webhook.http));
        configs.extend(self.discord.iter().map(|discord| &discord.http));
        configs.extend(self.pagerduty.iter().map(|duty| &duty.http));
        configs.extend(own.slack_bot.iter().map(|bot| &bot.http));
        configs.extend(own.alertmanager.iter().map(|other| &other.http));
        let digests = own.digest.iter().filter_map(|digest| digest.slack.as_ref());
        configs.extend(digests.map(|slack| &slack.http));
        configs.extend(own.heartbeat.iter().map(|heartbeat| &heartbeat.http));
        configs
    }
}

impl Login {
    fn sources(&self) -> impl Iterator<Item = &SecretSource> {
        self.password.iter().chain(&self.secret)
    }
}

/// See [`Integration::key`].
pub fn integration_key(receiver: &str, kind: &str, index: usize) -> String {
    format!("{receiver}/{kind}[{index}]")
}

impl SecretSource {
    /// Whether both are read from the same place.
    pub fn is_same(&self, other: &SecretSource) -> bool {
        match (self, other) {
            (SecretSource::Value(one), SecretSource::Value(two)) => one == two,
            (SecretSource::File(one), SecretSource::File(two)) => one == two,
            _ => false,
        }
    }

    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Value(secret) => Ok(secret.clone()),
            SecretSource::File(path) => Secret::read(path),
        }
    }
}

/// Says what is wrong with a URL without repeating it.
pub fn check_url(value: &Secret) -> Result<reqwest::Url, &'static str> {
    let url = reqwest::Url::parse(value.reveal()).map_err(|_| "something else")?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("another scheme"),
    }
}

/// Until a section is resolved.
fn no_secret() -> SecretSource {
    SecretSource::Value(Secret::new(""))
}

fn yes() -> bool {
    true
}
