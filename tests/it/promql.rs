//! PromQL against a Prometheus that holds the same samples.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::Appender;
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::promql::{self, Options, Value};
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_tests::process::Process;
use pitcrew_tests::{programs, prometheus};
use serde_json::Value as Json;

/// A full hour, seconds; samples follow it every 30 s, seven seconds off the half minute.
const BEGIN: i64 = 1_735_689_600;
const SAMPLES: i64 = 240;
/// Series to times (milliseconds) and values.
type Points = BTreeMap<Labels, BTreeMap<i64, f64>>;

/// Values that look random and are the same in every run.
fn samples() -> Vec<(Labels, Vec<(i64, f64)>)> {
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut found = Vec::new();
    let mut series =
        |name: &str, labels: &[(&str, &str)], value: &mut dyn FnMut(i64) -> Option<f64>| {
            let pairs = labels.iter().copied().chain([("__name__", name)]);
            let points = (0..SAMPLES).filter_map(|at| Some((BEGIN + 30 * at + 7, value(at)?)));
            found.push((Labels::from_pairs(pairs), points.collect()));
        };
    for (host, zone) in [("a", "x"), ("b", "x"), ("c", "y")] {
        for mode in ["idle", "user"] {
            let mut total = 1e6 + random() * 100.0;
            series("cpu_seconds_total", &[("host", host), ("mode", mode)], &mut |at| {
                total += random() * 30.0;
                // One restart, in the middle.
                if host == "b" && at == 120 {
                    total = 1000.0;
                }
                Some(total)
            });
        }
        series("up", &[("host", host), ("zone", zone)], &mut |_| {
            Some(f64::from(u8::from(random() > 0.2)))
        });
        // A gap of twelve minutes, longer than lookback.
        series("temp", &[("host", host)], &mut |at| {
            let there = host != "c" || !(100..124).contains(&at);
            let value = 20.0 + 10.0 * random();
            there.then_some(value)
        });
        series("meta", &[("host", host), ("version", &format!("1.{}", host.len()))], &mut |_| {
            Some(1.0)
        });
        for (bound, share) in [("0.1", 0.2), ("0.5", 0.6), ("2", 0.9), ("+Inf", 1.0)] {
            let labels = [("host", host), ("le", bound)];
            series("took_seconds_bucket", &labels, &mut |at| {
                Some(((5000 + at * 20) as f64 * share).floor())
            });
        }
    }
    found
}

const QUERIES: &[&str] = &[
    "up",
    "up == 0",
    "up == bool 0",
    "-temp",
    "temp > 25 or up",
    "temp and on (host) up == 1",
    "temp unless on (host) up == 1",
    "temp * on (host) group_left (zone) up",
    "up * on (host) group_right () cpu_seconds_total",
    "temp - ignoring (zone) up",
    "temp / ignoring (version) meta",
    "up + on (host) meta",
    "temp >= bool on (host) (up * 25)",
    "temp ^ 2 % 7",
    "2 ^ up - 1.5",
    "(temp + 0) atan2 3",
    "1 + 2 * 3",
    "time() - 5",
    "vector(time())",
    "sum(temp)",
    "sum by (mode) (cpu_seconds_total)",
    "avg without (host) (up)",
    "min(temp)",
    "max by (zone) (up)",
    "count by (zone) (up == 1)",
    "group(up)",
    "stddev(temp)",
    "stdvar by (mode) (cpu_seconds_total)",
    "quantile(0.3, temp)",
    "topk(2, temp)",
    "bottomk by (mode) (1, cpu_seconds_total)",
    "count_values(\"v\", up)",
    "rate(cpu_seconds_total[5m])",
    "increase(cpu_seconds_total[7m])",
    "irate(cpu_seconds_total[2m])",
    "delta(temp[5m])",
    "idelta(temp[5m])",
    "deriv(temp[10m])",
    "predict_linear(temp[10m], 600)",
    "changes(up[10m])",
    "resets(cpu_seconds_total[20m])",
    "avg_over_time(temp[5m])",
    "sum_over_time(temp[5m])",
    "min_over_time(temp[5m])",
    "max_over_time(temp[5m])",
    "count_over_time(temp[5m])",
    "stddev_over_time(temp[5m])",
    "stdvar_over_time(temp[5m])",
    "last_over_time(temp[5m])",
    "present_over_time(temp[5m])",
    "quantile_over_time(0.9, temp[5m])",
    "absent(temp{host=\"c\"})",
    "absent(gone{a=\"b\"})",
    "absent_over_time(temp{host=\"c\"}[2m])",
    "abs(temp - 25)",
    "ceil(temp)",
    "floor(temp)",
    "round(temp, 0.5)",
    "sgn(temp - 25)",
    "clamp(temp, 22, 28)",
    "clamp_min(temp, 22)",
    "clamp_max(temp, 28)",
    "exp(up)",
    "ln(temp)",
    "log2(temp)",
    "log10(temp)",
    "sqrt(temp)",
    "sin(temp)",
    "cosh(up)",
    "deg(up)",
    "scalar(up)",
    "scalar(temp{host=\"a\"}) + 1",
    "timestamp(temp)",
    "hour(timestamp(temp))",
    "day_of_week()",
    "days_in_month(vector(1e9))",
    "minute()",
    "year(cpu_seconds_total)",
    "label_replace(up, \"rack\", \"r-$1\", \"host\", \"(.*)\")",
    "label_join(up, \"both\", \"-\", \"host\", \"zone\")",
    "histogram_quantile(0.5, took_seconds_bucket)",
    "histogram_quantile(0.95, sum by (le) (rate(took_seconds_bucket[5m])))",
    "temp offset 3m",
    "temp offset -3m",
    "temp @ 1735691000.5",
    "temp @ end()",
    "rate(cpu_seconds_total[5m] @ start())",
    "max_over_time(rate(cpu_seconds_total[5m])[20m:])",
    "avg_over_time(temp[10m:45s] offset 2m)",
    "sum_over_time((temp > 25)[10m:1m] @ 1735693000.3)",
    "min_over_time(avg_over_time(temp[3m])[10m:50s])",
    "{__name__=~\"up|meta\", host!=\"a\"}",
    "100 * (1 - avg by (host) (rate(cpu_seconds_total{mode=\"idle\"}[5m]))) > 50",
    "sum by (host) (increase(cpu_seconds_total[15m])) > 1.01 * sum by (host) (increase(cpu_seconds_total[1h] offset 15m)) / 4",
    "changes(up[15m]) > 3 and on (host) up == 1",
    "count(up == 1) / count(up) < 0.9",
];

#[tokio::test]
async fn a_prometheus_with_the_same_samples_says_the_same() {
    pitcrew_tests::process::tls();
    let folder = tempfile::tempdir().unwrap();
    let all = samples();
    let (_prometheus, url) = prometheus_with(folder.path(), &all).await;
    let store = Tsdb::new(Limits::default());
    for (labels, points) in &all {
        let sample = |(at, value): &(i64, f64)| {
            (labels.clone(), Sample { timestamp: Timestamp(at * 1000), value: *value })
        };
        store.append(&points.iter().map(sample).collect::<Vec<_>>()).unwrap();
    }
    // No sample lies at the edge of a window, where Prometheus 2 and 3 differ.
    let (start, end, step) = (BEGIN * 1000 + 1_200_123, BEGIN * 1000 + 7_700_123, 37_000);
    let mut wrong = Vec::new();
    for query in QUERIES {
        let expr = promql::parse(query).unwrap();
        let options = Options::default();
        let step_time = Duration::from_millis(step);
        let ours =
            promql::range(&expr, &store, Timestamp(start), Timestamp(end), step_time, &options);
        let range = [("start", start), ("end", end), ("step", i64::try_from(step).unwrap())];
        let theirs = ask(&url, "query_range", query, &range).await;
        let mut check = |ours: Value, theirs: &Points| {
            wrong.extend(difference(&points_of(ours), theirs).map(|why| format!("{query}: {why}")));
        };
        check(ours.unwrap().value, &theirs);
        for at in [start, start + 3_000_000, end] {
            let ours = promql::instant(&expr, &store, Timestamp(at), &options).unwrap();
            let theirs = ask(&url, "query", query, &[("time", at)]).await;
            check(ours.value, &theirs);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where the first of two differs from the second, what Prometheus says.
fn difference(ours: &Points, theirs: &Points) -> Option<String> {
    let names = |points: &Points| points.keys().map(ToString::to_string).collect::<Vec<_>>();
    if names(ours) != names(theirs) {
        return Some(format!("{:?}, Prometheus says {:?}", names(ours), names(theirs)));
    }
    ours.iter().find_map(|(labels, points)| {
        let other = &theirs[labels];
        if !points.keys().eq(other.keys()) {
            return Some(format!("{labels} has {} points, not {}", points.len(), other.len()));
        }
        points.iter().zip(other.values()).find_map(|((at, value), want)| {
            let close = (value - want).abs() <= 1e-9 * want.abs().max(1e-6);
            let same = close || value == want || (value.is_nan() && want.is_nan());
            (!same).then(|| format!("{labels} at {at} is {value}, Prometheus says {want}"))
        })
    })
}

fn points_of(value: Value) -> Points {
    let one = |sample: Sample| BTreeMap::from([(sample.timestamp.0, sample.value)]);
    match value {
        Value::Scalar(sample) => Points::from([(Labels::empty(), one(sample))]),
        Value::String(..) => Points::new(),
        Value::Vector(elements) => {
            elements.into_iter().map(|(labels, sample)| (labels, one(sample))).collect()
        }
        Value::Matrix(series) => series
            .into_iter()
            .map(|series| {
                let points = series.samples.iter().map(|one| (one.timestamp.0, one.value));
                (series.labels, points.collect())
            })
            .collect(),
    }
}

async fn ask(url: &str, path: &str, query: &str, times: &[(&str, i64)]) -> Points {
    let seconds = |millis: i64| format!("{}.{:03}", millis / 1000, millis % 1000);
    let mut form = vec![("query", query.to_owned())];
    form.extend(times.iter().map(|(name, millis)| (*name, seconds(*millis))));
    let client = reqwest::Client::new();
    let answer = client.get(format!("{url}/api/v1/{path}")).query(&form).send().await.unwrap();
    let answer: Json = answer.json().await.unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let point = |pair: &Json| {
        let at = Timestamp::from_seconds(pair[0].as_f64().unwrap()).0;
        (at, pair[1].as_str().unwrap().parse::<f64>().unwrap())
    };
    let result = &answer["data"]["result"];
    if answer["data"]["resultType"] == "scalar" {
        return Points::from([(Labels::empty(), BTreeMap::from([point(result)]))]);
    }
    let series = result.as_array().unwrap().iter().map(|one| {
        let labels = one["metric"].as_object().unwrap().iter();
        let labels = Labels::from_pairs(
            labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap())),
        );
        let points = match one["values"].as_array() {
            Some(values) => values.iter().map(point).collect(),
            None => BTreeMap::from([point(&one["value"])]),
        };
        (labels, points)
    });
    series.collect()
}

async fn prometheus_with(folder: &Path, all: &[(Labels, Vec<(i64, f64)>)]) -> (Process, String) {
    let mut families: BTreeMap<&str, String> = BTreeMap::new();
    for (labels, points) in all {
        let name = labels.metric_name().unwrap();
        let rest: Vec<_> = labels
            .iter()
            .filter(|(label, _)| *label != "__name__")
            .map(|(label, value)| format!("{label}={value:?}"))
            .collect();
        let text = families.entry(name).or_insert_with(|| format!("# TYPE {name} unknown\n"));
        for (at, value) in points {
            writeln!(text, "{name}{{{}}} {value} {at}", rest.join(",")).unwrap();
        }
    }
    let text: String = families.into_values().collect();
    prometheus::with_history(folder, &(text + "# EOF\n")).await
}

#[tokio::test]
async fn every_script_passes() {
    let scripts = programs::workspace().join("tests/promql");
    let answer = tokio::process::Command::new(programs::alertd())
        .args(["test", "promql", "--verbose"])
        .arg(scripts)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.status.success(), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.ends_with(" passed, 0 failed, 0 skipped") && !last.starts_with('0'), "{last}");
}
