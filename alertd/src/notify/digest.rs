//! The daily digest: what fired and ended, how fast it was told and mended, what fires still.
//!
//! It is made from the history of alerts when its time has come, and sent by tasks of their own, so
//! it never stands in the way of a notification. How far the digests of a receiver reach is kept in
//! SQLite: one that was missed while the program was down is sent at the start, and none twice but
//! for a kill between the answer and its record (by mail under the same Message-ID).

mod compose;
mod render;
mod when;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::compose::{Summary, compose};
use super::email::Email;
use super::http::Endpoint;
use super::{NotifyError, Settings};
use crate::clock;
use crate::db::DbError;
use crate::db::history::History;
use crate::model::sample::Timestamp;
use crate::route::config::Notifications;
use crate::route::receiver::digest::Digest;
use crate::route::receiver::integration_key;
use crate::route::silence::Silence;

/// Between two looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_secs(30);
/// A digest reaches back no longer: what came before was missed while the program was down.
const LONGEST: Duration = Duration::from_secs(8 * 86_400);
/// Between two attempts: from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// The silences that are active at a moment.
pub type Silenced = Arc<dyn Fn(Timestamp) -> Vec<Arc<Silence>> + Send + Sync>;

#[derive(Clone, Default)]
pub struct DigestMetrics(Family<OutcomeLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl DigestMetrics {
    pub fn new(registry: &mut Registry) -> DigestMetrics {
        let metrics = DigestMetrics::default();
        let help = "Attempts to send a daily digest, by outcome";
        registry.register("pitcrew_alertd_digests", help, metrics.0.clone());
        for outcome in ["sent", "failed"] {
            metrics.0.get_or_create(&OutcomeLabels { outcome }).inc_by(0);
        }
        metrics
    }
}

struct Job {
    /// Names it in the database and in its mails' ids.
    key: String,
    digest: Digest,
    email: Option<Email>,
    slack: Option<Endpoint>,
    external_url: String,
}

/// Sends every receiver's digest when its time has come, until `stop`.
pub async fn run(
    config: Arc<Notifications>,
    settings: Settings,
    history: History,
    silenced: Silenced,
    metrics: DigestMetrics,
    stop: CancellationToken,
) {
    let mut jobs = JoinSet::new();
    for receiver in &config.receivers {
        let Some(digest) = &receiver.additions.digest else { continue };
        let slack = digest.slack.as_ref();
        let job = Job {
            key: integration_key(&receiver.name, "digest", 0),
            digest: digest.clone(),
            email: digest.email.as_ref().map(|email| Email::new(email, &settings)),
            slack: slack.map(|slack| {
                let (url, http) = (slack.url.clone(), slack.http.clone());
                Endpoint::new(url, http, settings.attempt_timeout)
            }),
            external_url: settings.external_url.clone(),
        };
        let (history, silenced) = (history.clone(), Arc::clone(&silenced));
        let (metrics, stop) = (metrics.clone(), stop.clone());
        jobs.spawn(async move { job.run(history, silenced, metrics, stop).await });
    }
    // Without any it waits all the same: its end would be taken for a fault.
    stop.cancelled().await;
    while jobs.join_next().await.is_some() {}
}

impl Job {
    async fn run(
        self,
        history: History,
        silenced: Silenced,
        metrics: DigestMetrics,
        stop: CancellationToken,
    ) {
        let mut failures: u32 = 0;
        loop {
            let wait = match self.turn(&history, &silenced).await {
                Ok(true) => {
                    metrics.0.get_or_create(&OutcomeLabels { outcome: "sent" }).inc();
                    info!(integration = self.key, "digest sent");
                    failures = 0;
                    LOOK
                }
                Ok(false) => LOOK,
                Err(error) => {
                    metrics.0.get_or_create(&OutcomeLabels { outcome: "failed" }).inc();
                    error!(error, integration = self.key, "digest not sent yet");
                    failures += 1;
                    let doubled = FIRST_WAIT.saturating_mul(1 << (failures - 1).min(10));
                    doubled.min(LONGEST_WAIT).mul_f64(0.5 + fastrand::f64() / 2.0)
                }
            };
            if stop.run_until_cancelled(time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Sends the digest if it is due; whether it was.
    async fn turn(&self, history: &History, silenced: &Silenced) -> Result<bool, String> {
        let now = clock::now();
        let due = when::last(now, self.digest.minute, self.digest.timezone);
        let store = |error: DbError| error.to_string();
        let Some(covered) = history.covered(self.key.clone()).await.map_err(store)? else {
            // The first start: what was before nobody has asked for.
            history.cover(self.key.clone(), now).await.map_err(store)?;
            return Ok(false);
        };
        if covered >= due {
            // After a clock that was set back it counts from here on.
            if covered > now.plus(LONGEST) {
                history.cover(self.key.clone(), now).await.map_err(store)?;
            }
            return Ok(false);
        }
        let from = covered.max(due.minus(LONGEST));
        let episodes = history.between(from, due).await.map_err(store)?;
        let summary = compose(&episodes, &self.digest.severities, from, due, silenced(now));
        self.send(&summary).await.map_err(|error| error.to_string())?;
        history.cover(self.key.clone(), due).await.map_err(store)?;
        Ok(true)
    }

    async fn send(&self, summary: &Summary) -> Result<(), NotifyError> {
        let zone = self.digest.timezone;
        if let Some(email) = &self.email {
            let subject = render::subject(summary, zone);
            let text = render::plain(summary, zone, &self.external_url);
            let html = render::page(summary, zone, &self.external_url);
            let id = format!("digest.{}.{}", hash(&self.key), summary.to.0);
            email.letter(&id, summary.to, subject, text, html).await?;
        }
        if let Some(slack) = &self.slack {
            let text = render::slack(summary, zone, &self.external_url);
            let mut body = serde_json::json!({ "text": text });
            if let Some(channel) = self.digest.slack.as_ref().and_then(|own| own.channel.as_ref()) {
                body["channel"] = channel.as_str().into();
            }
            slack.post(body.to_string(), &[]).await?;
        }
        Ok(())
    }
}

fn hash(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    crate::route::notification::hex(hash.as_ref())
}
