//! The store against its promises: what is taken, what is refused, what is found, what is dropped.

use super::*;
use crate::model::labels::Labels;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::querier::{Appender, Querier};
use crate::model::sample::{Sample, is_stale, stale_marker};

const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

fn sample(millis: i64, value: f64) -> Sample {
    Sample { timestamp: Timestamp(millis), value }
}

fn series(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn store(window: u64) -> Tsdb {
    let out_of_order_window = Duration::from_millis(window);
    Tsdb::new(Limits { max_series: 4, out_of_order_window, ..Limits::default() })
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).unwrap()
}

#[test]
fn counts_each_sample_once() {
    let up = series(&[("__name__", "up")]);
    for (window, sent, want) in [
        (0, vec![(10, 1.0), (20, 2.0)], (2, 0, 0)),
        (0, vec![(10, 1.0), (10, 1.0)], (2, 0, 0)),
        (0, vec![(10, 1.0), (10, 2.0)], (1, 1, 0)),
        (0, vec![(10, f64::NAN), (10, f64::NAN)], (2, 0, 0)),
        (0, vec![(10, f64::NAN), (10, stale_marker())], (1, 1, 0)),
        (0, vec![(10, 1.0), (9, 1.0)], (1, 0, 1)),
        (5, vec![(10, 1.0), (5, 1.0), (4, 1.0)], (2, 0, 1)),
    ] {
        let store = store(window);
        let samples: Vec<_> = sent.iter().map(|(at, v)| (up.clone(), sample(*at, *v))).collect();
        let got = store.append(&samples).unwrap();
        assert_eq!((got.accepted, got.duplicate, got.out_of_order), want, "{window} {sent:?}");
    }
}

#[test]
fn stale_markers_keep_their_bits() {
    let store = store(0);
    let up = series(&[("__name__", "up")]);
    store.append(&[(up.clone(), sample(1, 1.0)), (up, sample(2, stale_marker()))]).unwrap();
    let found = store.select(&[Matcher::equal("__name__", "up")], Timestamp(0), Timestamp(9));
    assert!(is_stale(found.unwrap()[0].samples[1].value));
}

#[test]
fn matchers_and_absent_labels() {
    let store = store(0);
    let all = [
        series(&[("__name__", "up"), ("job", "a")]),
        series(&[("__name__", "up"), ("job", "b"), ("env", "prod")]),
        series(&[("__name__", "down"), ("job", "a")]),
    ];
    let samples: Vec<_> = all.iter().map(|labels| (labels.clone(), sample(5, 1.0))).collect();
    store.append(&samples).unwrap();
    for (matchers, want) in [
        (vec![matcher(MatchOp::Equal, "__name__", "up")], vec![0, 1]),
        (vec![matcher(MatchOp::Equal, "env", "")], vec![0, 2]),
        (vec![matcher(MatchOp::NotEqual, "env", "")], vec![1]),
        (vec![matcher(MatchOp::NotEqual, "env", "prod")], vec![0, 2]),
        (vec![matcher(MatchOp::Regex, "env", ".*")], vec![0, 1, 2]),
        (vec![matcher(MatchOp::Regex, "env", ".+")], vec![1]),
        (vec![matcher(MatchOp::NotRegex, "job", "a|c")], vec![1]),
        (
            vec![
                matcher(MatchOp::Regex, "job", "a|b"),
                matcher(MatchOp::Equal, "__name__", "down"),
            ],
            vec![2],
        ),
        (vec![matcher(MatchOp::Equal, "nope", "x")], vec![]),
        (vec![], vec![0, 1, 2]),
    ] {
        let found = store.select(&matchers, Timestamp(0), Timestamp(9)).unwrap();
        let mut want: Vec<_> = want.into_iter().map(|at: usize| all[at].clone()).collect();
        want.sort();
        let got: Vec<_> = found.into_iter().map(|series| series.labels).collect();
        assert_eq!(got, want, "{matchers:?}");
    }
    assert_eq!(store.label_names(&[], EVER.0, EVER.1).unwrap(), ["__name__", "env", "job"]);
    let up = [matcher(MatchOp::Equal, "__name__", "down")];
    assert_eq!(store.label_values("job", &up, EVER.0, EVER.1).unwrap(), ["a"]);
    assert_eq!(store.label_values("job", &[], EVER.0, EVER.1).unwrap(), ["a", "b"]);
}

#[test]
fn range_of_a_select_is_closed_and_empty_series_are_left_out() {
    let store = store(0);
    let up = series(&[("__name__", "up")]);
    let samples: Vec<_> = (1..=5).map(|at| (up.clone(), sample(at * 10, 1.0))).collect();
    store.append(&samples).unwrap();
    let select = |from, to| store.select(&[], Timestamp(from), Timestamp(to)).unwrap();
    let times: Vec<_> = select(20, 40)[0].samples.iter().map(|one| one.timestamp.0).collect();
    assert_eq!(times, [20, 30, 40]);
    assert!(select(51, 99).is_empty());
    assert!(select(40, 20).is_empty());
}

#[test]
fn limits_of_series_and_of_a_select() {
    let store = Tsdb::new(Limits { max_series: 2, max_select_samples: 1, ..Limits::default() });
    let samples: Vec<_> =
        ["a", "b", "c"].iter().map(|job| (series(&[("job", job)]), sample(1, 1.0))).collect();
    let got = store.append(&samples).unwrap();
    assert_eq!((got.accepted, got.over_limit), (2, 1));
    let error = store.select(&[], Timestamp(0), Timestamp(9)).unwrap_err();
    assert!(matches!(error, StoreError::TooManySamples { limit: 1 }), "{error}");
}

#[test]
fn churn_does_not_leak() {
    let day = 86_400_000;
    let retention = Duration::from_secs(86_400);
    let store = Tsdb::new(Limits { max_series: 10, retention, ..Limits::default() });
    for round in 0..100 {
        let labels = series(&[("__name__", "job"), ("id", &round.to_string())]);
        let at = round * day;
        assert_eq!(store.append(&[(labels, sample(at, 1.0))]).unwrap().accepted, 1);
        store.maintain(Timestamp(at));
        assert!(store.stats().series <= 2);
    }
    store.maintain(Timestamp(1000 * day));
    assert_eq!((store.stats().series, store.stats().samples), (0, 0));
    assert!(store.label_names(&[], EVER.0, EVER.1).unwrap().is_empty());
    assert!(store.label_values("id", &[], EVER.0, EVER.1).unwrap().is_empty());
}

#[test]
fn many_threads_lose_nothing() {
    let store = Tsdb::new(Limits::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for at in 0..500_i64 {
                    let job = format!("{}", (at + thread) % 20);
                    let who = thread.to_string();
                    let labels = series(&[("job", &job), ("thread", &who)]);
                    let got = store.append(&[(labels, sample(at, at as f64))]).unwrap();
                    assert_eq!(got.accepted, 1);
                    let mine = [Matcher::equal("thread", who.as_str())];
                    let found = store.select(&mine, Timestamp(0), Timestamp(at)).unwrap();
                    let count: usize = found.iter().map(|one| one.samples.len()).sum();
                    assert_eq!(count, usize::try_from(at).unwrap() + 1);
                    store.maintain(Timestamp(at));
                }
            });
        }
    });
    assert_eq!((store.stats().series, store.stats().samples), (80, 2000));
}
