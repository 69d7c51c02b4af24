//! Where the targets of a job come from: in place, from files, from a URL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use serde::{Deserialize, Deserializer};

use super::{check_labels, positive};
use crate::http_client::{HttpClientConfig, split};

/// Targets as `host:port`, and labels that all of them carry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    #[serde(default)]
    pub targets: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// YAML or JSON files; the last element of a path may hold `*`.
    pub files: Vec<PathBuf>,
    /// Files are read again after this time even when nothing seems to have changed.
    #[serde(default = "five_minutes", with = "duration")]
    pub refresh_interval: Duration,
}

/// A URL that answers with groups of targets as JSON.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct HttpSdConfig {
    pub url: String,
    #[serde(default = "one_minute", with = "duration")]
    pub refresh_interval: Duration,
    #[serde(skip)]
    pub http: HttpClientConfig,
}

impl<'de> Deserialize<'de> for HttpSdConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HttpSdConfig, D::Error> {
        let (config, http) = split(from, |rest| HttpSdConfig::deserialize(rest))?;
        Ok(HttpSdConfig { http, ..config })
    }
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

impl StaticConfig {
    /// Checks label names and, where no rule may still rewrite them, addresses.
    pub fn check(&self, file: &Path, key: &str, addresses: bool) -> Result<(), Invalid> {
        for address in &self.targets {
            if addresses && !is_address(address) {
                let expected = "host or host:port, without scheme, path or user";
                return Err(Invalid::value(file, format!("{key}.targets"), expected, address));
            }
        }
        check_labels(file, &format!("{key}.labels"), &self.labels)
    }
}

impl FileSdConfig {
    pub(super) fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        positive(file, &format!("{key}.refresh_interval"), self.refresh_interval)?;
        let wrong = |expected: &str, found: String| {
            Err(Invalid::value(file, format!("{key}.files"), expected, found))
        };
        if self.files.is_empty() {
            return wrong("at least one path", "none".to_owned());
        }
        match self.files.iter().find(|path| !is_pattern(path)) {
            Some(path) => wrong(
                "a path that ends with .json, .yml or .yaml, with * only in its last element",
                path.display().to_string(),
            ),
            None => Ok(()),
        }
    }
}

impl HttpSdConfig {
    pub(super) fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        positive(file, &format!("{key}.refresh_interval"), self.refresh_interval)?;
        let url = reqwest::Url::parse(&self.url);
        if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let expected = "a URL with http or https";
            return Err(Invalid::value(file, format!("{key}.url"), expected, "something else"));
        }
        self.http.check(file, key)
    }
}

/// What a URL can take between `//` and the path; brackets and colons are for IPv6.
pub(in crate::scrape) fn is_address(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]%".contains(c);
    !text.is_empty() && text.chars().all(|c| allowed(c) || (!c.is_ascii() && c.is_alphanumeric()))
}

fn is_pattern(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    let known = extension.is_some_and(|ext| ["json", "yml", "yaml"].iter().any(|is| ext == *is));
    let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned());
    known && !folder.is_some_and(|folder| folder.contains('*'))
}
