//! The sender: what waits in a queue on disk to a receiver elsewhere, in order for each series.
//!
//! A reader takes records from the queue and divides each by the hash of its series into pieces,
//! one or more a shard. A shard sends its pieces one request after another, whole pieces to a
//! request. The queue's place moves on when all pieces of a record, and of those before it, are
//! settled: after a kill they are sent again, cut in the same way. A receiver that takes a request
//! whole or not at all, as Prometheus does, then refuses a piece that it has already, and no other.

mod about;
mod divide;
mod ledger;
mod post;
mod shard;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::about::Known;
pub use self::about::Scraped;
use self::divide::{Divider, Loaded, Part};
use self::ledger::Ledger;
use self::shard::{Piece, Shard};
use super::config::RemoteWriteConfig;
use super::forward::Outlet;
use crate::clock;
use crate::model::labels::Labels;

/// Bytes of records that are read from the queue at a time.
const READ: usize = 1 << 20;
/// How often what was queued is made to outlive the machine.
const SYNC: Duration = Duration::from_secs(1);
/// How often the number of shards is thought over.
const ADAPT: Duration = Duration::from_secs(10);
/// Wait after the queue could not be read or written.
const TROUBLE: Duration = Duration::from_secs(5);

/// What all parts of one sender share.
struct Shared {
    outlet: Arc<Outlet>,
    config: RemoteWriteConfig,
    poster: post::Poster,
    known: Known,
    stop: CancellationToken,
}

/// Sends what `outlet` holds and will hold until `stop`; the request under way may then end within
/// a second. What is left waits for the next run. `scraped` is asked what is known of metrics.
pub async fn run(
    outlet: Arc<Outlet>,
    config: RemoteWriteConfig,
    external_labels: Labels,
    scraped: Scraped,
    stop: CancellationToken,
) {
    let divider = Arc::new(Divider::new(&config, external_labels));
    let (_, shards) = outlet.queue.position();
    let queue = &config.queue_config;
    // As in the last run: what it may have sent is cut into the same pieces.
    let shards = usize::try_from(shards).unwrap_or(0);
    let mut shards = shards.clamp(queue.min_shards, queue.max_shards);
    let poster = post::Poster::new(&config);
    let shared = Arc::new(Shared { outlet, config, poster, known: Known::default(), stop });
    info!(remote = shared.outlet.name, shards, "sending");
    let sending = async {
        while let Some(wanted) = session(&shared, &divider, shards).await {
            info!(remote = shared.outlet.name, from = shards, to = wanted, "shards change");
            shards = wanted;
        }
    };
    tokio::select! {
        () = sending => {}
        () = sync(&shared.outlet) => {}
        () = about::tell(&shared, scraped) => {}
    }
}

/// Sends with so many shards until it should be another number, which is returned, or `stop`.
async fn session(shared: &Arc<Shared>, divider: &Arc<Divider>, shards: usize) -> Option<usize> {
    let Shared { outlet, config, stop, .. } = &**shared;
    let queue = &config.queue_config;
    outlet.metrics.shards(shards);
    let held = queue.capacity.max(queue.max_samples_per_send).saturating_mul(shards);
    let space = Arc::new(Semaphore::new(held.min(Semaphore::MAX_PERMITS)));
    let ledger = Arc::new(Ledger::new(shards));
    let mut tasks = JoinSet::new();
    let inboxes: Vec<_> = (0..shards)
        .map(|_| {
            // Bounded by `space`.
            let (inbox, pieces) = mpsc::unbounded_channel();
            let shard = Shard::new(Arc::clone(shared), Arc::clone(&ledger), pieces);
            tasks.spawn(shard.run());
            inbox
        })
        .collect();
    let (mut place, _) = outlet.queue.position();
    let mut adapt = Instant::now() + ADAPT;
    let mut read_so_far = 0_u64;
    let wanted = loop {
        if adapt <= Instant::now() {
            let (pending, _) = outlet.queue.size();
            let load = ledger::Load { seconds: ADAPT.as_secs_f64(), came: read_so_far, pending };
            let wanted = ledger.wanted(load, queue.min_shards, queue.max_shards);
            if wanted != shards {
                break Some(wanted);
            }
            (adapt, read_so_far) = (Instant::now() + ADAPT, 0);
        }
        let (divider, from) = (Arc::clone(divider), Arc::clone(outlet));
        let load =
            spawn_blocking(move || divider.load(&from.queue, place, READ, shards, clock::now()));
        let loaded = match load.await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                error!(remote = outlet.name, %error, "the queue cannot be read");
                if stop.run_until_cancelled(time::sleep(TROUBLE)).await.is_none() {
                    break None;
                }
                continue;
            }
            Err(panic) => {
                error!(remote = outlet.name, %panic, "the queue cannot be read");
                break None;
            }
        };
        if loaded.is_empty() {
            tokio::select! {
                () = stop.cancelled() => break None,
                () = outlet.queue.grown() => {}
                () = time::sleep_until(adapt) => {}
            }
            continue;
        }
        for Loaded { end, samples, parts, dropped } in loaded {
            place = end;
            read_so_far += u64::from(samples);
            for (reason, count) in dropped {
                outlet.metrics.dropped(reason, count as u64);
            }
            let entry = ledger.begin(end, samples, parts.len());
            if parts.is_empty() {
                ledger.settle_on(outlet, entry).await;
            }
            for Part { shard, samples } in parts {
                let size = u32::try_from(samples.len()).unwrap_or(u32::MAX);
                let space = Arc::clone(&space).acquire_many_owned(size);
                let Some(Ok(space)) = stop.run_until_cancelled(space).await else {
                    return ended(tasks).await;
                };
                let piece = Piece { entry, samples, _space: space };
                if inboxes.get(shard).is_none_or(|inbox| inbox.send(piece).is_err()) {
                    error!(remote = outlet.name, "a shard ended; the queue keeps its samples");
                    return ended(tasks).await;
                }
            }
        }
        if stop.is_cancelled() {
            break None;
        }
    };
    drop(inboxes);
    ended(tasks).await;
    wanted
}

/// Waits for the shards, which send what they hold, or end soon after the stop.
async fn ended(mut tasks: JoinSet<()>) -> Option<usize> {
    while let Some(task) = tasks.join_next().await {
        if let Err(panic) = task {
            error!(%panic, "a shard ended by a panic; the queue keeps its samples");
        }
    }
    None
}

/// Without end.
async fn sync(outlet: &Arc<Outlet>) {
    let mut ticks = time::interval(SYNC);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let queue = Arc::clone(outlet);
        let synced = spawn_blocking(move || queue.queue.sync()).await;
        if let Ok(Err(error)) = synced {
            warn!(remote = outlet.name, %error, "the queue cannot be synced");
        }
    }
}
