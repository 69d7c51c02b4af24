//! `rate`, `increase`, `delta` and their instant forms; `changes` and `resets`.

use super::Call;
use crate::model::sample::Sample;
use crate::promql::error::PromqlError;
use crate::promql::eval::{Frame, Row};
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
        let reset = is_reset(window, before, last);
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
    call.over(0, |window| {
        let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
        Some(count_pairs(window, |a, b| differ(a.value, b.value)))
    })
}

pub(super) fn resets(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.over(0, |window| Some(count_pairs(window, |a, b| is_reset(window, a, b))))
}

fn count_pairs(window: &Window<'_>, counts: impl Fn(&Sample, &Sample) -> bool) -> f64 {
    let pairs = window.samples.windows(2);
    pairs.filter(|two| matches!(two, [a, b] if counts(a, b))).count() as f64
}

/// Whether a counter began anew between two samples: it fell, or the later one says that it began
/// after the earlier one.
///
/// A start at the earlier sample itself is a new one where each sample counts for itself, which an
/// earlier sample with a start of its own shows. A start not before its own sample says nothing.
fn is_reset(window: &Window<'_>, before: &Sample, sample: &Sample) -> bool {
    if sample.value < before.value {
        return true;
    }
    let previous = before.timestamp.0;
    match window.start_of(sample).filter(|start| *start < sample.timestamp.0) {
        Some(start) if start == previous => {
            window.start_of(before).is_some_and(|earlier| earlier < previous)
        }
        start => start.is_some_and(|start| start > previous),
    }
}

/// Notes metrics whose name does not say that they count; then drops the names.
fn counters(call: &Call<'_>, rows: Vec<Row>) -> Result<Frame, PromqlError> {
    let mut noted = "";
    for row in &rows {
        let name = row.labels.metric_name().unwrap_or("");
        if name == noted {
            continue;
        }
        noted = name;
        if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) {
            let text = "metric might not be a counter, \
                        name does not end in _total/_sum/_count/_bucket";
            call.eval.inform(call.arg(0)?.start, &format!("{text}: {name:?}"));
        }
    }
    call.unnamed(rows)
}

/// The change within the window, stretched to its edges where samples lie near them.
///
/// An edge farther from its nearest sample than 1.1 mean sample intervals is taken not to belong
/// to the series: half an interval is added instead. A counter is not stretched below zero, and
/// not before the start that its first sample names.
fn extrapolated(window: &Window<'_>, counter: bool) -> Option<f64> {
    let (first, last) = (window.samples.first()?, window.samples.last()?);
    let mut change = last.value - first.value;
    if counter {
        let resets = window.samples.windows(2).filter_map(|two| match two {
            [a, b] if is_reset(window, a, b) => Some(a.value),
            _ => None,
        });
        change = resets.fold(change, |change, lost| change + lost);
    }
    let mut sampled = seconds(last.timestamp.0 - first.timestamp.0);
    let interval = match window.samples.len() {
        1 => 0.0,
        count => sampled / (count - 1) as f64,
    };
    let threshold = interval * 1.1;
    let near = |distance: f64| if distance >= threshold { interval / 2.0 } else { distance };
    let within = window.start + 1..first.timestamp.0;
    let begun = window.start_of(first).filter(|start| counter && within.contains(start));
    let to_start = match begun {
        Some(start) => {
            sampled = seconds(last.timestamp.0 - start);
            change += first.value;
            0.0
        }
        None if window.samples.len() == 1 => return None,
        None => {
            let to_start = near(seconds(first.timestamp.0 - window.start));
            let rises = counter && change > 0.0 && first.value >= 0.0;
            if rises { to_start.min(sampled * (first.value / change)) } else { to_start }
        }
    };
    let to_end = near(seconds(window.end - last.timestamp.0));
    Some(change * ((sampled + to_start + to_end) / sampled))
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
