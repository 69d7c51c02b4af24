//! `deriv` and `predict_linear` (least squares), `double_exponential_smoothing`.

use super::Call;
use crate::promql::error::{PromqlError, failed};
use crate::promql::eval::Frame;
use crate::promql::selector::Window;
use crate::promql::sum::Sum;

/// Slope per second.
pub(super) fn deriv(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| {
        let first = window.samples.first()?.timestamp.0;
        (window.samples.len() > 1).then(|| least_squares(window, first).0)
    })
}

/// The value so many seconds after the evaluation, on the line through the window.
pub(super) fn predict_linear(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let ahead = call.scalar(1)?;
    call.over(0, |window| {
        if window.samples.len() < 2 {
            return None;
        }
        let (slope, intercept) = least_squares(window, window.now);
        Some(slope * ahead.get(window.step).copied().unwrap_or(f64::NAN) + intercept)
    })
}

pub(super) fn double_exponential_smoothing(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let smoothing = call.scalar(1)?;
    let trend = call.scalar(2)?;
    let mut wrong = None;
    let smoothed = call.over(0, |window| {
        let weight = smoothing.get(window.step).copied()?;
        let trend = trend.get(window.step).copied()?;
        // Only where there is something to smooth do the factors matter.
        for (what, factor) in [("smoothing", weight), ("trend", trend)] {
            if factor <= 0.0 || factor >= 1.0 {
                wrong.get_or_insert((what, factor));
            }
        }
        let [first, second, ..] = window.samples else { return None };
        let (mut before, mut level, mut slope) = (0.0, first.value, second.value - first.value);
        for (at, sample) in window.samples.iter().enumerate().skip(1) {
            if at > 1 {
                slope = trend * (level - before) + (1.0 - trend) * slope;
            }
            (before, level) = (level, weight * sample.value + (1.0 - weight) * (level + slope));
        }
        Some(level)
    });
    match wrong {
        Some((what, bad)) => {
            Err(failed!("invalid {what} factor: expected 0 < factor < 1, got {bad}"))
        }
        None => smoothed,
    }
}

/// Slope per second, and the value at `origin` (milliseconds).
fn least_squares(window: &Window<'_>, origin: i64) -> (f64, f64) {
    let constant = window.samples.first().map_or(f64::NAN, |first| first.value);
    if window.samples.iter().all(|sample| sample.value == constant) {
        return if constant.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, constant) };
    }
    let count = window.samples.len() as f64;
    let points = || {
        let point = |time: i64| time.saturating_sub(origin) as f64 / 1000.0;
        window.samples.iter().map(move |sample| (point(sample.timestamp.0), sample.value))
    };
    let x = Sum::of(points().map(|(x, _)| x));
    let y = Sum::of(points().map(|(_, y)| y));
    let xy = Sum::of(points().map(|(x, y)| x * y));
    let squares = Sum::of(points().map(|(x, _)| x * x));
    let slope = (xy - x * y / count) / (squares - x * x / count);
    (slope, y / count - slope * x / count)
}
