//! The door to the workflows' state: what is told goes to the log first, and counts once it is on
//! disk, each delivery once.

mod metrics;
mod writer;

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::metrics::LogMetrics;
use self::writer::{Order, Writer};
use super::event::Event;
use super::fleet::{Fleet, Registered};
use super::heard::Heard;
use super::log::{Log, LogError, Stored};
use super::state::{Settings, State};
use crate::clock;

pub use self::metrics::DESCS;

/// Orders that wait for the disk; more are refused.
const QUEUE: usize = 256;

/// Cheap to clone; the clones share log and state. The log is closed with the last of them.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    broken: CancellationToken,
}

/// What the thread that writes and those who ask have in common.
struct Shared {
    known: RwLock<Known>,
    metrics: LogMetrics,
}

/// Applied from the log and from nothing else, the fleet aside.
#[derive(Default)]
struct Known {
    state: State,
    fleet: Fleet,
    heard: Heard,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// On disk and counted.
    Accepted,
    /// Its id was accepted before; nothing has changed.
    Duplicate,
}

/// Nothing was accepted; whoever asked may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many deliveries wait to be written")]
    Busy,
    #[error("no space left on the disk")]
    DiskFull,
    #[error("the log cannot be written")]
    Failed,
    #[error("stopping")]
    Stopped,
}

impl Refused {
    /// As metrics call it.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::Busy => "busy",
            Refused::DiskFull => "disk_full",
            Refused::Failed => "log_failed",
            Refused::Stopped => "stopping",
        }
    }
}

impl Intake {
    /// Opens the log in `folder`, rebuilds the state from it, and starts the thread that writes.
    ///
    /// # Errors
    /// When the log cannot be used; nothing is changed then.
    pub fn open(folder: &Path, settings: Arc<Settings>) -> Result<Intake, LogError> {
        let begun = clock::monotonic();
        let mut state = State::default();
        state.configure(Arc::clone(&settings));
        let mut events = 0;
        let log = Log::open(folder, |stored| {
            match stored {
                Stored::Snapshot(text) => {
                    state = serde_json::from_str(text).map_err(|error| error.to_string())?;
                    state.configure(Arc::clone(&settings));
                }
                Stored::Event(event) => {
                    state.apply(event);
                    events += 1;
                }
            }
            Ok(())
        })?;
        state.expire(clock::unix_seconds());
        let seconds = begun.elapsed().as_secs_f64();
        info!(folder = %folder.display(), events, seconds, "the workflows' state is restored");
        let known = RwLock::new(Known { state, ..Known::default() });
        let shared = Arc::new(Shared { known, metrics: LogMetrics::default() });
        let (queue, orders) = sync_channel(QUEUE);
        let broken = CancellationToken::new();
        let writer = Writer::new(log, Arc::clone(&shared), events, broken.clone().drop_guard());
        let name = "workflow-log".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || writer.run(&orders));
        let thread =
            thread.map_err(|source| LogError::Folder { path: folder.to_owned(), source })?;
        let (queue, thread) = (Some(queue), Some(thread));
        Ok(Intake(Arc::new(Inner { shared, queue, thread, broken })))
    }

    /// Takes what one delivery tells, unless its id was accepted before. Answered when it is on
    /// disk and in the state.
    pub async fn deliver(&self, id: &str, events: Vec<Event>) -> Result<Outcome, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Deliver { id: id.to_owned(), events, reply })?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// Takes what a poll has seen, as far as it is news; tells how many were.
    pub async fn observe(&self, events: Vec<Event>) -> Result<usize, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Observe { events, reply })?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// For each id whether such a delivery was accepted, as far as ids are remembered: four days,
    /// and the newest 100,000 at least.
    pub async fn knows(&self, ids: Vec<String>) -> Result<Vec<bool>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Knows { ids, reply })?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// Replaces what is known of the runners of one scope.
    pub fn set_fleet(&self, scope: &str, registered: Registered) {
        self.change_fleet(|fleet| drop(fleet.scopes.insert(scope.to_owned(), registered)));
    }

    /// Changes what is known of runners, such as when a scope is no longer read.
    pub fn change_fleet(&self, change: impl FnOnce(&mut Fleet)) {
        change(&mut self.0.shared.change().fleet);
    }

    /// Shows state and runners as they are now; nothing is taken in meanwhile.
    pub fn with_state<T>(&self, look: impl FnOnce(&State, &Fleet) -> T) -> T {
        let Known { state, fleet, .. } = &*self.0.shared.look();
        look(state, fleet)
    }

    /// When a webhook last told of a job or run of this repository, since the start, in seconds
    /// since the Unix epoch.
    pub fn heard(&self, repository: &str) -> Option<f64> {
        self.0.shared.look().heard.last(repository)
    }

    /// What to count by from now on.
    pub fn configure(&self, settings: Arc<Settings>) {
        self.0.shared.change().state.configure(settings);
    }

    /// Cancelled when the thread that writes has panicked: from then on nothing is taken in.
    pub fn broken(&self) -> CancellationToken {
        self.0.broken.clone()
    }

    /// Adds the log's own families.
    pub fn families(&self, out: &mut crate::metric::Families) {
        self.0.shared.metrics.families(out);
    }

    fn send(&self, order: Order) -> Result<(), Refused> {
        let queue = self.0.queue.as_ref().ok_or(Refused::Stopped)?;
        queue.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Busy,
            TrySendError::Disconnected(_) => Refused::Stopped,
        })
    }
}

impl Shared {
    fn look(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    /// Waits for what is being written, so that the file can be opened again.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
