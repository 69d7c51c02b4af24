//! What cannot be delivered, told another way: as an alert that goes to the failure receiver.

use std::sync::Arc;

use tracing::error;

use super::Settings;
use super::metrics::NotifyMetrics;
use crate::db::outbox::Outbox;
use crate::model::causes::causes;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;
use crate::route::config::Notifications;
use crate::rules::own::Undelivered;

/// As much of an error is told.
const MOST_SHOWN: usize = 200;

/// Asks the outbox each time which receivers of the configuration are not reached. Blocks.
pub fn undelivered(
    config: &Notifications,
    settings: &Settings,
    outbox: Outbox,
    metrics: NotifyMetrics,
) -> Undelivered {
    let integrations = config.integrations();
    let keys: Vec<String> = integrations.iter().map(|one| one.key.clone()).collect();
    let after = settings.failing_after;
    Arc::new(move |now: Timestamp| {
        let found = outbox.failing(&keys, after, now).unwrap_or_else(|error| {
            error!(error = causes(&error), "outbox cannot be read");
            Vec::new()
        });
        metrics.failing(found.len());
        let of = |one: crate::db::outbox::failing::Failing| {
            let known = integrations.iter().find(|known| known.key == one.integration);
            let receiver = known.map_or("", |known| known.receiver.as_str()).to_owned();
            let error: String = one.error.chars().take(MOST_SHOWN).collect();
            let pairs =
                [("receiver", receiver), ("integration", one.integration), ("error", error)];
            (Labels::from_pairs(pairs), now.since(one.since).as_secs_f64())
        };
        found.into_iter().map(of).collect()
    })
}
