//! Functions of each element's value, and those between scalars and vectors.

use std::f64::consts::LN_2;

use super::Call;
use crate::model::labels::Labels;
use crate::promql::error::PromqlError;
use crate::promql::eval::{Frame, Row, absent, is_absent};

/// Zero keeps its sign, NaN stays NaN.
pub(super) fn sign(value: f64) -> f64 {
    if value == 0.0 || value.is_nan() { value } else { value.signum() }
}

/// From here on the square of a number may be infinite, and adding 1 to it changes nothing.
const LARGE: f64 = 1e150;

pub(super) fn asinh(value: f64) -> f64 {
    match value.abs() {
        large if large > LARGE => (large.ln() + LN_2).copysign(value),
        _ => value.asinh(),
    }
}

pub(super) fn acosh(value: f64) -> f64 {
    if value > LARGE { value.ln() + LN_2 } else { value.acosh() }
}

/// To the nearest multiple of the second argument (default 1), halves upwards.
pub(super) fn round(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let to = if call.args.len() > 1 { call.scalar(1)? } else { vec![1.0; call.steps.count] };
    call.eval.map_at(call.vector(0)?, |step, value| {
        // Dividing by the inverse keeps decimal fractions exact.
        let inverse = 1.0 / to.get(step).copied().unwrap_or(1.0);
        (value * inverse + 0.5).floor() / inverse
    })
}

pub(super) fn clamp(call: &Call<'_>) -> Result<Frame, PromqlError> {
    bounded(call, &call.scalar(1)?, &call.scalar(2)?)
}

pub(super) fn clamp_min(call: &Call<'_>) -> Result<Frame, PromqlError> {
    bounded(call, &call.scalar(1)?, &vec![f64::INFINITY; call.steps.count])
}

pub(super) fn clamp_max(call: &Call<'_>) -> Result<Frame, PromqlError> {
    bounded(call, &vec![f64::NEG_INFINITY; call.steps.count], &call.scalar(1)?)
}

fn bounded(call: &Call<'_>, low: &[f64], high: &[f64]) -> Result<Frame, PromqlError> {
    call.eval.map_at(call.vector(0)?, |step, value| {
        let low = low.get(step).copied().unwrap_or(f64::NAN);
        let high = high.get(step).copied().unwrap_or(f64::NAN);
        if high < low {
            absent()
        } else {
            extreme(extreme(value, high, f64::NEG_INFINITY), low, f64::INFINITY)
        }
    })
}

/// The one of two that is nearer to `end`, an infinity; NaN if either is, but for `end` itself.
fn extreme(a: f64, b: f64, end: f64) -> f64 {
    if a == end || b == end {
        end
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if end > 0.0 {
        a.max(b)
    } else {
        a.min(b)
    }
}

/// The value of the only element, NaN when there is none or more than one.
pub(super) fn scalar(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.vector(0)?;
    let value = |step: usize| {
        let mut present =
            rows.iter().filter_map(|row| row.values.get(step)).filter(|value| !is_absent(**value));
        match (present.next(), present.next()) {
            (Some(only), None) => *only,
            _ => f64::NAN,
        }
    };
    Ok(Frame::Scalar((0..call.steps.count).map(value).collect()))
}

pub(super) fn vector(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let values = call.scalar(0)?;
    Ok(Frame::Vector(vec![Row { labels: Labels::empty(), drop_name: false, values }]))
}

/// A scalar of two scalars; NaN if either is.
pub(super) fn of_two(call: &Call<'_>, choose: fn(f64, f64) -> f64) -> Result<Frame, PromqlError> {
    let pairs = call.scalar(0)?.into_iter().zip(call.scalar(1)?);
    let chosen = pairs.map(|(a, b)| if a.is_nan() || b.is_nan() { f64::NAN } else { choose(a, b) });
    Ok(Frame::Scalar(chosen.collect()))
}
