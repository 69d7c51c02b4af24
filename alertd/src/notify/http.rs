//! One POST to a receiver, and what its answer means. URLs are secrets: errors name the host alone.

use std::time::Duration;

use http::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Method, Url};

use super::NotifyError;
use crate::http_client::{HttpClient, HttpClientConfig, beginning, retry_after};
use crate::model::causes::causes;
use crate::route::receiver::{SecretSource, check_url};

/// As much of an answer is read.
const MAX_ANSWER: usize = 4096;
/// As much of it is shown.
const MAX_SHOWN: usize = 200;

/// A receiver behind a URL.
pub struct Endpoint {
    client: HttpClient,
    url: SecretSource,
    timeout: Duration,
}

impl Endpoint {
    /// `timeout` is for one attempt; whoever wants to wait less says so.
    pub fn new(url: SecretSource, config: HttpClientConfig, timeout: Duration) -> Endpoint {
        Endpoint { client: HttpClient::keeping_methods(config), url, timeout }
    }

    /// Posts JSON; returns the text of an answer of 200 to 299.
    pub async fn post(
        &self,
        body: String,
        headers: &[(HeaderName, &str)],
    ) -> Result<String, NotifyError> {
        let url = check_url(&self.url.read()?)
            .map_err(|found| NotifyError::Setup { what: "a URL", cause: found.to_owned() })?;
        let to = url.host_str().unwrap_or("").to_owned();
        let request = self.client.request(Method::POST, url.as_str()).await;
        let request = request.map_err(|error| NotifyError::Setup {
            what: "an HTTP request",
            cause: causes(&error),
        })?;
        let mut request = request.timeout(self.timeout).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| NotifyError::unanswered(&to, error))?;
        let (status, retry_after) = (answer.status(), retry_after(answer.headers()));
        let text = beginning(answer, MAX_ANSWER).await;
        if status.is_success() {
            return Ok(text);
        }
        let retry_after = retry_after.or_else(|| retry_after_in(&text));
        let answer = format!("{} {}", status.as_u16(), shown(&text, &url)).trim_end().to_owned();
        Err(classify(to, status, answer, retry_after))
    }
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

/// Discord says it in the body too, in seconds, and some gateways only there.
fn retry_after_in(text: &str) -> Option<Duration> {
    let body: serde_json::Value = serde_json::from_str(text).ok()?;
    let seconds = body.get("retry_after")?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok()
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
