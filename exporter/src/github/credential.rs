//! The token that a call carries: from a file that may be rotated, or an App's, renewed in time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::answer::{parse_json, refusal};
use super::app_auth::AppKey;
use super::config::Auth;
use super::error::GithubError;
use super::metrics::{GithubMetrics, ResultLabels};
use super::model::InstallationToken;
use super::transport::{Ask, Reply, Transport};
use crate::clock;
use crate::secret::Secret;

/// A renewal that failed is tried again after this, as long as the old token is good.
const RETRY_RENEWAL: Duration = Duration::from_secs(30);

/// A token and how many there were before it: what was learnt under another one may not hold.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) generation: u64,
}

pub(super) struct Credential {
    source: Source,
    metrics: GithubMetrics,
    /// Held across a renewal, so that many callers wait for one.
    state: Mutex<State>,
}

enum Source {
    File(PathBuf),
    App { key: Box<AppKey>, app_id: u64, installation_id: u64 },
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    generation: u64,
    /// GitHub's clock less ours, in seconds, once it mattered.
    skew: i64,
}

struct Held {
    token: Token,
    validity: Validity,
}

enum Validity {
    /// As long as the file stays as it was.
    File(Stamp),
    Until {
        renew: Instant,
        end: Instant,
    },
}

/// Changes whenever the file's content, owner or mode does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 6]);

impl Credential {
    /// Reads the token or the key once, so that a wrong file is found at start.
    pub(super) fn new(auth: &Auth, metrics: GithubMetrics) -> Result<Credential, GithubError> {
        let mut state = State::default();
        let source = match auth {
            Auth::Token { token_file } => {
                let stamp = stamp(token_file);
                state.hold(Secret::read(token_file)?, Validity::File(stamp));
                Source::File(token_file.clone())
            }
            Auth::App { app_id, installation_id, private_key_file } => {
                let key = Box::new(AppKey::read(&Secret::read(private_key_file)?)?);
                Source::App { key, app_id: *app_id, installation_id: *installation_id }
            }
        };
        Ok(Credential { source, metrics, state: Mutex::new(state) })
    }

    /// The token to use now; fetches or reads one where that is due.
    pub(super) async fn token(&self, transport: &Transport) -> Result<Token, GithubError> {
        let mut state = self.state.lock().await;
        self.refresh(&mut state, transport).await
    }

    pub(super) fn is_app(&self) -> bool {
        matches!(self.source, Source::App { .. })
    }

    /// The App's own proof of identity; `NoApp` where a token of a person is used.
    pub(super) async fn app_token(&self) -> Result<Token, GithubError> {
        let Source::App { key, app_id, .. } = &self.source else { return Err(GithubError::NoApp) };
        let state = self.state.lock().await;
        let secret = key.sign(*app_id, clock::unix_seconds() as i64 + state.skew);
        Ok(Token { secret, generation: state.generation })
    }

    /// Another token than the one of this generation, after GitHub answered 401 to it; `None` when
    /// there is no other.
    pub(super) async fn replace(
        &self,
        transport: &Transport,
        generation: u64,
    ) -> Result<Option<Token>, GithubError> {
        let mut state = self.state.lock().await;
        if let (Source::App { .. }, Some(held)) = (&self.source, &state.held)
            && held.token.generation == generation
        {
            state.held = None;
        }
        let token = self.refresh(&mut state, transport).await?;
        Ok((token.generation != generation).then_some(token))
    }

    async fn refresh(
        &self,
        state: &mut State,
        transport: &Transport,
    ) -> Result<Token, GithubError> {
        match &self.source {
            Source::File(path) => self.reread(state, path),
            Source::App { key, app_id, installation_id } => {
                let now = clock::monotonic();
                if let Some(Held { token, validity: Validity::Until { renew, .. } }) = &state.held
                    && now < *renew
                {
                    return Ok(token.clone());
                }
                let fetched = fetch(state, transport, key, *app_id, *installation_id).await;
                self.count(fetched.is_ok());
                match fetched {
                    Ok((secret, validity)) => Ok(state.hold(secret, validity)),
                    Err(error) => state.keep_until_end(error),
                }
            }
        }
    }

    /// A file that cannot be read, such as in the middle of a rotation, leaves the old token.
    fn reread(&self, state: &mut State, path: &Path) -> Result<Token, GithubError> {
        let found = stamp(path);
        if let Some(Held { token, validity: Validity::File(known) }) = &mut state.held {
            if *known == found {
                return Ok(token.clone());
            }
            *known = found;
        }
        let read = Secret::read(path);
        self.count(read.is_ok());
        match (read, &state.held) {
            (Ok(secret), Some(held)) if held.token.secret == secret => Ok(held.token.clone()),
            (Ok(secret), _) => {
                info!("token file changed");
                Ok(state.hold(secret, Validity::File(found)))
            }
            (Err(error), Some(held)) => {
                warn!(%error, "token file changed and cannot be read; the old token stays in use");
                Ok(held.token.clone())
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    fn count(&self, ok: bool) {
        let result = if ok { "success" } else { "failure" };
        self.metrics.token_renewals.get_or_create(&ResultLabels { result }).inc();
    }
}

impl State {
    fn hold(&mut self, secret: Secret, validity: Validity) -> Token {
        self.generation += 1;
        let token = Token { secret, generation: self.generation };
        self.held = Some(Held { token: token.clone(), validity });
        token
    }

    /// The old token, if it is still good, in place of the error.
    fn keep_until_end(&mut self, error: GithubError) -> Result<Token, GithubError> {
        let now = clock::monotonic();
        match &mut self.held {
            Some(Held { token, validity: Validity::Until { renew, end } }) if now < *end => {
                warn!(%error, "token cannot be renewed yet; the old one is still good");
                *renew = now + RETRY_RENEWAL.min((*end - now) / 2);
                Ok(token.clone())
            }
            _ => Err(error),
        }
    }
}

/// Asks GitHub for an installation token, once more with GitHub's own clock if ours is refused.
async fn fetch(
    state: &mut State,
    transport: &Transport,
    key: &AppKey,
    app_id: u64,
    installation_id: u64,
) -> Result<(Secret, Validity), GithubError> {
    let ask = Ask {
        method: Method::POST,
        path: format!("/app/installations/{installation_id}/access_tokens"),
        endpoint: "/app/installations/{installation_id}/access_tokens",
        body: Some(serde_json::json!({})),
        as_app: false,
    };
    let ours = clock::unix_seconds() as i64;
    let mut jwt = key.sign(app_id, ours + state.skew);
    let mut asked = clock::monotonic();
    let mut reply = transport.send(&ask, &jwt, None).await?;
    let skew = reply.date().map_or(0, |theirs| theirs - ours);
    if reply.status == 401 && (skew - state.skew).abs() > 10 {
        state.skew = skew;
        warn!(skew_seconds = skew, "this machine's clock is not GitHub's; using GitHub's");
        jwt = key.sign(app_id, ours + skew);
        asked = clock::monotonic();
        reply = transport.send(&ask, &jwt, None).await?;
    }
    if reply.status != 201 {
        return Err(refusal(&ask, &reply, &jwt, Duration::from_secs(60)));
    }
    let answer: InstallationToken = parse_json(&ask, &reply, &jwt)?;
    Ok((answer.token, validity(&reply, answer.expires_at, asked)))
}

/// The life that GitHub gave the token, by GitHub's own clock, which it shows in whole seconds; a
/// tenth is left for the renewal.
fn validity(reply: &Reply, expires_at: f64, asked: Instant) -> Validity {
    let issued = reply.date().map_or_else(clock::unix_seconds, |date| date as f64);
    let life = Duration::from_secs_f64((expires_at - issued - 1.0).clamp(0.0, 86_400.0));
    Validity::Until { renew: asked + life.mul_f64(0.9), end: asked + life }
}

fn stamp(path: &Path) -> Stamp {
    let stamp = fs::metadata(path).map(|file| {
        [
            file.ino() as i64,
            file.size() as i64,
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ]
    });
    Stamp(stamp.unwrap_or_default())
}
