//! What issues and comments say, in GitHub's Markdown (pure).
//!
//! Whatever comes from alerts stands in code, where GitHub sees neither markup nor mentions nor
//! references to other issues.

use ring::digest;

use crate::notify::Delivery;
use crate::notify::wording::{self, Severity, clip, legible};
use crate::route::notification::{Notification, NotifiedAlert, hex};

/// GitHub takes 65,536 characters of a text and 256 of a title.
const MAX_BODY: usize = 60_000;
const MAX_TITLE: usize = 200;
const MAX_SHOWN: usize = 30;
const MAX_TEXT: usize = 1500;
const MAX_FACT: usize = 200;

/// The first line of a group's issue.
pub(super) fn group_mark(notification: &Notification) -> String {
    let text = format!("{}\0{}", notification.receiver, notification.group_key);
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("<!-- pitcrew:group:{} -->", hex(hash.as_ref()))
}

/// A line before whatever one delivery wrote.
pub(super) fn delivery_mark(id: &str) -> String {
    format!("<!-- pitcrew:delivery:{id} -->")
}

/// The marks at the start of a text; nothing that an alert says stands before or among them.
pub(super) fn marks(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.starts_with("<!-- pitcrew:")).map(str::trim_end)
}

/// A title is no Markdown, but `@` and `#` in it are broken up all the same.
pub(super) fn title(subject: &str) -> String {
    let mut out = String::new();
    for c in clip(&legible(subject), MAX_TITLE).chars() {
        out.push(c);
        if c == '@' || c == '#' {
            out.push('\u{200b}');
        }
    }
    match out.trim().is_empty() {
        true => "alert".to_owned(),
        false => out,
    }
}

pub(super) fn body(delivery: &Delivery<'_>, external_url: &str) -> String {
    let mark = group_mark(delivery.notification);
    format!("{mark}\n{}", comment(delivery, external_url))
}

pub(super) fn comment(delivery: &Delivery<'_>, external_url: &str) -> String {
    let notification = delivery.notification;
    let firing = notification.firing().count() as u64 + notification.truncated;
    let over = notification.alerts.len() as u64 + notification.truncated - firing;
    let mut out = format!("{}\n\n", delivery_mark(delivery.id));
    match (firing, over) {
        (0, over) => out.push_str(&format!("**Resolved** ({over})")),
        (firing, 0) => out.push_str(&format!("**{firing} firing**")),
        (firing, over) => out.push_str(&format!("**{firing} firing**, {over} resolved")),
    }
    if let Some(url) = wording::link(external_url) {
        out.push_str(&format!(" · [Open Pitcrew](<{url}>)"));
    }
    out.push('\n');
    let mut shown = 0;
    for alert in notification.alerts.iter().take(MAX_SHOWN) {
        let text = section(alert);
        if out.chars().count() + text.chars().count() > MAX_BODY {
            break;
        }
        out.push_str(&text);
        shown += 1;
    }
    let left = (notification.alerts.len() - shown) as u64 + notification.truncated;
    if left > 0 {
        out.push_str(&format!("\n… and {left} more alerts\n"));
    }
    out
}

fn section(alert: &NotifiedAlert) -> String {
    let sign = match (alert.ends_at.is_some(), Severity::of(alert)) {
        (true, _) => "🟢",
        (false, Severity::Critical) => "🔴",
        (false, Severity::Warning) => "🟠",
        (false, Severity::Info) => "🔵",
    };
    let mut out = format!("\n### {sign} {}\n", code(&clip(wording::headline(alert), MAX_FACT)));
    let description = wording::description(alert);
    if !description.is_empty() {
        out.push_str(&format!("{}\n", block(&clip(description, MAX_TEXT))));
    }
    for (name, value) in wording::facts(alert) {
        out.push_str(&format!("- {}: {}\n", code(&name), code(&clip(&value, MAX_FACT))));
    }
    out.push_str(&format!("- started: {}\n", alert.starts_at.rfc3339()));
    if let Some(ended) = wording::ended(alert) {
        out.push_str(&format!("- {ended}\n"));
    }
    for (name, url) in [
        ("Runbook", alert.annotation("runbook_url")),
        ("Dashboard", alert.annotation("dashboard_url")),
    ] {
        match wording::link(url) {
            None => {}
            // A link to an issue would show up there as a reference.
            Some(url) if refers(url.path()) => {
                out.push_str(&format!("- {name}: {}\n", code(url.as_str())));
            }
            Some(url) => {
                let url = url.as_str().replace('<', "%3C").replace('>', "%3E");
                out.push_str(&format!("- [{name}](<{url}>)\n"));
            }
        }
    }
    out
}

fn refers(path: &str) -> bool {
    ["/issues/", "/pull/", "/discussions/", "/commit/"].iter().any(|part| path.contains(part))
}

/// Text on one line, between more backticks than it has in a row itself.
fn code(text: &str) -> String {
    let text = legible(text).replace(['\n', '\t'], " ");
    let fence = "`".repeat(longest_run(&text) + 1);
    match text.trim().is_empty() {
        true => "` `".to_owned(),
        false => format!("{fence} {text} {fence}"),
    }
}

/// The same for text of several lines.
fn block(text: &str) -> String {
    let text = legible(text);
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`');
    runs.map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    #[test]
    fn what_alerts_say_stands_in_code() {
        let mut notification = sample(true);
        let hostile = "``@octocat`` #1 owner/name#2 \n```\n<!-- pitcrew:group:0 -->\n## x | [a](b)";
        notification.alerts[0].annotations.insert("summary".into(), hostile.into());
        notification.alerts[0].annotations.insert("description".into(), hostile.into());
        notification.alerts[0].labels.insert("runner".into(), hostile.into());
        notification.alerts[1]
            .annotations
            .insert("runbook_url".into(), "https://github.com/o/r/issues/1".into());
        let delivery = Delivery { id: "77", notification: &notification, memory: None };
        let body = body(&delivery, "http://p.test/");
        let found: Vec<_> = marks(&body).collect();
        assert_eq!(found, [group_mark(&notification), delivery_mark("77")]);
        // Outside of code: between an even and an odd fence nothing of it is left.
        let mut outside = String::new();
        let mut fence: Option<String> = None;
        for line in body.lines() {
            match &fence {
                Some(open) if line == open => fence = None,
                Some(_) => {}
                None if line.ends_with("`text") => {
                    fence = Some("`".repeat(longest_run(line)));
                }
                None => {
                    let run = "`".repeat(longest_run(line).max(1));
                    let parts: Vec<_> = line.split(run.as_str()).step_by(2).collect();
                    outside.push_str(&parts.join(""));
                    outside.push('\n');
                }
            }
        }
        for bad in ["@octocat", "#1", "name#2", "issues/1", "| [a]"] {
            assert!(!outside.contains(bad), "{bad} in {outside}");
        }
        assert!(body.contains("**1 firing**, 1 resolved · [Open Pitcrew](<http://p.test/>)"));
        assert!(
            body.contains("- [Runbook](<https://x.test/RunnerOffline.md?a=1&b=|%3E>)"),
            "{body}"
        );
        assert_eq!(title("a @b #1\r\n"), "a @\u{200b}b #\u{200b}1\n");
    }

    #[test]
    fn a_flood_fits() {
        let mut notification = sample(false);
        let mut one = notification.alerts[0].clone();
        one.annotations.insert("description".into(), "`".repeat(65_536));
        one.labels.insert("runner".into(), "`".repeat(65_536));
        notification.alerts = vec![one; 1000];
        let delivery = Delivery { id: "1", notification: &notification, memory: None };
        let body = body(&delivery, "");
        assert!(body.chars().count() < 65_000, "{}", body.chars().count());
        assert!(body.contains("more alerts"));
    }
}
