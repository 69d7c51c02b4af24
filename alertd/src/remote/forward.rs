//! A store that puts what it took into the queues of the remote-write senders too.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::{error, warn};

use super::Protocol;
use super::config::RemoteWriteConfig;
use super::encode::Body;
use super::metrics::{RemoteMetrics, SendMetrics};
use super::queue::{Queue, QueueError};
use crate::model::engine::Engine;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Incoming, Querier, Store, StoreError};
use crate::model::sample::{Sample, Series, Timestamp};

/// Of one record in a queue: what is read and sent is held in memory by records.
const MOST_SAMPLES: usize = 5000;
/// Below the data directory.
const FOLDER: &str = "remote_write";

/// One receiver's queue and counters.
#[derive(Debug)]
pub struct Outlet {
    pub name: String,
    pub queue: Queue,
    pub metrics: RemoteMetrics,
}

/// Appends to the store first, then to every queue. Reading goes to the store alone.
pub struct Forwarding {
    store: Arc<dyn Store>,
    metrics: SendMetrics,
    outlets: RwLock<Arc<[Arc<Outlet>]>>,
}

impl Forwarding {
    pub fn new(store: Arc<dyn Store>, metrics: SendMetrics) -> Forwarding {
        Forwarding { store, metrics, outlets: RwLock::new(Arc::new([])) }
    }

    /// Opens a queue for each of `remotes`, and keeps those that are open. From now on appends go
    /// to these.
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
        *self.outlets.write().unwrap_or_else(PoisonError::into_inner) = outlets.into();
        Ok(())
    }

    /// The queues that appends go to now.
    pub fn outlets(&self) -> Arc<[Arc<Outlet>]> {
        Arc::clone(&self.outlets.read().unwrap_or_else(PoisonError::into_inner))
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
        let appended = self.store.append(samples)?;
        let outlets = self.outlets();
        if !outlets.is_empty() {
            let mut records = Records::new(&outlets);
            self.pairs(samples, appended, &mut records);
            records.push();
        }
        Ok(appended)
    }

    fn append_incoming(&self, batch: &[Incoming<'_>]) -> Result<Appended, StoreError> {
        let appended = self.store.append_incoming(batch)?;
        let outlets = self.outlets();
        if !outlets.is_empty() {
            let mut records = Records::new(&outlets);
            self.batch(batch, appended, &mut records);
            records.push();
        }
        Ok(appended)
    }
}

/// Samples on their way into the queues, in the form in which version 1.0 sends them.
struct Records<'a> {
    outlets: &'a [Arc<Outlet>],
    body: Body,
    newest: Timestamp,
}

impl<'a> Records<'a> {
    fn new(outlets: &'a [Arc<Outlet>]) -> Records<'a> {
        Records { outlets, body: Body::new(Protocol::V1), newest: Timestamp(i64::MIN) }
    }

    fn add<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>, samples: &[Sample]) {
        self.body.series(labels, samples);
        let newest = samples.iter().map(|sample| sample.timestamp).max();
        self.newest = newest.map_or(self.newest, |newest| newest.max(self.newest));
        if self.body.samples() >= MOST_SAMPLES {
            self.push();
        }
    }

    fn push(&mut self) {
        let body = std::mem::replace(&mut self.body, Body::new(Protocol::V1));
        if body.samples() == 0 {
            return;
        }
        let samples = u32::try_from(body.samples()).unwrap_or(u32::MAX);
        let payload = body.finish();
        for outlet in self.outlets {
            let Outlet { name, queue, metrics } = &**outlet;
            metrics.came_in(self.newest);
            match queue.push(&payload, samples) {
                Ok(lost) if lost.bytes > 0 => {
                    metrics.dropped("queue_full", lost.samples);
                    let samples = lost.samples;
                    warn!(remote = name, samples, "the queue is full, its oldest samples are gone");
                }
                Ok(_) => {}
                Err(error) => {
                    metrics.dropped("queue_error", u64::from(samples));
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
