//! Slack by bot token: one message a group, changed in place, and what Slack may answer instead.

use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::notify::Settings;
use pitcrew_tests::fake_slack::{Answer, BOT_TOKEN, FakeSlack};
use pitcrew_tests::wait::until;

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(20);
pub(super) const FILE: &str = "
route: { receiver: team, group_by: [alertname], group_wait: 50ms, group_interval: 100ms }
receivers: [ { name: team } ]
";

pub(super) fn receivers(slack: &FakeSlack, channel: &str) -> String {
    format!(
        "[ {{ name: team, slack_bot: {{ token: {BOT_TOKEN}, channel: '{channel}', api_url: '{}' }} }} ]",
        slack.url
    )
}

pub(super) fn patient() -> Settings {
    Settings { attempt_timeout: Duration::from_secs(8), ..hundredth() }
}

pub(super) fn host(name: &str) -> [(&str, &str); 3] {
    [("alertname", "RunnerOffline"), ("severity", "critical"), ("instance", name)]
}

/// What the fake refused, which nothing here expects.
pub(super) fn refused(slack: &FakeSlack) -> Vec<String> {
    slack.calls().into_iter().filter_map(|call| call.answer).filter(|word| word != "ok").collect()
}

#[tokio::test]
async fn a_group_is_one_message_with_its_history_beneath() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    let receivers = receivers(&slack, "#ci");
    let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
    let (a, b) = (firing(&host("a")), firing(&host("b")));
    bench.send(vec![a.clone()]).await;
    until(LIMIT, "it is told", async || slack.messages().len() == 1).await;
    let first = slack.messages().remove(0);
    assert_eq!(first.body["attachments"][0]["color"], "#d13438");
    assert!(first.words().contains("🔴 RunnerOffline"), "{}", first.words());
    // Nobody can hear a click: no button promises that.
    assert_eq!(first.buttons(), ["pitcrew_open_query", "pitcrew_open_page"]);

    // The message is known again after a restart.
    bench.stop().await;
    let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
    bench.send(vec![a.clone(), b.clone()]).await;
    until(LIMIT, "more is said beneath", async || slack.replies(&first.ts).len() == 1).await;
    let more = slack.replies(&first.ts).remove(0);
    assert!(more.words().contains("1 more firing"), "{}", more.words());
    assert_eq!(more.body["reply_broadcast"], true, "what is new shows in the channel");
    bench.send(vec![resolved(&a), b.clone()]).await;
    until(LIMIT, "an end is said beneath", async || slack.replies(&first.ts).len() == 2).await;
    bench.send(vec![resolved(&b)]).await;
    until(LIMIT, "the end is said beneath", async || slack.replies(&first.ts).len() == 3).await;
    let quiet = slack.replies(&first.ts);
    assert_eq!(quiet[2].body["reply_broadcast"], false);
    assert_eq!(slack.messages().len(), 1);
    let last = slack.messages().remove(0);
    assert_eq!((last.edits, &last.body["attachments"][0]["color"]), (3, &"#2e9e5b".into()));
    assert!(last.words().contains("✅ RunnerOffline"), "{}", last.words());

    // What begins anew is told anew.
    bench.send(vec![firing(&host("a"))]).await;
    until(LIMIT, "it is told again", async || slack.messages().len() == 2).await;
    assert_eq!(refused(&slack), [""; 0]);
    bench.stop().await;
    let calls = slack.calls();
    assert!(calls.iter().all(|call| !call.body.to_string().contains("hunter2")));
}

#[tokio::test]
async fn what_slack_answers_with_200_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    let post = "chat.postMessage";
    slack.next(
        post,
        [
            Answer::Error("internal_error"),
            Answer::Error("ratelimited"),
            Answer::RetryAfter(1),
            Answer::Raw(200, "<html>"),
            Answer::Raw(503, ""),
        ],
    );
    let bench = Bench::start_with(folder.path(), FILE, &receivers(&slack, "#ci"), patient()).await;
    let a = firing(&host("a"));
    bench.send(vec![a.clone()]).await;
    until(LIMIT, "it is told in the end", async || slack.messages().len() == 1).await;
    let tries: Vec<_> = slack.calls().into_iter().filter(|call| call.method == post).collect();
    assert_eq!(tries.len(), 6, "five answers that are none, and the good one");
    assert!(tries[3].at.duration_since(tries[2].at) >= Duration::from_secs(1), "Retry-After");
    // Of two answers nobody knows what Slack did before them.
    let perhaps = bench.metric("pitcrew_alertd_notification_possible_repeats_total", "slack_bot");
    assert!((perhaps - 2.0).abs() < f64::EPSILON, "{perhaps}");

    // A message that somebody deleted is sent anew, with what came since.
    let ts = slack.messages()[0].ts.clone();
    slack.delete(&ts);
    bench.send(vec![a.clone(), firing(&host("b"))]).await;
    until(LIMIT, "a new message", async || slack.messages().len() == 1).await;
    assert!(slack.messages()[0].words().contains("*2 firing*"));
    bench.stop().await;
}

#[tokio::test]
async fn what_slack_refuses_for_good_is_recorded_with_what_to_do() {
    for (channel, token, code, advice) in [
        ("#nowhere", BOT_TOKEN, "channel_not_found", "the bot is not in"),
        ("#ci", "xoxb-other", "invalid_auth", "does not take this token"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let slack = FakeSlack::start().await;
        let receivers = receivers(&slack, channel).replace(BOT_TOKEN, token);
        let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
        bench.send(vec![firing(&host("a"))]).await;
        let failures = async || bench.outbox.failures(9).await.unwrap();
        until(LIMIT, "it is given up", async || !failures().await.is_empty()).await;
        let error = failures().await.remove(0).error;
        assert!(error.contains(code) && error.contains(advice), "{error}");
        assert!(!error.contains("xoxb"), "{error}");
        bench.stop().await;
    }
}

/// Several groups begin at once: Slack gets a message a second, each within its first attempt.
#[tokio::test]
async fn a_storm_is_told_at_the_pace_that_slack_takes() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    // Far below a second, so that a machine that is slow to send one does not seem to hurry the next.
    slack.limit_rate(Duration::from_millis(250));
    let bench = Bench::start_with(folder.path(), FILE, &receivers(&slack, "#ci"), patient()).await;
    let names: Vec<_> = (0..6).map(|n| format!("A{n}")).collect();
    bench.send(names.iter().map(|name| firing(&[("alertname", name)])).collect()).await;
    until(LIMIT, "all are told", async || slack.messages().len() == 6).await;
    assert_eq!(refused(&slack), [""; 0], "none came too early");
    let retried = bench.metric("pitcrew_alertd_notifications_total", "retried");
    assert!(retried.abs() < f64::EPSILON, "{retried}");
    bench.stop().await;
}

#[tokio::test]
async fn hostile_values_reach_slack_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    let bench = Bench::start_with(folder.path(), FILE, &receivers(&slack, "C0CI"), patient()).await;
    let nasty = "<!channel>\n<@U1> <https://evil.test|log in> & @here \u{0}".repeat(1200);
    let one = |n: usize| {
        let mut alert = firing(&[
            ("alertname", "A"),
            ("n", &n.to_string()),
            ("runner", &nasty),
            ("severity", "warning"),
        ]);
        Arc::make_mut(&mut alert.annotations).insert("summary".into(), nasty.clone());
        Arc::make_mut(&mut alert.annotations).insert("description".into(), nasty.clone());
        alert
    };
    bench.send((0..60).map(one).collect()).await;
    until(LIMIT, "it is told", async || !slack.messages().is_empty()).await;
    bench.send((0..70).map(one).collect()).await;
    until(LIMIT, "more is told", async || slack.messages()[0].edits == 1).await;
    // The fake refuses what mentions or links, and all of Slack's limits.
    assert_eq!(refused(&slack), [""; 0]);
    assert!(slack.messages()[0].words().contains("… and 60 more alerts"));
    bench.stop().await;
}

/// By the API or the command line, without a click: the message says so at once.
#[tokio::test]
async fn an_acknowledgement_changes_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let slack = FakeSlack::start().await;
    let receivers = receivers(&slack, "#ci");
    let bench = Bench::start_with(folder.path(), FILE, &receivers, patient()).await;
    let (a, b) = (firing(&host("a")), firing(&host("b")));
    bench.send(vec![a.clone(), b.clone()]).await;
    until(LIMIT, "both are told", async || {
        slack.messages().first().is_some_and(|message| message.words().contains("2 firing"))
    })
    .await;
    let before = slack.messages().remove(0);
    bench.acknowledge(&b).await;
    until(LIMIT, "it is changed", async || slack.messages()[0].edits > before.edits).await;
    let words = slack.messages()[0].words();
    assert!(words.contains("2 firing") && words.contains("ann: on it"), "{words}");
    until(LIMIT, "the thread says it", async || {
        slack.replies(&before.ts).iter().any(|reply| reply.words().contains("ann: on it"))
    })
    .await;
    assert_eq!(refused(&slack), [""; 0]);
    bench.stop().await;
}
