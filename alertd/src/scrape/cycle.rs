//! The loop of one target: wait, fetch, store, record; and the end of its series when it goes.

use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::clock::monotonic;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fetch::{FetchError, Fetched, Fetcher};
use super::ingest::{Batch, Counts, Ingest, PageError};
use super::metrics::ScrapeMetrics;
use super::target::Target;
use super::targets::{Health, Outcome, Targets};
use crate::clock;
use crate::model::causes::causes;
use crate::model::querier::{Appended, Store, StoreError};
use crate::model::sample::{Timestamp, stale_marker};

/// The second scrape of an eager start.
const EAGER_SECOND: Duration = Duration::from_millis(500);

/// The series that Prometheus writes about each scrape.
const ABOUT: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// What all loops share.
#[derive(Clone)]
pub(super) struct Shell {
    pub(super) store: Arc<dyn Store>,
    pub(super) targets: Targets,
    pub(super) metrics: ScrapeMetrics,
    pub(super) eager: bool,
}

#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error("store refused the page")]
    Store(#[from] StoreError),
    #[error("reading the page ended before its time")]
    Interrupted,
}

/// Runs until `stop` (the program ends, series go on after a restart) or `gone` (the target is no
/// longer configured, its series end now).
pub(super) async fn run(
    shell: Shell,
    fetcher: Arc<Fetcher>,
    target: Arc<Target>,
    stop: CancellationToken,
    gone: CancellationToken,
) {
    let mut ingest = Ingest::new(Arc::clone(&target), Arc::clone(&fetcher.job));
    let first = first_wait(clock::now(), target.interval, target.offset());
    let mut ticks = interval_at(Instant::now() + first, target.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut eager = shell.eager.then_some(Duration::ZERO);
    loop {
        let due = async {
            match eager {
                Some(wait) => tokio::time::sleep(wait).await,
                None => drop(ticks.tick().await),
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = gone.cancelled() => break,
            () = due => {}
        }
        eager = eager.filter(Duration::is_zero).map(|_| EAGER_SECOND);
        let (now, start) = (clock::now(), monotonic());
        let at = aligned(now, target.interval, target.offset());
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = gone.cancelled() => break,
            fetched = fetcher.fetch(&target) => fetched,
        };
        let store = Arc::clone(&shell.store);
        let took = move || start.elapsed();
        let work = move || {
            let done = scraped(&mut ingest, &*store, fetched, at, &took);
            (ingest, done)
        };
        let done;
        (ingest, done) = tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
            let fresh = Ingest::new(Arc::clone(&target), Arc::clone(&fetcher.job));
            (fresh, Done::failed(ScrapeError::Interrupted, start.elapsed()))
        });
        shell.targets.describe(&target, ingest.metadata.metadata());
        record(&shell, &target, at, done);
    }
    let now = clock::now();
    let mut batch = ingest.end(now);
    batch.extend(ABOUT.map(|name| ingest.about(name, stale_marker(), now)));
    let store = Arc::clone(&shell.store);
    let ended = tokio::task::spawn_blocking(move || store.append(&batch)).await;
    if let Ok(Err(error)) = ended {
        let (job, instance) = (target.job(), target.instance());
        warn!(%error, job, instance, "stale markers of a removed target not stored");
    }
}

/// The time to a target's next place in its interval, counted from the epoch, so that restarts and
/// a second alertd keep the rhythm.
fn first_wait(now: Timestamp, interval: Duration, offset: Duration) -> Duration {
    let millis = |time: Duration| i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
    let wait = (millis(offset) - i128::from(now.0)).rem_euclid(millis(interval).max(1));
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}

/// The place in the interval that `now` is just after, or `now`: regular timestamps take less room.
fn aligned(now: Timestamp, interval: Duration, offset: Duration) -> Timestamp {
    let next = first_wait(now, interval, offset);
    let late = interval.checked_sub(next).filter(|_| !next.is_zero()).unwrap_or_default();
    let late = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
    // Prometheus' tolerance, less for very short intervals.
    let tolerance = i64::try_from(interval.as_millis() / 100).unwrap_or(i64::MAX).min(2);
    if late <= tolerance { Timestamp(now.0 - late) } else { now }
}

struct Done {
    result: Result<(), ScrapeError>,
    counts: Counts,
    appended: Appended,
    took: Duration,
}

impl Done {
    fn failed(error: ScrapeError, took: Duration) -> Done {
        let (counts, appended) = (Counts::default(), Appended::default());
        Done { result: Err(error), counts, appended, took }
    }
}

/// Stores a page, or the end of all series when there is none, and the series about the scrape.
fn scraped(
    ingest: &mut Ingest,
    store: &dyn Store,
    fetched: Result<Fetched, FetchError>,
    at: Timestamp,
    took: &dyn Fn() -> Duration,
) -> Done {
    let (counts, page) = match fetched {
        Ok(Fetched { text, format }) => {
            let (counts, page) = ingest.page(&text, format, at);
            (counts, page.map_err(ScrapeError::from))
        }
        Err(error) => (Counts::default(), Err(error.into())),
    };
    let took = took();
    let about = |ingest: &Ingest, up: bool| {
        let values = [
            f64::from(u8::from(up)),
            took.as_secs_f64(),
            counts.scraped as f64,
            counts.kept as f64,
            counts.added as f64,
        ];
        ABOUT
            .iter()
            .zip(values)
            .map(|(name, value)| ingest.about(name, value, at))
            .collect::<Batch>()
    };
    let stored = page.and_then(|mut batch| {
        batch.extend(about(ingest, true));
        Ok(store.append(&batch)?)
    });
    let error = match stored {
        Ok(appended) => return Done { result: Ok(()), counts, appended, took },
        Err(error) => error,
    };
    let mut batch = ingest.end(at);
    batch.extend(about(ingest, false));
    match store.append(&batch) {
        Ok(appended) => Done { result: Err(error), counts, appended, took },
        Err(worse) => Done { counts, ..Done::failed(worse.into(), took) },
    }
}

/// Tells metrics, the live view and, where something changed, the log.
fn record(shell: &Shell, target: &Arc<Target>, at: Timestamp, done: Done) {
    let Done { result, counts, appended, took } = done;
    shell.metrics.scraped(match &result {
        Ok(()) => "success",
        Err(ScrapeError::Fetch(error)) => error.outcome(),
        Err(ScrapeError::Page(PageError::Malformed(_))) => "malformed",
        Err(ScrapeError::Page(_)) => "limit",
        Err(ScrapeError::Store(_) | ScrapeError::Interrupted) => "store",
    });
    let refused = if result.is_err() { counts.kept } else { 0 };
    shell.metrics.stored(appended, counts.future, refused);
    let error = result.err().map(|error| causes(&error));
    let health = if error.is_none() { Health::Up } else { Health::Down };
    let outcome = Outcome {
        health,
        at: Some(at),
        duration: took,
        error: error.clone(),
        samples: counts.scraped,
    };
    let before = shell.targets.record(target, outcome).unwrap_or_default();
    let (job, instance) = (target.job(), target.instance());
    match error {
        Some(error) if before.error.as_ref() != Some(&error) => {
            warn!(error, job, instance, "scrape failed");
        }
        Some(error) => debug!(error, job, instance, "scrape failed again"),
        None if before.health == Health::Down => info!(job, instance, "scrape works again"),
        None => {}
    }
    let Appended { duplicate, out_of_order, over_limit, .. } = appended;
    let future = counts.future;
    if duplicate + out_of_order + over_limit + future > 0 {
        debug!(job, instance, duplicate, out_of_order, over_limit, future, "samples refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_regular_where_the_scrape_was() {
        for (now, interval, want) in [
            (10_003, 1000, 10_003),
            (10_004, 1000, 10_003),
            (10_005, 1000, 10_003),
            (10_006, 1000, 10_006),
            (10_002, 1000, 10_002),
            (10_004, 50, 10_004),
            (-997, 1000, -997),
            (-996, 1000, -997),
        ] {
            let millis = Duration::from_millis;
            assert_eq!(aligned(Timestamp(now), millis(interval), millis(3)).0, want, "{now}");
        }
    }

    #[test]
    fn first_wait_keeps_the_rhythm() {
        for (now, interval, offset, want) in
            [(0, 10, 3, 3), (3, 10, 3, 0), (4, 10, 3, 9), (1_000_004, 10, 3, 9), (-1, 10, 3, 4)]
        {
            let millis = Duration::from_millis;
            let wait = first_wait(Timestamp(now), millis(interval), millis(offset));
            assert_eq!(wait, millis(want), "at {now}");
        }
    }
}
