//! What a log gives back after it was closed, copied, damaged, or full.

use super::*;
use crate::workflows::event::{Job, Source, What};

/// Snapshots and events, as `open` tells them.
fn opened(folder: &Path) -> (Log, Vec<String>) {
    let mut seen = Vec::new();
    let log = Log::open(folder, |stored| {
        seen.push(match stored {
            Stored::Snapshot(text) => format!("snapshot {text}"),
            Stored::Event(Event { what: What::Job(job), .. }) => format!("job {}", job.id),
            Stored::Event(other) => panic!("{other:?}"),
        });
        Ok(())
    });
    (log.unwrap(), seen)
}

fn refused(folder: &Path) -> LogError {
    Log::open(folder, |_| Ok(())).err().expect("this cannot be opened")
}

fn job(id: u64) -> Event {
    let what = What::Job(Job { id, created_at: Some(0.1), ..Job::default() });
    Event { source: Source::Webhook, received: 1e9 + 0.1, what }
}

fn add(log: &mut Log, delivery: Option<&str>, job_id: u64, received: f64) -> bool {
    log.add(&[Entry { delivery, events: &[job(job_id)], received }]).unwrap()[0]
}

#[test]
fn what_was_added_is_there_again_in_order_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, seen) = opened(&folder.path().join("made/here"));
    assert_eq!(seen, [""; 0]);
    let events = [job(1), job(2)];
    let two = Entry { delivery: Some("a"), events: &events, received: 5.0 };
    let other = Entry { delivery: Some("b"), events: &events[..1], received: 5.0 };
    assert_eq!(log.add(&[two, two, other]).unwrap(), [true, false, true]);
    assert!(!add(&mut log, Some("b"), 9, 6.0));
    assert!(add(&mut log, None, 3, 6.0) && add(&mut log, None, 3, 6.0));
    assert!(log.knows("a").unwrap() && !log.knows("c").unwrap());
    drop(log);
    let (mut log, seen) = opened(&folder.path().join("made/here"));
    assert_eq!(seen, ["job 1", "job 2", "job 1", "job 3", "job 3"]);
    assert_eq!(log.replace("{}", 7.0).unwrap(), Trimmed { events: 5, deliveries: 0, early: 0 });
    assert!(!add(&mut log, Some("a"), 9, 8.0), "ids outlive events");
    assert!(add(&mut log, Some("c"), 4, 8.0) && log.size() > 0);
    drop(log);
    assert_eq!(opened(&folder.path().join("made/here")).1, ["snapshot {}", "job 4"]);
}

#[test]
fn ids_are_bounded_by_age_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = opened(folder.path());
    log.max_deliveries = 3;
    let day = 86_400.0;
    for (id, at) in [("a", 0.0), ("b", 1.0), ("c", 5.0 * day), ("d", 5.0 * day)] {
        assert!(add(&mut log, Some(id), 1, at));
    }
    let trimmed = log.replace("{}", 5.0 * day).unwrap();
    assert_eq!((trimmed.deliveries, trimmed.early), (1, 0), "b is old, and one of the newest");
    for id in ["e", "f"] {
        assert!(add(&mut log, Some(id), 1, 5.0 * day));
    }
    let trimmed = log.replace("{}", 5.0 * day).unwrap();
    assert_eq!((trimmed.deliveries, trimmed.early), (1, 1));
    let known = ["a", "b", "c", "d", "e", "f"].map(|id| log.knows(id).unwrap());
    assert_eq!(known, [false, false, false, true, true, true]);
}

#[test]
fn a_file_that_cannot_be_used_is_told_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (mut log, _) = opened(folder.path());
    assert!(matches!(refused(folder.path()), LogError::InUse { .. }), "one process at a time");
    let events: Vec<_> = (0..2000).map(job).collect();
    let ids: Vec<_> = events.iter().enumerate().map(|(id, _)| id.to_string()).collect();
    let entries = events.chunks(1).zip(&ids);
    let entries = entries.map(|(events, id)| Entry { delivery: Some(id), events, received: 1.0 });
    log.add(&entries.collect::<Vec<_>>()).unwrap();
    drop(log);
    let whole = fs::read(&path).unwrap();

    fs::write(&path, b"this is no database, but it is longer than the head of one: ".repeat(9))
        .unwrap();
    let error = refused(folder.path()).to_string();
    assert!(error.contains("workflows.db is damaged") && error.contains("move it away"), "{error}");

    let mut torn = whole.clone();
    let at = torn.len() / 2;
    torn[at..at + 4096].fill(0xa5);
    fs::write(&path, &torn).unwrap();
    assert!(matches!(refused(folder.path()), LogError::Damaged { .. }));
    fs::write(&path, &whole[..whole.len() - 8192]).unwrap();
    assert!(matches!(refused(folder.path()), LogError::Damaged { .. }));

    fs::write(&path, &whole).unwrap();
    let bad = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    bad("UPDATE events SET event = '{}' WHERE id = 7");
    let error = refused(folder.path()).to_string();
    assert!(error.contains("event 7: missing field"), "{error}");
    bad("PRAGMA user_version = 7");
    let error = refused(folder.path()).to_string();
    assert!(error.contains("newer version (schema 7, this one knows 1)"), "{error}");
    assert!(matches!(refused(&path), LogError::Folder { .. }));
}

#[test]
fn a_full_disk_refuses_and_keeps_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = opened(folder.path());
    assert!(add(&mut log, Some("a"), 1, 1.0));
    let pages: i64 = log.connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    log.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let many: Vec<_> = (0..1000).map(job).collect();
    let entry = Entry { delivery: Some("b"), events: &many, received: 1.0 };
    assert!(matches!(log.add(&[entry]), Err(LogError::Full { .. })));
    assert!(!log.knows("b").unwrap(), "its sender may try again");
    log.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    assert_eq!(log.add(&[entry]).unwrap(), [true]);
    drop(log);
    assert_eq!(opened(folder.path()).1.len(), 1001);
}
