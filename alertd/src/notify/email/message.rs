//! The message itself: headers, a text for terminals and watches, HTML for everything else (pure).

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{self, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};

use super::page;
use crate::model::sample::Timestamp;
use crate::notify::Delivery;
use crate::notify::wording::{self, Severity, clip};
use crate::route::notification::Notification;

/// Alerts that are spelled out; the rest is counted. With the limit below this keeps a mail within
/// what relays take.
pub(super) const MAX_SHOWN: usize = 50;
pub(super) const MAX_TEXT: usize = 2000;
/// Of a header's value, however it is folded.
const MAX_HEADER: usize = 900;

/// Who writes to whom.
pub(super) struct Parties {
    pub(super) from: Mailbox,
    pub(super) to: Mailboxes,
}

/// What stands in the configuration in place of our own words, expanded.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) subject: Option<String>,
    /// An empty one: the mail has no such part.
    pub(super) html: Option<String>,
    pub(super) text: Option<String>,
    /// By name in any case; `Subject` among them.
    pub(super) headers: Vec<(String, String)>,
}

/// A mail, whatever it is about.
pub(super) struct Letter<'a> {
    /// Becomes its Message-ID: the same for every attempt.
    pub(super) id: &'a str,
    pub(super) at: Timestamp,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
    /// These replace ours of the same names.
    pub(super) headers: Vec<(String, String)>,
    pub(super) urgent: bool,
    /// The Message-ID that it refers to.
    pub(super) first: Option<&'a str>,
}

pub(super) fn message_id(id: &str, from: &Mailbox) -> String {
    format!("<{id}@{}>", from.email.domain())
}

/// What a notification says. `first` is the id of the first mail of its group, unless this is that
/// one.
pub(super) fn letter<'a>(
    delivery: &Delivery<'a>,
    texts: Texts,
    external_url: &str,
    first: Option<&'a str>,
) -> Letter<'a> {
    let notification = delivery.notification;
    Letter {
        id: delivery.id,
        at: notification.at,
        subject: texts.subject.unwrap_or_else(|| wording::subject(notification)),
        text: texts.text.unwrap_or_else(|| plain(notification, external_url)),
        html: texts.html.unwrap_or_else(|| page::page(notification, external_url)),
        headers: texts.headers,
        urgent: notification.firing().any(|alert| Severity::of(alert) == Severity::Critical),
        first,
    }
}

/// The mail as it goes over the wire.
pub(super) fn wire(parties: &Parties, letter: Letter<'_>) -> Result<Vec<u8>, String> {
    let given = |name: &str| letter.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut builder = Message::builder()
        .envelope(envelope(parties)?)
        .mailbox(header::From::from(Mailboxes::from(parties.from.clone())));
    if !given("Subject") {
        builder = builder.subject(clip(&letter.subject.replace(char::is_control, " "), MAX_HEADER));
    }
    if !given("To") {
        builder = builder.mailbox(header::To::from(parties.to.clone()));
    }
    if !given("Date") {
        let at = Duration::from_millis(u64::try_from(letter.at.0).unwrap_or(0));
        builder = builder.date(SystemTime::UNIX_EPOCH + at);
    }
    if !given("Message-ID") {
        builder = builder.message_id(Some(message_id(letter.id, &parties.from)));
    }
    if let Some(first) = letter.first {
        builder = builder.in_reply_to(first.to_owned()).references(first.to_owned());
    }
    let mut headers = vec![
        ("Auto-Submitted".to_owned(), "auto-generated".to_owned()),
        ("X-Pitcrew-Delivery".to_owned(), letter.id.to_owned()),
    ];
    if letter.urgent {
        headers.push(("Importance".to_owned(), "high".to_owned()));
    }
    headers.retain(|(name, _)| !given(name));
    headers.extend(letter.headers);
    for (name, value) in headers {
        let known = HeaderName::new_from_ascii(name.clone());
        let known = known.map_err(|_| format!("{name:?} is no name of a header"))?;
        // On one line, so that no label can add a header.
        let value = clip(&value.replace(char::is_control, " "), MAX_HEADER);
        builder = builder.raw_header(HeaderValue::new(known, value));
    }
    let plain = MultiPart::alternative().singlepart(SinglePart::plain(letter.text));
    let parts = match letter.html.is_empty() {
        true => plain,
        false => plain.singlepart(SinglePart::html(letter.html)),
    };
    builder.multipart(parts).map(|mail| mail.formatted()).map_err(|error| error.to_string())
}

fn envelope(parties: &Parties) -> Result<lettre::address::Envelope, String> {
    let to = parties.to.iter().map(|mailbox| mailbox.email.clone()).collect();
    lettre::address::Envelope::new(Some(parties.from.email.clone()), to)
        .map_err(|error| error.to_string())
}

fn plain(notification: &Notification, external_url: &str) -> String {
    let mut lines = vec![wording::subject(notification), String::new()];
    for alert in notification.alerts.iter().take(MAX_SHOWN) {
        let state = wording::ended(alert).unwrap_or_else(|| "firing".to_owned());
        lines.push(format!("{} ({state})", clip(wording::headline(alert), MAX_TEXT)));
        let description = wording::description(alert);
        if !description.is_empty() {
            lines.push(clip(description, MAX_TEXT));
        }
        for (name, value) in wording::facts(alert) {
            lines.push(format!("  {name}: {}", clip(&value, MAX_TEXT)));
        }
        lines.push(format!("  started: {}", alert.starts_at.rfc3339()));
        for (name, url) in page::links(alert) {
            lines.push(format!("  {}: {url}", name.to_lowercase()));
        }
        lines.push(String::new());
    }
    lines.extend(more(notification));
    lines.extend(wording::link(external_url).map(|url| url.to_string()));
    wording::legible(&lines.join("\n"))
}

/// How many alerts are not spelled out, if any.
pub(super) fn more(notification: &Notification) -> Option<String> {
    let left = notification.alerts.len().saturating_sub(MAX_SHOWN) as u64 + notification.truncated;
    (left > 0).then(|| format!("… and {left} more alerts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;

    fn parties() -> Parties {
        let from = "Pit Crew <p@x.test>".parse().unwrap();
        Parties { from, to: "a@x.test, B <b@x.test>".parse().unwrap() }
    }

    fn mail(notification: &Notification, texts: Texts, first: Option<&str>) -> String {
        let delivery = Delivery { id: "0123", notification, memory: None };
        let mail = wire(&parties(), letter(&delivery, texts, "http://p.test", first)).unwrap();
        String::from_utf8(mail).unwrap()
    }

    #[test]
    fn a_mail_with_a_stable_id_a_thread_and_no_foreign_headers() {
        let mut notification = sample(true);
        notification.group_labels.insert("x".into(), "evil\r\nBcc: c@x.test".into());
        let first = mail(&notification, Texts::default(), None);
        let (head, _) = first.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nMessage-ID: <0123@x.test>\r\n"), "{head}");
        assert!(!head.contains("References") && !head.contains("\r\nBcc:"), "{head}");
        assert!(head.contains("\r\nSubject: [FIRING:1] RunnerOffline ci"), "{head}");
        assert!(head.contains("From: \"Pit Crew\" <p@x.test>\r\n"), "{head}");
        assert!(head.contains("multipart/alternative"), "{head}");
        let next = mail(&notification, Texts::default(), Some("<first@x.test>"));
        for name in ["In-Reply-To", "References"] {
            assert!(next.contains(&format!("\r\n{name}: <first@x.test>\r\n")), "{next}");
        }
        assert!(plain(&notification, "").contains("resolved after 4m 5s"));
    }

    #[test]
    fn headers_of_the_configuration_replace_ours() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let texts = Texts {
            headers: vec![
                header("subject", "Grüße\r\nBcc: c@x.test"),
                header("To", "team@x.test"),
                header("X-Team", "ci"),
            ],
            subject: None,
            html: Some("<p>own</p>".into()),
            text: Some("own".into()),
        };
        let mail = mail(&sample(false), texts, None);
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let lower = head.to_ascii_lowercase();
        assert_eq!(lower.matches("\r\nsubject:").count(), 1, "{head}");
        assert_eq!(lower.matches("\r\nto:").count(), 1, "{head}");
        assert!(!lower.contains("\r\nbcc:") && head.contains("X-Team: ci"), "{head}");
        assert!(body.contains("<p>own</p>"), "{body}");
        let texts = Texts { headers: vec![header("A B", "")], ..Texts::default() };
        let delivery = Delivery { id: "0", notification: &sample(false), memory: None };
        assert!(wire(&parties(), letter(&delivery, texts, "", None)).is_err());
    }
}
