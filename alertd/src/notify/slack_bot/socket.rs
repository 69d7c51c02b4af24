//! Socket Mode: clicks come over a connection that is opened from here.

use std::mem;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use pitcrew_exporter::config::duration;
use reqwest::{Method, Upgraded, Url};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{self, Instant};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::clicks::Clicks;
use super::web::Web;
use crate::model::causes::causes;
use crate::notify::NotifyError;

/// A click carries its message; more than this is no click.
const MAX_FRAME: usize = 1024 * 1024;
/// For the whole of opening a connection.
const CONNECT: Duration = Duration::from_secs(20);
/// How often we say that we are there, and how long the other side may say nothing.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// What may still come over a connection after its successor is there.
const LEFTOVERS: Duration = Duration::from_secs(20);
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// After this long a connection has been a good one.
const GOOD: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum SocketError {
    #[error(transparent)]
    Open(#[from] NotifyError),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("connection lost")]
    Lost(#[from] tungstenite::Error),
    #[error("connection closed")]
    Closed,
    #[error("nothing came for {}", duration::format(SILENCE))]
    Silent,
}

type Socket = WebSocketStream<Upgraded>;

/// What Slack sends.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    envelope_id: Option<String>,
    payload: Option<Value>,
    reason: Option<String>,
}

/// Keeps a connection of one app, whose token `web` holds, and hands on what comes, until `stop`.
pub(super) async fn run(web: Web, app: usize, clicks: Clicks, stop: CancellationToken) {
    let mut backoff = MIN_BACKOFF;
    loop {
        let began = Instant::now();
        let Some(ended) = stop.run_until_cancelled(keep(&web, app, &clicks)).await else { return };
        clicks.metrics().connected(app, false);
        if began.elapsed() > GOOD {
            backoff = MIN_BACKOFF;
        }
        let wait = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
        warn!(error = causes(&ended), again_in = duration::format(wait), "Slack's socket ended");
        backoff = (backoff * 2).min(MAX_BACKOFF);
        if stop.run_until_cancelled(time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// One connection after another, as long as Slack asks for the next in time.
async fn keep(web: &Web, app: usize, clicks: &Clicks) -> SocketError {
    let mut socket = match open(web).await {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    loop {
        match serve(&mut socket, app, clicks).await {
            Ok(reason) => {
                debug!(reason, "Slack asks for another connection");
                let next = match open(web).await {
                    Ok(next) => next,
                    Err(error) => return error,
                };
                // What was on its way when the next one came.
                let (mut old, clicks) = (mem::replace(&mut socket, next), clicks.clone());
                tokio::spawn(async move {
                    time::timeout(LEFTOVERS, serve(&mut old, app, &clicks)).await.ok();
                });
            }
            Err(error) => return error,
        }
    }
}

async fn open(web: &Web) -> Result<Socket, SocketError> {
    time::timeout(CONNECT, async {
        let answer = web.call("apps.connections.open", &json!({})).await;
        let answer = answer.map_err(NotifyError::from)?;
        let url = answer.get("url").and_then(Value::as_str).unwrap_or_default();
        connect(web, url).await
    })
    .await
    .unwrap_or_else(|_| Err(SocketError::Connect("no answer in time".to_owned())))
}

/// The handshake of RFC 6455 over the client that calls the API, so that its proxy and its
/// certificates count. The URL is a secret: it holds a ticket.
async fn connect(web: &Web, url: &str) -> Result<Socket, SocketError> {
    let failed = |what: &str| SocketError::Connect(what.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(|| failed("Slack gave no URL"))?;
    let scheme = match (scheme, web.base.scheme()) {
        ("wss", _) => "https",
        // Where the API itself is reached without TLS.
        ("ws", "http") => "http",
        _ => return Err(failed("Slack's URL has another scheme than wss")),
    };
    let url = Url::parse(&format!("{scheme}://{rest}"));
    let url = url.map_err(|_| failed("Slack's URL is none"))?;
    let mut nonce = [0_u8; 16];
    SystemRandom::new().fill(&mut nonce).map_err(|_| failed("no random bytes"))?;
    let key = BASE64_STANDARD.encode(nonce);
    let request = web.client.request(Method::GET, url.as_str()).await;
    let request = request
        .map_err(|error| SocketError::Connect(causes(&error)))?
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", &key);
    let hidden = |error: reqwest::Error| SocketError::Connect(causes(&error.without_url()));
    let answer = request.send().await.map_err(hidden)?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let accepted = header("sec-websocket-accept") == Some(accept(&key).as_str());
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS || !accepted {
        return Err(failed(&format!("no WebSocket there: {}", answer.status())));
    }
    let upgraded = answer.upgrade().await.map_err(hidden)?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(limits)).await)
}

fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    // What the protocol wants; nothing is protected by it.
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    BASE64_STANDARD.encode(hash)
}

/// Takes envelopes until Slack asks for another connection; returns why it does.
async fn serve(socket: &mut Socket, app: usize, clicks: &Clicks) -> Result<String, SocketError> {
    let (mut ping, mut heard) = (time::interval(PING), Instant::now());
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame.ok_or(SocketError::Closed)??,
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    return Err(SocketError::Silent);
                }
                socket.send(Frame::Ping(Default::default())).await?;
                continue;
            }
        };
        heard = Instant::now();
        let text = match &frame {
            Frame::Text(text) => text.as_str(),
            Frame::Close(_) => return Err(SocketError::Closed),
            _ => continue,
        };
        let Ok(envelope) = serde_json::from_str::<Envelope>(text) else {
            warn!("Slack's socket brought what is no envelope");
            continue;
        };
        match envelope.kind.as_str() {
            "hello" => {
                info!("connected to Slack: clicks come over its socket");
                clicks.metrics().connected(app, true);
            }
            "disconnect" => return Ok(envelope.reason.unwrap_or_default()),
            _ => {}
        }
        let Some(id) = envelope.envelope_id else { continue };
        let payload = envelope.payload.filter(|_| envelope.kind == "interactive");
        // Acknowledged once it has taken effect; one that takes too long is shown as failed, and
        // clicking again does no harm.
        let done = match payload {
            Some(payload) => clicks.take_envelope(app, &payload.to_string()).await,
            None => true,
        };
        if done {
            let answer = json!({ "envelope_id": id }).to_string();
            socket.send(Frame::text(answer)).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn the_answer_to_a_key() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
