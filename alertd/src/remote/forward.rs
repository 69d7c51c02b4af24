//! A store that puts what it took into the queues of the remote-write senders too.

mod under_way;

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tracing::{error, info, warn};

use self::under_way::UnderWay;
use super::Protocol;
use super::config::RemoteWriteConfig;
use super::encode::Body;
use super::metrics::{RemoteMetrics, SendMetrics};
use super::queue::{Queue, QueueError};
use super::receive;
use crate::model::engine::Engine;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Incoming, Querier, Store, StoreError};
use crate::model::sample::{Sample, Series, Timestamp};

/// Of one record in a queue: what is read and sent is held in memory by records.
const MOST_SAMPLES: usize = 5000;
/// Below the data directory.
const FOLDER: &str = "remote_write";
/// Beside the queues, none of which can have this name.
const UNDER_WAY: &str = "under.way";

/// One receiver's queue and counters.
#[derive(Debug)]
pub struct Outlet {
    pub name: String,
    pub queue: Queue,
    pub metrics: RemoteMetrics,
}

/// Appends to the store first, then to every queue, through a kill between the two. Reading goes to
/// the store alone.
pub struct Forwarding {
    store: Arc<dyn Store>,
    metrics: SendMetrics,
    outlets: RwLock<Arc<[Arc<Outlet>]>>,
    /// Once there has been an outlet.
    under_way: OnceLock<UnderWay>,
}

impl Forwarding {
    pub fn new(store: Arc<dyn Store>, metrics: SendMetrics) -> Forwarding {
        let outlets: RwLock<Arc<[_]>> = RwLock::new(Arc::new([]));
        Forwarding { store, metrics, outlets, under_way: OnceLock::new() }
    }

    /// Opens a queue for each of `remotes`, and keeps those that are open. From now on appends go
    /// to these. The first time what a kill of the last run found between the store and the queues
    /// is given to both.
    ///
    /// # Errors
    /// When a queue's folder cannot be used; the queues of before stay then.
    pub fn configure(
        &self,
        remotes: &[RemoteWriteConfig],
        data_dir: &Path,
    ) -> Result<(), QueueError> {
        let before = self.outlets();
        let before: HashMap<_, _> = before.iter().map(|outlet| (&outlet.name, outlet)).collect();
        let folder = data_dir.join(FOLDER);
        let mut outlets = Vec::new();
        for remote in remotes {
            let limit = remote.queue_config.max_queue_mib << 20;
            if let Some(outlet) = before.get(&remote.name) {
                outlet.queue.set_limit(limit);
                outlets.push(Arc::clone(outlet));
                continue;
            }
            let (queue, lost) = Queue::open(&folder.join(&remote.name), limit)?;
            if lost.bytes > 0 {
                let (remote, bytes) = (&remote.name, lost.bytes);
                warn!(remote, bytes, "a torn end of the queue was cut off");
            }
            let metrics = self.metrics.of(&remote.name);
            metrics.queue(queue.size());
            outlets.push(Arc::new(Outlet { name: remote.name.clone(), queue, metrics }));
        }
        let first = !outlets.is_empty() && self.under_way.get().is_none();
        let mut left = Vec::new();
        if first {
            let path = folder.join(UNDER_WAY);
            let failed = |source| QueueError { what: "use", path: path.clone(), source };
            let opened = UnderWay::open(&path).map_err(failed)?;
            left = opened.1;
            // Only one caller configures.
            self.under_way.set(opened.0).ok();
        }
        *self.outlets.write().unwrap_or_else(PoisonError::into_inner) = outlets.into();
        left.iter().for_each(|path| self.recover(path));
        Ok(())
    }

    /// The queues that appends go to now.
    pub fn outlets(&self) -> Arc<[Arc<Outlet>]> {
        Arc::clone(&self.outlets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store may have the batch or not, and the queues too: what they have they take again.
    fn recover(&self, path: &Path) {
        let records = under_way::read(path).unwrap_or_else(|error| {
            error!(path = %path.display(), %error, "a batch of the last run cannot be read");
            Vec::new()
        });
        for record in records {
            let samples = receive::samples(&record.payload).unwrap_or_default();
            info!(samples = samples.len(), "a batch of the last run is queued for sending");
            // A store elsewhere may be away now, and would keep the start waiting.
            let here = self.store.engine().is_none();
            if !here || self.append(&samples).is_err() {
                let newest = samples.iter().map(|(_, sample)| sample.timestamp).max();
                let newest = newest.unwrap_or(Timestamp(i64::MIN));
                let samples = record.samples;
                push(&self.outlets(), &[Payload { bytes: record.payload, samples, newest }]);
            }
        }
        if let Err(error) = fs::remove_file(path) {
            error!(path = %path.display(), %error, "a batch of the last run stays");
        }
    }

    /// Lets `store` append `all` samples, of which it may take a part: `taken` asks it again which.
    fn forward(
        &self,
        (all, batch): (usize, Vec<Payload>),
        store: impl FnOnce() -> Result<Appended, StoreError>,
        taken: impl FnOnce(Appended, &mut Records),
    ) -> Result<Appended, StoreError> {
        let complain = |error| error!(%error, "a kill now could keep a batch from being sent");
        let under_way = self.under_way.get();
        let noted = under_way.and_then(|files| files.begin(&batch).map_err(complain).ok());
        let appended = store();
        if let Ok(appended) = appended {
            if appended.accepted == all {
                push(&self.outlets(), &batch);
            } else if appended.accepted > 0 {
                let mut records = Records::default();
                taken(appended, &mut records);
                push(&self.outlets(), &records.finish());
            }
        }
        if let (Some(files), Some(file)) = (under_way, noted) {
            files.end(file).unwrap_or_else(complain);
        }
        appended
    }

    fn pairs(&self, samples: &[(Labels, Sample)], appended: Appended, records: &mut Records) {
        if appended.accepted == samples.len() {
            for (labels, sample) in samples {
                records.add(labels.iter(), &[*sample]);
            }
        } else if appended.accepted > 0 {
            // Which ones it took, the store does not say; what it has it takes again.
            let (left, right) = samples.split_at(samples.len() / 2);
            for half in [left, right] {
                if let Ok(appended) = self.store.append(half) {
                    self.pairs(half, appended, records);
                }
            }
        }
    }

    fn batch(&self, batch: &[Incoming<'_>], appended: Appended, records: &mut Records) {
        let all = batch.iter().map(|incoming| incoming.samples.len()).sum::<usize>();
        if appended.accepted == all {
            for incoming in batch {
                for samples in incoming.samples.chunks(MOST_SAMPLES) {
                    records.add(incoming.labels.iter().copied(), samples);
                }
            }
        } else if appended.accepted > 0 {
            let halves = match batch {
                [one] => {
                    let (left, right) = one.samples.split_at(one.samples.len() / 2);
                    [left, right].map(|samples| vec![Incoming { labels: one.labels, samples }])
                }
                _ => {
                    let (left, right) = batch.split_at(batch.len() / 2);
                    [left.to_vec(), right.to_vec()]
                }
            };
            for half in halves {
                if let Ok(appended) = self.store.append_incoming(&half) {
                    self.batch(&half, appended, records);
                }
            }
        }
    }
}

impl Appender for Forwarding {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        if self.outlets().is_empty() {
            return self.store.append(samples);
        }
        let mut records = Records::default();
        for (labels, sample) in samples {
            records.add(labels.iter(), &[*sample]);
        }
        self.forward(
            (samples.len(), records.finish()),
            || self.store.append(samples),
            |appended, records| self.pairs(samples, appended, records),
        )
    }

    fn append_unsettled(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        match self.outlets().is_empty() {
            true => self.store.append_unsettled(samples),
            // A queue must not be ahead of the store.
            false => self.append(samples),
        }
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.store.settle()
    }

    fn append_incoming(&self, batch: &[Incoming<'_>]) -> Result<Appended, StoreError> {
        if self.outlets().is_empty() {
            return self.store.append_incoming(batch);
        }
        let mut records = Records::default();
        for incoming in batch {
            for samples in incoming.samples.chunks(MOST_SAMPLES) {
                records.add(incoming.labels.iter().copied(), samples);
            }
        }
        let all = batch.iter().map(|incoming| incoming.samples.len()).sum();
        self.forward(
            (all, records.finish()),
            || self.store.append_incoming(batch),
            |appended, records| self.batch(batch, appended, records),
        )
    }
}

/// Samples on their way into the queues, in the form in which version 1.0 sends them.
#[derive(Default)]
struct Records {
    done: Vec<Payload>,
    body: Option<Body>,
    newest: Option<Timestamp>,
}

/// Of one record.
struct Payload {
    bytes: Vec<u8>,
    samples: u32,
    newest: Timestamp,
}

impl Records {
    fn add<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>, samples: &[Sample]) {
        let body = self.body.get_or_insert_with(|| Body::new(Protocol::V1));
        body.series(labels, samples);
        let full = body.samples() >= MOST_SAMPLES;
        self.newest = self.newest.max(samples.iter().map(|sample| sample.timestamp).max());
        if full {
            self.close();
        }
    }

    fn close(&mut self) {
        if let (Some(body), Some(newest)) = (self.body.take(), self.newest.take()) {
            let samples = u32::try_from(body.samples()).unwrap_or(u32::MAX);
            self.done.push(Payload { bytes: body.finish(), samples, newest });
        }
    }

    fn finish(mut self) -> Vec<Payload> {
        self.close();
        self.done
    }
}

fn push(outlets: &[Arc<Outlet>], batch: &[Payload]) {
    for Payload { bytes, samples, newest } in batch {
        for outlet in outlets {
            let Outlet { name, queue, metrics } = &**outlet;
            metrics.came_in(*newest);
            match queue.push(bytes, *samples) {
                Ok(lost) if lost.bytes > 0 => {
                    metrics.dropped("queue_full", lost.samples);
                    let samples = lost.samples;
                    warn!(remote = name, samples, "the queue is full, its oldest samples are gone");
                }
                Ok(_) => {}
                Err(error) => {
                    metrics.dropped("queue_error", u64::from(*samples));
                    error!(remote = name, %error, "samples cannot be queued for sending");
                }
            }
            metrics.queue(queue.size());
        }
    }
}

impl Querier for Forwarding {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.visit(matchers, from, to, each)
    }

    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Series>, StoreError> {
        self.store.select(matchers, from, to)
    }

    fn latest(
        &self,
        matchers: &[Matcher],
        at: Timestamp,
        lookback: Duration,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        self.store.latest(matchers, at, lookback)
    }

    fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        self.store.series(matchers, from, to)
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.store.label_names(matchers, from, to)
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.store.label_values(name, matchers, from, to)
    }

    fn engine(&self) -> Option<&dyn Engine> {
        self.store.engine()
    }
}

#[cfg(test)]
mod tests;
