//! Whole messages, as `message/*.json` has them; `UPDATE=1` writes these anew.

use super::*;
use crate::notify::slack_bot::Message;
use crate::notify::wording::tests::sample;
use crate::route::dedup::Reason;

fn check(name: &str, notification: &Notification, key: Option<&str>) {
    let content = content(notification, "https://pitcrew.test/", key);
    let message = Message::posted("#ci", &content);
    let found = serde_json::to_string_pretty(&message).unwrap() + "\n";
    let path = format!("{}/src/notify/slack_bot/message/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, want, "{name}: UPDATE=1 writes it anew");
}

fn one(over: bool) -> Notification {
    let mut notification = sample(over);
    notification.alerts.remove(usize::from(!over));
    notification.alerts[0].generator_url = "https://prometheus.test/graph?g0.expr=up".into();
    if over {
        notification.reason = Reason::AllResolved;
    }
    notification
}

#[test]
fn messages_are_what_they_were() {
    check("one", &one(false), Some("0123.1"));
    check("resolved", &one(true), Some("0123.1"));
    check("two", &sample(true), Some("0123.1"));
    check("without_buttons", &one(false), None);
}

/// Everything as long and as nasty as can be: nothing is left of markup, and Slack's limits hold.
#[test]
fn nothing_hostile_gets_through() {
    let mut notification = sample(false);
    let nasty = "<!channel>\n<@U1> & <https://evil.test|log in> \u{0} ".repeat(2000);
    let mut alert = notification.alerts[0].clone();
    alert.labels = (0..30).map(|n| (format!("{n}{nasty}"), nasty.clone())).collect();
    for name in ["alertname", "severity", "runner"] {
        alert.labels.insert(name.to_owned(), nasty.clone());
    }
    for name in ["summary", "description"] {
        alert.annotations.insert(name.to_owned(), nasty.clone());
    }
    let long = format!("https://x.test/{}", "y".repeat(4000));
    alert.annotations.insert("runbook_url".to_owned(), long.clone());
    alert.generator_url = long;
    notification.group_labels = alert.labels.clone();
    for count in [1, 2, 500] {
        notification.alerts = (0..count)
            .map(|n| {
                let mut alert = alert.clone();
                alert.labels.insert("instance".to_owned(), format!("{n}{nasty}"));
                alert
            })
            .collect();
        let content = content(&notification, "javascript:alert(1)", Some("k"));
        let text = serde_json::to_string(&content).unwrap();
        let bare: Vec<_> = text.split('<').skip(1).map(|part| part.get(..6).unwrap()).collect();
        assert!(bare.iter().all(|start| *start == "!date^"), "{bare:?}");
        let total = text.len();
        assert!(total < 25_000, "{total} bytes for {count} alerts");
    }
}
