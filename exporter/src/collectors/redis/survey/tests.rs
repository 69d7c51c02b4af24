//! What is asked for again, and pending entries.

use std::time::Duration;

use super::*;

fn id(ms: u64) -> Id {
    Id { ms, sequence: 0 }
}

fn row(lag: Option<u64>) -> Row {
    Row {
        name: "g".to_owned(),
        consumers: 1,
        pending: 1,
        last_delivered: id(2_000),
        entries_read: None,
        lag,
    }
}

#[test]
fn details_are_asked_for_again_when_they_can_have_changed() {
    let server = Server {
        idle_after: Duration::from_secs(60),
        dead_after: Duration::from_secs(100),
        ..Server::default()
    };
    let mut kept = Kept::new(&row(Some(0)), 5, 1000.0);
    let consumer = |pending, idle| reply::Consumer {
        name: "c".to_owned(),
        pending,
        idle: Duration::from_secs(idle),
    };
    kept.heard(&[consumer(0, 20), consumer(1, 90), consumer(0, 61)], &server, 1000.0);
    for (new, depth, now, want) in [
        (row(Some(0)), 5, 1001.0, false),
        (row(Some(0)), 6, 1001.0, false),
        (row(Some(1)), 5, 1001.0, true),
        (Row { pending: 2, ..row(Some(0)) }, 5, 1001.0, true),
        // The busy one would count as dead after ten seconds.
        (row(Some(0)), 5, 1009.0, false),
        (row(Some(0)), 5, 1010.0, true),
        // The clock was set back.
        (row(Some(0)), 5, 900.0, true),
    ] {
        assert_eq!(kept.is_due(&new, depth, 300.0, now), want, "{new:?} {depth} {now}");
    }
    let mut unknown = Kept::new(&row(None), 5, 1000.0);
    assert!(!unknown.is_due(&row(None), 5, 300.0, 1001.0));
    assert!(unknown.is_due(&row(None), 6, 300.0, 1001.0), "only the length tells");
    assert!(unknown.is_due(&row(None), 5, 300.0, 1300.0), "long ago");
    unknown.detail.next = Some(Some(id(2_001)));
    assert_eq!(unknown.next_of(&row(Some(9)), 300.0, 1200.0), Some((id(2_001), 1000.0)));
    assert_eq!(unknown.next_of(&row(Some(9)), 300.0, 1300.0), None);
    let moved = Row { last_delivered: id(2_001), ..row(None) };
    assert_eq!(unknown.next_of(&moved, 300.0, 1001.0), None);
}

#[test]
fn pending_entries_tell_age_and_deliveries() {
    let mut kept = Kept::new(&row(None), 5, 0.0);
    let entry = |ms, idle, deliveries| reply::Pending {
        id: id(ms),
        idle: Duration::from_secs(idle),
        deliveries,
    };
    kept.waiting(&[entry(7, 5, 1), entry(8, 50, 9), entry(9, 1, 2)], 100.0);
    let Detail { oldest_pending, oldest_delivery, deliveries, .. } = kept.detail;
    assert_eq!((oldest_pending, oldest_delivery, deliveries), (Some(id(7)), Some(50.0), Some(9)));
    kept.waiting(&[], 100.0);
    assert_eq!(kept.detail, Detail::default());
}
