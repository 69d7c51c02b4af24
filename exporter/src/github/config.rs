//! The `github:` section: where GitHub is, how to sign in, and how much of its budget to use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use super::scope::Scope;
use crate::config::duration;
use crate::config::yaml::Invalid;
use crate::workflows::state::Settings;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubConfig {
    /// The REST API's root; a GitHub Enterprise Server's ends in `/api/v3`. Plain http only on
    /// loopback, since every call carries a token.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// Who calls; webhooks need nobody.
    pub auth: Option<Auth>,
    /// Which repositories and organizations the exporter reads.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// What GitHub signs webhooks with, which the exporter then takes; in a file that only its
    /// owner can read.
    pub webhook_secret_file: Option<PathBuf>,
    /// Whether the exporter reads the organizations' bills, which takes an owner's rights.
    #[serde(default)]
    pub billing: bool,
    /// What the exporter counts by.
    #[serde(default)]
    pub metrics: Settings,
    /// Share of the credential's rate limit that this program may spend, above 0 and at most 1;
    /// less than 1 when another program uses the same credential.
    #[serde(default = "default_budget_share")]
    pub budget_share: f64,
    /// Longest wait for one answer, from connecting to its last byte.
    #[serde(default = "default_timeout", with = "duration")]
    pub timeout: Duration,
    /// Writes that may follow each other at once, after a quiet time. GitHub asks for a second
    /// between writes and allows 80 a minute: 12 at once and then one a second are at most 72.
    #[serde(default = "default_write_burst")]
    pub write_burst: u32,
    /// Time between two writes once the burst is used up.
    #[serde(default = "default_write_spacing", with = "duration")]
    pub write_spacing: Duration,
}

/// How to sign in; in YAML the keys of one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AuthKeys")]
pub enum Auth {
    /// A personal access token in a file that only its owner can read; read again when it changes.
    Token { token_file: PathBuf },
    /// A GitHub App installed on the repository or organization.
    App { app_id: u64, installation_id: u64, private_key_file: PathBuf },
}

impl GithubConfig {
    /// A configuration with the defaults for everything that is not given.
    pub fn new(base_url: impl Into<String>, auth: Auth) -> GithubConfig {
        GithubConfig {
            base_url: base_url.into(),
            auth: Some(auth),
            scopes: Vec::new(),
            webhook_secret_file: None,
            billing: false,
            metrics: Settings::default(),
            budget_share: default_budget_share(),
            timeout: default_timeout(),
            write_burst: default_write_burst(),
            write_spacing: default_write_spacing(),
        }
    }

    /// Makes relative paths begin at `folder`.
    pub fn start_paths_at(&mut self, folder: &Path) {
        let auth = self.auth.as_mut().map(|auth| match auth {
            Auth::Token { token_file: path } | Auth::App { private_key_file: path, .. } => path,
        });
        for path in auth.into_iter().chain(&mut self.webhook_secret_file) {
            *path = folder.join(&path);
        }
    }

    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found: String| {
            Err(Invalid::value(file, format!("github.{key}"), expected, found))
        };
        if let Err(expected) = base(&self.base_url) {
            return wrong("base_url", expected, self.base_url.clone());
        }
        if !(self.budget_share > 0.0 && self.budget_share <= 1.0) {
            return wrong("budget_share", "above 0, at most 1", self.budget_share.to_string());
        }
        if self.timeout.is_zero() || self.timeout > LONGEST {
            return wrong("timeout", "above 0s, at most 10m", duration::format(self.timeout));
        }
        if !(1..=1000).contains(&self.write_burst) {
            return wrong("write_burst", "1 to 1000", self.write_burst.to_string());
        }
        if self.write_spacing > LONGEST {
            return wrong("write_spacing", "at most 10m", duration::format(self.write_spacing));
        }
        for scope in &self.scopes {
            let Some(auth) = &self.auth else {
                return wrong("auth", "a credential, since there are scopes", "none".to_owned());
            };
            if let Err(expected) = scope.check(auth) {
                return wrong("scopes", expected, scope.to_string());
            }
        }
        self.metrics.check(file)
    }
}

/// Upper bound of every time above: a person waits for the answer.
const LONGEST: Duration = Duration::from_secs(600);

/// The URL, if a token may be sent there; the error is what was expected.
pub(super) fn base(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "an https URL")?;
    let host = uri.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if host.is_empty() || !plain || uri.query().is_some() || url.contains('#') {
        return Err("an https URL without user, query and fragment");
    }
    let loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if loopback => Ok(uri),
        _ => Err("https (plain http only on loopback: the call carries a token)"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthKeys {
    token_file: Option<PathBuf>,
    app_id: Option<u64>,
    installation_id: Option<u64>,
    private_key_file: Option<PathBuf>,
}

impl TryFrom<AuthKeys> for Auth {
    type Error = &'static str;

    fn try_from(keys: AuthKeys) -> Result<Auth, &'static str> {
        let AuthKeys { token_file, app_id, installation_id, private_key_file } = keys;
        match (token_file, app_id, installation_id, private_key_file) {
            (Some(token_file), None, None, None) => Ok(Auth::Token { token_file }),
            (None, Some(app_id), Some(installation_id), Some(private_key_file)) => {
                Ok(Auth::App { app_id, installation_id, private_key_file })
            }
            _ => Err("expected either token_file, or app_id, installation_id and private_key_file"),
        }
    }
}

fn default_base_url() -> String {
    "https://api.github.com".to_owned()
}

fn default_budget_share() -> f64 {
    1.0
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_write_burst() -> u32 {
    12
}

fn default_write_spacing() -> Duration {
    Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;

    fn checked(text: &str) -> Result<GithubConfig, Invalid> {
        let file = Path::new("a.yaml");
        let config: GithubConfig = parse(file, text)?;
        config.check(file).map(|()| config)
    }

    #[test]
    fn good_sections() {
        let config = checked("auth: { token_file: /t }").unwrap();
        assert_eq!(config.base_url, "https://api.github.com");
        assert_eq!(config.auth, Some(Auth::Token { token_file: "/t".into() }));
        for text in [
            "auth: { app_id: 1, installation_id: 2, private_key_file: /k }\nbudget_share: 0.5",
            "auth: { token_file: /t }\nbase_url: https://ghe.example.org/api/v3",
            "auth: { token_file: /t }\nbase_url: http://127.0.0.1:8080/api/v3",
            "auth: { token_file: /t }\nbase_url: http://[::1]:8080",
            "auth: { token_file: /t }\nbase_url: http://localhost",
            "webhook_secret_file: /s",
            "{}",
        ] {
            checked(text).unwrap();
        }
    }

    #[test]
    fn bad_sections_say_what_was_expected() {
        for (text, expected) in [
            ("scopes: [{ repository: a/b }]", "github.auth: expected a credential"),
            (
                "scopes: [{ enterprise: a }]\nauth: { app_id: 1, installation_id: 2, private_key_file: k }",
                "github.scopes: expected auth.token_file",
            ),
            ("metrics: { max_series: 1 }", "github.metrics.max_series: expected 500"),
            ("auth: { app_id: 1 }", "expected either token_file"),
            ("auth: { token_file: /t, app_id: 1 }", "expected either token_file"),
            ("auth: { token_fil: /t }", "did you mean `token_file`"),
            ("auth: { token_file: /t }\nbase_url: http://ghe.example.org", "only on loopback"),
            (
                "auth: { token_file: /t }\nbase_url: http://127.0.0.1.example.org",
                "only on loopback",
            ),
            ("auth: { token_file: /t }\nbase_url: ftp://localhost", "https"),
            ("auth: { token_file: /t }\nbase_url: https://u:p@ghe.example.org", "without user"),
            ("auth: { token_file: /t }\nbase_url: nonsense", "https"),
            ("auth: { token_file: /t }\nbudget_share: 0", "above 0, at most 1"),
            ("auth: { token_file: /t }\nbudget_share: .nan", "above 0, at most 1"),
            ("auth: { token_file: /t }\ntimeout: 0s", "above 0s"),
            ("auth: { token_file: /t }\ntimeout: 99999y", "at most 10m"),
            ("auth: { token_file: /t }\nwrite_burst: 0", "1 to 1000, found 0"),
            ("auth: { token_file: /t }\nwrite_burst: 4294967295", "1 to 1000"),
            (
                "auth: { token_file: /t }\nwrite_spacing: 99999y",
                "write_spacing: expected at most 10m",
            ),
        ] {
            let message = checked(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
