//! Random queries over random series, asked of the query API and of Debian's Prometheus.
//!
//! `PITCREW_DIFFERENTIAL=DATA,FIRST,COUNT` gives the seed of the series, the seed of the first
//! query (each further one has the next) and how many are asked; what differs is printed with the
//! value that asks it alone again.
//!
//! Prometheus 2.42 and the 3.x whose language this is differ by design. What can be kept away from
//! is never asked:
//! - Ranges and lookback of 3.x leave out a sample at their very beginning. Here none lies there:
//!   see `PHASE`; subqueries within subqueries reach half a second further.
//! - `rate` and `increase` of what rises from near zero extrapolate to zero in another order. Here
//!   they are asked only of counters that begin at zero itself or high.
//! - Which of equal values `topk` keeps is open. Here it is asked only of values that differ.
//! - Buckets of metrics with different names make one histogram in 2.42. Here they have one name.
//! - A regular expression's `.` matches a line break in 3.x. Here no label holds one.
//! - Calendar functions of NaN and infinity give what the processor makes of them in Go.
//! - `atan2` keeps the metric name in 2.42. Here its operands have none.
//! - `timestamp` of a selector with both `@` and `offset` forgets the offset, in all versions.
//! - `predict_linear` and parameters that change from step to step see a window that moves in spite
//!   of `@` in 2.42.
//! - `stddev` of one NaN or infinity alone is 0 in 2.42, and not compensated for rounding. Here it is
//!   asked of finite numbers near each other.
//! - Logarithms of numbers below the smallest normal one, and powers of them, are off in Debian's
//!   build.
//! - `count_values` puts its label in the place of a listed one from the second step on, where three
//!   are listed and it comes before one of them in the alphabet, in 2.42. Here it comes last.
//! - Durations in plain numbers and quoted names are new in 3.x.
//! - Of a subquery whose window holds no step, 2.42 evaluates parts all the same, and fails where
//!   these do; 3.x evaluates nothing (its pull request 16352). Here a window that short is not asked
//!   over such parts.
//! - Of a subquery whose `offset` goes forward, 2.42 takes `@` in it for another time if its first
//!   step is the outer query's.
//! - A subquery asked at steps is evaluated up to the end of their time in 2.42, and so past the last
//!   of them if that is earlier; it fails where that does. 3.x ends at the last step (its pull request
//!   18081). Such errors are let pass, of such queries alone: see `past_end`.
//!
//! What remains is in `BY_DESIGN`.

#![expect(clippy::print_stdout, reason = "the seeds, to ask the same again")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use pitcrew_alertd::api::evaluate::{Queries, QueryConfig};
use pitcrew_alertd::api::query;
use pitcrew_alertd::model::querier::Appender;
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_tests::differential::query::{Query, When, random};
use pitcrew_tests::differential::series;
use pitcrew_tests::{process, prometheus};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Asked in `make test`.
const COUNT: u64 = 1500;
/// Queries that are under way at once.
const AT_ONCE: usize = 4;
/// How many differences are shown; the rest is counted.
const SHOWN: usize = 12;

/// What one of the two says of a query that is right for the other.
const BY_DESIGN: &[(Who, &str)] = &[
    // In 3.x numbers and durations may stand for each other.
    (Who::Prometheus, "unexpected duration"),
    // Of a range vector in parentheses that `@` fixes, 2.42 demands one sample for each series.
    (Who::Prometheus, "unexpected number of samples"),
    // In 3.x what a comparison would filter out afterwards counts too (its pull request 17668).
    (Who::Pitcrew, "multiple matches for labels"),
];

#[derive(PartialEq)]
enum Who {
    Pitcrew,
    Prometheus,
}

/// Series by their labels as text: time, as written, and value of each point.
type Points = BTreeMap<String, Vec<(String, f64)>>;

#[derive(Debug)]
enum Answer {
    Failed { status: u16, kind: String },
    Scalar(Vec<(String, f64)>),
    Text(Value),
    Vector { points: Points, order: Vec<f64> },
    Matrix(Points),
}

#[tokio::test]
async fn random_queries_are_answered_as_prometheus_does() {
    process::tls();
    let wanted = std::env::var("PITCREW_DIFFERENTIAL").unwrap_or(format!("1,1,{COUNT}"));
    let numbers: Vec<u64> = wanted.split(',').map(|number| number.parse().unwrap()).collect();
    let [data, first, count] = numbers[..] else { panic!("PITCREW_DIFFERENTIAL={wanted}") };
    println!("PITCREW_DIFFERENTIAL={wanted}");

    let series = series::random(data);
    let folder = tempfile::tempdir().unwrap();
    let (_prometheus, theirs) = prometheus::with_series(folder.path(), &series).await;
    let ours = server(&series).await;

    let client = reqwest::Client::new();
    let mut asked = JoinSet::new();
    let (mut wrong, mut good) = (Vec::new(), 0);
    for seed in first..first + count {
        let (client, ours, theirs) = (client.clone(), ours.clone(), theirs.clone());
        asked.spawn(async move {
            let query = random(seed);
            let (ours, theirs) = tokio::join!(
                ask(&client, &ours, &query.text, query.when),
                ask(&client, &theirs, &query.theirs, query.when)
            );
            let why = difference(&query, &ours, &theirs);
            let report = why.map(|why| {
                let (text, when) = (&query.text, query.when);
                format!("PITCREW_DIFFERENTIAL={data},{seed},1\n{text}\n{when:?}: {why}\n")
            });
            (report, !matches!(theirs, Answer::Failed { .. }))
        });
        if asked.len() == AT_ONCE {
            take(asked.join_next().await, &mut wrong, &mut good);
        }
    }
    while let Some(done) = asked.join_next().await {
        take(Some(done), &mut wrong, &mut good);
    }
    let shown = wrong.iter().take(SHOWN).cloned().collect::<String>();
    println!("{count} queries, {good} of them with an answer");
    assert!(wrong.is_empty(), "{} differences, of them:\n{shown}", wrong.len());
    assert!(count < 100 || good > count / 2, "only {good} of {count} have an answer");
}

type Done = (Option<String>, bool);

fn take(
    done: Option<Result<Done, tokio::task::JoinError>>,
    wrong: &mut Vec<String>,
    good: &mut u64,
) {
    let Some(done) = done else { return };
    let (report, answered) = done.unwrap();
    *good += u64::from(answered);
    wrong.extend(report);
}

/// The query API of the real server over these series.
async fn server(series: &[pitcrew_alertd::model::sample::Series]) -> String {
    let store = Tsdb::new(Limits::default());
    for one in series {
        let samples = one.samples.iter().map(|sample| (one.labels.clone(), *sample));
        let appended = store.append(&samples.collect::<Vec<_>>()).unwrap();
        assert_eq!(appended.accepted, one.samples.len(), "{appended:?}");
    }
    let queries = Queries::new(Arc::new(store), QueryConfig::default(), &mut Registry::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, query::routes(queries)).await.unwrap() });
    url
}

async fn ask(client: &reqwest::Client, url: &str, text: &str, when: When) -> Answer {
    let seconds = |millis: i64| format!("{}.{:03}", millis / 1000, millis % 1000);
    let mut form = vec![("query", text.to_owned())];
    let path = match when {
        When::Instant(at) => {
            form.push(("time", seconds(at)));
            "query"
        }
        When::Range { start, end, step } => {
            form.extend([("start", start), ("end", end)].map(|(key, at)| (key, seconds(at))));
            form.push(("step", seconds(step)));
            "query_range"
        }
    };
    let asked = client.get(format!("{url}/api/v1/{path}")).query(&form);
    let answer = asked.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|why| panic!("{why}: {body}"));
    if body["status"] != "success" {
        return Answer::Failed {
            status,
            kind: format!("{}: {}", body["errorType"], body["error"]),
        };
    }
    assert_eq!(status, 200, "{body}");
    let result = &body["data"]["result"];
    match body["data"]["resultType"].as_str().unwrap() {
        "scalar" => Answer::Scalar(vec![point(result)]),
        "string" => Answer::Text(result.clone()),
        "vector" => {
            let elements = result.as_array().unwrap();
            let order = elements.iter().map(|one| point(&one["value"]).1).collect();
            let one = |one: &Value| (labels(&one["metric"]), vec![point(&one["value"])]);
            Answer::Vector { points: unique(elements.iter().map(one)), order }
        }
        "matrix" => {
            let one = |one: &Value| {
                let points = one["values"].as_array().unwrap().iter().map(point);
                (labels(&one["metric"]), points.collect())
            };
            Answer::Matrix(unique(result.as_array().unwrap().iter().map(one)))
        }
        kind => panic!("{kind}"),
    }
}

fn labels(metric: &Value) -> String {
    let sorted: BTreeMap<_, _> = metric.as_object().unwrap().iter().collect();
    serde_json::to_string(&sorted).unwrap()
}

fn point(pair: &Value) -> (String, f64) {
    let value = pair[1].as_str().unwrap();
    (pair[0].to_string(), value.parse().unwrap_or_else(|_| panic!("{pair}")))
}

fn unique(series: impl Iterator<Item = (String, Vec<(String, f64)>)>) -> Points {
    let mut points = Points::new();
    for (labels, values) in series {
        let again = points.insert(labels.clone(), values);
        assert!(again.is_none(), "{labels} is there twice");
    }
    points
}

fn difference(query: &Query, ours: &Answer, theirs: &Answer) -> Option<String> {
    let unlike = || Some(format!("{}\n  Prometheus: {}", brief(ours), brief(theirs)));
    match (ours, theirs) {
        (_, Answer::Failed { kind, .. }) if by_design(Who::Prometheus, kind) => None,
        (Answer::Failed { status: a, kind: one }, Answer::Failed { status: b, kind: other }) => {
            let kind = |text: &str| text.split(':').next().map(str::to_owned);
            if (a, kind(one)) == (b, kind(other)) { None } else { unlike() }
        }
        (Answer::Failed { kind, .. }, _) if by_design(Who::Pitcrew, kind) && compares(query) => {
            None
        }
        (Answer::Failed { .. }, _) => unlike(),
        (_, Answer::Failed { kind, .. }) if query.past_end && kind.starts_with("\"execution\"") => {
            None
        }
        (_, Answer::Failed { .. }) => unlike(),
        _ if query.broken => None,
        (Answer::Scalar(a), Answer::Scalar(b)) => (!same(a, b)).then(unlike)?,
        (Answer::Text(a), Answer::Text(b)) => (a != b).then(unlike)?,
        (Answer::Vector { points: a, order: one }, Answer::Vector { points: b, order: other }) => {
            if query.sorted && !one.iter().zip(other).all(|(a, b)| close(*a, *b)) {
                return Some(format!("order {one:?}\n  Prometheus: {other:?}"));
            }
            first_unlike(a, b)
        }
        (Answer::Matrix(a), Answer::Matrix(b)) => first_unlike(a, b),
        _ => unlike(),
    }
}

fn by_design(who: Who, error: &str) -> bool {
    BY_DESIGN.iter().any(|(whose, text)| *whose == who && error.contains(text))
}

/// Whether it may filter one vector by another.
fn compares(query: &Query) -> bool {
    ["==", "!=", "<", ">"].iter().any(|operator| query.text.contains(operator))
}

fn first_unlike(ours: &Points, theirs: &Points) -> Option<String> {
    let mut text = String::new();
    for labels in ours.keys().chain(theirs.keys().filter(|labels| !ours.contains_key(*labels))) {
        let (a, b) = (ours.get(labels), theirs.get(labels));
        if a.is_some() && b.is_some() && same(a?, b?) {
            continue;
        }
        let differs = a.into_iter().flatten().zip(b.into_iter().flatten());
        let differs = differs.enumerate().find(|(_, (a, b))| a.0 != b.0 || !close(a.1, b.1));
        write!(text, "{labels}: {:?} and {:?} points", a.map(Vec::len), b.map(Vec::len)).unwrap();
        writeln!(text, ", first {differs:?}; {} and {} series", ours.len(), theirs.len()).unwrap();
        return Some(text);
    }
    None
}

fn same(ours: &[(String, f64)], theirs: &[(String, f64)]) -> bool {
    let mut pairs = ours.iter().zip(theirs);
    ours.len() == theirs.len() && pairs.all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
}

/// But for rounding of what was added up in another order.
fn close(a: f64, b: f64) -> bool {
    let rounding = 1e-9 * b.abs().max(1e-3);
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= rounding
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Failed { status, kind } => format!("{status} {kind}"),
        Answer::Scalar(point) => format!("{point:?}"),
        Answer::Text(text) => text.to_string(),
        Answer::Vector { points, .. } => format!("vector of {} series", points.len()),
        Answer::Matrix(points) => format!("matrix of {} series", points.len()),
    }
}
