//! What has to hold for any text as a query over a small store.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::Appender;
use pitcrew_alertd::model::sample::{Sample, Timestamp, stale_marker};
use pitcrew_alertd::promql::error::PromqlError;
use pitcrew_alertd::promql::{Options, Value, instant, parse, range};
use pitcrew_alertd::tsdb::{Limits, Tsdb};

/// Of a query, at a time.
const MAX_SAMPLES: usize = 10_000;
const START: Timestamp = Timestamp(600_000);
const END: Timestamp = Timestamp(900_000);
const STEP: Duration = Duration::from_secs(60);

static STORE: LazyLock<Tsdb> = LazyLock::new(store);

/// Panics when an answer is not what answers are.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let expr = match parse(text) {
        Ok(expr) => expr,
        Err(
            PromqlError::Parse { line, column, .. } | PromqlError::Unsupported { line, column, .. },
        ) => {
            assert!(line > 0 && column > 0 && line <= text.matches('\n').count() + 1);
            return;
        }
        Err(other) => panic!("{other} is no error of a parser"),
    };
    assert!(!expr.to_string().is_empty());
    expr.pinned(END);
    assert!(expr.metric_names().len() <= expr.selectors().len());
    let options = Options { max_samples: MAX_SAMPLES, ..Options::default() };
    if let Ok(answer) = instant(&expr, &*STORE, END, &options)
        && let Value::Vector(elements) = answer.value
    {
        assert!(elements.len() <= MAX_SAMPLES);
        assert!(elements.iter().all(|(_, sample)| sample.timestamp == END));
    }
    if let Ok(answer) = range(&expr, &*STORE, START, END, STEP, &options) {
        let Value::Matrix(all) = answer.value else { panic!("a range gives a matrix") };
        assert!(all.windows(2).all(|two| two[0].labels < two[1].labels), "not sorted");
        assert!(all.iter().map(|series| series.samples.len()).sum::<usize>() <= MAX_SAMPLES);
        for series in &all {
            assert!(series.samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
            assert!(series.samples.iter().all(|one| (START..=END).contains(&one.timestamp)));
        }
    }
    let cancel = Arc::new(AtomicBool::new(true));
    range(&expr, &*STORE, START, END, STEP, &Options { cancel, ..options }).ok();
}

/// Counters, a gauge with gaps and odd values, a histogram, and something to join with.
fn store() -> Tsdb {
    let store = Tsdb::new(Limits::default());
    let put = |pairs: &[(&str, &str)], value: &dyn Fn(i64) -> Option<f64>| {
        let labels = Labels::from_pairs(pairs.iter().copied());
        let sample = |at: i64| {
            let timestamp = Timestamp(at * 15_000);
            value(at).map(|value| (labels.clone(), Sample { timestamp, value }))
        };
        store.append(&(0..=60).filter_map(sample).collect::<Vec<_>>()).unwrap();
    };
    for instance in ["1", "2", "3"] {
        let step = instance.parse::<i64>().unwrap();
        put(&[("__name__", "c"), ("i", instance)], &|at| Some((at * step % 40) as f64));
        put(&[("__name__", "up"), ("i", instance), ("job", "j")], &|at| {
            (at % step == 0).then_some(1.0)
        });
    }
    for le in ["0.1", "1", "+Inf"] {
        let height = le.len() as f64;
        put(&[("__name__", "h_bucket"), ("le", le)], &|at| Some(at as f64 * height));
    }
    put(&[("__name__", "g")], &|at| match at % 7 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(stale_marker()),
        3 => Some(f64::NEG_INFINITY),
        _ => Some(-0.5 * at as f64),
    });
    put(&[("__name__", "target_info"), ("job", "j"), ("v", "é\n\"")], &|_| Some(1.0));
    store
}
