//! E-mail over SMTP: text and HTML in one message, one thread per alert group.

mod login;
mod message;
pub(super) mod page;
mod session;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use tracing::error;

use self::message::{Letter, Parties, Texts};
use self::session::{Fates, Security, Server};
use super::wording::clip;
use super::{Delivery, Notifier, Notifiers, NotifyError, Sent, Settings};
use crate::model::sample::Timestamp;
use crate::route::receiver::{Receiver, email};
use crate::route::template::{Scope, Templates};

/// Of an attempt's time, for each of connecting and the envelope: the rest is for the last answer.
const SHARE: f64 = 0.4;
/// Notifications that some recipients have and others not yet.
const MAX_HALVES: usize = 1000;

pub(super) fn build(receiver: &Receiver, settings: &Settings) -> Result<Notifiers, NotifyError> {
    let emails = receiver.email.iter();
    Ok(emails.map(|config| Box::new(Email::new(config, settings)) as Box<dyn Notifier>).collect())
}

pub(super) struct Email {
    config: email::Email,
    server: Server,
    timeout: Duration,
    external_url: String,
    templates: Arc<Templates>,
    halves: Mutex<Halves>,
}

/// Who has a notification that others still wait for: they are not sent it again. Lost with the
/// program, after which they may get it once more, under the same Message-ID.
#[derive(Default)]
struct Halves(VecDeque<(String, BTreeSet<Address>)>);

#[async_trait]
impl Notifier for Email {
    async fn send(&self, delivery: &Delivery<'_>) -> Result<Sent, NotifyError> {
        let (config, templates) = (&self.config, &self.templates);
        let scope = Scope { notification: delivery.notification, external_url: &self.external_url };
        let text = |own: &Option<String>, name| templates.text(own.as_deref(), name, &scope);
        let headers = config.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), templates.expand(value, &scope)));
        let texts = Texts {
            subject: text(&None, "email.default.subject"),
            html: templates.page(config.html.as_deref(), "email.default.html", &scope),
            text: text(&config.text, "email.default.text").filter(|text| !text.is_empty()),
            headers: headers.collect(),
        };
        let (from, to) =
            (templates.expand(&config.from, &scope), templates.expand(&config.to, &scope));
        let parties = self.parties(&from, &to)?;
        let first = delivery.memory.filter(|_| config.threads);
        let letter = message::letter(delivery, texts, &self.external_url, first);
        let made = message::wire(&parties, letter).map_err(|cause| self.refused(cause))?;
        self.hand_over(delivery.id, &parties, &made).await?;
        let first = delivery.memory.map(str::to_owned);
        let memory = first.unwrap_or_else(|| message::message_id(delivery.id, &parties.from));
        Ok(Sent { memory: Some(memory) })
    }
}

impl Email {
    pub(super) fn new(config: &email::Email, settings: &Settings) -> Email {
        // Of all the ways to get TLS, none may be chosen by whether a server offers it.
        let security = match (config.implicit_tls, config.require_tls) {
            (true, _) => Security::Implicit,
            (false, true) => Security::StartTls,
            (false, false) => Security::Plain,
        };
        let server = Server {
            host: config.host.clone(),
            port: config.port,
            hello: config.hello.clone(),
            security,
            tls: config.tls.clone(),
            login: config.login.clone(),
        };
        Email {
            config: config.clone(),
            server,
            timeout: settings.attempt_timeout,
            external_url: settings.external_url.clone(),
            templates: Arc::clone(&settings.templates),
            halves: Mutex::default(),
        }
    }

    /// Sends a mail that is about no alert group; `id` is of no other mail.
    pub(super) async fn letter(
        &self,
        id: &str,
        at: Timestamp,
        subject: String,
        text: String,
        html: String,
    ) -> Result<(), NotifyError> {
        let parties = self.parties(&self.config.from, &self.config.to)?;
        let mut headers: Vec<_> = self.config.headers.clone().into_iter().collect();
        // That is for notifications.
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Subject"));
        let letter = Letter { id, at, subject, text, html, headers, urgent: false, first: None };
        let made = message::wire(&parties, letter).map_err(|cause| self.refused(cause))?;
        self.hand_over(id, &parties, &made).await
    }

    fn parties(&self, from: &str, to: &str) -> Result<Parties, NotifyError> {
        let wrong = |text: &str| self.refused(format!("no e-mail address: {}", clip(text, 100)));
        let from = from.parse().map_err(|_| wrong(from))?;
        let to = to.parse().map_err(|_| wrong(to))?;
        Ok(Parties { from, to })
    }

    /// Sends it to everyone who does not have it yet. Whoever is refused for good is told of in the
    /// log, and holds up no other.
    ///
    /// # Errors
    /// When somebody has to be tried again, or nobody will ever be reached.
    async fn hand_over(&self, id: &str, parties: &Parties, mail: &[u8]) -> Result<(), NotifyError> {
        let have = self.halves().of(id);
        let to = parties.to.iter().map(|mailbox| mailbox.email.clone());
        let to: Vec<Address> = to.filter(|address| !have.contains(address)).collect();
        let limit = self.timeout.mul_f64(SHARE);
        let session = self.server.open(limit).await?;
        let fates = session.deliver(&parties.from.email, &to, mail, limit).await?;
        let Fates { taken, later, refused } = fates;
        for (address, answer) in &refused {
            error!(server = self.server.host, %address, answer, "recipient refused");
        }
        if let Some((_, answer)) = later.into_iter().next() {
            self.halves().add(id, taken.into_iter().chain(refused.into_iter().map(|(a, _)| a)));
            return Err(self.server.later(answer));
        }
        self.halves().forget(id);
        match refused.into_iter().next() {
            Some((_, answer)) if taken.is_empty() && have.is_empty() => Err(self.refused(answer)),
            _ => Ok(()),
        }
    }

    fn refused(&self, answer: String) -> NotifyError {
        NotifyError::Refused { to: self.server.host.clone(), answer }
    }

    fn halves(&self) -> std::sync::MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn of(&self, id: &str) -> BTreeSet<Address> {
        let found = self.0.iter().find(|(known, _)| known == id);
        found.map(|(_, have)| have.clone()).unwrap_or_default()
    }

    fn add(&mut self, id: &str, more: impl Iterator<Item = Address>) {
        let mut have = self.of(id);
        have.extend(more);
        self.forget(id);
        self.0.push_back((id.to_owned(), have));
        if self.0.len() > MAX_HALVES {
            self.0.pop_front();
        }
    }

    fn forget(&mut self, id: &str) {
        self.0.retain(|(known, _)| known != id);
    }
}
