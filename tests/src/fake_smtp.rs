//! A mail server on a free port: a real SMTP dialogue, with the messages it took.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server says to a whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// This reply code: 4xx for now, 5xx for good.
    Refuse(u16),
    /// Takes it, and closes without a word.
    AcceptAndClose,
}

/// One message that the server took.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub hello: String,
    /// User and password, when the client logged in.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: Vec<String>,
    /// Head and body as sent, without the dots that SMTP adds.
    pub text: String,
}

impl Mail {
    /// The value of a header that stands on one line.
    pub fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or("");
        head.lines()
            .find_map(|line| line.split_once(": ").filter(|(have, _)| *have == name))
            .map_or("", |(_, value)| value)
    }
}

pub struct FakeSmtp {
    /// `127.0.0.1:PORT`
    pub address: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    next: VecDeque<Verdict>,
}

impl FakeSmtp {
    pub async fn start() -> FakeSmtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, Arc::clone(&shared)));
            }
        });
        FakeSmtp { address, state, task }
    }

    /// What it says to the next messages, one each; after those it accepts.
    pub fn next(&self, verdicts: impl IntoIterator<Item = Verdict>) {
        self.state.lock().unwrap().next.extend(verdicts);
    }

    /// Every message that it took, also those it did not say so of.
    pub fn mails(&self) -> Vec<Mail> {
        self.state.lock().unwrap().mails.clone()
    }
}

impl Drop for FakeSmtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One dialogue; ends when either side hangs up.
async fn talk(stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 fake ESMTP").await?;
    let mut mail = Mail::default();
    loop {
        let line = hear(&mut stream).await?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let reply = match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                mail.hello = rest.to_owned();
                "250-fake\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN"
            }
            "HELO" => "250 fake",
            "AUTH" => {
                mail.login = log_in(&mut stream, rest).await?;
                if mail.login.is_some() { "235 welcome" } else { "535 no" }
            }
            "MAIL" => {
                mail.from = address(rest);
                "250 ok"
            }
            "RCPT" if mail.from.is_empty() => "503 MAIL first",
            "RCPT" => {
                mail.to.push(address(rest));
                "250 ok"
            }
            "DATA" if mail.to.is_empty() => "503 RCPT first",
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                mail.text = message(&mut stream).await?;
                let verdict = state.lock().unwrap().next.pop_front().unwrap_or(Verdict::Accept);
                if let Verdict::Refuse(code) = verdict {
                    say(&mut stream, &format!("{code} not this one")).await?;
                    continue;
                }
                let login = mail.login.clone();
                let next = Mail { hello: mail.hello.clone(), login, ..Mail::default() };
                state.lock().unwrap().mails.push(std::mem::replace(&mut mail, next));
                if verdict == Verdict::AcceptAndClose {
                    return None;
                }
                "250 taken"
            }
            "RSET" | "NOOP" => "250 ok",
            "QUIT" => {
                say(&mut stream, "221 bye").await?;
                return None;
            }
            _ => "502 unknown",
        };
        say(&mut stream, reply).await?;
    }
}

async fn log_in(stream: &mut BufReader<TcpStream>, rest: &str) -> Option<Option<(String, String)>> {
    let decode = |text: &str| {
        let bytes = STANDARD.decode(text).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (mechanism, first) = rest.split_once(' ').unwrap_or((rest, ""));
    if mechanism.eq_ignore_ascii_case("PLAIN") {
        let text = decode(first);
        let mut parts = text.split('\0').skip(1).map(str::to_owned);
        return Some(parts.next().zip(parts.next()));
    }
    say(stream, "334 VXNlcm5hbWU6").await?;
    let user = decode(&hear(stream).await?);
    say(stream, "334 UGFzc3dvcmQ6").await?;
    let password = decode(&hear(stream).await?);
    Some(Some((user, password)))
}

/// The text up to the lone dot, without the dot that doubles one at the start of a line.
async fn message(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = hear(stream).await?;
        if line == "." {
            return Some(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push_str("\r\n");
    }
}

/// The address between the angle brackets of `FROM:<a@b>`.
fn address(text: &str) -> String {
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(String::new(), |(address, _)| address.to_owned())
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()
}

async fn hear(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(count) if count > 0 => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        _ => None,
    }
}
