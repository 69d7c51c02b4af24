//! A Prometheus as the source of all evaluation: what is asked of it and written to it, and what
//! happens while it is away.

mod alike;
mod answers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::{Appended, Appender};
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::source::RemoteSource;
use pitcrew_exporter::config::yaml;
use pitcrew_tests::fake_source::{FakeSource, Reply};
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::{free_address, tls};
use pitcrew_tests::{peers, programs, wait};
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::failover::lab::{Lab, POOL};

const RULES: &str = r#"
groups:
- name: chain
  rules:
  - {record: doubled, expr: x * 2}
  - alert: High
    expr: doubled > 2
    labels: {severity: page}
    annotations: {summary: 'x is {{ query "x" | first | value }}'}
  - {alert: Follows, expr: 'ALERTS{alertstate="firing", alertname="High"}'}
"#;

const SECOND: Duration = Duration::from_secs(1);
/// Of one request. Longer than any wait here: nothing may depend on its being over.
const TIMEOUT: &str = "10m";

const NOTIFICATIONS: &str = "
route: {receiver: hook, group_wait: 0s, group_interval: 1s, group_by: [alertname]}
receivers: [{name: hook, webhook_configs: [{url: URL}]}]
";

/// Debian's Prometheus, which scrapes `target` and takes remote writes.
async fn prometheus(folder: &Path, address: &str, target: &str) -> Live {
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs: [{{job_name: x, static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
        "--web.enable-remote-write-receiver".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Live::ready(&peers::prometheus(), &arguments, address, folder).await
}

async fn alertd(folder: &Path, source: &str, more: &str) -> Live {
    let address = free_address();
    let config = format!(
        "listen: {address}\ndata_dir: data\nglobal: {{evaluation_interval: 300ms}}\n\
         metrics: {{prometheus: {{url: 'http://{source}', timeout: {TIMEOUT}}}}}\n\
         rule_files: [rules.yaml]\n{more}"
    );
    let file = folder.join("alertd.yaml");
    std::fs::write(&file, config).unwrap();
    let arguments = ["run", "--config", file.to_str().unwrap()];
    Live::ready(&programs::alertd(), &arguments, &address, folder).await
}

/// The API at this address as a store.
fn remote(address: &str) -> Arc<RemoteSource> {
    tls();
    let keys = format!("{{url: 'http://{address}'}}");
    let config = yaml::parse(Path::new("alertd.yaml"), &keys).unwrap();
    Arc::new(RemoteSource::new(&config, &mut Registry::default()))
}

/// The rules of the one group.
async fn rules(alertd: &Live) -> Vec<Value> {
    let rules = alertd.json("/api/v1/rules").await;
    rules["data"]["groups"][0]["rules"].as_array().unwrap().clone()
}

async fn firing(alertd: &Live) -> usize {
    let rules = rules(alertd).await;
    rules.iter().filter(|rule| rule["state"] == "firing").count()
}

async fn asked(live: &Live, path: &str) -> Value {
    let mut answer = live.json(path).await;
    // Prometheus 2.42 says nothing else beside the data.
    answer.as_object_mut().unwrap().retain(|key, _| key == "data" || key == "status");
    answer
}

fn resolved(webhook: &FakeWebhook) -> usize {
    webhook.requests().iter().filter(|request| request.body["status"] == "resolved").count()
}

#[tokio::test]
async fn a_prometheus_is_asked_written_to_and_waited_for() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = FakeTarget::page("x 1\n").await;
    let webhook = FakeWebhook::start().await;
    let address = free_address();
    let source = prometheus(theirs.path(), &address, &target.address).await;
    wait::until(PATIENCE, "x is scraped", async || source.value("x").await == Some(1.0)).await;
    std::fs::write(ours.path().join("rules.yaml"), RULES).unwrap();
    let notifications = NOTIFICATIONS.replace("URL", &webhook.url);
    std::fs::write(ours.path().join("alertmanager.yaml"), notifications).unwrap();
    let alertd = alertd(ours.path(), &address, "notifications: alertmanager.yaml\n").await;
    let doubled = async |live: &Live| live.value("doubled").await;
    wait::until(PATIENCE, "a recording", async || doubled(&source).await == Some(2.0)).await;
    assert_eq!(firing(&alertd).await, 0);

    // Each rule reads in the same cycle what the one before it wrote.
    target.set(Answer::Page(TEXT, "x 2\n".to_owned()));
    wait::until(PATIENCE, "both fire", async || firing(&alertd).await == 2).await;
    let query = "/api/v1/query?query=doubled%5B5m%5D";
    let matrix = source.json(query).await;
    let points = matrix["data"]["result"][0]["values"].as_array().unwrap();
    let first = points.iter().find(|point| point[1] == "4").unwrap()[0].as_f64().unwrap();
    for rule in &rules(&alertd).await[1..] {
        let alert = &rule["alerts"][0];
        let at = alert["activeAt"].as_str().unwrap();
        let at = Timestamp::parse_rfc3339(at).unwrap();
        assert_eq!(at.seconds(), first, "{rule}");
        assert_eq!(rule["health"], "ok");
    }
    wait::until(PATIENCE, "told", async || {
        webhook.log().mentions("\"Follows\"") && webhook.log().mentions("x is 2")
    })
    .await;
    for name in ["High", "Follows"] {
        let series = format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}");
        let since = format!("ALERTS_FOR_STATE{{alertname=\"{name}\"}}");
        assert_eq!(source.value(&series).await, Some(1.0), "{name}");
        assert_eq!(source.value(&since).await, Some(first.floor()), "{name}");
    }

    // The query API answers what the source answers, and the embedded store is empty.
    let range = format!("start={first}&end={}&step=1", first + 1.0);
    for path in [
        format!("/api/v1/query?query=doubled&time={first}"),
        format!("/api/v1/query?query=doubled%5B1s%5D&time={first}"),
        format!("/api/v1/query?query=1%2B1&time={first}"),
        format!("/api/v1/query_range?query=sum(ALERTS)&{range}"),
        "/api/v1/label/alertname/values".to_owned(),
        "/api/v1/labels?match[]=x".to_owned(),
        "/api/v1/series?match[]=doubled".to_owned(),
    ] {
        assert_eq!(asked(&alertd, &path).await, asked(&source, &path).await, "{path}");
    }
    let (status, wrong) = alertd
        .try_get("/api/v1/query?query=x%20*%20on()%20%7B__name__=~%22.%2B%22%7D")
        .await
        .unwrap();
    assert_eq!(status, 422, "{wrong}");
    assert!(wrong.contains("\"execution\"") && wrong.contains("many-to-many"), "{wrong}");
    assert_eq!(alertd.metric("pitcrew_alertd_tsdb_series").await, Some(0.0));
    assert_eq!(alertd.text("/-/ready").await, format!("ready\nsource http://{address}\n"));
    let page = alertd.json("/status.json").await;
    assert_eq!(page["hosts"][0]["instance"], target.address.as_str(), "{page}");
    assert_eq!(page["hosts"][0]["health"], "up", "{page}");

    // Gone: nothing ends, and everybody can see why.
    let end = source.end(rustix::process::Signal::KILL).await;
    assert_eq!(end.0, None);
    wait::until(PATIENCE, "the rules fail", async || {
        rules(&alertd).await.iter().all(|rule| rule["health"] == "err")
    })
    .await;
    assert_eq!(firing(&alertd).await, 2);
    let rule = rules(&alertd).await.remove(1);
    assert!(rule["lastError"].as_str().unwrap().contains("source: "), "{rule}");
    assert!(rule["alerts"][0]["annotations"].to_string().contains("verified"), "{rule}");
    assert!(alertd.text("/-/ready").await.contains(" is away: "));
    let page = alertd.json("/status.json").await;
    assert_eq!(page["verdict"]["text"], "The source of metrics does not answer", "{page}");
    // `DatasourceDown` is pending from about now on.
    let fires = |alert: &&Value| alert["state"] == "firing";
    assert_eq!(page["alerts"].as_array().unwrap().iter().filter(fires).count(), 2, "{page}");
    let up = "pitcrew_alertd_source_up{direction=\"read\"}";
    assert_eq!(alertd.metric(up).await, Some(0.0));
    let (status, body) = alertd.try_get("/api/v1/query?query=x").await.unwrap();
    assert_eq!(status, 503, "{body}");
    assert_eq!(resolved(&webhook), 0);

    // Back: the same alerts go on, and end when their reason does.
    let source = prometheus(theirs.path(), &address, &target.address).await;
    wait::until(PATIENCE, "the rules work", async || {
        rules(&alertd).await.iter().all(|rule| rule["health"] == "ok")
    })
    .await;
    assert_eq!(firing(&alertd).await, 2);
    assert_eq!(resolved(&webhook), 0);
    assert_eq!(alertd.metric(up).await, Some(1.0));
    target.set(Answer::Page(TEXT, "x 1\n".to_owned()));
    wait::until(PATIENCE, "both are over", async || firing(&alertd).await == 0).await;
    wait::until(PATIENCE, "both are told over", async || resolved(&webhook) == 2).await;
    // Ended by markers, not by five minutes of waiting.
    assert_eq!(source.value("count(ALERTS)").await, None);
    assert_eq!(doubled(&source).await, Some(2.0));
    assert_eq!(alertd.end(rustix::process::Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn what_alertd_scrapes_goes_to_the_source() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = FakeTarget::page("y{a=\"b\"} 7\n").await;
    let address = free_address();
    let source = prometheus(theirs.path(), &address, "127.0.0.1:1").await;
    std::fs::write(ours.path().join("rules.yaml"), "groups: []\n").unwrap();
    let scrape = format!(
        "scrape_configs: [{{job_name: mine, scrape_interval: 200ms, scrape_timeout: 200ms, \
         static_configs: [{{targets: ['{}']}}]}}]\n",
        target.address
    );
    let alertd = alertd(ours.path(), &address, &scrape).await;
    wait::until(PATIENCE, "y arrives", async || {
        source.value("y{a=\"b\",job=\"mine\"}").await == Some(7.0)
    })
    .await;
    assert_eq!(alertd.value("up{job=\"mine\"}").await, Some(1.0));
    target.set(Answer::Page(TEXT, "z 1\n".to_owned()));
    wait::until(PATIENCE, "y ends", async || {
        source.value("z").await == Some(1.0) && source.value("y").await.is_none()
    })
    .await;
    assert_eq!(alertd.metric("pitcrew_alertd_tsdb_series").await, Some(0.0));
    let written = alertd.metric("pitcrew_alertd_source_samples_total{outcome=\"written\"}").await;
    assert!(written > Some(10.0), "{written:?}");
}

#[tokio::test]
async fn a_source_that_hangs_hides_neither_the_page_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeSource::start().await;
    fake.always(Reply::Hang);
    std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    let address = fake.url.trim_start_matches("http://").to_owned();
    let alertd = alertd(folder.path(), &address, "").await;
    wait::until(PATIENCE, "asked", async || !fake.take().is_empty()).await;
    let (status, page) = alertd.try_get("/").await.unwrap();
    assert_eq!(status, 200, "{page}");
    wait::until(PATIENCE, "away", async || {
        let page = alertd.text("/").await;
        page.contains("The source of metrics does not answer") && page.contains(&fake.url)
    })
    .await;
    assert!(alertd.log().contains("source is away"), "{}", alertd.log());
    // Long before the request that hangs would be given up.
    assert_eq!(alertd.end(rustix::process::Signal::TERM).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_fails_over_and_back_on_what_the_source_holds() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let _theirs = prometheus(folder.path(), &address, "127.0.0.1:1").await;
    let lab = Lab::start_over(remote(&address), POOL, Lab::settings(), |_| {}).await;
    assert_eq!(lab.now().state, "normal");
    lab.kill("a");
    lab.until_state("on_backup").await;
    assert_eq!(lab.labelled(), ["b-1", "b-2", "b-3", "b-4"]);
    lab.heal("a", 8);
    lab.until_state("normal").await;
    assert!(lab.labelled().starts_with(&["a-1".to_owned()]));
}

#[tokio::test]
async fn one_sample_that_comes_too_late_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let theirs = prometheus(folder.path(), &address, "127.0.0.1:1").await;
    let remote = remote(&address);
    let now = clock::now();
    let put = |n: usize, at: Timestamp, value: f64| {
        let labels = Labels::from_pairs([("__name__", "x"), ("n", &n.to_string())]);
        (labels, Sample { timestamp: at, value })
    };
    let first: Vec<_> = (0..100).map(|n| put(n, now, 1.0)).collect();
    let mut second: Vec<_> = (0..100).map(|n| put(n, now.plus(SECOND), 2.0)).collect();
    second[37].1.timestamp = now.minus(SECOND);
    second[80].1.timestamp = now;
    let written = tokio::task::spawn_blocking(move || {
        assert_eq!(remote.append(&first).unwrap().accepted, 100);
        // The same again is accepted silently.
        assert_eq!(remote.append(&first).unwrap().accepted, 100);
        remote.append(&second).unwrap()
    });
    let Appended { accepted, out_of_order, duplicate, .. } = written.await.unwrap();
    assert_eq!((accepted, out_of_order, duplicate), (98, 1, 1));
    let seen = format!("count(x @ {} == 2)", now.plus(SECOND).seconds());
    assert_eq!(theirs.value(&seen).await, Some(98.0));
}
