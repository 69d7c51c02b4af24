//! `*_over_time`: one value of all samples in the window.

use super::Call;
use crate::model::sample::Sample;
use crate::promql::aggregate::bad_quantile;
use crate::promql::error::PromqlError;
use crate::promql::eval::Frame;
use crate::promql::selector::Window;
use crate::promql::sum::{self, Mean, Sum, Variance};

pub(super) fn avg(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(Mean::of(values(window))))
}

pub(super) fn sum(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(Sum::of(values(window))))
}

pub(super) fn count(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(window.samples.len() as f64))
}

pub(super) fn min(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(extreme(window, |new, best| new < best)?.value))
}

pub(super) fn max(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(extreme(window, |new, best| new > best)?.value))
}

/// Keeps the metric name: the value is one that the series had.
pub(super) fn first(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.over_keeping_names(0, |window| Some(window.samples.first()?.value))?;
    Ok(Frame::Vector(rows))
}

/// Keeps the metric name: the value is one that the series had.
pub(super) fn last(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.over_keeping_names(0, |window| Some(window.samples.last()?.value))?;
    Ok(Frame::Vector(rows))
}

pub(super) fn present(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |_| Some(1.0))
}

pub(super) fn stddev(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(Variance::of(values(window)).sqrt()))
}

pub(super) fn stdvar(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(Variance::of(values(window))))
}

/// Median distance from the median; NaN if any sample is.
pub(super) fn mad(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| {
        if values(window).any(f64::is_nan) {
            return Some(f64::NAN);
        }
        let median = sum::quantile(0.5, values(window).collect());
        Some(sum::quantile(0.5, values(window).map(|value| (value - median).abs()).collect()))
    })
}

pub(super) fn quantile(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let quantiles = call.scalar(0)?;
    let frame = call.over(1, |window| {
        let q = quantiles.get(window.step).copied().unwrap_or(f64::NAN);
        Some(sum::quantile(q, values(window).collect()))
    })?;
    if matches!(&frame, Frame::Vector(rows) if !rows.is_empty()) {
        for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            call.eval.warn(call.arg(0)?.start, &bad_quantile(*q));
        }
    }
    Ok(frame)
}

pub(super) fn ts_of_first(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(window.samples.first()?.timestamp.seconds()))
}

pub(super) fn ts_of_last(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(window.samples.last()?.timestamp.seconds()))
}

/// Of equal values the newest counts.
pub(super) fn ts_of_min(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(extreme(window, |new, best| new <= best)?.timestamp.seconds()))
}

/// Of equal values the newest counts.
pub(super) fn ts_of_max(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(extreme(window, |new, best| new >= best)?.timestamp.seconds()))
}

/// NaN counts only where there is nothing else.
fn extreme(window: &Window<'_>, better: impl Fn(f64, f64) -> bool) -> Option<Sample> {
    window.samples.iter().copied().reduce(|best, sample| {
        if better(sample.value, best.value) || best.value.is_nan() { sample } else { best }
    })
}

fn values(window: &Window<'_>) -> impl Iterator<Item = f64> {
    window.samples.iter().map(|sample| sample.value)
}
