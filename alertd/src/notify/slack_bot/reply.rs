//! What changed since the last message, for the thread beneath it (pure).

use std::collections::BTreeSet;

use super::message::sign;
use crate::notify::mrkdwn::line;
use crate::notify::wording::{self, Severity, rough};
use crate::route::dedup::Reason;
use crate::route::notification::{Notification, NotifiedAlert};

/// Alerts that are named in each part of a reply.
const MAX_NAMED: usize = 8;
const MAX_HEADLINE: usize = 120;

/// `known` are the alerts that the message showed as firing. `None` when there is nothing to add.
pub(super) fn reply(notification: &Notification, known: &BTreeSet<String>) -> Option<String> {
    let new: Vec<_> =
        notification.firing().filter(|alert| !known.contains(&alert.fingerprint)).collect();
    let over: Vec<_> = notification.alerts.iter().filter(|alert| alert.ends_at.is_some()).collect();
    let mut parts = Vec::new();
    if !new.is_empty() {
        parts.push(list(&format!("*{} more firing*", new.len()), &new));
    }
    if !over.is_empty() {
        let all = if notification.is_resolved() { "All resolved" } else { "resolved" };
        let title = match notification.is_resolved() {
            true => format!("✅ *{all}*"),
            false => format!("✅ *{} {all}*", over.len()),
        };
        parts.push(list(&title, &over));
    }
    if notification.reason == Reason::Repeat && parts.is_empty() {
        let since = notification.firing().map(|alert| alert.starts_at).min()?;
        let count = notification.firing().count() as u64 + notification.truncated;
        let severity = notification.firing().map(Severity::of).next();
        let age = rough(notification.at.since(since));
        parts.push(format!("{} *Still firing* after {age}: {count}", sign(severity)));
    }
    if notification.reason == Reason::Noted {
        let (name, said) = notification.alerts.first()?.extra.last()?;
        parts = vec![format!("👀 *{}* {}", line(name, 50), line(said, 300))];
    }
    (!parts.is_empty()).then(|| parts.join("\n"))
}

fn list(title: &str, alerts: &[&NotifiedAlert]) -> String {
    let mut lines = vec![title.to_owned()];
    for alert in alerts.iter().take(MAX_NAMED) {
        let sign = sign(alert.ends_at.is_none().then(|| Severity::of(alert)));
        let headline = line(wording::headline(alert), MAX_HEADLINE);
        let ended = wording::ended(alert).map(|ended| format!(" – {ended}")).unwrap_or_default();
        lines.push(format!("{sign} {headline}{ended}"));
    }
    let left = alerts.len().saturating_sub(MAX_NAMED);
    if left > 0 {
        lines.push(format!("… and {left} more"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    #[test]
    fn each_change_is_said_once() {
        let known = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        let more = "🟠 &lt;b&gt;Runner&lt;/b&gt; &amp; &lt;!here&gt; gone";
        let over = "✅ &lt;b&gt;Runner&lt;/b&gt; &amp; &lt;!here&gt; gone – resolved after 4m 5s";
        let mut ended = sample(true);
        ended.alerts.remove(0);
        let repeat = Notification { reason: Reason::Repeat, ..sample(false) };
        for (case, notification, shown, want) in [
            ("one more", sample(false), known(&["a"]), Some(format!("*1 more firing*\n{more}"))),
            (
                "one over",
                sample(true),
                known(&["a", "b"]),
                Some(format!("✅ *1 resolved*\n{over}")),
            ),
            (
                "both",
                sample(true),
                known(&["b"]),
                Some(format!("*1 more firing*\n{more}\n✅ *1 resolved*\n{over}")),
            ),
            ("the last", ended, known(&["b"]), Some(format!("✅ *All resolved*\n{over}"))),
            ("again", repeat, known(&["a", "b"]), Some("🟠 *Still firing* after 5m: 2".to_owned())),
            ("nothing", sample(false), known(&["a", "b"]), None),
        ] {
            assert_eq!(reply(&notification, &shown), want, "{case}");
        }
        let mut many = sample(false);
        let one = many.alerts[0].clone();
        many.alerts =
            (0..50).map(|n| NotifiedAlert { fingerprint: n.to_string(), ..one.clone() }).collect();
        let text = reply(&many, &BTreeSet::new()).unwrap();
        assert!(text.ends_with("… and 42 more") && text.len() < 3000, "{text}");
    }
}
