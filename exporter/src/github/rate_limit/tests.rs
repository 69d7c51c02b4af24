//! Budgets, waits and resets, with time as an argument.

use super::*;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn fresh(share: f64) -> RateLimit {
    RateLimit::new(share, 12, seconds(1))
}

fn report(remaining: u64, reset: i64) -> Report {
    Report {
        counted: true,
        limit: Some(100),
        remaining: Some(remaining),
        reset: Some(reset),
        date: Some(1000),
        ..Report::default()
    }
}

#[test]
fn refusals_wait_as_github_says() {
    let named = Report { refused: true, retry_after: Some(seconds(30)), ..Report::default() };
    let primary = Report { refused: true, ..report(0, 1600) };
    let secondary = Report { refused: true, ..report(50, 1600) };
    let absurd = Report { retry_after: Some(Duration::MAX), ..named };
    let at_once = Report { retry_after: Some(seconds(0)), ..named };
    let past = Report { refused: true, ..report(0, 900) };
    let endless = Report { refused: true, date: Some(-1_000), ..report(0, i64::MAX) };
    for (what, report, wait) in [
        ("retry-after", named, 30),
        ("reset", primary, 601),
        ("secondary", secondary, 60),
        ("nothing said", Report { refused: true, ..Report::default() }, 60),
        ("absurd", absurd, 3600),
        ("at once", at_once, 1),
        ("reset in the past", past, 60),
        ("reset at the end of time", endless, 3600),
    ] {
        let mut limit = fresh(1.0);
        limit.observe(seconds(5), "core", &report);
        for urgency in [Urgency::Routine, Urgency::Urgent] {
            assert_eq!(limit.wait(seconds(5), "core", urgency), seconds(wait), "{what}");
        }
    }
}

#[test]
fn unnamed_refusals_double_until_one_succeeds() {
    let mut limit = fresh(1.0);
    let refused = Report { refused: true, ..Report::default() };
    let mut now = seconds(0);
    for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
        limit.observe(now, "core", &refused);
        assert_eq!(limit.wait(now, "core", Urgency::Urgent), seconds(pause));
        now += seconds(pause);
    }
    assert_eq!(limit.wait(now, "core", Urgency::Urgent), seconds(0));
    limit.observe(now, "core", &Report::default());
    limit.observe(now, "core", &refused);
    assert_eq!(limit.wait(now, "core", Urgency::Urgent), seconds(60));
}

#[test]
fn reserve_is_for_urgent_calls() {
    let mut limit = fresh(1.0);
    for (remaining, routine, urgent) in [(6, 0, 0), (5, 60, 0), (1, 60, 0), (0, 60, 60)] {
        limit.observe(seconds(0), "core", &report(remaining, 1060));
        assert_eq!(
            limit.wait(seconds(0), "core", Urgency::Routine),
            seconds(routine),
            "{remaining}"
        );
        assert_eq!(limit.wait(seconds(0), "core", Urgency::Urgent), seconds(urgent), "{remaining}");
        assert_eq!(limit.wait(seconds(60), "core", Urgency::Urgent), seconds(0), "{remaining}");
    }
}

#[test]
fn share_counts_own_calls_in_a_window() {
    let mut limit = fresh(0.5);
    for _ in 0..44 {
        limit.observe(seconds(0), "core", &report(90, 1060));
        limit.observe(seconds(0), "core", &Report { counted: false, ..report(90, 1060) });
    }
    assert_eq!(limit.wait(seconds(0), "core", Urgency::Routine), seconds(0));
    limit.observe(seconds(0), "core", &report(90, 1060));
    assert_eq!(limit.wait(seconds(0), "core", Urgency::Routine), seconds(60));
    assert_eq!(limit.wait(seconds(0), "core", Urgency::Urgent), seconds(0));
    limit.observe(seconds(61), "core", &report(99, 4660));
    assert_eq!(limit.wait(seconds(61), "core", Urgency::Routine), seconds(0));
}

#[test]
fn a_burst_of_writes_then_one_a_second() {
    let mut limit = fresh(1.0);
    let waits: Vec<_> = (0..15).map(|_| limit.take_write(seconds(100))).collect();
    let want: Vec<_> = [0; 12].into_iter().chain(1..=3).map(seconds).collect();
    assert_eq!(waits, want);
    assert_eq!(limit.take_write(seconds(200)), seconds(0));
    // In no minute do more than 72 go out, and GitHub allows 80.
    let mut limit = fresh(1.0);
    let sent = (0..200).map(|_| limit.take_write(seconds(0))).filter(|at| *at <= seconds(60));
    assert_eq!(sent.count(), 72);
}

#[test]
fn background_leaves_a_fifth_and_resources_do_not_share() {
    let mut limit = fresh(1.0);
    limit.observe(seconds(0), "core", &report(20, 1600));
    limit.observe(seconds(0), "search", &report(100, 1060));
    assert_eq!(limit.wait(seconds(0), "core", Urgency::Background), seconds(600));
    assert_eq!(limit.wait(seconds(0), "core", Urgency::Routine), seconds(0));
    assert_eq!(limit.wait(seconds(0), "search", Urgency::Background), seconds(0));
    // An empty window stops its own resource alone; a secondary limit stops everything.
    limit.observe(seconds(0), "search", &Report { refused: true, ..report(0, 1060) });
    assert_eq!(limit.wait(seconds(0), "search", Urgency::Urgent), seconds(61));
    assert_eq!(limit.wait(seconds(0), "core", Urgency::Urgent), seconds(0));
    let secondary = Report { refused: true, retry_after: Some(seconds(7)), ..report(90, 1600) };
    limit.observe(seconds(0), "core", &secondary);
    assert_eq!(limit.wait(seconds(0), "integration_manifest", Urgency::Urgent), seconds(7));
}

#[test]
fn the_pace_spends_what_is_left_until_the_end() {
    let mut limit = fresh(1.0);
    assert_eq!(limit.pace(seconds(0), "core", Urgency::Background), None);
    for (remaining, reset, pace) in [
        (100, 1800, 0.1), // 80 calls in 800 s
        (60, 1400, 0.1),
        (20, 1400, 0.0),
        (10, 1400, 0.0),
        (100, 1001, 80.0 / 60.0), // never faster than in a minute
    ] {
        limit.observe(seconds(0), "core", &Report { counted: false, ..report(remaining, reset) });
        let found = limit.pace(seconds(0), "core", Urgency::Background).unwrap();
        assert!((found - pace).abs() < 1e-9, "{remaining} {reset}: {found}");
    }
    // After its end, the whole of the next one.
    let found = limit.pace(seconds(5000), "core", Urgency::Background).unwrap();
    assert!((found - 80.0 / 3600.0).abs() < 1e-9, "{found}");
}

#[test]
fn background_reads_stay_beneath_the_secondary_limit() {
    let mut limit = fresh(1.0);
    let sent = (0..2000).map(|_| limit.take_read(seconds(0))).filter(|at| *at < seconds(60));
    assert!((600..700).contains(&sent.count()));
}
