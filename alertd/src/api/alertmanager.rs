//! Alertmanager's API, version 2, under `/api/v2`: what amtool, Prometheus and Grafana speak.

mod alerts;
mod filter;
mod intake;
mod silences;
mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::warn;

use super::write::Anonymous;
use crate::model::sample::Timestamp;
use crate::notify::noted::Noting;
use crate::route::board::{Board, BoardError};
use crate::route::silence::Refused;
use crate::route::view::View;

/// Bodies of posted alerts held at a time; further senders wait, and are then told to come back.
const BODIES: usize = 8;
/// Of a silence.
const MAX_BODY: usize = 1024 * 1024;

/// What these resources work on, of the generation that runs.
#[derive(Clone)]
pub struct Alertmanager {
    pub board: Board,
    /// Who is told at once of an acknowledgement.
    pub noting: Noting,
    pub view: View,
    pub resolve_timeout: Duration,
    pub started: Timestamp,
    /// The file of routes and receivers, without its secrets.
    pub shown: Arc<str>,
    /// Names, in the order of the file.
    pub receivers: Arc<[String]>,
    pub doors: Doors,
}

/// What somebody without credentials may do.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    pub write: Anonymous,
    pub post_alerts: bool,
    pub change_silences: bool,
}

#[derive(Clone)]
struct Shared {
    api: Alertmanager,
    bodies: Arc<Semaphore>,
}

pub fn routes(api: Alertmanager) -> Router {
    let no_store = async |mut answer: Response| {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    };
    Router::new()
        .route("/api/v2/alerts", get(alerts::list).post(intake::post))
        .route("/api/v2/alerts/groups", get(alerts::groups))
        .route("/api/v2/silences", get(silences::list).post(silences::set))
        .route("/api/v2/silence/{id}", get(silences::one).delete(silences::expire))
        .route("/api/v2/status", get(status::status))
        .route("/api/v2/receivers", get(status::receivers))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(no_store))
        .with_state(Shared { api, bodies: Arc::new(Semaphore::new(BODIES)) })
}

/// An answer other than success, in Alertmanager's two forms of it.
#[derive(Debug)]
enum ApiError {
    /// A text, as its own handlers give it.
    Text(StatusCode, String),
    /// From before its handlers: a body or parameter of the wrong shape.
    Shape {
        status: StatusCode,
        code: u16,
        message: String,
    },
    Silent(StatusCode),
}

#[derive(Debug, Serialize)]
struct Shape<'a> {
    code: u16,
    message: &'a str,
}

impl ApiError {
    fn bad(text: impl Into<String>) -> ApiError {
        ApiError::Text(StatusCode::BAD_REQUEST, text.into())
    }

    /// Something that must be there, and is not, or is not what it must be.
    fn missing(message: String) -> ApiError {
        ApiError::Shape { status: StatusCode::UNPROCESSABLE_ENTITY, code: 602, message }
    }

    fn unreadable(what: &str, error: &serde_json::Error) -> ApiError {
        let message = format!("parsing {what} body from \"\" failed, because {error}");
        ApiError::Shape { status: StatusCode::BAD_REQUEST, code: 400, message }
    }
}

impl From<BoardError> for ApiError {
    fn from(error: BoardError) -> ApiError {
        let status = match &error {
            BoardError::Silence(Refused::NotFound) => StatusCode::NOT_FOUND,
            BoardError::Silence(_) | BoardError::TooMany(_) => StatusCode::BAD_REQUEST,
            BoardError::Db(cause) => {
                warn!(error = cause as &dyn std::error::Error, "request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        ApiError::Text(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            ApiError::Text(status, text) => (status, Json(text)).into_response(),
            ApiError::Shape { status, code, message } => {
                (status, Json(Shape { code, message: &message })).into_response()
            }
            ApiError::Silent(status) => status.into_response(),
        }
    }
}
