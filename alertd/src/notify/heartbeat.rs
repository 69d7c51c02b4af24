//! `heartbeat` of alertd.yaml: a request every minute or so to somebody outside, who calls for help
//! when it fails to come.
//!
//! It is sent only while there is proof of life: every group of rules is evaluated in its time, the
//! Watchdog fires, alerts are routed and notifications delivered. *Invariant:* nothing here makes up
//! for a missing proof.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::Method;
use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use reqwest::Url;
use serde::{Deserialize, Deserializer};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::http_client::{HttpClient, HttpClientConfig, split};
use crate::model::alert::AlertState;
use crate::model::causes::causes;
use crate::model::labels::ALERT_NAME;
use crate::model::sample::Timestamp;
use crate::rules::own::Undelivered;
use crate::rules::status::{GroupStatus, View};

/// Longest silence of routing and delivery: both look around twice a minute.
const SILENCE: Duration = Duration::from_secs(120);
/// Tries of one beat, spread over the interval.
const TRIES: u32 = 3;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Where to; mostly a secret, so one of `url` and `url_file`.
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    #[serde(default = "one_minute", with = "duration")]
    pub interval: Duration,
    /// Longest wait for one answer.
    #[serde(default = "ten_seconds", with = "duration")]
    pub timeout: Duration,
    /// The alert that has to fire.
    #[serde(default = "watchdog")]
    pub alert: String,
    #[serde(default)]
    pub method: Verb,
    #[serde(skip)]
    http: HttpClientConfig,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    #[default]
    Post,
    Get,
    Head,
}

impl<'de> Deserialize<'de> for HeartbeatConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HeartbeatConfig, D::Error> {
        let (config, http) = split(from, |rest| HeartbeatConfig::deserialize(rest))?;
        Ok(HeartbeatConfig { http, ..config })
    }
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn watchdog() -> String {
    "Watchdog".to_owned()
}

impl HeartbeatConfig {
    /// Checks what types cannot say; `file` is only for messages.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found: String| {
            Err(Invalid::value(file, format!("heartbeat.{key}"), expected, found))
        };
        match (&self.url, &self.url_file) {
            (None, Some(_)) => {}
            (Some(url), None) if is_url(url.reveal()) => {}
            // Not shown: it is a secret.
            (Some(_), None) => {
                return wrong("url", "a URL with http or https", "other text".into());
            }
            (None, None) => return wrong("url_file", "url or url_file", "neither".into()),
            (Some(_), Some(_)) => return wrong("url", "one of url, url_file", "both".into()),
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.interval) {
            return wrong("interval", "1s to 1d", duration::format(self.interval));
        }
        if self.timeout.is_zero() || self.timeout > self.interval {
            let expected =
                format!("more than 0s, at most interval ({})", duration::format(self.interval));
            return wrong("timeout", &expected, duration::format(self.timeout));
        }
        self.http.check(file, "heartbeat")
    }

    /// Makes relative paths begin at the folder of the configuration.
    pub fn start_paths_at(&mut self, folder: &Path) {
        if let Some(path) = &mut self.url_file {
            *path = folder.join(&path);
        }
        self.http.start_paths_at(folder);
    }

    /// Reads the files that it names, to find out whether they can be used.
    ///
    /// # Errors
    /// As a beat would fail.
    pub fn check_files(&self, file: &Path) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found| Invalid::value(file, key, expected, found);
        self.url().map_err(|why| wrong("heartbeat.url_file", "a URL with http or https", why))?;
        let http = self.http.check_files();
        http.map_err(|error| wrong("heartbeat", "files that can be used", causes(&error)))
    }

    fn url(&self) -> Result<Secret, String> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => Secret::read(path).map_err(|error| causes(&error))?,
            (None, None) => return Err("there is no URL".to_owned()),
        };
        match is_url(url.reveal()) {
            true => Ok(url),
            false => Err("the file does not hold a URL with http or https".to_owned()),
        }
    }
}

fn is_url(text: &str) -> bool {
    let url = Url::parse(text);
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[derive(Clone, Default)]
pub struct HeartbeatMetrics {
    sent: Counter,
    failed: Counter,
    withheld: Counter,
    last: Gauge<f64, AtomicU64>,
}

impl HeartbeatMetrics {
    pub fn new(registry: &mut Registry) -> HeartbeatMetrics {
        let metrics = HeartbeatMetrics::default();
        let name = |rest: &str| format!("pitcrew_alertd_heartbeat{rest}");
        for (rest, help, counter) in [
            ("s_sent", "Heartbeats that were answered with success", &metrics.sent),
            ("s_failed", "Heartbeats that were not, after all tries", &metrics.failed),
            ("s_withheld", "Heartbeats not sent, for want of a proof of life", &metrics.withheld),
        ] {
            registry.register(name(rest), help, counter.clone());
        }
        registry.register(
            name("_last_success_timestamp_seconds"),
            "When a heartbeat was last answered with success, in unixtime",
            metrics.last.clone(),
        );
        metrics
    }
}

/// Where proofs of life come from.
#[derive(Clone)]
pub struct Proofs {
    pub view: View,
    /// When this configuration came into effect.
    pub began: Timestamp,
    /// When routing and delivery last looked around, by name.
    pub loops: Arc<dyn Fn() -> Vec<(&'static str, Timestamp)> + Send + Sync>,
    pub undelivered: Undelivered,
    /// Who is told of what cannot be delivered to others.
    pub failure_receiver: Option<String>,
}

/// Sends heartbeats until `stop`.
pub async fn run(
    config: HeartbeatConfig,
    proofs: Proofs,
    metrics: HeartbeatMetrics,
    stop: CancellationToken,
) {
    let client = HttpClient::new(config.http.clone());
    let mut ticks = time::interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (view, now) = (proofs.view.groups(), clock::now());
        let mut trouble = missing(&view, &(proofs.loops)(), &config.alert, proofs.began, now);
        if trouble.is_none() {
            trouble = proofs.unreached(now).await;
        }
        if let Some(why) = trouble {
            metrics.withheld.inc();
            if !quiet {
                warn!(why, "no heartbeat is sent");
            }
            quiet = true;
            continue;
        }
        if std::mem::take(&mut quiet) {
            info!("heartbeats are sent again");
        }
        let Some(sent) = stop.run_until_cancelled(beat(&config, &client)).await else { return };
        match sent {
            Ok(()) => {
                metrics.sent.inc();
                metrics.last.set(clock::now().seconds());
            }
            Err(error) => {
                metrics.failed.inc();
                warn!(error, "heartbeat not sent");
            }
        }
    }
}

impl Proofs {
    /// A receiver that is not reached, when nobody else hears of that.
    async fn unreached(&self, now: Timestamp) -> Option<String> {
        let undelivered = Arc::clone(&self.undelivered);
        let found = tokio::task::spawn_blocking(move || undelivered(now)).await.unwrap_or_default();
        let receivers = found.iter().map(|(labels, _)| labels.get("receiver").unwrap_or(""));
        let last = self.failure_receiver.as_deref();
        let mut unheard = receivers.filter(|receiver| last.is_none_or(|last| last == *receiver));
        unheard.next().map(|receiver| format!("notifications do not reach {receiver}"))
    }
}

async fn beat(config: &HeartbeatConfig, client: &HttpClient) -> Result<(), String> {
    let mut last = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            time::sleep(config.interval / (TRIES * 4)).await;
        }
        match time::timeout(config.timeout, request(config, client)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => last = error,
            Err(_) => last = "no answer in time".to_owned(),
        }
    }
    Err(last)
}

async fn request(config: &HeartbeatConfig, client: &HttpClient) -> Result<(), String> {
    let method = match config.method {
        Verb::Post => Method::POST,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
    };
    let url = config.url()?;
    let request = client.request(method, url.reveal()).await.map_err(|error| causes(&error))?;
    let answer = request.send().await.map_err(|error| causes(&error.without_url()))?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(format!("answered with {}", answer.status().as_u16())),
    }
}

/// The proof of life that is missing, if one is.
fn missing(
    groups: &[Arc<GroupStatus>],
    loops: &[(&'static str, Timestamp)],
    alert: &str,
    began: Timestamp,
    now: Timestamp,
) -> Option<String> {
    for group in groups {
        let last = group.evaluated_at.unwrap_or(began);
        // Time for a rule that is cancelled in the end.
        let patience = group.interval.saturating_mul(3) + SILENCE;
        if now.since(last) > patience {
            let last = last.rfc3339();
            return Some(format!("group {} has not been evaluated since {last}", group.name));
        }
    }
    for (name, last) in loops {
        if now.since((*last).max(began)) > SILENCE {
            return Some(format!("{name} stands still since {}", last.rfc3339()));
        }
    }
    let fires = groups.iter().flat_map(|group| group.instances()).any(|one| {
        one.labels.get(ALERT_NAME) == Some(alert)
            && one.state == AlertState::Firing
            && one.unverified_since.is_none()
    });
    (!fires).then(|| format!("alert {alert} does not fire"))
}

#[cfg(test)]
mod tests;
