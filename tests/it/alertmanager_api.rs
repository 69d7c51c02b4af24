//! alertd as an Alertmanager: for amtool, for Prometheus, for whoever posts alerts and silences.

mod amtool;
mod intake;
mod prometheus;
mod silences;

use std::fs;
use std::path::Path;

use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::{programs, wait};
use reqwest::Method;
use serde_json::{Value, json};

/// Groups that are looked at all the time, so that a test need not wait for what it changed.
fn write(folder: &Path, hook: &str, more: &str) {
    let file = format!(
        "global: {{ resolve_timeout: 1h }}
route:
  receiver: team
  group_by: [alertname]
  group_wait: 0s
  group_interval: 200ms
  repeat_interval: 1h
  routes: [ {{ receiver: page, matchers: [severity=critical] }} ]
receivers:
  - {{ name: team, webhook_configs: [ {{ url: '{hook}' }} ] }}
  - {{ name: page, webhook_configs: [ {{ url: '{hook}?token=hidden' }} ] }}
inhibit_rules:
  - {{ source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [host] }}
"
    );
    fs::write(folder.join("alertmanager.yaml"), file).unwrap();
    let alertd = format!("data_dir: data\nnotifications: alertmanager.yaml\n{more}\n");
    fs::write(folder.join("alertd.yaml"), alertd).unwrap();
}

async fn run(folder: &Path, address: &str) -> Live {
    let file = folder.join("alertd.yaml");
    let arguments = ["run", "--config", file.to_str().unwrap(), "--listen", address];
    Live::ready(&programs::alertd(), &arguments, address, folder).await
}

async fn start(folder: &Path, hook: &str, more: &str) -> Live {
    write(folder, hook, more);
    run(folder, &free_address()).await
}

/// The answer to a request with a body, as status and JSON.
async fn send(live: &Live, method: Method, path: &str, body: Value) -> (u16, Value) {
    let answer = live.request(method, path).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn post(live: &Live, body: Value) -> (u16, Value) {
    send(live, Method::POST, "/api/v2/alerts", body).await
}

/// What the receivers were told of the alert of this name, in order.
fn told(hook: &FakeWebhook, name: &str) -> Vec<String> {
    let mut told = Vec::new();
    for request in hook.accepted() {
        for alert in request.body["alerts"].as_array().unwrap() {
            if alert["labels"]["alertname"] == name {
                told.push(alert["status"].as_str().unwrap().to_owned());
            }
        }
    }
    told
}

async fn until_told(hook: &FakeWebhook, name: &str, want: &[&str]) {
    wait::until(PATIENCE, &format!("{name}: {want:?}"), async || told(hook, name) == want).await;
}

/// The same over kills, each of which may fall between the receiver's answer and its record.
async fn until_told_over(kills: usize, hook: &FakeWebhook, name: &str, want: &[&str]) {
    wait::until(PATIENCE, &format!("{name}: {want:?}"), async || {
        let (mut once, all) = (told(hook, name), told(hook, name).len());
        once.dedup();
        once == want && all <= want.len() + kills
    })
    .await;
}

/// A wish for a silence from now on.
fn silence(name: &str, value: &str) -> Value {
    json!({
        "matchers": [ { "name": name, "value": value, "isRegex": false } ],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "ann", "comment": "known",
    })
}
