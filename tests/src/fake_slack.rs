//! Slack's web API on a free port: channels with messages and threads, strict about what it takes.

pub mod limits;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pitcrew_exporter::clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::socket::Click;

pub const BOT_TOKEN: &str = "xoxb-hunter2";
pub const APP_TOKEN: &str = "xapp-hunter2";

/// What one call is answered with, in place of what it would get.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// 200 with `ok: false` and this code.
    Error(&'static str),
    /// This status and body.
    Raw(u16, &'static str),
    /// 429 with this many seconds of `Retry-After`.
    RetryAfter(u64),
    /// Nothing is done, and no answer comes.
    Hang,
    /// It is done, and no answer comes.
    DoneAndHang,
}

/// One call as it came in.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub body: Value,
    pub at: Instant,
    /// Slack's word, `ok` for success; `None` when it was left without an answer.
    pub answer: Option<String>,
}

/// One message in a channel, as it stands.
#[derive(Debug, Clone)]
pub struct Message {
    /// The channel's id.
    pub channel: String,
    pub ts: String,
    pub thread_ts: Option<String>,
    pub body: Value,
    /// How often it was changed.
    pub edits: usize,
}

pub struct FakeSlack {
    /// Ends in a slash, as the API's own address.
    pub url: String,
    pub(self) state: Shared,
    task: JoinHandle<()>,
}

type Shared = Arc<Mutex<Slack>>;

#[derive(Default)]
struct Slack {
    address: String,
    /// Ids by name; what is not here does not exist.
    channels: BTreeMap<String, String>,
    messages: Vec<Message>,
    /// What single users were shown.
    ephemeral: Vec<Value>,
    calls: Vec<Call>,
    next: VecDeque<(String, Answer)>,
    always: Option<Answer>,
    /// Refuses a second message to a channel within this time.
    gap: Option<Duration>,
    last_post: BTreeMap<String, Instant>,
    sequence: u64,
    sockets: socket::Sockets,
}

impl FakeSlack {
    /// A workspace with the channels `#ci` (C0CI) and `#ops` (C0OPS).
    pub async fn start() -> FakeSlack {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let channels = [("ci", "C0CI"), ("ops", "C0OPS")];
        let channels = channels.map(|(name, id)| (name.to_owned(), id.to_owned())).into();
        let state =
            Arc::new(Mutex::new(Slack { address: address.clone(), channels, ..Slack::default() }));
        let app = Router::new()
            .route("/api/{method}", post(call))
            .route("/link/", get(socket::link))
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        FakeSlack { url: format!("http://{address}/api/"), state, task }
    }

    fn lock(&self) -> MutexGuard<'_, Slack> {
        self.state.lock().unwrap()
    }

    /// Answers the next calls of a method like this, one each, before what `always` says.
    pub fn next(&self, method: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().map(|answer| (method.to_owned(), answer));
        self.lock().next.extend(answers);
    }

    pub fn always(&self, answer: Option<Answer>) {
        self.lock().always = answer;
    }

    /// From now on a channel takes one message in this time.
    pub fn limit_rate(&self, gap: Duration) {
        self.lock().gap = Some(gap);
    }

    pub fn delete(&self, ts: &str) {
        self.lock().messages.retain(|message| message.ts != ts);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Messages in channels, without replies, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        let messages = self.lock().messages.clone();
        messages.into_iter().filter(|message| message.thread_ts.is_none()).collect()
    }

    /// Replies beneath a message.
    pub fn replies(&self, ts: &str) -> Vec<Message> {
        let messages = self.lock().messages.clone();
        messages.into_iter().filter(|message| message.thread_ts.as_deref() == Some(ts)).collect()
    }

    pub fn ephemeral(&self) -> Vec<Value> {
        self.lock().ephemeral.clone()
    }
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Message {
    /// All of its words, whatever the block.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        collect(&self.body, &mut words);
        words.join("\n")
    }

    /// The `action_id` of each of its buttons.
    pub fn buttons(&self) -> Vec<String> {
        let blocks = self.body["attachments"][0]["blocks"].as_array().cloned().unwrap_or_default();
        let elements = blocks.iter().filter_map(|block| block["elements"].as_array()).flatten();
        elements.filter_map(|element| element["action_id"].as_str().map(str::to_owned)).collect()
    }
}

fn collect(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match (name.as_str(), value) {
                    ("text" | "title" | "value" | "fallback", Value::String(text)) => {
                        words.push(text.clone());
                    }
                    _ => collect(value, words),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, words)),
        _ => {}
    }
}

async fn call(
    State(state): State<Shared>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = clock::monotonic();
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let planned = {
        let mut slack = state.lock().unwrap();
        let index = slack.next.iter().position(|(name, _)| *name == method);
        index
            .and_then(|index| slack.next.remove(index))
            .map(|(_, answer)| answer)
            .or(slack.always.clone())
    };
    let done = match &planned {
        None | Some(Answer::DoneAndHang) => {
            state.lock().unwrap().take(&method, &headers, &value, at)
        }
        Some(Answer::Error(code)) => Err((*code, String::new())),
        Some(Answer::Raw(..) | Answer::RetryAfter(_) | Answer::Hang) => Err(("", String::new())),
    };
    let silent = matches!(planned, Some(Answer::Hang | Answer::DoneAndHang));
    let word = match &done {
        _ if silent => None,
        Ok(_) => Some("ok".to_owned()),
        Err((code, detail)) => Some(format!("{code} {detail}").trim().to_owned()),
    };
    let call = Call { method, body: value, at, answer: word };
    state.lock().unwrap().calls.push(call);
    if silent {
        std::future::pending::<()>().await;
    }
    match (planned, done) {
        (Some(Answer::Raw(status, body)), _) => {
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        }
        (Some(Answer::RetryAfter(seconds)), _) => limited(seconds),
        (_, Err(("ratelimited", _))) => limited(1),
        (_, Err((code, detail))) => {
            let messages = [detail];
            axum::Json(
                json!({"ok": false, "error": code, "response_metadata": {"messages": messages}}),
            )
            .into_response()
        }
        (_, Ok(answer)) => axum::Json(answer).into_response(),
    }
}

fn limited(seconds: u64) -> Response {
    let body = axum::Json(json!({"ok": false, "error": "ratelimited"}));
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())], body).into_response()
}

impl Slack {
    fn take(
        &mut self,
        method: &str,
        headers: &HeaderMap,
        body: &Value,
        at: Instant,
    ) -> Result<Value, (&'static str, String)> {
        let refuse = |code| Err((code, String::new()));
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let token = header("authorization").strip_prefix("Bearer ").unwrap_or("");
        let wanted = if method.starts_with("apps.") { APP_TOKEN } else { BOT_TOKEN };
        match token {
            "" => return refuse("not_authed"),
            token if token != wanted => return refuse("invalid_auth"),
            _ => {}
        }
        if method == "apps.connections.open" {
            let ticket = self.sockets.ticket();
            let url = format!("ws://{}/link/?ticket={ticket}&app_id=A0", self.address);
            return Ok(json!({"ok": true, "url": url}));
        }
        if !header("content-type").starts_with("application/json; charset=utf-8") {
            return refuse("missing_charset");
        }
        limits::message(body).map_err(|problem| (problem.code, problem.detail))?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let asked = text("channel");
        let by_id = self.channels.values().find(|id| **id == asked).cloned();
        // A changed message is asked for by the channel's id alone.
        let by_name = self.channels.get(asked.trim_start_matches('#')).cloned();
        let by_name = by_name.filter(|_| method != "chat.update");
        let Some(channel) = by_id.or(by_name) else { return refuse("channel_not_found") };
        match method {
            "chat.postMessage" => self.post(channel, body, at),
            "chat.update" => self.update(&channel, body),
            "chat.postEphemeral" => {
                if text("user").is_empty() {
                    return refuse("user_not_in_channel");
                }
                self.ephemeral.push(body.clone());
                Ok(json!({"ok": true, "message_ts": self.stamp()}))
            }
            _ => refuse("unknown_method"),
        }
    }

    fn post(
        &mut self,
        channel: String,
        body: &Value,
        at: Instant,
    ) -> Result<Value, (&'static str, String)> {
        let last = self.last_post.insert(channel.clone(), at);
        if let (Some(gap), Some(last)) = (self.gap, last)
            && at.duration_since(last) < gap
        {
            return Err(("ratelimited", String::new()));
        }
        let thread_ts = body["thread_ts"].as_str().map(str::to_owned);
        let known = |ts: &String| self.messages.iter().any(|message| message.ts == *ts);
        if body.get("ts").is_some() || thread_ts.as_ref().is_some_and(|ts| !known(ts)) {
            return Err(("invalid_arguments", "ts or thread_ts".to_owned()));
        }
        let ts = self.stamp();
        let message = Message {
            channel: channel.clone(),
            ts: ts.clone(),
            thread_ts,
            body: body.clone(),
            edits: 0,
        };
        self.messages.push(message);
        Ok(json!({"ok": true, "channel": channel, "ts": ts, "message": body}))
    }

    fn update(&mut self, channel: &str, body: &Value) -> Result<Value, (&'static str, String)> {
        let ts = body["ts"].as_str().unwrap_or_default();
        let found = self
            .messages
            .iter_mut()
            .find(|message| message.ts == ts && message.channel == channel)
            .ok_or(("message_not_found", String::new()))?;
        for name in ["thread_ts", "reply_broadcast", "unfurl_links", "unfurl_media"] {
            if body.get(name).is_some() {
                return Err(("invalid_arguments", name.to_owned()));
            }
        }
        found.body = body.clone();
        found.edits += 1;
        Ok(json!({"ok": true, "channel": channel, "ts": ts, "text": body["text"]}))
    }

    fn stamp(&mut self) -> String {
        self.sequence += 1;
        format!("1700000000.{:06}", self.sequence)
    }
}
