//! Checkpoints against their promises: nothing is lost by one, half of one, or the damage of one.

use std::time::Duration;

use super::*;
use crate::model::labels::Labels;
use crate::model::querier::{Appender, Querier};
use crate::model::sample::Sample;
use crate::tsdb::Limits;
use crate::tsdb::block::metrics::BlockMetrics;
use crate::tsdb::report::Report;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn open(folder: &Path) -> (Tsdb, Report) {
    let limits = Limits { out_of_order_window: Duration::from_secs(7200), ..Limits::default() };
    Tsdb::open(folder, limits, NOW, BlockMetrics::default()).unwrap()
}

fn fill(store: &Tsdb, times: std::ops::Range<i64>) {
    for at in times {
        let batch: Vec<_> = (0..3)
            .map(|series| {
                let labels = Labels::from_pairs([("__name__", format!("m{series}"))]);
                let timestamp = NOW.minus(Duration::from_secs(3600)).0 + at * 1000;
                (
                    labels,
                    Sample { timestamp: Timestamp(timestamp), value: (at * series) as f64 / 3.0 },
                )
            })
            .collect();
        assert_eq!(store.append(&batch).unwrap().accepted, 3);
    }
}

fn count(store: &Tsdb) -> usize {
    let all = store.select(&[], Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap();
    for one in &all {
        assert!(one.samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
    }
    all.iter().map(|one| one.samples.len()).sum()
}

fn checkpoint(store: &Tsdb) -> Counts {
    let disk = store.disk.as_ref().unwrap();
    store.checkpoint(disk);
    disk.checkpoints.counts()
}

#[test]
fn the_log_before_it_is_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let mut samples = 0;
    for round in 0..5 {
        fill(&store, round * 100..round * 100 + 100);
        samples += 300;
        assert_eq!((checkpoint(&store).done, checkpoint(&store).failed), (2 * round as u64 + 1, 0));
        // Late ones change chunks that have been written already.
        fill(&store, -50 * round - 50..-50 * round);
        samples += 150;
    }
    let before = store.select(&[], NOW.minus(Duration::from_secs(7200)), NOW).unwrap();
    assert!(crate::tsdb::wal::segments(&folder.path().join("wal")).unwrap().len() <= 1);
    drop(store);
    for _ in 0..2 {
        let (store, report) = open(folder.path());
        assert_eq!((count(&store), report.samples, report.repairs.len()), (samples, samples, 0));
        assert_eq!(store.select(&[], NOW.minus(Duration::from_secs(7200)), NOW).unwrap(), before);
        checkpoint(&store);
    }
}

#[test]
fn appends_go_on_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fill(&store, 0..400));
        while !writer.is_finished() {
            checkpoint(&store);
        }
    });
    assert_eq!(count(&store), 1200);
    drop(store);
    let (store, report) = open(folder.path());
    assert_eq!((count(&store), report.orphans, report.repairs.len()), (1200, 0, 0));
}

#[test]
fn half_a_checkpoint_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    fill(&store, 0..300);
    checkpoint(&store);
    fill(&store, 300..600);
    let head = folder.path().join("head");
    // The next one cannot be renamed into place.
    fs::create_dir_all(checkpoint_path(&head, 2).join("x")).unwrap();
    assert_eq!(checkpoint(&store).failed, 1);
    drop(store);
    let (store, report) = open(folder.path());
    // Told twice: it cannot be read, and not be removed.
    assert_eq!((count(&store), report.repairs.len()), (1800, 2));
    fs::remove_dir_all(checkpoint_path(&head, 2)).ok();
    // What had been marked as written is written by the next one.
    assert_eq!(checkpoint(&store).failed, 0);
    drop(store);
    let (store, report) = open(folder.path());
    assert_eq!((count(&store), report.repairs.len()), (1800, 0));
}

#[test]
fn a_failed_one_is_made_up_for_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    fill(&store, 0..300);
    let blocker = checkpoint_path(&folder.path().join("head"), 1);
    fs::create_dir_all(blocker.join("x")).unwrap();
    assert_eq!(checkpoint(&store).failed, 1);
    fs::remove_dir_all(blocker).unwrap();
    assert_eq!(checkpoint(&store).done, 1);
    drop(store);
    let (store, report) = open(folder.path());
    assert_eq!((count(&store), report.log_bytes, report.repairs.len()), (900, 0, 0));
}
