//! Slack's other direction: what a click sends, over Socket Mode or signed to a URL.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use ring::{digest, hmac};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{FakeSlack, Shared};
use crate::wait::until;

const LIMIT: Duration = Duration::from_secs(15);

/// Who clicked on what.
#[derive(Debug, Clone)]
pub struct Click<'a> {
    pub user: &'a str,
    pub name: &'a str,
    pub action: &'a str,
    /// Tells clicks apart: seconds since 1970 with a fraction.
    pub at: &'a str,
}

#[derive(Default)]
pub(super) struct Sockets {
    tickets: u64,
    used: Vec<String>,
    open: Vec<mpsc::UnboundedSender<Frame>>,
    acknowledged: Vec<String>,
    envelopes: u64,
}

impl Sockets {
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }
}

impl FakeSlack {
    /// What Slack sends of a click on a button of the message.
    ///
    /// # Panics
    /// When the message has no such button.
    pub fn payload(&self, ts: &str, click: &Click<'_>) -> Value {
        let message = self.messages().into_iter().find(|message| message.ts == ts).unwrap();
        let blocks = message.body["attachments"][0]["blocks"].as_array().unwrap();
        let mut elements = blocks.iter().filter_map(|block| block["elements"].as_array()).flatten();
        let button = elements.find(|element| element["action_id"] == click.action);
        let button = button.unwrap_or_else(|| panic!("no button {}", click.action));
        let mut action = button.clone();
        action["action_ts"] = click.at.into();
        action["block_id"] = "b1".into();
        json!({
            "type": "block_actions",
            "api_app_id": "A0",
            "token": "old-and-not-to-be-used",
            "team": {"id": "T0", "domain": "crew"},
            "user": {"id": click.user, "username": click.name, "name": click.name, "team_id": "T0"},
            "container": {"type": "message_attachment", "message_ts": ts, "attachment_id": 1,
                "channel_id": message.channel, "is_ephemeral": false, "is_app_unfurl": false},
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "channel": {"id": message.channel, "name": "ci"},
            "message": {"ts": ts, "type": "message", "text": message.body["text"], "bot_id": "B0",
                "attachments": message.body["attachments"], "blocks": message.body["blocks"]},
            "response_url": "http://127.0.0.1:9/actions",
            "state": {"values": {}},
            "is_enterprise_install": false,
            "enterprise": null,
            "actions": [action],
        })
    }

    /// Headers and body of a request that carries the payload, signed at `at` (seconds since 1970).
    pub fn signed(secret: &str, payload: &Value, at: i64) -> ([(&'static str, String); 3], String) {
        let mut form = reqwest::Url::parse("http://x/").unwrap();
        form.query_pairs_mut().append_pair("payload", &payload.to_string());
        let body = form.query().unwrap().to_owned();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("x-slack-request-timestamp", at.to_string()),
            ("x-slack-signature", format!("v0={hex}")),
        ];
        (headers, body)
    }

    /// Open sockets that have been greeted.
    pub fn sockets(&self) -> usize {
        let mut slack = self.lock();
        slack.sockets.open.retain(|socket| !socket.is_closed());
        slack.sockets.open.len()
    }

    /// Sends a payload over the newest socket; returns the envelope's id.
    pub fn envelope(&self, payload: &Value) -> String {
        let id = {
            let mut slack = self.lock();
            slack.sockets.envelopes += 1;
            format!("e-{}", slack.sockets.envelopes)
        };
        self.push(json!({
            "type": "interactive",
            "envelope_id": id,
            "payload": payload,
            "accepts_response_payload": false,
        }));
        id
    }

    /// The same, and waits until it was acknowledged.
    pub async fn deliver(&self, payload: &Value) {
        let id = self.envelope(payload);
        until(LIMIT, "the envelope is acknowledged", async || self.acknowledged().contains(&id))
            .await;
    }

    pub fn acknowledged(&self) -> Vec<String> {
        self.lock().sockets.acknowledged.clone()
    }

    /// Asks the program to come again.
    pub fn ask_to_reconnect(&self, reason: &str) {
        self.push(json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "wss"}}));
    }

    /// Closes all sockets without a word.
    pub fn drop_sockets(&self) {
        self.lock().sockets.open.clear();
    }

    /// A frame over the newest socket.
    pub fn push(&self, value: Value) {
        let slack = self.lock();
        let newest = slack.sockets.open.last().expect("a socket is open");
        newest.send(Frame::text(value.to_string())).expect("the socket is open");
    }
}

pub(super) async fn link(State(state): State<Shared>, mut request: Request) -> Response {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let key = header("sec-websocket-key");
    let asks = header("upgrade").eq_ignore_ascii_case("websocket")
        && header("connection").to_ascii_lowercase().contains("upgrade")
        && header("sec-websocket-version") == "13"
        && STANDARD.decode(&key).is_ok_and(|bytes| bytes.len() == 16);
    {
        let sockets = &mut state.lock().unwrap().sockets;
        // A ticket is good once.
        if !asks || !query.contains("ticket=") || sockets.used.contains(&query) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        sockets.used.push(query);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        serve(socket, state).await;
    });
    let accept = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, accept.as_bytes());
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", STANDARD.encode(accept))
        .body(Body::empty())
        .unwrap()
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn serve(mut socket: Socket, state: Shared) {
    let hello = json!({"type": "hello", "num_connections": 1,
        "connection_info": {"app_id": "A0"}, "debug_info": {"approximate_connection_time": 18060}});
    if socket.send(Frame::text(hello.to_string())).await.is_err() {
        return;
    }
    let (sender, mut frames) = mpsc::unbounded_channel();
    state.lock().unwrap().sockets.open.push(sender);
    loop {
        tokio::select! {
            frame = frames.recv() => {
                // Dropped by the test: so is the connection.
                let Some(frame) = frame else { return };
                if socket.send(frame).await.is_err() {
                    return;
                }
            }
            came = socket.next() => {
                let Some(Ok(frame)) = came else { return };
                let Ok(text) = frame.to_text() else { continue };
                let value: Value = serde_json::from_str(text).unwrap_or_default();
                if let Some(id) = value["envelope_id"].as_str() {
                    state.lock().unwrap().sockets.acknowledged.push(id.to_owned());
                }
            }
        }
    }
}
