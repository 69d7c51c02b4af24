//! The same configuration and pages, scraped by Debian's Prometheus and by us, series by series.

use std::path::Path;

use pitcrew_tests::fake_target::{Answer, FakeTarget, OPEN_METRICS, TEXT};
use pitcrew_tests::process::{Process, free_address};
use pitcrew_tests::{peers, wait};
use serde_json::Value;

use super::{SOON, Scraper, get, settings, values};

const TEXT_PAGE: &str = r#"# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027
http_requests_total{method="post",code="400"} 3
http_requests_total { method = "get" , } 1e3
escaped{path="C:\\DIR",quote="\"",line="a\nb",odd="\x"} 1.458255915e9
mixed{job="theirs",instance="there",exported_job="even"} 1
empty{job="",x=""} 0
without_space{a="b"}-Inf
special NaN
large +Inf
tiny 1e-310
negative_zero -0
twice 1
twice 1
unicode{name="größe 🦀"} 0.1
# TYPE latency histogram
latency_bucket{le="0.1"} 5
latency_bucket{le="1"} 9
latency_bucket{le="+Inf"} 10
latency_sum 4.5
latency_count 10"#;

const OPEN_PAGE: &str = r#"# HELP jobs Jobs.
# TYPE jobs counter
# UNIT jobs_seconds seconds
jobs_total{a="b"} 17.0 # {trace="x"} 1.0 1520879607.789
jobs_created{a="b"} 1520872607.123
# TYPE state stateset
state{state="on"} 1
# TYPE build info
build_info{version="1"} 1
# EOF
"#;

const QUERIES: &[&str] = &[
    // The time a scrape took differs; so does who had how many first scrapes by now.
    r#"{__name__=~".+",__name__!~"scrape_duration_seconds|scrape_series_added"}"#,
    r#"count by (__name__, job) ({__name__=~".+"})"#,
    "up",
    "sum by (job) (scrape_samples_scraped)",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "histogram_quantile(0.9, latency_bucket)",
    "http_requests_total * on (job, instance) group_left up",
    "absent(nothing)",
    "count(changes(http_requests_total[1m]) > 0)",
];

/// Everything that the two say, in one comparable text for each question.
async fn said(base: &str) -> Vec<String> {
    let mut out = Vec::new();
    for query in QUERIES {
        out.push(format!("{query}: {}", told(base, query).await));
    }
    for path in ["/api/v1/labels", "/api/v1/label/__name__/values", "/api/v1/label/job/values"] {
        out.push(format!("{path}: {}", get(base, path, &[]).await.1));
    }
    // Prometheus also ends, with stale markers, series of pages that it had refused: `limited…`.
    let all = [("match[]", r#"{job=~".+",job!~"limited.*"}"#), ("match[]", "up")];
    let (_, series) = get(base, "/api/v1/series", &all).await;
    let mut series: Vec<_> =
        series["data"].as_array().unwrap().iter().map(Value::to_string).collect();
    series.sort();
    out.push(format!("series: {series:?}"));
    let (_, targets) = get(base, "/api/v1/targets", &[]).await;
    let targets = targets["data"]["activeTargets"].as_array().unwrap();
    let mut shown: Vec<_> = targets
        .iter()
        .map(|target| {
            let keys =
                ["labels", "scrapePool", "scrapeUrl", "health", "scrapeInterval", "scrapeTimeout"];
            let discovered = known_before(&target["scrapePool"], &target["discoveredLabels"]);
            format!("{discovered} {}", keys.map(|key| target[key].to_string()).join(" "))
        })
        .collect();
    shown.sort();
    out.extend(shown.into_iter().map(|target| format!("target: {target}")));
    let (_, targets) = get(base, "/api/v1/targets", &[("state", "dropped")]).await;
    let dropped = targets["data"]["droppedTargets"].as_array().unwrap();
    let mut dropped: Vec<_> = dropped
        .iter()
        .map(|target| &target["discoveredLabels"])
        .map(|labels| known_before(&labels["job"], labels))
        .collect();
    dropped.sort();
    out.push(format!("dropped: {dropped:?}"));
    out
}

/// What was known of a target before its rules. Prometheus 2.42 overwrites the last of these labels
/// with those that rules add: of jobs with many rules, `target-…`, one label tells enough.
fn known_before(job: &Value, labels: &Value) -> String {
    match job.as_str().is_none_or(|job| job.starts_with("target-")) {
        true => labels["case"].to_string(),
        false => labels.to_string(),
    }
}

/// The elements of an instant vector, or the kind of error.
async fn told(base: &str, query: &str) -> String {
    let (status, answer) = get(base, "/api/v1/query", &[("query", query)]).await;
    match status {
        200 => format!("{:?}", values(base, query).await),
        _ => format!("{status} {}", answer["errorType"]),
    }
}

/// Waits until both say the same; fails with the first difference.
pub(super) async fn agree(when: &str, ours: &str, theirs: &str) {
    let start = pitcrew_exporter::clock::monotonic();
    loop {
        let (one, two) = (said(ours).await, said(theirs).await);
        let differs = one.iter().zip(&two).find(|(one, two)| one != two);
        if differs.is_none() && one.len() == two.len() {
            return;
        }
        let none = String::new();
        let (one, two) = differs.unwrap_or((&none, &none));
        assert!(start.elapsed() < SOON, "{when}:\nours   {one}\ntheirs {two}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Debian's Prometheus on a free port, ready.
pub(super) async fn prometheus(folder: &Path, config: &str) -> (Process, String) {
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let checked = tokio::process::Command::new(peers::promtool())
        .args(["check", "config"])
        .arg(&file)
        .output()
        .await
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let address = free_address();
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
        "--log.level=error".to_owned(),
    ];
    let process = Process::start(&peers::prometheus(), &arguments);
    let url = format!("http://{address}");
    let ready = format!("{url}/-/ready");
    super::tls();
    wait::until(SOON, "Prometheus is ready", async || {
        reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    (process, url)
}

#[tokio::test]
async fn the_same_pages_give_the_same_series() {
    let text = FakeTarget::page(TEXT_PAGE).await;
    let open = FakeTarget::start(Answer::Page(OPEN_METRICS, OPEN_PAGE.to_owned())).await;
    let broken = FakeTarget::page("twice 1\n!\n").await;
    let folder = tempfile::tempdir().unwrap();
    let file_sd = format!(
        "- targets: ['{}']\n  labels: {{__metrics_path__: /other, rack: 7}}\n",
        open.address
    );
    std::fs::write(folder.path().join("sd.yml"), file_sd).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{site: here}}}}\n\
         scrape_configs:\n\
         - job_name: text\n  params: {{module: [x]}}\n  \
         static_configs: [{{targets: ['{text}', '{text}'], labels: {{rack: '1', x: over}}}}]\n\
         - job_name: honest\n  honor_labels: true\n  honor_timestamps: false\n  \
         static_configs: [{{targets: ['{text}']}}]\n\
         - job_name: open\n  file_sd_configs: [{{files: ['sd*.yml'], refresh_interval: 1s}}]\n  \
         authorization: {{credentials: abc}}\n  body_size_limit: 1MB\n  label_limit: 20\n\
         - job_name: broken\n  static_configs: [{{targets: ['{broken}', 'nobody.invalid']}}]\n\
         - job_name: limited\n  sample_limit: 3\n  static_configs: [{{targets: ['{text}']}}]\n",
        text = text.address,
        broken = broken.address,
    );
    let (_process, theirs) = prometheus(folder.path(), &config).await;
    let ours = Scraper::start(settings(&folder.path().join("prometheus.yml"), &config)).await;
    agree("at first", &ours.url, &theirs).await;
    assert_eq!(values(&ours.url, "up == 1").await.len(), 3);
    assert!(values(&ours.url, r#"{job="text"}"#).await.len() > 20);

    // Some series go, one comes, another one changes: stale markers on both sides.
    text.set(Answer::Page(
        TEXT,
        "http_requests_total{method=\"post\",code=\"200\"} 1030\nnew 1\n".to_owned(),
    ));
    let gone = async || values(&ours.url, "twice").await.is_empty();
    wait::until(SOON, "series of the old page end", gone).await;
    agree("after a change", &ours.url, &theirs).await;

    drop(open);
    wait::until(SOON, "its series end", async || values(&ours.url, "jobs_total").await.is_empty())
        .await;
    agree("after a target's death", &ours.url, &theirs).await;
}
