//! The write side of the store: what is taken, what is refused and why, and when it is durable.

use std::slice;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::model::labels::Labels;
use crate::model::querier::{Appended, Appender, Incoming, StoreError};
use crate::model::sample::Sample;

use super::Tsdb;
use super::head::{Entry, Pairs};
use super::series::Outcome;
use super::wal::Encoder;

/// Where the samples of one item of a batch go.
enum Place {
    Series(Arc<Entry>),
    Unknown,
    BadLabels,
    OverLimit,
    /// Not worth a new series: no sample of the item is of a time that is taken.
    Nowhere,
}

impl Appender for Tsdb {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        self.settled(
            self.add(samples.iter().map(|(labels, sample)| (labels, slice::from_ref(sample)))),
        )
    }

    fn append_unsettled(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        let batch = samples.iter().map(|(labels, sample)| (labels, slice::from_ref(sample)));
        self.add(batch).map(|(appended, _)| appended)
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.log.flush())
    }

    fn append_incoming(&self, batch: &[Incoming<'_>]) -> Result<Appended, StoreError> {
        self.settled(self.add(batch.iter().map(|incoming| (incoming.labels, incoming.samples))))
    }
}

impl Tsdb {
    /// Whatever was said of a sample that is in memory is true on disk when it returns.
    fn settled(&self, added: Result<(Appended, u64), StoreError>) -> Result<Appended, StoreError> {
        let (appended, position) = added?;
        if let Some(disk) = &self.disk {
            disk.log.wait(position)?;
        }
        Ok(appended)
    }

    /// In memory, with the position in the log that has to be on disk.
    fn add<'a, P: Pairs + ?Sized + 'a>(
        &self,
        batch: impl Iterator<Item = (&'a P, &'a [Sample])> + Clone,
    ) -> Result<(Appended, u64), StoreError> {
        let mut record = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(disk) = &self.disk else {
            return Ok((self.apply(batch, None), 0));
        };
        disk.log.ready()?;
        let appended = self.apply(batch, Some(&mut record));
        Ok((appended, disk.log.add(&mut record)))
    }

    fn apply<'a, P: Pairs + ?Sized + 'a>(
        &self,
        batch: impl Iterator<Item = (&'a P, &'a [Sample])> + Clone,
        mut record: Option<&mut Encoder>,
    ) -> Appended {
        let head = self.read_head();
        let find = |(labels, _)| head.find(labels).cloned().map_or(Place::Unknown, Place::Series);
        let mut places: Vec<Place> = batch.clone().map(find).collect();
        drop(head);
        if places.iter().any(|place| matches!(place, Place::Unknown)) {
            self.create(batch.clone(), &mut places, record.as_deref_mut());
        }
        let (oldest, newest) = (self.taken_from(), self.newest());
        let mut appended = Appended::default();
        let mut stored = 0;
        for ((_, samples), place) in batch.zip(&places) {
            let entry = match place {
                Place::Series(entry) => Some(entry),
                _ => None,
            };
            let mut into = entry.map(|entry| (entry.id, entry.samples()));
            for sample in samples {
                let count = if sample.timestamp < oldest {
                    &mut appended.too_old
                } else if sample.timestamp > newest {
                    &mut appended.too_new
                } else {
                    match (&mut into, place) {
                        (Some((id, series)), _) => {
                            let window = self.limits.out_of_order_window;
                            match series.append(*sample, window) {
                                Outcome::Stored => {
                                    stored += 1;
                                    if let Some(record) = &mut record {
                                        record.sample(*id, *sample);
                                    }
                                    &mut appended.accepted
                                }
                                Outcome::Known => &mut appended.accepted,
                                Outcome::Duplicate => &mut appended.duplicate,
                                Outcome::OutOfOrder => &mut appended.out_of_order,
                            }
                        }
                        (None, Place::BadLabels) => &mut appended.bad_labels,
                        (None, _) => &mut appended.over_limit,
                    }
                };
                *count += 1;
            }
        }
        self.samples.fetch_add(stored, Ordering::Relaxed);
        *self.appended.lock().unwrap_or_else(PoisonError::into_inner) += appended;
        appended
    }

    /// Makes the series that are not there yet, as far as they may be.
    fn create<'a, P: Pairs + ?Sized + 'a>(
        &self,
        batch: impl Iterator<Item = (&'a P, &'a [Sample])>,
        places: &mut [Place],
        mut record: Option<&mut Encoder>,
    ) {
        let times = self.taken_from()..=self.newest();
        let mut head = self.write_head();
        for ((labels, samples), place) in batch.zip(places) {
            if !matches!(place, Place::Unknown) {
                continue;
            }
            *place = if let Some(entry) = head.find(labels) {
                Place::Series(entry.clone())
            } else if !samples.iter().any(|sample| times.contains(&sample.timestamp)) {
                Place::Nowhere
            } else if !self.has_room_for(labels) {
                Place::BadLabels
            } else if head.len() >= self.limits.max_series {
                Place::OverLimit
            } else {
                let entry = head.create(labels);
                if let Some(record) = &mut record {
                    record.series(entry.id, &entry.labels);
                }
                Place::Series(entry)
            };
        }
    }

    fn has_room_for<P: Pairs + ?Sized>(&self, labels: &P) -> bool {
        let limits = &self.limits;
        labels.pairs().len() <= limits.max_labels
            && labels.pairs().all(|(name, value)| {
                name.len() <= limits.max_label_name_bytes
                    && value.len() <= limits.max_label_value_bytes
            })
    }
}
