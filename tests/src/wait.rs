//! Waiting for a condition instead of sleeping for a guessed time.

use std::time::Duration;

use pitcrew_exporter::clock;

/// Asks `holds` every 20 ms until it is true; panics with `what` when `limit` has passed.
pub async fn until(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = clock::monotonic();
    while !holds().await {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
