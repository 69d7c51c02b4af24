//! One HTTP request for one page: headers, credentials, redirects, limits.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::secret::{Secret, SecretError};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};

use super::config::ScrapeConfig;
use super::exposition::Format;
use super::target::Target;

const DEFAULT_BODY_LIMIT: u64 = 64 * 1024 * 1024;
const MAX_REDIRECTS: usize = 10;
/// What Prometheus 2 asks for: OpenMetrics, else text.
const ACCEPTED: &str = "application/openmetrics-text;version=1.0.0,\
    application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Fetches the pages of one job; its connections are kept open between scrapes.
pub(super) struct Fetcher {
    pub(super) job: Arc<ScrapeConfig>,
    /// Made on first use, and again after a failure: the certificate file may come later.
    client: Mutex<Option<Client>>,
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
    #[error("cannot use the job's credentials")]
    Secret(#[from] SecretError),
    #[error("credentials: expected text that a header can carry, found other bytes")]
    Header,
    #[error("cannot read tls_config.ca_file {path}")]
    CaFile { path: PathBuf, source: std::io::Error },
    #[error("tls_config.ca_file {path}: expected PEM certificates")]
    CaPem { path: PathBuf, source: reqwest::Error },
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
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
            FetchError::Secret(_)
            | FetchError::Header
            | FetchError::CaFile { .. }
            | FetchError::CaPem { .. }
            | FetchError::Client(_) => "setup",
        }
    }
}

impl Fetcher {
    pub(super) fn new(job: Arc<ScrapeConfig>) -> Fetcher {
        Fetcher { job, client: Mutex::default() }
    }

    /// The target's page, within its time-out from the first byte sent to the last one read.
    pub(super) async fn fetch(&self, target: &Target) -> Result<Fetched, FetchError> {
        let within = tokio::time::timeout(target.timeout, self.page(target)).await;
        within.unwrap_or(Err(FetchError::TimeOut(target.timeout)))
    }

    async fn page(&self, target: &Target) -> Result<Fetched, FetchError> {
        let request = self
            .client()?
            .get(&target.url)
            .header(ACCEPT, ACCEPTED)
            .header(USER_AGENT, concat!("Pitcrew/", env!("CARGO_PKG_VERSION")))
            .header(
                "X-Prometheus-Scrape-Timeout-Seconds",
                target.timeout.as_secs_f64().to_string(),
            );
        let sent = self.authorize(request).await?.send().await;
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
        let format =
            Format::of(answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()));
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

    async fn authorize(&self, request: RequestBuilder) -> Result<RequestBuilder, FetchError> {
        if let Some(basic) = &self.job.basic_auth {
            let password = secret(basic.password.as_ref(), basic.password_file.as_ref()).await?;
            return Ok(request.basic_auth(&basic.username, Some(password.reveal())));
        }
        let Some(header) = &self.job.authorization else { return Ok(request) };
        let given = secret(header.credentials.as_ref(), header.credentials_file.as_ref()).await?;
        let text = format!("{} {}", header.scheme.trim(), given.reveal());
        let mut value = HeaderValue::from_str(&text).map_err(|_| FetchError::Header)?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    fn client(&self) -> Result<Client, FetchError> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let policy = match self.job.follow_redirects {
            true => Policy::custom(same_host),
            false => Policy::none(),
        };
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(policy)
            .pool_max_idle_per_host(1)
            .tls_danger_accept_invalid_certs(self.job.tls_config.insecure_skip_verify);
        if let Some(path) = &self.job.tls_config.ca_file {
            let pem = std::fs::read(path)
                .map_err(|source| FetchError::CaFile { path: path.clone(), source })?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|source| FetchError::CaPem { path: path.clone(), source })?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(FetchError::Client)?;
        *slot = Some(client.clone());
        Ok(client)
    }
}

/// A target may move its page, but not make us ask, with our credentials, somebody else.
fn same_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first();
    let same = first.is_some_and(|first| {
        let downgrade = first.scheme() == "https" && attempt.url().scheme() != "https";
        first.host_str() == attempt.url().host_str() && !downgrade
    });
    match same && attempt.previous().len() <= MAX_REDIRECTS {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// Files are read at each scrape, so that a secret can be changed in place.
async fn secret(inline: Option<&Secret>, file: Option<&PathBuf>) -> Result<Secret, FetchError> {
    let Some(path) = file.cloned() else {
        return Ok(inline.cloned().unwrap_or(Secret::new("")));
    };
    let read = tokio::task::spawn_blocking(move || Secret::read(&path)).await;
    read.map_err(|_| FetchError::Header)?.map_err(FetchError::Secret)
}
