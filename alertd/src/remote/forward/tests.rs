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
