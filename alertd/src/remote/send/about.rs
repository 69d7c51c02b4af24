//! What is said about scraped metrics, on its way to a receiver.
//!
//! Version 1.0 has requests of their own for it, which are sent now and then; version 2.0 says it
//! beside the samples of each series. It is not queued: the next time all of it is said again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::warn;

use super::super::{Protocol, encode};
use super::Shared;
use super::post::Answer;
use crate::model::metadata::{About, Metadata, about};

/// What the pages of all targets say now.
pub type Scraped = Arc<dyn Fn() -> Vec<Arc<Metadata>> + Send + Sync>;

/// How often version 2.0 looks whether something else is said.
const LOOK: Duration = Duration::from_secs(1);

/// What is known, by metric, and the pages that it was gathered from.
#[derive(Default)]
pub(super) struct Known(RwLock<Arc<Merged>>);

#[derive(Default)]
pub(super) struct Merged {
    pages: Vec<Arc<Metadata>>,
    metrics: HashMap<Box<str>, About>,
}

impl Known {
    pub(super) fn current(&self) -> Arc<Merged> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn follow(&self, pages: Vec<Arc<Metadata>>) {
        let before = self.current();
        let pairs = before.pages.iter().zip(&pages);
        let same = before.pages.len() == pages.len();
        if same && pairs.into_iter().all(|(one, other)| Arc::ptr_eq(one, other)) {
            return;
        }
        let mut metrics = HashMap::new();
        for (name, about) in pages.iter().flat_map(|page| page.iter()) {
            metrics.entry(name.clone()).or_insert_with(|| about.clone());
        }
        let merged = Arc::new(Merged { pages, metrics });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = merged;
    }
}

impl Merged {
    /// By the name of a series.
    pub(super) fn about(&self, series: &str) -> Option<&About> {
        about(series, |name| self.metrics.get(name))
    }
}

/// Without end.
pub(super) async fn tell(shared: &Shared, scraped: Scraped) {
    let config = &shared.config.metadata_config;
    if !config.send {
        return std::future::pending().await;
    }
    let (first, every) = match shared.poster.protocol() {
        Protocol::V1 => (Instant::now() + config.send_interval, config.send_interval),
        Protocol::V2 => (Instant::now(), LOOK),
    };
    let mut ticks = time::interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match shared.poster.protocol() {
            Protocol::V1 => send(shared, &scraped()).await,
            Protocol::V2 => shared.known.follow(scraped()),
        }
    }
}

/// Each thing that is said once, whoever says it.
async fn send(shared: &Shared, pages: &[Arc<Metadata>]) {
    let said: BTreeSet<_> = pages.iter().flat_map(|page| page.iter()).collect();
    let said: Vec<_> = said.into_iter().collect();
    let outlet = &shared.outlet;
    for chunk in said.chunks(shared.config.metadata_config.max_samples_per_send) {
        let mut body = encode::Body::new(Protocol::V1);
        chunk.iter().for_each(|(name, about)| body.metadata(name, about));
        let answer = shared.poster.post(Bytes::from(body.finish()), 0).await;
        outlet.metrics.described(chunk.len(), matches!(answer, Answer::Taken { .. }));
        if let Answer::Later { why, .. } | Answer::Refused { why, .. } = answer {
            warn!(remote = outlet.name, why, "the receiver was not told about metrics");
            // The rest of it would fare no better; the next round has all of it again.
            return;
        }
    }
}
