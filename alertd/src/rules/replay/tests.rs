//! Rules over a history that is known.

use std::path::Path;

use super::compare::compare;
use super::*;
use crate::model::querier::Appender;
use crate::model::sample::Sample;
use crate::rules::file;

const MINUTE: i64 = 60_000;

/// `x` is 5 for `a` from minute 10 to 19 and from 40 to 44, for `b` from 12 to 13, else 0; what was
/// recorded at the time says that nothing was ever wrong.
fn history() -> Arc<Tsdb> {
    let store = Tsdb::new(Limits::default());
    for minute in 0..60 {
        let high =
            |spans: &[(i64, i64)]| spans.iter().any(|(from, to)| (*from..*to).contains(&minute));
        for (name, job, bad) in [
            ("x", "a", high(&[(10, 20), (40, 45)])),
            ("x", "b", high(&[(12, 14)])),
            ("job:x:max", "a", false),
        ] {
            let labels = Labels::from_pairs([("__name__", name), ("job", job)]);
            let value = if bad { 5.0 } else { 0.0 };
            let sample = Sample { timestamp: Timestamp(minute * MINUTE), value };
            assert_eq!(store.append(&[(labels, sample)]).unwrap().accepted, 1);
        }
    }
    Arc::new(store)
}

fn played(rules: &str, from: i64, to: i64) -> Replayed {
    let groups = file::parse(Path::new("r.yaml"), rules).unwrap();
    let plan = Plan {
        from: Timestamp(from * MINUTE),
        to: Timestamp(to * MINUTE),
        evaluation_interval: Duration::from_secs(60),
        around: Surroundings::default(),
        options: Options::default(),
    };
    replay(&groups, history(), &plan, &AtomicBool::new(false)).unwrap()
}

/// `job: active-fired-resolved` of each firing, in minutes.
fn firings(replayed: &Replayed) -> Vec<String> {
    let minute = |at: Timestamp| (at.0 / MINUTE).to_string();
    let firings = replayed.firings.iter();
    firings
        .map(|f| {
            let end = f.resolved_at.map_or("-".to_owned(), minute);
            format!("{}: {} {} {end}", f.labels["job"], minute(f.active_at), minute(f.fired_at))
        })
        .collect()
}

#[test]
fn alerts_of_a_known_history() {
    for (rules, from, to, want) in [
        ("[{alert: A, expr: x > 1}]", 0, 59, vec!["a: 10 10 20", "b: 12 12 14", "a: 40 40 45"]),
        ("[{alert: A, expr: x > 1, for: 3m}]", 0, 59, vec!["a: 10 13 20", "a: 40 43 45"]),
        ("[{alert: A, expr: x > 1, for: 3m}]", 0, 15, vec!["a: 10 13 -"]),
        ("[{alert: A, expr: x > 1, for: 3m}]", 18, 59, vec!["a: 40 43 45"]),
        (
            "[{alert: A, expr: x > 1, keep_firing_for: 25m}]",
            0,
            59,
            vec!["a: 10 10 -", "b: 12 12 39"],
        ),
        // What is recorded at the time of the replay counts, not what was recorded then.
        (
            "[{record: 'job:x:max', expr: max by (job) (x)}, {alert: A, expr: 'job:x:max > 1', for: 3m}]",
            0,
            59,
            vec!["a: 10 13 20", "a: 40 43 45"],
        ),
        (
            "[{alert: A, expr: x > 1, for: 3m}, {alert: B, expr: 'ALERTS{alertname=\"A\", alertstate=\"firing\"} == 1'}]",
            38,
            44,
            vec!["a: 40 43 -", "a: 43 43 -"],
        ),
    ] {
        let replayed = played(&format!("groups: [{{name: g, rules: {rules}}}]"), from, to);
        assert_eq!(firings(&replayed), want, "{rules}");
    }
    let offset =
        "groups: [{name: g, query_offset: 2m, rules: [{alert: A, expr: 'x > 1', for: 3m}]}]";
    assert_eq!(firings(&played(offset, 0, 30)), ["a: 12 15 22"]);
    let slow = "groups: [{name: g, interval: 7m, rules: [{alert: A, expr: 'x > 1'}]}]";
    assert_eq!(firings(&played(slow, 0, 30)), ["a: 14 14 21"]);
}

#[test]
fn summaries_and_failures() {
    let rules = "groups: [{name: g, limit: 1, rules: [{alert: A, expr: 'x > 1', for: 2m}, \
        {alert: B, expr: 'x * on (a) x'}, {record: 'a:b', expr: 'x{job=\"a\"}'}]}]";
    let replayed = played(rules, 0, 30);
    assert_eq!(replayed.evaluations, 31);
    let summaries: Vec<_> = replayed
        .rules
        .iter()
        .map(|r| (r.rule.as_str(), r.firings, r.only_pending, r.failures, r.longest_seconds))
        .collect();
    // With `b` there are two alerts, which the limit forbids: A begins anew.
    assert_eq!(summaries, [("A", 1, 1, 2, 240.0), ("B", 0, 0, 31, 0.0)]);
    assert!(replayed.rules[0].last_error.as_ref().unwrap().contains("limit of 1"));
}

#[test]
fn too_much_is_refused_and_work_can_be_ended() {
    let groups =
        file::parse(Path::new("r"), "groups: [{name: g, rules: [{record: a, expr: x}]}]").unwrap();
    let plan = |to| Plan {
        from: Timestamp(0),
        to: Timestamp(to),
        evaluation_interval: Duration::from_millis(1),
        around: Surroundings::default(),
        options: Options::default(),
    };
    let result = replay(&groups, history(), &plan(i64::MAX / 4), &AtomicBool::new(false));
    assert!(matches!(result, Err(ReplayError::TooLong(_))));
    let result = replay(&groups, history(), &plan(1000), &AtomicBool::new(true));
    assert!(matches!(result, Err(ReplayError::Cancelled)));
}

#[test]
fn two_sets_beside_each_other() {
    let one = played("groups: [{name: g, rules: [{alert: A, expr: x > 1}]}]", 0, 59);
    let two = played(
        "groups: [{name: g, rules: [{alert: A, expr: x > 1, for: 3m, keep_firing_for: 2m}]}]",
        0,
        59,
    );
    let found = compare(&one.firings, &two.firings);
    assert_eq!((found.only_a.len(), found.only_b.len(), found.both.len()), (1, 0, 2));
    assert_eq!(found.only_a[0].labels["job"], "b");
    let pair = &found.both[0];
    assert_eq!((pair.fired_later_seconds, pair.resolved_later_seconds), (180.0, Some(120.0)));
    let back = compare(&two.firings, &one.firings);
    assert_eq!((back.only_a.len(), back.only_b.len(), back.both.len()), (0, 1, 2));
}
