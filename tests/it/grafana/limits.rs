//! What Prometheus 2 has not: limits on answers, their size on the wire, and clients that leave.

use std::io::Read;

use flate2::read::GzDecoder;
use pitcrew_tests::fake_target::{Answer, FakeTarget, OPEN_METRICS};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use reqwest::Client;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::{SERIES, ask, get, now, page, post};

/// Alertd with the page's samples and tight limits.
async fn limited(folder: &std::path::Path, query: &str) -> (Live, FakeTarget, i64) {
    let end = now() - 60;
    let target = FakeTarget::start(Answer::Page(OPEN_METRICS, page(end))).await;
    let address = free_address();
    let config = folder.join("alertd.yaml");
    let text = format!(
        "{{ listen: '{address}', data_dir: data, query: {query},
           global: {{ scrape_interval: 1s, scrape_timeout: 1s }},
           scrape_configs: [{{ job_name: fake, static_configs: [{{ targets: ['{}'] }}] }}] }}",
        target.address
    );
    std::fs::write(&config, text).unwrap();
    let arguments = ["run", "--config", config.to_str().unwrap()];
    let alertd = Live::ready(&programs::alertd(), &arguments, &address, folder).await;
    wait::until(PATIENCE, "samples", async || {
        alertd.value("sum(scrape_samples_scraped) > 0").await.is_some()
    })
    .await;
    (alertd, target, end)
}

#[tokio::test]
async fn every_limit_is_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let query = format!("{{ max_samples: 1000, max_series: {SERIES}, timeout: 20s }}");
    let (alertd, _target, end) = limited(folder.path(), &query).await;
    let at = format!("{end}.5");
    let time = ("time", at.as_str());
    for (params, status, kind, text) in [
        (vec![("query", "{job=\"fake\"}"), ("time", "")], 422, "execution", "query.max_series"),
        (
            vec![("query", "sum_over_time(vector(1)[1h:1s])"), time],
            422,
            "execution",
            "load too many samples",
        ),
        (
            vec![("query", "up"), ("timeout", "0"), time],
            503,
            "timeout",
            "query timed out in query queue",
        ),
        (vec![("query", "up"), ("limit", "-1")], 400, "bad_data", "limit must be non-negative"),
        (
            vec![("query", "up"), ("lookback_delta", "x")],
            400,
            "bad_data",
            "error parsing lookback delta",
        ),
    ] {
        let answer = ask(&alertd, &post("/api/v1/query", &params)).await;
        let json = answer.json();
        assert_eq!(
            (answer.status, &json["errorType"]),
            (status, &kind.into()),
            "{params:?}: {json}"
        );
        assert!(json["error"].as_str().unwrap().contains(text), "{params:?}: {json}");
    }
    let many = ask(&alertd, &get("/api/v1/series", &[("match[]", "{job=\"fake\"}")])).await;
    assert_eq!(many.status, 422, "{}", many.json());
    for (limit, want) in [("series", 2.0), ("samples", 1.0), ("concurrency", 1.0), ("time", 0.0)] {
        let name = format!("pitcrew_alertd_query_limits_hit_total{{limit=\"{limit}\"}}");
        assert_eq!(alertd.metric(&name).await, Some(want), "{name}");
    }

    // Asking for less is no error; what is left out is told.
    let cut = "results truncated due to limit";
    let work = ("query", "fake_work_seconds_total");
    for (call, left) in [
        (get("/api/v1/query", &[work, time, ("limit", "2")]), "/data/result"),
        (
            get(
                "/api/v1/query_range",
                &[work, ("start", &at), ("end", &at), ("step", "1"), ("limit", "2")],
            ),
            "/data/result",
        ),
        (get("/api/v1/series", &[("match[]", "fake_work_seconds_total"), ("limit", "2")]), "/data"),
        (get("/api/v1/labels", &[("limit", "2")]), "/data"),
        (get("/api/v1/label/mode/values", &[("limit", "2")]), "/data"),
    ] {
        let json = ask(&alertd, &call).await.json();
        assert_eq!(json.pointer(left).unwrap().as_array().unwrap().len(), 2, "{call:?}: {json}");
        assert_eq!(json["warnings"][0], cut, "{call:?}");
    }
    let short = [work, time, ("lookback_delta", "100ms")];
    let none = ask(&alertd, &get("/api/v1/query", &short)).await.json();
    assert_eq!(none["data"]["result"].as_array().unwrap().len(), 0, "{none}");
    let found = [("query", "rate(fake_work_seconds_total[1m])"), time, ("stats", "all")];
    let stats = ask(&alertd, &get("/api/v1/query", &found)).await.json();
    // Six series with four samples a minute each.
    assert_eq!(stats["data"]["stats"]["samples"]["totalQueryableSamples"], 24, "{stats}");
    let escaped = ask(&alertd, &get("/api/v1/label/U__mode/values", &[])).await.json();
    assert_eq!(escaped["data"].as_array().unwrap().len(), 3, "{escaped}");
}

#[tokio::test]
async fn a_query_ends_when_its_client_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let query = "{ max_samples: 100000000000, timeout: 59s }";
    let (alertd, _target, end) = limited(folder.path(), query).await;
    let slow = ["quantile_over_time(0.5, sum by (mode) (fake_work_seconds_total)[10m:1s])"; 300];
    let range = post(
        "/api/v1/query_range",
        &[
            ("query", &slow.join(" + ")),
            ("start", &format!("{}", end - 5000)),
            ("end", &format!("{end}")),
            ("step", "0.5"),
        ],
    );
    let active = async || alertd.metric("pitcrew_alertd_queries_active").await;
    assert_eq!(active().await, Some(0.0));
    let asked = ask(&alertd, &range);
    tokio::select! {
        reply = asked => panic!("answered too soon: {}", reply.status),
        () = wait::until(PATIENCE, "the query runs", async || active().await == Some(1.0)) => {}
    }
    // Its own time is not over for long.
    wait::until(PATIENCE, "the query ends", async || active().await == Some(0.0)).await;
    let late = "pitcrew_alertd_query_limits_hit_total{limit=\"time\"}";
    assert_eq!(alertd.metric(late).await, Some(0.0));
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_takes_that() {
    let folder = tempfile::tempdir().unwrap();
    let (alertd, _target, end) = limited(folder.path(), "{}").await;
    let query = [("query", "fake_work_seconds_total[20m]"), ("time", &*end.to_string())];
    let plain = ask(&alertd, &get("/api/v1/query", &query)).await;
    assert!(plain.body.len() > 4096 && !plain.headers.contains_key(CONTENT_ENCODING));
    // One that shows what it got as it came.
    let client = Client::builder().no_gzip().build().unwrap();
    let packed = async |params: &[(&str, &str)]| {
        let request = client.get(format!("{}/api/v1/query", alertd.url)).query(params);
        request.header(ACCEPT_ENCODING, "gzip").send().await.unwrap()
    };
    let answer = packed(&query).await;
    assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
    let body = answer.bytes().await.unwrap();
    assert!(body.len() * 2 < plain.body.len());
    let mut text = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
    let small = packed(&[("query", "1"), ("time", "1")]).await;
    assert!(!small.headers().contains_key(CONTENT_ENCODING));
}
