//! One request to a receiver, and what its answer means.

use std::time::Duration;

use axum::body::Bytes;
use http::{Method, StatusCode};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use super::super::Protocol;
use super::super::config::RemoteWriteConfig;
use crate::http_client::{ClientError, HttpClient, refusal, retry_after, within};

/// Longest wait that a receiver may ask for.
const LONGEST: Duration = Duration::from_secs(300);

/// Sends bodies to one receiver.
pub(super) struct Poster {
    client: HttpClient,
    url: String,
    timeout: Duration,
    protocol: Protocol,
    retry_429: bool,
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many samples were not written although the request was taken.
    Taken { missing: usize },
    /// The same request may succeed later.
    Later { why: String, after: Option<Duration> },
    /// It never will.
    Refused { status: StatusCode, why: String },
}

impl Poster {
    pub(super) fn new(config: &RemoteWriteConfig) -> Poster {
        Poster {
            client: HttpClient::new(config.http.clone()),
            url: config.url.clone(),
            timeout: config.remote_timeout,
            protocol: config.protocol(),
            retry_429: config.queue_config.retry_on_http_429,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Ends within the time-out. `samples` is what the body holds.
    pub(super) async fn post(&self, body: Bytes, samples: usize) -> Answer {
        let answer = match within(self.timeout, self.send(body)).await {
            Ok(answer) => answer,
            Err(why) => return Answer::Later { why, after: None },
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status.is_success() {
            let written = (self.protocol == Protocol::V2).then(|| written(&headers));
            return Answer::Taken { missing: samples - written.unwrap_or(samples).min(samples) };
        }
        let why = refusal(answer).await;
        match self.is_temporary(status) {
            true => Answer::Later { why, after: retry_after(&headers).map(|t| t.min(LONGEST)) },
            false => Answer::Refused { status, why },
        }
    }

    async fn send(&self, body: Bytes) -> Result<reqwest::Result<Response>, ClientError> {
        let request = self.client.request(Method::POST, &self.url).await?;
        let request = request
            .header(CONTENT_TYPE, self.protocol.content_type())
            .header(CONTENT_ENCODING, "snappy")
            .header("X-Prometheus-Remote-Write-Version", self.protocol.version())
            .timeout(self.timeout)
            .body(body);
        Ok(request.send().await)
    }

    fn is_temporary(&self, status: StatusCode) -> bool {
        match status {
            StatusCode::TOO_MANY_REQUESTS => self.retry_429,
            status => status.is_server_error(),
        }
    }
}

/// None where the header is absent: who does not send it has not understood version 2.0.
fn written(headers: &HeaderMap) -> usize {
    let count = headers.get("X-Prometheus-Remote-Write-Samples-Written");
    count.and_then(|count| count.to_str().ok()?.trim().parse().ok()).unwrap_or(0)
}
