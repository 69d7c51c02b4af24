//! `/api/v1/query` and `/api/v1/query_range`, as Prometheus has them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pitcrew_exporter::clock::monotonic;

use super::answer::{self, Samples, Stats, Timings};
use super::error::{ApiError, Limit};
use super::evaluate::{Queries, Turn};
use super::params::{CUT, Cut, Params};
use crate::clock;
use crate::model::querier::Querier;
use crate::model::sample::Timestamp;
use crate::promql::error::PromqlError;
use crate::promql::syntax::{Expr, Kind};
use crate::promql::{self, Answer, Options, Value};

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
    let ask = Ask::read(&params)?;
    let evaluate = move |expr: &Expr, store: &dyn Querier, options: &Options| {
        promql::instant(expr, store, at, options)
    };
    run(&queries, ask, |_| Ok(()), evaluate).await
}

async fn range(State(queries): State<Queries>, params: Params) -> Result<Response, ApiError> {
    let (start, end) = (params.needed_time("start")?, params.needed_time("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = step(&params)?;
    let ask = Ask::read(&params)?;
    let fits = move |expr: &Expr| {
        check_resolution(start, end, step)?;
        match expr.kind() {
            Kind::Scalar | Kind::Vector => Ok(()),
            kind => Err(ApiError::BadData(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                kind.to_string()
            ))),
        }
    };
    let evaluate = move |expr: &Expr, store: &dyn Querier, options: &Options| {
        promql::range(expr, store, start, end, step, options)
    };
    run(&queries, ask, fits, evaluate).await
}

fn check_resolution(start: Timestamp, end: Timestamp, step: Duration) -> Result<(), ApiError> {
    match end.since(start).as_millis() / step.as_millis() > MAX_POINTS {
        true => Err(ApiError::Limit(Limit::Resolution)),
        false => Ok(()),
    }
}

/// What both kinds of query take.
struct Ask {
    text: String,
    timeout: Option<Duration>,
    lookback: Option<Duration>,
    cut: Cut,
    stats: bool,
}

impl Ask {
    fn read(params: &Params) -> Result<Ask, ApiError> {
        let lookback = params.duration("lookback_delta").map_err(|error| {
            ApiError::BadData(format!("error parsing lookback delta duration: {error}"))
        })?;
        Ok(Ask {
            text: params.get("query").unwrap_or("").to_owned(),
            timeout: params.duration("timeout")?,
            lookback: lookback.filter(|lookback| !lookback.is_zero()),
            cut: params.limit()?,
            stats: params.get("stats").is_some(),
        })
    }
}

async fn run(
    queries: &Queries,
    ask: Ask,
    fits: impl FnOnce(&Expr) -> Result<(), ApiError> + Send + 'static,
    evaluate: impl FnOnce(&Expr, &dyn Querier, &Options) -> Result<Answer, PromqlError> + Send + 'static,
) -> Result<Response, ApiError> {
    let work = move |turn: &Turn<'_>| {
        let (start, wrong) = (monotonic(), |error| ApiError::query("query", error));
        let expr = promql::parse(&ask.text).map_err(wrong)?;
        fits(&expr)?;
        let lookback = ask.lookback.unwrap_or(turn.options.lookback);
        let options = Options { lookback, ..turn.options.clone() };
        let prepared = start.elapsed();
        let mut answer = evaluate(&expr, turn.store, &options).map_err(wrong)?;
        let total = start.elapsed();
        shorten(&mut answer, ask.cut);
        let stats = ask.stats.then(|| Stats {
            timings: Timings {
                eval_total_time: total.as_secs_f64(),
                result_sort_time: 0.0,
                query_preparation_time: prepared.as_secs_f64(),
                inner_eval_time: (total - prepared).as_secs_f64(),
                exec_queue_time: turn.waited.as_secs_f64(),
                exec_total_time: (turn.waited + total).as_secs_f64(),
            },
            samples: Samples {
                total_queryable_samples: options.usage.found.load(Ordering::Relaxed),
                peak_samples: options.usage.held.load(Ordering::Relaxed),
            },
        });
        Ok(answer::body(&answer, stats.as_ref()))
    };
    let body = queries.run(ask.timeout, work).await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn shorten(answer: &mut Answer, Cut(limit): Cut) {
    let cut = match &mut answer.value {
        Value::Vector(list) if list.len() > limit => {
            list.truncate(limit);
            true
        }
        Value::Matrix(list) if list.len() > limit => {
            list.truncate(limit);
            true
        }
        _ => false,
    };
    if cut {
        answer.warnings.push(CUT.to_owned());
    }
}

/// Whole milliseconds, at least one.
fn step(params: &Params) -> Result<Duration, ApiError> {
    let text = params.get("step").unwrap_or("");
    let none = |step: Duration| step.is_zero();
    if text.parse::<f64>().is_ok_and(|step| step <= 0.0)
        || super::params::parse_duration(text).is_some_and(none)
    {
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
