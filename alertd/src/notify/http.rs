//! One POST to a receiver, and what its answer means. URLs are secrets: errors name the host alone.

use std::time::Duration;

use http::StatusCode;
use pitcrew_exporter::secret::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};

use super::NotifyError;
use crate::http_client::retry_after;
use crate::model::causes::causes;
use crate::route::receiver::{Credentials, HttpConfig, SecretSource, check_url};

/// As much of an answer is read.
const MAX_ANSWER: usize = 4096;
/// As much of it is shown.
const MAX_SHOWN: usize = 200;

/// A receiver behind a URL.
pub struct Endpoint {
    client: Client,
    url: SecretSource,
    config: HttpConfig,
}

impl Endpoint {
    pub fn new(
        url: SecretSource,
        config: HttpConfig,
        timeout: Duration,
    ) -> Result<Endpoint, NotifyError> {
        // Idempotent; without a provider building the client would panic.
        rustls::crypto::ring::default_provider().install_default().ok();
        let follow = config.follow_redirects.unwrap_or(true);
        let client = Client::builder()
            .user_agent(concat!("Pitcrew/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(timeout.mul_f64(0.8))
            .redirect(if follow { same_method() } else { redirect::Policy::none() })
            .build()
            .map_err(|error| NotifyError::Setup {
                what: "an HTTP client",
                cause: causes(&error.without_url()),
            })?;
        Ok(Endpoint { client, url, config })
    }

    /// Posts JSON; returns the text of an answer of 200 to 299.
    pub async fn post(
        &self,
        body: String,
        header: Option<(HeaderName, &str)>,
    ) -> Result<String, NotifyError> {
        let url = check_url(&self.url.read()?)
            .map_err(|found| NotifyError::Setup { what: "a URL", cause: found.to_owned() })?;
        let to = url.host_str().unwrap_or("").to_owned();
        let mut request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = self.authorize(request)?.body(body);
        let answer = request.send().await.map_err(|error| {
            let unsent = error.is_connect() || error.is_builder();
            let cause = causes(&error.without_url());
            match unsent {
                true => NotifyError::Unreachable { to: to.clone(), cause },
                false => NotifyError::NoAnswer { to: to.clone(), cause },
            }
        })?;
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        let text = text(answer).await;
        if status.is_success() {
            return Ok(text);
        }
        let answer = format!("{} {}", status.as_u16(), shown(&text, &url)).trim_end().to_owned();
        Err(classify(to, status, answer, retry_after))
    }

    fn authorize(&self, request: RequestBuilder) -> Result<RequestBuilder, NotifyError> {
        Ok(match self.config.credentials() {
            None => request,
            Some(Credentials::Scheme(kind, source)) => {
                request.header("authorization", format!("{kind} {}", source.read()?.reveal()))
            }
            Some(Credentials::Login(name, source)) => {
                let password = source.map(|source| source.read()).transpose()?;
                request.basic_auth(name, password.as_ref().map(Secret::reveal))
            }
        })
    }
}

/// Follows only redirects that keep the POST: a 302 would turn it into a GET, whose success (of a
/// login page, say) is no delivery.
fn same_method() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let keeps = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
        match keeps.contains(&attempt.status()) && attempt.previous().len() <= 5 {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    })
}

/// An answer other than success: later, or never.
fn classify(
    to: String,
    status: StatusCode,
    answer: String,
    retry_after: Option<Duration>,
) -> NotifyError {
    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => NotifyError::Busy { to, answer, retry_after },
        false => NotifyError::Refused { to, answer },
    }
}

/// The start of the answer's body; one that ends early is taken as far as it goes.
async fn text(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= MAX_ANSWER {
            bytes.truncate(MAX_ANSWER);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer fit for a log: short, on one line, and without the URL's secret parts.
fn shown(text: &str, url: &Url) -> String {
    let mut text = text.to_owned();
    let secrets = [Some(url.path()), url.query(), url.password(), Some(url.username())];
    for secret in secrets.into_iter().flatten().filter(|secret| secret.len() > 1) {
        text = text.replace(secret, "<secret>");
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_later_or_never() {
        for (status, later) in
            [(500, true), (503, true), (429, true), (400, false), (404, false), (302, false)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let error = classify("host".into(), status, String::new(), None);
            assert_eq!(matches!(error, NotifyError::Busy { .. }), later, "{status}");
        }
    }

    #[test]
    fn an_answer_does_not_carry_the_secret_into_the_log() {
        let url = Url::parse("http://h/services/T/hunter2?k=hunter3").unwrap();
        let text = shown("no route\n/services/T/hunter2 k=hunter3", &url);
        assert!(!text.contains("hunter") && text.starts_with("no route "), "{text}");
    }
}
