//! A receiver as the file writes it: Alertmanager's keys, checked and joined with the global ones.

use std::path::{Path, PathBuf};

use lettre::message::Mailboxes;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::{
    Email, HttpConfig, Receiver, SecretSource, Slack, Webhook, beside, check_url, exactly_one, pick,
};
use crate::route::config::{Global, Present, refuse_present};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::route) struct ReceiverFile {
    pub(in crate::route) name: String,
    #[serde(default)]
    slack_configs: Vec<SlackFile>,
    #[serde(default)]
    email_configs: Vec<EmailFile>,
    #[serde(default)]
    webhook_configs: Vec<WebhookFile>,
    discord_configs: Option<Present>,
    msteams_configs: Option<Present>,
    opsgenie_configs: Option<Present>,
    pagerduty_configs: Option<Present>,
    pushover_configs: Option<Present>,
    sns_configs: Option<Present>,
    telegram_configs: Option<Present>,
    victorops_configs: Option<Present>,
    webex_configs: Option<Present>,
    wechat_configs: Option<Present>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlackFile {
    #[serde(default)]
    send_resolved: bool,
    api_url: Option<Secret>,
    api_url_file: Option<PathBuf>,
    http_config: Option<HttpConfig>,
    channel: Option<String>,
    username: Option<String>,
    icon_emoji: Option<String>,
    icon_url: Option<String>,
    title: Option<String>,
    text: Option<String>,
    actions: Option<Present>,
    callback_id: Option<Present>,
    color: Option<Present>,
    fallback: Option<Present>,
    fields: Option<Present>,
    footer: Option<Present>,
    image_url: Option<Present>,
    link_names: Option<Present>,
    mrkdwn_in: Option<Present>,
    pretext: Option<Present>,
    short_fields: Option<Present>,
    thumb_url: Option<Present>,
    title_link: Option<Present>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmailFile {
    #[serde(default)]
    send_resolved: bool,
    to: String,
    from: Option<String>,
    smarthost: Option<String>,
    hello: Option<String>,
    require_tls: Option<bool>,
    auth_username: Option<String>,
    auth_password: Option<Secret>,
    auth_password_file: Option<PathBuf>,
    auth_identity: Option<Present>,
    auth_secret: Option<Present>,
    headers: Option<Present>,
    html: Option<Present>,
    text: Option<Present>,
    tls_config: Option<Present>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookFile {
    #[serde(default = "yes")]
    send_resolved: bool,
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    http_config: Option<HttpConfig>,
    #[serde(default)]
    max_alerts: usize,
}

impl ReceiverFile {
    pub(in crate::route) fn resolve(
        self,
        file: &Path,
        key: &str,
        global: &Global,
    ) -> Result<Receiver, Invalid> {
        refuse_present(
            file,
            key,
            &[
                ("discord_configs", &self.discord_configs),
                ("msteams_configs", &self.msteams_configs),
                ("opsgenie_configs", &self.opsgenie_configs),
                ("pagerduty_configs", &self.pagerduty_configs),
                ("pushover_configs", &self.pushover_configs),
                ("sns_configs", &self.sns_configs),
                ("telegram_configs", &self.telegram_configs),
                ("victorops_configs", &self.victorops_configs),
                ("webex_configs", &self.webex_configs),
                ("wechat_configs", &self.wechat_configs),
            ],
        )?;
        let mut receiver =
            Receiver { name: self.name, slack: Vec::new(), email: Vec::new(), webhook: Vec::new() };
        for (at, slack) in self.slack_configs.into_iter().enumerate() {
            let key = format!("{key}.slack_configs[{at}]");
            receiver.slack.push(slack.resolve(file, &key, global)?);
        }
        for (at, email) in self.email_configs.into_iter().enumerate() {
            let key = format!("{key}.email_configs[{at}]");
            receiver.email.push(email.resolve(file, &key, global)?);
        }
        for (at, webhook) in self.webhook_configs.into_iter().enumerate() {
            let key = format!("{key}.webhook_configs[{at}]");
            receiver.webhook.push(webhook.resolve(file, &key, global)?);
        }
        Ok(receiver)
    }
}

impl SlackFile {
    fn resolve(mut self, file: &Path, key: &str, global: &Global) -> Result<Slack, Invalid> {
        refuse_present(
            file,
            key,
            &[
                ("actions", &self.actions),
                ("callback_id", &self.callback_id),
                ("color", &self.color),
                ("fallback", &self.fallback),
                ("fields", &self.fields),
                ("footer", &self.footer),
                ("image_url", &self.image_url),
                ("link_names", &self.link_names),
                ("mrkdwn_in", &self.mrkdwn_in),
                ("pretext", &self.pretext),
                ("short_fields", &self.short_fields),
                ("thumb_url", &self.thumb_url),
                ("title_link", &self.title_link),
            ],
        )?;
        let texts = [
            ("channel", &self.channel),
            ("username", &self.username),
            ("icon_emoji", &self.icon_emoji),
            ("icon_url", &self.icon_url),
            ("title", &self.title),
            ("text", &self.text),
        ];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|text| text.contains("{{")) {
                let expected = "plain text (templates are not supported yet)";
                return Err(Invalid::value(file, format!("{key}.{name}"), expected, "a template"));
            }
        }
        if self.api_url.is_none() && self.api_url_file.is_none() {
            self.api_url = global.slack_api_url.clone();
            self.api_url_file = global.slack_api_url_file.clone();
        }
        Ok(Slack {
            send_resolved: self.send_resolved,
            url: url(file, &format!("{key}.api_url"), self.api_url, self.api_url_file)?,
            http: http(file, key, self.http_config, global)?,
            channel: self.channel,
            username: self.username,
            icon_emoji: self.icon_emoji,
            icon_url: self.icon_url,
            title: self.title,
            text: self.text,
        })
    }
}

impl WebhookFile {
    fn resolve(self, file: &Path, key: &str, global: &Global) -> Result<Webhook, Invalid> {
        Ok(Webhook {
            send_resolved: self.send_resolved,
            url: url(file, &format!("{key}.url"), self.url, self.url_file)?,
            http: http(file, key, self.http_config, global)?,
            max_alerts: self.max_alerts,
        })
    }
}

impl EmailFile {
    fn resolve(self, file: &Path, key: &str, global: &Global) -> Result<Email, Invalid> {
        refuse_present(
            file,
            key,
            &[
                ("auth_identity", &self.auth_identity),
                ("auth_secret", &self.auth_secret),
                ("headers", &self.headers),
                ("html", &self.html),
                ("text", &self.text),
                ("tls_config", &self.tls_config),
            ],
        )?;
        let bad = |name: &str, expected: &str, found: &str| {
            Invalid::value(file, format!("{key}.{name}"), expected, found)
        };
        let smarthost = self.smarthost.or_else(|| global.smtp_smarthost.clone());
        let smarthost = smarthost.ok_or_else(|| {
            bad("smarthost", "host:port here or in global.smtp_smarthost", "none")
        })?;
        let (host, port) = smarthost
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)))
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| bad("smarthost", "host:port", &smarthost))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let from = self.from.or_else(|| global.smtp_from.clone());
        let from =
            from.ok_or_else(|| bad("from", "an address here or in global.smtp_from", "none"))?;
        let from = from.parse().map_err(|_| bad("from", "an e-mail address", &from))?;
        let to: Mailboxes = match self.to.parse() {
            Ok(to) => to,
            Err(_) => return Err(bad("to", "e-mail addresses separated by commas", &self.to)),
        };
        if to.iter().next().is_none() {
            return Err(bad("to", "e-mail addresses separated by commas", "none"));
        }
        let username = self.auth_username.or_else(|| global.smtp_auth_username.clone());
        let (mut password, mut password_file) = (self.auth_password, self.auth_password_file);
        if password.is_none() && password_file.is_none() {
            password = global.smtp_auth_password.clone();
            password_file = global.smtp_auth_password_file.clone();
        }
        let require_tls = self.require_tls.or(global.smtp_require_tls).unwrap_or(true);
        let login = match username {
            None => None,
            Some(name) => {
                let key = format!("{key}.auth_password");
                exactly_one(file, &key, password.is_some(), password_file.is_some())?;
                beside(file, &mut password_file);
                pick(password.as_ref(), password_file.as_ref()).map(|secret| (name, secret))
            }
        };
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if login.is_some() && !require_tls && port != 465 && !local {
            let expected = "TLS, because a password is sent beyond this host";
            return Err(bad("require_tls", expected, "false"));
        }
        let hello = self.hello.or_else(|| global.smtp_hello.clone());
        let hello = hello.unwrap_or_else(|| "localhost".to_owned());
        Ok(Email {
            send_resolved: self.send_resolved,
            to,
            from,
            host,
            port,
            hello,
            require_tls,
            login,
        })
    }
}

fn http(
    file: &Path,
    key: &str,
    own: Option<HttpConfig>,
    global: &Global,
) -> Result<HttpConfig, Invalid> {
    match own {
        Some(own) => own.resolve(file, &format!("{key}.http_config")),
        None => global.http_config.clone().unwrap_or_default().resolve(file, "global.http_config"),
    }
}

/// A URL that is secret as a whole: its path is the password.
fn url(
    file: &Path,
    key: &str,
    value: Option<Secret>,
    mut path: Option<PathBuf>,
) -> Result<SecretSource, Invalid> {
    exactly_one(file, key, value.is_some(), path.is_some())?;
    if let Some(value) = &value {
        check_url(value)
            .map_err(|found| Invalid::value(file, key, "an http or https URL", found))?;
    }
    beside(file, &mut path);
    pick(value.as_ref(), path.as_ref()).ok_or_else(|| Invalid::value(file, key, "a URL", "none"))
}

fn yes() -> bool {
    true
}
