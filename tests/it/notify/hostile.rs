//! Labels and annotations that try to be something else, through every receiver at once; and
//! receivers that misbehave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::model::alert::Alert;
use pitcrew_alertd::notify::Settings;
use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::config::GithubConfig;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_tests::alertmanager::Alertmanager;
use pitcrew_tests::fake_github::FakeGithub;
use pitcrew_tests::fake_github::settings::Settings as GithubSettings;
use pitcrew_tests::fake_webhook::{Answer, FakeWebhook};
use pitcrew_tests::services::{DISCORD, PAGERDUTY};
use pitcrew_tests::smtp_server::SmtpServer;
use pitcrew_tests::wait::until;

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(60);

/// One text for each thing that a label may try to be.
fn texts() -> Vec<String> {
    let plain = [
        "a\r\nBcc: evil@x.test\r\n\r\nbody",
        "a\n.\nQUIT\n",
        "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>",
        "<!channel> <@U123> <https://evil.test|click> *b* _i_ `c`",
        "@everyone @here <@&1> [click](https://evil.test) ||s|| **b**",
        "@octocat #1 owner/name#2 GH-3 https://github.com/o/r/issues/4",
        "```\n<!-- pitcrew:group:00000000000000000000000000000000 -->\n```",
        "{{ .Labels.secret }} {{ template \"x\" }} ${HOME} $(id) %s %n",
        "\u{0}\u{1}\u{7}\u{8}\u{b}\u{c}\u{1b}[31m\u{7f}\u{85}",
        "\u{202e}gnp.exe\u{2066}\u{200b}\u{feff}",
        // What is left of bytes that are no UTF-8, and of half a surrogate pair.
        "\u{fffd}\u{fffd} \u{1f525}\u{10ffff}",
        "\"}],\"routing_key\":\"x\",\"a\":[{\"b\":\"",
        "'; DROP TABLE outbox; --",
        "javascript:alert(1)",
        "",
    ];
    plain
        .into_iter()
        .map(str::to_owned)
        .chain(["x".repeat(65_536), "\u{1f525}*`<".repeat(16_384)])
        .collect()
}

fn alerts() -> Vec<Alert> {
    let texts = texts();
    let alerts = texts.iter().enumerate().map(|(at, text)| {
        let number = at.to_string();
        let mut alert = firing(&[
            ("alertname", "Hostile"),
            ("number", number.as_str()),
            ("severity", text.as_str()),
            ("instance", text.as_str()),
            ("runner", text.as_str()),
        ]);
        for name in ["summary", "description", "runbook_url", "dashboard_url"] {
            Arc::make_mut(&mut alert.annotations).insert(name.into(), text.clone());
        }
        alert.generator_url = text.as_str().into();
        alert
    });
    // In the group's own labels, and so in subjects and titles.
    let named = texts.iter().map(|text| firing(&[("alertname", text), ("number", "x")]));
    alerts.chain(named.filter(|alert| !alert.name().is_empty())).collect()
}

#[tokio::test]
async fn every_receiver_takes_everything_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = folder.path().join("peer.yaml");
    std::fs::write(&quiet, "{ route: { receiver: r }, receivers: [{ name: r }] }").unwrap();
    let peer = Alertmanager::start(&quiet).await;
    let smtp = SmtpServer::start(folder.path(), &[]).await;
    let (hook, slack) = (FakeWebhook::start().await, FakeWebhook::slack().await);
    let (discord, pager) =
        (FakeWebhook::strict(DISCORD).await, FakeWebhook::strict(PAGERDUTY).await);
    let github =
        FakeGithub::start(GithubSettings { rate_limit: 100_000, ..Default::default() }).await;
    let text = format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s }}
receivers:
  - name: team
    slack_configs: [ {{ api_url: '{}', send_resolved: true }} ]
    discord_configs: [ {{ webhook_url: '{}' }} ]
    pagerduty_configs: [ {{ url: '{}', routing_key: 0123456789abcdef0123456789abcdef }} ]
    webhook_configs: [ {{ url: '{}' }} ]
    email_configs:
      - {{ to: a@x.test, from: p@x.test, smarthost: 'localhost:{}', require_tls: false, send_resolved: true }}
",
        slack.url, discord.url, pager.url, hook.url, smtp.port
    );
    let own = format!(
        "[{{ name: team, github_issue: {{ repository: owner/name }}, \
            alertmanager: {{ urls: ['{}'] }}, webhook_signature: {{ secret: s }} }}]",
        peer.url
    );
    let config = GithubConfig {
        write_spacing: Duration::from_millis(1),
        write_burst: 1000,
        ..github.config(folder.path())
    };
    let settings = Settings {
        github: Some(Github::new(&config, GithubMetrics::default()).unwrap()),
        attempt_timeout: Duration::from_secs(20),
        ..hundredth()
    };
    let bench = Bench::start_unchecked(folder.path(), &text, &own, settings).await;
    let alerts = alerts();
    let groups = texts().len();
    bench.send(alerts.clone()).await;
    until(LIMIT, "every group is told", async || hook.accepted().len() == groups).await;
    until(LIMIT, "all is delivered", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    bench.send(alerts.iter().map(resolved).collect()).await;
    until(LIMIT, "every end is told", async || hook.accepted().len() == 2 * groups).await;
    until(LIMIT, "all is delivered", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    // Each strict receiver has taken all of it, and none has lost what it says.
    assert_eq!(bench.outbox.failures(20).await.unwrap(), []);
    let told: Vec<_> =
        [&slack, &discord, &pager].iter().map(|fake| fake.accepted().len()).collect();
    assert_eq!(told, [2 * groups; 3]);
    for alert in &alerts {
        let found = hook.accepted().iter().any(|request| {
            let alerts = request.body["alerts"].as_array().unwrap();
            let want = serde_json::to_value(alert.labels.to_map()).unwrap();
            alerts.iter().any(|found| found["labels"] == want)
        });
        assert!(found, "the webhook has {:?} as it is", alert.labels);
    }
    for mail in smtp.mails() {
        assert_eq!((mail.to.join(" "), mail.header("Bcc")), ("a@x.test".into(), String::new()));
        let parts = mail.parts();
        let html = parts[1].to_ascii_lowercase();
        for bad in ["<script", "<img", "javascript:alert(1)\"", "</td></table><"] {
            let own = if bad.starts_with("</td>") { 0 } else { html.matches(bad).count() };
            assert_eq!(own, 0, "{bad} in {html}");
        }
        assert!(!parts[0].contains(['\u{0}', '\u{1b}', '\u{202e}']), "{}", parts[0]);
    }
    for request in discord.accepted().iter().chain(&slack.accepted()) {
        let body = &request.raw;
        assert!(!body.contains("\"url\":\"javascript") && !body.contains("<!channel>"), "{body}");
    }
    let issues = github.with(|sim, _| sim.issues.all.clone());
    assert_eq!(issues.len(), groups);
    for issue in issues.values() {
        assert!(!issue.open && issue.body.starts_with("<!-- pitcrew:group:"), "{}", issue.body);
        assert!(!issue.title.contains("@o") && !issue.title.contains("#1"), "{}", issue.title);
    }
    bench.stop().await;
}

#[tokio::test]
async fn slack_that_says_no_with_200_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeWebhook::slack().await;
    slack.next([
        Answer::Says(r#"{"ok":false,"error":"ratelimited"}"#),
        Answer::Says(r#"{"ok":false,"error":"channel_not_found"}"#),
    ]);
    let text = format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }}
receivers: [ {{ name: team, slack_configs: [ {{ api_url: '{}', send_resolved: true }} ] }} ]
",
        slack.url
    );
    let bench = Bench::start(folder.path(), &text, hundredth()).await;
    bench.send(vec![firing(&[("alertname", "A")])]).await;
    until(LIMIT, "told anew while it fires", async || slack.requests().len() == 3).await;
    let failures = bench.outbox.failures(9).await.unwrap();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].error.contains("channel_not_found"), "{failures:?}");
    bench.stop().await;
}

/// Many notifications are told at once to come back later: they come back no sooner, and not all
/// in one moment.
#[tokio::test]
async fn a_storm_of_429_comes_back_spread() {
    let folder = tempfile::tempdir().unwrap();
    let hook = FakeWebhook::start().await;
    hook.always(Answer::RetryAfter(2));
    let text = format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }}
receivers: [ {{ name: team, webhook_configs: [ {{ url: '{}' }} ] }} ]
",
        hook.url
    );
    let settings = Settings { concurrency: 20, ..hundredth() };
    let bench = Bench::start(folder.path(), &text, settings).await;
    let names: Vec<_> = (0..20).map(|n| format!("A{n}")).collect();
    bench.send(names.iter().map(|name| firing(&[("alertname", name)])).collect()).await;
    let id = |request: &pitcrew_tests::fake_webhook::Request| {
        request.header("x-pitcrew-delivery").to_owned()
    };
    until(LIMIT, "all were refused", async || {
        hook.requests().iter().map(id).collect::<BTreeSet<_>>().len() == 20
    })
    .await;
    hook.always(Answer::Ok);
    until(LIMIT, "all are told", async || hook.accepted().len() == 20).await;
    let mut waits = Vec::new();
    for request in hook.accepted() {
        let requests = hook.requests();
        let refused = requests.iter().find(|other| id(other) == id(&request)).unwrap();
        waits.push(request.at.duration_since(refused.at));
    }
    waits.sort();
    assert!(waits[0] >= Duration::from_secs(2), "{waits:?}");
    assert!(waits[19] - waits[0] > Duration::from_millis(20), "{waits:?}");
    bench.stop().await;
}
