//! Pools, their journal, and the orders that persons give them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pitcrew_exporter::server::gate::Caller;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;
use tracing::warn;

use super::operator::only_operators;
use super::plain;
use crate::actions::view::PoolsView;
use crate::actions::{Command, CommandError, What};
use crate::db::Db;

/// Longest wait for the pool's answer; it reads GitHub before it answers.
const ANSWER: Duration = Duration::from_secs(50);
const MOST_ROWS: usize = 1000;
/// The name that the listener gives to the token of the data directory.
const OPERATOR: &str = "operator";

#[derive(Clone)]
struct Pools {
    view: watch::Receiver<Arc<PoolsView>>,
    db: Db,
    commands: mpsc::Sender<Command>,
}

/// Who orders and why; both may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Words {
    who: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    pool: Option<String>,
    #[serde(default = "hundred")]
    limit: usize,
}

#[derive(Debug, thiserror::Error)]
enum PoolsError {
    #[error("no pool is called {0:?}")]
    NoSuchPool(String),
    #[error("{0}")]
    BadData(String),
    /// The order is clear and cannot be followed now.
    #[error("{0}")]
    Refused(String),
    /// The cause is in the log.
    #[error("{0}")]
    Unavailable(&'static str),
}

/// Reading is for everybody whom the listener lets in; changing is for operators.
pub fn routes(
    view: watch::Receiver<Arc<PoolsView>>,
    db: Db,
    commands: mpsc::Sender<Command>,
) -> Router {
    let changes = Router::new()
        .route("/api/pools/{name}/{order}", post(order_one))
        .route("/api/hold", post(hold_all))
        .route("/api/release", post(release_all))
        .route_layer(from_fn(only_operators));
    Router::new()
        .route("/api/pools", get(all))
        .route("/api/pools/{name}", get(one))
        .route("/api/journal", get(journal))
        .merge(changes)
        .with_state(Pools { view, db, commands })
}

async fn all(State(pools): State<Pools>) -> Response {
    let view = Arc::clone(&pools.view.borrow());
    good(view.as_ref())
}

async fn one(State(pools): State<Pools>, Path(name): Path<String>) -> Result<Response, PoolsError> {
    let view = Arc::clone(&pools.view.borrow());
    let found = view.pools.iter().find(|pool| pool.name == name);
    found.map(good).ok_or(PoolsError::NoSuchPool(name))
}

async fn journal(
    State(pools): State<Pools>,
    query: Result<Query<JournalQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, PoolsError> {
    let Query(query) = query.map_err(|error| PoolsError::BadData(error.body_text()))?;
    let db = pools.db.clone();
    let limit = query.limit.min(MOST_ROWS);
    let read = tokio::task::spawn_blocking(move || db.journal_last(query.pool.as_deref(), limit));
    match read.await {
        Ok(Ok(rows)) => Ok(good(&rows)),
        Ok(Err(error)) => Err(unavailable("the journal cannot be read", &error)),
        Err(error) => Err(unavailable("the journal cannot be read", &error)),
    }
}

async fn order_one(
    State(pools): State<Pools>,
    caller: Extension<Caller>,
    Path((name, order)): Path<(String, String)>,
    body: String,
) -> Result<Response, PoolsError> {
    let what = match order.as_str() {
        "failover" => What::Failover(name),
        "failback" => What::Failback(name),
        "hold" => What::Hold(Some(name)),
        "release" => What::Release(Some(name)),
        other => {
            let expected = "expected failover, failback, hold or release";
            return Err(PoolsError::BadData(format!("{expected}, found {other:?}")));
        }
    };
    pools.order(what, &caller, &body).await
}

async fn hold_all(
    State(pools): State<Pools>,
    caller: Extension<Caller>,
    body: String,
) -> Result<Response, PoolsError> {
    pools.order(What::Hold(None), &caller, &body).await
}

async fn release_all(
    State(pools): State<Pools>,
    caller: Extension<Caller>,
    body: String,
) -> Result<Response, PoolsError> {
    pools.order(What::Release(None), &caller, &body).await
}

impl Pools {
    async fn order(&self, what: What, caller: &Caller, body: &str) -> Result<Response, PoolsError> {
        if let What::Failover(name) | What::Failback(name) = &what
            && !self.view.borrow().pools.iter().any(|pool| pool.name == *name)
        {
            return Err(PoolsError::NoSuchPool(name.clone()));
        }
        let words: Words = match body.trim() {
            "" => Words::default(),
            text => serde_json::from_str(text)
                .map_err(|error| PoolsError::BadData(format!("body: {error}")))?,
        };
        let who = person(&caller.name, &words.who);
        let (reply, answer) = oneshot::channel();
        let command = Command { what, who, reason: plain(&words.reason), reply };
        let full = |error: &dyn std::error::Error| unavailable("pools are not looked after", error);
        self.commands.try_send(command).map_err(|error| full(&error))?;
        match time::timeout(ANSWER, answer).await {
            Ok(Ok(Ok(text))) => Ok(good(&json!({ "answer": text }))),
            Ok(Ok(Err(CommandError::NoSuchPool { name, .. }))) => Err(PoolsError::NoSuchPool(name)),
            Ok(Ok(Err(CommandError::Refused(why)))) => Err(PoolsError::Refused(why)),
            Ok(Ok(Err(error @ CommandError::Journal(_)))) => {
                Err(unavailable("it cannot be written down, so it was not done", &error))
            }
            Ok(Err(error)) => Err(full(&error)),
            Err(error) => Err(unavailable("no answer yet; it may still be done", &error)),
        }
    }
}

impl IntoResponse for PoolsError {
    fn into_response(self) -> Response {
        let (status, kind) = match self {
            PoolsError::NoSuchPool(_) => (StatusCode::NOT_FOUND, "not_found"),
            PoolsError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
            PoolsError::Refused(_) => (StatusCode::CONFLICT, "refused"),
            PoolsError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let error = self.to_string();
        (status, Json(json!({ "status": "error", "errorType": kind, "error": error })))
            .into_response()
    }
}

fn good<T: Serialize>(data: &T) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

fn unavailable(public: &'static str, error: &dyn std::error::Error) -> PoolsError {
    warn!(%error, "request about pools failed");
    PoolsError::Unavailable(public)
}

/// Who gave the order, for the journal. Only the token of the data directory, which several persons
/// may use, lets the caller say; a user of the configuration is who has signed in.
fn person(caller: &str, claimed: &str) -> String {
    match plain(claimed) {
        claimed if caller == OPERATOR && !claimed.is_empty() => claimed,
        _ => caller.to_owned(),
    }
}

fn hundred() -> usize {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shared_token_lets_the_caller_say_who_it_is() {
        for (caller, claimed, want) in [
            ("operator", "ann", "ann"),
            ("operator", " an\nn ", "an n"),
            ("operator", "", "operator"),
            ("bob", "ann", "bob"),
            ("bob", "", "bob"),
        ] {
            assert_eq!(person(caller, claimed), want, "{caller} {claimed:?}");
        }
    }
}
