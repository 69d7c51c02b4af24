//! Functions of time: of the evaluation, of the query, of a sample.

use super::Call;
use crate::promql::error::PromqlError;
use crate::promql::eval::Frame;
use crate::promql::syntax::Node;

/// The time of each step, seconds.
pub(super) fn time(call: &Call<'_>) -> Result<Frame, PromqlError> {
    Ok(Frame::Scalar(call.steps.times().map(seconds).collect()))
}

pub(super) fn start(call: &Call<'_>) -> Result<Frame, PromqlError> {
    constant(call, call.eval.query.start)
}

pub(super) fn end(call: &Call<'_>) -> Result<Frame, PromqlError> {
    constant(call, call.eval.query.end)
}

/// Zero in an instant query.
pub(super) fn step(call: &Call<'_>) -> Result<Frame, PromqlError> {
    constant(call, call.eval.query.step)
}

pub(super) fn range(call: &Call<'_>) -> Result<Frame, PromqlError> {
    constant(call, call.eval.query.end.saturating_sub(call.eval.query.start))
}

/// The time of the sample when the argument is a selector, else of the evaluation.
pub(super) fn timestamp(call: &Call<'_>) -> Result<Frame, PromqlError> {
    if let Node::Selector(selector) = &call.arg(0)?.bare().node {
        let rows = call.eval.instant(selector, call.steps, |sample| sample.timestamp.seconds())?;
        return call.eval.map(rows, |value| value);
    }
    call.eval.map_at(call.vector(0)?, |step, _| seconds(call.steps.time(step)))
}

fn constant(call: &Call<'_>, millis: i64) -> Result<Frame, PromqlError> {
    Ok(Frame::Scalar(vec![seconds(millis); call.steps.count]))
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
