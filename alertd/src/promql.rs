//! PromQL: parse, check, evaluate. Pure: no IO, no clock, no tokio.

pub mod advice;
mod aggregate;
mod binary;
mod blame;
mod convert;
pub mod error;
mod eval;
pub mod functions;
mod matching;
mod outline;
pub mod presence;
mod pretty;
mod print;
mod scan;
mod selector;
mod sum;
pub mod syntax;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

pub use crate::model::engine::{Answer, Value};
use crate::model::labels::Labels;
use crate::model::querier::Querier;
use crate::model::sample::{Sample, Series, Timestamp};

use self::error::{PromqlError, failed};
use self::eval::{Evaluator, Frame, Query, Row, Steps, is_absent, merged, without_name};
use self::syntax::{Expr, Kind};

/// What one evaluation may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far back an instant selector looks for a sample.
    pub lookback: Duration,
    /// Samples that one query may load or produce before it fails.
    pub max_samples: usize,
    /// Resolution of a subquery that names none: the evaluation interval.
    pub subquery_step: Duration,
    /// Remove metric names when the result is handed out, not after each operation. Off, as in a
    /// Prometheus without that feature flag.
    pub delayed_name_removal: bool,
    /// Set from outside to stop the evaluation (time-out, client gone).
    pub cancel: Arc<AtomicBool>,
    /// Filled at the end of the evaluation.
    pub usage: Arc<Usage>,
}

/// What an evaluation took.
#[derive(Debug, Default)]
pub struct Usage {
    /// Samples that the selectors found, each counted at every step that used it.
    pub found: AtomicU64,
    /// Samples that were loaded or made, as they count against `max_samples`.
    pub held: AtomicU64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lookback: Duration::from_secs(300),
            max_samples: 50_000_000,
            subquery_step: Duration::from_secs(60),
            delayed_name_removal: false,
            cancel: Arc::default(),
            usage: Arc::default(),
        }
    }
}

/// Text to a checked expression.
///
/// # Errors
/// `Parse` or `Unsupported`, with the place in the text.
pub fn parse(text: &str) -> Result<Expr, PromqlError> {
    syntax::parse(text)
}

/// The value at one moment. Vectors come in a fixed order: sorted when the query sorts, else by
/// the labels of the series they came from. Where the store has an engine of its own, that one
/// answers, under its own options.
///
/// # Errors
/// When the store fails, a limit is hit, the query is cancelled, or the data do not allow it.
pub fn instant(
    expr: &Expr,
    store: &dyn Querier,
    at: Timestamp,
    options: &Options,
) -> Result<Answer, PromqlError> {
    if let Some(engine) = store.engine() {
        return Ok(engine.instant(&expr.text, at, &options.cancel)?);
    }
    let steps = Steps { start: at.0, step: 0, count: 1 };
    let query = Query { start: at.0, end: at.0, step: 0 };
    let eval = Evaluator::new(expr, store, options, query);
    let value = if expr.kind() == Kind::Matrix {
        Value::Matrix(eval.matrix(&expr.root, &steps)?)
    } else {
        match eval.eval(&expr.root, &steps)? {
            Frame::Scalar(values) => {
                let value = values.first().copied().unwrap_or(f64::NAN);
                Value::Scalar(Sample { timestamp: at, value })
            }
            Frame::Text(text) => Value::String(at, text),
            Frame::Vector(rows) => {
                let elements = finished(rows)?.into_iter().filter_map(|row| {
                    let value = row.values.first().copied()?;
                    Some((row.labels, Sample { timestamp: at, value }))
                });
                Value::Vector(elements.collect())
            }
        }
    };
    let (warnings, infos) = eval.into_notes();
    Ok(Answer { value, warnings, infos })
}

/// The values at `start`, `start + step`, … up to `end`, as a matrix sorted by labels.
///
/// # Errors
/// As `instant`; also for a range vector or a string, for a step of zero, and for `end < start`.
pub fn range(
    expr: &Expr,
    store: &dyn Querier,
    start: Timestamp,
    end: Timestamp,
    step: Duration,
    options: &Options,
) -> Result<Answer, PromqlError> {
    if !matches!(expr.kind(), Kind::Scalar | Kind::Vector) {
        return Err(failed!(
            "invalid expression type \"{}\" for range query, must be scalar or instant vector",
            expr.kind()
        ));
    }
    let millis = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    if millis == 0 || end < start {
        return Err(failed!("a range query needs a step above zero and an end after its start"));
    }
    if let Some(engine) = store.engine() {
        return Ok(engine.range(&expr.text, start, end, step, &options.cancel)?);
    }
    let span = end.0.saturating_sub(start.0);
    let count = usize::try_from(span / millis).unwrap_or(usize::MAX).saturating_add(1);
    let steps = Steps { start: start.0, step: millis, count };
    let query = Query { start: start.0, end: end.0, step: millis };
    let eval = Evaluator::new(expr, store, options, query);
    eval.charge(count)?;
    let rows = match eval.eval(&expr.root, &steps)? {
        Frame::Vector(rows) => finished(rows)?,
        Frame::Scalar(values) => vec![Row { labels: Labels::empty(), drop_name: false, values }],
        Frame::Text(_) => Vec::new(),
    };
    let mut series: Vec<Series> = rows.into_iter().map(|row| series_of(row, &steps)).collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let (warnings, infos) = eval.into_notes();
    Ok(Answer { value: Value::Matrix(series), warnings, infos })
}

/// Removes the names that were to go at the end.
fn finished(rows: Vec<Row>) -> Result<Vec<Row>, PromqlError> {
    // Every operation leaves its rows distinct.
    if rows.iter().all(|row| !row.drop_name) {
        return Ok(rows.into_iter().filter(|row| !row.is_empty()).collect());
    }
    merged(rows.into_iter().map(|row| match row.drop_name {
        true => Row { labels: without_name(&row.labels), drop_name: false, values: row.values },
        false => row,
    }))
}

fn series_of(row: Row, steps: &Steps) -> Series {
    let values = row.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
    let samples = values
        .map(|(at, value)| Sample { timestamp: Timestamp(steps.time(at)), value: *value })
        .collect();
    Series { labels: row.labels, samples }
}

#[cfg(test)]
mod tests;
