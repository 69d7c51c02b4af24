//! What an evaluation gave, against what the script says.

use super::script::{Eval, Note, Text, When};
use crate::model::labels::Labels;
use crate::model::sample::{Sample, Series, Timestamp, is_stale};
use crate::promql::error::PromqlError;
use crate::promql::{Answer, Value};

/// Relative difference up to which two values count as equal.
const TOLERANCE: f64 = 1e-6;

pub(super) fn check_error(eval: &Eval, error: &PromqlError) -> Result<(), String> {
    match &eval.fail {
        Some(text) if text.fits(&error.to_string()) => Ok(()),
        Some(text) => Err(format!("{}: expected the error {text:?}, found {error}", eval.query)),
        None => Err(format!("{}: {error}", eval.query)),
    }
}

/// Each note that is asked for must be there, and where some are, no others.
pub(super) fn check_notes(eval: &Eval, answer: &Answer) -> Result<(), String> {
    let all = [("warning", &eval.warn, &answer.warnings), ("info", &eval.info, &answer.infos)];
    all.into_iter().try_for_each(|(kind, wanted, found)| match wanted {
        Note::Whatever => Ok(()),
        Note::None if found.is_empty() => Ok(()),
        Note::None => Err(format!("expected no {kind}, found {found:?}")),
        Note::Some(texts) => {
            if let Some(text) = texts.iter().find(|text| !found.iter().any(|one| text.fits(one))) {
                return Err(format!("expected the {kind} {text:?}, found {found:?}"));
            }
            match found.iter().find(|one| !texts.iter().any(|text| text.fits(one))) {
                Some(other) => Err(format!("the {kind} {other:?} is not expected")),
                None => Ok(()),
            }
        }
    })
}

pub(super) fn check_value(eval: &Eval, value: &Value) -> Result<(), String> {
    match value {
        Value::String(_, text) => match &eval.string {
            Some(want) if want == text => Ok(()),
            want => Err(format!("expected {want:?}, found the string {text:?}")),
        },
        Value::Scalar(sample) => match eval.scalar {
            Some(want) if nearly(want, sample.value) => Ok(()),
            want => Err(format!("expected {want:?}, found the scalar {}", sample.value)),
        },
        Value::Vector(elements) => check_vector(eval, elements),
        Value::Matrix(series) => check_matrix(eval, series),
    }
}

fn check_vector(eval: &Eval, elements: &[(Labels, Sample)]) -> Result<(), String> {
    if eval.results.len() != elements.len() {
        let (want, got) = (eval.results.len(), elements.len());
        return Err(format!("expected {want} elements, found {got}"));
    }
    for (at, (labels, values)) in eval.results.iter().enumerate() {
        let [Some(want)] = values.as_slice() else {
            return Err(format!("{labels}: expected one value in the script"));
        };
        let found = match eval.ordered {
            true => elements.get(at).filter(|(got, _)| got == labels),
            false => elements.iter().find(|(got, _)| got == labels),
        };
        let (_, sample) = found.ok_or(format!("{labels} is missing or at another place"))?;
        if !nearly(*want, sample.value) {
            return Err(format!("{labels}: expected {want}, found {}", sample.value));
        }
    }
    Ok(())
}

fn check_matrix(eval: &Eval, series: &[Series]) -> Result<(), String> {
    let (start, end, step) = match (eval.matrix, eval.when) {
        (Some(times), _) => times,
        (None, When::Range { start, end, step }) => (start, end, step),
        (None, When::At(_)) => return Err("a range vector came out, and none is expected".into()),
    };
    let mut wanted = Vec::new();
    for (labels, values) in &eval.results {
        let mut samples = Vec::new();
        for (at, value) in (0..).zip(values) {
            let timestamp = Timestamp(start + step * at);
            if timestamp.0 > end {
                return Err(format!("{labels}: more values than steps"));
            }
            if let Some(value) = value {
                samples.push(Sample { timestamp, value: *value });
            }
        }
        if !samples.is_empty() {
            wanted.push((labels, samples));
        }
    }
    if wanted.len() != series.len() {
        return Err(format!("expected {} series, found {}", wanted.len(), series.len()));
    }
    for (labels, want) in wanted {
        let got = series.iter().find(|one| one.labels == *labels);
        let got = &got.ok_or(format!("{labels} is missing"))?.samples;
        let same = |(want, got): (&Sample, &Sample)| {
            want.timestamp == got.timestamp && nearly(want.value, got.value)
        };
        if want.len() != got.len() || !want.iter().zip(got).all(same) {
            return Err(format!("{labels}: expected {}", points(&want)));
        }
    }
    Ok(())
}

fn nearly(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) == is_stale(b);
    }
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Scalar(sample) => sample.value.to_string(),
        Value::String(_, text) => format!("{text:?}"),
        Value::Vector(elements) => {
            let lines =
                elements.iter().map(|(labels, sample)| format!("{labels} {}", sample.value));
            format!("[{}]", lines.collect::<Vec<_>>().join("; "))
        }
        Value::Matrix(series) => {
            let lines = series.iter().map(|one| format!("{} {}", one.labels, points(&one.samples)));
            format!("[{}]", lines.collect::<Vec<_>>().join("; "))
        }
    }
}

fn points(samples: &[Sample]) -> String {
    let point = |sample: &Sample| format!("{}@{}", sample.value, sample.timestamp.seconds());
    samples.iter().map(point).collect::<Vec<_>>().join(" ")
}

impl Text {
    fn fits(&self, found: &str) -> bool {
        match self {
            Text::Any => true,
            // Older scripts were written before notes named their place.
            Text::Exactly(text) => found == text || without_place(found) == text,
            Text::Like(regex) => regex.is_match(found),
        }
    }
}

fn without_place(note: &str) -> &str {
    let place = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ':');
    match note.strip_suffix(')').and_then(|note| note.rsplit_once(" (")) {
        Some((note, at)) if place(at) => note,
        _ => note,
    }
}
