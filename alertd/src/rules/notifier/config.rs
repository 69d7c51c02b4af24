//! `alerting` of alertd.yaml: Prometheus' keys with its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use reqwest::Url;
use serde::{Deserialize, Deserializer};

use crate::http_client::{HttpClientConfig, split};
use crate::model::labels::Labels;
use crate::relabel::{self, Rule};
use crate::scrape::config::{Scheme, StaticConfig};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__alerts_path__";
/// Alertmanagers beyond which a configuration is surely a slip.
const MOST: usize = 100;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertingConfig {
    /// Applied to each alert, `external_labels` included, before it is sent.
    pub alert_relabel_configs: Vec<Rule>,
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

/// Some Alertmanagers that are reached in the same way.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AlertmanagerConfig {
    #[serde(default)]
    pub static_configs: Vec<StaticConfig>,
    #[serde(default)]
    scheme: Scheme,
    #[serde(default)]
    path_prefix: String,
    /// Longest wait for one answer.
    #[serde(default = "ten_seconds", with = "duration")]
    pub timeout: Duration,
    /// There is no other any more.
    #[serde(default)]
    api_version: ApiVersion,
    /// Rewrite or drop the addresses.
    #[serde(default)]
    relabel_configs: Vec<Rule>,
    /// Applied after those that hold for all.
    #[serde(default)]
    pub alert_relabel_configs: Vec<Rule>,
    #[serde(skip)]
    pub http: HttpClientConfig,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ApiVersion {
    #[default]
    V2,
}

impl<'de> Deserialize<'de> for AlertmanagerConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<AlertmanagerConfig, D::Error> {
        let (config, http) = split(from, |rest| AlertmanagerConfig::deserialize(rest))?;
        Ok(AlertmanagerConfig { http, ..config })
    }
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl AlertingConfig {
    /// Checks what types cannot say; `file` is only for messages.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let mut count = 0;
        for (number, alertmanager) in self.alertmanagers.iter().enumerate() {
            let key = format!("alerting.alertmanagers[{number}]");
            alertmanager.check(file, &key)?;
            count += alertmanager.urls().len();
        }
        match count > MOST {
            true => {
                let (key, expected) = ("alerting.alertmanagers", format!("at most {MOST}"));
                Err(Invalid::value(file, key, expected, count.to_string()))
            }
            false => Ok(()),
        }
    }

    /// Makes relative paths begin at the folder of the configuration.
    pub fn start_paths_at(&mut self, folder: &Path) {
        self.alertmanagers.iter_mut().for_each(|one| one.http.start_paths_at(folder));
    }
}

impl AlertmanagerConfig {
    /// Where alerts are posted to, each once; what relabelling drops or spoils is left out.
    pub fn urls(&self) -> BTreeSet<String> {
        self.targets().filter_map(|(_, url)| url.ok()).collect()
    }

    fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        for (number, group) in self.static_configs.iter().enumerate() {
            let key = format!("{key}.static_configs[{number}]");
            group.check(file, &key, self.relabel_configs.is_empty())?;
        }
        if self.timeout.is_zero() {
            return Err(Invalid::value(file, format!("{key}.timeout"), "more than 0s", "0s"));
        }
        for (address, url) in self.targets() {
            if let Err(found) = url {
                let key = format!("{key}.static_configs");
                let expected = format!("an address that makes a URL of {address}");
                return Err(Invalid::value(file, key, expected, found));
            }
        }
        self.http.check(file, key)
    }

    /// Each address with the URL that it becomes, or what came instead.
    fn targets(&self) -> impl Iterator<Item = (&str, Result<String, String>)> {
        let all = self.static_configs.iter().flat_map(|group| {
            group.targets.iter().map(move |address| (address.as_str(), &group.labels))
        });
        all.filter_map(|(address, labels)| {
            let labels = self.discovered(address, labels);
            relabel::apply(&self.relabel_configs, &labels).map(|labels| (address, url(&labels)))
        })
    }

    fn discovered(&self, address: &str, labels: &BTreeMap<String, String>) -> Labels {
        let mut labels = labels.clone();
        let prefix = self.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        labels.insert(ADDRESS.to_owned(), address.to_owned());
        labels.insert(SCHEME.to_owned(), self.scheme.name().to_owned());
        labels.insert(PATH.to_owned(), format!("{slash}{prefix}/api/v2/alerts"));
        Labels::from_pairs(labels)
    }
}

fn url(labels: &Labels) -> Result<String, String> {
    let part = |name| labels.get(name).unwrap_or("");
    let text = format!("{}://{}{}", part(SCHEME), part(ADDRESS), part(PATH));
    let parsed = Url::parse(&text).ok();
    let right = parsed.filter(|url| {
        // Somebody's password has no place in logs and metrics.
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
    });
    right.map(|url| url.to_string()).ok_or(text)
}

#[cfg(test)]
mod tests {
    use pitcrew_exporter::config::yaml;

    use super::*;

    fn read(text: &str) -> Result<AlertingConfig, Invalid> {
        let file = Path::new("alertd.yaml");
        let alerting: AlertingConfig = yaml::parse(file, text)?;
        alerting.check(file).map(|()| alerting)
    }

    #[test]
    fn addresses_become_urls() {
        let text = "
alert_relabel_configs: [ { action: labeldrop, regex: replica } ]
alertmanagers:
- scheme: https
  path_prefix: /am/
  timeout: 3s
  api_version: v2
  basic_auth: { username: ci, password: hunter2 }
  tls_config: { insecure_skip_verify: true }
  static_configs: [ { targets: ['a:9093', 'b:9093', 'a:9093'], labels: { zone: north } } ]
  relabel_configs:
  - { source_labels: [__address__], regex: 'b:.*', action: drop }
- static_configs: [ { targets: ['127.0.0.1:9093', '[::1]:9093'] } ]
";
        let alerting = read(text).unwrap();
        let urls: Vec<_> = alerting.alertmanagers.iter().flat_map(|one| one.urls()).collect();
        let want = [
            "https://a:9093/am/api/v2/alerts",
            "http://127.0.0.1:9093/api/v2/alerts",
            "http://[::1]:9093/api/v2/alerts",
        ];
        assert_eq!(urls, want);
        assert_eq!(alerting.alertmanagers[0].timeout, Duration::from_secs(3));
        assert!(alerting.alertmanagers[0].http.basic_auth.is_some());
        assert_eq!(alerting.alert_relabel_configs.len(), 1);
    }

    #[test]
    fn what_cannot_be() {
        for (text, want) in [
            ("alertmanager: []", "did you mean `alertmanagers`?"),
            ("alertmanagers: [ { api_version: v1 } ]", "v2"),
            ("alertmanagers: [ { timeout: 0s } ]", "alertmanagers[0].timeout: expected more than"),
            ("alertmanagers: [ { scheme: ftp } ]", "http"),
            (
                "alertmanagers: [ { static_configs: [ { targets: ['http://a'] } ] } ]",
                "alertmanagers[0].static_configs[0].targets: expected host",
            ),
            (
                "alertmanagers: [ { static_configs: [ { targets: [a] } ], relabel_configs: [ { target_label: __scheme__, replacement: ftp } ] } ]",
                "expected an address that makes a URL of a, found ftp://a/api/v2/alerts",
            ),
            ("alertmanagers: [ { bearer_token: a, basic_auth: { username: b } } ]", "at most one"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
