//! What alertd says of an alert through a kill, a restart, and a silent target.

use std::fs;
use std::path::Path;

use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use rustix::process::Signal;
use serde_json::Value;

const RULES: &str = "
groups:
- name: g
  interval: 200ms
  rules:
  - { alert: Bad, expr: bad == 1 }
  - { alert: Later, expr: bad == 1, for: 1h }
";

fn write(folder: &Path, target: &str, hook: &str) {
    fs::write(folder.join("rules.yaml"), RULES).unwrap();
    let alertd = format!(
        "data_dir: data
global: {{ scrape_interval: 2s, scrape_timeout: 1s }}
scrape_configs: [ {{ job_name: j, static_configs: [ {{ targets: ['{target}'] }} ] }} ]
rule_files: [rules.yaml]
rules: {{ own_alerts: false }}
notifications: alertmanager.yaml
"
    );
    fs::write(folder.join("alertd.yaml"), alertd).unwrap();
    let alertmanager = format!(
        "route: {{ receiver: r, group_wait: 0s, group_interval: 200ms, repeat_interval: 1h }}
receivers: [ {{ name: r, webhook_configs: [ {{ url: '{hook}' }} ] }} ]
"
    );
    fs::write(folder.join("alertmanager.yaml"), alertmanager).unwrap();
}

async fn run(folder: &Path) -> Live {
    let (address, file) = (free_address(), folder.join("alertd.yaml"));
    let arguments = ["run", "--config", file.to_str().unwrap(), "--listen", &address];
    Live::ready(&programs::alertd(), &arguments, &address, folder).await
}

/// State, begin and annotations of the alert.
async fn alert(live: &Live, name: &str) -> Option<(String, String, Value)> {
    let answer = live.json("/api/v1/alerts").await;
    let alerts = answer["data"]["alerts"].as_array().unwrap();
    let one = alerts.iter().find(|alert| alert["labels"]["alertname"] == name)?;
    let text = |key: &str| one[key].as_str().unwrap().to_owned();
    Some((text("state"), text("activeAt"), one["annotations"].clone()))
}

fn told(hook: &FakeWebhook) -> Vec<String> {
    let status = |body: &Value| body["status"].as_str().unwrap().to_owned();
    hook.accepted().iter().map(|request| status(&request.body)).collect()
}

#[tokio::test]
async fn an_alert_ends_only_when_something_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let target = FakeTarget::page("bad 1\n").await;
    let hook = FakeWebhook::start().await;
    write(folder.path(), &target.address, &hook.url);
    let live = run(folder.path()).await;
    wait::until(PATIENCE, "the first message", async || told(&hook) == ["firing"]).await;
    let (state, since, _) = alert(&live, "Bad").await.unwrap();
    let (later, later_since, _) = alert(&live, "Later").await.unwrap();
    assert_eq!((&*state, &*later), ("firing", "pending"));
    live.end(Signal::KILL).await;

    // The new one evaluates before its first scrape.
    let live = run(folder.path()).await;
    wait::until(PATIENCE, "four scrapes", async || {
        for (name, want, begin) in [("Bad", "firing", &since), ("Later", "pending", &later_since)] {
            let (state, since, _) = alert(&live, name).await.unwrap();
            assert_eq!((&*state, &since), (want, begin), "{name}");
        }
        live.value("count_over_time(up[1m])").await.is_some_and(|count| count >= 4.0)
    })
    .await;

    // Nobody knows whether it is still bad.
    target.set(Answer::Status("500 Broken".to_owned()));
    wait::until(PATIENCE, "the mark", async || {
        let (state, _, annotations) = alert(&live, "Bad").await.unwrap();
        assert_eq!(state, "firing");
        annotations["pitcrew_unverified"].as_str().is_some_and(|text| text.contains("scrape"))
    })
    .await;
    assert_eq!(told(&hook), ["firing"], "neither an end nor a repeat");

    target.set(Answer::Page(TEXT, "bad 0\n".to_owned()));
    wait::until(PATIENCE, "the end", async || told(&hook) == ["firing", "resolved"]).await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}
