//! Receivers that fail, and restarts: nothing is lost, and repeats are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pitcrew_alertd::notify::Settings;
use pitcrew_tests::fake_webhook::{Answer, FakeWebhook, Request};
use pitcrew_tests::wait::until;

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(20);
const REPEATS: &str = "pitcrew_alertd_notification_possible_repeats";

fn file(hooks: &[&FakeWebhook]) -> String {
    let hooks: Vec<_> = hooks.iter().map(|hook| format!("{{ url: '{}' }}", hook.url)).collect();
    format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 50ms, group_interval: 200ms }}
receivers:
  - name: team
    webhook_configs: [ {} ]
",
        hooks.join(", ")
    )
}

fn id(request: &Request) -> &str {
    request.header("x-pitcrew-delivery")
}

/// Arrivals that the receiver took, or may have: all but those it refused.
fn taken(hook: &FakeWebhook) -> usize {
    let all = hook.requests().into_iter();
    all.filter(|request| request.status.is_none_or(|status| status < 300)).count()
}

/// What it took, each notification as it came first: on a busy machine consent may come too late, and
/// then it is sent once more.
fn told(hook: &FakeWebhook) -> Vec<Request> {
    let mut seen = BTreeSet::new();
    hook.accepted().into_iter().filter(|request| seen.insert(id(request).to_owned())).collect()
}

/// Ten minutes of outage at a scale of 1 : 100, so six seconds.
#[tokio::test]
async fn an_outage_loses_nothing_and_repeats_only_what_may_be() {
    let attempt_timeout = Duration::from_millis(300);
    outage(Settings { attempt_timeout, ..hundredth() }, Duration::from_secs(6)).await;
}

/// An hour at a scale of 1 : 400, so nine seconds.
#[tokio::test]
async fn an_hour_of_outage_loses_nothing_either() {
    let settings = Settings {
        attempt_timeout: Duration::from_millis(200),
        min_backoff: Duration::from_micros(2500),
        max_backoff: Duration::from_millis(300),
        ..hundredth()
    };
    outage(settings, Duration::from_secs(9)).await;
}

/// In turn as 503, closed connections, silence and 429, while twenty alerts begin and half of them
/// end.
async fn outage(settings: Settings, lasts: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let hook = FakeWebhook::start().await;
    let bench = Bench::start(folder.path(), &file(&[&hook]), settings).await;
    let names: Vec<_> = (0..20).map(|n| format!("A{n}")).collect();
    let before = firing(&[("alertname", "Before")]);
    bench.send(vec![before.clone()]).await;
    until(LIMIT, "the one before the outage", async || hook.accepted().len() == 1).await;

    let mut alerts: Vec<_> = names.iter().map(|name| firing(&[("alertname", name)])).collect();
    let faults = [Answer::Status(503), Answer::Close, Answer::Hang, Answer::Status(429)];
    for (quarter, fault) in faults.into_iter().enumerate() {
        hook.always(fault);
        for alert in alerts.iter().skip(quarter * 5).take(5) {
            bench.send(vec![alert.clone()]).await;
        }
        if quarter == 2 {
            let over = alerts.iter_mut().take(10);
            let over: Vec<_> =
                over.map(|alert| resolved(alert)).chain([resolved(&before)]).collect();
            bench.send(over).await;
        }
        tokio::time::sleep(lasts / 4).await;
    }
    assert_eq!(hook.accepted().len(), 1, "nothing got through");
    hook.always(Answer::Ok);
    until(LIMIT, "everything is delivered", async || told(&hook).len() == 32).await;
    until(LIMIT, "the outbox is empty", async || bench.outbox.depth().await.unwrap().0 == 0).await;

    let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in told(&hook) {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let name = text(&request.body["groupLabels"]["alertname"]);
        words.entry(name).or_default().push(text(&request.body["status"]));
    }
    for (at, name) in names.iter().enumerate() {
        let want: &[&str] = if at < 10 { &["firing", "resolved"] } else { &["firing"] };
        assert_eq!(words[name], want, "{name}");
    }
    assert_eq!(words["Before"], ["firing", "resolved"]);
    assert_eq!(told(&hook).len(), 32, "nothing more");
    let (repeats, counted) = (taken(&hook) - 32, bench.metric(REPEATS, "timeout") as usize);
    // One that was given up before it arrived counts too.
    assert!(0 < repeats && repeats <= counted, "{repeats} repeats, {counted} counted");
    bench.stop().await;
}

#[tokio::test]
async fn a_kill_between_answer_and_record_repeats_once_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let hook = FakeWebhook::start().await;
    let settings = || Settings { attempt_timeout: LIMIT, ..hundredth() };
    hook.next([Answer::Hang]);
    let bench = Bench::start(folder.path(), &file(&[&hook]), settings()).await;
    let alert = firing(&[("alertname", "A")]);
    bench.send(vec![alert.clone()]).await;
    until(LIMIT, "the request is there", async || hook.requests().len() == 1).await;
    bench.kill().await;

    let bench = Bench::start(folder.path(), &file(&[&hook]), settings()).await;
    until(LIMIT, "it is sent again", async || hook.accepted().len() == 1).await;
    let requests = hook.requests();
    assert_eq!(id(&requests[0]), id(&requests[1]));
    assert!((bench.metric(REPEATS, "restart") - 1.0).abs() < f64::EPSILON);
    // The end of an alert that was told before the restart is told after it.
    bench.send(vec![resolved(&alert)]).await;
    until(LIMIT, "the end is told", async || hook.accepted().len() == 2).await;
    assert_eq!(hook.accepted()[1].body["status"], "resolved");
    bench.stop().await;

    let bench = Bench::start(folder.path(), &file(&[&hook]), settings()).await;
    bench.send(vec![resolved(&alert)]).await;
    until(LIMIT, "the outbox is read", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(hook.requests().len(), 3, "nothing more after a clean restart");
    assert!(bench.metric(REPEATS, "").abs() < f64::EPSILON);
    bench.stop().await;
}

#[tokio::test]
async fn retry_after_is_honoured_and_a_slow_receiver_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (busy, slow, quick) =
        (FakeWebhook::start().await, FakeWebhook::start().await, FakeWebhook::start().await);
    busy.next([Answer::RetryAfter(1)]);
    slow.always(Answer::Hang);
    let text = file(&[&busy, &slow, &quick]);
    // Whoever waits for the slow one waits in vain.
    let settings = Settings { attempt_timeout: 3 * LIMIT, ..hundredth() };
    let bench = Bench::start(folder.path(), &text, settings).await;
    for name in ["A", "B", "C", "D", "E", "F"] {
        bench.send(vec![firing(&[("alertname", name)])]).await;
    }
    until(LIMIT, "the quick one has all", async || quick.accepted().len() == 6).await;
    until(LIMIT, "the busy one has all", async || busy.accepted().len() == 6).await;
    let requests = busy.requests();
    let refused = requests.iter().find(|request| request.status == Some(429)).unwrap();
    let again = busy.accepted().into_iter().find(|request| id(request) == id(refused)).unwrap();
    assert!(again.at.duration_since(refused.at) >= Duration::from_secs(1));
    assert!(slow.accepted().is_empty());
    bench.kill().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_recorded_and_told_anew_while_it_fires() {
    let folder = tempfile::tempdir().unwrap();
    let hook = FakeWebhook::start().await;
    hook.next([Answer::Status(404), Answer::Status(302)]);
    let bench = Bench::start(folder.path(), &file(&[&hook]), hundredth()).await;
    bench.send(vec![firing(&[("alertname", "A")])]).await;
    until(LIMIT, "the next flush tells it", async || hook.accepted().len() == 1).await;
    let requests = hook.requests();
    assert_ne!(id(&requests[0]), id(&requests[1]), "another notification");
    let failures = bench.outbox.failures(10).await.unwrap();
    // A redirect that would turn the POST into a GET is no delivery either.
    let all = failures.iter().map(|failure| failure.error.as_str()).collect::<Vec<_>>().join("\n");
    assert_eq!(failures.len(), 2, "{all}");
    assert!(all.contains("404") && all.contains("302") && !all.contains("hunter2"), "{all}");
    let failed = bench.metric("pitcrew_alertd_notifications_total", "failed");
    assert!((failed - 2.0).abs() < f64::EPSILON);
    bench.stop().await;
}
