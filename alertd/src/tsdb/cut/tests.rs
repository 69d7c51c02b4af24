//! Blocks and head as one store: nothing is lost, doubled or leaked while samples grow old.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::*;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appender, Querier};
use crate::model::sample::{Sample, stale_marker};
use crate::tsdb::Limits;
use crate::tsdb::block::metrics::BlockMetrics;
use crate::tsdb::report::Report;

const HOUR: i64 = 3_600_000;
/// Within a window, not at its start.
const START: i64 = 200_000 * WINDOW + 1000;
const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

fn open(folder: &Path, limits: &Limits, now: i64) -> (Tsdb, Report) {
    Tsdb::open(folder, limits.clone(), Timestamp(now), BlockMetrics::default()).unwrap()
}

fn name(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name)])
}

fn add(store: &Tsdb, labels: &Labels, at: i64, value: f64) {
    let sample = Sample { timestamp: Timestamp(at), value };
    assert_eq!(store.append(&[(labels.clone(), sample)]).unwrap().accepted, 1, "{labels} {at}");
}

type Rows = BTreeMap<Labels, Vec<(i64, u64)>>;

fn rows(store: &Tsdb) -> Rows {
    let mut rows = Rows::new();
    let mut last = None;
    store
        .visit(&[], EVER.0, EVER.1, &mut |labels, samples| {
            assert!(last.as_ref() < Some(labels), "sorted");
            assert!(samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
            last = Some(labels.clone());
            let bits = samples.iter().map(|one| (one.timestamp.0, one.value.to_bits()));
            rows.insert(labels.clone(), bits.collect());
            ControlFlow::Continue(())
        })
        .unwrap();
    rows
}

#[test]
fn what_grows_old_moves_and_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    let (mut store, _) = open(folder.path(), &limits, START);
    let mut want = Rows::new();
    for minute in 0..12 * 60 {
        let now = START + minute * 60_000;
        // One series all the time, one until it ends, one that comes and goes.
        for (series, there) in
            [("always", true), ("first", minute <= 100), ("sometimes", minute % 200 < 20)]
        {
            if there {
                let value = if minute == 100 { stale_marker() } else { minute as f64 * 0.3 };
                add(&store, &name(series), now, value);
                want.entry(name(series)).or_default().push((now, value.to_bits()));
            }
        }
        if minute % 20 == 0 {
            store.maintain(Timestamp(now));
            assert_eq!(rows(&store), want, "{minute}");
            let head = store.stats().samples as i64;
            assert!(head <= 3 * (3 * 60 + 21), "{head} in memory");
        }
        if minute % 250 == 249 {
            drop(store);
            let (again, report) = open(folder.path(), &limits, now);
            assert_eq!((report.repairs.len(), report.orphans), (0, 0));
            store = again;
            assert_eq!(rows(&store), want, "after a restart at {minute}");
        }
    }
    // Names and series of blocks are named too, and a range is a range.
    assert_eq!(store.label_names(&[], EVER.0, EVER.1).unwrap(), ["__name__"]);
    let values = store.label_values("__name__", &[], EVER.0, EVER.1).unwrap();
    assert_eq!(values, ["always", "first", "sometimes"]);
    let until = (Timestamp(START), Timestamp(START + HOUR));
    let series = store.series(&[], until.0, until.1).unwrap();
    assert_eq!(series, [name("always"), name("first"), name("sometimes")]);
    let last = Timestamp(START + 11 * HOUR + 59 * 60_000);
    let found = store.latest(&[Matcher::equal("__name__", "always")], last, LINGER).unwrap();
    assert_eq!(found, [(name("always"), 719.0 * 0.3)]);
    let old = store.latest(&[], Timestamp(START + HOUR), LINGER).unwrap();
    assert_eq!(old.len(), 3);
    // What belongs into a block that is written is refused.
    let late = Sample { timestamp: Timestamp(START + 30_000), value: 1.0 };
    assert_eq!(store.append(&[(name("always"), late)]).unwrap().too_old, 1);
    assert_eq!(store.append(&[(name("new"), late)]).unwrap().too_old, 1);
}

#[test]
fn a_window_that_may_still_get_samples_is_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let out_of_order_window = Duration::from_secs(6 * 3600);
    let limits = Limits { out_of_order_window, ..Limits::default() };
    let (store, _) = open(folder.path(), &limits, START);
    for hour in 0..12 {
        let now = START + hour * HOUR;
        add(&store, &name("a"), now, 1.0);
        store.maintain(Timestamp(now));
        if hour >= 6 {
            add(&store, &name("a"), now - 6 * HOUR + 7, 2.0);
        }
    }
    assert!(store.cut().0 > START, "something was cut");
    assert_eq!(rows(&store)[&name("a")].len(), 18);
}

#[test]
fn churn_does_not_leak() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { retention: Duration::from_secs(86_400), ..Limits::default() };
    let (store, _) = open(folder.path(), &limits, START);
    let mut bytes = Vec::new();
    // A new series each minute for three days, three samples each.
    for half_hour in 0..3 * 48 {
        let mut samples = Vec::new();
        for minute in half_hour * 30..half_hour * 30 + 30 {
            let id = ("id", minute.to_string());
            let labels = Labels::from_pairs([("__name__", "job".to_owned()), id]);
            let times = (0..3).map(|at| Timestamp(START + minute * 60_000 + at));
            let new = times.map(|timestamp| (labels.clone(), Sample { timestamp, value: 1.0 }));
            samples.extend(new);
        }
        assert_eq!(store.append(&samples).unwrap().accepted, 90);
        store.maintain(Timestamp(START + half_hour * 30 * 60_000));
        let stats = store.stats();
        assert!(stats.series <= 3 * 60 + 60, "{} series", stats.series);
        bytes.push(stats.bytes);
    }
    let (day, end) = (bytes[24 * 2], bytes[bytes.len() - 1]);
    assert!(end <= day * 3 / 2, "{day} bytes after a day, {end} after three");
    // And of the disk: what is older than the retention is gone, but for its last block.
    let rows = rows(&store);
    assert!(rows.len() <= 24 * 60 + 10 * 60, "{}", rows.len());
    assert_eq!(rows[&rows.keys().next_back().unwrap().clone()].len(), 3);
}

#[test]
fn readers_see_everything_while_windows_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), &Limits::default(), START);
    for series in ["a", "b", "c"] {
        let labels = [("__name__", series)];
        let samples: Vec<_> = (0..9 * 60)
            .map(|minute| Sample { timestamp: Timestamp(START + minute * 60_000), value: 1.0 })
            .collect();
        let incoming = crate::model::querier::Incoming { labels: &labels, samples: &samples };
        // The clock is that of the start: what is far ahead of it comes later.
        store.set_now(Timestamp(START + 9 * HOUR));
        assert_eq!(store.append_incoming(&[incoming]).unwrap().accepted, 9 * 60);
    }
    std::thread::scope(|scope| {
        let cutting = scope.spawn(|| store.maintain(Timestamp(START + 9 * HOUR)));
        loop {
            let ended = cutting.is_finished();
            assert!(rows(&store).values().all(|samples| samples.len() == 9 * 60));
            if ended {
                break;
            }
        }
    });
    assert!(store.stats().samples < 3 * 4 * 60);
}
