//! `alerting` of alertd.yaml: a real Alertmanager behind alertd's rules, and the set-up in which the
//! public compliance suite finds alertd.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::{Protocol, encode};
use pitcrew_tests::alertmanager::Alertmanager;
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::programs::{self, workspace};
use pitcrew_tests::wait::until;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;

const RULES: &str = "
groups:
- name: g
  interval: 500ms
  rules:
  - { alert: Bad, expr: bad == 1, labels: { severity: page }, annotations: { summary: 'it is {{ $value }}' } }
";

async fn run(folder: &Path, address: &str) -> Live {
    let file = folder.join("alertd.yaml");
    let arguments = ["run", "--config", file.to_str().unwrap(), "--listen", address];
    Live::ready(&programs::alertd(), &arguments, address, folder).await
}

/// What fires by Alertmanager's word.
async fn active(url: &str) -> Vec<Value> {
    let answer = reqwest::get(format!("{url}/api/v2/alerts")).await;
    match answer {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// What its receiver was told of the alert, each state once.
fn told(hook: &FakeWebhook) -> Vec<String> {
    let states = hook.accepted().into_iter().map(|request| request.body["status"].clone());
    let mut states: Vec<String> =
        states.map(|state| state.as_str().unwrap_or_default().to_owned()).collect();
    states.dedup();
    states
}

#[tokio::test]
async fn a_real_alertmanager_hears_of_every_alert_through_kills_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (hook, target) = (FakeWebhook::start().await, FakeTarget::page("bad 1\n").await);
    let (address, peer) = (free_address(), free_address());
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    let config = format!(
        "data_dir: data
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {{ site: north }} }}
rule_files: [rules.yaml]
rules: {{ resend_delay: 1s }}
alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['{peer}'] }} ] }} ] }}
scrape_configs: [ {{ job_name: j, static_configs: [ {{ targets: ['{}'] }} ] }} ]
",
        target.address
    );
    fs::write(folder.path().join("alertd.yaml"), config).unwrap();
    let theirs = folder.path().join("am.yaml");
    let text = format!(
        "route: {{ receiver: r, group_wait: 0s, group_interval: 200ms, repeat_interval: 1h }}
receivers: [ {{ name: r, webhook_configs: [ {{ url: '{}' }} ] }} ]
",
        hook.url
    );
    fs::write(&theirs, text).unwrap();

    let live = run(folder.path(), &address).await;
    let am = Alertmanager::start_at(&theirs, &peer).await;
    until(PATIENCE, "it fires there", async || active(&am.url).await.len() == 1).await;
    let first = active(&am.url).await.remove(0);
    let (labels, notes) = (&first["labels"], &first["annotations"]);
    assert_eq!((&labels["alertname"], &labels["severity"]), (&"Bad".into(), &"page".into()));
    assert_eq!((&labels["site"], &notes["summary"]), (&"north".into(), &"it is 1".into()));
    let link = first["generatorURL"].as_str().unwrap();
    assert!(link.contains("/graph?g0.expr=bad"), "{link}");
    until(PATIENCE, "its receiver hears", async || told(&hook) == ["firing"]).await;

    live.end(Signal::KILL).await;
    let live = run(folder.path(), &address).await;
    let updated = first["updatedAt"].clone();
    until(PATIENCE, "it is told again", async || {
        let now = active(&am.url).await;
        now.len() == 1 && now[0]["updatedAt"] != updated && now[0]["startsAt"] == first["startsAt"]
    })
    .await;

    // It has no alert on disk.
    am.kill().await;
    let am = Alertmanager::start_at(&theirs, &peer).await;
    until(PATIENCE, "it is told to the new one", async || {
        let now = active(&am.url).await;
        now.len() == 1 && now[0]["startsAt"] == first["startsAt"]
    })
    .await;

    // Ends while nobody listens: the end is told for a while.
    until(PATIENCE, "its receiver hears again", async || hook.accepted().len() >= 2).await;
    am.terminate().await;
    target.set(Answer::Page(TEXT, "bad 0\n".to_owned()));
    until(PATIENCE, "it is over", async || live.value("count(ALERTS)").await.is_none()).await;
    let am = Alertmanager::start_at(&theirs, &peer).await;
    until(PATIENCE, "its end is told", async || told(&hook) == ["firing", "resolved"]).await;
    assert_eq!(active(&am.url).await, Vec::<Value>::new());
}

/// With the suite's own way to write and ask, and shorter groups.
#[tokio::test]
async fn the_suite_finds_its_doors() {
    let folder = tempfile::tempdir().unwrap();
    let (suite, address) = (FakeWebhook::start().await, free_address());
    let here = workspace().join("tests/compliance");
    let config = fs::read_to_string(here.join("alertd.yaml")).unwrap();
    assert!(config.contains("127.0.0.1:8080") && config.contains("rule_files: [rules.yaml]"));
    let receiver = suite.url.split('/').nth(2).unwrap();
    fs::write(folder.path().join("alertd.yaml"), config.replace("127.0.0.1:8080", receiver))
        .unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    let settings = fs::read_to_string(here.join("suite.yaml")).unwrap();
    for door in ["http://127.0.0.1:9611/api/v1/write", "port: 8080"] {
        assert!(settings.contains(door), "{door}");
    }
    let live = run(folder.path(), &address).await;
    let now = Timestamp(clock::now().0 / 1000 * 1000);
    let sample = Sample { timestamp: now, value: 1.0 };
    let body =
        encode::samples(Protocol::V1, &[(Labels::from_pairs([("__name__", "bad")]), sample)]);
    let request = live.request(Method::POST, "/api/v1/write");
    let request = request.header(CONTENT_TYPE, "application/x-protobuf");
    let request = request.header(CONTENT_ENCODING, "snappy");
    let answer = request.header("X-Prometheus-Remote-Write-Version", "0.1.0").body(body);
    assert_eq!(answer.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    until(PATIENCE, "the suite is told", async || !suite.accepted().is_empty()).await;
    let alerts = &suite.accepted()[0].body;
    let want = serde_json::json!({ "alertname": "Bad", "severity": "page" });
    assert_eq!(alerts[0]["labels"], want, "{alerts}");
    // Asked for a whole second, it answers with that second.
    let then = Timestamp(clock::now().0 / 1000 * 1000 + 1000);
    until(PATIENCE, "that second", async || clock::now() > then.plus(Duration::from_millis(500)))
        .await;
    let path = format!("/api/v1/query?query=ALERTS&time={}", &then.rfc3339().replace(".000Z", "Z"));
    let found = live.json(&path).await["data"]["result"].take();
    let metric = serde_json::json!({
        "__name__": "ALERTS", "alertname": "Bad", "alertstate": "firing", "severity": "page",
    });
    assert_eq!(found[0]["metric"], metric, "{found}");
    assert_eq!(found[0]["value"], serde_json::json!([then.0 / 1000, "1"]));
    assert_eq!(found.as_array().unwrap().len(), 1);
    for path in ["/api/v1/rules", "/api/v1/alerts"] {
        assert_eq!(live.json(path).await["status"], "success", "{path}");
    }
}
