//! `HttpClient`: requests as an `HttpClientConfig` wants them, with files read anew when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pitcrew_exporter::config::stamp::Stamp;
use pitcrew_exporter::secret::{Secret, SecretError};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Method, NoProxy, RequestBuilder, StatusCode};

use super::oauth::TokenSource;
use super::{HeaderValues, HttpClientConfig, tls};

const MAX_REDIRECTS: usize = 10;
const AGENT: &str = concat!("Pitcrew/", env!("CARGO_PKG_VERSION"));

/// Cheap to clone: connections are shared.
///
/// Certificates are looked at before each request and read again when a file changed; secrets in
/// files are read for each request. Time-outs are the caller's.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    config: HttpClientConfig,
    idle: usize,
    keeps_method: bool,
    /// Made on first use, and again after a failure: the files may come later.
    built: Mutex<Option<Built>>,
    tokens: Option<TokenSource>,
}

struct Built {
    client: Client,
    stamps: Vec<Option<Stamp>>,
}

/// Why a request cannot even be written.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot use the credentials")]
    Secret(#[from] SecretError),
    #[error("{0}: expected text that a header can carry, found other bytes")]
    Header(String),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place}: expected PEM {what}")]
    Pem { place: String, what: &'static str, source: rustls::pki_types::pem::Error },
    #[error("{place}: expected at least one certificate, found none")]
    NoCertificate { place: String },
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("tls_config.server_name: expected a host name or an address, found {0:?}")]
    ServerName(String),
    #[error("cannot set up the HTTP client")]
    Build(#[source] reqwest::Error),
    #[error("no token from oauth2.token_url: request failed")]
    TokenRequest(#[source] reqwest::Error),
    #[error("no token from oauth2.token_url: {0}")]
    Token(String),
    #[error("reading files ended before its time")]
    Interrupted,
}

impl HttpClient {
    pub fn new(config: HttpClientConfig) -> HttpClient {
        HttpClient::with_idle(config, usize::MAX)
    }

    /// A client that keeps at most `idle` unused connections to each host.
    pub fn with_idle(config: HttpClientConfig, idle: usize) -> HttpClient {
        HttpClient::build(config, idle, false)
    }

    /// A client that follows only redirects that keep the method: a 302 would turn a POST into a
    /// GET, whose success (of a login page, say) is none of what was posted.
    pub fn keeping_methods(config: HttpClientConfig) -> HttpClient {
        HttpClient::build(config, usize::MAX, true)
    }

    fn build(config: HttpClientConfig, idle: usize, keeps_method: bool) -> HttpClient {
        let tokens = config.oauth2.clone().map(TokenSource::new);
        HttpClient(Arc::new(Inner { config, idle, keeps_method, built: Mutex::default(), tokens }))
    }

    /// A request that says who we are. A redirect to another host is not followed: the answer is
    /// then the redirect itself.
    ///
    /// # Errors
    /// When a file cannot be used, or no token is to be had; a bad URL fails when sent.
    pub async fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, ClientError> {
        let (client, mut headers) = match self.0.reads_files() {
            false => self.0.prepare()?,
            true => {
                let inner = Arc::clone(&self.0);
                let read = tokio::task::spawn_blocking(move || inner.prepare()).await;
                read.map_err(|_| ClientError::Interrupted)??
            }
        };
        if let Some(tokens) = &self.0.tokens {
            headers.insert(AUTHORIZATION, tokens.header().await?);
        }
        Ok(client.request(method, url).headers(headers))
    }

    pub fn config(&self) -> &HttpClientConfig {
        &self.0.config
    }

    pub(super) fn check_files(&self) -> Result<(), ClientError> {
        self.0.prepare()?;
        self.0.tokens.as_ref().map_or(Ok(()), TokenSource::check_files)
    }
}

impl Inner {
    fn reads_files(&self) -> bool {
        let HttpClientConfig { basic_auth, authorization, http_headers, .. } = &self.config;
        let basic = basic_auth.as_ref();
        !self.config.tls_config.files().is_empty()
            || basic.is_some_and(|b| b.username_file.is_some() || b.password_file.is_some())
            || authorization.as_ref().is_some_and(|header| header.credentials_file.is_some())
            || self.config.bearer_token_file.is_some()
            || http_headers.values().any(|header| !header.files.is_empty())
    }

    fn prepare(&self) -> Result<(Client, HeaderMap), ClientError> {
        Ok((self.client()?, self.headers()?))
    }

    fn client(&self) -> Result<Client, ClientError> {
        // Taken before the files are read: a change in between is seen the next time.
        let stamps: Vec<_> = self.config.tls_config.files().into_iter().map(Stamp::of).collect();
        let mut slot = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = &*slot
            && built.stamps == stamps
        {
            return Ok(built.client.clone());
        }
        let client = self.build()?;
        *slot = Some(Built { client: client.clone(), stamps });
        Ok(client)
    }

    fn build(&self) -> Result<Client, ClientError> {
        let HttpClientConfig { follow_redirects, enable_http2, http_headers, proxy, .. } =
            &self.config;
        let secret_headers = !http_headers.is_empty();
        let keeps_method = self.keeps_method;
        let policy = match follow_redirects {
            true => Policy::custom(move |attempt| {
                let same = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
                match keeps_method && !same.contains(&attempt.status()) {
                    true => attempt.stop(),
                    false => same_host(attempt, secret_headers),
                }
            }),
            false => Policy::none(),
        };
        let tls = tls::client_config(&self.config.tls_config, *enable_http2)?;
        let mut builder = Client::builder()
            .user_agent(AGENT)
            .redirect(policy)
            .referer(false)
            .pool_max_idle_per_host(self.idle)
            .tls_backend_preconfigured(tls);
        if !enable_http2 {
            builder = builder.http1_only();
        }
        if !proxy.from_environment {
            builder = builder.no_proxy();
        }
        if let Some(url) = &proxy.url {
            let mut headers = HeaderMap::new();
            for (name, values) in &proxy.connect_header {
                for value in values {
                    headers.append(header_name(name)?, header_value(name, value.reveal())?);
                }
            }
            let proxy_all = reqwest::Proxy::all(url.reveal())
                .map_err(|error| ClientError::Build(error.without_url()))?;
            let none_for = proxy.none_for.as_deref().and_then(NoProxy::from_string);
            builder = builder.proxy(proxy_all.headers(headers).no_proxy(none_for));
        }
        builder.build().map_err(ClientError::Build)
    }

    fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let config = &self.config;
        for (name, HeaderValues { values, secrets, files }) in &config.http_headers {
            let secrets = secrets.iter().map(Secret::reveal);
            for value in values.iter().map(String::as_str).chain(secrets) {
                headers.append(header_name(name)?, header_value(name, value)?);
            }
            for path in files {
                let value = header_value(name, Secret::read(path)?.reveal())?;
                headers.append(header_name(name)?, value);
            }
        }
        if let Some(text) = self.authorization()? {
            headers.insert(AUTHORIZATION, header_value("credentials", &text)?);
        }
        Ok(headers)
    }

    /// The value of `Authorization`, but for what OAuth gives.
    fn authorization(&self) -> Result<Option<String>, ClientError> {
        let config = &self.config;
        if let Some(basic) = &config.basic_auth {
            let name = match &basic.username_file {
                Some(path) => Secret::read(path)?.reveal().to_owned(),
                None => basic.username.clone(),
            };
            let password = secret(basic.password.as_ref(), basic.password_file.as_deref())?;
            return Ok(Some(basic_value(&name, password.reveal())));
        }
        let (scheme, inline, file) = match &config.authorization {
            Some(header) => (header.scheme.trim(), &header.credentials, &header.credentials_file),
            None => ("Bearer", &config.bearer_token, &config.bearer_token_file),
        };
        if inline.is_none() && file.is_none() {
            return Ok(None);
        }
        let given = secret(inline.as_ref(), file.as_deref())?;
        Ok(Some(format!("{scheme} {}", given.reveal())))
    }
}

/// A server may move what we ask for, but not make us ask, with our credentials, somebody else.
/// reqwest takes `Authorization` away where the port differs; other headers would stay.
fn same_host(attempt: Attempt<'_>, secret_headers: bool) -> Action {
    let first = attempt.previous().first();
    let same = first.is_some_and(|first| {
        let downgrade = first.scheme() == "https" && attempt.url().scheme() != "https";
        let port = first.port_or_known_default() == attempt.url().port_or_known_default();
        first.host_str() == attempt.url().host_str() && !downgrade && (port || !secret_headers)
    });
    match same && attempt.previous().len() <= MAX_REDIRECTS {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// What a configuration says in place or in a file, which may be changed at any time.
pub(super) fn secret(inline: Option<&Secret>, file: Option<&Path>) -> Result<Secret, SecretError> {
    match file {
        Some(path) => Secret::read(path),
        None => Ok(inline.cloned().unwrap_or(Secret::new(""))),
    }
}

/// The value of a header that carries a login.
pub(super) fn basic_value(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

pub(super) fn header_value(name: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| ClientError::Header(name.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn header_name(name: &str) -> Result<HeaderName, ClientError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| ClientError::Header(name.to_owned()))
}
