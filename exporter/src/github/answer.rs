//! An answer's meaning: the error that a refusal stands for, what it says of the budget, its JSON.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{GithubError, words};
use super::rate_limit::Report;
use super::time;
use super::transport::{Ask, Reply};
use crate::clock;
use crate::secret::Secret;

/// GitHub's own words for a refusal.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Words {
    message: String,
    errors: Vec<serde_json::Value>,
}

impl Reply {
    /// GitHub's clock, in seconds since the Unix epoch.
    pub(super) fn date(&self) -> Option<i64> {
        time::parse_http(self.header("date")?)
    }

    pub(super) fn report(&self) -> Report {
        let number = |name| self.header(name)?.trim().parse::<u64>().ok();
        Report {
            refused: self.rate_limited(),
            counted: self.status != 304,
            retry_after: number("retry-after").map(Duration::from_secs),
            limit: number("x-ratelimit-limit"),
            remaining: number("x-ratelimit-remaining"),
            reset: number("x-ratelimit-reset").and_then(|reset| i64::try_from(reset).ok()),
            date: Some(self.date().unwrap_or_else(|| clock::unix_seconds() as i64)),
        }
    }

    /// GitHub answers 403 both for a limit and for a lack of permission.
    fn rate_limited(&self) -> bool {
        let said = || self.words().message.to_ascii_lowercase();
        match self.status {
            429 => true,
            403 => {
                self.header("x-ratelimit-remaining").is_some_and(|left| left.trim() == "0")
                    || self.header("retry-after").is_some()
                    || said().contains("rate limit")
                    || said().contains("abuse detection")
            }
            _ => false,
        }
    }

    fn words(&self) -> Words {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The error that this answer stands for; `wait` is how long a rate limit holds.
pub(super) fn refusal(ask: &Ask, reply: &Reply, token: &Secret, wait: Duration) -> GithubError {
    let call = ask.call();
    let status = reply.status;
    if reply.rate_limited() {
        return GithubError::RateLimited { call, retry_at: retry_at(wait) };
    }
    let Words { message, errors } = reply.words();
    let errors: String = errors.iter().map(|error| format!("; {error}")).collect();
    let message = hide(&format!("{message}{errors}"), token);
    match status {
        401 => GithubError::Unauthorized { call, message },
        403 => {
            let permission =
                reply.header("x-accepted-github-permissions").map(|text| hide(text, token));
            GithubError::Forbidden { call, permission, message }
        }
        404 => GithubError::NotFound { call },
        400..=499 => GithubError::Rejected { call, status, message },
        300..=399 => {
            let to = hide(reply.location().unwrap_or("no location"), token);
            GithubError::Moved { call, status, to }
        }
        500..=599 => GithubError::Server { call, status },
        _ => GithubError::Malformed {
            call,
            expected: "an answer with a final status",
            found: status.to_string(),
        },
    }
}

/// The time after `wait`, in seconds since the Unix epoch.
pub(super) fn retry_at(wait: Duration) -> f64 {
    clock::unix_seconds() + wait.as_secs_f64()
}

/// Reads the body; the error names the field that is not as expected.
pub(super) fn parse_json<T: DeserializeOwned>(
    ask: &Ask,
    reply: &Reply,
    token: &Secret,
) -> Result<T, GithubError> {
    let malformed = |found: String| GithubError::Malformed {
        call: ask.call(),
        expected: "GitHub's JSON",
        found: hide(&found, token),
    };
    let mut json = serde_json::Deserializer::from_slice(&reply.body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let kind = reply.header("content-type").unwrap_or("no content type");
        malformed(format!("{} bytes of {kind}: {error}", reply.body.len()))
    })?;
    json.end().map_err(|error| malformed(error.to_string()))?;
    Ok(value)
}

/// Something from outside, short, and without the token: a proxy's error page may repeat the call.
fn hide(text: &str, token: &Secret) -> String {
    words(&text.replace(token.reveal(), "<secret>"))
}
