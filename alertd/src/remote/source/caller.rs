//! One request to the source: its limits, its repeats, and what its answer says of the source.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::Form;
use super::answer;
use super::body::{Body, Space};
use super::config::SourceConfig;
use super::metrics::SourceMetrics;
use crate::http_client::{HeaderValues, HttpClient};
use crate::model::causes::causes;
use crate::model::querier::StoreError;
use crate::remote::Protocol;
use crate::remote::encode;

/// Requests in each direction that may be under way; one more fails at once, for it would hold one
/// of the program's threads.
const AT_ONCE: usize = 128;
/// Memory for the answers that are under way or being read; one that finds none left fails.
const ANSWERS: usize = 4 * MAX_ANSWER;
/// A larger answer is refused.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// As much of an answer that is not Prometheus' JSON is shown.
const MAX_SHOWN: usize = 200;
/// A source that failed has to answer a trivial question within this time before it is asked more.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// After that has failed, everything fails at once for this long: a group of a hundred rules must
/// not wait a hundred times.
const REST: Duration = Duration::from_secs(1);
/// How old the last word of a source may become before it is asked for another one.
const WATCH_EVERY: Duration = Duration::from_secs(10);
/// Before the first repeat; four times as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Query,
    QueryRange,
    Series,
    Labels,
    LabelValues,
    Write,
}

/// A request that can be sent, and sent again.
pub(super) struct Call {
    pub(super) operation: Operation,
    method: Method,
    url: String,
    kind: &'static str,
    body: Vec<u8>,
}

pub(super) struct Caller {
    config: SourceConfig,
    http: HttpClient,
    reads: Side,
    writes: Side,
    metrics: SourceMetrics,
    space: Space,
}

/// One direction.
struct Side {
    name: &'static str,
    slots: Semaphore,
    /// One asks whether the source is there again, the others wait for what it finds.
    probing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
enum State {
    Unknown,
    Answers {
        at: Instant,
    },
    /// `tried`: when that was last found out by asking the trivial question.
    Away {
        why: String,
        tried: Option<Instant>,
    },
}

struct Failure {
    error: StoreError,
    /// The source itself has not answered, or something else in its place.
    away: bool,
    /// The same request may succeed soon, and may be sent again.
    again: bool,
    /// What the answer says about when.
    after: Option<Duration>,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Query => "query",
            Operation::QueryRange => "query_range",
            Operation::Series => "series",
            Operation::Labels => "labels",
            Operation::LabelValues => "label_values",
            Operation::Write => "write",
        }
    }

    /// Nothing is gained by asking a slow source again and again while a rule waits; samples are
    /// worth some patience. Both may be repeated: the same sample again is accepted silently.
    fn tries(self) -> usize {
        match self {
            Operation::Write => 4,
            _ => 2,
        }
    }
}

impl Caller {
    pub(super) fn new(config: &SourceConfig, metrics: SourceMetrics) -> Caller {
        // Among the client's own, which knows that a redirect must not take them elsewhere.
        let mut http = config.http.clone();
        for (name, value) in &config.headers {
            let values = HeaderValues { secrets: vec![value.clone()], ..HeaderValues::default() };
            http.http_headers.insert(name.clone(), values);
        }
        let side = |name| Side {
            name,
            slots: Semaphore::new(AT_ONCE),
            probing: tokio::sync::Mutex::default(),
            state: Mutex::new(State::Unknown),
        };
        Caller {
            http: HttpClient::new(http),
            config: config.clone(),
            reads: side("read"),
            writes: side("write"),
            metrics,
            space: Space::new(ANSWERS),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.url
    }

    /// What every query says: how long it may take; that VictoriaMetrics is to evaluate at the very
    /// moment asked for and not half a minute before; that Thanos is to fail rather than to answer
    /// from a part of its data.
    pub(super) fn query_form<'a>(&self, text: &'a str) -> Form<'a> {
        vec![
            ("query", Cow::Borrowed(text)),
            ("timeout", Cow::Owned(format!("{}ms", self.config.timeout.as_millis()))),
            ("nocache", Cow::Borrowed("1")),
            ("partial_response", Cow::Borrowed("false")),
        ]
    }

    pub(super) fn read(&self, operation: Operation, path: &str, form: &Form<'_>) -> Call {
        let form = encoded(form);
        let url = self.config.api(path);
        // The one question that may only be asked by GET.
        let (method, url, body) = match operation {
            Operation::LabelValues => (Method::GET, format!("{url}?{form}"), String::new()),
            _ => (Method::POST, url, form),
        };
        let kind = "application/x-www-form-urlencoded";
        Call { operation, method, url, kind, body: body.into_bytes() }
    }

    /// `body` as [`encode`] makes it.
    pub(super) fn write(&self, body: Vec<u8>) -> Call {
        let (method, url) = (Method::POST, self.config.write_url());
        let kind = Protocol::V1.content_type();
        Call { operation: Operation::Write, method, url, kind, body }
    }

    /// The body of an answer of success.
    pub(super) async fn carry_out(&self, call: Call) -> Result<Body, StoreError> {
        let side = self.side(call.operation);
        let Ok(_slot) = side.slots.try_acquire() else {
            let why = format!("source: {AT_ONCE} requests are under way already");
            return Err(StoreError::Unavailable(why));
        };
        // What this finds out is kept already; it has limits of its own.
        self.admit(side).await.map_err(|failure| failure.error)?;
        let done = timeout(self.config.timeout, self.persist(&call)).await.unwrap_or_else(|_| {
            let limit = duration::format(self.config.timeout);
            let error = StoreError::TimedOut(format!("source: no whole answer within {limit}"));
            Err(Failure { away: true, ..Failure::answered(error) })
        });
        match &done {
            Err(Failure { away: true, error, .. }) => self.away(side, error, None),
            _ => self.answers(side),
        }
        done.map_err(|failure| failure.error)
    }

    /// The answer could be read to its end, and was none of the source's.
    pub(super) fn misunderstood(&self, error: &StoreError) {
        self.away(&self.reads, error, None);
    }

    pub(super) fn count(&self, operation: Operation, error: Option<&StoreError>, took: Duration) {
        self.metrics.asked(operation.name(), error.map_or("success", kind), took);
    }

    /// Every sample that was to be written is in one of the counts.
    pub(super) fn count_samples(&self, outcome: &'static str, count: usize) {
        self.metrics.samples(outcome, count);
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let why = |side: &Side| match side.state() {
            State::Away { why, .. } => Some(why),
            State::Unknown | State::Answers { .. } => None,
        };
        why(&self.reads).or_else(|| why(&self.writes))
    }

    pub(super) async fn watch(&self) {
        loop {
            for side in [&self.reads, &self.writes] {
                let ask = match side.state() {
                    // Whether it takes samples shows when there are some.
                    State::Unknown => side.name == self.reads.name,
                    State::Answers { at } => {
                        side.name == self.reads.name && at.elapsed() >= WATCH_EVERY
                    }
                    State::Away { .. } => true,
                };
                if ask {
                    // What it finds is kept in the state.
                    self.probe(side).await.ok();
                }
            }
            sleep(WATCH_EVERY).await;
        }
    }

    /// Lets a request through to a source that answered last time; otherwise one that is let through
    /// must first find it answering a trivial question.
    async fn admit(&self, side: &Side) -> Result<(), Failure> {
        if !matches!(side.state(), State::Away { .. }) {
            return Ok(());
        }
        let _one = side.probing.lock().await;
        match side.state() {
            State::Away { why, tried: Some(tried) } if tried.elapsed() < REST => {
                Err(Failure::away(why))
            }
            State::Away { .. } => self.probe(side).await,
            State::Unknown | State::Answers { .. } => Ok(()),
        }
    }

    async fn probe(&self, side: &Side) -> Result<(), Failure> {
        let call = match side.name == self.writes.name {
            true => self.write(encode::samples(Protocol::V1, &[])),
            false => self.read(Operation::Query, "query", &self.query_form("1")),
        };
        let late = |_| Err(Failure::away("source: no answer to a trivial question".to_owned()));
        let limit = PROBE_TIMEOUT.min(self.config.timeout);
        match timeout(limit, self.once(&call)).await.unwrap_or_else(late) {
            Err(failure) if failure.away => {
                self.away(side, &failure.error, Some(Instant::now()));
                Err(failure)
            }
            _ => {
                self.answers(side);
                Ok(())
            }
        }
    }

    async fn persist(&self, call: &Call) -> Result<Body, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut left = call.operation.tries();
        loop {
            left -= 1;
            match self.once(call).await {
                Err(failure) if failure.again && left > 0 => {
                    sleep(failure.after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause *= 4;
                }
                done => return done,
            }
        }
    }

    async fn once(&self, call: &Call) -> Result<Body, Failure> {
        let request = self.http.request(call.method.clone(), &call.url).await;
        let request =
            request.map_err(|error| Failure::away(format!("source: {}", causes(&error))))?;
        let mut request = request.header(CONTENT_TYPE, call.kind);
        if call.operation == Operation::Write {
            request = request
                .header(CONTENT_ENCODING, "snappy")
                .header("X-Prometheus-Remote-Write-Version", Protocol::V1.version());
        }
        let lost = |error: reqwest::Error| Failure {
            again: true,
            ..Failure::away(format!("source: {}", causes(&error.without_url())))
        };
        let mut answer = request.body(call.body.clone()).send().await.map_err(lost)?;
        let (status, after) = (answer.status(), retry_after(answer.headers()));
        let mut body = Body::new(&self.space);
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.bytes.len() + chunk.len() > MAX_ANSWER {
                let why = format!("source: answer is larger than {MAX_ANSWER} bytes");
                return Err(Failure::answered(StoreError::Execution(why)));
            }
            body.add(&chunk).map_err(|_| {
                let why = format!("source: answers of {ANSWERS} bytes are under way already");
                Failure { again: true, ..Failure::answered(StoreError::Unavailable(why)) }
            })?;
        }
        match status.is_success() {
            true => Ok(body),
            false => Err(classify(call.operation, status, &body.bytes, after)),
        }
    }

    fn side(&self, operation: Operation) -> &Side {
        match operation {
            Operation::Write => &self.writes,
            _ => &self.reads,
        }
    }

    fn answers(&self, side: &Side) {
        self.metrics.up(side.name, true);
        let before = side.replace(State::Answers { at: Instant::now() });
        if let State::Away { .. } = before {
            info!(source = self.name(), direction = side.name, "source answers again");
        }
    }

    fn away(&self, side: &Side, error: &StoreError, tried: Option<Instant>) {
        self.metrics.up(side.name, false);
        let why = match error {
            StoreError::Unavailable(why) => why.clone(),
            other => other.to_string(),
        };
        let before = side.replace(State::Away { why: why.clone(), tried });
        if !matches!(before, State::Away { .. }) {
            warn!(source = self.name(), direction = side.name, error = why, "source is away");
        }
    }
}

impl Side {
    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, state: State) -> State {
        let mut slot = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, state)
    }
}

impl Failure {
    fn answered(error: StoreError) -> Failure {
        Failure { error, away: false, again: false, after: None }
    }

    fn away(why: String) -> Failure {
        Failure { away: true, ..Failure::answered(StoreError::Unavailable(why)) }
    }
}

/// What an answer other than success means.
fn classify(
    operation: Operation,
    status: StatusCode,
    body: &[u8],
    after: Option<Duration>,
) -> Failure {
    let write = operation == Operation::Write;
    let passing = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    if let Some(error) = answer::refusal(body).filter(|_| !write) {
        return Failure::answered(error);
    }
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().take(MAX_SHOWN).collect();
    let text: Vec<_> = text.split_whitespace().collect();
    let said = format!("source: {status} {}", text.join(" ")).trim_end().to_owned();
    let login = matches!(status.as_u16(), 401 | 403);
    if write && status.is_client_error() && !login && !passing {
        return Failure::answered(StoreError::BadData(said));
    }
    let why = match status.is_redirection() {
        true => format!("{said}: redirects to another host or to plain HTTP are not followed"),
        false => said,
    };
    Failure { again: passing || (write && status.is_server_error()), after, ..Failure::away(why) }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The kind of an error, as a label value.
fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::BadData(_) => "bad_data",
        StoreError::Execution(_)
        | StoreError::TooManySamples { .. }
        | StoreError::TooManySeries { .. } => "execution",
        StoreError::TimedOut(_) => "timeout",
        StoreError::Cancelled => "cancelled",
        StoreError::Unavailable(_) => "unavailable",
    }
}

/// As a form is sent, or the query of a URL.
fn encoded(form: &Form<'_>) -> String {
    let url = Url::parse_with_params("http://form", form);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_other_than_success() {
        use Operation::{Query, Write};
        let bad = br#"{"status":"error","errorType":"bad_data","error":"e"}"#;
        let slow = br#"{"status":"error","errorType":"timeout","error":"e"}"#;
        for (operation, status, body, want) in [
            (Query, 400, &bad[..], ("BadData(\"e\")", false, false)),
            (Query, 503, slow, ("TimedOut(\"e\")", false, false)),
            (Query, 503, b"<html>\n off", ("Unavailable(\"source: 503 Service", true, true)),
            (Query, 500, b"", ("Unavailable(\"source: 500 Internal Server Error\")", true, false)),
            (
                Query,
                404,
                b"404 page",
                ("Unavailable(\"source: 404 Not Found 404 page", true, false),
            ),
            (Query, 302, b"", ("Unavailable(\"source: 302 Found: redirects", true, false)),
            (Query, 429, b"", ("Unavailable(\"source: 429", true, true)),
            (Write, 400, b"out of order sample\n", ("BadData(\"source: 400 Bad", false, false)),
            (Write, 401, b"", ("Unavailable(\"source: 401", true, false)),
            (Write, 429, b"", ("Unavailable(\"source: 429", true, true)),
            (Write, 500, b"", ("Unavailable(\"source: 500", true, true)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let Failure { error, away, again, .. } = classify(operation, status, body, None);
            let error = format!("{error:?}");
            assert!(error.starts_with(want.0), "{status}: {error}");
            assert_eq!((away, again), (want.1, want.2), "{operation:?} {status}");
        }
    }

    #[test]
    fn forms() {
        let form = vec![("query", "a{b=\"é&\"} + 1".into()), ("time", "1.000".into())];
        assert_eq!(encoded(&form), "query=a%7Bb%3D%22%C3%A9%26%22%7D+%2B+1&time=1.000");
        assert_eq!(encoded(&Vec::new()), "");
    }
}
