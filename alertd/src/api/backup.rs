//! Orders to copy what alertd keeps, and to begin anew with what was laid ready in its place.

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::operator::only_operators;
use crate::backup::snapshot::Snapshots;
use crate::backup::{BackupError, restore};
use crate::clock;

#[derive(Clone)]
struct Orders {
    snapshots: Snapshots,
    restart: CancellationToken,
}

/// For operators alone. `restart` is cancelled when alertd is to end and begin anew.
pub fn routes(snapshots: Snapshots, restart: CancellationToken) -> Router {
    Router::new()
        .route("/api/admin/snapshot", post(snapshot))
        .route("/api/admin/restore", post(begin_anew))
        .route_layer(from_fn(only_operators))
        .with_state(Orders { snapshots, restart })
}

/// The name is the server's; where it lies is no secret from who may order it.
async fn snapshot(State(orders): State<Orders>) -> Response {
    let made = spawn_blocking(move || orders.snapshots.make(clock::now())).await;
    match made {
        Ok(Ok(name)) => {
            info!(name, "snapshot made");
            good(&json!({ "name": name }))
        }
        Ok(Err(error)) => refuse(&error),
        Err(error) => {
            warn!(%error, "snapshot broke off");
            bad(StatusCode::SERVICE_UNAVAILABLE, "the snapshot broke off; the log says why")
        }
    }
}

async fn begin_anew(State(orders): State<Orders>) -> Response {
    let data_dir = orders.snapshots.data_dir();
    if !restore::is_staged(data_dir) {
        return refuse(&BackupError::NothingStaged(data_dir.into()));
    }
    info!("ending, to begin anew with a backup");
    orders.restart.cancel();
    good(&json!({ "answer": "restarting" }))
}

fn refuse(error: &BackupError) -> Response {
    match error {
        BackupError::Busy | BackupError::NothingStaged(_) => {
            bad(StatusCode::CONFLICT, &error.to_string())
        }
        _ => {
            let causes =
                std::iter::successors(std::error::Error::source(error), |one| one.source());
            let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
            warn!(error = text, "snapshot failed");
            bad(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }
}

fn good(data: &Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

fn bad(status: StatusCode, error: &str) -> Response {
    let body = json!({ "status": "error", "errorType": "unavailable", "error": error });
    (status, Json(body)).into_response()
}
