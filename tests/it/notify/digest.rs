//! The daily digest, by a real mail server and to Slack's webhook: once a day, also after a pause.

use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_alertd::db::Db;
use pitcrew_alertd::db::history::{Change, Episode, History};
use pitcrew_alertd::model::sample::Timestamp;
use pitcrew_alertd::notify::Settings;
use pitcrew_alertd::notify::digest::{self, DigestMetrics};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::smtp_server::SmtpServer;
use pitcrew_tests::wait::until;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::bench::configuration;

const LIMIT: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

fn began(name: &str, severity: &str, at: Timestamp) -> Change {
    Change::Began(Episode {
        fingerprint: format!("{name}{}", at.0),
        started_at: at,
        name: name.into(),
        severity: severity.into(),
        labels: "instance=<b>one</b>".into(),
        ended_at: None,
        told_at: None,
    })
}

#[tokio::test]
async fn one_a_day_and_the_missed_one_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (smtp, slack) = (SmtpServer::start(folder.path(), &[]).await, FakeWebhook::slack().await);
    std::fs::write(
        folder.path().join("alertmanager.yaml"),
        "{ route: { receiver: team }, receivers: [{ name: team }] }",
    )
    .unwrap();
    let own = format!(
        "[{{ name: team, digest: {{ at: '00:00', timezone: Europe/Berlin, severities: [info],
             email: {{ to: a@x.test, from: p@x.test, smarthost: 'localhost:{}', require_tls: false,
                       headers: {{ Subject: no, Reply-To: r@x.test }} }},
             slack: {{ api_url: '{}', channel: '#ci' }} }} }}]",
        smtp.port, slack.url
    );
    let config = Arc::new(configuration(folder.path(), &own));
    let db = Db::in_memory().unwrap();
    let history = History::new(db);
    let now = clock::now();
    let settings = Settings { external_url: "http://p.test/".into(), ..Settings::default() };
    let run = |stop: CancellationToken| {
        tokio::spawn(digest::run(
            Arc::clone(&config),
            settings.clone(),
            history.clone(),
            Arc::new(|_| Vec::new()),
            DigestMetrics::new(&mut Registry::default()),
            stop,
        ))
    };
    // The very first start begins to count and tells nothing.
    let stop = CancellationToken::new();
    let task = run(stop.clone());
    let key = "team/digest[0]";
    until(LIMIT, "it counts", async || history.covered(key.into()).await.unwrap().is_some()).await;
    stop.cancel();
    task.await.unwrap();
    assert!(smtp.mails().is_empty() && slack.requests().is_empty());

    // As if it had been down since the day before yesterday.
    let (then, early) = (now.minus(DAY * 2), now.minus(DAY + DAY / 2));
    history.cover(key.into(), then).await.unwrap();
    let changes = vec![
        began("Flaky", "info", early),
        began("Flaky", "info", early.plus(Duration::from_secs(60))),
        began("Down", "critical", early),
        Change::Ended {
            fingerprint: format!("Flaky{}", early.0),
            started_at: early,
            ended_at: early.plus(Duration::from_secs(600)),
        },
    ];
    history.write(changes).await.unwrap();
    for _ in 0..2 {
        let stop = CancellationToken::new();
        let task = run(stop.clone());
        until(LIMIT, "it is sent and recorded", async || {
            let covered = history.covered(key.into()).await.unwrap().unwrap();
            covered > then && smtp.mails().len() == 1
        })
        .await;
        stop.cancel();
        task.await.unwrap();
    }
    let mails = smtp.mails();
    assert_eq!((mails.len(), slack.accepted().len()), (1, 1), "once, over two starts");
    let mail = &mails[0];
    assert!(mail.header("Subject").contains("2 fired, 1 resolved, 1 firing"), "{mail:?}");
    assert_eq!(mail.header("Reply-To"), "r@x.test");
    assert!(mail.header("Message-ID").starts_with("<digest."), "{}", mail.header("Message-ID"));
    let parts = mail.parts();
    assert!(parts[0].contains("Flaky: 2 ×") && !parts[0].contains("Down"), "{}", parts[0]);
    assert!(parts[0].contains("Mean time to repair: 10m"), "{}", parts[0]);
    assert!(parts[1].contains("&lt;b&gt;one") && !parts[1].contains("<b>"), "{}", parts[1]);
    let text = slack.accepted()[0].body["text"].as_str().unwrap().to_owned();
    assert!(text.contains("&lt;b&gt;one") && text.contains("2 fired"), "{text}");
}
