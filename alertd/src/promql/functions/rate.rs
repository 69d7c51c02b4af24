//! `rate`, `increase`, `delta` and their instant forms; `changes` and `resets`.

use super::Call;
use crate::promql::error::PromqlError;
use crate::promql::eval::{Frame, Row, merged};
use crate::promql::selector::Window;

pub(super) fn rate(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.over_keeping_names(0, |window| {
        Some(extrapolated(window, true)? / seconds(window.end - window.start))
    })?;
    counters(call, rows)
}

pub(super) fn increase(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.over_keeping_names(0, |window| extrapolated(window, true))?;
    counters(call, rows)
}

pub(super) fn delta(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| extrapolated(window, false))
}

pub(super) fn irate(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| {
        let [.., before, last] = window.samples else { return None };
        let step = seconds(last.timestamp.0 - before.timestamp.0);
        let reset = last.value < before.value;
        Some(if reset { last.value } else { last.value - before.value } / step)
    })
}

pub(super) fn idelta(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| {
        let [.., before, last] = window.samples else { return None };
        Some(last.value - before.value)
    })
}

pub(super) fn changes(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(count_pairs(window, |a, b| a != b && !(a.is_nan() && b.is_nan()))))
}

pub(super) fn resets(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(count_pairs(window, |a, b| b < a)))
}

fn count_pairs(window: &Window<'_>, counts: impl Fn(f64, f64) -> bool) -> f64 {
    let pairs = window.samples.windows(2);
    pairs.filter(|two| matches!(two, [a, b] if counts(a.value, b.value))).count() as f64
}

/// Notes metrics whose name does not say that they count; then drops the names.
fn counters(call: &Call<'_>, rows: Vec<Row>) -> Result<Frame, PromqlError> {
    for row in &rows {
        let name = row.labels.metric_name().unwrap_or("");
        let counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end));
        if !name.is_empty() && !counter {
            let text = "metric might not be a counter, \
                        name does not end in _total/_sum/_count/_bucket";
            call.eval.inform(call.arg(0)?.start, &format!("{text}: {name:?}"));
        }
    }
    Ok(Frame::Vector(merged(rows.into_iter().map(|row| call.eval.renamed(row)))?))
}

/// The change within the window, stretched to its edges where samples lie near them.
///
/// An edge farther from its nearest sample than 1.1 mean sample intervals is taken not to belong
/// to the series: half an interval is added instead. A counter is not stretched below zero.
fn extrapolated(window: &Window<'_>, counter: bool) -> Option<f64> {
    let [first, .., last] = window.samples else { return None };
    let mut change = last.value - first.value;
    if counter {
        let resets = window.samples.windows(2).filter_map(|two| match two {
            [a, b] if b.value < a.value => Some(a.value),
            _ => None,
        });
        change = resets.fold(change, |change, lost| change + lost);
    }
    let sampled = seconds(last.timestamp.0 - first.timestamp.0);
    let interval = sampled / (window.samples.len() - 1) as f64;
    let threshold = interval * 1.1;
    let near = |distance: f64| if distance >= threshold { interval / 2.0 } else { distance };
    let mut to_start = near(seconds(first.timestamp.0 - window.start));
    let to_end = near(seconds(window.end - last.timestamp.0));
    if counter && change > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / change));
    }
    Some(change * ((sampled + to_start + to_end) / sampled))
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
