//! What has to hold for any bytes as a file of the store's log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::matcher::{MatchOp, Matcher};
use pitcrew_alertd::model::querier::{Appender, Querier};
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::tsdb::block::metrics::BlockMetrics;
use pitcrew_alertd::tsdb::report::Report;
use pitcrew_alertd::tsdb::{Limits, Tsdb};

use super::frames;

/// Labels, and samples as bits.
type Seen = Vec<(Labels, Vec<(i64, u64)>)>;

/// Panics when the store does not open, or holds something else when it is opened again.
pub(crate) fn check(data: &[u8]) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let log = folder.path().join("wal");
    fs::create_dir(&log).unwrap();
    fs::write(log.join("0000000001.wal"), data).unwrap();
    fs::write(log.join("0000000002.wal"), frames::mended(data)).unwrap();
    let (store, report) = open(folder.path());
    let before = seen(&store);
    assert!(report.series <= data.len() && report.samples <= 2 * data.len());
    assert!(before.len() <= report.series);
    // It goes on from there.
    let sample = Sample { timestamp: Timestamp(1), value: 1.0 };
    let appended = store.append(&[(Labels::from_pairs([("__name__", "after")]), sample)]).unwrap();
    assert_eq!(appended.accepted + appended.refused().iter().map(|(_, n)| n).sum::<usize>(), 1);
    let after = seen(&store);
    assert!(after.len() >= before.len());
    // The index finds what the walk over all has found.
    for (labels, _) in after.iter().take(4) {
        let alike = labels.iter().map(|(name, value)| Matcher::new(MatchOp::Equal, name, value));
        let alike: Vec<_> = alike.collect::<Result<_, _>>().expect("a plain comparison");
        let found = store.series(&alike, Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap();
        assert!(found.contains(labels), "{labels}");
    }
    drop(store);
    let (store, _) = open(folder.path());
    assert_eq!(seen(&store), after);
}

fn open(folder: &Path) -> (Tsdb, Report) {
    let limits = Limits { retention: Duration::MAX, ..Limits::default() };
    Tsdb::open(folder, limits, Timestamp(0), BlockMetrics::default()).expect("bytes never matter")
}

fn seen(store: &Tsdb) -> Seen {
    let all = store.select(&[], Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap();
    assert!(all.windows(2).all(|two| two[0].labels < two[1].labels), "not sorted");
    let each = all.into_iter().map(|series| {
        let samples = &series.samples;
        assert!(samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
        let bits = samples.iter().map(|one| (one.timestamp.0, one.value.to_bits())).collect();
        (series.labels, bits)
    });
    each.collect()
}
