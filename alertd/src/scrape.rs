//! Scraping: one loop per target, from `scrape_configs` to samples in the store.

pub mod config;
pub mod exposition;
pub mod metadata;
pub mod metrics;
pub mod targets;

mod cycle;
mod discovery;
mod fetch;
mod ingest;
mod stale;
mod supervisor;
mod target;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::querier::Store;

/// Scrapes every target of `settings` until `stop`, and follows each change of `settings`: targets
/// that stay the same keep their loop, those that are gone get stale markers.
///
/// With `eager`, a target's first two scrapes happen at once and half a second later instead of at
/// its place in the interval. At `stop` no stale markers are written, as with Prometheus: a restart
/// within the lookback continues the series.
pub async fn run(
    mut settings: watch::Receiver<Arc<config::Settings>>,
    store: Arc<dyn Store>,
    targets: targets::Targets,
    metrics: metrics::ScrapeMetrics,
    eager: bool,
    stop: CancellationToken,
) {
    let shell = cycle::Shell { store, targets, metrics, eager };
    supervisor::run(&mut settings, shell, stop).await;
}
