//! Why a server told nothing, in the words of the metric `queue_server_state`.

use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerError};

use crate::secret::SecretError;

/// Texts of the server are cut to this many bytes; they go to the log.
const LONGEST_TEXT: usize = 200;

/// Every value of the label `state`.
pub(super) const STATES: [&str; 13] = [
    "ok",
    "unreachable",
    "tls",
    "secret",
    "password",
    "permission",
    "refused",
    "loading",
    "busy",
    "primary_down",
    "timeout",
    "closed",
    "protocol",
];

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("cannot connect to {place}: {source}")]
    Unreachable { place: String, source: io::Error },
    /// Of the certificate files, or of the handshake.
    #[error("TLS with {place}: {text}")]
    Tls { place: String, text: String },
    #[error("{0}")]
    Secret(#[from] SecretError),
    #[error("user or password is wrong or missing: {0}")]
    Password(String),
    #[error("the user may not run the commands that are needed: {0}")]
    Permission(String),
    #[error("the server refuses: {0}")]
    Refused(String),
    #[error("the server is still loading its data")]
    Loading,
    #[error("the server is busy with a script: {0}")]
    Busy(String),
    #[error("a replica without its primary, told not to serve stale data: {0}")]
    PrimaryDown(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the connection ended: {0}")]
    Closed(String),
    #[error("not what Redis answers: {0}")]
    Protocol(String),
    #[error("no Sentinel knows where {master} is: {text}")]
    Sentinel { master: String, text: String },
}

impl Problem {
    pub(super) fn state(&self) -> &'static str {
        match self {
            Problem::Unreachable { .. } | Problem::Sentinel { .. } => "unreachable",
            Problem::Tls { .. } => "tls",
            Problem::Secret(_) => "secret",
            Problem::Password(_) => "password",
            Problem::Permission(_) => "permission",
            Problem::Refused(_) => "refused",
            Problem::Loading => "loading",
            Problem::Busy(_) => "busy",
            Problem::PrimaryDown(_) => "primary_down",
            Problem::TimedOut(_) => "timeout",
            Problem::Closed(_) => "closed",
            Problem::Protocol(_) => "protocol",
        }
    }

    /// What an error of the client library means.
    pub(super) fn of(error: &RedisError) -> Problem {
        let text = cut(&error.to_string());
        match error.kind() {
            ErrorKind::AuthenticationFailed => Problem::Password(text),
            ErrorKind::Io => Problem::Closed(text),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Problem::Protocol(text),
            _ => match error.code() {
                Some(code) => of_code(code, text.clone()).unwrap_or(Problem::Refused(text)),
                None => Problem::Refused(text),
            },
        }
    }

    /// What one command's error says of the whole server; `None`: it is about its key alone.
    pub(super) fn of_reply(error: &ServerError) -> Option<Problem> {
        of_code(error.code(), words(error))
    }
}

/// Why one key cannot be read, for the label `reason`.
pub(super) fn reason(error: &ServerError) -> &'static str {
    match error.code() {
        "WRONGTYPE" => "wrong_type",
        "NOPERM" => "no_permission",
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => "other_node",
        _ => "error",
    }
}

/// Code and text of an error that the server gave.
pub(super) fn words(error: &ServerError) -> String {
    cut(&format!("{} {}", error.code(), error.details().unwrap_or_default()))
}

fn of_code(code: &str, text: String) -> Option<Problem> {
    Some(match code {
        "NOAUTH" | "WRONGPASS" => Problem::Password(text),
        "LOADING" => Problem::Loading,
        "BUSY" => Problem::Busy(text),
        "MASTERDOWN" => Problem::PrimaryDown(text),
        "DENIED" => Problem::Refused(text),
        _ if text.contains("max number of clients") => Problem::Refused(text),
        _ => return None,
    })
}

fn cut(text: &str) -> String {
    let mut text = text.to_owned();
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}
