//! Why a receiver did not take a notification.

use std::time::Duration;

use pitcrew_exporter::secret::SecretError;

use crate::model::causes::causes;

/// Why an attempt did not succeed; the name of the receiver's host is all it tells of a URL.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("cannot set up {what}: {cause}")]
    Setup { what: &'static str, cause: String },
    #[error("no secret to send with: {0}")]
    Secret(#[from] SecretError),
    /// It was not asked, so it has not taken the notification.
    #[error("cannot reach {to}: {cause}")]
    Unreachable { to: String, cause: String },
    /// It was asked, and may have taken the notification.
    #[error("no answer from {to}: {cause}")]
    NoAnswer { to: String, cause: String },
    /// It says that it did not take the notification now.
    #[error("{to} is not ready: {answer}")]
    Busy { to: String, answer: String, retry_after: Option<Duration> },
    /// It says that it never will.
    #[error("{to} refused: {answer}")]
    Refused { to: String, answer: String },
}

impl NotifyError {
    /// A request without an answer: whether `to` may have got it all the same.
    pub(super) fn unanswered(to: &str, error: reqwest::Error) -> NotifyError {
        let unsent = error.is_connect() || error.is_builder();
        let (to, cause) = (to.to_owned(), causes(&error.without_url()));
        match unsent {
            true => NotifyError::Unreachable { to, cause },
            false => NotifyError::NoAnswer { to, cause },
        }
    }
}
