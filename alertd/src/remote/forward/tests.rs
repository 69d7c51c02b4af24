//! What reaches the queues of the senders, and in which pieces.

use pitcrew_exporter::config::yaml;
use prometheus_client::registry::Registry;

use super::*;
use crate::remote::message;
use crate::remote::queue::Place;
use crate::tsdb::{Limits, Tsdb};

fn sample(time: i64, value: f64) -> Sample {
    Sample { timestamp: Timestamp(time), value }
}

/// What waits in the first queue: labels, time and value of each sample.
fn queued(outlet: &Outlet) -> Vec<(String, i64, f64)> {
    let mut found = Vec::new();
    let mut from = Place::default();
    loop {
        let records = outlet.queue.read(from, 1).unwrap();
        let Some(last) = records.last() else { return found };
        from = last.end;
        for record in records {
            let plain = snap::raw::Decoder::new().decompress_vec(&record.payload).unwrap();
            message::decode(Protocol::V1, &plain, Timestamp(i64::MAX), &mut |batch| {
                for incoming in batch {
                    let labels = Labels::from_pairs(incoming.labels.iter().copied()).to_string();
                    let of = |sample: &Sample| (labels.clone(), sample.timestamp.0, sample.value);
                    found.extend(incoming.samples.iter().map(of));
                }
                Ok(Appended::default())
            })
            .unwrap();
        }
    }
}

#[test]
fn what_the_store_took_is_queued_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let remotes: Vec<RemoteWriteConfig> =
        yaml::parse(Path::new("f"), "[{ url: 'http://a', name: a }]").unwrap();
    let store = Arc::new(Tsdb::new(Limits { max_series: 2, ..Limits::default() }));
    let store = Forwarding::new(store, SendMetrics::new(&mut Registry::default()));
    let named = |name: &str| Labels::from_pairs([("__name__", name)]);
    store.append(&[(named("m"), sample(0, 0.0))]).unwrap();
    store.configure(&remotes, folder.path()).unwrap();
    let outlets = store.outlets();
    // Out of order, another value, one series too many.
    let samples =
        [("m", 5, 1.0), ("m", 3, 1.0), ("n", 5, 1.0), ("n", 5, 2.0), ("o", 5, 1.0), ("m", 6, 1.0)];
    let samples = samples.map(|(name, time, value)| (named(name), sample(time, value)));
    let appended = store.append(&samples).unwrap();
    assert_eq!((appended.accepted, appended.out_of_order, appended.duplicate), (3, 1, 1));
    assert_eq!(store.append(&samples[1..2]).unwrap().accepted, 0);
    let incoming = [sample(7, 1.0), sample(6, 2.0), sample(8, 1.0)];
    let labels = [("__name__", "m")];
    let batch = [Incoming { labels: &labels, samples: &incoming }];
    assert_eq!(store.append_incoming(&batch).unwrap().accepted, 2);

    let want = [("m", 5), ("n", 5), ("m", 6), ("m", 7), ("m", 8)];
    let want = want.map(|(name, time)| (name.to_owned(), time, 1.0));
    assert_eq!(queued(&outlets[0]), want);
    // The same queue again, and then none.
    store.configure(&remotes, folder.path()).unwrap();
    assert!(Arc::ptr_eq(&outlets[0], &store.outlets()[0]));
    store.configure(&[], folder.path()).unwrap();
    assert!(store.outlets().is_empty());
    store.append(&[(named("m"), sample(9, 0.0))]).unwrap();
    assert_eq!(queued(&outlets[0]).len(), want.len());
}

#[test]
fn large_appends_become_records_of_a_bearable_size() {
    let folder = tempfile::tempdir().unwrap();
    let remotes: Vec<RemoteWriteConfig> =
        yaml::parse(Path::new("f"), "[{ url: 'http://a', name: a }]").unwrap();
    let store = Arc::new(Tsdb::new(Limits::default()));
    let store = Forwarding::new(store, SendMetrics::new(&mut Registry::default()));
    store.configure(&remotes, folder.path()).unwrap();
    let outlets = store.outlets();
    let samples: Vec<_> = (0..12_000).map(|time| sample(time, 0.5)).collect();
    let labels = [("__name__", "m")];
    store.append_incoming(&[Incoming { labels: &labels, samples: &samples }]).unwrap();
    let records = outlets[0].queue.read(Place::default(), 1 << 20).unwrap();
    let counts: Vec<_> = records.iter().map(|record| record.samples).collect();
    assert_eq!(counts, [5000, 5000, 2000]);
    assert_eq!(queued(&outlets[0]).len(), 12_000);
}

/// A store that is killed as soon as it has been asked to append: before or after it did.
struct Killed(Arc<Tsdb>, bool);

impl Appender for Killed {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        if self.1 {
            self.0.append(samples)?;
        }
        panic!("killed");
    }

    fn append_incoming(&self, batch: &[Incoming<'_>]) -> Result<Appended, StoreError> {
        if self.1 {
            self.0.append_incoming(batch)?;
        }
        panic!("killed");
    }
}

impl Querier for Killed {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.visit(matchers, from, to, each)
    }
}

#[test]
fn what_a_kill_finds_between_store_and_queue_is_sent_by_the_next_run() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let remotes: Vec<RemoteWriteConfig> =
        yaml::parse(Path::new("f"), "[{ url: 'http://a', name: a }]").unwrap();
    let labels = [("__name__", "m")];
    let run = |folder: &Path, store: Arc<dyn Store>| {
        let store = Forwarding::new(store, SendMetrics::new(&mut Registry::default()));
        store.configure(&remotes, folder).unwrap();
        store
    };
    for stored in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Tsdb::new(Limits::default()));
        let before = run(folder.path(), store.clone());
        before.append(&[(Labels::from_pairs(labels), sample(1, 1.0))]).unwrap();
        drop(before);

        let killed = run(folder.path(), Arc::new(Killed(store.clone(), stored)));
        // Of the samples one is refused, and the batch has several records.
        let samples: Vec<_> = (1..7000).map(|time| sample(time, 2.0)).collect();
        let batch = [Incoming { labels: &labels, samples: &samples }];
        let one = [(Labels::from_pairs([("__name__", "n")]), sample(1, 1.0))];
        assert!(catch_unwind(AssertUnwindSafe(|| killed.append_incoming(&batch))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| killed.append(&one))).is_err());
        assert_eq!(queued(&killed.outlets()[0]).len(), 1);
        drop(killed);

        // Whatever was written last, the kill may have torn it: it was not stored then.
        let torn = folder.path().join(FOLDER).join(UNDER_WAY).join("0000000007.queue");
        fs::write(torn, b"hello, this is the beginning of something").unwrap();
        let after = run(folder.path(), store.clone());
        let times: Vec<_> = queued(&after.outlets()[0]);
        let want = (1..7000).map(|time| ("{__name__=\"m\"}".to_owned(), time));
        let want: Vec<_> = want.map(|(_, time)| time).chain([1]).collect();
        assert_eq!(times.iter().map(|(_, time, _)| *time).collect::<Vec<_>>(), want, "{stored}");
        assert_eq!(times[0].2, 1.0);
        let in_store = store.select(&[], Timestamp(0), Timestamp(i64::MAX)).unwrap();
        assert_eq!(in_store.iter().map(|series| series.samples.len()).sum::<usize>(), 7000);
        drop(after);
        // And only once.
        let again = run(folder.path(), store.clone());
        assert_eq!(queued(&again.outlets()[0]).len(), want.len());
        again.append(&[(Labels::from_pairs(labels), sample(9000, 1.0))]).unwrap();
        assert_eq!(queued(&again.outlets()[0]).len(), want.len() + 1);
        let files = fs::read_dir(folder.path().join(FOLDER).join(UNDER_WAY)).unwrap();
        assert!(files.map(|file| file.unwrap().metadata().unwrap().len()).all(|size| size == 0));
    }
}
