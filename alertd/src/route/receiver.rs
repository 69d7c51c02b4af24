//! Receivers: who is told, and how. Alertmanager's keys, with the global defaults worked in.

pub(super) mod file;

use std::path::{Path, PathBuf};

use lettre::message::{Mailbox, Mailboxes};
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::{Secret, SecretError};
use serde::Deserialize;

use super::config::{Present, refuse_present};

/// A named list of integrations; one without any is where alerts end silently.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub name: String,
    pub slack: Vec<Slack>,
    pub email: Vec<Email>,
    pub webhook: Vec<Webhook>,
}

/// One entry of one list of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// `receiver/kind[index]`: names it in the outbox and the notification log.
    pub key: String,
    pub receiver: String,
    pub send_resolved: bool,
}

/// A secret that stands in the configuration, or in a file that is read at each use.
#[derive(Debug, Clone)]
pub enum SecretSource {
    Value(Secret),
    File(PathBuf),
}

/// An incoming webhook of Slack.
#[derive(Debug, Clone)]
pub struct Slack {
    pub send_resolved: bool,
    pub url: SecretSource,
    pub http: HttpConfig,
    pub channel: Option<String>,
    pub username: Option<String>,
    pub icon_emoji: Option<String>,
    pub icon_url: Option<String>,
    /// In place of the line above the alerts.
    pub title: Option<String>,
    /// In place of each alert's description.
    pub text: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Email {
    pub send_resolved: bool,
    pub to: Mailboxes,
    pub from: Mailbox,
    pub host: String,
    pub port: u16,
    pub hello: String,
    pub require_tls: bool,
    pub login: Option<(String, SecretSource)>,
}

#[derive(Debug, Clone)]
pub struct Webhook {
    pub send_resolved: bool,
    pub url: SecretSource,
    pub http: HttpConfig,
    /// 0: all of them.
    pub max_alerts: usize,
}

/// How HTTP receivers are reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    pub authorization: Option<Authorization>,
    pub basic_auth: Option<BasicAuth>,
    pub follow_redirects: Option<bool>,
    enable_http2: Option<Present>,
    bearer_token: Option<Present>,
    bearer_token_file: Option<Present>,
    oauth2: Option<Present>,
    proxy_url: Option<Present>,
    tls_config: Option<Present>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    #[serde(rename = "type", default = "bearer")]
    pub kind: String,
    credentials: Option<Secret>,
    credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

impl Receiver {
    /// Every integration, in the order of the lists.
    pub fn integrations(&self) -> Vec<Integration> {
        let slack = self.slack.iter().map(|slack| slack.send_resolved);
        let email = self.email.iter().map(|email| email.send_resolved);
        let webhook = self.webhook.iter().map(|webhook| webhook.send_resolved);
        let list = |kind: &'static str, flags: Vec<bool>| {
            flags.into_iter().enumerate().map(move |(index, send_resolved)| Integration {
                key: integration_key(&self.name, kind, index),
                receiver: self.name.clone(),
                send_resolved,
            })
        };
        list("slack", slack.collect())
            .chain(list("email", email.collect()))
            .chain(list("webhook", webhook.collect()))
            .collect()
    }

    /// Every file that holds one of its secrets.
    pub fn secret_files(&self) -> Vec<&Path> {
        let mut sources: Vec<&SecretSource> = Vec::new();
        sources.extend(self.slack.iter().map(|slack| &slack.url));
        sources.extend(self.webhook.iter().map(|webhook| &webhook.url));
        sources.extend(self.email.iter().filter_map(|email| email.login.as_ref()).map(|l| &l.1));
        let configs = self.slack.iter().map(|slack| &slack.http);
        let configs = configs.chain(self.webhook.iter().map(|webhook| &webhook.http));
        let mut files: Vec<&Path> = configs.flat_map(HttpConfig::secret_files).collect();
        files.extend(sources.into_iter().filter_map(|source| match source {
            SecretSource::Value(_) => None,
            SecretSource::File(path) => Some(path.as_path()),
        }));
        files
    }
}

/// See [`Integration::key`].
pub fn integration_key(receiver: &str, kind: &str, index: usize) -> String {
    format!("{receiver}/{kind}[{index}]")
}

impl SecretSource {
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Value(secret) => Ok(secret.clone()),
            SecretSource::File(path) => Secret::read(path),
        }
    }
}

impl HttpConfig {
    /// The value of the `Authorization` header that was asked for: scheme and secret, or a login.
    pub fn credentials(&self) -> Option<Credentials<'_>> {
        if let Some(auth) = &self.authorization {
            let source = pick(auth.credentials.as_ref(), auth.credentials_file.as_ref())?;
            return Some(Credentials::Scheme(&auth.kind, source));
        }
        let basic = self.basic_auth.as_ref()?;
        let source = pick(basic.password.as_ref(), basic.password_file.as_ref());
        Some(Credentials::Login(&basic.username, source))
    }

    fn secret_files(&self) -> Vec<&Path> {
        let token = self.authorization.iter().filter_map(|auth| auth.credentials_file.as_deref());
        let password = self.basic_auth.iter().filter_map(|basic| basic.password_file.as_deref());
        token.chain(password).collect()
    }

    /// Checks what types cannot and makes file names absolute.
    pub(super) fn resolve(mut self, file: &Path, key: &str) -> Result<HttpConfig, Invalid> {
        refuse_present(
            file,
            key,
            &[
                ("bearer_token", &self.bearer_token),
                ("bearer_token_file", &self.bearer_token_file),
                ("enable_http2", &self.enable_http2),
                ("oauth2", &self.oauth2),
                ("proxy_url", &self.proxy_url),
                ("tls_config", &self.tls_config),
            ],
        )?;
        if self.authorization.is_some() && self.basic_auth.is_some() {
            return Err(Invalid::value(file, key, "authorization or basic_auth", "both"));
        }
        if let Some(auth) = &mut self.authorization {
            let key = format!("{key}.authorization.credentials");
            exactly_one(file, &key, auth.credentials.is_some(), auth.credentials_file.is_some())?;
            if auth.kind.trim().is_empty() || auth.kind.eq_ignore_ascii_case("basic") {
                let found = format!("{:?}", auth.kind);
                return Err(Invalid::value(file, key, "a scheme such as Bearer", found));
            }
            beside(file, &mut auth.credentials_file);
        }
        if let Some(basic) = &mut self.basic_auth {
            if basic.password.is_some() && basic.password_file.is_some() {
                let key = format!("{key}.basic_auth");
                return Err(Invalid::value(file, key, "password or password_file", "both"));
            }
            beside(file, &mut basic.password_file);
        }
        Ok(self)
    }
}

pub enum Credentials<'a> {
    /// As in `Bearer TOKEN`.
    Scheme(&'a str, SecretSource),
    /// User name and password.
    Login(&'a str, Option<SecretSource>),
}

/// Says what is wrong with a URL without repeating it.
pub fn check_url(value: &Secret) -> Result<reqwest::Url, &'static str> {
    let url = reqwest::Url::parse(value.reveal()).map_err(|_| "something else")?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("another scheme"),
    }
}

fn exactly_one(file: &Path, key: &str, value: bool, path: bool) -> Result<(), Invalid> {
    let name = key.rsplit('.').next().unwrap_or(key);
    let found = match (value, path) {
        (true, true) => "both",
        (false, false) => "neither",
        _ => return Ok(()),
    };
    Err(Invalid::value(file, key, format!("one of {name} and {name}_file"), found))
}

fn pick(value: Option<&Secret>, path: Option<&PathBuf>) -> Option<SecretSource> {
    let value = value.cloned().map(SecretSource::Value);
    value.or_else(|| path.cloned().map(SecretSource::File))
}

/// A relative name is relative to the folder of the configuration file.
fn beside(file: &Path, path: &mut Option<PathBuf>) {
    if let (Some(path), Some(folder)) = (path, file.parent()) {
        *path = folder.join(&*path);
    }
}
