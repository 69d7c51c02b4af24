//! Classic histograms: quantiles and fractions from cumulative `le` buckets.

use std::collections::HashMap;

use super::Call;
use crate::model::labels::Labels;
use crate::promql::aggregate::bad_quantile;
use crate::promql::error::{PromqlError, failed};
use crate::promql::eval::{Frame, Row, absent, is_absent, merged};
use crate::promql::print::{number, quoted};

/// Relative difference between neighbouring counts that is taken for rounding.
const TOLERANCE: f64 = 1e-12;

/// Rows of one histogram: upper bound and series of each bucket.
struct Histogram {
    name: String,
    labels: Labels,
    buckets: Vec<(f64, Row)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

pub(super) fn quantile(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let quantiles = call.scalar(0)?;
    let histograms = histograms(call, 1)?;
    warn_of(call, 0, &quantiles)?;
    compute(call, &histograms, 1, None, |step, buckets, fixed| {
        let q = quantiles.get(step).copied().unwrap_or(f64::NAN);
        bucket_quantile(q, buckets, fixed)
    })
}

/// One result per quantile argument, told apart by the label that the second argument names.
pub(super) fn quantiles(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let histograms = histograms(call, 0)?;
    let label = call.text(1)?;
    let mut rows = Vec::new();
    for at in 2..call.args.len() {
        let quantiles = call.scalar(at)?;
        warn_of(call, at, &quantiles)?;
        let shown = quantiles.first().map_or(String::new(), |q| label_value(*q));
        let frame =
            compute(call, &histograms, 0, Some((&label, &shown)), |step, buckets, fixed| {
                let q = quantiles.get(step).copied().unwrap_or(f64::NAN);
                bucket_quantile(q, buckets, fixed)
            })?;
        if let Frame::Vector(found) = frame {
            rows.extend(found);
        }
    }
    Ok(Frame::Vector(merged(rows)?))
}

pub(super) fn fraction(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let (low, high) = (call.scalar(0)?, call.scalar(1)?);
    let histograms = histograms(call, 2)?;
    compute(call, &histograms, 2, None, |step, buckets, _| {
        let at = |bounds: &[f64]| bounds.get(step).copied().unwrap_or(f64::NAN);
        bucket_fraction(at(&low), at(&high), buckets)
    })
}

/// These look only at native histograms, which the store does not hold: nothing is left.
pub(super) fn native_only(call: &Call<'_>) -> Result<Frame, PromqlError> {
    call.vector(0).map(|_| Frame::Vector(Vec::new()))
}

/// Where names go at once, the series that these notes are about have none any more.
fn of_metric(call: &Call<'_>, name: &str) -> String {
    match call.eval.options.delayed_name_removal && !name.is_empty() {
        true => format!(" for metric name {}", quoted(name)),
        false => String::new(),
    }
}

fn warn_of(call: &Call<'_>, at: usize, quantiles: &[f64]) -> Result<(), PromqlError> {
    for q in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        call.eval.warn(call.arg(at)?.start, &bad_quantile(*q));
    }
    Ok(())
}

/// As OpenMetrics writes `le` and `quantile`: whole numbers get a `.0`.
fn label_value(q: f64) -> String {
    if q.is_finite() && q == q.trunc() { format!("{q:.1}") } else { number(q) }
}

/// Groups bucket series by their labels without `le`; those without a number there are left out.
fn histograms(call: &Call<'_>, arg: usize) -> Result<Vec<Histogram>, PromqlError> {
    let mut found: Vec<Histogram> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for row in call.vector(arg)? {
        let bound = row.labels.get("le").unwrap_or("");
        let Some(upper) = float(bound) else {
            let text = "bucket label \"le\" is missing or has a malformed value of";
            let name = row.labels.metric_name().unwrap_or("");
            let text = format!("{text} {}{}", quoted(bound), of_metric(call, name));
            call.eval.warn(call.arg(arg)?.start, &text);
            continue;
        };
        // Histograms of different names stay apart, whatever happens to the names later.
        let labels = row.labels.without(&["le"]);
        let at = *known.entry(labels.clone()).or_insert(found.len());
        if at == found.len() {
            let name = row.labels.metric_name().unwrap_or("").to_owned();
            found.push(Histogram { name, labels, buckets: Vec::new() });
        }
        if let Some(histogram) = found.get_mut(at) {
            histogram.buckets.push((upper, row));
        }
    }
    for histogram in &mut found {
        histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(found)
}

fn compute(
    call: &Call<'_>,
    histograms: &[Histogram],
    arg: usize,
    extra: Option<(&str, &str)>,
    value: impl Fn(usize, Vec<Bucket>, &mut bool) -> f64,
) -> Result<Frame, PromqlError> {
    let mut rows = Vec::with_capacity(histograms.len());
    for histogram in histograms {
        call.eval.check_cancelled()?;
        call.eval.charge(call.steps.count)?;
        let mut fixed = false;
        let values = (0..call.steps.count).map(|step| {
            let buckets: Vec<Bucket> = histogram
                .buckets
                .iter()
                .filter_map(|(upper, row)| Some((*upper, *row.values.get(step)?)))
                .filter(|(_, count)| !is_absent(*count))
                .map(|(upper, count)| Bucket { upper, count })
                .collect();
            if buckets.is_empty() { absent() } else { value(step, buckets, &mut fixed) }
        });
        let values = values.collect();
        if fixed {
            let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
            let name = of_metric(call, &histogram.name);
            call.eval.inform(call.arg(arg)?.start, &format!("{text}{name}"));
        }
        let labels = match extra {
            Some(("", _)) => return Err(failed!("invalid label name \"\"")),
            Some((name, text)) => histogram.labels.with(name, text),
            None => histogram.labels.clone(),
        };
        rows.push(call.eval.renamed(Row { labels, drop_name: true, values }));
    }
    Ok(Frame::Vector(merged(rows)?))
}

/// Sorted buckets with equal bounds added up; `None` unless the last one is `+Inf`.
fn whole(buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    let mut out: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match out.last_mut() {
            Some(last) if last.upper == bucket.upper => last.count += bucket.count,
            _ => out.push(bucket),
        }
    }
    out.last().is_some_and(|last| last.upper == f64::INFINITY).then_some(out)
}

fn bucket_quantile(q: f64, buckets: Vec<Bucket>, fixed: &mut bool) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let Some(mut buckets) = whole(buckets) else { return f64::NAN };
    *fixed |= make_monotonic(&mut buckets);
    let [finite @ .., last] = buckets.as_slice() else { return f64::NAN };
    let Some(highest) = finite.last() else { return f64::NAN };
    if last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let rank = q * last.count;
    let Some(at) = finite.iter().position(|bucket| bucket.count >= rank) else {
        return highest.upper;
    };
    let bucket = finite[at];
    if at == 0 && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let below = if at > 0 { finite[at - 1] } else { Bucket { upper: 0.0, count: 0.0 } };
    let share = (rank - below.count) / (bucket.count - below.count);
    below.upper + (bucket.upper - below.upper) * share
}

/// Counts must not fall from bucket to bucket. True when one did by more than rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut before = buckets.first().map_or(0.0, |bucket| bucket.count);
    for bucket in buckets.iter_mut().skip(1) {
        let rounding = nearly_equal(before, bucket.count);
        if rounding || bucket.count < before {
            forced |= !rounding;
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    forced
}

fn nearly_equal(a: f64, b: f64) -> bool {
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// The share of observations in `low..high`, interpolated within buckets.
fn bucket_fraction(low: f64, high: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = whole(buckets) else { return f64::NAN };
    let count = buckets.last().map_or(0.0, |last| last.count);
    if count == 0.0 || low.is_nan() || high.is_nan() {
        return f64::NAN;
    }
    if low >= high {
        return 0.0;
    }
    (rank_of(high, &buckets).min(count) - rank_of(low, &buckets).min(count)) / count
}

/// How many observations lie below a value.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let mut rank = 0.0;
    let mut lower = f64::NEG_INFINITY;
    for (at, bucket) in buckets.iter().enumerate() {
        if lower >= value {
            return rank;
        }
        if bucket.upper > value {
            // The lowest bucket is taken to begin at zero when it reaches above.
            let from = if at == 0 && bucket.upper > 0.0 { 0.0 } else { lower };
            // A bucket without end is not interpolated: it counts as lying outside.
            if from.is_infinite() {
                return bucket.count;
            }
            if value <= from || bucket.upper.is_infinite() {
                return rank;
            }
            return rank + (bucket.count - rank) * (value - from) / (bucket.upper - from);
        }
        rank = bucket.count;
        lower = bucket.upper;
    }
    rank
}

/// As Go's `strconv.ParseFloat` reads a bucket's bound.
fn float(text: &str) -> Option<f64> {
    if text.is_empty() || text.trim() != text { None } else { text.parse().ok() }
}
