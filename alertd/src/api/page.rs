//! The status page: what a person who was just woken sees. Works without JavaScript.

mod queue;
mod style;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::status::{ActionRow, AlertRow, HostRow, Level, PoolRow, RulesPart, RunnerRow, Status};
use crate::model::sample::Timestamp;

/// Renders the page; every value from outside is escaped by maud.
pub fn render(status: &Status) -> Markup {
    let now = status.now;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content="5";
                title { (status.verdict.level.mark()) " Pitcrew: " (status.verdict.text) }
                style { (PreEscaped(style::CSS)) }
            }
            body {
                header class=(status.verdict.level.class()) {
                    h1 { span.mark { (status.verdict.level.mark()) } " " (status.verdict.text) }
                    p {
                        @match status.verdict.data_age_seconds {
                            Some(age) => { "data " (seconds(age)) " old" }
                            None => { "no data yet" }
                        }
                        " · " (clock(now)) " UTC · Pitcrew " (status.version)
                        @if let Some(source) = &status.source {
                            " · source " code { (source.url) }
                            @if let Some(why) = &source.trouble { " " strong { (why) } }
                        }
                        @if let (Some(why), None) = (&status.trouble, &status.source) {
                            " · " strong { (why) }
                        }
                        @if let Some(reason) = &status.hold { " · " strong { "all actions held: " (reason) } }
                    }
                }
                main {
                    (alerts(&status.alerts, now))
                    (rules(&status.rules, now))
                    (pools(&status.pools, now))
                    (queue::queue(&status.queue))
                    (runners(&status.runners))
                    (hosts(&status.hosts))
                    (actions(&status.actions, now))
                }
                footer {
                    a href="/status.json" { "status.json" } " · " a href="/metrics" { "metrics" }
                    " · " a href="/api/v1/rules" { "rules" } " · " a href="/api/v1/alerts" { "alerts" }
                    " · " a href="/api/v1/targets" { "targets" }
                }
            }
        }
    }
}

fn section(title: &str, count: usize, none: &str, table: Markup) -> Markup {
    html! {
        section {
            h2 { (title) @if count > 0 { " " small { (count) } } }
            @if count == 0 { p.none { (none) } } @else { div.scroll { (table) } }
        }
    }
}

fn alerts(rows: &[AlertRow], now: Timestamp) -> Markup {
    let table = html! {
        table {
            thead { tr { th { "Alert" } th { "Where" } th { "Since" } th { "What" } } }
            tbody {
                @for row in rows {
                    tr {
                        td { span class=(format!("tag {}", row.level.class())) { (row.state) } " "
                            @if row.unverified.is_some() { span.tag.quiet { "not verified" } " " }
                            @if row.flapping.is_some() { span.tag.quiet { "flapping" } " " }
                            @match row.runbook.as_deref().filter(|url| safe_link(url)) {
                                Some(url) => a href=(url) rel="noreferrer" { (row.name) },
                                None => strong { (row.name) },
                            }
                        }
                        td { (row.place) }
                        td title=(row.since.rfc3339()) { (ago(now, row.since)) }
                        td {
                            (row.summary)
                            @for why in [&row.unverified, &row.flapping].into_iter().flatten() { " " small { (why) } }
                            @if let Some(owner) = &row.acknowledged { " " small { "looked after by " (owner) } }
                        }
                    }
                }
            }
        }
    };
    section("Alerts", rows.len(), "Nothing is firing or pending.", table)
}

fn rules(part: &RulesPart, now: Timestamp) -> Markup {
    let rows = &part.rows;
    let table = html! {
        table {
            thead { tr { th { "Rule" } th { "Group" } th { "Since" } th { "Why" } } }
            tbody {
                @for row in rows {
                    tr {
                        td { span class=(format!("tag {}", row.level.class())) { (row.state) } " " strong { (row.name) } }
                        td { (row.group) }
                        td { @if let Some(since) = row.since { span title=(since.rfc3339()) { (ago(now, since)) } } }
                        td { (row.detail) }
                    }
                }
            }
        }
    };
    let well = format!("Of {} rules, none fails and each finds its data.", part.loaded);
    section("Rules in trouble", part.failing + part.unmatched, &well, table)
}

fn pools(rows: &[PoolRow], now: Timestamp) -> Markup {
    html! {
        @for pool in rows {
            section {
                h2 {
                    "Pool " (pool.name) " "
                    span class=(format!("tag {}", pool.level.class())) { (pool.state) }
                    " " small { "since " (ago(now, pool.since)) " · label " code { (pool.label) } " · " (pool.trust) }
                }
                @if let Some(reason) = &pool.hold { p.note { "Held: " (reason) } }
                @if let Some(error) = &pool.error { p.note { (error) } }
                div.scroll {
                    table {
                        thead { tr { th { "Member" } th { "Healthy" } th { "Labelled" } th { "Busy" } th { "Capacity" } } }
                        tbody {
                            @for member in &pool.members {
                                tr {
                                    td { strong { (member.name) } }
                                    td { (member.healthy) " of " (member.runners) }
                                    td { (bar(member.labelled, member.runners)) (member.labelled) }
                                    td { (member.busy) }
                                    td { (member.capacity) }
                                }
                            }
                        }
                    }
                }
                @if !pool.transitions.is_empty() {
                    ol.story {
                        @for step in &pool.transitions {
                            li { time title=(step.at.rfc3339()) { (clock(step.at)) } " " strong { (step.to) } " " (step.cause) }
                        }
                    }
                }
            }
        }
    }
}

fn runners(rows: &[RunnerRow]) -> Markup {
    let table = html! {
        table {
            thead { tr { th { "Runner" } th { "Host" } th { "State" } th { "Version" } th { "Jobs" } th { "Free for work" } } }
            tbody {
                @for row in rows {
                    tr {
                        td { strong { (row.name) } }
                        td { (row.instance) }
                        td { span class=(format!("tag {}", row.level.class())) { (row.state) } }
                        td { (row.version) }
                        td { (row.jobs) }
                        td { (row.free.map_or_else(String::new, bytes)) }
                    }
                }
            }
        }
    };
    section("Runners", rows.len(), "No runner installation was found on the scraped hosts.", table)
}

fn hosts(rows: &[HostRow]) -> Markup {
    let table = html! {
        table {
            thead { tr { th { "Host" } th { "Scrape" } th { "Load" } th { "Memory used" } th { "Disk used" } } }
            tbody {
                @for row in rows {
                    tr {
                        td { strong { (row.instance) } " " small { (row.job) } }
                        td { span class=(format!("tag {}", row.level.class())) { (row.health) } " " small { (row.detail) } }
                        td { @if let Some(load) = row.load { (format!("{load:.2}")) } @if let Some(cpus) = row.cpus { small { " of " (cpus) " CPUs" } } }
                        td { (share(row.memory_used, row.memory_total)) }
                        td { (share(row.disk_used, row.disk_total)) }
                    }
                }
            }
        }
    };
    section("Hosts", rows.len(), "No target is configured.", table)
}

fn actions(rows: &[ActionRow], now: Timestamp) -> Markup {
    let table = html! {
        table {
            thead { tr { th { "When" } th { "Action" } th { "Target" } th { "Outcome" } th { "Cause" } th { "By" } } }
            tbody {
                @for row in rows {
                    tr {
                        td title=(row.at.rfc3339()) { (ago(now, row.at)) " ago" }
                        td { (row.action) }
                        td { (row.target) }
                        td { span class=(format!("tag {}", row.level.class())) { (row.outcome) } " " small { (row.detail) } }
                        td { (row.cause) }
                        td { (row.who) }
                    }
                }
            }
        }
    };
    section("Recent actions", rows.len(), "No action was taken or proposed yet.", table)
}

/// A bar and its text: `12.3 GiB of 31.2 GiB (39 %)`.
fn share(used: Option<f64>, total: Option<f64>) -> Markup {
    match (used, total) {
        (Some(used), Some(total)) if total > 0.0 => {
            let percent = (100.0 * used / total).clamp(0.0, 100.0);
            html! {
                meter min="0" max="100" high="85" value=(format!("{percent:.0}")) {}
                (format!(" {percent:.0} % ")) small { "of " (bytes(total)) }
            }
        }
        _ => html! {},
    }
}

fn bar(part: usize, whole: usize) -> Markup {
    html! { meter min="0" max=(whole.max(1)) value=(part) {} " " }
}

/// Only web links are rendered as links: an annotation is data from outside.
fn safe_link(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

fn ago(now: Timestamp, then: Timestamp) -> String {
    seconds(now.since(then).as_secs_f64())
}

fn seconds(value: f64) -> String {
    let whole = value as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} m {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} m", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

fn clock(at: Timestamp) -> String {
    at.rfc3339().get(11..19).unwrap_or_default().to_owned()
}

impl Level {
    fn class(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Warn => "warn",
            Level::Bad => "bad",
            Level::Quiet => "quiet",
        }
    }

    /// Shape as well as colour, for those who cannot tell red from green.
    fn mark(self) -> &'static str {
        match self {
            Level::Good => "●",
            Level::Warn => "▲",
            Level::Bad => "■",
            Level::Quiet => "○",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        for (value, want) in
            [(5.9, "5 s"), (61.0, "1 m 1 s"), (7260.0, "2 h 1 m"), (90_000.0, "1 d 1 h")]
        {
            assert_eq!(seconds(value), want);
        }
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(clock(Timestamp(951_782_400_123)), "00:00:00");
    }

    #[test]
    fn what_comes_from_outside_stays_text() {
        let mut status = Status::default();
        status.alerts.push(AlertRow {
            name: "<script>alert(1)</script>".to_owned(),
            runbook: Some("javascript:alert(1)".to_owned()),
            ..AlertRow::default()
        });
        let page = render(&status).into_string();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("href=\"javascript:"), "{page}");
    }
}
