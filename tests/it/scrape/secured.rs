//! TLS and authentication: one configuration for Debian's Prometheus and for us, the same targets up.

use std::path::Path;

use pitcrew_tests::certificates::{Authority, Identity, write_secret};
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::wait;

use super::peer::{agree, prometheus};
use super::{SOON, Scraper, settings, values};

const JSON: &str = "application/json";

fn page() -> Answer {
    Answer::Page(TEXT, "a 1\n".to_owned())
}

fn guarded(header: &str) -> Answer {
    Answer::Guarded(header.to_owned(), "a 1\n".to_owned())
}

/// The jobs, by name: scheme, address, further keys. Names that end with `down` must not be up.
fn config(jobs: &[(&str, &str, &FakeTarget, &str)]) -> String {
    let mut text =
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_owned();
    for (name, scheme, target, more) in jobs {
        text.push_str(&format!(
            "- job_name: {name}\n  scheme: {scheme}\n  static_configs: [{{targets: ['{}']}}]\n",
            target.address
        ));
        for line in more.split('\n').filter(|line| !line.is_empty()) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

/// Runs both until they agree, then checks that exactly the right jobs are up.
async fn both(folder: &Path, text: &str) -> (pitcrew_tests::process::Process, String, Scraper) {
    let (process, theirs) = prometheus(folder, text).await;
    let ours = Scraper::start(settings(&folder.join("prometheus.yml"), text)).await;
    agree("at first", &ours.url, &theirs).await;
    for (labels, up) in values(&ours.url, "up").await {
        let want = if labels.contains("down\"") { "0" } else { "1" };
        let errors: Vec<_> =
            ours.targets.snapshot().into_iter().map(|t| (t.job, t.last.error)).collect();
        assert_eq!(up, want, "{labels}: {errors:#?}");
    }
    (process, theirs, ours)
}

#[tokio::test]
async fn tls_is_checked_as_prometheus_checks_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (authority, stranger) = (Authority::new(), Authority::new());
    let client = authority.identity("client.example");
    let own = Identity::self_signed("127.0.0.1");
    for (name, text) in [
        ("ca.pem", &authority.pem),
        ("stranger.pem", &stranger.pem),
        ("own.pem", &own.pem),
        ("client.pem", &client.pem),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    write_secret(&at("client.key"), &client.key_pem());
    let good = authority.identity("127.0.0.1");
    let plain = FakeTarget::start_tls(page(), good.server(None)).await;
    let mutual = FakeTarget::start_tls(page(), good.server(Some(&authority))).await;
    let other = authority.identity("other.example");
    let other = FakeTarget::start_tls(page(), other.server(None)).await;
    let expired = authority.expired("127.0.0.1");
    let expired = FakeTarget::start_tls(page(), expired.server(None)).await;
    let own = FakeTarget::start_tls(page(), own.server(None)).await;
    let old = good.server_of(None, &[&rustls::version::TLS12]);
    let old = FakeTarget::start_tls(page(), old).await;
    let inline = authority.pem.trim().replace('\n', "\n      ");
    let inline = format!("tls_config:\n  ca: |\n      {inline}");
    let mut jobs = vec![
        ("authority", "https", &plain, "tls_config: {ca_file: ca.pem}"),
        ("system-down", "https", &plain, ""),
        ("stranger-down", "https", &plain, "tls_config: {ca_file: stranger.pem}"),
        ("unchecked", "https", &plain, "tls_config: {insecure_skip_verify: true}"),
        (
            "mutual",
            "https",
            &mutual,
            "tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}",
        ),
        ("anonymous-down", "https", &mutual, "tls_config: {ca_file: ca.pem}"),
        ("wrong-name-down", "https", &other, "tls_config: {ca_file: ca.pem}"),
        ("named", "https", &other, "tls_config: {ca_file: ca.pem, server_name: other.example}"),
        ("expired-down", "https", &expired, "tls_config: {ca_file: ca.pem}"),
        ("expired-unchecked", "https", &expired, "tls_config: {insecure_skip_verify: true}"),
        ("self-signed", "https", &own, "tls_config: {ca_file: own.pem}"),
        (
            "self-signed-misnamed-down",
            "https",
            &own,
            "tls_config: {ca_file: own.pem, server_name: other.example}",
        ),
        ("old", "https", &old, "tls_config: {ca_file: ca.pem}"),
        ("too-old-down", "https", &old, "tls_config: {ca_file: ca.pem, min_version: TLS13}"),
        ("plain-down", "http", &plain, ""),
        ("http1", "https", &plain, "tls_config: {ca_file: ca.pem}\nenable_http2: false"),
    ];
    let text = config(&jobs);
    let (_process, theirs, ours) = both(folder.path(), &text).await;

    // A certificate that is replaced in place is used from the next scrape on.
    std::fs::write(at("stranger.pem"), &authority.pem).unwrap();
    let up = async || values(&ours.url, r#"up{job="stranger-down"} == 1"#).await.len() == 1;
    wait::until(SOON, "the new authority is trusted", up).await;
    drop(ours);
    drop(theirs);

    // What Debian's version does not know yet.
    jobs.truncate(1);
    jobs[0] = ("inline", "https", &plain, &inline);
    let text = config(&jobs);
    let ours = Scraper::start(settings(&at("p.yml"), &text)).await;
    let up = async || values(&ours.url, "up == 1").await.len() == 1;
    wait::until(SOON, "an authority in place is trusted", up).await;
}

#[tokio::test]
async fn every_kind_of_credentials_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_secret(&at("token"), "first\n");
    write_secret(&at("password"), "s3cret\n");
    let start = async |header: &str| FakeTarget::start(guarded(header)).await;
    // me:s3cret, me: and both through a form's escapes
    let basic = start("authorization: Basic bWU6czNjcmV0").await;
    let empty = start("authorization: Basic bWU6").await;
    let bearer = start("authorization: Bearer first").await;
    let custom = start("authorization: Token abc").await;
    let granted = start("authorization: Bearer granted").await;
    let tokens = FakeTarget::start(Answer::Page(
        JSON,
        r#"{"access_token": "granted", "token_type": "bearer", "expires_in": 3600}"#.to_owned(),
    ))
    .await;
    let refused = FakeTarget::start(Answer::Status("403 Forbidden".to_owned())).await;
    let oauth = |target: &FakeTarget| {
        format!(
            "oauth2: {{client_id: 'a b', client_secret: 'c:d', scopes: [x, y], token_url: 'http://{}/t', \
             endpoint_params: {{audience: z}}}}",
            target.address
        )
    };
    let (good, bad) = (oauth(&tokens), oauth(&refused));
    let jobs = [
        ("basic", "http", &basic, "basic_auth: {username: me, password: s3cret}"),
        ("basic-file", "http", &basic, "basic_auth: {username: me, password_file: password}"),
        ("basic-down", "http", &basic, "basic_auth: {username: me, password: wrong}"),
        ("basic-empty", "http", &empty, "basic_auth: {username: me}"),
        ("nobody-down", "http", &basic, ""),
        ("bearer", "http", &bearer, "authorization: {credentials: first}"),
        ("bearer-file", "http", &bearer, "authorization: {credentials_file: token}"),
        ("old-bearer", "http", &bearer, "bearer_token: first"),
        ("old-bearer-file", "http", &bearer, "bearer_token_file: token"),
        ("type", "http", &custom, "authorization: {type: Token, credentials: abc}"),
        ("oauth", "http", &granted, good.as_str()),
        ("oauth-down", "http", &granted, bad.as_str()),
    ];
    let text = config(&jobs);
    let (_process, theirs, ours) = both(folder.path(), &text).await;
    let asked = tokens.requests();
    let logins = asked.iter().filter(|head| head.contains("\r\nauthorization: basic ysti")).count();
    assert!(logins >= 2, "a+b:c%3Ad in both requests: {asked:#?}");

    // The token in the file changes, and the target wants the new one.
    write_secret(&at("token"), "second\n");
    bearer.set(guarded("authorization: Bearer second"));
    let moved = async || values(&ours.url, r#"up{job=~".*bearer.*"} == 1"#).await.len() == 2;
    wait::until(SOON, "the new token is used", moved).await;
    agree("after a new token", &ours.url, &theirs).await;
    for secret in ["s3cret", "first", "second", "granted", "c:d"] {
        let shown = format!("{:?}", ours.targets.snapshot());
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
}

#[tokio::test]
async fn headers_and_redirects() {
    let folder = tempfile::tempdir().unwrap();
    write_secret(&folder.path().join("tenant"), "team\n");
    let target = FakeTarget::start(guarded("x-scope-orgid: team")).await;
    let away = FakeTarget::page("a 1\n").await;
    let elsewhere = away.address.replace("127.0.0.1", "localhost");
    let moved = format!("302 Found\r\nlocation: http://{elsewhere}/");
    let moved = FakeTarget::start(Answer::Status(moved)).await;
    let nearby = format!("302 Found\r\nlocation: http://{}/", away.address);
    let nearby = FakeTarget::start(Answer::Status(nearby)).await;
    let jobs = [
        ("header", "http", &target, "http_headers: {X-Scope-OrgID: {files: [tenant]}}"),
        ("nobody-down", "http", &target, ""),
        ("moved-down", "http", &moved, "authorization: {credentials: hunter2}"),
        ("nearby", "http", &nearby, "authorization: {credentials: hunter2}"),
        ("nearby-header-down", "http", &nearby, "http_headers: {X-Key: {secrets: [hunter2]}}"),
        ("stays-down", "http", &nearby, "follow_redirects: false"),
        ("uncompressed", "http", &away, "enable_compression: false\nmetrics_path: /plain"),
    ];
    let ours = Scraper::start(settings(&folder.path().join("p.yml"), &config(&jobs))).await;
    let all = async || values(&ours.url, "count_over_time(up[1m]) >= 2").await.len() == jobs.len();
    wait::until(SOON, "two scrapes of all", all).await;
    for (labels, up) in values(&ours.url, "up").await {
        assert_eq!(up, if labels.contains("down\"") { "0" } else { "1" }, "{labels}");
    }
    for head in away.requests() {
        assert!(!head.contains("hunter2"), "{head}");
        let plain = head.starts_with("get /plain ");
        assert_eq!(head.contains("\r\naccept-encoding: identity\r\n"), plain, "{head}");
    }
}
