//! What goes over the wire, beside what the real Alertmanager sends, and a real SMTP dialogue.

use std::time::Duration;

use pitcrew_alertd::model::alert::Alert;
use pitcrew_alertd::notify::Settings;
use pitcrew_tests::alertmanager::Alertmanager;
use pitcrew_tests::fake_smtp::{FakeSmtp, Verdict};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::wait::until;
use serde_json::{Value, json};

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(15);

fn file(url: &str) -> String {
    format!(
        "
route:
  receiver: nobody
  routes:
    - receiver: te.am-1
      matchers: ['severity=~\"page|warn\"', job=ci]
      group_by: [alertname, job]
      group_wait: 500ms
      group_interval: 1s
      repeat_interval: 1h
receivers:
  - name: nobody
  - name: te.am-1
    webhook_configs: [ {{ url: '{url}', send_resolved: true, max_alerts: 2 }} ]
"
    )
}

fn three() -> Vec<Alert> {
    let alert = |instance, severity| {
        firing(&[("alertname", "A"), ("job", "ci"), ("instance", instance), ("severity", severity)])
    };
    vec![alert("b", "page"), alert("a", "page"), alert("c", "warn")]
}

fn posted(alerts: &[Alert]) -> Value {
    let one = |alert: &Alert| {
        json!({
            "labels": alert.labels.to_map(),
            "annotations": *alert.annotations,
            "startsAt": alert.starts_at.rfc3339(),
            "endsAt": alert.ends_at.rfc3339(),
            "generatorURL": *alert.generator_url,
        })
    };
    alerts.iter().map(one).collect()
}

#[tokio::test]
async fn webhook_payload_is_alertmanagers() {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (FakeWebhook::start().await, FakeWebhook::start().await);
    let path = folder.path().join("theirs.yaml");
    std::fs::write(&path, file(&theirs.url)).unwrap();
    let peer = Alertmanager::start(&path).await;
    let client = reqwest::Client::new();
    let settings = Settings { external_url: "http://x".into(), ..Settings::default() };
    let bench = Bench::start(folder.path(), &file(&ours.url), settings).await;
    let mut alerts = three();
    for (round, what) in ["firing", "one over", "all over"].into_iter().enumerate() {
        match round {
            1 => alerts[1] = resolved(&alerts[1]),
            2 => alerts = alerts.iter().map(resolved).collect(),
            _ => {}
        }
        let mut sent = alerts.clone();
        if round == 2 {
            sent.remove(1);
        }
        bench.send(sent.clone()).await;
        let url = format!("{}/api/v2/alerts", peer.url);
        let body = posted(&sent).to_string();
        let post = client.post(url).header("content-type", "application/json").body(body);
        assert_eq!(post.send().await.unwrap().status(), 200);
        until(LIMIT, what, async || {
            ours.requests().len() > round && theirs.requests().len() > round
        })
        .await;
        let (mine, other) = (&ours.requests()[round], &theirs.requests()[round]);
        let fields = |value: &Value| {
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove("externalURL").expect("both have one");
            value
        };
        assert_eq!(fields(&mine.body), fields(&other.body), "{what}");
        assert_eq!(mine.header("content-type"), other.header("content-type"));
        assert_eq!(mine.header("x-pitcrew-delivery").len(), 32);
    }
    bench.stop().await;
}

#[tokio::test]
async fn mail_tells_firing_and_resolved_in_one_thread() {
    let folder = tempfile::tempdir().unwrap();
    let smtp = FakeSmtp::start().await;
    smtp.next([Verdict::Refuse(451), Verdict::AcceptAndClose]);
    let text = format!(
        "
global:
  smtp_smarthost: '{}'
  smtp_from: Pitcrew <pit@x.test>
  smtp_auth_username: crew
  smtp_auth_password: hunter2
  smtp_require_tls: false
  smtp_hello: pitcrew.test
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1s }}
receivers:
  - name: team
    email_configs: [ {{ to: 'a@x.test, b@x.test', send_resolved: true }} ]
",
        smtp.address
    );
    let bench = Bench::start(folder.path(), &text, hundredth()).await;
    let alert = firing(&[("alertname", "A"), ("x", "</td><script>alert(1)</script>")]);
    bench.send(vec![alert.clone()]).await;
    until(LIMIT, "the firing mail and its repeat", async || smtp.mails().len() == 2).await;
    bench.send(vec![resolved(&alert)]).await;
    until(LIMIT, "the resolved mail", async || smtp.mails().len() == 3).await;
    let mails = smtp.mails();
    let first = &mails[0];
    assert_eq!((first.hello.as_str(), first.from.as_str()), ("pitcrew.test", "pit@x.test"));
    assert_eq!(first.to, ["a@x.test", "b@x.test"]);
    assert_eq!(first.login, Some(("crew".into(), "hunter2".into())));
    let ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert!(ids[0].ends_with("@x.test>") && ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
    assert_eq!((first.header("References"), mails[2].header("References")), ("", ids[0]));
    let subjects: Vec<_> = mails.iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(subjects, ["[FIRING:1] A", "[FIRING:1] A", "[RESOLVED] A"]);
    assert!(!first.text.contains("<script>"), "{}", first.text);
    let repeats = "pitcrew_alertd_notification_possible_repeats";
    assert!((bench.metric(repeats, "timeout") - 1.0).abs() < f64::EPSILON);
    bench.stop().await;
}

#[tokio::test]
async fn slack_takes_it_within_a_second_of_group_wait() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeWebhook::slack().await;
    let hook = folder.path().join("hook");
    std::fs::write(&hook, &slack.url).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&hook, mode).unwrap();
    let text = "
route: { receiver: team, group_by: [alertname], group_wait: 200ms, group_interval: 1s }
receivers:
  - name: team
    slack_configs: [ { api_url_file: hook, channel: '#ci', send_resolved: true } ]
";
    let bench = Bench::start(folder.path(), text, Settings::default()).await;
    // A busy machine is late now and then, and not each time.
    let (mut best, mut alerts) = (Duration::MAX, Vec::new());
    while best > Duration::from_millis(1200) {
        assert!(alerts.len() < 6, "took {best:?} at best");
        let name = format!("A{}", alerts.len());
        let alert = [("alertname", &*name), ("severity", "critical"), ("x", "<!channel> & co")];
        alerts.push(firing(&alert));
        let start = pitcrew_exporter::clock::monotonic();
        bench.send(vec![alerts[alerts.len() - 1].clone()]).await;
        until(LIMIT, "Slack was told", async || slack.accepted().len() == alerts.len()).await;
        best = best.min(slack.accepted()[alerts.len() - 1].at.duration_since(start));
    }
    bench.send(vec![resolved(&alerts[0])]).await;
    let told = alerts.len();
    until(LIMIT, "Slack was told the end", async || slack.accepted().len() == told + 1).await;
    let end = &slack.accepted()[told].body;
    assert!(end["text"].as_str().unwrap().starts_with("*[RESOLVED] A0*"), "{end}");
    until(LIMIT, "the outbox is empty", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    let latency = "pitcrew_alertd_notification_latency_seconds_count";
    assert!((bench.metric(latency, "slack") - told as f64).abs() < f64::EPSILON);
    bench.stop().await;
    for entry in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let leaked = bytes.windows(7).any(|seven| seven == b"hunter2");
        assert!(!leaked, "the secret part of the URL is on disk");
    }
}
