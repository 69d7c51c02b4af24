//! `/api/v1/format_query` and `parse_query`, and `query_exemplars`, which has none to show.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::error::ApiError;
use super::params::{EVER, Params};
use super::{Success, success};
use crate::promql;
use crate::promql::syntax::Expr;

pub fn routes() -> Router {
    Router::new()
        .route("/api/v1/format_query", get(format).post(format))
        .route("/api/v1/parse_query", get(parse).post(parse))
        .route("/api/v1/query_exemplars", get(exemplars).post(exemplars))
}

fn expression(params: &Params) -> Result<Expr, ApiError> {
    let text = params.get("query").unwrap_or("");
    promql::parse(text).map_err(|error| ApiError::query("query", error))
}

async fn format(params: Params) -> Result<Json<Success<String>>, ApiError> {
    Ok(success(expression(&params)?.pretty()))
}

async fn parse(params: Params) -> Result<Response, ApiError> {
    let data = expression(&params)?.outline();
    let body = format!("{{\"status\":\"success\",\"data\":{data}}}");
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Answers as a Prometheus that keeps no exemplars.
async fn exemplars(params: Params) -> Result<Json<Success<[(); 0]>>, ApiError> {
    let start = params.time("start")?.unwrap_or(EVER.0);
    if params.time("end")?.unwrap_or(EVER.1) < start {
        let wrong = "end timestamp must not be before start timestamp";
        return Err(ApiError::BadData(wrong.to_owned()));
    }
    expression(&params).map(|_| success([]))
}
