//! Slack's incoming webhook when it was revoked, and when it is asked too often.

use std::time::Duration;

use pitcrew_tests::fake_webhook::{Answer, FakeWebhook};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::programs;
use pitcrew_tests::wait::until;
use reqwest::Method;
use serde_json::json;

use super::bench::{Bench, firing, hundredth};

const LIMIT: Duration = Duration::from_secs(20);

fn slack(hook: &FakeWebhook) -> String {
    format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1h }}
receivers:
  - {{ name: team, slack_configs: [ {{ api_url: '{}', channel: '#ci', send_resolved: true }} ] }}
",
        hook.url
    )
}

/// 404 (no_service) and 410 (channel_is_archived) are for good: nothing is tried again, and the
/// second path tells it, with Slack's word and without the webhook's address.
#[tokio::test]
async fn a_revoked_webhook_is_told_by_the_second_path() {
    for gone in [404, 410] {
        let folder = tempfile::tempdir().unwrap();
        let (hook, other) = (FakeWebhook::slack().await, FakeWebhook::start().await);
        hook.always(Answer::Status(gone));
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let second =
            format!("  - {{ name: second, webhook_configs: [ {{ url: '{}' }} ] }}\n", other.url);
        write("am.yaml", &(slack(&hook) + &second));
        write(
            "rules.yaml",
            "groups: [ { name: g, interval: 1s, rules: [ { record: one, expr: vector(1) } ] } ]",
        );
        write(
            "alertd.yaml",
            "data_dir: data\nnotifications: am.yaml\nrule_files: [rules.yaml]\n\
             delivery: { failure_receiver: second }\n",
        );
        let address = free_address();
        let file = folder.path().join("alertd.yaml");
        let arguments = ["run", "--config", file.to_str().unwrap(), "--listen", &address];
        let live = Live::ready(&programs::alertd(), &arguments, &address, folder.path()).await;
        let alert = json!([ { "labels": { "alertname": "Lost", "severity": "critical" } } ]);
        let posted = live.request(Method::POST, "/api/v2/alerts").json(&alert).send().await;
        assert_eq!(posted.unwrap().status(), 200);
        until(PATIENCE, "the second path", async || {
            other
                .accepted()
                .iter()
                .any(|request| request.body["commonLabels"]["alertname"] == "NotificationsFailing")
        })
        .await;
        let told = other.accepted().remove(0).body.to_string();
        assert!(told.contains(&gone.to_string()) && told.contains("team"), "{told}");
        assert!(told.contains("runbooks/NotificationsFailing.md"), "{told}");
        assert!(!told.contains("hunter2") && !live.log().contains("hunter2"), "{told}");
        assert_eq!(hook.requests().len(), 1, "for good means once for each look at the group");
        let shown = live.text("/").await;
        assert!(shown.contains("NotificationsFailing"), "{shown}");
    }
}

/// Thirty groups, and an answer of 429 to each of the first hundred requests.
#[tokio::test]
async fn a_storm_of_429_delays_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hook = FakeWebhook::slack().await;
    let busy = [Answer::TooMany(r#"{"retry_after":0.05}"#), Answer::Status(429)];
    hook.next(busy.into_iter().cycle().take(100));
    let bench = Bench::start(folder.path(), &slack(&hook), hundredth()).await;
    let names: Vec<String> = (0..30).map(|n| format!("Storm{n:02}")).collect();
    bench.send(names.iter().map(|name| firing(&[("alertname", name)])).collect()).await;
    until(LIMIT, "all are told", async || hook.accepted().len() >= 30).await;
    until(LIMIT, "the outbox is empty", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    let told: Vec<String> = hook.accepted().iter().map(|one| one.body.to_string()).collect();
    for name in &names {
        let times = told.iter().filter(|text| text.contains(name.as_str())).count();
        assert_eq!(times, 1, "{name}");
    }
    assert_eq!((told.len(), hook.requests().len()), (30, 130));
    assert_eq!(bench.outbox.failures(9).await.unwrap(), []);
    bench.stop().await;
}
