//! `email_configs`: mail through an SMTP server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lettre::message::Mailboxes;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

use super::SecretSource;
use super::place::Place;
use crate::http_client::TlsConfig;
use crate::route::config::nullable;

/// Port on which mail servers speak TLS from the first byte.
const IMPLICIT_TLS: u16 = 465;

/// Texts may be templates; one that is absent leaves the wording to the notifier.
#[derive(Debug, Clone)]
pub struct Email {
    pub send_resolved: bool,
    /// Addresses, separated by commas; checked here unless it is a template.
    pub to: String,
    pub from: String,
    pub host: String,
    pub port: u16,
    pub hello: String,
    /// TLS from the first byte on; else `require_tls` asks for STARTTLS.
    pub implicit_tls: bool,
    pub require_tls: bool,
    pub tls: TlsConfig,
    pub login: Option<Login>,
    /// By their usual spelling (`Reply-To`), of which each stands once.
    pub headers: BTreeMap<String, String>,
    pub html: Option<String>,
    pub text: Option<String>,
    /// Whether the mails of an alert group refer to its first.
    pub threads: bool,
}

/// Who we are to the SMTP server.
#[derive(Debug, Clone)]
pub struct Login {
    pub username: String,
    pub password: Option<SecretSource>,
    /// For CRAM-MD5.
    pub secret: Option<SecretSource>,
    /// On whose behalf, for PLAIN.
    pub identity: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailFile {
    #[serde(default)]
    send_resolved: bool,
    #[serde(default)]
    to: String,
    from: Option<String>,
    smarthost: Option<String>,
    hello: Option<String>,
    require_tls: Option<bool>,
    force_implicit_tls: Option<bool>,
    tls_config: Option<TlsConfig>,
    auth_username: Option<String>,
    auth_password: Option<Secret>,
    auth_password_file: Option<PathBuf>,
    auth_identity: Option<String>,
    auth_secret: Option<Secret>,
    auth_secret_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "nullable")]
    headers: BTreeMap<String, String>,
    html: Option<String>,
    text: Option<String>,
    threading: Option<ThreadingFile>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThreadingFile {
    #[serde(default)]
    enabled: bool,
    /// Taken and not heeded: a thread here is an alert group, however long it lasts.
    #[serde(default, rename = "thread_by_date")]
    _by_date: Option<String>,
}

impl EmailFile {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Email, Invalid> {
        let global = place.global;
        let smarthost = given(self.smarthost, &global.smtp_smarthost).ok_or_else(|| {
            place.bad("smarthost", "host:port here or in global.smtp_smarthost", "none")
        })?;
        let (host, port) = host_port(&smarthost)
            .ok_or_else(|| place.bad("smarthost", "host:port", smarthost.as_str()))?;
        let from = given(self.from, &global.smtp_from)
            .ok_or_else(|| place.bad("from", "an address here or in global.smtp_from", "none"))?;
        let addresses = |text: &str| text.parse::<Mailboxes>().map_or(0, |to| to.iter().count());
        let template = |text: &str| text.contains("{{");
        if !template(&from) && addresses(&from) != 1 {
            return Err(place.bad("from", "an e-mail address", from));
        }
        if !template(&self.to) && addresses(&self.to) == 0 {
            let found = if self.to.is_empty() { "none".to_owned() } else { self.to };
            return Err(place.bad("to", "e-mail addresses separated by commas", found));
        }
        let (mut password, mut path) = (self.auth_password, self.auth_password_file);
        if password.is_none() && path.is_none() {
            password = global.smtp_auth_password.clone();
            path = global.smtp_auth_password_file.clone();
        }
        let password = place.optional_secret("auth_password", password, path)?;
        let (mut secret, mut path) = (self.auth_secret, self.auth_secret_file);
        if secret.is_none() && path.is_none() {
            secret = global.smtp_auth_secret.clone();
            path = global.smtp_auth_secret_file.clone();
        }
        let secret = place.optional_secret("auth_secret", secret, path)?;
        let login = match given(self.auth_username, &global.smtp_auth_username) {
            None => None,
            Some(_) if password.is_none() && secret.is_none() => {
                let expected = "one of auth_password, auth_password_file, auth_secret";
                return Err(place.bad("auth_password", expected, "none"));
            }
            Some(username) => {
                let identity = given(self.auth_identity, &global.smtp_auth_identity);
                Some(Login { username, password, secret, identity })
            }
        };
        let require_tls = self.require_tls.or(global.smtp_require_tls).unwrap_or(true);
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let reveals = login.as_ref().is_some_and(|login| login.password.is_some());
        let implicit = self.force_implicit_tls.or(global.smtp_force_implicit_tls);
        let implicit_tls = implicit.unwrap_or(port == IMPLICIT_TLS);
        if reveals && !require_tls && !implicit_tls && !local {
            let expected = "TLS, because a password is sent beyond this host";
            return Err(place.bad("require_tls", expected, "false"));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in self.headers {
            let usual = usual_spelling(&name);
            if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') || name.is_empty()
            {
                return Err(place.bad("headers", "names of headers", format!("{name:?}")));
            }
            if headers.insert(usual.clone(), value).is_some() {
                return Err(place.bad("headers", "each header once", format!("{usual} twice")));
            }
        }
        Ok(Email {
            send_resolved: self.send_resolved,
            to: self.to,
            from,
            host,
            port,
            hello: given(self.hello, &global.smtp_hello).unwrap_or_else(|| "localhost".to_owned()),
            implicit_tls,
            require_tls,
            tls: place.tls(self.tls_config)?,
            login,
            headers,
            html: self.html,
            text: self.text,
            threads: self.threading.is_none_or(|threading| threading.enabled),
        })
    }
}

/// The receiver's own value, else the global one; an empty text is none.
fn given(own: Option<String>, global: &Option<String>) -> Option<String> {
    own.filter(|text| !text.is_empty()).or_else(|| global.clone()).filter(|text| !text.is_empty())
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(bare) => bare,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = match port {
        "smtp" => 25,
        "submission" => 587,
        "smtps" | "submissions" => IMPLICIT_TLS,
        number => number.parse().ok()?,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// `reply-to` as `Reply-To`.
fn usual_spelling(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars.map(|c| c.to_ascii_lowercase())).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}
