//! An HTTP receiver on a free port, generic or as strict as a service, that remembers every request
//! and answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pitcrew_exporter::clock;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What one request is answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Ok,
    Status(u16),
    /// 429 with this many seconds of `Retry-After`.
    RetryAfter(u64),
    /// 429 with this body alone.
    TooMany(&'static str),
    /// 200 with this body.
    Says(&'static str),
    /// Success, after a while.
    Late(Duration),
    /// Takes the request and never answers.
    Hang,
    /// Takes the request and closes.
    Close,
}

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// The same as it came.
    pub raw: String,
    pub at: Instant,
    /// `None` when it was left without an answer.
    pub status: Option<u16>,
}

pub struct FakeWebhook {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// What a service takes and how it says so.
#[derive(Clone, Copy)]
pub struct Manners {
    /// What is wrong with a request, in the service's words.
    pub problem: fn(&Head, &Value) -> Option<String>,
    /// Status and body of its consent.
    pub consent: (u16, &'static str),
}

/// Headers by their name in lower case.
pub type Head = BTreeMap<String, String>;

/// What a receiver was told, for who watches while another owns it.
#[derive(Clone)]
pub struct Log(Arc<Mutex<State>>);

impl Log {
    /// Whether an accepted request holds this text anywhere.
    pub fn mentions(&self, text: &str) -> bool {
        let state = self.0.lock().unwrap();
        let ok = |request: &&Request| request.status.is_some_and(|status| status < 300);
        state.requests.iter().filter(ok).any(|request| request.body.to_string().contains(text))
    }

    /// The headline of every accepted Slack message, in order.
    pub fn texts(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let ok = |request: &&Request| request.status.is_some_and(|status| status < 300);
        let headline = |request: &Request| {
            let attachment = &request.body["attachments"][0];
            let texts = [&attachment["title"], &attachment["fallback"], &request.body["text"]];
            texts.iter().find_map(|text| text.as_str()).unwrap_or("").to_owned()
        };
        state.requests.iter().filter(ok).map(headline).collect()
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    next: VecDeque<Answer>,
    always: Option<Answer>,
    manners: Option<Manners>,
}

impl FakeWebhook {
    pub async fn start() -> FakeWebhook {
        FakeWebhook::listen(None).await
    }

    /// One that refuses what Slack's incoming webhooks would refuse.
    pub async fn slack() -> FakeWebhook {
        let problem = |head: &Head, body: &Value| slack_problem(head, body).map(str::to_owned);
        FakeWebhook::strict(Manners { problem, consent: (200, "ok") }).await
    }

    pub async fn strict(manners: Manners) -> FakeWebhook {
        FakeWebhook::listen(Some(manners)).await
    }

    async fn listen(manners: Option<Manners>) -> FakeWebhook {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/services/T0/B0/hunter2", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { manners, ..State::default() }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        FakeWebhook { url, state, task }
    }

    pub fn log(&self) -> Log {
        Log(Arc::clone(&self.state))
    }

    /// Answers the next requests like this, one each, before what `always` says.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().next.extend(answers);
    }

    pub fn always(&self, answer: Answer) {
        self.state.lock().unwrap().always = Some(answer);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Those after the first `seen`.
    pub fn since(&self, seen: usize) -> Vec<Request> {
        self.state.lock().unwrap().requests.iter().skip(seen).cloned().collect()
    }

    /// Requests that were answered with success, in order.
    pub fn accepted(&self) -> Vec<Request> {
        let ok = |request: &Request| request.status.is_some_and(|status| status < 300);
        self.requests().into_iter().filter(ok).collect()
    }
}

impl Drop for FakeWebhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some((path, headers, body)) = read(&mut stream).await else { return };
    let at = clock::monotonic();
    let raw = String::from_utf8_lossy(&body).into_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (answer, manners) = {
        let mut state = state.lock().unwrap();
        let queued = state.next.pop_front();
        (queued.or_else(|| state.always.clone()).unwrap_or(Answer::Ok), state.manners)
    };
    let problem = manners.and_then(|manners| (manners.problem)(&headers, &body));
    let consent = manners.map_or((200, "ok"), |manners| manners.consent);
    let none = String::new;
    let (status, extra, text) = match (&answer, problem) {
        (Answer::Hang | Answer::Close, _) => (None, none(), none()),
        (_, Some(problem)) => (Some(400), none(), problem),
        (Answer::Ok | Answer::Late(_), None) => (Some(consent.0), none(), consent.1.to_owned()),
        (Answer::Status(status), None) => (Some(*status), none(), "no".to_owned()),
        (Answer::RetryAfter(after), None) => {
            (Some(429), format!("Retry-After: {after}\r\n"), "no".to_owned())
        }
        (Answer::TooMany(text), None) => (Some(429), none(), (*text).to_owned()),
        (Answer::Says(text), None) => (Some(200), none(), (*text).to_owned()),
    };
    if let Answer::Late(time) = answer {
        tokio::time::sleep(time).await;
    }
    state.lock().unwrap().requests.push(Request { path, headers, body, raw, at, status });
    if answer == Answer::Hang {
        // Until the other side gives up.
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        return;
    }
    let Some(status) = status else { return };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n{text}",
        text.len()
    );
    // The other side may be gone: that is its own affair.
    stream.write_all(head.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

async fn read(stream: &mut TcpStream) -> Option<(String, Head, Vec<u8>)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(chunk.get(..count)?),
            _ => return None,
        }
    };
    let mut body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Head = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    while body.len() < length {
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => body.extend_from_slice(chunk.get(..count)?),
            _ => return None,
        }
    }
    Some((path, headers, body))
}

/// What Slack's incoming webhooks refuse, with the word it answers.
fn slack_problem(headers: &Head, body: &Value) -> Option<&'static str> {
    let json = headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let Some(message) = body.as_object().filter(|_| json) else { return Some("invalid_payload") };
    let text = message.get("text").and_then(Value::as_str).unwrap_or("");
    let attachments = message.get("attachments").and_then(Value::as_array);
    let attachments = attachments.map(Vec::as_slice).unwrap_or_default();
    if text.is_empty() && attachments.is_empty() {
        return Some("no_text");
    }
    if attachments.len() > 100 {
        return Some("too_many_attachments");
    }
    if text.chars().count() > 40_000 {
        return Some("msg_too_long");
    }
    let texts = ["color", "fallback", "title", "title_link", "text", "footer"];
    let sound = attachments.iter().all(|attachment| {
        attachment.is_object()
            && texts.iter().all(|name| attachment.get(name).is_none_or(Value::is_string))
            && attachment.get("ts").is_none_or(Value::is_string)
            && attachment.get("fields").is_none_or(Value::is_array)
    });
    (!sound).then_some("invalid_attachments")
}
