//! A digest in words: for mail as text and HTML, for Slack (pure).

use chrono_tz::Tz;
use maud::{Markup, html};

use super::compose::{Mean, Summary};
use super::when;
use crate::db::history::Episode;
use crate::model::sample::Timestamp;
use crate::notify::email::page::{FONT, frame, head};
use crate::notify::mrkdwn;
use crate::notify::wording::{self, clip, legible, rough};

/// Slack shows no more of a message's text at once.
const MAX_SLACK: usize = 3000;

pub(super) fn subject(summary: &Summary, zone: Tz) -> String {
    let day = day(summary.to, zone);
    format!(
        "[DIGEST] {day}: {} fired, {} resolved, {} firing",
        summary.fired, summary.resolved, summary.open_count
    )
}

fn day(at: Timestamp, zone: Tz) -> String {
    when::local(at, zone).map_or_else(|| at.rfc3339(), |at| at.format("%Y-%m-%d").to_string())
}

fn time(at: Timestamp, zone: Tz) -> String {
    let local = when::local(at, zone);
    local.map_or_else(|| at.rfc3339(), |at| at.format("%Y-%m-%d %H:%M %Z").to_string())
}

/// The figures on top: name and value.
fn figures(summary: &Summary) -> Vec<(&'static str, String)> {
    let mean = |mean: Option<Mean>| match mean {
        Some(Mean { time, of }) => format!("{} (of {of})", rough(time)),
        None => "–".to_owned(),
    };
    let severities = summary.by_severity.iter().map(|(severity, count)| {
        let severity = if severity.is_empty() { "without severity" } else { severity };
        format!("{count} {severity}")
    });
    let severities: Vec<_> = severities.collect();
    let fired = match severities.is_empty() {
        true => "0".to_owned(),
        false => format!("{} ({})", summary.fired, severities.join(", ")),
    };
    vec![
        ("Fired", fired),
        ("Resolved", summary.resolved.to_string()),
        ("Firing now", summary.open_count.to_string()),
        ("Mean time to detect", mean(summary.mttd)),
        ("Mean time to repair", mean(summary.mttr)),
    ]
}

/// The lists below: title, and lines of two columns each.
fn lists(summary: &Summary, zone: Tz) -> Vec<(String, Vec<(String, String)>)> {
    let top = summary
        .top
        .iter()
        .map(|top| (top.name.clone(), format!("{} × · {} in all", top.count, rough(top.firing))));
    let open = summary.open.iter().map(|episode| {
        (name(episode), {
            format!("since {} · {}", time(episode.started_at, zone), episode.labels)
        })
    });
    let more = |all: usize, shown: usize| match all.saturating_sub(shown) {
        0 => String::new(),
        left => format!(", of which {left} are not listed"),
    };
    let silences = summary.silences.iter().map(|silence| {
        let matchers = silence.matchers.iter();
        let matchers = matchers.map(|m| format!("{}{}{:?}", m.name, m.op().symbol(), m.value));
        let until = time(silence.ends_at, zone);
        let by = format!("until {until} by {}: {}", silence.created_by, silence.comment);
        (matchers.collect::<Vec<_>>().join(", "), by)
    });
    [
        ("Most often".to_owned(), top.collect::<Vec<_>>()),
        (format!("Firing now{}", more(summary.open_count, summary.open.len())), open.collect()),
        (
            format!("Silenced{}", more(summary.silence_count, summary.silences.len())),
            silences.collect(),
        ),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .collect()
}

fn name(episode: &Episode) -> String {
    match episode.severity.as_str() {
        "" => episode.name.clone(),
        severity => format!("{} ({severity})", episode.name),
    }
}

fn period(summary: &Summary, zone: Tz) -> String {
    format!("{} to {}", time(summary.from, zone), time(summary.to, zone))
}

pub(super) fn plain(summary: &Summary, zone: Tz, external_url: &str) -> String {
    let mut lines = vec![subject(summary, zone), period(summary, zone), String::new()];
    lines.extend(figures(summary).into_iter().map(|(name, value)| format!("{name}: {value}")));
    for (title, rows) in lists(summary, zone) {
        lines.push(format!("\n{title}"));
        for (left, right) in rows {
            lines.push(format!("  {left}{}{right}", if right.is_empty() { "" } else { ": " }));
        }
    }
    lines.extend(wording::link(external_url).map(|url| format!("\n{url}")));
    legible(&lines.join("\n"))
}

pub(super) fn page(summary: &Summary, zone: Tz, external_url: &str) -> String {
    let subject = subject(summary, zone);
    let rows = html! {
        (head("#24292f", &format!("Digest of {}", day(summary.to, zone)), &period(summary, zone), std::iter::empty()))
        (card(None, &figures(summary).into_iter().map(|(n, v)| (n.to_owned(), v)).collect::<Vec<_>>()))
        @for (title, rows) in lists(summary, zone) { (card(Some(&title), &rows)) }
    };
    frame(&subject, &period(summary, zone), rows, external_url)
}

fn card(title: Option<&str>, rows: &[(String, String)]) -> Markup {
    html! {
        tr { td style="padding-top:12px;" {
            table class="card" role="presentation" width="100%" cellpadding="0" cellspacing="0"
                style="background:#ffffff;border:1px solid #d0d7de;border-radius:6px;" {
                tr { td style="padding:14px 20px;" {
                    @if let Some(title) = title {
                        div class="ink" style={ (FONT) "font-size:15px;font-weight:600;color:#1f2328;padding-bottom:6px;" } { (title) }
                    }
                    table role="presentation" cellpadding="0" cellspacing="0" {
                        @for (left, right) in rows {
                            tr {
                                td class="ink" style={ (FONT) "font-size:13px;line-height:20px;color:#1f2328;padding-right:16px;vertical-align:top;word-break:break-word;" } { (clip(&legible(left), 300)) }
                                td class="dim" style={ (FONT) "font-size:13px;line-height:20px;color:#57606a;word-break:break-word;" } { (clip(&legible(right), 400)) }
                            }
                        }
                    }
                } }
            }
        } }
    }
}

/// In Slack's markup.
pub(super) fn slack(summary: &Summary, zone: Tz, external_url: &str) -> String {
    let escape = |text: &str| mrkdwn::escape(&legible(text));
    let mut text = format!("*{}*\n{}", subject(summary, zone), period(summary, zone));
    for (name, value) in figures(summary) {
        text.push_str(&format!("\n{name}: {}", escape(&value)));
    }
    for (title, rows) in lists(summary, zone) {
        text.push_str(&format!("\n\n*{title}*"));
        for (left, right) in rows {
            text.push_str(&format!(
                "\n• {} {}",
                escape(&clip(&left, 200)),
                escape(&clip(&right, 300))
            ));
        }
    }
    let mut text = clip(&text, MAX_SLACK);
    if let Some(url) = wording::link(external_url) {
        text.push_str(&format!("\n<{}|Open Pitcrew>", escape(url.as_str()).replace('|', "%7C")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::compose::tests::sample;
    use super::*;

    #[test]
    fn says_it_in_three_ways_without_markup_of_labels() {
        let summary = sample();
        let text = plain(&summary, Tz::UTC, "http://p.test/");
        for want in [
            "[DIGEST] 1970-01-01: 4 fired, 2 resolved, 3 firing",
            "1970-01-01 00:16 UTC to 1970-01-01 00:33 UTC",
            "Fired: 4 (1 without severity, 1 critical, 2 info)",
            "Mean time to detect: 20s (of 2)",
            "Mean time to repair: 9m 10s (of 2)",
            "  A: 2 × · 15m in all",
            "A (info): since 1970-01-01 00:20 UTC · instance=<a>",
            "job=~\"x\": until 1970-01-01 02:00 UTC by ann: disks <b>",
            "http://p.test/",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        let html = page(&summary, Tz::UTC, "http://p.test/");
        assert!(
            html.contains("instance=&lt;a&gt;")
                && !html.contains("<a>")
                && html.contains("disks &lt;b&gt;"),
            "{html}"
        );
        let slack = slack(&summary, Tz::UTC, "http://p.test/");
        assert!(
            slack.contains("instance=&lt;a&gt;") && slack.contains("<http://p.test/|Open"),
            "{slack}"
        );
    }
}
