//! E-mail over SMTP: text and HTML in one message, one thread per alert group.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::message::header::HeaderName;
use lettre::message::header::HeaderValue;
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncTransport, Message, Tokio1Executor};
use maud::html;
use ring::digest;

use super::wording::{self, clip};
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::model::causes::causes;
use crate::route::notification::{Notification, hex};
use crate::route::receiver::{Receiver, email};

/// Alerts that are spelled out; the rest is counted.
const MAX_SHOWN: usize = 100;
const MAX_TEXT: usize = 4000;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let emails = receiver.email.iter().map(|config| {
        Box::new(Email {
            config: config.clone(),
            timeout: settings.attempt_timeout,
            external_url: settings.external_url.clone(),
        }) as Box<dyn Notifier>
    });
    Ok(emails.collect())
}

struct Email {
    config: email::Email,
    timeout: Duration,
    external_url: String,
}

#[async_trait]
impl Notifier for Email {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let to = self.config.host.clone();
        let message = message(delivery, &self.config, &self.external_url)
            .map_err(|cause| NotifyError::Refused { to: to.clone(), answer: cause })?;
        // A connection of its own for each message: one kept open would make a server that went
        // away in the meantime look like a lost answer.
        let sent = self.transport()?.send(message).await;
        sent.map(|_| Sent::default()).map_err(|error| classify(to, &error))
    }
}

impl Email {
    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, NotifyError> {
        let config = &self.config;
        let parameters = || {
            TlsParameters::new(config.host.clone())
                .map_err(|error| NotifyError::Setup { what: "TLS", cause: causes(&error) })
        };
        let tls = match (config.port, config.require_tls) {
            (465, _) => Tls::Wrapper(parameters()?),
            (_, true) => Tls::Required(parameters()?),
            (_, false) => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(tls)
            .hello_name(ClientId::Domain(config.hello.clone()))
            .timeout(Some(self.timeout.mul_f64(0.8)));
        if let Some(login) = &config.login
            && let Some(password) = &login.password
        {
            let password = password.read()?.reveal().to_owned();
            builder = builder
                .credentials(Credentials::new(login.username.clone(), password))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(builder.build())
    }
}

fn classify(to: String, error: &lettre::transport::smtp::Error) -> NotifyError {
    let cause = clip(&causes(error), 300);
    // Refused before anything was accepted, for good (5xx) or for now (4xx).
    if error.is_permanent() {
        return NotifyError::Refused { to, answer: cause };
    }
    if error.is_transient() {
        return NotifyError::Busy { to, answer: cause, retry_after: None };
    }
    // Faults before the message was handed over; anything else may have happened after it.
    let connecting = error.to_string().starts_with("Connection error");
    match error.is_client() || error.is_tls() || connecting {
        true => NotifyError::Unreachable { to, cause },
        false => NotifyError::NoAnswer { to, cause },
    }
}

fn message(
    delivery: &Delivery<'_>,
    config: &email::Email,
    external_url: &str,
) -> Result<Message, String> {
    let notification = delivery.notification;
    let from: Mailbox = config.from.parse().map_err(|_| format!("no address: {}", config.from))?;
    let to: Mailboxes = config.to.parse().map_err(|_| format!("no address: {}", config.to))?;
    let domain = from.email.domain();
    let thread = digest::digest(&digest::SHA256, notification.group_key.as_bytes());
    let thread = format!("<{}.group@{domain}>", hex(thread.as_ref()));
    let at = Duration::from_millis(u64::try_from(notification.at.0).unwrap_or(0));
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(wording::subject(notification))
        .date(SystemTime::UNIX_EPOCH + at)
        .message_id(Some(format!("<{}@{domain}>", delivery.id)))
        .in_reply_to(thread.clone())
        .references(thread);
    for to in to {
        builder = builder.to(to);
    }
    let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
    let builder = builder.raw_header(HeaderValue::new(auto, "auto-generated".to_owned()));
    let parts = MultiPart::alternative_plain_html(
        plain(notification, external_url),
        page(notification, external_url),
    );
    builder.multipart(parts).map_err(|error| error.to_string())
}

fn plain(notification: &Notification, external_url: &str) -> String {
    let mut lines = vec![wording::subject(notification), String::new()];
    for alert in notification.alerts.iter().take(MAX_SHOWN) {
        let state = wording::ended(alert).unwrap_or_else(|| "firing".to_owned());
        lines.push(format!("{} ({state})", wording::headline(alert)));
        let description = wording::description(alert);
        if !description.is_empty() {
            lines.push(clip(description, MAX_TEXT));
        }
        for (name, value) in wording::facts(alert) {
            lines.push(format!("  {name}: {value}"));
        }
        lines.push(format!("  started: {}", alert.starts_at.rfc3339()));
        for name in ["runbook_url", "dashboard_url"] {
            if let Some(url) = wording::link(alert.annotation(name)) {
                lines.push(format!("  {}: {url}", name.trim_end_matches("_url")));
            }
        }
        lines.push(String::new());
    }
    lines.extend(more(notification));
    lines.extend(wording::link(external_url).map(|url| url.to_string()));
    lines.join("\n")
}

fn page(notification: &Notification, external_url: &str) -> String {
    let page = html! {
        html { body style="font-family: sans-serif" {
            h2 { (wording::subject(notification)) }
            @for alert in notification.alerts.iter().take(MAX_SHOWN) {
                @let color = if alert.ends_at.is_some() { "#2e9e5b" } else { "#d13438" };
                div style={ "border-left: 4px solid " (color) "; padding-left: 12px; margin: 12px 0" } {
                    b { (wording::headline(alert)) }
                    @if let Some(ended) = wording::ended(alert) { " – " (ended) }
                    p style="white-space: pre-wrap" { (clip(wording::description(alert), MAX_TEXT)) }
                    table {
                        @for (name, value) in wording::facts(alert) {
                            tr { td style="color: #666" { (name) } td { (value) } }
                        }
                        tr { td style="color: #666" { "started" } td { (alert.starts_at.rfc3339()) } }
                    }
                    @if let Some(url) = wording::link(alert.annotation("runbook_url")) {
                        a href=(url) { "Runbook" }
                    }
                }
            }
            @if let Some(more) = more(notification) { p { (more) } }
            @if let Some(url) = wording::link(external_url) { p { a href=(url) { "Open Pitcrew" } } }
        } }
    };
    page.into_string()
}

fn more(notification: &Notification) -> Option<String> {
    let left = notification.alerts.len().saturating_sub(MAX_SHOWN) as u64 + notification.truncated;
    (left > 0).then(|| format!("… and {left} more alerts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::wording::tests::sample;
    use crate::route::config;
    use std::path::Path;

    #[test]
    fn a_mail_with_a_stable_id_a_thread_and_nothing_unescaped() {
        let text = "global: { smtp_smarthost: 'mail.x.test:587', smtp_from: 'p@x.test' }
route: { receiver: a }
receivers: [ { name: a, email_configs: [ { to: 'a@x.test, B <b@x.test>' } ] } ]";
        let mut receivers = config::parse(Path::new("a"), text).unwrap().receivers;
        let config = receivers.remove(0).email.remove(0);
        let mut notification = sample(true);
        notification.group_labels.insert("x".into(), "evil\r\nBcc: c@x.test".into());
        let delivery = Delivery { id: "0123", notification: &notification, memory: None };
        let mail = message(&delivery, &config, "").unwrap().formatted();
        let mail = String::from_utf8(mail).unwrap();
        assert!(mail.contains("\r\nMessage-ID: <0123@x.test>\r\n"), "{mail}");
        assert!(
            mail.contains("\r\nIn-Reply-To: <") && mail.contains("\r\nReferences: <"),
            "{mail}"
        );
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("\r\nBcc:"), "{mail}");
        assert!(mail.contains("\r\nSubject: [FIRING:1] RunnerOffline ci"), "{mail}");
        let html = page(&notification, "");
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("javascript:"), "{html}");
        assert!(plain(&notification, "").contains("resolved after 4m 5s"));
    }
}
