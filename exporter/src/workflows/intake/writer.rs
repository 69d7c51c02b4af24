//! The thread that owns the log: what waits is written together, synced once, applied, answered.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;
use tracing::{error, info};

use super::{Outcome, Refused, Shared};
use crate::clock;
use crate::workflows::event::Event;
use crate::workflows::log::{Entry, Log, LogError};

/// Orders in one transaction.
const BATCH: usize = 256;
/// Longest sleep without orders.
const IDLE: Duration = Duration::from_secs(1);
/// How often the state takes what it held back, and lets go of what is old.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);
/// So many events, and they are replaced by a snapshot, if they are not much smaller than that.
const SNAPSHOT_AFTER: usize = 2000;
/// Of one event in the log, on average.
const EVENT_BYTES: usize = 500;
/// The same for fewer, after this time.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(3600);
/// Until a snapshot that failed is tried again.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(60);
/// With so many events that no snapshot could replace, no more are taken.
const MAX_EVENTS: usize = 1_000_000;

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// What is asked of the thread; who no longer waits for the answer is not missed.
pub(super) enum Order {
    Deliver { id: String, events: Vec<Event>, reply: Reply<Outcome> },
    Observe { events: Vec<Event>, reply: Reply<usize> },
    Knows { ids: Vec<String>, reply: Reply<Vec<bool>> },
}

pub(super) struct Writer {
    log: Log,
    shared: Arc<Shared>,
    /// In the log since the last snapshot.
    events: usize,
    expired: Instant,
    /// When a snapshot was last taken or tried.
    snapshot: Instant,
    snapshot_failed: bool,
    snapshot_bytes: usize,
    /// Whether the last transaction failed, so that an outage is told once.
    failing: bool,
    /// Tells of a panic.
    broken: DropGuard,
}

impl Writer {
    pub(super) fn new(log: Log, shared: Arc<Shared>, events: usize, broken: DropGuard) -> Writer {
        let now = clock::monotonic();
        let writer = Writer {
            log,
            shared,
            events,
            expired: now,
            snapshot: now,
            snapshot_failed: false,
            snapshot_bytes: 0,
            failing: false,
            broken,
        };
        writer.measure();
        writer
    }

    /// Until nobody is left who could ask.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(IDLE) {
                Ok(first) => {
                    let more = orders.try_iter().take(BATCH - 1);
                    self.write([first].into_iter().chain(more).collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.broken.disarm();
                    return;
                }
            }
            self.look_after(clock::monotonic());
        }
    }

    fn write(&mut self, mut orders: Vec<Order>) {
        let received = clock::unix_seconds();
        self.drop_old_news(&mut orders);
        let entries: Vec<_> = orders
            .iter()
            .filter_map(|order| match order {
                Order::Deliver { id, events, .. } => {
                    Some(Entry { delivery: Some(id), events, received })
                }
                Order::Observe { events, .. } if events.is_empty() => None,
                Order::Observe { events, .. } => Some(Entry { delivery: None, events, received }),
                Order::Knows { .. } => None,
            })
            .collect();
        let added = match &entries[..] {
            [] => Ok(Vec::new()),
            _ if self.events >= MAX_EVENTS => Err(Refused::Failed),
            entries => self.commit(entries),
        };
        if let Ok(new) = &added {
            let known = &mut *self.shared.change();
            for (entry, _) in entries.iter().zip(new).filter(|(_, new)| **new) {
                for event in entry.events {
                    known.state.apply(event);
                    known.heard.note(event);
                }
                self.events += entry.events.len();
            }
        }
        // Who has an answer finds it counted.
        self.measure();
        let mut new = added.as_ref().map(|new| new.iter().copied()).map_err(|refused| *refused);
        let mut next = || match &mut new {
            Ok(new) => Ok(new.next().unwrap_or(true)),
            Err(refused) => Err(*refused),
        };
        for order in orders {
            match order {
                Order::Deliver { reply, .. } => {
                    let outcome = |new| if new { Outcome::Accepted } else { Outcome::Duplicate };
                    reply.send(next().map(outcome)).ok();
                }
                Order::Observe { events, reply } => {
                    let written = if events.is_empty() { Ok(true) } else { next() };
                    reply.send(written.map(|_| events.len())).ok();
                }
                Order::Knows { ids, reply } => {
                    let known = ids.iter().map(|id| self.log.knows(id)).collect();
                    reply.send(self.told(known)).ok();
                }
            }
        }
    }

    fn drop_old_news(&self, orders: &mut [Order]) {
        let known = self.shared.look();
        for order in orders {
            if let Order::Observe { events, .. } = order {
                events.retain(|event| known.state.tells_news(event));
            }
        }
    }

    fn commit(&mut self, entries: &[Entry<'_>]) -> Result<Vec<bool>, Refused> {
        let added = self.log.add(entries);
        let outcome = if added.is_ok() {
            &self.shared.metrics.commits
        } else {
            &self.shared.metrics.failures
        };
        outcome.add(1);
        self.told(added)
    }

    /// The log's error in the words of whoever asked; an outage is logged when it begins.
    fn told<T>(&mut self, result: Result<T, LogError>) -> Result<T, Refused> {
        let failing = result.is_err();
        if failing != self.failing {
            match &result {
                Ok(_) => info!("the workflows' log takes deliveries again"),
                Err(error) => {
                    let cause = std::error::Error::source(error).map(ToString::to_string);
                    error!(%error, cause, "deliveries are refused until the workflows' log takes them");
                }
            }
            self.failing = failing;
        }
        result.map_err(|error| match error {
            LogError::Full { .. } => Refused::DiskFull,
            _ => Refused::Failed,
        })
    }

    fn look_after(&mut self, now: Instant) {
        let time = clock::unix_seconds();
        let due = self.shared.look().state.is_due(time);
        if due {
            self.shared.change().state.settle(time);
        }
        if now.duration_since(self.expired) >= EXPIRE_EVERY {
            self.expired = now;
            self.shared.change().state.expire(time);
        }
        let since = now.duration_since(self.snapshot);
        // So writing snapshots costs no more than writing events.
        let enough = SNAPSHOT_AFTER.max(self.snapshot_bytes / EVENT_BYTES);
        let due = match self.snapshot_failed {
            true => since >= SNAPSHOT_RETRY,
            false => self.events >= enough || since >= SNAPSHOT_EVERY,
        };
        if due && self.events > 0 {
            self.snapshot = now;
            self.take_snapshot();
            self.measure();
        }
    }

    /// The state holds what the log holds: this thread alone changes either.
    fn take_snapshot(&mut self) {
        let state = serde_json::to_string(&self.shared.look().state);
        self.snapshot_failed = true;
        let replaced = match &state {
            Ok(state) => {
                self.snapshot_bytes = state.len();
                self.log.replace(state, clock::unix_seconds())
            }
            Err(error) => {
                error!(%error, "the workflows' state cannot be written as a snapshot");
                return;
            }
        };
        if let Ok(trimmed) = self.told(replaced) {
            self.snapshot_failed = false;
            self.events = 0;
            self.shared.metrics.snapshots.add(1);
            self.shared.metrics.forgotten.add(trimmed.early);
        }
    }

    fn measure(&self) {
        self.shared.metrics.events.set(self.events as u64);
        self.shared.metrics.bytes.set(self.log.size());
    }
}
