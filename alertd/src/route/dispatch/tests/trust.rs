//! Whose word counts for how much, and what is held still.

use super::*;
use crate::rules::flapping::FLAPPING;

#[test]
fn what_others_post_leaves_room_for_our_own() {
    let mut dispatcher = Dispatcher { most_posted: 2, ..dispatcher(FILE) };
    let three = |name| {
        let one = |host| alert(&[("alertname", name), ("host", host)], 0, 9999);
        ["1", "2", "3"].map(one).to_vec()
    };
    assert_eq!(dispatcher.take(three("P"), Origin::Anonymous, at(0)), 1);
    assert_eq!(dispatcher.take(three("Q"), Origin::Known, at(0)), 3);
    assert_eq!(dispatcher.take(three("A"), Origin::Own, at(0)), 0);
    assert_eq!(dispatcher.alerts(), 5);
}

#[tokio::test]
async fn what_nobody_signed_for_hushes_no_alert_of_ours() {
    use Reason::*;
    let warning = [("alertname", "W"), ("severity", "warning"), ("host", "1")];
    let forged = [("alertname", "C"), ("severity", "critical"), ("host", "1")];
    for (origin, ours, want) in [
        (Origin::Anonymous, Origin::Own, 2),
        (Origin::Known, Origin::Own, 1),
        (Origin::Anonymous, Origin::Known, 1),
    ] {
        let mut bench = Bench::new();
        // Room for both.
        bench.dispatcher.most_posted = 9;
        bench.dispatcher.take(vec![alert(&forged, 0, 9999)], origin, at(0));
        bench.dispatcher.take(vec![alert(&warning, 0, 9999)], ours, at(0));
        assert_eq!(bench.tick(10).await, vec![(First, 1, 0); want], "{origin:?} hushes {ours:?}");
    }
}

#[tokio::test]
async fn a_flapping_alert_is_told_once_until_it_is_calm() {
    use Reason::*;
    let mut bench = Bench::new();
    let a = [("alertname", "A"), ("host", "1")];
    let held = || {
        let mut held = alert(&a, 0, 99_999);
        Arc::make_mut(&mut held.annotations).insert(FLAPPING.to_owned(), "since then".to_owned());
        held
    };
    bench.take(vec![held()], 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    for later in [700, 1400, 9000] {
        bench.take(vec![held()], later);
        assert_eq!(bench.tick(later).await, [], "at {later}");
    }
    bench.take(vec![alert(&[("alertname", "A"), ("host", "2")], 9010, 10_000)], 9010);
    assert_eq!(bench.tick(9060).await, [(NewAlerts, 2, 0)], "its group goes on");
    assert_eq!(bench.tick(10_060).await, [(SomeResolved, 1, 1)]);
    assert_eq!(bench.tick(11_000).await, []);
    // Calm, and firing: repeated as any other. Then it ends.
    bench.take(vec![alert(&a, 0, 99_999)], 11_010);
    assert_eq!(bench.tick(11_060).await, [(Repeat, 1, 0)]);
    bench.take(vec![alert(&a, 0, 11_070)], 11_070);
    assert_eq!(bench.tick(11_120).await, [(AllResolved, 0, 1)]);
}
