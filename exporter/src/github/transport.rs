//! One HTTP exchange with GitHub through octocrab: bounded in time and size, never repeated.

use std::error::Error;
use std::time::Duration;

use http::header::{ACCEPT, ETAG, HeaderMap, IF_NONE_MATCH, LINK, LOCATION};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use octocrab::Octocrab;
use octocrab::service::middleware::retry::RetryConfig;
use serde_json::Value;

use super::config::{GithubConfig, base};
use super::error::{Call, GithubError};
use super::metrics::{GithubMetrics, RequestLabels};
use crate::secret::Secret;

/// Larger answers are refused; a page of 100 runs is about 2 MB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Supported until March 2028; Enterprise Server knows it since 3.9.
const API_VERSION: &str = "2022-11-28";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Transport {
    octocrab: Octocrab,
    origin: Origin,
    /// What stands before each path: empty, or `/api/v3`.
    prefix: String,
    timeout: Duration,
    metrics: GithubMetrics,
}

/// One request; `endpoint` is its path as a template, for the metrics.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query, after the base URL.
    pub(super) path: String,
    pub(super) endpoint: &'static str,
    pub(super) body: Option<Value>,
    /// Signed by the GitHub App itself instead of its installation.
    pub(super) as_app: bool,
}

/// What came back, of any status.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Transport {
    /// Must be called within a tokio runtime, which octocrab's queue of requests runs in.
    pub(super) fn new(
        config: &GithubConfig,
        metrics: GithubMetrics,
    ) -> Result<Transport, GithubError> {
        let base = base(&config.base_url).map_err(|expected| GithubError::BaseUrl {
            expected,
            found: config.base_url.clone(),
        })?;
        let prefix = base.path().trim_end_matches('/').to_owned();
        let origin = Origin::of(&base).expect("a checked base URL has a scheme and a host");
        let setup = |error: octocrab::Error| GithubError::Setup(error.into());
        // Only the origin goes to octocrab: it leaves a base path out before paths that happen to
        // begin like it.
        let octocrab = Octocrab::builder()
            .base_uri(format!(
                "{}://{}",
                origin.scheme,
                base.authority().map_or("", |a| a.as_str())
            ))
            .map_err(setup)?
            .add_retry_config(RetryConfig::None)
            .set_connect_timeout(Some(CONNECT_TIMEOUT.min(config.timeout)))
            .set_read_timeout(Some(config.timeout))
            .set_write_timeout(Some(config.timeout))
            .build()
            .map_err(setup)?;
        Ok(Transport { octocrab, origin, prefix, timeout: config.timeout, metrics })
    }

    /// Sends it once. Only a missing answer is an error; redirects are not followed.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        token: &Secret,
        etag: Option<&str>,
    ) -> Result<Reply, GithubError> {
        let answer = match tokio::time::timeout(self.timeout, self.exchange(ask, token, etag)).await
        {
            Ok(answer) => answer,
            Err(_) => Err(ask.unreachable(format!("timed out after {:?}", self.timeout).into())),
        };
        let status = answer.as_ref().map_or("none".to_owned(), |reply| reply.status.to_string());
        let method = ask.method.to_string();
        let labels = RequestLabels { method, endpoint: ask.endpoint, status };
        self.metrics.requests.get_or_create(&labels).inc();
        answer
    }

    async fn exchange(
        &self,
        ask: &Ask,
        token: &Secret,
        etag: Option<&str>,
    ) -> Result<Reply, GithubError> {
        let silent = |error: octocrab::Error| ask.unreachable(error.into());
        let octocrab = self.octocrab.user_access_token(token.reveal()).map_err(silent)?;
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("{}{}", self.prefix, ask.path))
            .header(ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", API_VERSION);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = octocrab.build_request(request, ask.body.as_ref()).map_err(silent)?;
        let (parts, body) = octocrab.execute(request).await.map_err(silent)?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => GithubError::Malformed {
                call: ask.call(),
                expected: "at most 16 MiB",
                found: "more".to_owned(),
            },
            false => ask.unreachable(error),
        })?;
        let body = body.to_bytes().to_vec();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// The path after the base URL, if this link stays on the same server and beneath its base.
    pub(super) fn local(&self, link: &str) -> Option<String> {
        let uri: Uri = link.parse().ok()?;
        if uri.authority().is_some() && Origin::of(&uri)? != self.origin {
            return None;
        }
        let rest = uri.path_and_query()?.as_str().strip_prefix(&self.prefix)?;
        rest.starts_with('/').then(|| rest.to_owned())
    }
}

impl Ask {
    pub(super) fn get(endpoint: &'static str, path: String) -> Ask {
        Ask { method: Method::GET, path, endpoint, body: None, as_app: false }
    }

    fn unreachable(&self, source: Box<dyn Error + Send + Sync>) -> GithubError {
        GithubError::Unreachable { call: self.call(), source }
    }

    pub(super) fn call(&self) -> Call {
        Call { method: self.method.clone(), path: self.path.clone() }
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn etag(&self) -> Option<&str> {
        self.header(ETAG.as_str())
    }

    /// The address of the next page, from the `Link` header.
    pub(super) fn next_page(&self) -> Option<&str> {
        super::pages::next_link(self.header(LINK.as_str())?)
    }

    pub(super) fn location(&self) -> Option<&str> {
        self.header(LOCATION.as_str())
    }
}

impl Origin {
    fn of(uri: &Uri) -> Option<Origin> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        // Without a user: `https://us@them/` is another place than it looks.
        let plain = !uri.authority()?.as_str().contains('@');
        plain.then(|| Origin { host: uri.host().unwrap_or("").to_ascii_lowercase(), scheme, port })
    }
}
