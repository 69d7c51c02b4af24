//! Targets that hang, flood, trickle or talk nonsense: cut off, named, and no harm to the others.

use std::time::Duration;

use pitcrew_tests::fake_target::{Answer, FakeTarget, OPEN_METRICS, TEXT, bomb, gzip};
use pitcrew_tests::wait;

use super::{SOON, Scraper};

#[tokio::test]
async fn each_bad_target_is_cut_off_and_told() {
    let text = |body: &str| Answer::Page(TEXT, body.to_owned());
    for (name, answer, want) in [
        ("hanging", Answer::Hang, "no whole page within 500ms"),
        ("trickling", Answer::Trickle, "no whole page within 500ms"),
        (
            "a gigabyte",
            Answer::Flood(1 << 30),
            "page is larger than body_size_limit: expected at most 1048576 bytes",
        ),
        ("a gzip bomb", Answer::Gzip(TEXT, bomb(256 << 20)), "page is larger than body_size_limit"),
        ("no gzip", Answer::Gzip(TEXT, b"plain".to_vec()), "request failed"),
        (
            "malformed",
            text("ok 1\nbad{ 2\n"),
            "page cannot be read: line 2: expected } after the labels",
        ),
        (
            "a web page",
            text("<!DOCTYPE html>"),
            "line 1: expected a metric name, found \"<!DOCTYPE html>\"",
        ),
        ("no end", Answer::Page(OPEN_METRICS, "a 1\n".to_owned()), "line 2: expected # EOF"),
        (
            "other bytes",
            Answer::Gzip(TEXT, gzip(b"a 1\nb{c=\"\xff\"} 1\n")),
            "line 2: expected UTF-8",
        ),
        ("too many samples", text("a 1\nb 1\nc 1\n"), "sample_limit: expected at most 2, found 3"),
        ("an error", Answer::Status("500 Oops".to_owned()), "expected status 200, found 500"),
        (
            "another host",
            Answer::Status("302 Found\r\nlocation: http://localhost:1/".to_owned()),
            "redirects to another host",
        ),
        ("no HTTP", Answer::Status("\u{1f980}".to_owned()), "request failed"),
    ] {
        let bad = FakeTarget::start(answer).await;
        let good = FakeTarget::page("good 1\n").await;
        let more = "sample_limit: 2, body_size_limit: 1MB";
        let scraper = Scraper::of(&[&bad.address, &good.address], more).await;
        let error = scraper.error_of(&bad.address).await;
        assert!(error.contains(want), "{name}: {error}");
        let both = async || scraper.values("up").await.len() == 2;
        wait::until(SOON, "both are scraped", both).await;
        let down = scraper.values("up == 0").await;
        assert!(down.len() == 1 && down[0].0.contains(&bad.address), "{name}: {down:?}");
        assert_eq!(scraper.values("good").await.len(), 1, "{name}");
        let took = scraper.target(&bad.address).unwrap().last.duration;
        assert!(took < Duration::from_secs(8), "{name} took {took:?}");
    }
}

#[tokio::test]
async fn requests_carry_headers_and_credentials_but_nothing_goes_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let target = FakeTarget::start(Answer::Gzip(TEXT, gzip(b"a 1\n"))).await;
    let more = format!(
        "metrics_path: /m, params: {{x: ['1', 'two words']}}, authorization: {{credentials_file: '{}'}}",
        secret.display()
    );
    let scraper = Scraper::of(&[&target.address], &more).await;
    wait::until(SOON, "a scrape", async || scraper.values("a").await.len() == 1).await;
    let head = &target.requests()[0];
    for want in [
        "get /m?x=1&x=two+words http/1.1\r\n",
        "\r\naccept: application/openmetrics-text;version=1.0.0;",
        "\r\naccept-encoding: gzip\r\n",
        "\r\nx-prometheus-scrape-timeout-seconds: 0.5\r\n",
        "\r\nauthorization: bearer hunter2\r\n",
        "\r\nuser-agent: pitcrew/",
    ] {
        assert!(head.contains(want), "{want:?} is not in {head}");
    }
    std::fs::remove_file(&secret).unwrap();
    let error = scraper.error_of(&target.address).await;
    assert!(error.starts_with("cannot use the credentials: cannot read secret file"), "{error}");
}
