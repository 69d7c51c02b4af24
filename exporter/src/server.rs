//! One HTTP(S) listener: who may connect, for how long, and who is asking.

mod connection;
pub mod gate;
mod rest;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::timeout::TimeoutLayer;
use tracing::{info, warn};

use crate::config::yaml::Invalid;
use crate::secret::{Secret, SecretError};
use gate::{Gate, Role};

/// More connections than this wait in the listen queue.
const MAX_CONNECTIONS: usize = 256;
/// Longest time from a request's head to its answer.
const REQUEST_TIME_OUT: Duration = Duration::from_secs(60);
/// How long requests under way may take to end after the stop.
const GRACE: Duration = Duration::from_secs(3);

/// `web` in both programs' configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    pub tls: Option<Tls>,
    /// Who may ask, by name.
    pub users: BTreeMap<String, User>,
    /// Asks for credentials on loopback too, where reading is otherwise open.
    pub protect_loopback: bool,
    /// Further names by which clients may call this server, beside its own name and addresses.
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM, the server's own certificate first.
    pub cert_file: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
}

/// One of `password_file` (HTTP basic) and `token_file` (bearer).
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    #[serde(default)]
    pub role: Role,
}

impl WebConfig {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        for (name, user) in &self.users {
            let key = format!("web.users.{name}");
            if user.password_file.is_some() == user.token_file.is_some() {
                let found = if user.token_file.is_some() { "both" } else { "neither" };
                return Err(Invalid::value(file, key, "password_file or token_file", found));
            }
            if name.is_empty() || name.contains(':') {
                return Err(Invalid::value(file, key, "a name without a colon", name.clone()));
            }
        }
        let is_name = |host: &&String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !host.is_empty() && host.chars().all(plain)
        };
        match self.hosts.iter().find(|host| !is_name(host)) {
            Some(host) => {
                let expected = "a name without scheme and port, such as ci.example.org";
                Err(Invalid::value(file, "web.hosts", expected, host))
            }
            None => Ok(()),
        }
    }

    /// Makes relative paths begin at `folder`.
    pub fn start_paths_at(&mut self, folder: &Path) {
        let files = self.tls.iter_mut().flat_map(|tls| [&mut tls.cert_file, &mut tls.key_file]);
        let secrets = self.users.values_mut();
        let secrets = secrets.flat_map(|user| [&mut user.password_file, &mut user.token_file]);
        for path in files.chain(secrets.flatten()) {
            *path = folder.join(&path);
        }
    }
}

/// A listener with its rules, not yet serving; the address is taken.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    gate: Gate,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bound({})", self.address)
    }
}

impl Bound {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Takes this bearer token for the role `operator`, beside the configured users.
    #[must_use]
    pub fn with_operator(mut self, token: &Secret) -> Bound {
        self.gate.add_token("operator", token, Role::Operator);
        self
    }

    /// Leaves a path open to everybody, as `/-/healthy` and `/-/ready` are: for what authenticates
    /// by other means.
    #[must_use]
    pub fn with_open_path(mut self, path: &'static str) -> Bound {
        self.gate.open_paths.push(path);
        self
    }

    /// Leaves a path to whoever signs what they send, under whatever name they call this server:
    /// its handler checks each signature, which no page can make a browser send.
    #[must_use]
    pub fn with_signed_path(mut self, path: &'static str) -> Bound {
        self.gate.signed_paths.push(path);
        self
    }

    /// Counts any method on this path, or on what lies below it, as reading: nothing there changes
    /// anything, and a POST may be a query in a form; or its handlers decide by the [`gate::Caller`].
    #[must_use]
    pub fn with_read_only(mut self, path: &'static str) -> Bound {
        self.gate.read_only.push(path);
        self
    }

    /// A further name by which clients may call this server.
    #[must_use]
    pub fn with_host(mut self, name: &str) -> Bound {
        self.gate.add_host(name);
        self
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listen: expected an address and port such as 127.0.0.1:9610, found {listen}")]
    Address { listen: String, source: io::Error },
    /// The one error that is not the configuration's: somebody else has the port, or it needs rights.
    #[error("cannot listen on {listen}")]
    Bind { listen: String, source: io::Error },
    #[error(
        "refusing to listen on {address}: beyond loopback it needs web.tls and web.users \
         (--insecure-listen does without TLS, and lets everybody read if there are no users)"
    )]
    Exposed { address: SocketAddr },
    #[error("web.users.{user}")]
    Secret { user: String, source: SecretError },
    #[error("web.tls: cannot read {path}")]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("web.tls: {cert_file} and {key_file} cannot be used")]
    Tls { cert_file: PathBuf, key_file: PathBuf, source: rustls::Error },
}

/// Reads secrets and certificate, and takes the address.
///
/// Refuses an address beyond loopback without TLS and users, unless `insecure_listen`.
pub async fn bind(
    listen: &str,
    web: &WebConfig,
    insecure_listen: bool,
) -> Result<Bound, ServerError> {
    let failed = |source| ServerError::Bind { listen: listen.to_owned(), source };
    let Rules { addresses, tls, gate } = rules(listen, web, insecure_listen).await?;
    let listener = TcpListener::bind(addresses.as_slice()).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, tls, gate })
}

/// Refuses what [`bind`] would refuse, and takes no address.
pub async fn check(
    listen: &str,
    web: &WebConfig,
    insecure_listen: bool,
) -> Result<(), ServerError> {
    rules(listen, web, insecure_listen).await.map(drop)
}

/// All that a listener needs but its socket.
struct Rules {
    addresses: Vec<SocketAddr>,
    tls: Option<TlsAcceptor>,
    gate: Gate,
}

async fn rules(listen: &str, web: &WebConfig, insecure_listen: bool) -> Result<Rules, ServerError> {
    let unknown = |source| ServerError::Address { listen: listen.to_owned(), source };
    let tls = web.tls.as_ref().map(tls::acceptor).transpose()?;
    let addresses: Vec<_> = tokio::net::lookup_host(listen).await.map_err(unknown)?.collect();
    let beyond = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    let guarded = tls.is_some() && !web.users.is_empty();
    if let Some(address) = beyond
        && !guarded
        && !insecure_listen
    {
        return Err(ServerError::Exposed { address: *address });
    }
    // Who named users means them, with TLS or without.
    let anonymous_reads = !web.protect_loopback && (beyond.is_none() || web.users.is_empty());
    let gate = Gate::new(web, anonymous_reads)?;
    Ok(Rules { addresses, tls, gate })
}

/// Serves until `stop`, then lets requests under way end for up to three seconds.
///
/// Every handler finds the [`gate::Caller`] in the request's extensions.
pub async fn serve(
    bound: Bound,
    router: Router,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    let Bound { listener, address, tls, gate } = bound;
    let router = router
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIME_OUT))
        .layer(middleware::from_fn_with_state(Arc::new(gate), gate::admit));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    info!(%address, tls = tls.is_some(), "listening");
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let work = connection::serve(stream, tls.clone(), router.clone(), stop.clone());
                let cut = cut.clone();
                tasks.spawn(async move {
                    cut.run_until_cancelled(work).await;
                    drop(permit);
                });
            }
            // Most often too many open files: some close soon.
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        cut.cancel();
        tasks.wait().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
