//! `POST /api/v1/write`: the receiver of remote write, versions 1.0 and 2.0.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use pitcrew_exporter::server::gate::Caller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::clock;
use crate::model::causes::causes;
use crate::model::querier::{Appender, StoreError};
use crate::remote::Protocol;
use crate::remote::message::{Failure, Outcome};
use crate::remote::metadata::Received;
use crate::remote::metrics::ReceiveMetrics;
use crate::remote::receive::{self, MAX_BODY, WriteError};

/// Bodies held at a time, in KiB; further senders are told to come back.
const BODIES: usize = 8 * MAX_BODY / 1024;
/// Bodies that are decompressed and stored at a time; further ones wait for their turn.
const TURNS: usize = 4;
/// Seconds until a sender that was put off should try again.
const COME_BACK: HeaderValue = HeaderValue::from_static("1");

const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// Where writes go, and who may send them. Cheap to clone.
#[derive(Clone)]
pub struct Receiver {
    store: Arc<dyn Appender>,
    metrics: ReceiveMetrics,
    received: Received,
    bodies: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Receiver {
    /// `received` gets what requests say about metrics.
    pub fn new(store: Arc<dyn Appender>, metrics: ReceiveMetrics, received: Received) -> Receiver {
        let (bodies, turns) = (Semaphore::new(BODIES), Semaphore::new(TURNS));
        Receiver { store, metrics, received, bodies: Arc::new(bodies), turns: Arc::new(turns) }
    }
}

/// Whether a sender without credentials is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    Taken,
    /// There are pools, and what is written could make an alert that moves them.
    RefusedForPools,
    /// The listener can be reached from other hosts.
    RefusedFromOutside,
}

pub fn routes(receiver: Receiver, anonymous: Anonymous) -> Router {
    Router::new()
        .route("/api/v1/write", post(write))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state((receiver, anonymous))
}

/// An answer other than success, and the short name of it for metrics.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

async fn write(
    State((receiver, anonymous)): State<(Receiver, Anonymous)>,
    caller: Option<Extension<Caller>>,
    request: Request,
) -> Response {
    let protocol = match protocol(request.headers()) {
        Ok(protocol) => protocol,
        Err(text) => {
            receiver.metrics.answered(Protocol::V1, "unsupported");
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text + "\n").into_response();
        }
    };
    let known = caller.is_some_and(|caller| &*caller.name != "anonymous");
    let done = match admit(known, anonymous) {
        Ok(()) => receiver.take(protocol, request).await,
        Err(refusal) => Err(refusal),
    };
    let (kind, written, mut answer) = match done {
        Ok(outcome) => {
            let written = outcome.appended.accepted;
            match outcome.refusal() {
                None => ("success", written, StatusCode::NO_CONTENT.into_response()),
                Some(text) => {
                    debug!(text, "part of a write request refused");
                    ("partial", written, (StatusCode::BAD_REQUEST, text + "\n").into_response())
                }
            }
        }
        Err(Refusal { status, kind, text }) => {
            let mut answer = (status, text + "\n").into_response();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                answer.headers_mut().insert(RETRY_AFTER, COME_BACK);
            }
            (kind, 0, answer)
        }
    };
    receiver.metrics.answered(protocol, kind);
    if protocol == Protocol::V2 {
        for (name, count) in WRITTEN.into_iter().zip([written, 0, 0]) {
            answer.headers_mut().insert(name, HeaderValue::from(count));
        }
    }
    answer
}

/// What a request says that it holds; like Prometheus, one that says nothing is of version 1.0.
fn protocol(headers: &HeaderMap) -> Result<Protocol, String> {
    let text = |name| match headers.get(&name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(format!("{name}: expected printable ASCII")),
    };
    if let Some(encoding) =
        text(CONTENT_ENCODING)?.filter(|have| !have.eq_ignore_ascii_case("snappy"))
    {
        return Err(format!("Content-Encoding: expected snappy, found {encoding:?}"));
    }
    text(CONTENT_TYPE)?.map_or(Ok(Protocol::V1), Protocol::of_content_type)
}

fn admit(known: bool, anonymous: Anonymous) -> Result<(), Refusal> {
    let text = match anonymous {
        _ if known => return Ok(()),
        Anonymous::Taken => return Ok(()),
        Anonymous::RefusedForPools => {
            "credentials needed: pools are configured, and what is written here could move them; \
             send the operator token or a user of web.users"
        }
        Anonymous::RefusedFromOutside => {
            "credentials needed: alertd can be reached from other hosts; send the operator token \
             or a user of web.users"
        }
    };
    let text = text.to_owned();
    Err(Refusal { status: StatusCode::UNAUTHORIZED, kind: "unauthorized", text })
}

impl Receiver {
    async fn take(&self, protocol: Protocol, request: Request) -> Result<Outcome, Refusal> {
        let space = self.space(request.headers())?;
        let body = Bytes::from_request(request, &()).await.map_err(|rejection| Refusal {
            status: rejection.status(),
            kind: match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => "too_large",
                _ => "malformed",
            },
            text: format!("body of at most {MAX_BODY} bytes expected: {}", rejection.body_text()),
        })?;
        // It closes only with the program.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| busy())?;
        let store = Arc::clone(&self.store);
        let work = tokio::task::spawn_blocking(move || {
            // Both go with the work, which goes on when the client leaves.
            let _held = (space, turn);
            receive::write(protocol, &body, &*store, clock::now())
        });
        match work.await {
            Ok(Ok(mut outcome)) => {
                let refused = self.received.keep(std::mem::take(&mut outcome.metadata));
                self.metrics.stored(&outcome, refused);
                Ok(outcome)
            }
            Ok(Err(error)) => Err(refusal(&error)),
            Err(panic) => {
                warn!(%panic, "a write request was not stored");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(Refusal { status, kind: "internal", text: "internal error".to_owned() })
            }
        }
    }

    /// Memory for the body, before any of it is read.
    fn space(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Refusal> {
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        // One that is too large is refused while it is read.
        let kib = length.unwrap_or(MAX_BODY).min(MAX_BODY) / 1024 + 1;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).try_acquire_many_owned(kib).map_err(|_| busy())
    }
}

fn busy() -> Refusal {
    let text = "too many write requests at a time".to_owned();
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, kind: "busy", text }
}

fn refusal(error: &WriteError) -> Refusal {
    let (status, kind) = match error {
        WriteError::NotSnappy(_) | WriteError::Message(Failure::Malformed(_)) => {
            (StatusCode::BAD_REQUEST, "malformed")
        }
        WriteError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        // A source elsewhere has its reasons, and would have them again.
        WriteError::Message(Failure::Store(StoreError::BadData(_))) => {
            (StatusCode::BAD_REQUEST, "refused")
        }
        WriteError::Message(Failure::Store(error)) => {
            warn!(error = causes(error), "a write request was not stored");
            // The cause is for the log; the sender keeps its samples and comes back.
            let text = "store is not available".to_owned();
            let status = match error {
                StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return Refusal { status, kind: "unavailable", text };
        }
    };
    Refusal { status, kind, text: error.to_string() }
}

#[cfg(test)]
mod tests;
