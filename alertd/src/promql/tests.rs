//! Small tables over a fixed set of series; longer scripts are in the test package.

use std::ops::ControlFlow;

use super::*;
use crate::model::engine::Engine;
use crate::model::matcher::Matcher;
use crate::model::querier::StoreError;
use crate::model::sample::stale_marker;

/// Series written as `name{labels}` with values every 30 s from 0; `_` leaves one out.
pub(super) struct Fixed(pub(super) Vec<Series>);

impl Querier for Fixed {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut found: Vec<&Series> = self.0.iter().collect();
        found.retain(|series| matchers.iter().all(|one| one.matches_labels(&series.labels)));
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        for series in found {
            let mut samples = series.samples.clone();
            samples.retain(|one| one.timestamp >= from && one.timestamp <= to);
            if !samples.is_empty() && each(&series.labels, &samples).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn series(name: &str, labels: &[(&str, &str)], values: &[f64]) -> Series {
    let pairs = labels.iter().copied().chain([("__name__", name)]);
    let samples = values.iter().enumerate().map(|(at, value)| Sample {
        timestamp: Timestamp(i64::try_from(at).unwrap() * 30_000),
        value: *value,
    });
    Series { labels: Labels::from_pairs(pairs), samples: samples.collect() }
}

fn store() -> Fixed {
    let counter = |by: f64| (0..20).map(|at| f64::from(at) * by).collect::<Vec<_>>();
    Fixed(vec![
        series("req_total", &[("job", "a"), ("code", "200")], &counter(30.0)),
        series("req_total", &[("job", "a"), ("code", "500")], &counter(3.0)),
        series("req_total", &[("job", "b"), ("code", "200")], &counter(60.0)),
        series("up", &[("job", "a")], &[1.0; 20]),
        series("up", &[("job", "b")], &[0.0; 20]),
        series("info", &[("job", "a"), ("version", "1.2")], &[1.0; 20]),
    ])
}

fn shown(value: &Value) -> String {
    match value {
        Value::Scalar(sample) => sample.value.to_string(),
        Value::String(_, text) => text.clone(),
        Value::Vector(elements) => {
            let mut all: Vec<_> =
                elements.iter().map(|(labels, one)| format!("{labels} {}", one.value)).collect();
            all.sort();
            all.join("; ")
        }
        Value::Matrix(series) => {
            let line = |one: &Series| {
                let values: Vec<_> = one
                    .samples
                    .iter()
                    .map(|one| format!("{}@{}", one.value, one.timestamp.0 / 1000))
                    .collect();
                format!("{} {}", one.labels, values.join(" "))
            };
            series.iter().map(line).collect::<Vec<_>>().join("; ")
        }
    }
}

fn at_300(text: &str) -> Result<String, PromqlError> {
    let expr = parse(text)?;
    let answer = instant(&expr, &store(), Timestamp(300_000), &Options::default())?;
    Ok(shown(&answer.value))
}

#[test]
fn instant_values() {
    for (text, want) in [
        ("up == 0", r#"up{job="b"} 0"#),
        ("up{job='a'} == bool 0", r#"{job="a"} 0"#),
        ("vector(1)", "{} 1"),
        ("time()", "300"),
        ("1 + 2 * 3 ^ 2", "19"),
        ("-2 ^ 2", "-4"),
        ("sum(rate(req_total[2m]))", "{} 3.1"),
        ("sum by (job) (increase(req_total[5m]))", r#"{job="a"} 330; {job="b"} 600"#),
        (
            r#"100 * (1 - avg by (job) (rate(req_total{code="200"}[1m]))) < -50"#,
            r#"{job="b"} -100"#,
        ),
        (
            "rate(req_total{code='500'}[2m]) / ignoring(code) sum without (code) (rate(req_total[2m]))",
            r#"{job="a"} 0.09090909090909091"#,
        ),
        ("up * on(job) group_left(version) info", r#"{job="a", version="1.2"} 1"#),
        ("up and on(job) info", r#"up{job="a"} 1"#),
        ("up unless on(job) info", r#"up{job="b"} 0"#),
        (
            "up{job='a'} or info or vector(7)",
            r#"info{job="a", version="1.2"} 1; up{job="a"} 1; {} 7"#,
        ),
        ("absent(nothing{job='x'})", r#"{job="x"} 1"#),
        ("absent(up)", ""),
        ("count_over_time(up{job='a'}[1m])", r#"{job="a"} 2"#),
        ("max_over_time(req_total{job='b'}[1m] offset 1m)", r#"{code="200", job="b"} 480"#),
        ("req_total{job='b'} @ 60", r#"req_total{code="200", job="b"} 120"#),
        ("changes(up{job='a'}[5m])", r#"{job="a"} 0"#),
        ("topk(1, req_total)", r#"req_total{code="200", job="b"} 600"#),
        ("count_values('v', up)", r#"{v="0"} 1; {v="1"} 1"#),
        ("max_over_time(rate(req_total{job='b'}[1m])[2m:30s])", r#"{code="200", job="b"} 2"#),
        (
            r#"label_replace(up{job="a"}, "who", "x-$1", "job", "(.)")"#,
            r#"up{job="a", who="x-a"} 1"#,
        ),
        ("up{job='b'}[1m]", r#"up{job="b"} 0@270 0@300"#),
        ("scalar(up{job='a'}) + 1", "2"),
    ] {
        assert_eq!(at_300(text).unwrap(), want, "{text}");
    }
}

#[test]
fn every_step_of_a_range_is_its_own_instant() {
    for text in ["up", "rate(req_total[1m])", "sum by (job) (req_total) > 500", "time()", "1"] {
        let expr = parse(text).unwrap();
        let options = Options::default();
        let (start, end) = (Timestamp(0), Timestamp(900_000));
        let step = Duration::from_secs(15);
        let Value::Matrix(whole) =
            range(&expr, &store(), start, end, step, &options).unwrap().value
        else {
            panic!("{text}: not a matrix")
        };
        for at in (0..=900_000).step_by(15_000) {
            let single = instant(&expr, &store(), Timestamp(at), &options).unwrap().value;
            let mut want: Vec<_> = match single {
                Value::Vector(elements) => elements,
                Value::Scalar(sample) => vec![(Labels::empty(), sample)],
                other => panic!("{text}: {other:?}"),
            };
            want.sort_by(|a, b| a.0.cmp(&b.0));
            let got: Vec<_> = whole
                .iter()
                .flat_map(|one| one.samples.iter().map(|sample| (one.labels.clone(), *sample)))
                .filter(|(_, sample)| sample.timestamp.0 == at)
                .collect();
            assert_eq!(got, want, "{text} at {at}");
        }
    }
}

#[test]
fn refused_with_a_place() {
    for (text, want) in [
        ("", "1:1: parse error: no expression found in input"),
        ("sum(up", "1:4: parse error: unclosed \"(\""),
        ("up)", "1:3: parse error: unexpected \")\""),
        ("up and\n* 2", "2:1: parse error: unexpected \"*\""),
        ("up 5", "1:4: parse error: unexpected \"5\""),
        ("up > 5e324", "1:6: parse error: number \"5e324\" is out of range"),
        (
            "1 + rate(up)",
            "1:10: parse error: expected type range vector in call to function \"rate\", \
             got instant vector",
        ),
        (
            "sum by (job) (clamp(up, 1,\n up))",
            "2:2: parse error: expected type scalar in call to function \"clamp\", got instant vector",
        ),
        (
            "max(up) + sum by (job) (1)",
            "1:25: parse error: expected type instant vector in aggregation expression, got scalar",
        ),
        ("up + abs()", "1:6: parse error: expected 1 argument(s) in call to \"abs\", got 0"),
        ("2 * nope(up)", "1:5: parse error: unknown function with name \"nope\""),
        ("up{job=~\"(\"}", "parse error"),
        ("{job=~\".*\"}", "1:1: parse error: vector selector must contain"),
        ("{job=~\".*\"}[5m]", "1:1: parse error: vector selector must contain"),
        ("up[1e300]", "1:4: parse error: duration"),
        ("up offset 1e300", "parse error: duration"),
        ("up[0]", "1:1: parse error: duration must be greater than 0"),
        ("up[5m:0]", "1:1: parse error: duration must be greater than 0"),
        ("up[Inf]", "parse error: duration"),
        ("up[99999999999y]", "parse error: duration"),
        ("nope(up)", "parse error"),
        ("1 == 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("sum(1)", "parse error"),
        ("topk('x', up)", "parse error"),
    ] {
        let error = parse(text).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(want), "{text:?}: {error}");
    }
    for deep in [
        "(".repeat(5000) + "1" + &")".repeat(5000),
        "-".repeat(5000) + "1",
        "1".to_owned() + &"^1".repeat(1500),
        "1".to_owned() + &"+1".repeat(9000),
    ] {
        assert!(parse(&deep).is_err());
    }
}

#[test]
fn long_chains_fit_the_stack() {
    let text = "up".to_owned() + &" or up".repeat(1900);
    let work = move || {
        let expr = parse(&text).unwrap();
        assert_eq!(parse(&expr.to_string()).unwrap().to_string(), expr.to_string());
        instant(&expr, &store(), Timestamp(0), &Options::default()).unwrap();
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn refused_by_the_data() {
    for (text, want) in [
        ("up * on() up", "many-to-many matching not allowed"),
        ("req_total * on(job) up", "many-to-one matching must be explicit"),
        ("sum by (job) (up) * on() group_left() vector(1)", ""),
        ("label_replace(up, 'job', 'x', '', '')", "same labelset"),
        ("-{__name__=~'up|info', job='a', version=''} + 0", ""),
        ("histogram_quantile(2, up)", ""),
        ("topk(NaN, up)", "Parameter value is NaN"),
    ] {
        match at_300(text) {
            Ok(_) => assert_eq!(want, "", "{text}"),
            Err(error) => assert!(!want.is_empty() && error.to_string().contains(want), "{error}"),
        }
    }
}

#[test]
fn without_names_series_stay_apart_even_if_they_never_meet() {
    let store = Fixed(vec![
        series("one", &[("a", "b")], &[1.0, 1.0, stale_marker()]),
        series("two", &[("a", "b")], &[stale_marker(), stale_marker(), 2.0, 2.0]),
    ]);
    let ask = |text: &str| {
        let step = Duration::from_secs(30);
        let (from, to) = (Timestamp(0), Timestamp(90_000));
        range(&parse(text).unwrap(), &store, from, to, step, &Options::default())
    };
    for text in ["-last_over_time(X[20s])", "count_over_time(X[20s])"] {
        let text = text.replace('X', r#"{__name__=~"one|two"}"#);
        let error = ask(&text).unwrap_err().to_string();
        assert_eq!(error, "vector cannot contain metrics with the same labelset", "{text}");
    }
    let joined = ask(r#"abs({__name__=~"one|two"})"#).unwrap();
    assert_eq!(shown(&joined.value), r#"{a="b"} 1@0 1@30 2@60 2@90"#);
}

#[test]
fn a_subquery_without_a_step_evaluates_nothing() {
    // Both have a value at 0 s and nothing tells them apart: whoever evaluates it fails.
    let twice = r#"abs({__name__=~"up|info", job="a", version=~".*"})"#;
    let series = ["up", "info"].map(|name| series(name, &[("job", "a")], &[1.0, 1.0]));
    let ask = |text: &str| {
        let text = text.replace("TWICE", twice);
        instant(
            &parse(&text).unwrap(),
            &Fixed(series.to_vec()),
            Timestamp(59_500),
            &Options::default(),
        )
    };
    for (text, fails) in [
        ("count_over_time(TWICE[30s:15s])", true),
        ("count_over_time(TWICE[30s:1m])", false),
        ("count_over_time(max_over_time(TWICE[1m:15s])[30s:1m])", false),
        ("count_over_time((TWICE + on () group_left vector(scalar(load @ 0)))[30s:1m])", false),
        ("count_over_time(topk(scalar(TWICE), TWICE)[30s:1m])", false),
    ] {
        match ask(text) {
            Ok(answer) => assert!(!fails && shown(&answer.value).is_empty(), "{text}"),
            Err(error) => assert!(fails && error.to_string().contains("same labelset"), "{error}"),
        }
    }
}

#[test]
fn limits_and_cancelling() {
    let expr = parse("rate(req_total[5m])").unwrap();
    let few = Options { max_samples: 10, ..Options::default() };
    let error = instant(&expr, &store(), Timestamp(300_000), &few).unwrap_err();
    assert!(matches!(error, PromqlError::TooManySamples { limit: 10 }), "{error}");
    // What an operation is done with counts no longer: 2 series and 3 of their samples at a time.
    let long = parse(&vec!["up"; 50].join(" + ")).unwrap();
    let enough = Options { max_samples: 50, ..Options::default() };
    instant(&long, &store(), Timestamp(300_000), &enough).unwrap();
    let cancelled = Options { cancel: Arc::new(AtomicBool::new(true)), ..Options::default() };
    let error = instant(&expr, &store(), Timestamp(300_000), &cancelled).unwrap_err();
    assert!(matches!(error, PromqlError::Cancelled), "{error}");
    let far = range(
        &expr,
        &store(),
        Timestamp(i64::MIN),
        Timestamp(i64::MAX),
        Duration::from_millis(1),
        &Options::default(),
    );
    assert!(matches!(far, Err(PromqlError::TooManySamples { .. })));
}

#[test]
fn what_never_changes_is_known() {
    for (text, fixed) in [
        ("1 + 2", true),
        ("up @ 5", true),
        ("up", false),
        ("rate(up[5m] @ start()) * 2", true),
        ("rate(up[5m] @ 5) * up", false),
        ("topk(scalar(up), up @ 5)", true),
        ("max_over_time(up[1h:1m] @ 5)", true),
        ("max_over_time((up @ 5)[1h:1m])", false),
        ("timestamp(up @ 5)", false),
        ("vector(time())", false),
        ("-(absent(up @ end()))", true),
    ] {
        assert_eq!(parse(text).unwrap().root.is_fixed(), fixed, "{text}");
    }
    for (text, want) in [
        ("up + rate(up[5m] @ 3)", Some("up @ 7.000 + rate(up[5m] @ 3.000)")),
        ("max_over_time(up[1h:1m])", Some("max_over_time(up[1h:1m] @ 7.000)")),
        ("hour(up @ 3)", None),
    ] {
        let pinned = parse(text).unwrap().pinned(Timestamp(7000));
        assert_eq!(pinned.map(|expr| expr.to_string()).as_deref(), want, "{text}");
    }
}

#[test]
fn newer_grammar_is_named() {
    for (text, want) in [
        ("rate(x[2m*3])", "1:10: not supported: arithmetic with durations"),
        ("x offset (3 - 1)", "1:10: not supported: arithmetic with durations"),
        ("x offset -step()", "1:11: not supported: arithmetic with durations"),
        ("rate(x[5m] anchored)", "1:12: not supported: anchored and smoothed selectors"),
        ("x smoothed", "1:3: not supported: anchored and smoothed selectors"),
        ("x </ 2", "1:4: not supported: trimming native histograms"),
        ("x offset 5m )", "1:13: parse error: unexpected \")\""),
        (
            "info(x, y)",
            "1:9: parse error: expected label selectors only, got vector selector instead",
        ),
        (
            "count({})",
            "1:7: parse error: vector selector must contain at least one non-empty matcher",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
    }
    assert_eq!(parse("info(x, {}) + {a=\"b\"}").unwrap().to_string(), "info(x, {}) + {a=\"b\"}");
}

#[test]
fn notes_say_where() {
    let expr = parse("1 +\n rate(up[5m])").unwrap();
    let answer = instant(&expr, &store(), Timestamp(300_000), &Options::default()).unwrap();
    let want = "PromQL info: metric might not be a counter, name does not end in \
                _total/_sum/_count/_bucket: \"up\" (2:7)";
    assert_eq!(answer.infos, [want]);
}

#[test]
fn normal_form_and_names() {
    for (text, want) in [
        (
            "sum  (rate(x{a = 'b' , c=~\"d\"} [5m])) by(job)",
            r#"sum by (job) (rate(x{a="b",c=~"d"}[5m]))"#,
        ),
        ("a+on(x)group_left(y)b", "a + on (x) group_left (y) b"),
        ("x offset 90m @ 1.5", "x @ 1.500 offset 1h30m"),
        ("x[1h:] offset -7d", "x[1h:] offset -1w"),
        ("x @ -10", "x @ -10.000"),
        ("quantile without () (0.5, x) > bool 1", "quantile without () (0.5, x) > bool 1"),
        ("{__name__='a b'}", r#"{__name__="a b"}"#),
        ("1e3 * -Inf", "1000 * -Inf"),
        ("{__name__='inf'} + {__name__='sum'}", r#"{__name__="inf"} + sum"#),
    ] {
        let expr = parse(text).unwrap();
        assert_eq!(expr.to_string(), want, "{text}");
        assert_eq!(parse(want).unwrap().to_string(), want);
    }
    let expr =
        parse("rate(b[5m]) + on() a{x='1'} or {job='z'} or sum_over_time(a[1h:1m])").unwrap();
    assert_eq!(expr.metric_names(), ["a", "b"]);
    assert_eq!(expr.selectors().len(), 4);
}

/// A store that has its own engine.
struct Elsewhere;

impl Querier for Elsewhere {
    fn visit(
        &self,
        _: &[Matcher],
        _: Timestamp,
        _: Timestamp,
        _: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        panic!("the engine was to be asked");
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

impl Engine for Elsewhere {
    fn instant(&self, text: &str, at: Timestamp, _: &AtomicBool) -> Result<Answer, StoreError> {
        let value = Value::String(at, text.to_owned());
        Ok(Answer { value, warnings: vec!["slow".to_owned()], infos: vec![] })
    }

    fn range(
        &self,
        _: &str,
        _: Timestamp,
        _: Timestamp,
        _: Duration,
        _: &AtomicBool,
    ) -> Result<Answer, StoreError> {
        Err(StoreError::Execution("too much".to_owned()))
    }
}

#[test]
fn an_engine_of_the_store_evaluates_the_text_as_it_was_written() {
    let expr = parse("sum(x)by(a)").unwrap();
    let at = Timestamp(1000);
    let answer = instant(&expr, &Elsewhere, at, &Options::default()).unwrap();
    assert_eq!(answer.value, Value::String(at, "sum(x)by(a)".to_owned()));
    assert_eq!(answer.warnings, ["slow"]);
    let second = Duration::from_secs(1);
    let error = range(&expr, &Elsewhere, at, at, second, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "too much");
}
