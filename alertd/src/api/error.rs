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
    #[error("query was canceled")]
    Canceled,
    /// A bound on what one request may take.
    #[error("{0}")]
    Limit(Limit),
    #[error("{0}")]
    NotFound(String),
    /// Somebody else must act first; `cause` is for the log.
    #[error("{public}")]
    Unavailable { public: &'static str, cause: String },
    /// A defect of ours; `cause` is for the log.
    #[error("internal error")]
    Internal { cause: String },
}

/// Which bound a request ran into; the text begins as Prometheus' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("query timed out in expression evaluation")]
    Time,
    #[error("query timed out in query queue")]
    Concurrency,
    #[error(
        "query processing would load too many samples into memory in query execution: \
         more than {0}, which is query.max_samples"
    )]
    Samples(usize),
    #[error("query would touch more than {0} series, which is query.max_series")]
    Series(usize),
    #[error(
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
         resolution (?step=XX)"
    )]
    Resolution,
}

impl Limit {
    pub const ALL: [Limit; 5] =
        [Limit::Time, Limit::Concurrency, Limit::Samples(0), Limit::Series(0), Limit::Resolution];

    /// As a metric's label value.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Time => "time",
            Limit::Concurrency => "concurrency",
            Limit::Samples(_) => "samples",
            Limit::Series(_) => "series",
            Limit::Resolution => "resolution",
        }
    }
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
            PromqlError::Cancelled => ApiError::Canceled,
            PromqlError::Store(error) => error.into(),
            PromqlError::TooManySamples { limit } => ApiError::Limit(Limit::Samples(limit)),
            PromqlError::Execution(_) => ApiError::Execution(error.to_string()),
        }
    }

    /// The outcome as a metric's label value.
    pub fn kind(&self) -> &'static str {
        self.shape().1
    }

    /// The bound that it ran into.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            ApiError::Limit(limit) => Some(*limit),
            _ => None,
        }
    }

    fn shape(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::BadData(_) | ApiError::Limit(Limit::Resolution) => {
                (StatusCode::BAD_REQUEST, "bad_data")
            }
            ApiError::Execution(_) | ApiError::Limit(Limit::Samples(_) | Limit::Series(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution")
            }
            ApiError::Canceled => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
            ApiError::TimeOut(_) | ApiError::Limit(Limit::Time | Limit::Concurrency) => {
                (StatusCode::SERVICE_UNAVAILABLE, "timeout")
            }
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ApiError::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::TooManySamples { limit } => ApiError::Limit(Limit::Samples(limit)),
            StoreError::TooManySeries { limit } => ApiError::Limit(Limit::Series(limit)),
            StoreError::Execution(why) => ApiError::Execution(why),
            StoreError::BadData(why) => ApiError::BadData(why),
            StoreError::TimedOut(why) => ApiError::TimeOut(why),
            StoreError::Cancelled => ApiError::Canceled,
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
