//! alertd as the receiver.

use std::fs;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::Sample;
use pitcrew_alertd::remote::{Protocol, encode};
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::wait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use reqwest::{Method, StatusCode};

use super::{alertd, count, prometheus, samples};

/// Without a negative zero, which Prometheus sends as the other one.
const PAGE: &str = r#"# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027
http_requests_total{method="get",code="200"} 3e10
special NaN
large +Inf
tiny 1e-310
unicode{name="größe 🦀"} 0.1
# TYPE latency histogram
latency_bucket{le="0.1"} 5
latency_bucket{le="+Inf"} 10
latency_sum 4.5
latency_count 10
"#;

#[tokio::test]
async fn everything_that_prometheus_sends_is_here_as_it_is_there() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = FakeTarget::page(PAGE).await;
    let alertd = alertd(ours.path(), &free_address(), "").await;
    let config = format!(
        "{{ global: {{ scrape_interval: 100ms, scrape_timeout: 100ms }},
           remote_write: [{{ url: '{}/api/v1/write', queue_config: {{ batch_send_deadline: 100ms }},
             metadata_config: {{ send_interval: 200ms }} }}],
           scrape_configs: [{{ job_name: x, static_configs: [{{ targets: ['{}'] }}] }}] }}",
        alertd.url, target.address
    );
    let prometheus = prometheus(theirs.path(), &free_address(), &config).await;
    wait::until(PATIENCE, "some scrapes", async || {
        prometheus.value("count_over_time(up[1h])").await >= Some(5.0)
    })
    .await;
    // A series that ends, and one that begins.
    target.set(Answer::Page(TEXT, PAGE.replace("special", "specialty")));
    let mut at = 0.0;
    wait::until(PATIENCE, "the end of a series", async || {
        let newest = prometheus.value("max(timestamp(specialty))").await;
        at = newest.unwrap_or_default();
        newest.is_some() && prometheus.value("absent(special)").await == Some(1.0)
    })
    .await;
    let selector = r#"{__name__=~".%2b"}"#;
    let want = samples(&prometheus, selector, at).await;
    assert!(want.len() > 12 && count(&want) > 60, "{want:?}");
    wait::until(PATIENCE, "the same samples", async || {
        samples(&alertd, selector, at).await == want
    })
    .await;
    wait::until(PATIENCE, "the end of a series here too", async || {
        alertd.value("absent(special)").await == Some(1.0)
    })
    .await;
    // What it says about the metrics, too.
    let known = prometheus.json("/api/v1/metadata").await["data"].clone();
    assert_eq!(known["latency"][0]["type"], "histogram");
    wait::until(PATIENCE, "the same metadata", async || {
        alertd.json("/api/v1/metadata").await["data"] == known
    })
    .await;
    let taken = "pitcrew_alertd_remote_write_received_requests_total{protocol=\"0.1.0\",outcome=\"success\"}";
    assert!(alertd.metric(taken).await >= Some(1.0), "{}", alertd.text("/metrics").await);
    assert!(!alertd.text("/metrics").await.contains("received_samples_refused_total{"));
    assert!(!prometheus.log().contains("non-recoverable"), "{}", prometheus.log());
}

/// One sample as of now.
fn body(protocol: Protocol) -> Vec<u8> {
    let now = pitcrew_alertd::clock::now();
    let labels = Labels::from_pairs([("__name__", "sent"), ("protocol", protocol.version())]);
    encode::samples(protocol, &[(labels, Sample { timestamp: now, value: 1.0 })])
}

async fn post(live: &Live, header: Option<(&str, &str)>) -> (StatusCode, String) {
    let request = live.request(Method::POST, "/api/v1/write");
    let request = request.header(CONTENT_TYPE, Protocol::V2.content_type());
    let request = match header {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    let answer = request.body(body(Protocol::V2)).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn who_may_write_and_what_the_next_query_sees() {
    let folder = tempfile::tempdir().unwrap();
    let live = alertd(folder.path(), &free_address(), "").await;
    let (status, text) = post(&live, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{text}");
    assert_eq!(live.value("sent").await, Some(1.0));
    // A page of another site that makes a browser send something.
    let (status, _) = post(&live, Some((ORIGIN.as_str(), "https://elsewhere.example"))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    drop(live);

    let secret = folder.path().join("token");
    fs::write(&secret, "ghp_none").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let pools = "github: { base_url: 'http://127.0.0.1:9', auth: { token_file: token } }
pools: [{ name: ci, label: ci-active, scope: { repository: a/b }, members: [
  { name: one, runners: [one-*], instances: ['127.0.0.1:9'], capacity: 1 },
  { name: two, runners: [two-*], instances: ['127.0.0.1:8'], capacity: 1 } ] }]
";
    let live = alertd(folder.path(), &free_address(), pools).await;
    let (status, text) = post(&live, None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("pools are configured"), "{text}");
    let token = fs::read_to_string(folder.path().join("data/operator-token")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let (status, text) = post(&live, Some((AUTHORIZATION.as_str(), &token))).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{text}");
    drop(live);

    let live = alertd(folder.path(), &free_address(), "web: { protect_loopback: true }").await;
    let request = live.request(Method::POST, "/api/v1/write").body(body(Protocol::V1));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
