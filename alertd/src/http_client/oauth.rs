//! `oauth2`: a token by client credentials, kept until shortly before it ends.

use std::time::{Duration, Instant};

use pitcrew_exporter::clock::monotonic;
use pitcrew_exporter::secret::Secret;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::OAuth2;
use super::client::{ClientError, HttpClient, basic_value, header_value, secret};

/// A token is asked for anew so long before its end.
const EARLY: Duration = Duration::from_secs(10);
/// Longest wait for a token.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 256 * 1024;

pub(super) struct TokenSource {
    config: OAuth2,
    http: HttpClient,
    /// Held while a token is fetched, so that many requests ask for one.
    token: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    secret: Secret,
    ends: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl TokenSource {
    pub(super) fn new(config: OAuth2) -> TokenSource {
        let http = HttpClient::new(config.http());
        TokenSource { config, http, token: Mutex::default() }
    }

    pub(super) fn check_files(&self) -> Result<(), ClientError> {
        self.secret()?;
        self.http.check_files()
    }

    /// The value of the `Authorization` header.
    pub(super) async fn header(&self) -> Result<HeaderValue, ClientError> {
        let mut slot = self.token.lock().await;
        let secret = self.secret()?;
        if let Some(token) = &*slot
            && token.secret == secret
            && token.ends.is_none_or(|ends| monotonic() < ends)
        {
            return Ok(token.header.clone());
        }
        let token = self.fetch(secret).await?;
        let header = token.header.clone();
        *slot = Some(token);
        Ok(header)
    }

    fn secret(&self) -> Result<Secret, ClientError> {
        let OAuth2 { client_secret, client_secret_file, .. } = &self.config;
        Ok(secret(client_secret.as_ref(), client_secret_file.as_deref())?)
    }

    async fn fetch(&self, secret: Secret) -> Result<Token, ClientError> {
        let asked = monotonic();
        let mut answer = self.ask(&secret, false).await?;
        // Some servers want the login in the form; the standard wants it in the header.
        if matches!(answer.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
            answer = self.ask(&secret, true).await?;
        }
        let status = answer.status();
        if !status.is_success() {
            return Err(ClientError::Token(format!("expected status 200, found {status}")));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(ClientError::TokenRequest)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                let found = format!("expected at most {MAX_ANSWER} bytes, found more");
                return Err(ClientError::Token(found));
            }
        }
        let Answer { access_token, token_type, expires_in } = serde_json::from_slice(&body)
            .map_err(|_| {
                ClientError::Token("expected JSON with access_token, found something else".into())
            })?;
        let scheme = match token_type {
            Some(kind) if !kind.is_empty() && !kind.eq_ignore_ascii_case("bearer") => kind,
            _ => "Bearer".to_owned(),
        };
        // Some servers write the number as a text.
        let seconds = expires_in.and_then(|value| match value {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        });
        let lifetime = seconds.filter(|seconds: &f64| *seconds > 0.0);
        let lifetime = lifetime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let ends = lifetime.and_then(|time| asked.checked_add(time.saturating_sub(EARLY)));
        let header = header_value("access_token", &format!("{scheme} {access_token}"))?;
        Ok(Token { header, secret, ends })
    }

    async fn ask(&self, secret: &Secret, in_form: bool) -> Result<Response, ClientError> {
        let OAuth2 { client_id, scopes, token_url, endpoint_params, .. } = &self.config;
        let mut form = vec![("grant_type", "client_credentials")];
        let scopes = scopes.join(" ");
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        form.extend(endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if in_form {
            form.extend([("client_id", client_id.as_str()), ("client_secret", secret.reveal())]);
        }
        // A token source has no token source of its own, so this ends.
        let request = Box::pin(self.http.request(Method::POST, token_url)).await?;
        let mut request = request
            .timeout(TIMEOUT)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(encoded(&form));
        if !in_form {
            let login = basic_value(&escaped(client_id), &escaped(secret.reveal()));
            request = request.header(AUTHORIZATION, header_value("client_id", &login)?);
        }
        request.send().await.map_err(|error| ClientError::TokenRequest(error.without_url()))
    }
}

/// As a form is written.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let query = Url::parse_with_params("http://form", pairs).ok();
    query.and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// One value as a form writes it, which is how the standard wants a login.
fn escaped(text: &str) -> String {
    encoded(&[("", text)]).trim_start_matches('=').to_owned()
}
