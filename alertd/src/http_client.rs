//! `HttpClientConfig`: the HTTP client keys that Prometheus has wherever it asks somebody.

mod answer;
mod client;
mod keys;
mod oauth;
mod retry_after;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

pub use answer::{beginning, refusal, within};
pub use client::{ClientError, HttpClient};
pub use keys::{Keys, split};
pub use retry_after::retry_after;

/// How to reach an HTTP server and who to say one is; stands among the keys of what uses it, which
/// reads it with [`split`]. [`HttpClient`] acts on it.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpClientConfig {
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    /// The old spelling of `authorization` with type `Bearer`.
    pub bearer_token: Option<Secret>,
    pub bearer_token_file: Option<PathBuf>,
    pub oauth2: Option<OAuth2>,
    pub tls_config: TlsConfig,
    /// Follows redirects, but never to another host.
    pub follow_redirects: bool,
    pub enable_http2: bool,
    pub http_headers: BTreeMap<String, HeaderValues>,
    pub proxy: Proxy,
}

impl Default for HttpClientConfig {
    fn default() -> HttpClientConfig {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            oauth2: None,
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: BTreeMap::new(),
            proxy: Proxy::default(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    pub username: String,
    pub username_file: Option<PathBuf>,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    #[serde(default = "bearer", rename = "type")]
    pub scheme: String,
    pub credentials: Option<Secret>,
    pub credentials_file: Option<PathBuf>,
}

/// The client credentials grant of OAuth 2.0.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth2 {
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub client_secret_file: Option<PathBuf>,
    pub scopes: Vec<String>,
    pub token_url: String,
    /// Further parameters of the request for a token.
    pub endpoint_params: BTreeMap<String, String>,
    pub tls_config: TlsConfig,
    pub proxy_url: Option<Secret>,
    pub no_proxy: Option<String>,
    pub proxy_from_environment: bool,
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM certificates that alone are trusted; without any, those of the system.
    pub ca: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// What this client shows of itself.
    pub cert: Option<String>,
    pub cert_file: Option<PathBuf>,
    pub key: Option<Secret>,
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate has to be for, in place of the URL's host.
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Where the values of one header come from; all of them are sent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderValues {
    pub values: Vec<String>,
    pub secrets: Vec<Secret>,
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proxy {
    /// May hold a password.
    pub url: Option<Secret>,
    /// Hosts, networks and domains, separated by commas, that are reached without it.
    pub none_for: Option<String>,
    pub from_environment: bool,
    /// Headers for the proxy alone.
    pub connect_header: BTreeMap<String, Vec<Secret>>,
}

/// Headers that are ours to set.
const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
    "www-authenticate",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
];

fn bearer() -> String {
    "Bearer".to_owned()
}

impl HttpClientConfig {
    /// Checks what types cannot say; `key` names where the keys stand, as in `remote_write[0]`.
    pub fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        let at = |name: &str| match key.is_empty() {
            true => name.to_owned(),
            false => format!("{key}.{name}"),
        };
        let wrong = |name: &str, expected: &str, found: &str| {
            Err(Invalid::value(file, at(name), expected, found))
        };
        let both = |name: &str, one: &str, first: bool, second: bool| match first && second {
            true => wrong(name, &format!("at most one of {one}, {one}_file"), "both"),
            false => Ok(()),
        };
        both(
            "bearer_token",
            "bearer_token",
            self.bearer_token.is_some(),
            self.bearer_token_file.is_some(),
        )?;
        let kinds = [
            ("basic_auth", self.basic_auth.is_some()),
            ("authorization", self.authorization.is_some()),
            ("bearer_token", self.bearer_token.is_some() || self.bearer_token_file.is_some()),
            ("oauth2", self.oauth2.is_some()),
        ];
        let given: Vec<_> =
            kinds.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if let [.., last] = given[..]
            && given.len() > 1
        {
            let expected = "at most one of basic_auth, authorization, bearer_token(_file), oauth2";
            return wrong(last, expected, &given.join(" and "));
        }
        if let Some(basic) = &self.basic_auth {
            let name = !basic.username.is_empty();
            both("basic_auth", "username", name, basic.username_file.is_some())?;
            both(
                "basic_auth",
                "password",
                basic.password.is_some(),
                basic.password_file.is_some(),
            )?;
        }
        if let Some(header) = &self.authorization {
            if header.scheme.trim().eq_ignore_ascii_case("basic") {
                return wrong("authorization.type", "another type: use basic_auth", &header.scheme);
            }
            if header.credentials.is_some() == header.credentials_file.is_some() {
                let found = if header.credentials.is_some() { "both" } else { "neither" };
                return wrong("authorization", "one of credentials, credentials_file", found);
            }
        }
        if let Some(oauth) = &self.oauth2 {
            if oauth.client_id.is_empty() {
                return wrong("oauth2.client_id", "a name", "nothing");
            }
            if oauth.client_secret.is_some() == oauth.client_secret_file.is_some() {
                let found = if oauth.client_secret.is_some() { "both" } else { "neither" };
                return wrong("oauth2", "one of client_secret, client_secret_file", found);
            }
            if !is_web_url(&oauth.token_url) {
                return wrong("oauth2.token_url", "a URL with http or https", &oauth.token_url);
            }
            oauth.http().check(file, &at("oauth2"))?;
        }
        for name in self.http_headers.keys() {
            let lower = name.to_ascii_lowercase();
            let known = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            if !known || RESERVED.contains(&lower.as_str()) {
                return wrong("http_headers", "a header that is not set otherwise", name);
            }
        }
        self.tls_config.check(file, &at("tls_config"))?;
        self.proxy.check(file, &at)
    }

    /// Makes relative paths begin at the folder of the configuration.
    pub fn start_paths_at(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&path);
        if let Some(basic) = &mut self.basic_auth {
            basic.username_file.iter_mut().chain(&mut basic.password_file).for_each(join);
        }
        if let Some(header) = &mut self.authorization {
            header.credentials_file.iter_mut().for_each(join);
        }
        self.bearer_token_file.iter_mut().for_each(join);
        self.http_headers.values_mut().flat_map(|values| &mut values.files).for_each(join);
        self.tls_config.start_paths_at(folder);
        if let Some(oauth) = &mut self.oauth2 {
            oauth.client_secret_file.iter_mut().for_each(join);
            oauth.tls_config.start_paths_at(folder);
        }
    }

    /// Reads every file that it names once, to find out whether it can be used.
    ///
    /// # Errors
    /// As a request would fail.
    pub fn check_files(&self) -> Result<(), ClientError> {
        HttpClient::new(self.clone()).check_files()
    }
}

impl OAuth2 {
    /// How the server that gives tokens is reached.
    fn http(&self) -> HttpClientConfig {
        let proxy = Proxy {
            url: self.proxy_url.clone(),
            none_for: self.no_proxy.clone(),
            from_environment: self.proxy_from_environment,
            connect_header: self.proxy_connect_header.clone(),
        };
        HttpClientConfig { tls_config: self.tls_config.clone(), proxy, ..Default::default() }
    }
}

impl TlsConfig {
    /// As [`HttpClientConfig::check`], for a section that stands alone.
    pub fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        let wrong = |expected: &str, found: &str| Err(Invalid::value(file, key, expected, found));
        for (name, first, second) in [
            ("ca", self.ca.is_some(), self.ca_file.is_some()),
            ("cert", self.cert.is_some(), self.cert_file.is_some()),
            ("key", self.key.is_some(), self.key_file.is_some()),
        ] {
            if first && second {
                return wrong(&format!("at most one of {name}, {name}_file"), "both");
            }
        }
        let cert = self.cert.is_some() || self.cert_file.is_some();
        let key_given = self.key.is_some() || self.key_file.is_some();
        if cert != key_given {
            return wrong(
                "both a certificate and a key",
                if cert { "no key" } else { "no certificate" },
            );
        }
        let versions = [self.min_version, self.max_version];
        if versions.iter().flatten().any(|version| *version < TlsVersion::Tls12) {
            return wrong("TLS12 or TLS13: nothing older is spoken", "an older version");
        }
        match versions {
            [Some(min), Some(max)] if min > max => {
                wrong("min_version <= max_version", "the reverse")
            }
            _ => Ok(()),
        }
    }

    pub fn start_paths_at(&mut self, folder: &Path) {
        let files = self.ca_file.iter_mut().chain(&mut self.cert_file).chain(&mut self.key_file);
        files.for_each(|path| *path = folder.join(&path));
    }
}

impl Proxy {
    fn check(&self, file: &Path, at: &dyn Fn(&str) -> String) -> Result<(), Invalid> {
        let wrong = |name: &str, expected: &str, found: &str| {
            Err(Invalid::value(file, at(name), expected, found))
        };
        if let Some(url) = &self.url {
            // Not shown: it may hold a password.
            if !is_web_url(url.reveal()) {
                return wrong("proxy_url", "a URL with http or https", "something else");
            }
            if self.from_environment {
                return wrong("proxy_from_environment", "no proxy_url beside it", "both");
            }
        } else if self.none_for.is_some() {
            return wrong("no_proxy", "a proxy_url beside it", "none");
        } else if !self.connect_header.is_empty() && !self.from_environment {
            return wrong("proxy_connect_header", "a proxy_url beside it", "none");
        }
        Ok(())
    }
}

fn is_web_url(text: &str) -> bool {
    let url = reqwest::Url::parse(text);
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests;
