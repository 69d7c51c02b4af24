//! `/api/v1/query` and `/api/v1/query_range`, as Prometheus has them.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::answer;
use super::error::ApiError;
use super::evaluate::Queries;
use super::params::Params;
use crate::clock;
use crate::model::querier::Querier;
use crate::promql::{self, Options};

/// Most steps of one range query.
const MAX_POINTS: u128 = 11_000;

pub fn routes(queries: Queries) -> Router {
    Router::new()
        .route("/api/v1/query", get(instant).post(instant))
        .route("/api/v1/query_range", get(range).post(range))
        .with_state(queries)
}

async fn instant(State(queries): State<Queries>, params: Params) -> Result<Response, ApiError> {
    let at = params.time("time")?.unwrap_or_else(clock::now);
    let limit = params.duration("timeout")?;
    let text = params.get("query").unwrap_or("").to_owned();
    let work = move |store: &dyn Querier, options: &Options| {
        let wrong = |error| ApiError::query("query", error);
        let expr = promql::parse(&text).map_err(wrong)?;
        let answer = promql::instant(&expr, store, at, options).map_err(wrong)?;
        Ok(answer::body(&answer))
    };
    Ok(json(queries.run(limit, work).await?))
}

async fn range(State(queries): State<Queries>, params: Params) -> Result<Response, ApiError> {
    let (start, end) = (params.needed_time("start")?, params.needed_time("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = step(&params)?;
    if end.since(start).as_millis() / step.as_millis() > MAX_POINTS {
        return Err(ApiError::BadData(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
             query resolution (?step=XX)"
                .to_owned(),
        ));
    }
    let limit = params.duration("timeout")?;
    let text = params.get("query").unwrap_or("").to_owned();
    let work = move |store: &dyn Querier, options: &Options| {
        let wrong = |error| ApiError::query("query", error);
        let expr = promql::parse(&text).map_err(wrong)?;
        let kind = expr.kind();
        if !matches!(kind, promql::syntax::Kind::Scalar | promql::syntax::Kind::Vector) {
            return Err(ApiError::BadData(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                kind.to_string()
            )));
        }
        let answer = promql::range(&expr, store, start, end, step, options).map_err(wrong)?;
        Ok(answer::body(&answer))
    };
    Ok(json(queries.run(limit, work).await?))
}

/// Whole milliseconds, at least one.
fn step(params: &Params) -> Result<Duration, ApiError> {
    let text = params.get("step").unwrap_or("");
    if text.parse::<f64>().is_ok_and(|step| step <= 0.0) {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    let missing = || ApiError::parameter("step", "cannot parse \"\" to a valid duration");
    let step = params.duration("step")?.ok_or_else(missing)?;
    let millis = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
    match millis {
        0 => Err(ApiError::parameter("step", "expected at least one millisecond")),
        millis => Ok(Duration::from_millis(millis)),
    }
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
