//! Script text to commands: `load`, `clear`, `eval …` with what is expected of it.

use regex::Regex;

use super::notation::{self, Line};
use super::starts;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;
use crate::promql::{self, Options, Value};
use crate::tsdb::{Limits, Tsdb};

#[derive(Debug)]
pub(super) enum Command {
    Clear,
    /// Milliseconds between samples. `buckets` asks for native forms of the classic histograms too.
    Load {
        line: usize,
        interval: i64,
        series: Vec<Line>,
        buckets: bool,
    },
    Eval(Box<Eval>),
    /// What cannot be read; the other commands are still carried out.
    Bad {
        line: usize,
        why: String,
    },
}

#[derive(Debug)]
pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) when: When,
    pub(super) results: Vec<(Labels, Vec<Option<f64>>)>,
    pub(super) scalar: Option<f64>,
    pub(super) string: Option<String>,
    /// Times of the samples of an expected range vector.
    pub(super) matrix: Option<(i64, i64, i64)>,
    pub(super) ordered: bool,
    pub(super) fail: Option<Text>,
    pub(super) warn: Note,
    pub(super) info: Note,
    /// A result is a native histogram.
    pub(super) native: bool,
}

/// Milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

#[derive(Debug)]
pub(super) enum Text {
    Any,
    Exactly(String),
    Like(Regex),
}

/// What is asked of the notes that an evaluation leaves.
#[derive(Debug, Default)]
pub(super) enum Note {
    #[default]
    Whatever,
    None,
    Some(Vec<Text>),
}

impl Eval {
    /// The value is of a kind that a range query cannot have.
    pub(super) fn only_instant(&self) -> bool {
        self.matrix.is_some() || self.string.is_some()
    }
}

/// A line, counted from 1, and what is wrong with it.
type Failed = (usize, String);

/// Each command with the lines up to the next blank one.
pub(super) fn parse(text: &str) -> Vec<Command> {
    let mut lines = text.lines().enumerate().map(|(at, line)| {
        let line = line.trim();
        (at + 1, if line.starts_with('#') { "" } else { line })
    });
    let mut commands = Vec::new();
    while let Some((at, line)) = lines.next() {
        let word = line.split_ascii_whitespace().next().unwrap_or("").to_ascii_lowercase();
        let command = match word.as_str() {
            "" => continue,
            "clear" => Ok(Command::Clear),
            word => {
                let rest: Vec<_> =
                    lines.by_ref().take_while(|(_, line)| !line.is_empty()).collect();
                match word {
                    "load" | "load_with_nhcb" => load(at, line, &rest, word != "load"),
                    word if word.starts_with("eval") => eval(at, line, &rest),
                    word => Err((at, format!("expected load, clear or eval, found {word:?}"))),
                }
            }
        };
        commands.push(command.unwrap_or_else(|(line, why)| Command::Bad { line, why }));
    }
    commands
}

fn load(at: usize, head: &str, rest: &[(usize, &str)], buckets: bool) -> Result<Command, Failed> {
    let interval = head.split_ascii_whitespace().nth(1).and_then(millis);
    let interval = interval.ok_or_else(|| (at, "expected `load INTERVAL`".to_owned()))?;
    let mut series = Vec::new();
    let (mut every, mut next) = (Vec::new(), None);
    for (at, line) in rest {
        if let Some((metric, list)) = starts::split(line) {
            let list = starts::parse(list).map_err(|why| (*at, why))?;
            match metric.is_empty() {
                true => every = list,
                false => next = Some(list),
            }
            continue;
        }
        let mut line = notation::line(line).map_err(|why| (*at, why))?;
        let again = every.iter().copied().cycle().take(line.values.len());
        line.starts = next.take().unwrap_or_else(|| again.collect());
        series.push(line);
    }
    Ok(Command::Load { line: at, interval, series, buckets })
}

fn eval(at: usize, line: &str, rest: &[(usize, &str)]) -> Result<Command, Failed> {
    let mut eval = head(at, line).map_err(|why| (at, why))?;
    for (at, line) in rest {
        expectation(&mut eval, line).map_err(|why| (*at, why))?;
    }
    Ok(Command::Eval(Box::new(eval)))
}

fn head(line: usize, text: &str) -> Result<Eval, String> {
    let pattern = r"^eval(?P<how>_\w+)?\s+(?:instant\s+at\s+(?P<at>\S+)|range\s+from\s+(?P<from>\S+)\s+to\s+(?P<to>\S+)\s+step\s+(?P<step>\S+))\s+(?P<query>.+)$";
    let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
    let found = regex.captures(text).ok_or(
        "expected `eval instant at TIME QUERY` or `eval range from TIME to TIME step TIME QUERY`",
    )?;
    let part = |name: &str| found.name(name).map_or("", |found| found.as_str());
    let time = |name: &str| millis(part(name)).ok_or(format!("{:?} is not a time", part(name)));
    let when = match found.name("at") {
        Some(_) => When::At(time("at")?),
        None => When::Range { start: time("from")?, end: time("to")?, step: time("step")? },
    };
    let mut eval = Eval {
        line,
        query: part("query").to_owned(),
        when,
        results: Vec::new(),
        scalar: None,
        string: None,
        matrix: None,
        ordered: false,
        fail: None,
        warn: Note::Whatever,
        info: Note::Whatever,
        native: false,
    };
    match part("how") {
        "" => {}
        "_fail" => eval.fail = Some(Text::Any),
        "_ordered" => eval.ordered = true,
        "_warn" => eval.warn = Note::Some(vec![Text::Any]),
        "_info" => eval.info = Note::Some(vec![Text::Any]),
        how => return Err(format!("eval{how} is not a command")),
    }
    Ok(eval)
}

fn expectation(eval: &mut Eval, text: &str) -> Result<(), String> {
    if let Some(rest) = text.strip_prefix("expect ") {
        let rest = rest.trim();
        let (what, detail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let detail = detail.trim();
        match what {
            "ordered" => eval.ordered = true,
            "fail" => eval.fail = Some(expected_text(detail)?),
            "warn" => add(&mut eval.warn, expected_text(detail)?),
            "info" => add(&mut eval.info, expected_text(detail)?),
            "no_warn" => eval.warn = Note::None,
            "no_info" => eval.info = Note::None,
            "string" => eval.string = Some(quoted(detail)?),
            "range" => eval.matrix = Some(matrix_times(detail)?),
            what => return Err(format!("expect {what} is not known")),
        }
        return Ok(());
    }
    for (word, like) in [("expected_fail_message", false), ("expected_fail_regexp", true)] {
        if let Some(rest) = text.strip_prefix(word) {
            let detail = rest.trim();
            eval.fail = Some(match like {
                true => Text::Like(Regex::new(detail).map_err(|error| error.to_string())?),
                false => Text::Exactly(detail.to_owned()),
            });
            return Ok(());
        }
    }
    if text.contains("{{") {
        eval.native = true;
    } else if let Some(value) = notation::number(text) {
        // What follows a number is not looked at.
        eval.scalar = eval.scalar.or(Some(value));
    } else {
        let line = notation::line(text)?;
        eval.results.push((line.labels, line.values));
    }
    Ok(())
}

fn add(note: &mut Note, text: Text) {
    match note {
        Note::Some(texts) => texts.push(text),
        _ => *note = Note::Some(vec![text]),
    }
}

fn expected_text(detail: &str) -> Result<Text, String> {
    if let Some(message) = detail.strip_prefix("msg:") {
        return Ok(Text::Exactly(message.trim().to_owned()));
    }
    match detail.strip_prefix("regex:") {
        Some(pattern) => {
            Regex::new(pattern.trim()).map(Text::Like).map_err(|error| error.to_string())
        }
        None => Ok(Text::Any),
    }
}

fn matrix_times(detail: &str) -> Result<(i64, i64, i64), String> {
    let words: Vec<_> = detail.split_ascii_whitespace().collect();
    let ["vector", "from", start, "to", end, "step", step] = words.as_slice() else {
        return Err("expected `expect range vector from TIME to TIME step TIME`".into());
    };
    match (millis(start), millis(end), millis(step)) {
        (Some(start), Some(end), Some(step)) => Ok((start, end, step)),
        _ => Err(format!("{detail:?} has a time that is none")),
    }
}

/// What a PromQL string literal says.
fn quoted(text: &str) -> Result<String, String> {
    let expr = promql::parse(text).map_err(|error| error.to_string())?;
    let nothing = Tsdb::new(Limits::default());
    let answer = promql::instant(&expr, &nothing, Timestamp(0), &Options::default());
    match answer.map_err(|error| error.to_string())?.value {
        Value::String(_, text) => Ok(text),
        _ => Err(format!("expected a string, found {text}")),
    }
}

/// A duration or a count of seconds, either with a sign.
pub(super) fn millis(text: &str) -> Option<i64> {
    if let Some(rest) = text.strip_prefix('-') {
        return millis(rest).map(|millis| -millis);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Some((seconds * 1000.0).round() as i64);
    }
    let duration = pitcrew_exporter::config::duration::parse(text).ok()?;
    i64::try_from(duration.as_millis()).ok()
}
