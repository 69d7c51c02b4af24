//! Slack's web API: one call, and what its answer means.

use std::time::Duration;

use http::StatusCode;
use reqwest::{Method, Url};
use serde::Serialize;
use serde_json::Value;

use crate::http_client::{HttpClient, beginning, retry_after};
use crate::model::causes::causes;
use crate::notify::wording::clip;
use crate::notify::{NotifyError, Settings};
use crate::route::receiver::SecretSource;
use crate::route::receiver::slack_bot::SlackBot;

/// An answer repeats the message with everything that Slack knows of its sender.
const MAX_ANSWER: usize = 512 * 1024;
const MAX_SHOWN: usize = 200;

/// One token's view of the API.
#[derive(Clone)]
pub(super) struct Web {
    pub(super) client: HttpClient,
    /// Ends in a slash: `https://slack.com/api/`.
    pub(super) base: Url,
    pub(super) token: SecretSource,
    pub(super) timeout: Duration,
}

/// Why a call did not succeed; `code` is Slack's word, where it said one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) error: NotifyError,
}

impl From<Failure> for NotifyError {
    fn from(failure: Failure) -> NotifyError {
        failure.error
    }
}

impl From<NotifyError> for Failure {
    fn from(error: NotifyError) -> Failure {
        Failure { code: String::new(), error }
    }
}

impl Web {
    /// With the bot's own token.
    pub(super) fn of(config: &SlackBot, settings: &Settings) -> Web {
        Web {
            client: HttpClient::new(config.http.clone()),
            base: config.api_url.clone(),
            token: config.token.clone(),
            timeout: settings.attempt_timeout,
        }
    }

    /// Calls `method` with a JSON body; the answer says `ok`.
    pub(super) async fn call(&self, method: &str, body: &impl Serialize) -> Result<Value, Failure> {
        let to = self.base.host_str().unwrap_or("Slack").to_owned();
        let setup = |cause| NotifyError::Setup { what: "a call to Slack", cause };
        let url = self.base.join(method).map_err(|error| setup(error.to_string()))?;
        let token = self.token.read().map_err(NotifyError::from)?;
        let body = serde_json::to_vec(body).map_err(|error| setup(error.to_string()))?;
        let request = self.client.request(Method::POST, url.as_str()).await;
        let request = request
            .map_err(|error| setup(causes(&error)))?
            .bearer_auth(token.reveal())
            .header("content-type", "application/json; charset=utf-8")
            .timeout(self.timeout)
            .body(body);
        let answer = request.send().await;
        let answer = answer.map_err(|error| NotifyError::unanswered(&to, error))?;
        let (status, wait) = (answer.status(), retry_after(answer.headers()));
        judge(to, method, status, wait, &beginning(answer, MAX_ANSWER).await)
    }
}

/// A success says `ok`; a status of 200 alone says nothing.
fn judge(
    to: String,
    method: &str,
    status: StatusCode,
    wait: Option<Duration>,
    text: &str,
) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = clip(word("error"), 100);
    if status.is_success() && value.get("ok").and_then(Value::as_bool) == Some(true) {
        return Ok(value);
    }
    let answer = match code.as_str() {
        "" => format!("{} {}", status.as_u16(), shown(text)).trim_end().to_owned(),
        code => format!("{method}: {code}{}", advice(code, word("needed"), &value)),
    };
    let error = match code.as_str() {
        "ratelimited" | "rate_limited" | "service_unavailable" | "team_added_to_org" => {
            NotifyError::Busy { to, answer, retry_after: wait }
        }
        // Slack says that part of it may have happened.
        "internal_error" | "fatal_error" | "request_timeout" => {
            NotifyError::NoAnswer { to, cause: answer }
        }
        _ if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            NotifyError::Busy { to, answer, retry_after: wait }
        }
        // A proxy's page, or half an answer: it says nothing of what Slack did.
        "" if status.is_success() => NotifyError::NoAnswer { to, cause: answer },
        _ => NotifyError::Refused { to, answer },
    };
    Err(Failure { code, error })
}

/// What to do about it, after Slack's own word.
fn advice(code: &str, needed: &str, value: &Value) -> String {
    let text = match code {
        "missing_scope" => {
            let needed = if needed.is_empty() { "chat:write" } else { needed };
            format!("the token needs the scope {}", clip(needed, 100))
        }
        "not_in_channel" => {
            "invite the bot to the channel, or give it the scope chat:write.public".to_owned()
        }
        "channel_not_found" => {
            "no such channel, or a private one that the bot is not in".to_owned()
        }
        "is_archived" => "the channel is archived".to_owned(),
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" => {
            "Slack does not take this token; install the app again".to_owned()
        }
        "not_allowed_token_type" => "expected a bot token (xoxb-…)".to_owned(),
        "restricted_action" | "restricted_action_read_only_channel" => {
            "the workspace lets only some people write there".to_owned()
        }
        _ => {
            let details = value.pointer("/response_metadata/messages").and_then(Value::as_array);
            let details = details.into_iter().flatten().filter_map(Value::as_str);
            shown(&details.collect::<Vec<_>>().join("; "))
        }
    };
    if text.is_empty() { text } else { format!(" ({text})") }
}

/// The start of a text, on one line.
fn shown(text: &str) -> String {
    clip(&text.replace(char::is_control, " "), MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        #[derive(Debug, PartialEq)]
        enum Kind {
            Taken,
            Later,
            Perhaps,
            Never,
        }
        use Kind::*;
        let scope = r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"a"}"#;
        let blocks = r#"{"ok":false,"error":"invalid_blocks",
            "response_metadata":{"messages":["[ERROR] too\nlong"]}}"#;
        // status | body | what it means | what the error says
        for (status, body, want, says) in [
            (200, r#"{"ok":true,"ts":"1.2"}"#, Taken, ""),
            (200, r#"{"ok":false,"error":"ratelimited"}"#, Later, "ratelimited"),
            (429, r#"{"ok":false,"error":"ratelimited"}"#, Later, "ratelimited"),
            (429, "", Later, "429"),
            (503, "<html>", Later, "503 <html>"),
            (200, r#"{"ok":false,"error":"internal_error"}"#, Perhaps, "internal_error"),
            (200, r#"{"ok":false,"error":"fatal_error"}"#, Perhaps, "fatal_error"),
            (200, "<html>log in", Perhaps, "200 <html>log in"),
            (200, r#"{"ok":tr"#, Perhaps, "200"),
            (200, r#"{"ok":false,"error":"channel_not_found"}"#, Never, "private one"),
            (200, r#"{"ok":false,"error":"not_in_channel"}"#, Never, "chat:write.public"),
            (200, r#"{"ok":false,"error":"invalid_auth"}"#, Never, "token"),
            (200, scope, Never, "scope chat:write"),
            (200, blocks, Never, "[ERROR] too long"),
            (200, r#"{"ok":false,"error":"what_is_this"}"#, Never, "what_is_this"),
            (403, "no", Never, "403 no"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let wait = Some(Duration::from_secs(7));
            let found = judge("slack.test".into(), "chat.update", status, wait, body);
            let kind = match &found {
                Ok(_) => Taken,
                Err(Failure { error: NotifyError::Busy { retry_after, .. }, .. }) => {
                    assert_eq!(*retry_after, wait);
                    Later
                }
                Err(Failure { error: NotifyError::NoAnswer { .. }, .. }) => Perhaps,
                Err(_) => Never,
            };
            assert_eq!(kind, want, "{status} {body}");
            let text = found.map_or_else(|failure| failure.error.to_string(), |_| String::new());
            assert!(text.contains(says), "{text}");
        }
    }
}
