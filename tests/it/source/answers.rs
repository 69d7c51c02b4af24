//! What the client of the source makes of every answer, good and bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pitcrew_alertd::model::engine::{Engine, Value};
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::matcher::Matcher;
use pitcrew_alertd::model::querier::{Appender, Querier, StoreError};
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::source::RemoteSource;
use pitcrew_alertd::remote::source::config::SourceConfig;
use pitcrew_exporter::config::yaml;
use pitcrew_tests::fake_github::secret_file;
use pitcrew_tests::fake_source::{FakeSource, Reply, certificate};
use pitcrew_tests::process::tls;
use pitcrew_tests::wait;
use prometheus_client::registry::Registry;
use tokio::task::spawn_blocking;

fn source(keys: &str) -> RemoteSource {
    tls();
    let file = std::path::Path::new("alertd.yaml");
    let config: SourceConfig = yaml::parse(file, &format!("{{{keys}}}")).unwrap();
    config.check(file).unwrap();
    RemoteSource::new(&config, &mut Registry::default())
}

async fn ask(source: &RemoteSource) -> Result<Value, StoreError> {
    let source = source.clone();
    let work = move || source.instant("x", Timestamp(1500), &AtomicBool::new(false));
    spawn_blocking(work).await.unwrap().map(|answer| answer.value)
}

async fn write(source: &RemoteSource, count: usize) -> Result<usize, StoreError> {
    let source = source.clone();
    let one = |at: usize| {
        let labels = Labels::from_pairs([("__name__", "x"), ("n", &at.to_string())]);
        (labels, Sample { timestamp: Timestamp(1000), value: 1.0 })
    };
    let samples: Vec<_> = (0..count).map(one).collect();
    let written = spawn_blocking(move || source.append(&samples)).await.unwrap();
    written.map(|appended| appended.accepted)
}

#[tokio::test]
async fn answers_that_are_none() {
    let fake = FakeSource::start().await;
    let html = |status| Reply::Body(status, "text/html", "<html>\n sorry".to_owned());
    let cut = r#"{"status":"success","data":{"resultType":"vector","result":[{"met"#;
    for (reply, want, requests) in [
        (Reply::error("400 Bad Request", "bad_data"), "BadData(\"no\")", 1),
        (Reply::error("422 Unprocessable Entity", "execution"), "Execution(\"no\")", 1),
        (Reply::error("503 Service Unavailable", "timeout"), "TimedOut(\"no\")", 1),
        (
            Reply::error("500 Internal Server Error", "internal"),
            "Unavailable(\"source: internal: no",
            1,
        ),
        (
            html("422 Unprocessable Entity"),
            "Unavailable(\"source: 422 Unprocessable Entity <html> sorry\")",
            1,
        ),
        (
            html("503 Service Unavailable"),
            "Unavailable(\"source: 503 Service Unavailable <html> sorry",
            2,
        ),
        (html("200 OK"), "Unavailable(\"source: expected Prometheus' JSON", 1),
        (
            Reply::json("200 OK", cut),
            "Unavailable(\"source: expected Prometheus' JSON, found other text: EOF",
            1,
        ),
        (Reply::Cut(cut.to_owned()), "Unavailable(\"source: ", 2),
        (Reply::Close, "Unavailable(\"source: ", 2),
        (
            Reply::Flood(65 * 1024 * 1024),
            "Execution(\"source: answer is larger than 67108864 bytes",
            1,
        ),
        (Reply::Header("401 Unauthorized", "a: b".to_owned()), "Unavailable(\"source: 401", 1),
        (Reply::json("200 OK", "{}"), "Unavailable(\"source: expected Prometheus' JSON", 1),
    ] {
        let source = source(&format!("url: '{}', timeout: 20s", fake.url));
        fake.always(reply.clone());
        let error = format!("{:?}", ask(&source).await.unwrap_err());
        assert!(error.starts_with(want), "{reply:?}: {error}");
        assert_eq!(fake.take().len(), requests, "{reply:?}");
    }
    // A passing trouble is not seen at all.
    let source = source(&format!("url: '{}'", fake.url));
    fake.always(Reply::one("5"));
    fake.next([html("503 Service Unavailable")]);
    let Value::Vector(found) = ask(&source).await.unwrap() else { panic!("no vector") };
    assert_eq!(found[0].1.value, 5.0);
    assert_eq!(source.condition().trouble, None);
}

#[tokio::test]
async fn what_is_sent() {
    let fake = FakeSource::with_tls().await;
    let folder = tempfile::tempdir().unwrap();
    let token = secret_file(folder.path(), "token", "hush");
    let base = format!(
        "url: '{}/prometheus/', headers: {{X-Scope-OrgID: team-1}}, tls_config: {{ca_file: {}}}",
        fake.url,
        certificate().display()
    );
    for (keys, want) in [
        (format!("bearer_token_file: {}", token.display()), "Bearer hush"),
        ("authorization: {type: Token, credentials: abc}".to_owned(), "Token abc"),
        ("basic_auth: {username: a, password: b}".to_owned(), "Basic YTpi"),
    ] {
        let source = source(&format!("{base}, {keys}"));
        ask(&source).await.unwrap();
        fake.next([Reply::Header("204 No Content", "a: b".to_owned())]);
        assert_eq!(write(&source, 3).await.unwrap(), 3);
        let asked = fake.take();
        let [query, write] = &asked[..] else { panic!("{asked:?}") };
        for request in &asked {
            assert_eq!(request.headers["authorization"], want);
            assert_eq!(request.headers["x-scope-orgid"], "team-1");
        }
        assert_eq!((&*query.method, &*query.path), ("POST", "/prometheus/api/v1/query"));
        let form = String::from_utf8(query.body.clone()).unwrap();
        assert_eq!(form, "query=x&timeout=30000ms&nocache=1&partial_response=false&time=1.500");
        assert_eq!((&*write.method, &*write.path), ("POST", "/prometheus/api/v1/write"));
        for (name, want) in [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ] {
            assert_eq!(write.headers[name], want);
        }
        assert!(!write.body.is_empty());
    }
    // A certificate that nobody vouches for ends it before a secret is sent.
    let stranger = source(&format!("url: '{}', bearer_token: hush", fake.url));
    let error = ask(&stranger).await.unwrap_err().to_string();
    assert!(error.contains("certificate") && !error.contains("hush"), "{error}");
    assert!(fake.take().is_empty());
}

#[tokio::test]
async fn questions_about_names_go_to_their_endpoints() {
    let fake = FakeSource::start().await;
    let source = source(&format!("url: '{}'", fake.url));
    fake.always(Reply::json("200 OK", r#"{"status":"success","data":["b","a","b"]}"#));
    let (from, to) = (Timestamp(i64::MIN / 4), Timestamp(2000));
    let names = spawn_blocking(move || {
        let up = [Matcher::equal("__name__", "up")];
        let names = source.label_names(&[], from, to).unwrap();
        assert_eq!(source.label_values("job", &up, from, to).unwrap(), ["a", "b"]);
        names
    });
    assert_eq!(names.await.unwrap(), ["a", "b"]);
    let asked = fake.take();
    assert_eq!(asked[0].path, "/api/v1/labels");
    assert_eq!(asked[0].body, b"end=2.000");
    let path = "/api/v1/label/job/values?end=2.000&match%5B%5D=%7B__name__%3D%22up%22%7D";
    assert_eq!((&*asked[1].method, &*asked[1].path), ("GET", path));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let (fake, other) = (FakeSource::start().await, FakeSource::start().await);
    let elsewhere = other.url.replace("127.0.0.1", "localhost");
    fake.always(Reply::Header(
        "307 Temporary Redirect",
        format!("location: {elsewhere}/api/v1/query"),
    ));
    let source = source(&format!("url: '{}', bearer_token: hush", fake.url));
    let error = ask(&source).await.unwrap_err().to_string();
    assert!(error.contains("307") && error.contains("not followed"), "{error}");
    assert!(other.take().is_empty());
}

#[tokio::test]
async fn a_source_that_hangs_costs_one_time_out() {
    let fake = FakeSource::start().await;
    fake.always(Reply::Hang);
    let source = source(&format!("url: '{}', timeout: 300ms", fake.url));
    let error = ask(&source).await.unwrap_err();
    assert!(matches!(&error, StoreError::TimedOut(why) if why.contains("within 300ms")), "{error}");
    // One trivial question more, and then nothing for a second.
    for _ in 0..20 {
        let error = ask(&source).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    let asked = fake.take();
    assert!(asked.len() < 10, "{}", asked.len());
    assert!(source.condition().trouble.is_some());
    // It is found again by whoever asks next.
    fake.always(Reply::one("1"));
    wait::until(Duration::from_secs(30), "found again", async || ask(&source).await.is_ok()).await;
    assert_eq!(source.condition().trouble, None);
}

#[tokio::test]
async fn nobody_waits_for_an_answer_that_is_not_wanted_any_more() {
    let fake = FakeSource::start().await;
    fake.always(Reply::Hang);
    let source = source(&format!("url: '{}', timeout: 10m", fake.url));
    let cancel = Arc::new(AtomicBool::new(false));
    let (flag, asking) = (Arc::clone(&cancel), source.clone());
    let waiting = spawn_blocking(move || asking.instant("x", Timestamp(0), &flag));
    let mut asked = 0;
    wait::until(Duration::from_secs(30), "asked", async || {
        asked += fake.take().len();
        asked == 1
    })
    .await;
    cancel.store(true, Ordering::Relaxed);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Cancelled), "{error:?}");
}

#[tokio::test]
async fn writes_are_repeated_where_that_helps_and_go_in_order() {
    let fake = FakeSource::start().await;
    let status = |line| Reply::Header(line, "retry-after: 0".to_owned());
    fake.always(status("204 No Content"));
    let source = source(&format!("url: '{0}', remote_write_url: '{0}/push'", fake.url));
    for reply in
        [status("500 Internal Server Error"), status("429 Too Many Requests"), Reply::Close]
    {
        fake.next([reply]);
        assert_eq!(write(&source, 1).await.unwrap(), 1);
        let asked = fake.take();
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|one| one.path == "/push" && one.body == asked[0].body));
    }
    // A large batch is several requests; nothing is sent after one that was refused.
    assert_eq!(write(&source, 12_000).await.unwrap(), 12_000);
    assert_eq!(fake.take().len(), 3);
    let refusal = |why: &str| Reply::Body("400 Bad Request", "text/plain", why.to_owned());
    fake.next([status("204 No Content"), refusal("too many labels")]);
    let error = write(&source, 12_000).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::BadData(why) if why.contains("too many labels")),
        "{error:?}"
    );
    assert_eq!(fake.take().len(), 2);
    // A request with a sample too late is sent in halves: of 4, then 1 and 2, the third is refused.
    let late = || refusal("out of order sample");
    fake.next([late(), status("204 No Content"), late(), late()]);
    assert_eq!(write(&source, 4).await.unwrap(), 3);
    assert_eq!(fake.take().len(), 5);
    // All too late is an error, after no more than so many requests.
    fake.always(late());
    let error = write(&source, 3_000).await.unwrap_err();
    assert!(matches!(&error, StoreError::BadData(_)), "{error:?}");
    assert_eq!(fake.take().len(), 65);
    // Nobody there at all: an error, and no endless trying.
    fake.always(status("500 Internal Server Error"));
    let error = write(&source, 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("500")), "{error:?}");
    assert_eq!(fake.take().len(), 4);
}
