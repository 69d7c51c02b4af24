//! The HTTP API: one file a resource, each with its own JSON and its `routes`.

pub mod answer;
pub mod backup;
pub mod buildinfo;
pub mod error;
pub mod evaluate;
pub mod fleet;
pub mod gather;
pub mod operator;
pub mod page;
pub mod params;
pub mod pools;
pub mod query;
pub mod rules;
pub mod runbooks;
pub mod series;
pub mod status;
pub mod targets;
pub mod write;

use axum::Json;
use serde::Serialize;

/// Prometheus' envelope around every good answer.
#[derive(Debug, Serialize)]
pub struct Success<T> {
    status: &'static str,
    data: T,
}

pub fn success<T>(data: T) -> Json<Success<T>> {
    Json(Success { status: "success", data })
}
