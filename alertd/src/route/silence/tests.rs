//! Lives of silences, and what they match.

use super::*;
use crate::route::matchers::parse;
use crate::scrape::config::size::Size;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1000)
}

fn silence(matchers: &str, starts: i64, ends: i64) -> Silence {
    Silence {
        id: String::new(),
        matchers: parse(matchers).unwrap().iter().map(Condition::new).collect(),
        starts_at: at(starts),
        ends_at: at(ends),
        updated_at: at(0),
        created_by: "ann".to_owned(),
        signed_in: None,
        comment: "because".to_owned(),
        annotations: BTreeMap::new(),
        ends_with_alert: false,
    }
}

fn labels(text: &str) -> Labels {
    Labels::from_pairs(parse(text).unwrap().into_iter().map(|m| (m.name, m.value)))
}

#[track_caller]
fn set(silences: &mut Silences, wanted: Silence, id: &str, now: i64) {
    let change = silences.set(wanted, id.to_owned(), at(now)).unwrap();
    silences.apply(change, at(now));
}

#[test]
fn mutes_what_all_its_matchers_match_in_its_time() {
    for (matchers, alert, want) in [
        ("a=1", "a=1,b=2", true),
        ("a=1", "a=2", false),
        ("a!=1", "a=2", true),
        ("a!=1", "b=2", true),
        ("a!=1", "a=1", false),
        ("a=~1|2", "a=2", true),
        ("a=~\"1|2\"", "a=12", false),
        ("a=~1.*", "a=12", true),
        ("a=~1.", "a=x12", false),
        ("a!~1.*", "a=12", false),
        ("a!~1.*", "b=1", true),
        ("a=1,b=~2.", "a=1,b=23", true),
        ("a=1,b=~2.", "a=1", false),
        ("a=1,b=\"\"", "a=1", true),
        ("a=1,b=\"\"", "a=1,b=1", false),
    ] {
        let mut silences = Silences::default();
        set(&mut silences, silence(matchers, 0, 100), "i", 0);
        assert_eq!(silences.mutes(&labels(alert), at(50)), want, "{matchers} on {alert}");
        let by = silences.muting(&labels(alert), at(50));
        assert_eq!(by, if want { vec!["i"] } else { vec![] }, "{matchers} on {alert}");
    }
    let mut silences = Silences::default();
    set(&mut silences, silence("a=1", 10, 20), "i", 0);
    for (now, state) in
        [(9, State::Pending), (10, State::Active), (19, State::Active), (20, State::Expired)]
    {
        assert_eq!(silences.get("i").unwrap().state(at(now)), state, "at {now}");
        assert_eq!(silences.mutes(&labels("a=1"), at(now)), state == State::Active, "at {now}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_alertmanagers_words() {
    let nothing = Silence { matchers: Vec::new(), ..silence("a=1", 0, 9) };
    let regex =
        Condition { name: "a".to_owned(), value: "(".to_owned(), is_regex: true, is_equal: true };
    let unnamed = Condition { name: String::new(), ..regex.clone() };
    for (wanted, want) in [
        (nothing, "invalid silence: at least one matcher required"),
        (
            silence("a=\"\",b=~.*", 0, 9),
            "invalid silence: at least one matcher must not match the empty string",
        ),
        (silence("a=1", 9, 8), "invalid silence: end time must not be before start time"),
        (
            Silence { matchers: vec![regex], ..silence("a=1", 0, 9) },
            "invalid silence: invalid label matcher 0: invalid regular expression \"(\": ",
        ),
        (
            Silence { matchers: vec![unnamed], ..silence("a=1", 0, 9) },
            "invalid silence: invalid label matcher 0: invalid label name \"\"",
        ),
        (Silence { id: "other".to_owned(), ..silence("a=1", 0, 9) }, "silence not found"),
        (
            Silence { comment: "x".repeat(64 * 1024), ..silence("a=1", 0, 9) },
            "silence exceeded maximum size: ",
        ),
    ] {
        let found = Silences::default().set(wanted, "i".to_owned(), at(0)).unwrap_err();
        assert!(found.to_string().starts_with(want), "{found}");
    }
    // A condition that excludes says something, even of the empty string.
    Silences::default().set(silence("a!=\"\"", 0, 9), "i".to_owned(), at(0)).unwrap();
}

#[test]
fn a_change_that_would_rewrite_history_ends_the_old_one() {
    let old = || silence("a=1", 10, 20);
    // (at, matchers, starts, ends, stays the same one)
    for (now, matchers, starts, ends, same) in [
        (0, "a=1", 10, 99, true),
        (0, "a=1", 5, 20, true),
        (15, "a=1", 10, 99, true),
        (15, "a=1", 15, 99, false),
        (15, "a=2", 10, 99, false),
        (25, "a=1", 10, 99, false),
    ] {
        let mut silences = Silences::default();
        set(&mut silences, old(), "old", 0);
        let wanted = Silence { id: "old".to_owned(), ..silence(matchers, starts, ends) };
        set(&mut silences, wanted, "new", now);
        let id = if same { "old" } else { "new" };
        let found = silences.get(id).unwrap();
        assert_eq!((found.ends_at, found.updated_at), (at(ends), at(now)), "{matchers} at {now}");
        assert_eq!(found.starts_at, at(if same { starts } else { starts.max(now) }));
        if !same {
            let before = silences.get("old").unwrap();
            assert_eq!(before.ends_at, at(now.min(20)), "{matchers} at {now}");
            assert_eq!(before.state(at(now)), State::Expired);
        }
    }
}

#[test]
fn ending_is_idempotent_and_what_ended_does_not_come_back() {
    let mut silences = Silences::default();
    set(&mut silences, silence("a=1", 0, 100), "i", 0);
    set(&mut silences, silence("b=1", 50, 100), "later", 0);
    for id in ["i", "later"] {
        let change = silences.expire(id, at(10)).unwrap();
        silences.apply(change, at(10));
        assert_eq!(silences.get(id).unwrap().state(at(10)), State::Expired);
        assert_eq!(silences.expire(id, at(11)).unwrap(), []);
    }
    assert!(!silences.mutes(&labels("a=1,b=1"), at(60)));
    assert_eq!(silences.expire("x", at(0)), Err(Refused::NotFound));
    let kept = at(10).plus(RETENTION);
    let all = || silences.iter().map(|silence| Silence::clone(silence)).collect::<Vec<_>>();
    assert_eq!(Silences::restore(all(), kept.minus(Duration::from_secs(1))).len(), 2);
    assert_eq!(Silences::restore(all(), kept).len(), 0);
    assert_eq!(silences.prune(kept).len(), 2);
    assert!(silences.is_empty());
}

#[test]
fn one_that_ends_with_its_alert_waits_for_the_last() {
    let mut silences = Silences::default();
    set(&mut silences, Silence { ends_with_alert: true, ..silence("a=1", 0, 100) }, "i", 0);
    set(&mut silences, silence("a=1", 0, 100), "stays", 0);
    let ended = labels("a=1,b=1");
    assert_eq!(silences.ending_with(&ended, |_| true, at(5)), []);
    assert_eq!(silences.ending_with(&labels("a=2"), |_| false, at(5)), []);
    let change = silences.ending_with(&ended, |_| false, at(5));
    assert_eq!(change.len(), 1);
    silences.apply(change, at(5));
    assert_eq!(silences.get("i").unwrap().ends_at, at(5));
    assert_eq!(silences.muting(&ended, at(6)), ["stays"]);
}

#[test]
fn bounds_hold_and_say_so() {
    let mut silences = Silences::default();
    let max = 1200;
    silences.limit(SilenceLimits { max, max_size: Size(100), ..SilenceLimits::default() });
    let long = format!("a={}", "x".repeat(100));
    let refused = silences.set(silence(&long, 0, 100), "x".to_owned(), at(0)).unwrap_err();
    let want = "silence exceeded maximum size: 111 bytes (limit: 100 bytes)";
    assert_eq!(refused.to_string(), want);
    for n in 0..1000 {
        set(&mut silences, silence(&format!("a!=v{n}"), 0, 100), &format!("n{n}"), 0);
    }
    let refused = silences.set(silence("a!=x", 0, 100), "x".to_owned(), at(0)).unwrap_err();
    assert!(refused.to_string().contains("(limit: 1000) that ask for no certain"), "{refused}");
    // Those that ended do not count there.
    let change = silences.expire("n0", at(1)).unwrap();
    silences.apply(change, at(1));
    set(&mut silences, silence("a!=x", 0, 100), "x", 1);
    for n in silences.len()..max {
        set(&mut silences, silence(&format!("a=v{n},b=same"), 0, 100), &format!("i{n}"), 1);
    }
    let refused = silences.set(silence("a=b", 0, 100), "y".to_owned(), at(1)).unwrap_err();
    let want = "exceeded maximum number of silences: 1200 (limit: 1200)";
    assert_eq!(refused.to_string(), want);
    let found = silences.muting(&labels("a=v1100,b=same"), at(2));
    assert_eq!(found.iter().filter(|id| id.starts_with('i')).count(), 1);
    assert_eq!(silences.count(at(2))[&State::Active], max - 1);
}
