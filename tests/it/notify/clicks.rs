//! Clicks on Slack's buttons: over Socket Mode and by signed request, from those who may.

use std::time::Duration;

use pitcrew_alertd::clock;
use pitcrew_tests::fake_slack::{APP_TOKEN, BOT_TOKEN, Click, FakeSlack, Message};
use pitcrew_tests::process::tls;
use pitcrew_tests::wait::until;
use serde_json::{Value, json};

use super::bench::{Bench, firing, resolved};
use super::slack::{FILE, host, patient, refused};

const LIMIT: Duration = Duration::from_secs(20);
const ACKNOWLEDGE: &str = "pitcrew_acknowledge";
const SILENCE: &str = "pitcrew_silence_1h";
const UNTIL_RESOLVED: &str = "pitcrew_silence_until_resolved";

fn receivers(slack: &FakeSlack, keys: &str) -> String {
    format!(
        "[ {{ name: team, slack_bot: {{ token: {BOT_TOKEN}, channel: '#ci', api_url: '{}',
           users: [U1, U3], {keys} }} }} ]",
        slack.url
    )
}

/// Now, in seconds since 1970.
fn now() -> i64 {
    clock::now().0.div_euclid(1000)
}

/// A moment as Slack writes it.
fn moment(seconds: i64) -> String {
    format!("{seconds}.000100")
}

fn click<'a>(user: &'a str, action: &'a str, at: &'a str) -> Click<'a> {
    Click { user, name: "ann", action, at }
}

async fn told(slack: &FakeSlack, bench: &Bench, hosts: &[&str]) -> Message {
    let alerts = hosts.iter().map(|name| firing(&host(name))).collect();
    bench.send(alerts).await;
    until(LIMIT, "it is told", async || !slack.messages().is_empty()).await;
    slack.messages().remove(0)
}

async fn quiet(bench: &Bench) {
    until(LIMIT, "the outbox is empty", async || bench.outbox.depth().await.unwrap().0 == 0).await;
}

#[tokio::test]
async fn over_socket_mode() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    let receivers = receivers(&slack, &format!("app_token: {APP_TOKEN}"));
    let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
    until(LIMIT, "the socket is open", async || slack.sockets() == 1).await;
    let message = told(&slack, &bench, &["a", "b"]).await;
    let ts = message.ts.as_str();
    assert!(message.buttons().iter().any(|id| id == ACKNOWLEDGE), "{:?}", message.buttons());

    // Somebody else may look, and nothing more.
    let base = now();
    let at = moment(base);
    slack.deliver(&slack.payload(ts, &click("U2", ACKNOWLEDGE, &at))).await;
    until(LIMIT, "the other is told so", async || slack.ephemeral().len() == 1).await;
    let said = slack.ephemeral().remove(0);
    assert_eq!((&said["user"], &said["channel"]), (&json!("U2"), &json!("C0CI")));
    assert!(said["text"].as_str().unwrap().contains("not allowed"), "{said}");
    assert!(bench.board.acknowledged().is_empty());

    // Who may acknowledges both alerts; the message and the thread say who.
    let payload = slack.payload(ts, &click("U1", ACKNOWLEDGE, &at));
    slack.deliver(&payload).await;
    assert_eq!(bench.board.acknowledged().len(), 2);
    let owner = "slack:U1 (ann)";
    assert!(bench.board.acknowledged().iter().all(|entry| entry.owner == owner));
    until(LIMIT, "the message shows it", async || slack.messages()[0].edits == 1).await;
    assert!(slack.messages()[0].words().contains(owner), "{}", slack.messages()[0].words());
    until(LIMIT, "the thread tells it", async || slack.replies(ts).len() == 1).await;
    let reply = slack.replies(ts).remove(0);
    assert!(reply.words().contains(owner) && reply.body["reply_broadcast"] == false);

    // Once more, as Slack may send it, and as the person may click it: nothing more happens.
    slack.deliver(&payload).await;
    let later = moment(base + 1);
    slack.deliver(&slack.payload(ts, &click("U1", ACKNOWLEDGE, &later))).await;
    quiet(&bench).await;
    assert_eq!((slack.messages()[0].edits, slack.replies(ts).len()), (1, 1));

    // One silence, however often; a later click moves its end.
    let silence = slack.payload(ts, &click("U3", SILENCE, &at));
    slack.deliver(&silence).await;
    slack.deliver(&silence).await;
    let ends = |bench: &Bench| -> Vec<i64> {
        bench.board.silences().iter().map(|silence| silence.ends_at.0).collect()
    };
    let first = ends(&bench);
    assert_eq!(first.len(), 1);
    {
        let silences = bench.board.silences();
        let silence = silences.iter().next().unwrap();
        let labels: Vec<_> = silence.matchers.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(labels, ["alertname", "severity"], "what both alerts share");
        assert_eq!(silence.created_by, "slack:U3 (ann)");
    }
    let later = moment(base + 2);
    slack.deliver(&slack.payload(ts, &click("U3", SILENCE, &later))).await;
    assert_eq!(ends(&bench), [first[0] + 2000]);
    slack.deliver(&slack.payload(ts, &click("U1", UNTIL_RESOLVED, &moment(base + 3)))).await;
    assert!(bench.board.silences().iter().all(|silence| silence.ends_with_alert));
    quiet(&bench).await;

    // Buttons that only open a page, and other apps' buttons, are acknowledged and no more.
    let mut other = payload.clone();
    other["actions"][0]["action_id"] = "others".into();
    slack.deliver(&other).await;
    slack.push(json!({"type": "events_api", "envelope_id": "e-x", "payload": {"event": {}}}));
    until(LIMIT, "events too", async || slack.acknowledged().contains(&"e-x".to_owned())).await;
    slack.push(json!(["no envelope"]));

    // Slack asks for another connection, and later drops it without a word.
    slack.ask_to_reconnect("refresh_requested");
    until(LIMIT, "a second socket", async || slack.sockets() == 2).await;
    slack.deliver(&payload).await;
    slack.drop_sockets();
    until(LIMIT, "it comes again", async || slack.sockets() == 1).await;
    slack.deliver(&payload).await;

    // After the end a button of the old message does nothing, and says so.
    let again = slack.payload(ts, &click("U1", ACKNOWLEDGE, &moment(base + 4)));
    bench.send(vec![resolved(&firing(&host("a"))), resolved(&firing(&host("b")))]).await;
    until(LIMIT, "it is over", async || slack.messages()[0].words().contains('✅')).await;
    assert!(!slack.messages()[0].buttons().iter().any(|id| id == ACKNOWLEDGE));
    quiet(&bench).await;
    slack.deliver(&again).await;
    until(LIMIT, "who clicks is told", async || slack.ephemeral().len() == 2).await;
    assert!(slack.ephemeral()[1]["text"].as_str().unwrap().contains("over"));
    assert_eq!(refused(&slack), [""; 0]);
    bench.stop().await;
}

#[tokio::test]
async fn by_signed_request() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    let receivers = receivers(&slack, "signing_secret: shhh");
    let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
    let message = told(&slack, &bench, &["a"]).await;
    tls();
    let client = reqwest::Client::new();
    let url = format!("{}/slack/interactivity", bench.web);
    let now = now();
    let post = async |secret: &str, payload: &Value, at: i64| {
        let (headers, body) = FakeSlack::signed(secret, payload, at);
        let request = client.post(&url).body(body);
        let request = headers.into_iter().fold(request, |to, (name, value)| to.header(name, value));
        request.send().await.unwrap().status().as_u16()
    };
    let at = moment(now);
    let good = slack.payload(&message.ts, &click("U1", ACKNOWLEDGE, &at));
    let other = slack.payload(&message.ts, &click("U2", ACKNOWLEDGE, &at));
    for (case, secret, payload, at, want) in [
        ("another secret", "shh", &good, now, 401),
        ("recorded long ago", "shhh", &good, now - 301, 401),
        ("somebody else", "shhh", &other, now, 200),
    ] {
        assert_eq!(post(secret, payload, at).await, want, "{case}");
        assert!(bench.board.acknowledged().is_empty(), "{case}");
    }
    let unsigned = client.post(&url).body("payload={}").send().await.unwrap();
    assert_eq!(unsigned.status(), 401);
    let large = client.post(&url).body("x".repeat(600 * 1024)).send().await.unwrap();
    assert_eq!(large.status(), 413);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 405);
    assert_eq!(post("shhh", &json!({"type": 7}), now).await, 200, "nothing of ours");
    until(LIMIT, "the other is told so", async || slack.ephemeral().len() == 1).await;

    assert_eq!(post("shhh", &good, now).await, 200);
    assert_eq!(post("shhh", &good, now).await, 200);
    assert_eq!(bench.board.acknowledged().len(), 1);
    until(LIMIT, "the message shows it", async || slack.messages()[0].edits == 1).await;
    quiet(&bench).await;
    assert_eq!(slack.messages()[0].edits, 1, "the same click once more changes nothing");
    for (outcome, want) in [("unsigned", 3.0), ("not_allowed", 1.0), ("done", 2.0)] {
        let found = bench.metric("pitcrew_alertd_slack_clicks_total", outcome);
        assert!((found - want).abs() < f64::EPSILON, "{outcome}: {found}");
    }
    bench.stop().await;

    // Where nobody takes requests there is nothing to be found.
    let folder = tempfile::tempdir().unwrap();
    let receivers = super::slack::receivers(&slack, "#ci");
    let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
    let nothing = client.post(format!("{}/slack/interactivity", bench.web)).send().await.unwrap();
    assert_eq!(nothing.status(), 404);
    bench.stop().await;
}
