//! `remote_write` of alertd.yaml: Prometheus' keys with its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use reqwest::Url;
use serde::{Deserialize, Deserializer};

use super::{Protocol, V1_MESSAGE, V2_MESSAGE};
use crate::http_client::{HttpClientConfig, split};
use crate::model::labels::Labels;
use crate::relabel::Rule;

/// Least and most of `queue_config.max_queue_mib`.
const QUEUE_MIB: std::ops::RangeInclusive<u64> = 16..=1024 * 1024;
/// Names longer than this would be unwieldy as folders.
const MOST_NAME: usize = 64;

/// One receiver that samples are sent to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RemoteWriteConfig {
    pub url: String,
    /// Names the queue's folder and the metrics; made from the URL when it is left out.
    #[serde(default)]
    pub name: String,
    /// Longest wait for one answer.
    #[serde(default = "half_a_minute", with = "duration")]
    pub remote_timeout: Duration,
    /// Applied to each series, `external_labels` included, before it is sent.
    #[serde(default)]
    pub write_relabel_configs: Vec<Rule>,
    /// Further headers of each request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Full name of the message that is sent.
    #[serde(default = "v1_message")]
    protobuf_message: String,
    /// Exemplars and native histograms are not kept, so there are none to send.
    #[serde(default)]
    send_exemplars: bool,
    #[serde(default)]
    send_native_histograms: bool,
    #[serde(default)]
    pub queue_config: QueueConfig,
    #[serde(default)]
    pub metadata_config: MetadataConfig,
    #[serde(skip)]
    pub http: HttpClientConfig,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Samples of one shard that are held in memory.
    pub capacity: usize,
    /// Requests at a time: at least, at most.
    pub min_shards: usize,
    pub max_shards: usize,
    pub max_samples_per_send: usize,
    /// Longest time that a sample waits for a request to fill up.
    #[serde(with = "duration")]
    pub batch_send_deadline: Duration,
    /// Wait after a failed request; doubled after each further one.
    #[serde(with = "duration")]
    pub min_backoff: Duration,
    #[serde(with = "duration")]
    pub max_backoff: Duration,
    /// Sends again what was answered with 429. Unlike Prometheus, unless told otherwise.
    pub retry_on_http_429: bool,
    /// Older samples are not sent; zero sends all.
    #[serde(with = "duration")]
    pub sample_age_limit: Duration,
    /// Most that waits on disk, in MiB; beyond it the oldest goes. Not a key of Prometheus.
    pub max_queue_mib: u64,
}

/// What is said about scraped metrics. In version 2.0 it goes with the samples, so only `send` counts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataConfig {
    pub send: bool,
    #[serde(with = "duration")]
    pub send_interval: Duration,
    /// Metrics of one request.
    pub max_samples_per_send: usize,
}

impl Default for MetadataConfig {
    fn default() -> MetadataConfig {
        MetadataConfig {
            send: true,
            send_interval: Duration::from_secs(60),
            max_samples_per_send: 2000,
        }
    }
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            capacity: 10_000,
            min_shards: 1,
            max_shards: 50,
            max_samples_per_send: 2000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_http_429: true,
            sample_age_limit: Duration::ZERO,
            max_queue_mib: 1024,
        }
    }
}

impl<'de> Deserialize<'de> for RemoteWriteConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RemoteWriteConfig, D::Error> {
        let (mut remote, mut http) = split(from, |rest| RemoteWriteConfig::deserialize(rest))?;
        for (name, value) in &remote.headers {
            http.http_headers.entry(name.clone()).or_default().values.push(value.clone());
        }
        if remote.name.is_empty() {
            let hash = Labels::from_pairs([("url", remote.url.as_str())]).fingerprint().to_string();
            remote.name = hash.chars().take(8).collect();
        }
        Ok(RemoteWriteConfig { http, ..remote })
    }
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn v1_message() -> String {
    V1_MESSAGE.to_owned()
}

/// Checks what types cannot say; `file` is only for messages.
pub fn check(remotes: &[RemoteWriteConfig], file: &Path) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for (number, remote) in remotes.iter().enumerate() {
        let key = format!("remote_write[{number}]");
        remote.check(file, &key)?;
        if !names.insert(&remote.name) {
            let found = format!("{:?} a second time", remote.name);
            let expected = "a name of its own for each receiver";
            return Err(Invalid::value(file, format!("{key}.name"), expected, found));
        }
    }
    Ok(())
}

impl RemoteWriteConfig {
    pub fn protocol(&self) -> Protocol {
        // Checked when the configuration was read.
        Protocol::of_message(&self.protobuf_message).unwrap_or_default()
    }

    /// Makes relative paths begin at the folder of the configuration.
    pub fn start_paths_at(&mut self, folder: &Path) {
        self.http.start_paths_at(folder);
    }

    fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        let wrong = |name: &str, expected: &str, found: String| {
            Err(Invalid::value(file, format!("{key}.{name}"), expected, found))
        };
        let url = Url::parse(&self.url).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            // Not shown: it may hold a password.
            return wrong("url", "a URL with http or https", "something else".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !self.name.chars().all(plain) || self.name.len() > MOST_NAME {
            let expected = "at most 64 letters, digits, - and _: it names a folder";
            return wrong("name", expected, format!("{:?}", self.name));
        }
        if Protocol::of_message(&self.protobuf_message).is_none() {
            let expected = format!("{V1_MESSAGE} or {V2_MESSAGE}");
            return wrong("protobuf_message", &expected, self.protobuf_message.clone());
        }
        for (name, on) in [
            ("send_exemplars", self.send_exemplars),
            ("send_native_histograms", self.send_native_histograms),
        ] {
            if on {
                return wrong(name, "false: alertd keeps none", "true".to_owned());
            }
        }
        let QueueConfig { min_shards, max_shards, min_backoff, max_backoff, .. } =
            self.queue_config;
        for (name, value) in [
            ("queue_config.capacity", self.queue_config.capacity),
            ("queue_config.min_shards", min_shards),
            ("queue_config.max_samples_per_send", self.queue_config.max_samples_per_send),
            ("metadata_config.max_samples_per_send", self.metadata_config.max_samples_per_send),
        ] {
            if value == 0 || value > 1_000_000 {
                return wrong(name, "1 to 1000000", value.to_string());
            }
        }
        if !(min_shards..=1000).contains(&max_shards) {
            let expected = "min_shards to 1000";
            return wrong("queue_config.max_shards", expected, max_shards.to_string());
        }
        for (name, time) in [
            ("remote_timeout", self.remote_timeout),
            ("queue_config.min_backoff", min_backoff),
            ("queue_config.batch_send_deadline", self.queue_config.batch_send_deadline),
            ("metadata_config.send_interval", self.metadata_config.send_interval),
        ] {
            if time.is_zero() {
                return wrong(name, "more than 0s", "0s".to_owned());
            }
        }
        if max_backoff < min_backoff {
            let found = duration::format(max_backoff);
            return wrong("queue_config.max_backoff", "at least min_backoff", found);
        }
        if !QUEUE_MIB.contains(&self.queue_config.max_queue_mib) {
            let found = self.queue_config.max_queue_mib.to_string();
            return wrong("queue_config.max_queue_mib", "16 to 1048576", found);
        }
        self.http.check(file, key)
    }
}

#[cfg(test)]
mod tests {
    use pitcrew_exporter::config::yaml;

    use super::*;

    fn read(text: &str) -> Result<Vec<RemoteWriteConfig>, Invalid> {
        let file = Path::new("alertd.yaml");
        let remotes: Vec<RemoteWriteConfig> = yaml::parse(file, text)?;
        check(&remotes, file).map(|()| remotes)
    }

    #[test]
    fn a_whole_one() {
        let text = "
- url: https://mimir.example.org/api/v1/push
  name: mimir
  remote_timeout: 10s
  headers: { X-Scope-OrgID: ci }
  protobuf_message: io.prometheus.write.v2.Request
  basic_auth: { username: ci, password: hunter2 }
  tls_config: { server_name: mimir }
  queue_config: { capacity: 5000, max_shards: 4, retry_on_http_429: false }
  metadata_config: { send: false, send_interval: 30s, max_samples_per_send: 500 }
- url: http://127.0.0.1:9090/api/v1/write
";
        let remotes = read(text).unwrap();
        let mimir = &remotes[0];
        assert_eq!(mimir.protocol(), Protocol::V2);
        assert_eq!(mimir.http.http_headers["X-Scope-OrgID"].values, ["ci"]);
        assert_eq!(mimir.queue_config.max_samples_per_send, 2000);
        assert!(!mimir.metadata_config.send && remotes[1].metadata_config.send);
        assert!(!format!("{mimir:?}").contains("hunter2"));
        assert_eq!((remotes[1].protocol(), remotes[1].name.len()), (Protocol::V1, 8));
    }

    #[test]
    fn what_cannot_be() {
        for (text, want) in [
            ("[{ url: ftp://a }]", "remote_write[0].url: expected a URL with http or https"),
            ("[{ url: 'http://a', nam: a }]", "did you mean `name`?"),
            ("[{ url: 'http://a', name: ../x }]", "remote_write[0].name: expected at most 64"),
            ("[{ url: 'http://a' }, { url: 'http://a' }]", "remote_write[1].name: expected a name"),
            ("[{ url: 'http://a', send_exemplars: true }]", "send_exemplars: expected false"),
            ("[{ url: 'http://a', protobuf_message: x }]", "expected prometheus.WriteRequest or"),
            ("[{ url: 'http://a', headers: { Host: b } }]", "remote_write[0].http_headers"),
            ("[{ url: 'http://a', queue_config: { max_shards: 0 } }]", "expected min_shards to"),
            ("[{ url: 'http://a', queue_config: { capacity: 0 } }]", "queue_config.capacity"),
            ("[{ url: 'http://a', queue_config: { max_queue_mib: 1 } }]", "expected 16 to"),
            ("[{ url: 'http://a', metadata_config: { send_interval: 0s } }]", "more than 0s"),
            (
                "[{ url: 'http://a', bearer_token: a, basic_auth: { username: b } }]",
                "remote_write[0].bearer_token: expected at most one",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
