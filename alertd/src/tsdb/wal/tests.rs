//! The log against its promises: durable when it says so, whole after damage, itself again after a
//! full disk.

use super::record::tests::Heard;
use super::*;
use crate::model::labels::Labels;
use crate::model::sample::{Sample, Timestamp};
use crate::tsdb::report::Report;

fn record(at: i64) -> Encoder {
    let mut record = Encoder::default();
    if at == 0 {
        record.series(7, &Labels::from_pairs([("job", "a")]));
    }
    record.sample(7, Sample { timestamp: Timestamp(at), value: at as f64 / 3.0 });
    record
}

fn read(folder: &Path) -> (Heard, Report) {
    let (mut heard, mut report) = (Heard::default(), Report::default());
    replay(folder, 0, &mut heard, &mut report).unwrap();
    (heard, report)
}

/// What stands in the files now. Replay cuts a torn tail, and a record that is being written looks
/// like one: the files of a living log are read from a copy.
fn read_living(log: &Log) -> Heard {
    let copy = tempfile::tempdir().unwrap();
    for (_, file) in segments(&log.folder).unwrap() {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    read(copy.path()).0
}

fn times(heard: &Heard) -> Vec<i64> {
    heard.samples.iter().map(|(_, time, _)| *time).collect()
}

#[test]
fn what_was_waited_for_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), 1);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for at in 0..50 {
                    let position = log.add(&mut record(thread * 1000 + at));
                    log.wait(position).unwrap();
                    assert!(times(&read_living(log)).contains(&(thread * 1000 + at)));
                }
            });
        }
    });
    let (heard, report) = read(folder.path());
    assert_eq!((heard.samples.len(), heard.series.len(), report.repairs.len()), (200, 1, 0));
    assert!(log.counts().syncs <= 200);
    assert_eq!(log.rotate(), 2);
    assert_eq!(log.rotate(), 2);
    log.add(&mut record(9999));
    log.flush().unwrap();
    log.remove_before(2).unwrap();
    assert_eq!(times(&read(folder.path()).0), [9999]);
}

#[test]
fn any_byte_may_be_damaged_or_missing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), 1);
    for at in 0..4 {
        log.add(&mut record(at));
        log.flush().unwrap();
        if at == 2 {
            log.rotate();
        }
    }
    let first = path(folder.path(), 1);
    let whole = fs::read(&first).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&first, &bytes).unwrap();
        let (heard, report) = read(folder.path());
        assert_eq!(report.repairs.len(), 1, "{at}");
        assert_eq!(times(&heard).last(), Some(&3), "the next file is read too");
        // What was cut off is not told twice; what stands between whole records is.
        let torn = report.repairs[0].kind == crate::tsdb::report::RepairKind::Torn;
        assert_eq!(read(folder.path()).1.repairs.len(), usize::from(!torn), "{at}");

        fs::write(&first, &whole[..at]).unwrap();
        let (heard, _) = read(folder.path());
        let kept = times(&heard);
        assert!([0, 1, 2, 3].ends_with(&kept[kept.len() - 1..]) && kept.len() <= 3, "{kept:?}");
        assert_eq!(read(folder.path()).1.repairs.len(), 0);
    }
}

#[test]
fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), 1);
    log.add(&mut record(0));
    log.flush().unwrap();
    // A folder in place of the next file: it cannot be opened for writing.
    log.rotate();
    fs::create_dir(path(folder.path(), 2)).unwrap();
    let position = log.add(&mut record(1));
    for _ in 0..3 {
        let error = log.wait(position).unwrap_err().to_string();
        assert!(error.contains("0000000002.wal"), "{error}");
        assert!(log.ready().is_err());
    }
    fs::remove_dir(path(folder.path(), 2)).unwrap();
    log.ready().unwrap();
    log.wait(position).unwrap();
    log.add(&mut record(2));
    log.flush().unwrap();
    let (heard, report) = read(folder.path());
    assert_eq!((times(&heard), report.repairs.len()), (vec![0, 1, 2], 0));
}
