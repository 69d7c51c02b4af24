//! What the exporters say of runners, read from the store.

use std::sync::Arc;
use std::time::Duration;

use super::sight::Exporters;
use crate::model::alert::ActiveAlerts;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::Timestamp;

/// How far back a sample still counts, as in a query.
const LOOKBACK: Duration = Duration::from_secs(300);

/// What is fixed for the length of one look: the alerts, and what the store held just after.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Read before the store, so that the exporters' word is never older than the alert on it.
    pub(super) alerts: Arc<ActiveAlerts>,
    pub(super) exporters: Exporters,
    /// Runner and instance of every `runner_info`.
    pub(super) places: Vec<(String, String)>,
}

pub(super) fn read(
    store: &dyn Querier,
    alerts: Arc<ActiveAlerts>,
    now: Timestamp,
) -> Result<Said, StoreError> {
    let mut said = Said { alerts, ..Said::default() };
    for (labels, value) in last(store, "up", now)? {
        let Some(instance) = labels.get("instance") else { continue };
        let up = said.exporters.up.entry(instance.to_lowercase()).or_default();
        *up |= value == 1.0;
    }
    for (labels, value) in last(store, "runner_health", now)? {
        let Some(runner) = labels.get("runner") else { continue };
        let instance = labels.get("instance").unwrap_or("");
        let key = (runner.to_lowercase(), instance.to_lowercase());
        *said.exporters.health.entry(key).or_default() |= value == 1.0;
    }
    for (labels, _) in last(store, "runner_info", now)? {
        let (runner, instance) = (labels.get("runner"), labels.get("instance"));
        if let (Some(runner), Some(instance)) = (runner, instance) {
            said.places.push((runner.to_owned(), instance.to_owned()));
        }
    }
    Ok(said)
}

/// The last value of each series that has not ended.
fn last(store: &dyn Querier, name: &str, now: Timestamp) -> Result<Vec<(Labels, f64)>, StoreError> {
    store.latest(&[Matcher::equal(METRIC_NAME, name)], now, LOOKBACK)
}
