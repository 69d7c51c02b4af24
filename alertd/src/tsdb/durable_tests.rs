//! The store on disk: what was acknowledged is there again, bit for bit, whatever happened between.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::model::labels::Labels;
use crate::model::querier::{Appender, Incoming, Querier};
use crate::model::sample::{Sample, Series, stale_marker};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn open(folder: &Path) -> (Tsdb, Report) {
    Tsdb::open(folder, Limits::default(), NOW, BlockMetrics::default()).unwrap()
}

fn sample(seconds: i64, value: f64) -> Sample {
    Sample { timestamp: Timestamp(NOW.0 + seconds * 1000), value }
}

fn all(store: &Tsdb) -> Vec<Series> {
    store.select(&[], Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap()
}

/// With values as bits, since no NaN equals another.
fn bits(series: &[Series]) -> Vec<(Labels, Vec<(i64, u64)>)> {
    let bits = |one: &Sample| (one.timestamp.0, one.value.to_bits());
    let series = series.iter();
    series.map(|one| (one.labels.clone(), one.samples.iter().map(bits).collect())).collect()
}

/// Some series with values of every kind; more than one chunk each.
fn fill(store: &Tsdb, series: usize, samples: i64) {
    for at in 0..samples {
        let batch: Vec<_> = (0..series)
            .map(|number| {
                let labels = Labels::from_pairs([
                    ("__name__", "m".to_owned()),
                    ("number", format!("{number}")),
                ]);
                let value = match (at + number as i64) % 7 {
                    0 => stale_marker(),
                    1 => f64::NAN,
                    2 => f64::NEG_INFINITY,
                    3 => -0.0,
                    _ => at as f64 * 0.1,
                };
                (labels, sample(at * 15 - 3600, value))
            })
            .collect();
        assert_eq!(store.append(&batch).unwrap().accepted, series);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn what_is_settled_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let labels = Labels::from_pairs([("__name__", "m")]);
    for at in 0..5 {
        store.append_unsettled(&[(labels.clone(), sample(at, 1.0))]).unwrap();
        assert_eq!(all(&store)[0].samples.len(), at as usize + 1, "read at once");
    }
    assert_eq!(store.disk.as_ref().unwrap().log.counts().syncs, 0);
    store.settle().unwrap();
    // As a kill leaves it: nothing is written at the end.
    let copied = tempfile::tempdir().unwrap();
    copy(folder.path(), copied.path());
    assert_eq!(bits(&all(&open(copied.path()).0)), bits(&all(&store)));
    assert_eq!(store.disk.as_ref().unwrap().log.counts().syncs, 1);
}

#[test]
fn a_restart_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, report) = open(folder.path());
    assert_eq!((report.series, report.repairs.len()), (0, 0));
    fill(&store, 5, 300);
    let before = bits(&all(&store));
    drop(store);
    for _ in 0..3 {
        let (store, report) = open(folder.path());
        assert_eq!((report.series, report.samples, report.repairs.len()), (5, 1500, 0));
        assert_eq!(bits(&all(&store)), before);
        // What was there is still known, and another value for it refused.
        let labels = before[0].0.clone();
        let (time, value) = before[0].1[17];
        let known = Sample { timestamp: Timestamp(time), value: f64::from_bits(value) };
        let other = Sample { value: 77.0, ..known };
        let got = store.append(&[(labels.clone(), known), (labels, other)]).unwrap();
        assert_eq!((got.accepted, got.duplicate), (1, 1));
    }
    // New series do not take the place of old ones.
    let (store, _) = open(folder.path());
    let labels = [("__name__", "other")];
    let samples = [sample(0, 1.0), sample(1, 2.0)];
    store.append_incoming(&[Incoming { labels: &labels, samples: &samples }]).unwrap();
    drop(store);
    let (store, _) = open(folder.path());
    let after = bits(&all(&store));
    assert_eq!(after.len(), 6);
    assert_eq!(after[..5], before);
}

#[test]
fn any_damage_leaves_a_store_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    fill(&store, 1, 2);
    let long: Vec<_> = (0..122).map(|at| sample(at, 1.0)).collect();
    store.append_incoming(&[Incoming { labels: &[("long", "1")], samples: &long }]).unwrap();
    store.checkpoint(store.disk.as_ref().unwrap());
    drop(store);
    let (store, _) = open(folder.path());
    let third = Labels::from_pairs([("third", "1")]);
    store.append(&[(third.clone(), sample(0, 1.0)), (third, sample(1, 2.0))]).unwrap();
    let want = bits(&all(&store));
    drop(store);
    let mut tried = 0;
    for file in files(folder.path()) {
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            for (damage, cut) in [(0xff, whole.len()), (0, at)] {
                let damaged = tempfile::tempdir().unwrap();
                copy(folder.path(), damaged.path());
                let mut bytes = whole.clone();
                bytes[at] ^= damage;
                fs::write(
                    damaged.path().join(file.strip_prefix(folder.path()).unwrap()),
                    &bytes[..cut],
                )
                .unwrap();
                let (store, report) = open(damaged.path());
                assert!(!report.repairs.is_empty() || damage == 0, "{} {at}", file.display());
                // Nothing is made up, and it takes samples again.
                for (labels, samples) in bits(&all(&store)) {
                    let (_, known) = want.iter().find(|(known, _)| *known == labels).unwrap();
                    assert!(samples.iter().all(|sample| known.contains(sample)));
                }
                if at % 64 == 0 {
                    let again = Labels::from_pairs([("__name__", "n")]);
                    assert_eq!(store.append(&[(again, sample(0, 1.0))]).unwrap().accepted, 1);
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn what_is_refused_is_counted_by_reason() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_series: 2,
        max_labels: 2,
        max_label_value_bytes: 5,
        max_label_name_bytes: 8,
        retention: Duration::from_secs(7200),
        ..Limits::default()
    };
    let (store, _) = Tsdb::open(folder.path(), limits, NOW, BlockMetrics::default()).unwrap();
    let one = |pairs: &[(&str, &str)], seconds| {
        (Labels::from_pairs(pairs.iter().copied()), sample(seconds, 1.0))
    };
    let got = store
        .append(&[
            one(&[("a", "1")], 0),
            one(&[("a", "1")], -7201),
            one(&[("a", "2")], -7201),
            one(&[("a", "1")], 3601),
            one(&[("a", "123456")], 0),
            one(&[("abcdefghi", "1")], 0),
            one(&[("a", "1"), ("b", "1"), ("c", "1")], 0),
            one(&[("a", "2")], 0),
            one(&[("a", "3")], 0),
        ])
        .unwrap();
    let want = crate::model::querier::Appended {
        accepted: 2,
        too_old: 2,
        too_new: 1,
        bad_labels: 3,
        over_limit: 1,
        ..Default::default()
    };
    assert_eq!(got, want);
    drop(store);
    let (store, report) = open(folder.path());
    assert_eq!((report.series, all(&store).len()), (2, 2));
}
