//! The page's queue: who waits for a runner, why, and how long jobs waited.

use maud::{Markup, html};

use super::{seconds, section};
use crate::api::queue::QueuePart;

/// What to do to see it.
const HOW: &str = "No exporter hears of workflows yet: give it github.webhook_secret_file and point \
    GitHub's webhook at its /webhooks/github, or give it github.auth and github.scopes to poll.";

pub(super) fn queue(queue: &QueuePart) -> Markup {
    let time = |value: Option<f64>| value.map_or_else(String::new, told);
    let table = html! {
        table {
            thead { tr {
                th { "Asked for" } th { "Waiting" } th { "Why" } th { "Oldest" }
                th { "Median, 1 h" } th { "p95, 1 h" }
            } }
            tbody {
                @for row in &queue.rows {
                    tr {
                        td { strong { (row.labels) } }
                        td { (row.waiting) }
                        td { @for (reason, count) in &row.reasons {
                            span class=(format!("tag {}", row.level.class())) { (reason.replace('_', " ")) " " (count) } " "
                        } }
                        td { (row.oldest_seconds.map_or_else(String::new, seconds)) }
                        td { (time(row.median_seconds)) }
                        td { (time(row.p95_seconds)) }
                    }
                }
            }
        }
    };
    let none = if queue.known { "No job waits, and none did within the last hour." } else { HOW };
    section("Queue", queue.rows.len(), none, table)
}

/// Short times with a digit behind the point: most jobs wait for seconds.
fn told(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} s") } else { seconds(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::queue::QueueRow;

    #[test]
    fn an_empty_queue_says_why_it_is_empty() {
        let page = |known| queue(&QueuePart { known, rows: Vec::new() }).into_string();
        assert!(page(false).contains("/webhooks/github") && !page(true).contains("/webhooks"));
    }

    #[test]
    fn what_jobs_ask_for_stays_text() {
        let labels = "<b>x</b>".to_owned();
        let reasons = vec![("<i>all_busy".to_owned(), 2.0)];
        let row = QueueRow { labels, reasons, median_seconds: Some(2.5), ..QueueRow::default() };
        let page = queue(&QueuePart { known: true, rows: vec![row] }).into_string();
        assert!(
            page.contains("&lt;b&gt;x&lt;/b&gt;") && page.contains("&lt;i&gt;all busy 2"),
            "{page}"
        );
        assert!(page.contains("2.5 s") && !page.contains("<b>") && !page.contains("<i>"), "{page}");
    }
}
