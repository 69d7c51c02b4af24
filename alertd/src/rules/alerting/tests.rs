//! The rows of an alert's life, one evaluation a row.

use std::collections::BTreeMap;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn minute(at: i64) -> Timestamp {
    Timestamp(at * 60_000)
}

fn seen(value: f64) -> Option<Seen> {
    let annotations = BTreeMap::from([("value".to_owned(), value.to_string())]);
    Some(Seen {
        labels: Labels::from_pairs([("alertname", "A")]),
        annotations: annotations.into(),
        value,
    })
}

/// Runs evaluations a minute apart; `1` yields the element, `0` does not. The states in letters:
/// `-` nothing, `p` pending, `f` firing, `k` kept firing, `r` resolved.
fn story(timing: Timing, input: &str) -> (String, Vec<Option<AlertInstance>>) {
    let (mut states, mut all) = (String::new(), Vec::new());
    let mut instance: Option<AlertInstance> = None;
    for (at, char) in input.chars().enumerate() {
        let element = if char == '1' { seen(at as f64) } else { None };
        instance = next(instance.as_ref(), element, timing, minute(at as i64));
        states.push(match &instance {
            None => '-',
            Some(instance) => match instance.state {
                AlertState::Pending => 'p',
                AlertState::Firing if instance.keep_firing_since.is_some() => 'k',
                AlertState::Firing => 'f',
                AlertState::Inactive => 'r',
            },
        });
        all.push(instance.clone());
    }
    (states, all)
}

#[test]
fn states_over_time() {
    let timing = |hold: u32, keep: u32| Timing { hold: MINUTE * hold, keep_firing: MINUTE * keep };
    let tiny = Timing { hold: Duration::from_secs(15), keep_firing: Duration::ZERO };
    for (what, timing, input, want) in [
        ("for 0 fires in the same evaluation", timing(0, 0), "0110", "-ffr"),
        ("for shorter than the interval fires at the second", tiny, "110", "pfr"),
        ("fires when `for` is reached, not before", timing(2, 0), "1111", "ppff"),
        ("a pending one that is missing is gone", timing(2, 0), "110110", "pp-pp-"),
        ("keep_firing_for holds, then lets go", timing(0, 2), "10000", "fkkrr"),
        ("back while kept: the same alert", timing(3, 2), "11110100", "pppfkfkk"),
        ("a resolved one comes back as a new one", timing(1, 0), "110110", "pfrpfr"),
        (
            "kept 15 minutes after its end",
            timing(0, 0),
            "100000000000000000000",
            "frrrrrrrrrrrrrrrr----",
        ),
        ("keep_firing_for does not hold a pending one", timing(2, 5), "1100", "pp--"),
    ] {
        assert_eq!(story(timing, input).0, want, "{what}");
    }
}

#[test]
fn what_is_kept_and_what_is_new() {
    let timing = Timing { hold: MINUTE, keep_firing: MINUTE * 2 };
    let (states, all) = story(timing, "1110100001");
    assert_eq!(states, "pffkfkkrrp");
    let at = |index: usize| all[index].as_ref().unwrap();
    // Value and annotations follow the element, and freeze without one.
    assert_eq!((at(2).value, at(3).value), (2.0, 2.0));
    assert_eq!(at(2).annotations["value"], "2");
    // The same alert through the gap.
    assert_eq!((at(4).active_at, at(4).fired_at), (minute(0), Some(minute(1))));
    assert_eq!(at(5).keep_firing_since, Some(minute(5)));
    assert_eq!(at(7).resolved_at, Some(minute(7)));
    assert_eq!(at(8).fired_at, Some(minute(1)));
    // A new one afterwards.
    assert_eq!((at(9).active_at, at(9).fired_at, at(9).resolved_at), (minute(9), None, None));
    assert_eq!(at(9).last_sent_at, None);
}

#[test]
fn a_clock_that_goes_back_resolves_nothing() {
    let timing = Timing { hold: MINUTE * 5, keep_firing: MINUTE };
    let mut instance = next(None, seen(1.0), timing, minute(10)).unwrap();
    instance = next(Some(&instance), seen(1.0), timing, minute(15)).unwrap();
    assert_eq!(instance.state, AlertState::Firing);
    let back = next(Some(&instance), seen(1.0), timing, minute(3)).unwrap();
    assert_eq!((back.state, back.fired_at), (AlertState::Firing, Some(minute(15))));
    let kept = next(Some(&back), None, timing, minute(3)).unwrap();
    assert_eq!(kept.state, AlertState::Firing);
}

#[test]
fn when_routing_is_told() {
    let delay = MINUTE;
    let firing = |last_sent_at| {
        let first = next(None, seen(1.0), Timing::default(), minute(0)).unwrap();
        AlertInstance { last_sent_at, ..first }
    };
    let sent = Some(minute(10));
    for (what, instance, now, want) in [
        ("first time", firing(None), minute(0), true),
        ("same moment", firing(sent), minute(10), false),
        ("exactly the delay is not more than it", firing(sent), minute(11), false),
        ("after the delay", firing(sent), Timestamp(11 * 60_000 + 1), true),
        ("ended since", resolved(&firing(sent), Timestamp(600_001)), Timestamp(600_001), true),
        ("end told already", resolved(&firing(sent), minute(10)), minute(11), false),
        ("end told again", resolved(&firing(sent), minute(9)), minute(12), true),
        ("sent in the future, by a clock that was wrong", firing(sent), minute(2), true),
        (
            "pending",
            AlertInstance { state: AlertState::Pending, ..firing(None) },
            minute(50),
            false,
        ),
    ] {
        assert_eq!(needs_sending(&instance, now, delay), want, "{what}");
    }
    assert_eq!(lease(MINUTE / 2, MINUTE), MINUTE * 4);
    assert_eq!(lease(MINUTE * 2, MINUTE), MINUTE * 8);
}

#[test]
fn what_routing_is_told() {
    let timing = Timing { hold: MINUTE, keep_firing: Duration::ZERO };
    let (_, all) = story(timing, "110");
    let external = Labels::from_pairs([("site", "north"), ("alertname", "never")]);
    let firing = told(all[1].as_ref().unwrap(), minute(5), &external, "http://x/graph");
    assert_eq!(firing.labels, Labels::from_pairs([("alertname", "A"), ("site", "north")]));
    assert_eq!((firing.starts_at, firing.ends_at), (minute(1), minute(5)));
    let ended = told(all[2].as_ref().unwrap(), minute(6), &external, "");
    assert_eq!((ended.starts_at, ended.ends_at), (minute(1), minute(2)));
    assert!(ended.is_resolved(minute(2)));
}

#[test]
fn series_of_an_instance() {
    let pending =
        next(None, seen(1.0), Timing { hold: MINUTE, ..Timing::default() }, Timestamp(61_500));
    let series = samples(&pending.unwrap(), Timestamp(62_000));
    let [(alerts, one), (since, active)] = &series[..] else { panic!("{series:?}") };
    assert_eq!(alerts.to_string(), r#"ALERTS{alertname="A", alertstate="pending"}"#);
    assert_eq!(since.to_string(), r#"ALERTS_FOR_STATE{alertname="A"}"#);
    assert_eq!((one.value, active.value, one.timestamp), (1.0, 61.0, Timestamp(62_000)));
    let firing = next(None, seen(1.0), Timing::default(), minute(0)).unwrap();
    assert!(samples(&resolved(&firing, minute(1)), minute(1)).is_empty());
}

#[test]
fn a_longer_for_takes_an_alert_back_to_pending() {
    let timing = Timing { hold: MINUTE * 2, keep_firing: Duration::ZERO };
    let firing = story(timing, "111").1[2].clone().unwrap();
    let state = |hold, now| carried_over(firing.clone(), hold, now).state;
    assert_eq!(state(MINUTE * 2, minute(3)), AlertState::Firing);
    assert_eq!(state(MINUTE * 5, minute(3)), AlertState::Pending);
    assert_eq!(state(MINUTE * 5, minute(6)), AlertState::Firing);
    // With the same `for`, a clock that went back changes nothing.
    assert_eq!(state(MINUTE * 2, minute(0)), AlertState::Firing);
}
