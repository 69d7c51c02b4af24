//! The words that notifications are made of, before any markup (pure).

use std::time::Duration;

use reqwest::Url;

use crate::route::notification::{Notification, NotifiedAlert, common};
use crate::rules::alerting::UNVERIFIED;

/// How bad an alert is, from its `severity` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Critical,
    Warning,
    Info,
}

impl Severity {
    /// An unknown or missing severity counts as critical.
    pub fn of(alert: &NotifiedAlert) -> Severity {
        match alert.label("severity").to_ascii_lowercase().as_str() {
            "warning" | "warn" | "minor" => Severity::Warning,
            "info" | "information" | "none" | "notice" | "debug" => Severity::Info,
            _ => Severity::Critical,
        }
    }
}

/// `[FIRING:2] RunnerOffline ci` or `[RESOLVED] RunnerOffline ci`: state, alert, other group labels.
pub fn subject(notification: &Notification) -> String {
    let firing = notification.firing().count() as u64 + notification.truncated;
    let state = match notification.is_resolved() {
        true => "[RESOLVED]".to_owned(),
        false => format!("[FIRING:{firing}]"),
    };
    clip(&format!("{state} {}", title(notification)), 200)
}

/// The same without the state, which changes.
pub fn title(notification: &Notification) -> String {
    let shared = common(notification.alerts.iter().map(|alert| &alert.labels));
    let name = shared.get("alertname").map_or("alerts", String::as_str);
    let others = notification.group_labels.iter().filter(|(label, _)| *label != "alertname");
    let mut words = vec![name.to_owned()];
    words.extend(others.map(|(_, value)| value.clone()));
    // On one line, so that no label can add a header to a mail.
    clip(&words.join(" ").replace(char::is_control, " "), 200)
}

/// The alert in one line: its summary, else its name.
pub fn headline(alert: &NotifiedAlert) -> &str {
    match alert.annotation("summary") {
        "" => alert.name(),
        summary => summary,
    }
}

/// What happened, at length: its description, else nothing.
pub fn description(alert: &NotifiedAlert) -> &str {
    match alert.annotation("description") {
        "" => alert.annotation("message"),
        text => text,
    }
}

/// Where and what, in a fixed order: pool and member, then the labels that people look for first,
/// and whether the alert is only kept alive.
pub fn facts(alert: &NotifiedAlert) -> Vec<(String, String)> {
    const FIRST: [&str; 5] = ["severity", "runner", "instance", "job", "repository"];
    let mut facts = alert.extra.clone();
    for name in FIRST {
        if let Some(value) = alert.labels.get(name) {
            facts.push((name.to_owned(), value.clone()));
        }
    }
    if let Some(doubt) = alert.annotations.get(UNVERIFIED) {
        facts.push(("state".to_owned(), doubt.clone()));
    }
    facts
}

/// `resolved after 4m` or nothing while it fires.
pub fn ended(alert: &NotifiedAlert) -> Option<String> {
    Some(format!("resolved after {}", rough(alert.ends_at?.since(alert.starts_at))))
}

/// A length of time in its two largest units: `4m 5s`, `2d 3h`.
pub fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    parts.truncate(2);
    match parts.is_empty() {
        true => format!("{}ms", time.as_millis()),
        false => parts.join(" "),
    }
}

/// The page to read, if the text is an http or https URL; anything else is not made a link.
pub fn link(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The text without what could disturb how it is shown: control characters but for line ends and
/// tabs, and marks that turn the direction of writing round.
pub fn legible(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    text.replace("\r\n", "\n").replace(bad, "\u{fffd}")
}

/// At most `limit` characters, with an ellipsis when some are missing.
pub fn clip(text: &str, limit: usize) -> String {
    match text.chars().count() > limit {
        true => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::sample::Timestamp;
    use crate::route::dedup::Reason;
    use std::collections::BTreeMap;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Two alerts of one group, full of what must be escaped; the second may be over.
    pub(crate) fn sample(over: bool) -> Notification {
        let alert = |host: &str, ends_at| NotifiedAlert {
            labels: map(&[
                ("alertname", "RunnerOffline"),
                ("instance", host),
                ("severity", "warning"),
                ("x", "<!channel> & <script>alert(1)</script>"),
            ]),
            annotations: map(&[
                ("summary", "<b>Runner</b> & <!here> gone"),
                ("description", "</td><script>alert(1)</script>"),
                ("runbook_url", "https://x.test/RunnerOffline.md?a=1&b=|>"),
            ]),
            extra: vec![("pool".into(), "ci".into()), ("member".into(), "primary".into())],
            starts_at: Timestamp(1_700_000_000_000),
            ends_at,
            generator_url: "javascript:alert(1)".into(),
            fingerprint: host.into(),
        };
        let end = over.then_some(Timestamp(1_700_000_245_000));
        Notification {
            receiver: "team".into(),
            group_key: "{}:{}".into(),
            group_labels: map(&[("alertname", "RunnerOffline"), ("job", "ci")]),
            reason: Reason::First,
            alerts: vec![alert("a", None), alert("b", end)],
            truncated: 0,
            at: Timestamp(1_700_000_300_000),
        }
    }

    #[test]
    fn words() {
        assert_eq!(subject(&sample(false)), "[FIRING:2] RunnerOffline ci");
        assert_eq!(subject(&sample(true)), "[FIRING:1] RunnerOffline ci");
        let mut resolved = sample(true);
        resolved.alerts.remove(0);
        assert_eq!(subject(&resolved), "[RESOLVED] RunnerOffline ci");
        assert_eq!(ended(&resolved.alerts[0]).unwrap(), "resolved after 4m 5s");
        assert_eq!(facts(&resolved.alerts[0])[0], ("pool".to_owned(), "ci".to_owned()));
        resolved.alerts[0].annotations.insert(UNVERIFIED.into(), "not verified".into());
        let state = ("state".to_owned(), "not verified".to_owned());
        assert_eq!(facts(&resolved.alerts[0]).pop(), Some(state));
        for (seconds, want) in
            [(0, "0ms"), (59, "59s"), (240, "4m"), (3605, "1h"), (93_600, "1d 2h")]
        {
            assert_eq!(rough(Duration::from_secs(seconds)), want);
        }
        assert_eq!(clip("äöü", 2), "ä…");
        assert!(link("javascript:alert(1)").is_none() && link("//x").is_none());
    }
}
