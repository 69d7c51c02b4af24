//! A remote Prometheus-compatible API as the store: its engine evaluates, remote write takes samples.

mod answer;
mod body;
mod caller;
pub mod config;
pub mod metrics;

use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use pitcrew_exporter::clock::monotonic;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::body::Body;
use self::caller::{Call, Caller, Operation};
use self::config::SourceConfig;
use self::metrics::SourceMetrics;
use super::Protocol;
use super::encode;
use crate::model::engine::{Answer, Engine, Value};
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Querier, StoreError};
use crate::model::sample::{Sample, Timestamp};

/// How often a waiting thread looks whether its caller still wants the answer.
const TICK: Duration = Duration::from_millis(50);
/// Samples of one write request; larger batches are several, in order.
const MAX_BATCH: usize = 5_000;
/// How often one call of `append` splits a request of which a part was refused.
const MAX_SPLITS: usize = 32;
/// Times further from the epoch (year 9999) mean "no bound" and are not sent.
const FAR: i64 = 253_402_300_799_000;

/// Cheap to clone. Calls block and must not come from the runtime's own threads.
#[derive(Clone)]
pub struct RemoteSource {
    caller: Arc<Caller>,
    runtime: Handle,
}

/// What is known of the remote side, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Where it is.
    pub url: String,
    /// Why it does not answer or take samples, if it does not.
    pub trouble: Option<String>,
}

type Form<'a> = Vec<(&'static str, std::borrow::Cow<'a, str>)>;

impl RemoteSource {
    /// Must be called within the runtime that is to carry the requests.
    pub fn new(config: &SourceConfig, registry: &mut Registry) -> RemoteSource {
        let caller = Caller::new(config, SourceMetrics::new(registry));
        RemoteSource { caller: Arc::new(caller), runtime: Handle::current() }
    }

    pub fn condition(&self) -> Condition {
        Condition { url: self.caller.name().to_owned(), trouble: self.caller.trouble() }
    }

    /// Asks now and then, so that what `condition` says is never old, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.caller.watch()).await;
    }

    fn ask<T>(
        &self,
        operation: Operation,
        path: &str,
        form: &Form<'_>,
        cancel: Option<&AtomicBool>,
        read: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begin = monotonic();
        let body = self.wait(self.caller.read(operation, path, form), cancel);
        let read = body.and_then(|body| {
            read(&body.bytes).inspect_err(|error| {
                if let StoreError::Unavailable(_) = error {
                    self.caller.misunderstood(error);
                }
            })
        });
        self.caller.count(operation, read.as_ref().err(), begin.elapsed());
        read
    }

    /// Carries the call out on the runtime and waits for its end on this thread.
    fn wait(&self, call: Call, cancel: Option<&AtomicBool>) -> Result<Body, StoreError> {
        let (sender, done) = sync_channel(1);
        let caller = Arc::clone(&self.caller);
        let task = self.runtime.spawn(async move {
            // Nobody waits any more when this fails.
            sender.send(caller.carry_out(call).await).ok();
        });
        loop {
            match done.recv_timeout(TICK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(StoreError::Unavailable("the program is stopping".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                        task.abort();
                        return Err(StoreError::Cancelled);
                    }
                }
            }
        }
    }

    fn list<T: serde::de::DeserializeOwned + Ord>(
        &self,
        operation: Operation,
        path: &str,
        form: &Form<'_>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found: Vec<T> = self.ask(operation, path, form, None, answer::list)?;
        found.sort();
        found.dedup();
        Ok(found)
    }
}

impl Engine for RemoteSource {
    fn instant(
        &self,
        text: &str,
        at: Timestamp,
        cancel: &AtomicBool,
    ) -> Result<Answer, StoreError> {
        let mut form = self.caller.query_form(text);
        form.push(("time", seconds(at).into()));
        self.ask(Operation::Query, "query", &form, Some(cancel), answer::value)
    }

    fn range(
        &self,
        text: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        cancel: &AtomicBool,
    ) -> Result<Answer, StoreError> {
        let mut form = self.caller.query_form(text);
        form.push(("start", seconds(start).into()));
        form.push(("end", seconds(end).into()));
        form.push(("step", step.as_secs_f64().to_string().into()));
        self.ask(Operation::QueryRange, "query_range", &form, Some(cancel), answer::value)
    }
}

impl Querier for RemoteSource {
    /// The API has no stale markers to show: a series that ended has only what came before. What
    /// asks for the last value of a series uses [`Querier::latest`].
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // One more, because ranges are open to the left, but for Prometheus 2, which shows a sample
        // too many then.
        let millis = to.0.saturating_sub(from.0).saturating_add(1).max(1);
        let text = format!("{}[{millis}ms]", selector(matchers));
        let answer = self.instant(&text, to, &AtomicBool::new(false))?;
        let Value::Matrix(mut found) = answer.value else {
            return Err(answer::unexpected("a matrix", "another value"));
        };
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        for series in found {
            let first = series.samples.partition_point(|sample| sample.timestamp < from);
            let samples = series.samples.get(first..).unwrap_or_default();
            if !samples.is_empty() && each(&series.labels, samples).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The remote engine's own lookback counts.
    fn latest(
        &self,
        matchers: &[Matcher],
        at: Timestamp,
        _lookback: Duration,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        let answer = self.instant(&selector(matchers), at, &AtomicBool::new(false))?;
        let Value::Vector(found) = answer.value else {
            return Err(answer::unexpected("a vector", "another value"));
        };
        let mut found: Vec<_> =
            found.into_iter().map(|(labels, sample)| (labels, sample.value)).collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    fn series(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        let mut form = within(from, to);
        form.push(("match[]", selector(matchers).into()));
        let found: Vec<answer::Metric> = self.list(Operation::Series, "series", &form)?;
        Ok(found.into_iter().map(|metric| metric.0).collect())
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.list(Operation::Labels, "labels", &about(matchers, from, to))
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let path = format!("label/{name}/values");
        self.list(Operation::LabelValues, &path, &about(matchers, from, to))
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

impl Appender for RemoteSource {
    /// Returns when the remote side has taken everything that it will take. It says of a whole
    /// request that a sample is too late or a duplicate, and may have stored none of it then: the
    /// request is sent in halves until what is refused stands alone.
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        let (mut done, mut splits, mut why) = (Appended::default(), MAX_SPLITS, None);
        let mut left: Vec<_> = samples.chunks(MAX_BATCH).rev().collect();
        while let Some(batch) = left.pop() {
            let error = match self.write(batch) {
                Ok(()) => {
                    done.accepted += batch.len();
                    continue;
                }
                Err(error) => error,
            };
            let Some(refused) = refused(&error, &mut done) else {
                let lost = left.iter().map(|batch| batch.len()).sum::<usize>() + batch.len();
                self.caller.count_samples("failed", lost);
                return Err(error);
            };
            if batch.len() > 1 && splits > 0 {
                splits -= 1;
                let (first, second) = batch.split_at(batch.len() / 2);
                left.extend([second, first]);
                continue;
            }
            *refused += batch.len();
            self.caller.count_samples("refused", batch.len());
            why = Some(error);
        }
        self.caller.count_samples("written", done.accepted);
        match why {
            Some(error) if done.accepted == 0 => Err(error),
            _ => Ok(done),
        }
    }
}

impl RemoteSource {
    fn write(&self, batch: &[(Labels, Sample)]) -> Result<(), StoreError> {
        let begin = monotonic();
        let body = encode::samples(Protocol::V1, batch);
        let written = self.wait(self.caller.write(body), None);
        self.caller.count(Operation::Write, written.as_ref().err(), begin.elapsed());
        written.map(|_| ())
    }
}

/// The count that a refusal of single samples belongs to, by the words of Prometheus and Mimir.
fn refused<'a>(error: &StoreError, counts: &'a mut Appended) -> Option<&'a mut usize> {
    let StoreError::BadData(text) = error else { return None };
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&["duplicate sample", "duplicate-timestamp"]) {
        Some(&mut counts.duplicate)
    } else if says(&["out of order", "out-of-order"]) {
        Some(&mut counts.out_of_order)
    } else if says(&["too old", "too-old", "out of bounds"]) {
        Some(&mut counts.too_old)
    } else if says(&["too far in the future", "too-far-in-future"]) {
        Some(&mut counts.too_new)
    } else {
        None
    }
}

/// As PromQL writes it; without matchers, all that there is.
fn selector(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return format!("{{{METRIC_NAME}=~\".+\"}}");
    }
    let mut text = "{".to_owned();
    for (at, matcher) in matchers.iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        // Writing to a String does not fail.
        write!(text, "{}{}{}", matcher.name, matcher.op.symbol(), quoted(&matcher.value)).ok();
    }
    text + "}"
}

/// A string literal that Go and Rust read alike.
fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                write!(out, "\\u{:04x}", u32::from(c)).ok();
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Seconds with milliseconds, exactly.
fn seconds(at: Timestamp) -> String {
    let sign = if at.0 < 0 { "-" } else { "" };
    let millis = at.0.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

fn within(from: Timestamp, to: Timestamp) -> Form<'static> {
    let bound = |name, at: Timestamp| (at.0.abs() < FAR).then(|| (name, seconds(at).into()));
    bound("start", from).into_iter().chain(bound("end", to)).collect()
}

fn about(matchers: &[Matcher], from: Timestamp, to: Timestamp) -> Form<'static> {
    let mut form = within(from, to);
    if !matchers.is_empty() {
        form.push(("match[]", selector(matchers).into()));
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::matcher::MatchOp;
    use crate::promql;

    #[test]
    fn selectors_are_promql() {
        let matcher = |op, name, value| Matcher::new(op, name, value).unwrap();
        for (matchers, want) in [
            (vec![], r#"{__name__=~".+"}"#),
            (
                vec![
                    matcher(MatchOp::Equal, "__name__", "up"),
                    matcher(MatchOp::NotEqual, "a", "say \"\\\n\u{1}é"),
                    matcher(MatchOp::Regex, "b", "x.*|y"),
                    matcher(MatchOp::NotRegex, "c", "z"),
                ],
                "{__name__=\"up\",a!=\"say \\\"\\\\\\n\\u0001é\",b=~\"x.*|y\",c!~\"z\"}",
            ),
        ] {
            let text = selector(&matchers);
            assert_eq!(text, want);
            let expr = promql::parse(&text).unwrap();
            let read = &expr.selectors()[0].matchers;
            assert!(matchers.is_empty() || *read == matchers, "{read:?}");
        }
    }

    #[test]
    fn times_are_exact_and_endless_ones_are_left_out() {
        for (millis, want) in [(0, "0.000"), (1_700_000_000_123, "1700000000.123"), (-1, "-0.001")]
        {
            assert_eq!(seconds(Timestamp(millis)), want);
        }
        let form = within(Timestamp(i64::MIN / 4), Timestamp(1000));
        assert_eq!(form, [("end", "1.000".into())]);
    }
}
