//! `/api/acknowledgements`: who looks after which alert.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use pitcrew_exporter::server::gate::Caller;
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use super::alertmanager::Alertmanager;
use super::operator::{NotAllowed, may_change};
use super::{plain, success};
use crate::clock;
use crate::model::labels::Fingerprint;
use crate::route::acknowledge::Acknowledgement;
use crate::route::board::BoardError;
use crate::route::matchers;

/// Alerts that one request may acknowledge.
const MAX_ALERTS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    fingerprint: Option<String>,
    /// In Alertmanager's notation; all of them have to match.
    #[serde(default)]
    matchers: Vec<String>,
    owner: String,
    #[serde(default)]
    note: String,
}

#[derive(Debug)]
enum Refusal {
    NotAllowed(NotAllowed),
    Bad(String),
    NoAlert,
    Unavailable,
}

/// Reading is for everybody whom the listener lets in; changing as with silences.
pub fn routes(api: Alertmanager) -> Router {
    Router::new()
        .route("/api/acknowledgements", get(list).post(set))
        .route("/api/acknowledgements/{fingerprint}", delete(release))
        .with_state(api)
}

async fn list(State(api): State<Alertmanager>) -> Response {
    let mut all: Vec<Arc<Acknowledgement>> = api.board.acknowledged().iter().cloned().collect();
    all.sort_by(|a, b| (b.at, &a.fingerprint).cmp(&(a.at, &b.fingerprint)));
    success(all).into_response()
}

async fn set(
    State(api): State<Alertmanager>,
    caller: Option<Extension<Caller>>,
    body: String,
) -> Result<Response, Refusal> {
    let who =
        may_change(caller.as_deref(), api.doors.change_silences).map_err(Refusal::NotAllowed)?;
    let wish: Wish =
        serde_json::from_str(&body).map_err(|error| Refusal::Bad(format!("body: {error}")))?;
    let (owner, note) = (plain(&wish.owner), plain(&wish.note));
    if owner.is_empty() {
        return Err(Refusal::Bad("owner: expected who looks after it".to_owned()));
    }
    let mut wanted = Vec::new();
    for text in &wish.matchers {
        let found = matchers::parse(text).map_err(|error| Refusal::Bad(error.to_string()))?;
        wanted.extend(found);
    }
    let fingerprint = wish.fingerprint.as_deref().map(read).transpose()?;
    if wanted.is_empty() && fingerprint.is_none() {
        return Err(Refusal::Bad("expected a fingerprint or matchers".to_owned()));
    }
    let now = clock::now();
    let shown = api.view.alerts(&wanted, now);
    let meant = |hash| fingerprint.is_none_or(|fingerprint| fingerprint == hash);
    let shown: Vec<_> = shown.into_iter().filter(|one| meant(one.fingerprint)).collect();
    if shown.is_empty() {
        return Err(Refusal::NoAlert);
    }
    if shown.len() > MAX_ALERTS {
        return Err(Refusal::Bad(format!("{} alerts, at most {MAX_ALERTS}", shown.len())));
    }
    let entries = shown.iter().map(|one| Acknowledgement {
        fingerprint: one.fingerprint.to_string(),
        labels: one.alert.labels.to_map(),
        owner: owner.clone(),
        note: note.clone(),
        signed_in: who.clone(),
        at: now,
        starts_at: one.alert.starts_at,
    });
    let entries: Vec<_> = entries.collect();
    api.board.acknowledge(entries.clone()).await?;
    if let Some(first) = entries.first() {
        let alerts = entries.iter().filter_map(|entry| entry.fingerprint.parse().ok()).collect();
        api.noting.acknowledged(alerts, first.text(), now).await;
    }
    Ok(success(entries).into_response())
}

async fn release(
    State(api): State<Alertmanager>,
    caller: Option<Extension<Caller>>,
    Path(fingerprint): Path<String>,
) -> Result<Response, Refusal> {
    may_change(caller.as_deref(), api.doors.change_silences).map_err(Refusal::NotAllowed)?;
    match api.board.release(read(&fingerprint)?).await? {
        0 => Err(Refusal::NoAlert),
        count => Ok(success(json!({ "released": count })).into_response()),
    }
}

fn read(text: &str) -> Result<Fingerprint, Refusal> {
    let read = text.parse().ok().filter(|_| text.len() == 16);
    let wrong = || Refusal::Bad(format!("fingerprint: expected 16 digits, found {text:?}"));
    read.ok_or_else(wrong)
}

impl From<BoardError> for Refusal {
    fn from(error: BoardError) -> Refusal {
        match error {
            BoardError::Db(cause) => {
                warn!(error = &cause as &dyn std::error::Error, "request failed");
                Refusal::Unavailable
            }
            other => Refusal::Bad(other.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, error) = match self {
            Refusal::NotAllowed(why) => {
                let (status, text) = why.answer();
                (status, "forbidden", text.to_owned())
            }
            Refusal::Bad(why) => (StatusCode::BAD_REQUEST, "bad_data", why),
            Refusal::NoAlert => {
                (StatusCode::NOT_FOUND, "not_found", "no such alert fires".to_owned())
            }
            Refusal::Unavailable => {
                let text = "it cannot be written down, so it was not done".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
            }
        };
        (status, Json(json!({ "status": "error", "errorType": kind, "error": error })))
            .into_response()
    }
}
