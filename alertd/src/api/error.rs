//! Every error of the API as Prometheus' JSON and status; a cause inside goes to the log.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::warn;

use crate::model::querier::StoreError;
use crate::promql::error::PromqlError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be right; the text says why.
    #[error("{0}")]
    BadData(String),
    /// The request is right and the data do not allow it, or a limit does not.
    #[error("{0}")]
    Execution(String),
    #[error("{0}")]
    TimeOut(String),
    #[error("{0}")]
    NotFound(String),
    /// Somebody else must act first; `cause` is for the log.
    #[error("{public}")]
    Unavailable { public: &'static str, cause: String },
    /// A defect of ours; `cause` is for the log.
    #[error("internal error")]
    Internal { cause: String },
}

#[derive(Debug, Serialize)]
struct Body {
    status: &'static str,
    #[serde(rename = "errorType")]
    kind: &'static str,
    error: String,
}

impl ApiError {
    /// As Prometheus says it: `invalid parameter "step": …`.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> ApiError {
        ApiError::BadData(format!("invalid parameter {name:?}: {why}"))
    }

    /// A query that does not parse is the fault of the parameter that holds it.
    pub fn query(parameter: &str, error: PromqlError) -> ApiError {
        match error {
            PromqlError::Parse { .. } | PromqlError::Unsupported { .. } => {
                ApiError::parameter(parameter, error)
            }
            PromqlError::Cancelled => ApiError::TimeOut(error.to_string()),
            PromqlError::Store(error) => error.into(),
            PromqlError::Execution(_) | PromqlError::TooManySamples { .. } => {
                ApiError::Execution(error.to_string())
            }
        }
    }

    /// The outcome as a metric's label value.
    pub fn kind(&self) -> &'static str {
        self.shape().1
    }

    fn shape(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
            ApiError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            ApiError::TimeOut(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ApiError::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::TooManySamples { .. }
            | StoreError::TooManySeries { .. }
            | StoreError::Execution(_) => ApiError::Execution(error.to_string()),
            StoreError::BadData(why) => ApiError::BadData(why),
            StoreError::TimedOut(_) | StoreError::Cancelled => ApiError::TimeOut(error.to_string()),
            StoreError::Unavailable(cause) => {
                ApiError::Unavailable { public: "store is not available", cause }
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let ApiError::Unavailable { cause, .. } | ApiError::Internal { cause } = &self {
            warn!(error = %self, cause, "request failed");
        }
        let (status, kind) = self.shape();
        (status, Json(Body { status: "error", kind, error: self.to_string() })).into_response()
    }
}
