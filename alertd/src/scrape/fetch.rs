//! One HTTP request for one page: headers, credentials, redirects, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::config::{ScrapeConfig, protocol};
use super::exposition::Format;
use super::target::Target;
use crate::http_client::{ClientError, HttpClient};

const DEFAULT_BODY_LIMIT: u64 = 64 * 1024 * 1024;

/// Fetches the pages of one job; its connections are kept open between scrapes.
pub(super) struct Fetcher {
    pub(super) job: Arc<ScrapeConfig>,
    client: HttpClient,
    accept: String,
    /// How many targets the job has.
    targets: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) text: String,
    pub(super) format: Format,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no whole page within {}", duration::format(*.0))]
    TimeOut(Duration),
    #[error("cannot connect")]
    Connect(#[source] reqwest::Error),
    #[error("request failed")]
    Request(#[source] reqwest::Error),
    #[error("expected status 200, found {0}")]
    Status(StatusCode),
    #[error(
        "expected status 200, found {0}: redirects to another host or to plain HTTP are not followed"
    )]
    Redirect(StatusCode),
    #[error("page is larger than body_size_limit: expected at most {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("line {line}: expected UTF-8, found other bytes")]
    NotUtf8 { line: usize },
    #[error("job has more targets than target_limit: expected at most {limit}, found {found}")]
    Targets { limit: usize, found: usize },
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl FetchError {
    /// The kind of failure, as a label value.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            FetchError::TimeOut(_) => "timeout",
            FetchError::Connect(_) => "connect",
            FetchError::Request(_) => "request",
            FetchError::Status(_) | FetchError::Redirect(_) => "status",
            FetchError::TooLarge { .. } => "too_large",
            FetchError::NotUtf8 { .. } => "malformed",
            FetchError::Targets { .. } => "limit",
            FetchError::Client(_) => "setup",
        }
    }
}

impl Fetcher {
    pub(super) fn new(job: Arc<ScrapeConfig>) -> Fetcher {
        let client = HttpClient::with_idle(job.http.clone(), 1);
        let accept =
            protocol::accept(job.scrape_protocols.as_deref(), job.metric_name_escaping_scheme);
        Fetcher { job, client, accept, targets: AtomicUsize::new(0) }
    }

    /// Tells how many targets the job has: with too many, no page is fetched.
    pub(super) fn count_targets(&self, targets: usize) {
        self.targets.store(targets, Ordering::Relaxed);
    }

    /// The target's page, within its time-out from the first byte sent to the last one read.
    pub(super) async fn fetch(&self, target: &Target) -> Result<Fetched, FetchError> {
        let (limit, found) = (self.job.target_limit, self.targets.load(Ordering::Relaxed));
        if limit > 0 && found > limit {
            return Err(FetchError::Targets { limit, found });
        }
        let within = tokio::time::timeout(target.timeout, self.page(target)).await;
        within.unwrap_or(Err(FetchError::TimeOut(target.timeout)))
    }

    async fn page(&self, target: &Target) -> Result<Fetched, FetchError> {
        let mut request = self
            .client
            .request(Method::GET, &target.url)
            .await?
            .header(ACCEPT, &self.accept)
            .header(
                "X-Prometheus-Scrape-Timeout-Seconds",
                target.timeout.as_secs_f64().to_string(),
            );
        if !self.job.enable_compression {
            request = request.header(ACCEPT_ENCODING, "identity");
        }
        let sent = request.send().await;
        let mut answer = sent.map_err(|error| {
            let error = error.without_url();
            match error.is_connect() {
                true => FetchError::Connect(error),
                false => FetchError::Request(error),
            }
        })?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect(status)),
            status => return Err(FetchError::Status(status)),
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let fallback = self.job.fallback_scrape_protocol.map(protocol::Protocol::format);
        let format = Format::of(kind, fallback.unwrap_or(Format::Text004));
        let limit = match self.job.body_size_limit.0 {
            0 => DEFAULT_BODY_LIMIT,
            bytes => bytes,
        };
        let mut body = Vec::new();
        let broken = |error: reqwest::Error| FetchError::Request(error.without_url());
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(FetchError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).map_err(|error| {
            let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            FetchError::NotUtf8 { line: 1 + good.filter(|byte| **byte == b'\n').count() }
        })?;
        Ok(Fetched { text, format })
    }
}
