//! Dashboards are code: well formed, made of metrics that exist, and every query gives data.

use std::fmt::Write;
use std::fs;

use pitcrew_exporter::clock;
use pitcrew_tests::{programs, prometheus};
use serde_json::Value;

/// What Prometheus itself writes, beside what the exporters say.
const BY_PROMETHEUS: &[&str] = &["up", "scrape_duration_seconds", "ALERTS"];

/// Six hours of samples, one a minute, ending now.
const MINUTES: u64 = 360;

struct Query {
    panel: String,
    expr: String,
    instant: bool,
}

fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(programs::workspace().join("dashboards")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    assert!(!found.is_empty(), "no dashboard found");
    found
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(Query {
                panel: panel["title"].as_str().unwrap().to_owned(),
                expr: substitute(target["expr"].as_str().unwrap()),
                instant: target["instant"] == true,
            });
        }
    }
    found
}

/// What Grafana does before it sends a query.
fn substitute(expr: &str) -> String {
    let values = [
        ("$__rate_interval", "5m"),
        ("$__range", "6h"),
        ("$instance", ".+"),
        ("$repository", ".+"),
        ("$labels", ".+"),
    ];
    values.iter().fold(expr.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[test]
fn dashboards_are_well_formed() {
    for (name, dashboard) in dashboards() {
        assert!(dashboard["id"].is_null() && dashboard["editable"] == false, "{name}");
        assert_eq!(dashboard["schemaVersion"], 39, "{name}");
        assert!(dashboard.get("__inputs").is_none(), "{name}");
        assert_eq!(dashboard["templating"]["list"][0]["name"], "datasource", "{name}");
        let mut ids = Vec::new();
        let mut taken: Vec<[u64; 4]> = Vec::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            let [x, y, w, h] = [side("x"), side("y"), side("w"), side("h")];
            assert!(x + w <= 24, "{name}: {title} is too wide");
            let clash = taken
                .iter()
                .any(|[x2, y2, w2, h2]| x < x2 + w2 && *x2 < x + w && y < y2 + h2 && *y2 < y + h);
            assert!(!clash, "{name}: {title} lies over another panel");
            taken.push([x, y, w, h]);
            ids.push(panel["id"].as_u64().unwrap());
            if panel["type"] == "row" {
                continue;
            }
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{name}: {title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title}");
            for target in panel["targets"].as_array().unwrap() {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}: {title}");
            }
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}: panel ids repeat");
    }
}

/// Metric names of an expression: words before `{`, `[` or at the end that are no function or keyword.
fn metric_names(expr: &str) -> Vec<String> {
    let without_text = regex::Regex::new(r#""[^"]*""#).unwrap().replace_all(expr, "");
    let selector = regex::Regex::new(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{").unwrap();
    selector.captures_iter(&without_text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_metric_exists() {
    let described = fs::read_to_string(programs::workspace().join("exporter/METRICS.md")).unwrap();
    let known = |name: &str| {
        let told = ["", "_bucket", "_sum", "_count"].iter().any(|suffix| {
            let family = name.strip_suffix(suffix).unwrap_or(name);
            described.contains(&format!("\n| `{family}` |"))
        });
        told || BY_PROMETHEUS.contains(&name) || name.starts_with("node_memory_")
    };
    for (dashboard, json) in dashboards() {
        for Query { panel, expr, .. } in queries(&json) {
            let names = metric_names(&expr);
            assert!(!names.is_empty(), "{dashboard}: {panel}: no metric in {expr}");
            for name in names {
                assert!(known(&name), "{dashboard}: {panel}: {name} is exposed by nothing of ours");
            }
        }
    }
}

/// The value of a series at a minute of the history, if it has one then.
type Shape<'a> = &'a dyn Fn(f64) -> Option<f64>;

/// A page of history as `promtool tsdb create-blocks-from openmetrics` reads it.
fn history(now: u64) -> String {
    let mut text = String::new();
    let mut series = |kind: &str, name: &str, lines: &[(&str, Shape)]| {
        let family = name.strip_suffix("_total").unwrap_or(name);
        writeln!(text, "# TYPE {family} {kind}").unwrap();
        for (labels, value) in lines {
            for minute in 0..=MINUTES {
                let at = now - 60 * (MINUTES - minute);
                if let Some(value) = value(minute as f64) {
                    writeln!(text, "{name}{{{labels}}} {value} {at}").unwrap();
                }
            }
        }
    };
    const HOST: &str = r#"job="pitcrew-exporter",instance="a:9610""#;
    let label = |more: &str| format!("{HOST},{more}");
    let always = |value: f64| move |_: f64| Some(value);
    let grows = |each: f64| move |minute: f64| Some(each * minute);
    let down = |minute: f64| Some(f64::from(u8::from(!(100.0..115.0).contains(&minute))));
    series("gauge", "up", &[(HOST, &always(1.0))]);
    series("gauge", "scrape_duration_seconds", &[(HOST, &always(0.003))]);
    series(
        "gauge",
        "runner_health",
        &[(&label(r#"runner="r1""#), &down), (&label(r#"runner="r2""#), &always(1.0))],
    );
    series("gauge", "runner_concurrent_jobs", &[(HOST, &always(1.0))]);
    series(
        "counter",
        "runner_jobs_total",
        &[
            (&label(r#"runner="r1",result="succeeded""#), &grows(2.0)),
            (&label(r#"runner="r1",result="failed""#), &grows(0.1)),
        ],
    );
    series(
        "unknown",
        "runner_job_duration_seconds_bucket",
        &[
            (&label(r#"runner="r1",result="succeeded",le="60""#), &grows(1.0)),
            (&label(r#"runner="r1",result="succeeded",le="+Inf""#), &grows(2.0)),
        ],
    );
    series(
        "unknown",
        "runner_job_duration_seconds_sum",
        &[(&label(r#"runner="r1",result="succeeded""#), &grows(120.0))],
    );
    series(
        "unknown",
        "runner_job_duration_seconds_count",
        &[(&label(r#"runner="r1",result="succeeded""#), &grows(2.0))],
    );
    series(
        "gauge",
        "runner_filesystem_avail_bytes",
        &[(&label(r#"runner="r1",folder="_work""#), &always(1e10))],
    );
    series(
        "counter",
        "node_cpu_seconds_total",
        &[(&label(r#"cpu="0",mode="idle""#), &grows(30.0))],
    );
    series("gauge", "node_memory_MemAvailable_bytes", &[(HOST, &always(6e9))]);
    series("gauge", "node_memory_MemTotal_bytes", &[(HOST, &always(8e9))]);
    series("gauge", "node_load1", &[(HOST, &always(0.5))]);
    series(
        "counter",
        "node_disk_io_time_seconds_total",
        &[(&label(r#"device="sda""#), &grows(3.0))],
    );
    series(
        "counter",
        "node_network_receive_bytes_total",
        &[(&label(r#"device="eth0""#), &grows(9000.0))],
    );
    series(
        "counter",
        "node_network_transmit_bytes_total",
        &[(&label(r#"device="eth0""#), &grows(9000.0))],
    );
    series(
        "gauge",
        "pitcrew_exporter_collector_success",
        &[(&label(r#"collector="cpu""#), &always(1.0))],
    );
    let offline = |minute: f64| (100.0..115.0).contains(&minute).then_some(1.0);
    series(
        "gauge",
        "ALERTS",
        &[
            (r#"alertname="Watchdog",alertstate="firing",severity="none""#, &always(1.0)),
            (
                r#"alertname="RunnerOffline",alertstate="firing",severity="critical",runner="r1""#,
                &offline,
            ),
            (
                r#"alertname="RunnerHighCPU",alertstate="pending",severity="warning",instance="a:9610""#,
                &always(1.0),
            ),
        ],
    );
    queues(&mut series);
    workflows(now, &mut series);
    text.push_str("# EOF\n");
    text
}

/// Type, name, and label sets with what they show.
type Series<'a> = &'a mut dyn FnMut(&str, &str, &[(&str, Shape)]);

/// A queue with a job that waits, and the agents that work on it.
fn queues(series: Series<'_>) {
    const SERVER: &str = r#"job="pitcrew-exporter",instance="a:9610",server="redis:6379""#;
    let label = |more: &str| format!("{SERVER},{more}");
    let always = |value: f64| move |_: f64| Some(value);
    let grows = |each: f64| move |minute: f64| Some(each * minute);
    let group = label(r#"queue="jobs",group="builders""#);
    for (name, value) in [
        ("queue_group_lag_estimate", 3.0),
        ("queue_group_oldest_undelivered_timestamp_seconds", 1.7e9),
        ("queue_group_pending", 2.0),
        ("queue_group_oldest_delivery_timestamp_seconds", 1.7e9),
        ("queue_group_deliveries_max", 1.0),
    ] {
        series("gauge", name, &[(&group, &always(value))]);
    }
    let dead = format!("{group},state=\"dead\"");
    series("gauge", "queue_group_consumers", &[(&dead, &always(1.0))]);
    series("gauge", "queue_server_up", &[(SERVER, &always(1.0))]);
    series("gauge", "queue_server_state", &[(&label(r#"state="ok""#), &always(1.0))]);
    series("gauge", "queue_server_clock_skew_seconds", &[(SERVER, &always(0.2))]);
    series("counter", "queue_server_commands_total", &[(SERVER, &grows(500.0))]);
    series("gauge", "queue_depth", &[(&label(r#"queue="jobs""#), &always(40.0))]);
    series("gauge", "queue_dead_letters", &[(&label(r#"queue="jobs:dead""#), &always(1.0))]);
    let pool = label(r#"pool="gpu""#);
    series("gauge", "agent_count", &[(&format!("{pool},state=\"idle\""), &always(2.0))]);
    let cold = format!("{pool},start=\"cold\"");
    let upper = [format!("{cold},le=\"20\""), format!("{cold},le=\"+Inf\"")];
    series(
        "unknown",
        "agent_start_duration_seconds_bucket",
        &[(&upper[0], &grows(1.0)), (&upper[1], &grows(1.0))],
    );
    series("counter", "agent_jobs_requeued_total", &[(&pool, &grows(0.1))]);
    series("counter", "agent_jobs_timed_out_total", &[(&pool, &grows(0.1))]);
}

/// What an exporter tells that hears of GitHub's workflows.
fn workflows(now: u64, series: Series) {
    const WHERE: &str = r#"repository="o/r",labels="linux,self-hosted""#;
    const RUN: &str = r#"repository="o/r",workflow="ci""#;
    let always = |value: f64| move |_: f64| Some(value);
    let grows = |each: f64| move |minute: f64| Some(each * minute);
    let ago = move |seconds: f64| move |_: f64| Some(now as f64 - seconds);
    let (busy, offline) =
        (format!("{WHERE},reason=\"all_busy\""), format!("{WHERE},reason=\"offline\""));
    let waiting: &[(&str, Shape)] = &[(&busy, &always(3.0)), (&offline, &always(1.0))];
    series("gauge", "github_workflow_jobs_queued", waiting);
    let oldest = "github_workflow_job_oldest_queued_timestamp_seconds";
    series("gauge", oldest, &[(&busy, &ago(90.0))]);
    series("gauge", "github_workflow_jobs_in_progress", &[(WHERE, &always(4.0))]);
    for (name, labels) in [
        ("github_workflow_job_queue_duration_seconds_bucket", WHERE.to_owned()),
        ("github_workflow_job_duration_seconds_bucket", format!("{RUN},conclusion=\"success\"")),
        ("github_workflow_run_duration_seconds_bucket", RUN.to_owned()),
    ] {
        let (short, all) = (format!("{labels},le=\"60\""), format!("{labels},le=\"+Inf\""));
        series("unknown", name, &[(&short, &grows(2.0)), (&all, &grows(2.0))]);
    }
    for (name, labels, each) in [
        ("github_workflow_run_conclusion_total", format!("{RUN},conclusion=\"success\""), 1.0),
        (
            "github_workflow_runner_seconds_total",
            r#"repository="o/r",class="gpu""#.to_owned(),
            90.0,
        ),
        ("pitcrew_exporter_github_requests_total", r#"status="304""#.to_owned(), 1.0),
        ("pitcrew_exporter_github_oddities_total", r#"kind="absurd_time""#.to_owned(), 0.1),
        ("pitcrew_exporter_webhook_deliveries_total", r#"event="workflow_job""#.to_owned(), 5.0),
        ("pitcrew_exporter_webhook_refused_total", r#"reason="signature""#.to_owned(), 0.1),
        ("pitcrew_exporter_github_missed_deliveries_total", r#"outcome="missed""#.to_owned(), 0.1),
    ] {
        series("counter", name, &[(&labels, &grows(each))]);
    }
    for (name, labels, value) in [
        ("github_workflow_consecutive_failures", format!("{RUN},branch=\"default\""), 2.0),
        ("pitcrew_exporter_github_tracked", r#"what="jobs""#.to_owned(), 9.0),
        ("pitcrew_exporter_github_rate_limit_requests", r#"resource="core""#.to_owned(), 5000.0),
        (
            "pitcrew_exporter_github_rate_limit_remaining_requests",
            r#"resource="core""#.to_owned(),
            4000.0,
        ),
    ] {
        series("gauge", name, &[(&labels, &always(value))]);
    }
    let runners: &[(&str, Shape)] = &[
        (r#"scope="o",labels="linux",status="busy""#, &always(3.0)),
        (r#"scope="o",labels="linux",status="idle""#, &always(1.0)),
    ];
    series("gauge", "github_runners", runners);
    let read = "pitcrew_exporter_github_data_timestamp_seconds";
    series("gauge", read, &[(r#"scope="o",data="runners""#, &ago(7.0))]);
}

#[tokio::test]
async fn every_query_gives_data_from_a_real_prometheus() {
    pitcrew_tests::process::tls();
    let folder = tempfile::tempdir().unwrap();
    let now = clock::unix_seconds() as u64;
    let (_prometheus, url) = prometheus::with_history(folder.path(), &history(now)).await;
    let client = reqwest::Client::new();
    let mut asked = 0;
    for (dashboard, json) in dashboards() {
        for Query { panel, expr, instant } in queries(&json) {
            let (start, end) = (now - 6 * 3600, now);
            let mut form = vec![("query", expr.clone())];
            let path = match instant {
                true => {
                    form.push(("time", end.to_string()));
                    "query"
                }
                false => {
                    form.extend([
                        ("start", start.to_string()),
                        ("end", end.to_string()),
                        ("step", "60".to_owned()),
                    ]);
                    "query_range"
                }
            };
            let answer =
                client.get(format!("{url}/api/v1/{path}")).query(&form).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["status"], "success", "{dashboard}: {panel}: {expr}: {answer}");
            let results = answer["data"]["result"].as_array().unwrap();
            assert!(!results.is_empty(), "{dashboard}: {panel}: no data for {expr}");
            let text = answer.to_string();
            assert!(!text.contains("NaN"), "{dashboard}: {panel}: not a number for {expr}: {text}");
            asked += 1;
        }
    }
    assert!(asked >= 20, "only {asked} queries were asked");
}
