//! alertd as the receiver.

use std::fs;
use std::time::Duration;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::{Protocol, encode};
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::wait;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ORIGIN};
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

const SECOND: Duration = Duration::from_secs(1);

/// Bodies that a sender should not send, and what each of the two says to them: in version 1.0,
/// which is what Debian's Prometheus knows.
#[tokio::test]
async fn bodies_that_should_not_be_sent() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alertd = alertd(ours.path(), &free_address(), "").await;
    let prometheus = prometheus(theirs.path(), &free_address(), "global: {}").await;
    let now = pitcrew_alertd::clock::now();
    let at = |time, value| Sample { timestamp: time, value };
    let series = |labels: &[(&str, &str)], samples: &[Sample]| {
        let mut body = encode::Body::new(Protocol::V1);
        body.series(labels.iter().copied(), samples);
        body.finish()
    };
    let one = |labels: &[(&str, &str)]| series(labels, &[at(now, 1.0)]);
    let packed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let name = ("__name__", "swept");
    let year = Duration::from_secs(365 * 86_400);
    let nans = [f64::from_bits(0x7ff0_0000_0000_0002), f64::from_bits(0xfff8_0000_0000_0001)];
    let nans: Vec<_> = nans
        .iter()
        .enumerate()
        .map(|(n, value)| at(now.minus(SECOND * (2 - n as u32)), *value))
        .collect();
    let (good, bad, large, broken) = (204, 400, 413, 500);
    let mut wrong = Vec::new();
    for (what, body, here, there) in [
        ("no snappy", b"hello".to_vec(), bad, bad),
        ("nothing", vec![], bad, bad),
        ("no protobuf", packed(b"hello"), bad, bad),
        ("cut short", packed(&[0x0a, 0x20, 0x0a]), bad, bad),
        // Which status an announced size gets is each program's own; both are final for a sender.
        ("a bomb", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], large, bad),
        ("an empty message", packed(b""), good, good),
        ("unsorted", one(&[("z", "1"), name, ("a", "1")]), good, good),
        ("a label without value", one(&[name, ("b", "")]), good, good),
        // An error of the sender by the specification: Prometheus stores or passes over some, and has others
        // sent again without end.
        ("a label twice", one(&[name, ("c", "1"), ("c", "2")]), bad, broken),
        ("a label without name", one(&[name, ("", "1")]), bad, good),
        ("no name", one(&[("d", "1")]), bad, good),
        ("no labels", one(&[]), bad, broken),
        ("other NaNs", series(&[name, ("e", "1")], &nans), good, good),
        // Version 3 refuses what is ahead by more than ten minutes, as alertd does.
        ("far ahead", series(&[name, ("f", "1")], &[at(now.plus(year), 1.0)]), bad, good),
        ("far behind", series(&[name, ("g", "1")], &[at(now.minus(year * 40), 1.0)]), bad, bad),
        (
            "the end of time",
            series(&[name, ("h", "1")], &[at(Timestamp(i64::MAX), 1.0)]),
            bad,
            good,
        ),
        (
            "the beginning of time",
            series(&[name, ("i", "1")], &[at(Timestamp(i64::MIN), 1.0)]),
            bad,
            bad,
        ),
    ] {
        for (live, want) in [(&alertd, here), (&prometheus, there)] {
            let request = live.request(Method::POST, "/api/v1/write").body(body.clone());
            let request = request.header(CONTENT_TYPE, Protocol::V1.content_type());
            let request = request.header(CONTENT_ENCODING, "snappy");
            let answer = request.header("X-Prometheus-Remote-Write-Version", "0.1.0").send().await;
            let answer = answer.unwrap();
            let got = answer.status().as_u16();
            if got != want {
                let text = answer.text().await.unwrap();
                wrong.push(format!("{what}, {}: {got}, expected {want}: {text}", live.url));
            }
        }
    }
    assert!(wrong.is_empty(), "ours is {}\n{}", alertd.url, wrong.join("\n"));
    let at = now.0 as f64 / 1000.0;
    let kept = samples(&alertd, "swept", at).await;
    // The first NaN is the stale marker, which ends a series and is not shown.
    assert_eq!(count(&kept), 3, "{kept:?}");
}
