//! One SMTP dialogue: connection, TLS, login, envelope, message.
//!
//! lettre writes the message; the dialogue is our own because it has to tell each recipient's fate
//! apart, know what was handed over when a connection breaks, and speak TLS as Prometheus' keys say.

use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;

use super::login;
use crate::http_client::TlsConfig;
use crate::model::causes::causes;
use crate::notify::NotifyError;
use crate::notify::wording::clip;
use crate::route::receiver::email::Login;

/// Of one line of a reply; RFC 5321 allows 512.
const MAX_LINE: u64 = 4096;
const MAX_LINES: usize = 100;
/// As much of a reply is shown.
const MAX_SHOWN: usize = 200;

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// By STARTTLS, without which nothing is sent.
    StartTls,
    /// From the first byte on, as on port 465.
    Implicit,
}

/// A mail server, and who we are there.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) hello: String,
    pub(super) security: Security,
    pub(super) tls: TlsConfig,
    pub(super) login: Option<Login>,
}

/// What the server said of those it did not take the message for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fates {
    /// It has it for these.
    pub(super) taken: Vec<Address>,
    /// Not now.
    pub(super) later: Vec<(Address, String)>,
    /// Never.
    pub(super) refused: Vec<(Address, String)>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is ready for an envelope.
pub(super) struct Session<'a> {
    server: &'a Server,
    wire: Wire,
    encrypted: bool,
    /// What EHLO brought, one extension a line.
    offers: Vec<String>,
}

type Wire = BufReader<Box<dyn Stream>>;

pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Server {
    /// Connects, secures and logs in, all within `limit`.
    pub(super) async fn open(&self, limit: Duration) -> Result<Session<'_>, NotifyError> {
        match time::timeout(limit, self.opened()).await {
            Ok(opened) => opened,
            Err(_) => Err(self.unreachable("no greeting, TLS or login within the time")),
        }
    }

    async fn opened(&self) -> Result<Session<'_>, NotifyError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|error| self.unreachable(causes(&error)))?;
        let mut session = match self.security {
            Security::Implicit => self.session(self.encrypt(Box::new(tcp)).await?, true),
            _ => self.session(Box::new(tcp), false),
        };
        session.reply("the greeting").await?.or_later(self, "greeting", 220)?;
        session.hello().await?;
        if self.security == Security::StartTls {
            session = session.start_tls().await?;
            session.hello().await?;
        }
        if let Some(login) = &self.login {
            login::log_in(&mut session, login).await?;
        }
        Ok(session)
    }

    fn session(&self, stream: Box<dyn Stream>, encrypted: bool) -> Session<'_> {
        Session { server: self, wire: BufReader::new(stream), encrypted, offers: Vec::new() }
    }

    async fn encrypt(&self, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, NotifyError> {
        let tls = self.tls.clone();
        // Reads certificates from files.
        let config = tokio::task::spawn_blocking(move || tls.client_config()).await;
        let config = config.map_err(|error| self.unreachable(causes(&error)))?;
        let config = config.map_err(|error| self.unreachable(causes(&error)))?;
        let name = self.tls.server_name.clone().unwrap_or_else(|| self.host.clone());
        let name = ServerName::try_from(name).map_err(|error| self.unreachable(causes(&error)))?;
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        match secured {
            Ok(secured) => Ok(Box::new(secured)),
            Err(error) => Err(self.unreachable(format!("TLS: {}", causes(&error)))),
        }
    }

    pub(super) fn unreachable(&self, cause: impl AsRef<str>) -> NotifyError {
        NotifyError::Unreachable { to: self.host.clone(), cause: clip(cause.as_ref(), 300) }
    }

    fn lost(&self, cause: impl AsRef<str>) -> NotifyError {
        NotifyError::NoAnswer { to: self.host.clone(), cause: clip(cause.as_ref(), 300) }
    }

    /// Said before any message was offered: it may be otherwise when an operator has looked at it.
    pub(super) fn later(&self, answer: String) -> NotifyError {
        NotifyError::Busy { to: self.host.clone(), answer, retry_after: None }
    }

    fn never(&self, answer: String) -> NotifyError {
        NotifyError::Refused { to: self.host.clone(), answer }
    }
}

impl Session<'_> {
    pub(super) fn server(&self) -> &Server {
        self.server
    }

    /// Whether nobody between the two can read what is said.
    pub(super) fn is_private(&self) -> bool {
        let ip = self.server.host.parse::<std::net::IpAddr>();
        let local = ip.map_or(self.server.host == "localhost", |ip| ip.is_loopback());
        self.encrypted || local
    }

    /// The words behind an extension's name, as in `AUTH PLAIN LOGIN`; none without it.
    pub(super) fn offer(&self, name: &str) -> Option<Vec<&str>> {
        let mut found = None;
        for line in &self.offers {
            // Old servers write `AUTH=LOGIN`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            if words.next().is_some_and(|word| word.eq_ignore_ascii_case(name)) {
                found.get_or_insert_with(Vec::new).extend(words);
            }
        }
        found
    }

    /// Hands one message over for those of `to` whom the server takes.
    ///
    /// # Errors
    /// When it took the message for nobody, or its answer was lost.
    pub(super) async fn deliver(
        mut self,
        from: &Address,
        to: &[Address],
        message: &[u8],
        limit: Duration,
    ) -> Result<Fates, NotifyError> {
        let server = self.server;
        let offered = time::timeout(limit, self.envelope(from, to)).await;
        let fates = offered.unwrap_or_else(|_| {
            Err(server.unreachable("no answer to the envelope within the time"))
        })?;
        if fates.taken.is_empty() {
            return Ok(fates);
        }
        // From the last dot on nobody but the server knows whether it has the message.
        self.write(&stuffed(message)).await.map_err(|error| server.lost(causes(&error)))?;
        let reply = self.hear().await.map_err(|cause| server.lost(cause))?;
        match reply.code {
            200..300 => {}
            400..500 => return Err(server.later(reply.shown())),
            _ => return Err(server.never(reply.shown())),
        }
        // What it says to this changes nothing.
        self.write(b"QUIT\r\n").await.ok();
        Ok(fates)
    }

    async fn envelope(&mut self, from: &Address, to: &[Address]) -> Result<Fates, NotifyError> {
        let server = self.server;
        let foreign = |address: &Address| !AsRef::<str>::as_ref(address).is_ascii();
        let utf8 = foreign(from) || to.iter().any(foreign);
        if utf8 && self.offer("SMTPUTF8").is_none() {
            return Err(server.never("it takes only addresses in ASCII".to_owned()));
        }
        let parameters = if utf8 { " SMTPUTF8" } else { "" };
        let reply = self.ask(&format!("MAIL FROM:<{from}>{parameters}")).await?;
        reply.or_refused(server, 250)?;
        let mut fates = Fates::default();
        for address in to {
            let reply = self.ask(&format!("RCPT TO:<{address}>")).await?;
            match reply.code {
                200..300 => fates.taken.push(address.clone()),
                400..500 => fates.later.push((address.clone(), reply.shown())),
                _ => fates.refused.push((address.clone(), reply.shown())),
            }
        }
        if !fates.taken.is_empty() {
            self.ask("DATA").await?.or_refused(server, 354)?;
        }
        Ok(fates)
    }

    async fn hello(&mut self) -> Result<(), NotifyError> {
        let server = self.server;
        let mut reply = self.ask(&format!("EHLO {}", server.hello)).await?;
        // Some servers know no extensions, which matters only where one is needed.
        if (500..600).contains(&reply.code) {
            reply = self.ask(&format!("HELO {}", server.hello)).await?;
        }
        let reply = reply.or_later(server, "EHLO", 250)?;
        self.offers = reply.lines.into_iter().skip(1).collect();
        Ok(())
    }

    async fn start_tls(mut self) -> Result<Self, NotifyError> {
        let server = self.server;
        if self.offer("STARTTLS").is_none() {
            return Err(server.unreachable("it offers no STARTTLS, and require_tls is true"));
        }
        self.ask("STARTTLS").await?.or_later(server, "STARTTLS", 220)?;
        if !self.wire.buffer().is_empty() {
            // Put there by somebody in between, to be taken for what comes after the handshake.
            return Err(server.unreachable("it went on in plain text after STARTTLS"));
        }
        let secured = server.encrypt(self.wire.into_inner()).await?;
        Ok(server.session(secured, true))
    }

    /// One command and its reply; only for what comes before a message is handed over.
    pub(super) async fn ask(&mut self, line: &str) -> Result<Reply, NotifyError> {
        let server = self.server;
        let sent = self.write(format!("{line}\r\n").as_bytes()).await;
        sent.map_err(|error| server.unreachable(causes(&error)))?;
        let word = line.split(' ').next().unwrap_or("");
        self.reply(word).await
    }

    async fn reply(&mut self, to: &str) -> Result<Reply, NotifyError> {
        let server = self.server;
        self.hear().await.map_err(|cause| server.unreachable(format!("{to}: {cause}")))
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }

    async fn hear(&mut self) -> Result<Reply, String> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        for _ in 0..MAX_LINES {
            let mut line = Vec::new();
            let mut limited = (&mut self.wire).take(MAX_LINE);
            limited.read_until(b'\n', &mut line).await.map_err(|error| causes(&error))?;
            if line.last() != Some(&b'\n') {
                return Err(if line.is_empty() { "closed" } else { "not SMTP" }.to_owned());
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.filter(|code| (200..600).contains(code)).ok_or("not SMTP")?;
            let more = line.get(3..4) == Some("-");
            reply.code = code;
            reply.lines.push(line.get(4..).unwrap_or("").to_owned());
            if !more {
                return Ok(reply);
            }
        }
        Err("a reply without end".to_owned())
    }
}

impl Reply {
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn first(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// Code and words, on one line and short.
    pub(super) fn shown(&self) -> String {
        let text = format!("{} {}", self.code, self.lines.join(" "));
        clip(&text.replace(char::is_control, " "), MAX_SHOWN)
    }

    /// Any other code is taken for a fault that passes.
    pub(super) fn or_later(
        self,
        server: &Server,
        what: &str,
        want: u16,
    ) -> Result<Reply, NotifyError> {
        match self.code == want {
            true => Ok(self),
            false => Err(server.later(format!("{what}: {}", self.shown()))),
        }
    }

    fn or_refused(self, server: &Server, want: u16) -> Result<Reply, NotifyError> {
        match self.code {
            code if code == want => Ok(self),
            500.. => Err(server.never(self.shown())),
            _ => Err(server.later(self.shown())),
        }
    }
}

/// A message as DATA sends it: a dot that begins a line is doubled, a lone one ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut fresh = true;
    for byte in message {
        if fresh && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        fresh = *byte == b'\n';
    }
    if !fresh {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_never_ends_a_message_early() {
        for (text, want) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..b\r\nc.\r\n", "..\r\n...b\r\nc.\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuffed(text.as_bytes())).unwrap(), want);
        }
    }
}
