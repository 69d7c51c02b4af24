//! Runs a script's commands against an empty store and compares what comes out.

use std::time::Duration;

use super::notation::Line;
use super::script::{Command, Eval, Note, Text, When};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::querier::{Appended, Appender};
use crate::model::sample::{Sample, Series, Timestamp, is_stale};
use crate::promql::error::PromqlError;
use crate::promql::syntax::Expr;
use crate::promql::{self, Answer, Options, Value};
use crate::tsdb::{Limits, Tsdb};

/// Relative difference up to which two values count as equal.
const TOLERANCE: f64 = 1e-6;

#[derive(Debug)]
pub(super) enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Replay {
    store: Tsdb,
    /// Series that a Prometheus would hold native histograms for.
    native: Vec<Labels>,
    options: Options,
}

/// A verdict for each `eval`, and a failure for each `load` that could not be done; by line.
pub(super) fn replay(commands: &[Command]) -> Vec<(usize, Verdict)> {
    let options = Options { delayed_name_removal: true, ..Options::default() };
    let mut replay = Replay { store: empty(), native: Vec::new(), options };
    let mut verdicts = Vec::new();
    let mut line = 0;
    for command in commands {
        match command {
            Command::Clear => {
                replay.store = empty();
                replay.native.clear();
            }
            Command::Load { interval, series, buckets } => {
                if let Err(why) = replay.load(*interval, series, *buckets) {
                    verdicts.push((line, Verdict::Failed(why)));
                }
            }
            Command::Eval(eval) => {
                line = eval.line;
                verdicts.push((eval.line, replay.eval(eval)));
            }
        }
    }
    verdicts
}

fn empty() -> Tsdb {
    Tsdb::new(Limits { out_of_order_window: Duration::MAX, ..Limits::default() })
}

impl Replay {
    fn load(&mut self, interval: i64, series: &[Line], buckets: bool) -> Result<(), String> {
        let mut samples = Vec::new();
        for (at, line) in series.iter().enumerate() {
            // Of two lines for one series the later one counts.
            if series.iter().skip(at + 1).any(|later| later.labels == line.labels) {
                continue;
            }
            if line.native {
                self.native.push(line.labels.clone());
            }
            let name = line.labels.metric_name().and_then(|name| name.strip_suffix("_bucket"));
            if let (true, Some(name)) = (buckets, name) {
                self.native.push(line.labels.without(&["le"]).with(METRIC_NAME, name));
            }
            let times = (0..).map(|at: i64| Timestamp(at.saturating_mul(interval)));
            for (timestamp, value) in times.zip(&line.values) {
                if let Some(value) = *value {
                    samples.push((line.labels.clone(), Sample { timestamp, value }));
                }
            }
        }
        let want = Appended { accepted: samples.len(), ..Appended::default() };
        match self.store.append(&samples) {
            Ok(got) if got == want => Ok(()),
            Ok(got) => Err(format!("load: expected {want:?}, found {got:?}")),
            Err(error) => Err(format!("load: {error}")),
        }
    }

    fn eval(&self, eval: &Eval) -> Verdict {
        if eval.native {
            return Verdict::Skipped("expects native histograms".into());
        }
        let expr = match promql::parse(&eval.query) {
            Ok(expr) => expr,
            Err(PromqlError::Unsupported { message, .. }) => return Verdict::Skipped(message),
            Err(error) => return judged(check_error(eval, &error)),
        };
        let asks_for = |labels: &Labels| {
            expr.selectors()
                .iter()
                .any(|selector| selector.matchers.iter().all(|one| one.matches_labels(labels)))
        };
        if self.native.iter().any(asks_for) {
            return Verdict::Skipped("reads native histograms".into());
        }
        judged(self.checked(eval, &expr))
    }

    fn checked(&self, eval: &Eval, expr: &Expr) -> Result<(), String> {
        let answer = match eval.when {
            When::At(at) => promql::instant(expr, &self.store, Timestamp(at), &self.options),
            When::Range { start, end, step } => self.range(expr, start, end, step),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return check_error(eval, &error),
        };
        if eval.fail.is_some() {
            return Err(format!("expected an error, found {}", shown(&answer.value)));
        }
        check_notes("warning", &eval.warn, &answer.warnings)?;
        check_notes("info", &eval.info, &answer.infos)?;
        check_value(eval, &answer.value).map_err(|why| {
            format!("{}: {why}; the whole result is {}", eval.query, shown(&answer.value))
        })?;
        match (eval.when, &answer.value) {
            (When::At(at), Value::Vector(elements)) if !eval.ordered => {
                self.same_within_a_range(expr, at, elements)
            }
            _ => Ok(()),
        }
    }

    fn range(&self, expr: &Expr, start: i64, end: i64, step: i64) -> Result<Answer, PromqlError> {
        let step = Duration::from_millis(u64::try_from(step).unwrap_or(0));
        promql::range(expr, &self.store, Timestamp(start), Timestamp(end), step, &self.options)
    }

    /// The instant must have the same value as one step of a range query.
    fn same_within_a_range(
        &self,
        expr: &Expr,
        at: i64,
        elements: &[(Labels, Sample)],
    ) -> Result<(), String> {
        // What refers to the bounds of the query has another value in another query.
        let text = expr.to_string();
        if ["start()", "end()", "range()", "step()"].iter().any(|word| text.contains(word)) {
            return Ok(());
        }
        let answer = match self.range(expr, at - 60_000, at + 60_000, 60_000) {
            Ok(answer) => answer,
            // Another step may have found what the instant did not: two series become one.
            Err(_) => return Ok(()),
        };
        let Value::Matrix(series) = answer.value else {
            return Err("the range query has no matrix".into());
        };
        let mut found = 0;
        for one in &series {
            let Some(sample) = one.samples.iter().find(|sample| sample.timestamp.0 == at) else {
                continue;
            };
            found += 1;
            let partner = elements.iter().find(|(labels, _)| *labels == one.labels);
            if !partner.is_some_and(|(_, instant)| nearly(instant.value, sample.value)) {
                let labels = &one.labels;
                return Err(format!("as a step of a range {labels} is {}", sample.value));
            }
        }
        if found == elements.len() {
            return Ok(());
        }
        Err(format!("as a step of a range there are {found} elements, not {}", elements.len()))
    }
}

fn judged(result: Result<(), String>) -> Verdict {
    result.map_or_else(Verdict::Failed, |()| Verdict::Passed)
}

fn check_error(eval: &Eval, error: &PromqlError) -> Result<(), String> {
    match &eval.fail {
        Some(text) if text.fits(&error.to_string()) => Ok(()),
        Some(text) => Err(format!("{}: expected the error {text:?}, found {error}", eval.query)),
        None => Err(format!("{}: {error}", eval.query)),
    }
}

fn check_notes(kind: &str, wanted: &Note, found: &[String]) -> Result<(), String> {
    match wanted {
        Note::Whatever => Ok(()),
        Note::None if found.is_empty() => Ok(()),
        Note::None => Err(format!("expected no {kind}, found {found:?}")),
        Note::Some(texts) => {
            let missing = texts.iter().find(|text| !found.iter().any(|one| text.fits(one)));
            match missing {
                Some(text) => Err(format!("expected the {kind} {text:?}, found {found:?}")),
                None => Ok(()),
            }
        }
    }
}

fn check_value(eval: &Eval, value: &Value) -> Result<(), String> {
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

fn shown(value: &Value) -> String {
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
            Text::Exactly(text) => found == text,
            Text::Like(regex) => regex.is_match(found),
        }
    }
}
