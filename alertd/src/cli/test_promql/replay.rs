//! Runs a script's commands against an empty store.

use std::time::Duration;

use super::compare::{check_error, check_notes, check_value, shown};
use super::notation::Line;
use super::script::{Command, Eval, When};
use super::watched::Watched;
use crate::model::labels::METRIC_NAME;
use crate::model::querier::{Appended, Appender};
use crate::model::sample::{Sample, Timestamp};
use crate::promql::error::PromqlError;
use crate::promql::syntax::Expr;
use crate::promql::{self, Answer, Options, Value};

#[derive(Debug)]
pub(super) enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Replay {
    store: Watched,
    options: Options,
}

/// A verdict for each `eval`, and a failure for whatever else could not be done; by line.
pub(super) fn replay(commands: &[Command]) -> Vec<(usize, Verdict)> {
    let options = Options { delayed_name_removal: true, ..Options::default() };
    let mut replay = Replay { store: Watched::default(), options };
    let mut verdicts = Vec::new();
    for command in commands {
        match command {
            Command::Clear => replay.store = Watched::default(),
            Command::Load { line, interval, series, buckets } => {
                if let Err(why) = replay.load(*interval, series, *buckets) {
                    verdicts.push((*line, Verdict::Failed(why)));
                }
            }
            Command::Bad { line, why } => verdicts.push((*line, Verdict::Failed(why.clone()))),
            Command::Eval(eval) => verdicts.push((eval.line, replay.eval(eval))),
        }
    }
    verdicts
}

impl Replay {
    fn load(&mut self, interval: i64, series: &[Line], buckets: bool) -> Result<(), String> {
        let mut samples = Vec::new();
        for (at, line) in series.iter().enumerate() {
            // Of two lines for one series the later one counts.
            if series.iter().skip(at + 1).any(|later| later.labels == line.labels) {
                continue;
            }
            let time = |at: usize| i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(interval);
            for (at, value) in line.values.iter().enumerate() {
                if let Some(value) = *value {
                    let timestamp = Timestamp(time(at));
                    if let Some(start) = line.starts.get(at).copied().flatten() {
                        // As zero it is not known.
                        let start = Timestamp(timestamp.0.saturating_add(start));
                        if start.0 != 0 {
                            self.store.add_start(&line.labels, timestamp, start);
                        }
                    }
                    samples.push((line.labels.clone(), Sample { timestamp, value }));
                }
            }
            self.store.add_native(&line.labels, line.natives.iter().map(|at| time(*at)));
            // A classic histogram has a native form beside it, under the name without the end.
            let name = line.labels.metric_name().unwrap_or("");
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            if let (true, Some(base)) = (buckets, base) {
                let labels = line.labels.without(&["le"]).with(METRIC_NAME, base);
                let with_values = line.values.iter().enumerate();
                let times = with_values.filter(|(_, value)| value.is_some());
                self.store.add_native(&labels, times.map(|(at, _)| time(at)));
            }
        }
        let want = Appended { accepted: samples.len(), ..Appended::default() };
        match self.store.floats.append(&samples) {
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
        match eval.when {
            When::Range { start, end, step } => {
                let answer = self.range(&expr, start, end, step);
                if self.store.saw_native() {
                    return Verdict::Skipped("reads native histograms".into());
                }
                judged(checked(eval, answer).map(drop))
            }
            When::At(at) => {
                // Fixed to this time by `@`, the query must give the same at any other one.
                let mut asked = vec![(expr.clone(), at)];
                if let Some(pinned) = expr.pinned(Timestamp(at)) {
                    let others = match at {
                        0 => vec![-1000, 0, 1000],
                        at => vec![-10 * at, 0, at / 5, at, 10 * at],
                    };
                    asked.extend(others.into_iter().map(|other| (pinned.clone(), other)));
                }
                for (at, (expr, time)) in asked.iter().enumerate() {
                    match self.instant(eval, expr, *time) {
                        // What only the others read is no reason to leave out the one asked for.
                        Verdict::Skipped(_) if at > 0 => {}
                        Verdict::Passed => {}
                        other => return other,
                    }
                }
                Verdict::Passed
            }
        }
    }

    /// An instant query, and the same as the middle step of a range query.
    fn instant(&self, eval: &Eval, expr: &Expr, at: i64) -> Verdict {
        let answer = promql::instant(expr, &self.store, Timestamp(at), &self.options);
        if self.store.saw_native() {
            return Verdict::Skipped("reads native histograms".into());
        }
        let failed = answer.is_err();
        let answer = match checked(eval, answer) {
            Ok(answer) => answer,
            Err(why) => return Verdict::Failed(format!("at {}: {why}", seconds(at))),
        };
        // What refers to the bounds of the query has another value in another query.
        let text = expr.to_string();
        let bounds = ["start()", "end()", "range()", "step()"];
        if failed || eval.only_instant() || bounds.iter().any(|word| text.contains(word)) {
            return Verdict::Passed;
        }
        let around = self.range(expr, at - 60_000, at + 60_000, 60_000);
        if self.store.saw_native() {
            return Verdict::Passed;
        }
        let within = around.map_err(|error| error.to_string()).and_then(|around| {
            if eval.ordered {
                return Ok(());
            }
            let scalar = answer.is_some_and(|answer| matches!(answer.value, Value::Scalar(_)));
            check_value(eval, &middle(around, at, scalar))
        });
        judged(within.map_err(|why| {
            format!("{}: as a step of a range around {}: {why}", eval.query, seconds(at))
        }))
    }

    fn range(&self, expr: &Expr, start: i64, end: i64, step: i64) -> Result<Answer, PromqlError> {
        let step = Duration::from_millis(u64::try_from(step).unwrap_or(0));
        promql::range(expr, &self.store, Timestamp(start), Timestamp(end), step, &self.options)
    }
}

/// The answer, if it is as expected; none where an error was.
fn checked(eval: &Eval, answer: Result<Answer, PromqlError>) -> Result<Option<Answer>, String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return check_error(eval, &error).map(|()| None),
    };
    if eval.fail.is_some() {
        let found = shown(&answer.value);
        return Err(format!("{}: expected an error, found {found}", eval.query));
    }
    check_notes(eval, &answer).map_err(|why| format!("{}: {why}", eval.query))?;
    check_value(eval, &answer.value).map_err(|why| {
        format!("{}: {why}; the whole result is {}", eval.query, shown(&answer.value))
    })?;
    Ok(Some(answer))
}

/// One step of a range query's answer, as an instant query would have given it.
fn middle(around: Answer, at: i64, scalar: bool) -> Value {
    let Value::Matrix(series) = around.value else { return around.value };
    let mut elements = series.into_iter().filter_map(|one| {
        let sample = one.samples.iter().find(|sample| sample.timestamp.0 == at).copied();
        Some((one.labels, sample?))
    });
    match scalar {
        true => elements.next().map_or(Value::Vector(Vec::new()), |(_, one)| Value::Scalar(one)),
        false => Value::Vector(elements.collect()),
    }
}

fn judged(result: Result<(), String>) -> Verdict {
    result.map_or_else(Verdict::Failed, |()| Verdict::Passed)
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
