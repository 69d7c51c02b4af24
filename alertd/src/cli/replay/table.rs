//! The outcome of a replay as text for people.

use std::collections::BTreeMap;
use std::time::Duration;

use pitcrew_exporter::config::duration;

use super::Outcome;
use crate::cli::query::clean;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::sample::Timestamp;
use crate::rules::replay::{Firing, Replayed};

/// Firings that are listed for people; JSON has all.
const MAX_LISTED: usize = 200;

pub(super) fn text(outcome: &Outcome) -> String {
    let mut text = format!("{} to {}\n", outcome.from, outcome.to);
    let ends = outcome.ends;
    match (&outcome.b, &outcome.comparison) {
        (Some(b), Some(comparison)) => {
            text += &format!("\nA\n{}\nB\n{}", summary(&outcome.a), summary(b));
            text += &section("only A fires", &comparison.only_a, ends);
            text += &section("only B fires", &comparison.only_b, ends);
            let (changed, same): (Vec<_>, Vec<_>) = comparison.both.iter().partition(|pair| {
                pair.fired_later_seconds != 0.0 || pair.resolved_later_seconds != Some(0.0)
            });
            text += &format!("\nboth fire at the same times: {}\n", same.len());
            text += &format!("both fire, at other times: {}\n", changed.len());
            let head = ["FIRED IN A", "B FIRES", "B RESOLVES", "ALERT"].map(str::to_owned);
            let rows = changed.iter().take(MAX_LISTED).map(|pair| {
                let resolves = match (pair.resolved_later_seconds, &pair.a.resolved_at) {
                    (Some(seconds), _) => later(seconds),
                    (None, None) if pair.b.resolved_at.is_none() => "neither".to_owned(),
                    (None, None) => "A never".to_owned(),
                    (None, Some(_)) => "B never".to_owned(),
                };
                let fired = pair.a.fired_at.rfc3339();
                [fired, later(pair.fired_later_seconds), resolves, alert(&pair.a.labels)]
            });
            let rows: Vec<_> = rows.collect();
            if !rows.is_empty() {
                text += &columns(std::iter::once(head).chain(rows).collect());
            }
        }
        _ => {
            text += &section("fires", &outcome.a.firings, ends);
            text += &format!("\n{}", summary(&outcome.a));
        }
    }
    text
}

fn summary(set: &Replayed) -> String {
    let head = ["RULE", "FIRED", "TOTAL", "LONGEST", "ONLY PENDING", "FAILED"].map(str::to_owned);
    let rows = set.rules.iter().map(|rule| {
        [
            clean(&rule.rule),
            rule.firings.to_string(),
            seconds(rule.firing_seconds),
            seconds(rule.longest_seconds),
            rule.only_pending.to_string(),
            rule.failures.to_string(),
        ]
    });
    let mut text = columns(std::iter::once(head).chain(rows).collect());
    for rule in set.rules.iter().filter(|rule| rule.failures > 0) {
        let error = rule.last_error.as_deref().unwrap_or("");
        text += &format!("{}: failed: {}\n", clean(&rule.rule), clean(error));
    }
    if set.more_firings > 0 {
        text += &format!("{} firings more than are listed\n", set.more_firings);
    }
    text
}

fn section(title: &str, firings: &[Firing], ends: Timestamp) -> String {
    let mut text = format!("\n{title}: {}\n", firings.len());
    if firings.is_empty() {
        return text;
    }
    let head = ["FIRED", "FOR", "PENDING", "ALERT"].map(str::to_owned);
    let rows = firings.iter().take(MAX_LISTED).map(|firing| {
        let still = if firing.resolved_at.is_none() { "+" } else { "" };
        [
            firing.fired_at.rfc3339(),
            format!("{}{still}", duration::format(firing.lasted(ends))),
            duration::format(firing.fired_at.since(firing.active_at)),
            alert(&firing.labels),
        ]
    });
    text += &columns(std::iter::once(head).chain(rows).collect());
    if firings.len() > MAX_LISTED {
        text += &format!("and {} more; -o json has all\n", firings.len() - MAX_LISTED);
    }
    text
}

fn later(seconds: f64) -> String {
    let time = duration::format(Duration::from_secs_f64(seconds.abs()));
    match seconds {
        0.0 => "at once".to_owned(),
        seconds if seconds > 0.0 => format!("{time} later"),
        _ => format!("{time} earlier"),
    }
}

fn seconds(seconds: f64) -> String {
    duration::format(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn alert(labels: &BTreeMap<String, String>) -> String {
    let name = labels.get(ALERT_NAME).map_or("", String::as_str);
    let rest = labels.iter().filter(|(label, _)| *label != ALERT_NAME);
    let rest = Labels::from_pairs(rest.map(|(label, value)| (label.as_str(), value.as_str())));
    let rest = if rest.is_empty() { String::new() } else { rest.to_string() };
    clean(&format!("{name}{rest}"))
}

/// Rows under one another, as wide as they must be; the last column takes what it needs.
fn columns<const N: usize>(rows: Vec<[String; N]>) -> String {
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::replay::RuleSummary;
    use crate::rules::replay::compare::compare;

    fn firing(job: &str, active: i64, fired: i64, resolved: Option<i64>) -> Firing {
        let labels = [("alertname", "A"), ("job", job)];
        Firing {
            group: "g".to_owned(),
            rule: "A".to_owned(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            active_at: Timestamp(active * 1000),
            fired_at: Timestamp(fired * 1000),
            resolved_at: resolved.map(|at| Timestamp(at * 1000)),
        }
    }

    fn outcome(a: Vec<Firing>, b: Option<Vec<Firing>>) -> Outcome {
        let set = |firings: Vec<Firing>| Replayed {
            rules: vec![RuleSummary {
                group: "g".to_owned(),
                rule: "A".to_owned(),
                alerting: true,
                firings: firings.len(),
                only_pending: 1,
                firing_seconds: 90.0,
                longest_seconds: 60.0,
                failures: 1,
                last_error: Some("no\u{1b} way".to_owned()),
            }],
            firings,
            ..Replayed::default()
        };
        let comparison = b.as_ref().map(|b| compare(&a, b));
        let (from, to) = (Timestamp(0).rfc3339(), Timestamp(100_000).rfc3339());
        Outcome { from, to, ends: Timestamp(100_000), a: set(a), b: b.map(set), comparison }
    }

    #[test]
    fn one_set_and_two() {
        let a = vec![firing("x", 0, 10, Some(20)), firing("y", 30, 40, None)];
        let text = super::text(&outcome(a.clone(), None));
        for want in [
            "fires: 2\nFIRED                     FOR  PENDING  ALERT\n",
            "1970-01-01T00:00:10.000Z  10s  10s      A{job=\"x\"}\n",
            "1970-01-01T00:00:40.000Z  1m+  10s      A{job=\"y\"}\n",
            "A     2      1m30s  1m       1             1\n",
            "A: failed: no\u{fffd} way\n",
        ] {
            assert!(text.contains(want), "{want}\n{text}");
        }
        let b = vec![firing("x", 5, 15, Some(20)), firing("z", 0, 0, Some(1))];
        let text = super::text(&outcome(a, Some(b)));
        for want in [
            "only A fires: 1\n",
            "only B fires: 1\n",
            "both fire at the same times: 0\nboth fire, at other times: 1\n",
            "1970-01-01T00:00:10.000Z  5s later  at once     A{job=\"x\"}\n",
        ] {
            assert!(text.contains(want), "{want}\n{text}");
        }
    }
}
