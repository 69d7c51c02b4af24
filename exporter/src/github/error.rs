//! What can go wrong between Pitcrew and GitHub, by what the caller can do about it.

use std::error::Error;
use std::fmt;

use super::app_auth::KeyError;
use crate::secret::SecretError;

/// Longest piece of GitHub's own words that an error repeats, in characters.
const MAX_WORDS: usize = 300;

/// No variant ever holds a token or a key.
#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    /// The token or the App's key is wrong, expired or revoked.
    #[error("{call}: GitHub does not accept the credential (401): {message}")]
    Unauthorized { call: Call, message: String },
    /// The credential is good but may not do this; `permission` is what GitHub says is needed.
    #[error("{call}: forbidden (403): {message}; needed: {}", permission.as_deref().unwrap_or("not said"))]
    Forbidden { call: Call, permission: Option<String>, message: String },
    /// Nothing may be asked before `retry_at`, in seconds since the Unix epoch.
    #[error("{call}: GitHub's rate limit is used up until {retry_at:.0} (Unix time)")]
    RateLimited { call: Call, retry_at: f64 },
    /// Gone, never there, or hidden from this credential: GitHub does not tell which.
    #[error("{call}: not found (404)")]
    NotFound { call: Call },
    /// GitHub understood and refuses: 422 and other answers in the 400s.
    #[error("{call}: refused ({status}): {message}")]
    Rejected { call: Call, status: u16, message: String },
    /// GitHub's fault; may pass.
    #[error("{call}: GitHub failed ({status})")]
    Server { call: Call, status: u16 },
    /// The call was answered by something that is not GitHub's JSON.
    #[error("{call}: expected {expected}, found {found}")]
    Malformed { call: Call, expected: &'static str, found: String },
    /// No answer in time. Whether a write took effect is unknown.
    #[error("{call}: no answer from GitHub")]
    Unreachable { call: Call, source: Box<dyn Error + Send + Sync> },
    /// An answer points to another place, where no token is sent.
    #[error("{call}: sent elsewhere ({status}): {to}")]
    Moved { call: Call, status: u16, to: String },
    /// An organization's or enterprise's jobs, without a list of its repositories.
    #[error("jobs of {scope} are unknown: this scope names no repositories")]
    JobsUnknown { scope: String },
    /// Only a GitHub App may ask this.
    #[error("the credential is no GitHub App")]
    NoApp,
    #[error("github.auth: expected a credential, found none")]
    NoCredential,
    #[error("cannot read GitHub's token")]
    Token(#[from] SecretError),
    #[error("cannot use the GitHub App's private key")]
    Key(#[from] KeyError),
    #[error("github.base_url: expected {expected}, found {found}")]
    BaseUrl { expected: &'static str, found: String },
    #[error("cannot set up HTTPS")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
}

/// What was asked: a method and a path, without the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: http::Method,
    pub path: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// At most `MAX_WORDS` characters of something from outside, on one line.
pub(super) fn words(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_WORDS).map(plain).collect()
}
