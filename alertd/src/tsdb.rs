//! The embedded store: series in memory behind `Querier` and `Appender`, and a log that outlives it.

mod append;
pub mod block;
mod bytes;
pub mod cardinality;
mod checkpoint;
pub mod chunk;
mod cut;
mod frame;
mod head;
mod index;
pub mod metrics;
mod query;
pub mod report;
mod restore;
mod series;
mod snapshot;
mod wal;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::model::querier::{Appended, StoreError};
use crate::model::sample::Timestamp;

use self::block::metrics::BlockMetrics;
use self::block::{Blocks, Keep};
use self::checkpoint::Checkpoints;
use self::cut::Reading;
use self::head::Head;
use self::report::Report;
use self::wal::{Encoder, Log};

/// How far ahead of the clock a sample may be.
const AHEAD: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
pub struct Limits {
    /// Series that are kept; samples of further ones are refused and counted.
    pub max_series: usize,
    /// How long samples are kept, counted from their timestamp.
    pub retention: Duration,
    /// Bytes on disk beyond which the oldest blocks go.
    pub retention_bytes: Option<u64>,
    /// How far behind the newest sample of its series a sample may be; zero refuses all such.
    pub out_of_order_window: Duration,
    /// Samples that one `select` may return.
    pub max_select_samples: usize,
    /// Labels that a series may have, its name among them.
    pub max_labels: usize,
    pub max_label_name_bytes: usize,
    pub max_label_value_bytes: usize,
    /// When the log has got so much longer, and by half of what the last checkpoint took, the next
    /// one is written. Replaying the log is what a start spends most time with.
    pub checkpoint_bytes: u64,
}

/// Locks are taken in this order: `appending`, `head`, a series' own. Appending to known series and
/// reading hold `head` only while they look series up.
#[derive(Debug)]
pub struct Tsdb {
    limits: Limits,
    /// Held while a batch is applied and encoded, so that the log has the order of the memory.
    appending: Mutex<Encoder>,
    head: RwLock<Head>,
    disk: Option<Disk>,
    samples: AtomicUsize,
    /// Of all appends since the start.
    appended: Mutex<Appended>,
    /// Times before and after which nothing is taken.
    oldest: AtomicI64,
    newest: AtomicI64,
    /// What is older is not in the head.
    cut: AtomicI64,
    /// What is older belongs to a block that is being written or has been.
    closed: AtomicI64,
    reading: Mutex<Reading>,
    /// Long work ends early.
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Disk {
    log: Log,
    checkpoints: Checkpoints,
    blocks: Blocks,
}

/// What the store holds now, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub series: usize,
    pub samples: usize,
    /// Memory that they take.
    pub bytes: usize,
    pub log_bytes: u64,
    pub log: wal::Counts,
    pub checkpoints: checkpoint::Counts,
    /// What came of all samples since the start.
    pub appended: Appended,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} for samples")]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_series: 500_000,
            retention: Duration::from_secs(15 * 86_400),
            retention_bytes: None,
            out_of_order_window: Duration::ZERO,
            max_select_samples: 50_000_000,
            max_labels: 128,
            max_label_name_bytes: 1 << 10,
            max_label_value_bytes: 16 << 10,
            checkpoint_bytes: 32 << 20,
        }
    }
}

impl Tsdb {
    /// A store in memory only, which ends with its handle: for tests and one-shot commands.
    pub fn new(limits: Limits) -> Tsdb {
        Tsdb {
            limits,
            appending: Mutex::default(),
            head: RwLock::default(),
            disk: None,
            samples: AtomicUsize::new(0),
            appended: Mutex::default(),
            oldest: AtomicI64::new(i64::MIN),
            newest: AtomicI64::new(i64::MAX),
            cut: AtomicI64::new(i64::MIN),
            closed: AtomicI64::new(i64::MIN),
            reading: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The store in `folder`, as far as it can be read; nobody else may use the folder meanwhile.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written; never for what is in its files.
    pub fn open(
        folder: &Path,
        limits: Limits,
        now: Timestamp,
        blocks: BlockMetrics,
    ) -> Result<(Tsdb, Report), OpenError> {
        let failed = |source| OpenError { path: folder.into(), source };
        let mut tsdb = Tsdb::new(limits);
        let (report, disk) = tsdb.restore(folder, blocks).map_err(failed)?;
        tsdb.disk = Some(disk);
        tsdb.set_now(now);
        Ok((tsdb, report))
    }

    /// What has to be done every few seconds: samples that are old enough become blocks, the log is
    /// kept short, and what is older than the retention goes. Takes long when there is something to
    /// write.
    pub fn maintain(&self, now: Timestamp) {
        self.set_now(now);
        let Some(disk) = &self.disk else {
            self.cut.fetch_max(self.oldest().0, Ordering::Relaxed);
            return self.forget(&self.matching(&[]), self.cut());
        };
        let cut = self.cut_windows(disk, now);
        let keep = Keep { retention: self.limits.retention, size: self.limits.retention_bytes };
        disk.blocks.maintain(now, &keep, disk.log.bytes() + disk.checkpoints.bytes());
        if cut || disk.checkpoints.is_due(disk.log.added(), self.limits.checkpoint_bytes) {
            self.checkpoint(disk);
        }
    }

    /// Ends long work early, so that the program can end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Brings everything that was taken to disk.
    ///
    /// # Errors
    /// When it cannot be written; none of that was acknowledged.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.log.flush())
    }

    /// Walks all series.
    pub fn stats(&self) -> Stats {
        let head = self.read_head();
        let disk = self.disk.as_ref();
        let log = disk.map(|disk| &disk.log);
        Stats {
            series: head.len(),
            samples: self.samples.load(Ordering::Relaxed),
            bytes: head.bytes(),
            log_bytes: log.map_or(0, Log::bytes),
            log: log.map(Log::counts).unwrap_or_default(),
            checkpoints: disk.map(|disk| disk.checkpoints.counts()).unwrap_or_default(),
            appended: *self.appended.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn set_now(&self, now: Timestamp) {
        self.oldest.store(now.minus(self.limits.retention).0, Ordering::Relaxed);
        if self.disk.is_some() {
            self.newest.store(now.plus(AHEAD).0, Ordering::Relaxed);
        }
    }

    /// Nothing older is taken.
    fn taken_from(&self) -> Timestamp {
        self.oldest().max(Timestamp(self.closed.load(Ordering::Relaxed)))
    }

    fn oldest(&self) -> Timestamp {
        Timestamp(self.oldest.load(Ordering::Relaxed))
    }

    fn cut(&self) -> Timestamp {
        Timestamp(self.cut.load(Ordering::Relaxed))
    }

    fn newest(&self) -> Timestamp {
        Timestamp(self.newest.load(Ordering::Relaxed))
    }

    // A panic elsewhere cannot leave the maps half changed in a way that a reader would notice.
    fn read_head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_head(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod tests;
