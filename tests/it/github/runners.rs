//! Labels through the client; a runner's protocol and the webhooks of the simulator.

use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_exporter::github::error::GithubError;
use pitcrew_exporter::github::model::RunnerStatus;
use pitcrew_tests::fake_github::ledger::{Tally, check};
use pitcrew_tests::fake_github::settings::{Settings, Webhook};
use pitcrew_tests::fake_runner::protocol::{self, Registration, Session};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::wait;
use ring::hmac;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn labels_come_and_go_whatever_they_are_called() {
    let github = FakeGithub::start(Settings::default()).await;
    let id = register(&github, "a", &["keep"]);
    let (_folder, mut config) = config(&github);
    config.write_spacing = Duration::ZERO;
    let client = client(&config);
    let has = async |name: &str| {
        let labels = client.runner_labels(&scope(), id).await.unwrap();
        labels.iter().any(|label| label.name == name)
    };
    for label in ["ci-active", "a b", "ü", "x/../y", "50%", "a?b#c", "...."] {
        for _ in 0..2 {
            let labels = client.add_label(&scope(), id, label).await.unwrap();
            assert_eq!(labels.iter().filter(|held| held.name == label).count(), 1, "{label}");
        }
        assert!(has(label).await, "{label}");
        for _ in 0..2 {
            client.remove_label(&scope(), id, label).await.unwrap();
        }
        assert!(!has(label).await && has("keep").await, "{label}");
    }
    let error = client.remove_label(&scope(), id, "linux").await.unwrap_err();
    assert!(
        matches!(&error, GithubError::Rejected { status: 422, message, .. } if message.contains("read-only"))
    );
    let error = client.add_label(&scope(), id, "").await.unwrap_err();
    assert!(matches!(error, GithubError::Rejected { status: 422, .. }), "{error}");
    register(&github, "a", &[]);
    for error in [
        client.add_label(&scope(), id, "x").await.unwrap_err(),
        client.remove_label(&scope(), id, "x").await.unwrap_err(),
    ] {
        assert!(matches!(error, GithubError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn writes_are_spaced_after_the_burst() {
    let github = FakeGithub::start(Settings::default()).await;
    let id = register(&github, "a", &[]);
    let (_folder, mut config) = config(&github);
    config.write_burst = 2;
    config.write_spacing = Duration::from_millis(300);
    let client = client(&config);
    let start = clock::monotonic();
    for label in ["a", "b", "c", "d"] {
        client.add_label(&scope(), id, label).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(550), "{:?}", start.elapsed());
}

/// A registered runner's side of the protocol.
async fn session(github: &FakeGithub, name: &str, labels: &[&str]) -> Session {
    let registration = Registration {
        name: name.to_owned(),
        labels: labels.iter().map(|label| label.to_string()).collect(),
        scope: REPOSITORY.to_owned(),
        os: "Linux".to_owned(),
        group: "Default".to_owned(),
    };
    let registered = protocol::register(&github.url, &registration).await.unwrap();
    Session::new(&github.url, registered.id, &registered.token)
}

async fn post(github: &FakeGithub, path: &str, body: serde_json::Value) {
    let url = format!("{}/_sim/{path}", github.url);
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}

#[tokio::test]
async fn a_label_lets_waiting_jobs_onto_a_runner_and_webhooks_tell() {
    let hook = FakeWebhook::start().await;
    let github = FakeGithub::start(Settings { offline_after: 1.0, ..Settings::default() }).await;
    let webhook = Webhook {
        url: hook.url.clone(),
        secret: "s3cret".to_owned(),
        events: vec!["workflow_job".to_owned()],
        ..Webhook::default()
    };
    post(&github, "settings", json!({ "webhooks": [webhook] })).await;
    let backup = session(&github, "backup", &["backup"]).await;
    post(
        &github,
        "jobs",
        json!({ "repository": REPOSITORY, "labels": ["ci"], "result": "failed" }),
    )
    .await;
    assert!(backup.poll(Duration::from_millis(100)).await.unwrap().is_none());
    let (_folder, config) = config(&github);
    let client = client(&config);
    let runners = client.runners(&scope()).await.unwrap();
    assert_eq!(runners[0].status, RunnerStatus::Online);

    let waiting = tokio::spawn(async move {
        let job = backup.poll(Duration::from_secs(20)).await.unwrap().unwrap();
        (backup, job)
    });
    client.add_label(&scope(), runners[0].id, "CI").await.unwrap();
    let (backup, job) = waiting.await.unwrap();
    assert_eq!(job.result, "failed");
    backup.heartbeat(job.id).await.unwrap();
    backup.complete(job.id, &job.result).await.unwrap();
    assert!(backup.complete(job.id, "succeeded").await.is_err());
    let tally = check(&github.ledger()).unwrap();
    assert_eq!(tally, Tally { queued: 1, completed: 1, ..Tally::default() });
    let offline =
        async || client.runners(&scope()).await.unwrap()[0].status == RunnerStatus::Offline;
    wait::until(LIMIT, "the silent runner is shown offline", offline).await;

    wait::until(LIMIT, "three deliveries", async || hook.requests().len() == 3).await;
    let mut actions = Vec::new();
    for request in hook.requests() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
        let sent =
            request.headers["x-hub-signature-256"].strip_prefix("sha256=").unwrap().to_owned();
        let body = request.body.to_string();
        let want: String = hmac::sign(&key, body.as_bytes())
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(sent, want);
        assert_eq!(request.headers["x-github-event"], "workflow_job");
        assert_eq!(request.body["workflow_job"]["id"], job.id);
        actions.push(request.body["action"].as_str().unwrap().to_owned());
    }
    actions.sort();
    assert_eq!(actions, ["completed", "in_progress", "queued"]);
}
