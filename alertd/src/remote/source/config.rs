//! `metrics.prometheus` in the configuration: which API is the source, and how it is reached.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};

use crate::http_client::{self, HttpClientConfig};

const KEY: &str = "metrics.prometheus";
/// What our requests say themselves.
const RESERVED: [&str; 9] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// A Prometheus-compatible API: Prometheus, VictoriaMetrics, Mimir, Thanos.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SourceConfig {
    /// Where `/api/v1/query` is, without that path.
    pub url: String,
    /// Where samples are written; default: `/api/v1/write` below `url`.
    pub remote_write_url: Option<String>,
    /// Sent with every request, such as `X-Scope-OrgID`.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The longest time for one request, repeats included.
    #[serde(with = "duration", default = "thirty_seconds")]
    pub timeout: Duration,
    #[serde(skip)]
    pub http: HttpClientConfig,
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

impl<'de> Deserialize<'de> for SourceConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<SourceConfig, D::Error> {
        let (own, http) = http_client::split(from, |rest| SourceConfig::deserialize(rest))?;
        Ok(SourceConfig { http, ..own })
    }
}

impl SourceConfig {
    /// Checks what types cannot say; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found: &str| {
            Err(Invalid::value(file, format!("{KEY}.{key}"), expected, found))
        };
        let urls = [("url", Some(&self.url)), ("remote_write_url", self.remote_write_url.as_ref())];
        for (key, url) in urls {
            // Not shown: it may hold a password.
            match url.map(|url| web_url(url)) {
                None | Some(Ok(_)) => {}
                Some(Err(found)) => {
                    let expected = "a URL with http or https and a host, without user and fragment";
                    return wrong(key, expected, found);
                }
            }
        }
        if web_url(&self.url).is_ok_and(|url| url.query().is_some()) {
            return wrong("url", "a URL without a query", "one with a query");
        }
        if self.timeout.is_zero() {
            return wrong("timeout", "more than 0s", "0s");
        }
        for (name, value) in &self.headers {
            if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
                return wrong("headers", "headers that are not set otherwise", name);
            }
            if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(value.reveal()).is_err()
            {
                return wrong("headers", "names and values that HTTP can carry", name);
            }
        }
        self.http.check(file, KEY)
    }

    /// `url` with `path` below it.
    pub(super) fn api(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.url.trim_end_matches('/'))
    }

    pub(super) fn write_url(&self) -> String {
        self.remote_write_url.clone().unwrap_or_else(|| self.api("write"))
    }
}

fn web_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "something else")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("another scheme or no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("one with a user: use basic_auth");
    }
    if url.fragment().is_some() {
        return Err("one with a fragment");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use pitcrew_exporter::config::yaml;

    use super::*;

    #[test]
    fn keys_and_what_is_wrong_with_them() {
        let file = Path::new("a.yaml");
        let read = |text: &str| -> Result<SourceConfig, String> {
            let config: SourceConfig = yaml::parse(file, text).map_err(|e| e.to_string())?;
            config.check(file).map_err(|e| e.to_string())?;
            Ok(config)
        };
        let config = read(
            "{url: 'https://mimir/prometheus/', basic_auth: {username: a, password: '007'}, \
             headers: {X-Scope-OrgID: '12'}, timeout: 5s}",
        )
        .unwrap();
        assert_eq!(config.api("query"), "https://mimir/prometheus/api/v1/query");
        assert_eq!(config.write_url(), "https://mimir/prometheus/api/v1/write");
        assert_eq!(config.timeout, Duration::from_secs(5));
        assert_eq!(config.http.basic_auth.unwrap().password.unwrap().reveal(), "007");
        let elsewhere = read("{url: 'http://a', remote_write_url: 'http://b/push?x=1'}").unwrap();
        assert_eq!(elsewhere.write_url(), "http://b/push?x=1");
        for (text, want) in [
            ("{}", "url"),
            ("{url: 'http://a', hedaers: {}}", "did you mean `headers`?"),
            ("{url: mimir}", "metrics.prometheus.url: expected a URL"),
            ("{url: 'ftp://a'}", "found another scheme"),
            ("{url: 'http://u:hush@a'}", "use basic_auth"),
            ("{url: 'http://a?x=1'}", "without a query"),
            ("{url: 'http://a', remote_write_url: /write}", "metrics.prometheus.remote_write_url"),
            ("{url: 'http://a', timeout: 0s}", "metrics.prometheus.timeout: expected more"),
            ("{url: 'http://a', headers: {Authorization: x}}", "not set otherwise"),
            ("{url: 'http://a', headers: {'a b': x}}", "HTTP can carry"),
            ("{url: 'http://a', bearer_token: x, bearer_token_file: y}", "bearer_token"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(want) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
