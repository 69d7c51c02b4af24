//! `POST /webhooks/github`: who signed it is heard, and answered when it is on disk.
//!
//! The signature is all that counts: this door is open beyond loopback too. Without a secret there
//! is none.

mod metrics;

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ring::hmac;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use self::metrics::WebhookMetrics;
use super::intake::{Intake, Outcome, Refused};
use super::payload::{self, Encoding, PayloadError};
use crate::clock;
use crate::metric::Families;
use crate::secret::Secret;

pub use self::metrics::DESCS;

/// Where GitHub is to send to.
pub const PATH: &str = "/webhooks/github";

/// Largest body in bytes. GitHub sends up to 25 MB, but no event that is read here comes near this.
const MAX_BODY: usize = 2 << 20;
/// Deliveries being read or written at a time; scrapes keep the other connections.
const UNDER_WAY: usize = 64;
/// Longest time for a body to come in.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Longest wait for the disk: GitHub hangs up after ten seconds.
const DISK_TIME: Duration = Duration::from_secs(8);
/// Seconds after which a refused delivery may be tried again.
const AGAIN: HeaderValue = HeaderValue::from_static("5");

/// The door, shut or with a secret.
pub struct Webhook {
    key: RwLock<Option<hmac::Key>>,
    places: Semaphore,
    metrics: WebhookMetrics,
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("expected the header X-Hub-Signature-256, found none")]
    Unsigned,
    #[error("X-Hub-Signature-256 does not fit the body and the secret")]
    Signature,
    #[error("expected at most {MAX_BODY} bytes, found more")]
    TooLarge,
    #[error("the body ended too early")]
    Incomplete,
    #[error("the body took longer than {} s", BODY_TIME.as_secs())]
    Slow,
    #[error("Content-Type: expected application/json or application/x-www-form-urlencoded")]
    ContentType,
    #[error("expected the header {0}, found none")]
    Header(&'static str),
    #[error("{0}")]
    Payload(#[from] PayloadError),
    #[error("too many deliveries at a time")]
    Busy,
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("the disk took longer than {} s", DISK_TIME.as_secs())]
    Disk,
}

impl Rejected {
    fn status(&self) -> StatusCode {
        match self {
            Rejected::Unsigned | Rejected::Signature => StatusCode::UNAUTHORIZED,
            Rejected::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Rejected::Incomplete | Rejected::Header(_) => StatusCode::BAD_REQUEST,
            Rejected::Slow => StatusCode::REQUEST_TIMEOUT,
            Rejected::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Rejected::Payload(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Rejected::Busy | Rejected::Refused(_) | Rejected::Disk => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// As the metric calls it; one of `metrics::REASONS`.
    fn reason(&self) -> &'static str {
        match self {
            Rejected::Unsigned => "unsigned",
            Rejected::Signature => "signature",
            Rejected::TooLarge => "too_large",
            Rejected::Incomplete => "incomplete",
            Rejected::Slow => "slow",
            Rejected::ContentType => "content_type",
            Rejected::Header(_) => "header",
            Rejected::Payload(_) => "payload",
            Rejected::Busy => Refused::Busy.reason(),
            Rejected::Refused(refused) => refused.reason(),
            Rejected::Disk => "disk_slow",
        }
    }
}

impl Webhook {
    pub fn new(secret: Option<&Secret>) -> Webhook {
        let webhook = Webhook {
            key: RwLock::default(),
            places: Semaphore::new(UNDER_WAY),
            metrics: WebhookMetrics::default(),
        };
        webhook.set_secret(secret);
        webhook
    }

    /// From now on this one counts; without, the door is shut.
    pub fn set_secret(&self, secret: Option<&Secret>) {
        let key = secret.map(|it| hmac::Key::new(hmac::HMAC_SHA256, it.reveal().as_bytes()));
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// Answers one request.
    pub async fn receive(&self, intake: &Intake, request: Request) -> Response {
        let Some(key) = self.key() else { return StatusCode::NOT_FOUND.into_response() };
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let begun = clock::monotonic();
        let kind = header(request.headers(), "x-github-event").unwrap_or("").to_owned();
        let taken = self.take(&key, intake, request).await;
        self.metrics.answered(begun.elapsed());
        match taken {
            Ok(Outcome::Accepted) => {
                self.metrics.accepted(&kind, clock::unix_seconds());
                (StatusCode::ACCEPTED, "accepted\n").into_response()
            }
            Ok(Outcome::Duplicate) => {
                self.metrics.duplicate();
                (StatusCode::OK, "known already\n").into_response()
            }
            Err(rejected) => {
                self.metrics.refused(rejected.reason());
                // Strangers can fill no log; whoever knows the secret is told what is wrong.
                match &rejected {
                    Rejected::Payload(error) => {
                        warn!(kind, %error, "a delivery was not understood")
                    }
                    other => debug!(error = %other, "a delivery was not taken"),
                }
                rejected.into_response()
            }
        }
    }

    /// Adds its families; none while the door is shut.
    pub fn families(&self, out: &mut Families) {
        if self.key().is_some() {
            self.metrics.families(out);
        }
    }

    fn key(&self) -> Option<hmac::Key> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn take(
        &self,
        key: &hmac::Key,
        intake: &Intake,
        request: Request,
    ) -> Result<Outcome, Rejected> {
        let _place = self.places.try_acquire().map_err(|_| Rejected::Busy)?;
        let (head, body) = request.into_parts();
        let signature = header(&head.headers, "x-hub-signature-256").ok_or(Rejected::Unsigned)?;
        let tag = tag(signature).ok_or(Rejected::Signature)?;
        let length = header(&head.headers, CONTENT_LENGTH.as_str());
        if length.and_then(|length| length.parse().ok()).is_some_and(|it: u64| it > MAX_BODY as u64)
        {
            return Err(Rejected::TooLarge);
        }
        let body = timeout(BODY_TIME, read(body)).await.map_err(|_| Rejected::Slow)??;
        // Takes the same time wherever the two differ.
        hmac::verify(key, &body, &tag).map_err(|_| Rejected::Signature)?;

        let need = |name| header(&head.headers, name).ok_or(Rejected::Header(name));
        let (kind, delivery) = (need("x-github-event")?, need("x-github-delivery")?);
        let encoding = Encoding::of(header(&head.headers, CONTENT_TYPE.as_str()).unwrap_or(""));
        let encoding = encoding.ok_or(Rejected::ContentType)?;
        let events = payload::parse(kind, encoding, &body, clock::unix_seconds())?;
        drop(body);
        if events.is_empty() {
            return Ok(Outcome::Accepted);
        }
        let delivered = timeout(DISK_TIME, intake.deliver(delivery, events)).await;
        Ok(delivered.map_err(|_| Rejected::Disk)??)
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut answer = (status, format!("{self}\n")).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, AGAIN);
        }
        answer
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Rejected> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Rejected::TooLarge),
        Err(_) => Err(Rejected::Incomplete),
    }
}

/// A header that is there, is text, and is not empty.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

/// The bytes of `sha256=` and 64 hexadecimal digits.
fn tag(signature: &str) -> Option<[u8; 32]> {
    let digits = signature.strip_prefix("sha256=").filter(|digits| digits.len() == 64)?;
    let mut tag = [0; 32];
    for (byte, pair) in tag.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        let [high, low] = pair else { return None };
        *byte = u8::try_from(value(high)? * 16 + value(low)?).ok()?;
    }
    Some(tag)
}

#[cfg(test)]
mod tests;
