//! What has to hold for any body of a remote write request.

use std::sync::Mutex;

use pitcrew_alertd::model::labels::{Labels, METRIC_NAME};
use pitcrew_alertd::model::querier::{Appended, Appender, Incoming, StoreError};
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::encode::Body;
use pitcrew_alertd::remote::{Protocol, message, receive};

const LATEST: Timestamp = Timestamp(1 << 60);

/// Labels, and samples as bits, in the order in which they came.
type Seen = Vec<(Labels, Vec<(i64, u64)>)>;

/// A store that looks at what it is given.
#[derive(Default)]
struct Store(Mutex<Seen>);

/// Panics when the store would be given what is no series, or the sender told what is not so.
pub(crate) fn check(data: &[u8]) {
    for protocol in [Protocol::V1, Protocol::V2] {
        let store = Store::default();
        let sink = &mut |batch: &[Incoming<'_>]| store.append_incoming(batch);
        if let Ok(outcome) = message::decode(protocol, data, LATEST, sink) {
            let seen = store.0.into_inner().unwrap();
            let samples = seen.iter().map(|(_, samples)| samples.len()).sum::<usize>();
            assert_eq!(outcome.appended.accepted, samples);
            assert_eq!(outcome.complaint.is_some(), outcome.bad_series > 0);
            outcome.refusal();
            sent_on(protocol, &seen);
        }
        // The same bytes as a compressed body.
        receive::write(protocol, data, &Store::default(), LATEST).ok();
    }
}

/// What was received is received again when it is sent on.
fn sent_on(protocol: Protocol, seen: &Seen) {
    let mut body = Body::new(protocol);
    for (labels, samples) in seen {
        let sample = |(time, bits): &(i64, u64)| Sample {
            timestamp: Timestamp(*time),
            value: f64::from_bits(*bits),
        };
        body.series(labels.iter(), &samples.iter().map(sample).collect::<Vec<_>>());
    }
    let store = Store::default();
    let outcome = receive::write(protocol, &body.finish(), &store, LATEST);
    assert_eq!(outcome.expect("it has just been written").refusal(), None);
    assert_eq!(store.0.into_inner().unwrap(), *seen);
}

impl Appender for Store {
    fn append(&self, _: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        unreachable!("a receiver has labels only as text");
    }

    fn append_incoming(&self, batch: &[Incoming<'_>]) -> Result<Appended, StoreError> {
        let mut accepted = 0;
        for Incoming { labels, samples } in batch {
            assert!(labels.windows(2).all(|two| two[0].0 < two[1].0), "not sorted: {labels:?}");
            let usable = |(name, value): &(&str, &str)| !name.is_empty() && !value.is_empty();
            assert!(labels.iter().all(usable), "{labels:?}");
            assert!(labels.iter().any(|(name, _)| *name == METRIC_NAME), "{labels:?}");
            assert!(labels.len() <= 1024 && !samples.is_empty());
            accepted += samples.len();
            let bits = samples.iter().map(|one| (one.timestamp.0, one.value.to_bits())).collect();
            self.0.lock().unwrap().push((Labels::from_pairs(labels.iter().copied()), bits));
        }
        Ok(Appended { accepted, ..Appended::default() })
    }
}
