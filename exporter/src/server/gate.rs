//! Who may ask what: credentials in constant time, Host and Origin against DNS rebinding.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Digest, SHA256, digest};
use subtle::ConstantTimeEq;

use super::{ServerError, User, WebConfig};
use crate::secret::Secret;

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// What a user may do; a later one may do all that an earlier one may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    #[default]
    Viewer,
    /// Changes the fleet and the program too.
    Operator,
}

/// Who is asking; in the extensions of every request that reaches a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name; `anonymous` where reading is open.
    pub name: Arc<str>,
    pub role: Role,
}

/// The rules of one listener. Holds digests of the secrets, not the secrets.
pub(super) struct Gate {
    passwords: Vec<(Caller, Digest)>,
    tokens: Vec<(Caller, Digest)>,
    anonymous_reads: bool,
    /// In lower case.
    hosts: Vec<String>,
    pub(super) open_paths: Vec<&'static str>,
    pub(super) signed_paths: Vec<&'static str>,
    pub(super) read_only: Vec<&'static str>,
}

impl Gate {
    pub(super) fn new(web: &WebConfig, anonymous_reads: bool) -> Result<Gate, ServerError> {
        let mut gate = Gate {
            passwords: Vec::new(),
            tokens: Vec::new(),
            anonymous_reads,
            hosts: vec!["localhost".to_owned()],
            open_paths: vec!["/-/healthy", "/-/ready"],
            signed_paths: Vec::new(),
            read_only: Vec::new(),
        };
        let own = rustix::system::uname();
        gate.add_host(&own.nodename().to_string_lossy());
        web.hosts.iter().for_each(|host| gate.add_host(host));
        for (name, User { password_file, token_file, role }) in &web.users {
            let read = |path| {
                Secret::read(path)
                    .map_err(|source| ServerError::Secret { user: name.clone(), source })
            };
            if let Some(path) = password_file {
                let caller = Caller { name: name.as_str().into(), role: *role };
                gate.passwords.push((caller, hash(read(path)?.reveal())));
            }
            if let Some(path) = token_file {
                gate.add_token(name, &read(path)?, *role);
            }
        }
        Ok(gate)
    }

    pub(super) fn add_token(&mut self, name: &str, token: &Secret, role: Role) {
        self.tokens.push((Caller { name: name.into(), role }, hash(token.reveal())));
    }

    pub(super) fn add_host(&mut self, name: &str) {
        self.hosts.push(name.to_ascii_lowercase());
    }

    /// The caller, or the status to refuse with.
    fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let open = self.open_paths.contains(&path);
        let anonymous = || Caller { name: "anonymous".into(), role: Role::Viewer };
        self.check_origin(headers)?;
        if self.signed_paths.contains(&path) {
            return Ok(anonymous());
        }
        let caller = match headers.get(AUTHORIZATION) {
            Some(_) if open => anonymous(),
            // Anonymous requests are those that a page from elsewhere can make a browser send.
            Some(value) => self.identify(value).ok_or(Refusal::Credentials)?,
            None => {
                self.check_host(headers)?;
                match open || self.anonymous_reads {
                    true => anonymous(),
                    false => return Err(Refusal::Credentials),
                }
            }
        };
        let reads = matches!(*method, Method::GET | Method::HEAD)
            || self.read_only.iter().any(|root| below(path, root));
        match (open || reads || caller.role == Role::Operator, &*caller.name) {
            (true, _) => Ok(caller),
            (false, "anonymous") => Err(Refusal::Credentials),
            (false, _) => Err(Refusal::Role),
        }
    }

    /// Compares with every entry, so that the time tells nothing about which one came near.
    fn identify(&self, value: &HeaderValue) -> Option<Caller> {
        let (scheme, given) = value.to_str().ok()?.split_once(' ')?;
        let (name, secret, entries) = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => (None, given.trim().to_owned(), &self.tokens),
            "basic" => {
                let text = String::from_utf8(STANDARD.decode(given.trim()).ok()?).ok()?;
                let (name, password) = text.split_once(':')?;
                (Some(name.to_owned()), password.to_owned(), &self.passwords)
            }
            _ => return None,
        };
        let given = hash(&secret);
        let mut found = None;
        for (caller, known) in entries {
            let same = bool::from(given.as_ref().ct_eq(known.as_ref()));
            if same && name.as_deref().is_none_or(|name| name == &*caller.name) {
                found = Some(caller.clone());
            }
        }
        found
    }

    /// A name that is not ours in Host is a page of that name whose DNS was bent to this address.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(host) = headers.get(HOST) else { return Ok(()) };
        let host = authority(host).ok_or(Refusal::Host)?;
        let name = host.host().trim_matches(['[', ']']).to_ascii_lowercase();
        match name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name) {
            true => Ok(()),
            false => Err(Refusal::Host),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let text = origin.to_str().unwrap_or("");
        let named = text.split_once("://").map(|(_, authority)| authority);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        match named.is_some() && named == host {
            true => Ok(()),
            false => Err(Refusal::Origin),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Credentials,
    Role,
    Host,
    Origin,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refusal::Credentials => (StatusCode::UNAUTHORIZED, "credentials needed\n"),
            Refusal::Role => (StatusCode::FORBIDDEN, "this needs the role operator\n"),
            Refusal::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "Host: expected an IP address, localhost or a name from web.hosts\n",
            ),
            Refusal::Origin => (StatusCode::FORBIDDEN, "Origin: expected this server itself\n"),
        };
        let mut answer = (status, text).into_response();
        if self == Refusal::Credentials {
            let headers = answer.headers_mut();
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"pitcrew\""));
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pitcrew\""));
        }
        answer
    }
}

/// The middleware: refuses, or passes on with the [`Caller`] in the extensions.
pub(super) async fn admit(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let mut answer = match gate.judge(request.method(), path, request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    answer.headers_mut().insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    answer
}

fn hash(secret: &str) -> Digest {
    digest(&SHA256, secret.as_bytes())
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    host.to_str().ok()?.parse().ok()
}

/// Whether `path` is `root` or lies below it.
fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
