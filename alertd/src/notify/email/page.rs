//! The HTML of a mail: tables and inline styles, as mail programs want it, legible in the dark too
//! (pure).

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::message::{MAX_SHOWN, MAX_TEXT, more};
use crate::notify::wording::{self, Severity, clip, legible};
use crate::route::notification::{Notification, NotifiedAlert, common};

/// Facts of one alert that are shown, and characters of each.
const MAX_FACTS: usize = 20;
const MAX_FACT: usize = 300;
/// Labels that all alerts share and the head shows.
const MAX_SHARED: usize = 8;

pub(in crate::notify) const FONT: &str = "font-family:'Segoe UI',Helvetica,Arial,sans-serif;";
/// What cannot be said inline: other colours in the dark, and the full width on a telephone.
const SHEET: &str = "
:root { color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  .page { background: #14171a !important; }
  .card { background: #1e2328 !important; border-color: #363d44 !important; }
  .ink { color: #e8eaed !important; }
  .dim { color: #a3abb3 !important; }
  .pill { background: #2c333a !important; color: #e8eaed !important; }
}
@media (max-width: 640px) { .wide { width: 100% !important; } }
";

/// Colours of one state: the band, and ink on it.
fn color(alert: &NotifiedAlert) -> &'static str {
    match (alert.ends_at.is_some(), Severity::of(alert)) {
        (true, _) => "#1e7e45",
        (false, Severity::Critical) => "#c4262e",
        (false, Severity::Warning) => "#9a6700",
        (false, Severity::Info) => "#1f6feb",
    }
}

fn state(alert: &NotifiedAlert) -> String {
    wording::ended(alert).unwrap_or_else(|| match Severity::of(alert) {
        Severity::Critical => "critical".to_owned(),
        Severity::Warning => "warning".to_owned(),
        Severity::Info => "info".to_owned(),
    })
}

/// Where to go from an alert: name and address, only of http and https.
pub(super) fn links(alert: &NotifiedAlert) -> Vec<(&'static str, String)> {
    [
        ("Runbook", alert.annotation("runbook_url")),
        ("Dashboard", alert.annotation("dashboard_url")),
        ("Source", alert.generator_url.as_str()),
    ]
    .into_iter()
    .filter_map(|(name, url)| Some((name, wording::link(url)?.to_string())))
    .collect()
}

/// The whole page for one notification.
pub(super) fn page(notification: &Notification, external_url: &str) -> String {
    let subject = wording::subject(notification);
    let firing = notification.firing().count() as u64 + notification.truncated;
    let over = notification.alerts.len() as u64 + notification.truncated - firing;
    let worst = notification.firing().min_by_key(|alert| match Severity::of(alert) {
        Severity::Critical => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    });
    let band = worst.or(notification.alerts.first()).map_or("#1e7e45", color);
    let counts = match (firing, over) {
        (0, over) => format!("{over} resolved"),
        (firing, 0) => format!("{firing} firing"),
        (firing, over) => format!("{firing} firing, {over} resolved"),
    };
    let mut shared = common(notification.alerts.iter().map(|alert| &alert.labels));
    shared.remove("alertname");
    let body = html! {
        (head(band, &subject, &counts, shared.iter().take(MAX_SHARED)))
        @for alert in notification.alerts.iter().take(MAX_SHOWN) { (card(alert)) }
        @if let Some(more) = more(notification) {
            tr { td class="dim" style={ (FONT) "font-size:14px;color:#57606a;padding:8px 4px;" } { (more) } }
        }
    };
    frame(&subject, &counts, body, external_url)
}

/// Everything around the rows of a mail; `preview` is what lists of mails show beside the subject.
pub(in crate::notify) fn frame(
    title: &str,
    preview: &str,
    rows: Markup,
    external_url: &str,
) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="supported-color-schemes" content="light dark";
                title { (clip(&legible(title), 200)) }
                style { (PreEscaped(SHEET)) }
            }
            body class="page" style="margin:0;padding:0;background:#f3f4f6;" {
                div style="display:none;max-height:0;overflow:hidden;" { (preview) }
                table class="page" role="presentation" width="100%" cellpadding="0" cellspacing="0"
                    style="background:#f3f4f6;" {
                    tr { td align="center" style="padding:24px 8px;" {
                        table class="wide" role="presentation" width="600" cellpadding="0"
                            cellspacing="0" style="width:600px;max-width:100%;" {
                            (rows)
                            tr { td class="dim" style={ (FONT) "font-size:12px;color:#57606a;padding:12px 4px;" } {
                                "Sent by Pitcrew."
                                @if let Some(url) = wording::link(external_url) {
                                    " " a class="dim" href=(url) style="color:#57606a;" { "Open Pitcrew" }
                                }
                            } }
                        }
                    } }
                }
            }
        }
    };
    page.into_string()
}

/// The coloured row on top: what it is about, how many, and what they have in common.
pub(in crate::notify) fn head<'a>(
    band: &str,
    title: &str,
    counts: &str,
    shared: impl Iterator<Item = (&'a String, &'a String)>,
) -> Markup {
    html! {
        tr { td style={ "background:" (band) ";border-radius:8px 8px 0 0;padding:20px 24px;" } {
            div style={ (FONT) "font-size:20px;line-height:28px;font-weight:600;color:#ffffff;word-break:break-word;" } {
                (legible(title))
            }
            div style={ (FONT) "font-size:14px;line-height:20px;color:#ffffff;" } { (counts) }
        } }
        @let pills: Vec<_> = shared.collect();
        @if !pills.is_empty() {
            tr { td class="card" style="background:#ffffff;border:1px solid #d0d7de;border-top:0;padding:12px 24px;" {
                @for (name, value) in pills {
                    span class="pill" style={ (FONT) "display:inline-block;background:#eaeef2;color:#24292f;border-radius:10px;padding:2px 10px;margin:2px 4px 2px 0;font-size:12px;line-height:18px;word-break:break-all;" } {
                        (legible(name)) "=" (clip(&legible(value), 120))
                    }
                }
            } }
        }
    }
}

fn card(alert: &NotifiedAlert) -> Markup {
    let color = color(alert);
    let description = wording::description(alert);
    html! {
        tr { td style="padding-top:12px;" {
            table class="card" role="presentation" width="100%" cellpadding="0" cellspacing="0"
                style={ "background:#ffffff;border:1px solid #d0d7de;border-left:4px solid " (color) ";border-radius:6px;" } {
                tr { td style="padding:16px 20px;" {
                    div style={ (FONT) "font-size:12px;line-height:18px;font-weight:600;color:" (color) ";" } {
                        (state(alert))
                    }
                    div class="ink" style={ (FONT) "font-size:16px;line-height:24px;font-weight:600;color:#1f2328;word-break:break-word;" } {
                        (clip(&legible(wording::headline(alert)), 300))
                    }
                    @if !description.is_empty() {
                        div class="ink" style={ (FONT) "font-size:14px;line-height:20px;color:#1f2328;white-space:pre-wrap;word-break:break-word;padding-top:6px;" } {
                            (clip(&legible(description), MAX_TEXT))
                        }
                    }
                    (facts(alert))
                    (buttons(alert))
                } }
            }
        } }
    }
}

fn facts(alert: &NotifiedAlert) -> Markup {
    let mut facts = wording::facts(alert);
    facts.truncate(MAX_FACTS);
    facts.push(("started".to_owned(), alert.starts_at.rfc3339()));
    html! {
        table role="presentation" cellpadding="0" cellspacing="0" style="padding-top:8px;" {
            @for (name, value) in facts {
                tr {
                    td class="dim" style={ (FONT) "font-size:13px;line-height:20px;color:#57606a;padding-right:16px;vertical-align:top;" } { (legible(&name)) }
                    td class="ink" style={ (FONT) "font-size:13px;line-height:20px;color:#1f2328;word-break:break-all;" } { (clip(&legible(&value), MAX_FACT)) }
                }
            }
        }
    }
}

fn buttons(alert: &NotifiedAlert) -> Markup {
    let links = links(alert);
    html! {
        @if !links.is_empty() {
            div style="padding-top:10px;" {
                @for (name, url) in links {
                    a class="pill" href=(url) style={ (FONT) "display:inline-block;background:#eaeef2;color:#24292f;border-radius:6px;padding:6px 14px;margin-right:8px;font-size:13px;text-decoration:none;" } { (name) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    #[test]
    fn labels_stay_text_and_links_stay_links() {
        let html = page(&sample(true), "javascript:alert(1)");
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("javascript:"), "{html}");
        assert!(html.contains("href=\"https://x.test/RunnerOffline.md?a=1&amp;b=|%3E\""), "{html}");
        assert!(html.contains("1 firing, 1 resolved"), "{html}");
        assert!(html.contains("resolved after 4m 5s"), "{html}");
    }

    #[test]
    fn a_page_stands_without_its_sheet_and_has_one_for_the_dark() {
        let html = page(&sample(false), "http://p.test/");
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{html}");
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("color-scheme"));
        // What mail programs drop: scripts, other files, layout by anything but tables.
        for bad in ["<script", "<link", "<img", "flex", "grid", "url("] {
            assert!(!html.contains(bad), "{bad}");
        }
        let mut many = sample(false);
        let mut one = many.alerts[0].clone();
        one.annotations.insert("description".into(), "x".repeat(65_536));
        one.labels.insert("instance".into(), "y".repeat(65_536));
        many.alerts = vec![one; 1000];
        assert!(page(&many, "").len() < 400_000, "{}", page(&many, "").len());
        assert!(page(&many, "").contains("… and 950 more alerts"));
    }
}
