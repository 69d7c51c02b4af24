//! Good and bad calls, answered alike by both.

use reqwest::Method;
use serde_json::Value;

use super::shape::Shape;
use super::{Call, Pair, get, post};

/// Keys that Prometheus 3 has and Debian's 2.42 has not, and `application`, by which clients tell
/// what they talk to.
const NEWER: &[&str] =
    &["application", "droppedTargetCounts", "GOMEMLIMIT", "hostname", "serverTime"];

/// Too long for a line each.
const LONG: [&str; 4] = [
    "histogram_quantile(0.9, sum by (job, le) (rate(fake_request_duration_seconds_bucket{job=~\".+\", mode!=\"idle\"}[5m])))",
    "fake_work_seconds_total{mode=\"sys\"} + fake_work_seconds_total{mode=\"user\"} - on (job, instance) group_left () fake_size_bytes{zone=\"a\"} > bool 5",
    "-(topk without (instance) (5, (max_over_time(rate(fake_work_seconds_total{mode=\"sys\"}[5m])[1h:1m] offset 5m)))) / on () up",
    "label_replace(max_over_time(fake_work_seconds_total[5m:1m]), \"destination\", \"$1\", \"source_of_the_value\", \"(.*)\") or vector(1)",
];

/// Answers that must be equal, value for value.
fn equal_calls(end: i64) -> Vec<Call> {
    let (at, start) = (format!("{end}.5"), format!("{}.5", end - 300));
    let (from, to) = (format!("{}", end - 600), format!("{}", end + 1));
    let range = |query: &'static str, step: &'static str| {
        post(
            "/api/v1/query_range",
            &[("query", query), ("start", &start), ("end", &at), ("step", step)],
        )
    };
    let instant = |query: &'static str| post("/api/v1/query", &[("query", query), ("time", &at)]);
    let times = [("start", from.as_str()), ("end", to.as_str())];
    let work = "{__name__=\"fake_work_seconds_total\"}";
    let mut calls = vec![
        // The health check.
        post("/api/v1/query", &[("query", "1+1"), ("time", "4")]),
        get("/api/v1/query", &[("query", "1+1"), ("time", "4.5")]),
        // Panels: graphs, then tables and stats.
        range("rate(fake_work_seconds_total{zone=\"a\"}[2m])", "15"),
        range("sum by (zone) (rate(fake_work_seconds_total[1m]))", "0.5"),
        range("fake_work_seconds_total", "1m"),
        range("histogram_quantile(0.9, nothing_bucket)", "15"),
        range("42", "60"),
        instant("fake_size_bytes"),
        instant("topk(2, fake_work_seconds_total{mode=\"sys\"})"),
        instant("sum(fake_work_seconds_total)"),
        instant("fake_work_seconds_total[45s]"),
        instant("\"text\""),
        instant("1e100 / 3"),
        instant("vector(1e100 / 3)"),
        instant("nothing"),
        // Neither takes anything of it.
        post(
            "/api/v1/query_exemplars",
            &[("query", "fake_size_bytes"), ("start", &from), ("end", &to)],
        ),
        get("/api/v1/format_query", &[("query", "sum(rate(up[5m]))by(job)>0")]),
        post("/api/v1/format_query", &[("query", "up  +  1")]),
        get("/api/v1/format_query", &[("query", LONG[0])]),
        get("/api/v1/format_query", &[("query", LONG[1])]),
        get("/api/v1/format_query", &[("query", LONG[2])]),
        get("/api/v1/format_query", &[("query", LONG[3])]),
        get("/api/v1/label/zone/values", &[]),
        get("/api/v1/alertmanagers", &[]),
        get("/api/v1/status/walreplay", &[]),
        get("/api/v1/metadata", &[("metric", "fake_work_seconds")]),
        get("/api/v1/metadata", &[("metric", "fake_state")]),
        get("/api/v1/metadata", &[("metric", "nothing")]),
        get("/api/v1/metadata", &[("limit", "0")]),
        get("/api/v1/targets/metadata", &[("metric", "fake_size_bytes")]),
        get("/api/v1/targets/metadata", &[("match_target", "{job=\"fake\"}")]),
        get("/api/v1/targets/metadata", &[("match_target", "{job=\"other\"}")]),
    ];
    // The explorer and the query builder; a POST that is refused is tried again as a GET.
    for (path, params) in [
        resource("/api/v1/labels", &times, &[]),
        resource("/api/v1/labels", &times, &[("match[]", work)]),
        resource("/api/v1/labels", &times, &[("match[]", "nothing")]),
        resource("/api/v1/series", &times, &[("match[]", work)]),
        resource("/api/v1/series", &times, &[("match[]", "fake_size_bytes"), ("match[]", "up")]),
        resource("/api/v1/series", &times, &[("match[]", "{zone!=\"\",mode=~\"i.*|sys\"}")]),
    ] {
        calls.extend([get(path, &params), post(path, &params)]);
    }
    for (path, params) in [
        resource(
            "/api/v1/label/__name__/values",
            &times,
            &[("match[]", "{__name__=~\"fake_.*\"}")],
        ),
        resource("/api/v1/label/mode/values", &times, &[("match[]", work)]),
        resource("/api/v1/label/nothing/values", &times, &[]),
        resource("/api/v1/label/zone/values", &times, &[("match[]", "nothing")]),
    ] {
        calls.push(get(path, &params));
    }
    calls
}

fn resource<'a>(
    path: &'static str,
    times: &[(&'static str, &'a str)],
    more: &[(&'static str, &'a str)],
) -> (&'static str, Vec<(&'static str, &'a str)>) {
    (path, [times, more].concat())
}

/// Answers with times and durations of their own: equal in shape.
fn alike_calls() -> Vec<Call> {
    vec![
        post("/api/v1/query", &[("query", "1+1")]),
        post("/api/v1/query", &[("query", "up"), ("stats", "all")]),
        get("/api/v1/status/buildinfo", &[]),
        get("/api/v1/status/runtimeinfo", &[]),
        get("/api/v1/status/config", &[]),
        get("/api/v1/status/tsdb", &[]),
        get("/api/v1/label/__name__/values", &[]),
        get("/api/v1/metadata", &[]),
        get("/api/v1/targets", &[]),
        get("/api/v1/targets", &[("state", "active")]),
        get("/api/v1/targets", &[("state", "dropped")]),
        get("/api/v1/rules", &[]),
        get("/api/v1/rules", &[("type", "alert")]),
        get("/api/v1/rules", &[("type", "record")]),
        get("/api/v1/rules", &[("rule_name[]", "Always"), ("rule_group[]", "one")]),
        get("/api/v1/alerts", &[]),
    ]
}

/// Calls that are wrong in one thing; true where the text has to be Prometheus' own too.
fn bad_calls() -> Vec<(Call, bool)> {
    let query = |params: &[(&'static str, &str)]| post("/api/v1/query", params);
    let times = [("query", "up"), ("start", "1"), ("end", "2"), ("step", "1")];
    let range = |name: &str, value: &'static str| {
        let with = times.map(|(key, old)| (key, if key == name { value } else { old }));
        post("/api/v1/query_range", &with)
    };
    vec![
        (query(&[]), false),
        (query(&[("query", "sum(")]), false),
        (query(&[("query", "up"), ("time", "yesterday")]), true),
        (query(&[("query", "up"), ("timeout", "soon")]), true),
        (query(&[("query", "up"), ("timeout", "0")]), false),
        (
            query(&[(
                "query",
                "label_replace(fake_work_seconds_total,\"mode\",\"\",\"mode\",\".*\")",
            )]),
            false,
        ),
        (range("query", "up[5m]"), true),
        (range("query", ")"), false),
        (range("start", ""), true),
        (range("start", "x"), true),
        (range("end", "0"), true),
        (range("end", "20000"), true),
        (range("step", "0"), true),
        (range("step", "-1"), true),
        (range("step", ""), true),
        (range("step", "often"), true),
        (get("/api/v1/series", &[]), true),
        (get("/api/v1/series", &[("match[]", "{}")]), true),
        (get("/api/v1/series", &[("match[]", "{mode=~\".*\"}")]), true),
        (get("/api/v1/series", &[("match[]", "sum(up)")]), false),
        (get("/api/v1/labels", &[("match[]", "up{")]), false),
        (get("/api/v1/labels", &[("start", "x")]), true),
        (get("/api/v1/label/mode/values", &[("match[]", "{{")]), false),
        (get("/api/v1/label/mode/values", &[("end", "x")]), true),
        (get("/api/v1/metadata", &[("limit", "many")]), true),
        (get("/api/v1/targets/metadata", &[("limit", "many")]), true),
        (get("/api/v1/targets/metadata", &[("match_target", "sum(up)")]), false),
        (get("/api/v1/rules", &[("type", "all")]), true),
        (get("/api/v1/format_query", &[("query", "sum(")]), false),
        (get("/api/v1/query_exemplars", &[("query", "up"), ("start", "3"), ("end", "2")]), true),
    ]
}

/// Equal but for the last digits of values, which are sums in another order, and the order of lists.
fn agree(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::String(one), Value::String(two)) => {
            let numbers = one.parse::<f64>().ok().zip(two.parse::<f64>().ok());
            one == two || numbers.is_some_and(|(one, two)| (one - two).abs() <= 1e-12 * two.abs())
        }
        (Value::Array(one), Value::Array(two)) => {
            let sorted = |list: &[Value]| {
                let mut list = list.to_vec();
                list.sort_by_key(|item| item.get("metric").unwrap_or(item).to_string());
                list
            };
            let pairs = sorted(one).into_iter().zip(sorted(two));
            one.len() == two.len() && pairs.into_iter().all(|(one, two)| agree(&one, &two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().all(|(key, value)| two.get(key).is_some_and(|two| agree(value, two)))
        }
        (one, two) => one == two,
    }
}

#[tokio::test]
async fn what_the_data_source_asks_is_answered_as_prometheus_does() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::start(folder.path()).await;
    let mut wrong = Vec::new();
    let equal = equal_calls(pair.end);
    let all = equal.iter().map(|call| (call, true));
    let alike = alike_calls();
    for (call, same) in all.chain(alike.iter().map(|call| (call, false))) {
        let (ours, theirs) = pair.both(call).await;
        let heads = |reply: &super::Reply| (reply.status, reply.kind().to_owned());
        if heads(&ours) != heads(&theirs) {
            wrong.push(format!("{call:?}: {:?}, Prometheus {:?}", heads(&ours), heads(&theirs)));
            continue;
        }
        let (ours, theirs) = (ours.json(), theirs.json());
        assert_eq!(theirs["status"], "success", "{call:?}: {theirs}");
        if same && !agree(&ours, &theirs) {
            wrong.push(format!("{call:?}:\n   {ours}\n   Prometheus {theirs}"));
        }
        let differ = Shape::of(&ours).difference(&Shape::of(&theirs), NEWER, "");
        wrong.extend(differ.into_iter().map(|why| format!("{call:?}: {why}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Which flags there are is each program's own.
    let flags = pair.alertd.json("/api/v1/status/flags").await;
    let flags = flags["data"].as_object().unwrap();
    assert!(flags.values().all(Value::is_string), "{flags:?}");
    assert_eq!(flags["query.lookback-delta"], "5m");
}

#[tokio::test]
async fn bad_requests_are_refused_as_prometheus_does() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::start(folder.path()).await;
    let mut wrong = Vec::new();
    for (call, text) in bad_calls() {
        let (ours, theirs) = pair.both(&call).await;
        let (code, want) = (ours.status, theirs.status);
        assert!(want >= 400, "{call:?}: {want}");
        let (ours, theirs) = (ours.json(), theirs.json());
        let same = ["status", "errorType"].iter().all(|key| ours[key] == theirs[key]);
        if code != want || !same || (text && ours["error"] != theirs["error"]) {
            wrong.push(format!("{call:?}:\n   {code} {ours}\n   Prometheus {want} {theirs}"));
        }
    }
    let token = std::fs::read_to_string(folder.path().join("alertd/data/operator-token")).unwrap();
    let bearer = format!("Bearer {}", token.trim()).leak();
    let mut operator = true;
    // Whoever asks.
    for mut call in [
        get("/api/v1/nothing", &[]),
        get("/api/v2", &[]),
        post("/api/v1/label/mode/values", &[]),
        post("/api/v1/metadata", &[]),
        post("/api/v1/status/config", &[]),
        post("/api/v1/rules", &[]),
        Call { method: Method::PUT, ..get("/api/v1/query", &[("query", "1")]) },
    ] {
        if std::mem::replace(&mut operator, false) {
            call.headers.push(("authorization", bearer));
        }
        let (ours, theirs) = pair.both(&call).await;
        if (ours.status, ours.kind(), &ours.body) != (theirs.status, theirs.kind(), &theirs.body) {
            let text = |body| String::from_utf8_lossy(body).into_owned();
            let (one, two) = (text(&ours.body), text(&theirs.body));
            wrong.push(format!(
                "{call:?}:\n   {} {one:?}\n   Prometheus {} {two:?}",
                ours.status, theirs.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
