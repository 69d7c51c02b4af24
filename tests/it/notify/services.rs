//! What Discord, PagerDuty, webhooks and other Alertmanagers are sent, as strict as they take it.

use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_alertd::model::alert::Alert;
use pitcrew_alertd::model::sample::Timestamp;
use pitcrew_tests::alertmanager::Alertmanager;
use pitcrew_tests::fake_webhook::{Answer, FakeWebhook};
use pitcrew_tests::process::free_address;
use pitcrew_tests::services::{DISCORD, PAGERDUTY, PAGERDUTY_OLD};
use pitcrew_tests::wait::until;
use ring::hmac;
use serde_json::Value;

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(20);
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

fn file(kind: &str, keys: &str) -> String {
    format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }}
receivers:
  - name: team
    {kind}_configs: [ {{ send_resolved: true, {keys} }} ]
"
    )
}

fn alert() -> Alert {
    firing(&[("alertname", "A"), ("severity", "critical"), ("instance", "h:1"), ("x", "@everyone")])
}

/// Tells an alert and its end; both have to be taken, and nothing refused.
async fn both(bench: &Bench, fake: &FakeWebhook) {
    let alert = alert();
    bench.send(vec![alert.clone()]).await;
    until(LIMIT, "it is told", async || fake.accepted().len() == 1).await;
    bench.send(vec![resolved(&alert)]).await;
    until(LIMIT, "its end is told", async || fake.accepted().len() == 2).await;
    until(LIMIT, "it is recorded", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(bench.outbox.failures(9).await.unwrap(), []);
}

#[tokio::test]
async fn discord_takes_every_message() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeWebhook::strict(DISCORD).await;
    // Discord says in the body alone how long to wait; here as long as the real back-off.
    fake.next([Answer::TooMany(r#"{"message":"slow","retry_after":1.2,"global":false}"#)]);
    // Debian's amtool does not know Discord yet.
    let text = file("discord", &format!("webhook_url: '{}', content: hello", fake.url));
    let bench = Bench::start_unchecked(folder.path(), &text, "[]", hundredth()).await;
    both(&bench, &fake).await;
    let requests = fake.requests();
    let waited = requests[1].at.duration_since(requests[0].at);
    assert!(waited >= Duration::from_millis(1200), "{waited:?}");
    let body = &fake.accepted()[0].body;
    assert_eq!(body["content"], "hello");
    assert_eq!(body["embeds"][0]["title"], "it is gone");
    assert_eq!(body["username"], "Pitcrew");
    let end = &fake.accepted()[1].body["embeds"][0];
    assert!(end["title"].as_str().unwrap().contains("– resolved after"), "{end}");
    bench.stop().await;
}

#[tokio::test]
async fn pagerduty_opens_and_ends_one_incident() {
    for (manners, keys, path, action, id) in [
        (
            PAGERDUTY,
            format!("routing_key: {ROUTING_KEY}"),
            "/v2/enqueue",
            "event_action",
            "dedup_key",
        ),
        (
            PAGERDUTY_OLD,
            "service_key: s3rvice".to_owned(),
            "/generic/2010-04-15/create_event.json",
            "event_type",
            "incident_key",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeWebhook::strict(manners).await;
        // Asked too often, and out of order: both pass.
        fake.next([
            Answer::Status(if path.starts_with("/v2") { 429 } else { 403 }),
            Answer::Status(500),
        ]);
        let base = fake.url.split("/services").next().unwrap().to_owned();
        let more =
            "details: { room: a }, links: [{ href: 'http://l.test/', text: l }], class: deep";
        let text = file("pagerduty", &format!("url: '{base}/v2/enqueue', {keys}, {more}"));
        let bench = Bench::start(folder.path(), &text, hundredth()).await;
        let (one, two) = (alert(), firing(&[("alertname", "A"), ("instance", "h:2")]));
        bench.send(vec![one.clone(), two.clone()]).await;
        until(LIMIT, "it is told", async || fake.accepted().len() == 1).await;
        // Somebody looks after the incident when somebody looks after each of its alerts.
        bench.acknowledge(&one).await;
        bench.acknowledge(&two).await;
        until(LIMIT, "that is told", async || fake.accepted().len() == 2).await;
        bench.send(vec![resolved(&one), resolved(&two)]).await;
        until(LIMIT, "its end is told", async || fake.accepted().len() == 3).await;
        let taken = fake.accepted();
        assert!(taken.iter().all(|request| request.path == path), "{}", taken[0].path);
        let actions: Vec<_> = taken.iter().map(|request| request.body[action].clone()).collect();
        assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
        assert!(taken.iter().all(|request| request.body[id] == taken[0].body[id]));
        assert_eq!(taken[0].body[id].as_str().unwrap().len(), 64);
        bench.stop().await;
    }
}

#[tokio::test]
async fn what_pagerduty_refuses_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeWebhook::strict(PAGERDUTY).await;
    let text = file("pagerduty", &format!("url: '{}', routing_key: short", fake.url));
    let bench = Bench::start(folder.path(), &text, hundredth()).await;
    bench.send(vec![alert()]).await;
    until(LIMIT, "it is given up", async || !bench.outbox.failures(1).await.unwrap().is_empty())
        .await;
    let failure = bench.outbox.failures(1).await.unwrap().remove(0);
    assert!(failure.error.contains("refused: 400") && failure.attempts == 1, "{failure:?}");
    assert!(!failure.error.contains("short"), "{failure:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_webhook_can_tell_who_sent_it() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeWebhook::start().await;
    let text = file("webhook", &format!("url: '{}'", fake.url));
    let own = "[{ name: team, webhook_signature: { secret: whsec_pitcrew } }]";
    let bench = Bench::start_with(folder.path(), &text, own, hundredth()).await;
    both(&bench, &fake).await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_pitcrew");
    for request in fake.accepted() {
        let (time, tag) = request.header("x-pitcrew-signature").split_once(',').unwrap();
        let (time, tag) = (time.strip_prefix("t=").unwrap(), tag.strip_prefix("v1=").unwrap());
        let pairs = tag.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        // Over the bytes as they came.
        let signed = format!("{time}.{}", request.raw);
        hmac::verify(&key, signed.as_bytes(), &bytes).expect("the signature fits");
    }
    bench.stop().await;
}

/// Two real Alertmanagers and one that is down: each is told by itself.
#[tokio::test]
async fn alertmanagers_are_told_of_everything_and_of_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = folder.path().join("peer.yaml");
    std::fs::write(&quiet, "{ route: { receiver: r }, receivers: [{ name: r }] }").unwrap();
    let (one, two) = (Alertmanager::start(&quiet).await, Alertmanager::start(&quiet).await);
    let dead = free_address();
    let text = "
route: { receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }
receivers: [ { name: team } ]
";
    let own = format!(
        "[{{ name: team, alertmanager: {{ urls: ['http://{dead}/am', '{}', '{}/'] }} }}]",
        one.url, two.url
    );
    let bench = Bench::start_with(folder.path(), text, &own, hundredth()).await;
    let held = async |peer: &Alertmanager, query: &str| {
        let answer = reqwest::get(format!("{}/api/v2/alerts{query}", peer.url)).await.unwrap();
        answer.json::<Vec<Value>>().await.unwrap()
    };
    let mut alerts: Vec<_> = (0..300)
        .map(|n| firing(&[("alertname", "A"), ("instance", &n.to_string()), ("x", "ä\n\"\\ <")]))
        .collect();
    bench.send(alerts.clone()).await;
    for peer in [&one, &two] {
        until(LIMIT, "it has them all", async || held(peer, "").await.len() == 300).await;
        let found = held(peer, "?filter=instance=\"7\"").await.remove(0);
        assert_eq!(found["labels"], serde_json::to_value(alerts[7].labels.to_map()).unwrap());
        assert_eq!(found["annotations"]["summary"], "it is gone");
        assert_eq!(found["startsAt"], alerts[7].starts_at.rfc3339());
        // Not the five minutes of the rules' own lease, nor of its resolve_timeout.
        let end = Timestamp::parse_rfc3339(found["endsAt"].as_str().unwrap()).unwrap();
        assert!(end.since(clock::now()) > Duration::from_secs(23 * 3600), "{found}");
    }
    alerts.iter_mut().for_each(|alert| *alert = resolved(alert));
    bench.send(alerts).await;
    for peer in [&one, &two] {
        until(LIMIT, "all are over", async || held(peer, "").await.is_empty()).await;
    }
    bench.stop().await;
}
