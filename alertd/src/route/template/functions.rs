//! The functions that Alertmanager's templates may call.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gotmpl::{FuncMap, SafeKind, TemplateError, Value};

use super::{json, members};
use crate::model::sample::Timestamp;
use crate::rules::template::functions as rules;
use crate::rules::template::output::cause;
use crate::rules::template::record::text;
use crate::rules::template::rewrite::GET;
use crate::rules::template::syntax::PRINT;
use crate::rules::template::{humanize, moment, values};

type Outcome = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> Outcome;

/// Those that mean the same in rules, and those of the language itself.
const SHARED: &[&str] = &[
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "slice",
    "call",
    "html",
    "js",
    "urlquery",
    "toUpper",
    "toLower",
    "match",
    "reReplaceAll",
];

const OWN: &[(&str, Function)] = &[
    (GET, members::get),
    (PRINT, |args| match args {
        [safe @ Value::Safe { .. }] => Ok(safe.clone()),
        _ => Ok(text(&values::shown(one(args)?))),
    }),
    ("print", |args| Ok(text(&values::print_all(args)))),
    ("println", |args| Ok(text(&values::print_line(args)))),
    ("printf", |args| Ok(text(&values::printf(args)?))),
    ("title", |args| Ok(text(&title(string(args, 0)?)))),
    ("trimSpace", |args| Ok(text(string(args, 0)?.trim()))),
    ("join", |args| {
        let separator = string(args, 0)?;
        let items: Vec<String> = list(args, 1)?.iter().map(values::print).collect();
        Ok(text(&items.join(separator)))
    }),
    ("safeHtml", |args| Ok(Value::Safe { kind: SafeKind::Html, s: string(args, 0)?.into() })),
    ("safeUrl", |args| Ok(Value::Safe { kind: SafeKind::Url, s: string(args, 0)?.into() })),
    ("urlUnescape", |args| unescape(string(args, 0)?)),
    ("stringSlice", |args| Ok(Value::List(args.into()))),
    ("list", |args| Ok(Value::List(args.into()))),
    ("append", |args| {
        let items = list(args, 0)?.iter().chain(args.iter().skip(1));
        Ok(Value::List(items.cloned().collect()))
    }),
    ("dict", |args| {
        let mut pairs = std::collections::BTreeMap::new();
        for pair in args.chunks(2) {
            let [Value::String(key), value] = pair else {
                return bad("dict wants keys that are strings, each with a value");
            };
            pairs.insert(Arc::clone(key), value.clone());
        }
        Ok(Value::Map(Arc::new(pairs)))
    }),
    ("date", |args| moment::format(string(args, 0)?, argument(args, 1)?)),
    ("tz", |args| moment::in_zone(string(args, 0)?, argument(args, 1)?)),
    ("toDate", |args| moment::parse(string(args, 0)?, string(args, 1)?)),
    ("mustToDate", |args| moment::parse(string(args, 0)?, string(args, 1)?)),
    ("humanizeDuration", |args| {
        let seconds = match one(args)? {
            length if moment::is(length, "Duration") => moment::millis(length) as f64 / 1000.0,
            number => values::float(number)?,
        };
        Ok(text(&humanize::duration(seconds)))
    }),
    ("toJson", |args| Ok(text(&json::encode(one(args)?)))),
    ("base64encode", |args| Ok(text(&BASE64_STANDARD.encode(string(args, 0)?)))),
    ("base64decode", |args| {
        let bytes = BASE64_STANDARD.decode(string(args, 0)?).ok();
        match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(decoded) => Ok(text(&decoded)),
            None => bad("expected base64 of a text"),
        }
    }),
];

/// Functions whose answer depends on when the template is expanded.
const BOUND: &[&str] = &["now", "since"];

pub(super) fn known(name: &str) -> bool {
    SHARED.contains(&name)
        || BOUND.contains(&name)
        || OWN.iter().any(|(known, _)| *known == name && !known.starts_with('_'))
}

/// Everything but what [`bound`] adds.
pub(super) fn fixed() -> FuncMap {
    let mut functions = rules::fixed();
    for &(name, function) in OWN {
        let call = move |args: &[Value]| match name.starts_with('_') {
            true => function(args),
            false => function(args).map_err(|error| {
                TemplateError::Exec(format!("error calling {name}: {}", cause(error)))
            }),
        };
        functions.insert(name.to_owned(), Arc::new(call));
    }
    functions
}

pub(super) fn bound(now: Timestamp) -> FuncMap {
    let mut functions = FuncMap::new();
    functions.insert("now".to_owned(), Arc::new(move |_| Ok(moment::time(now, "UTC"))));
    functions.insert(
        "since".to_owned(),
        Arc::new(move |args: &[Value]| match one(args)? {
            at if moment::is(at, "Time") => {
                Ok(moment::duration(now.0.saturating_sub(moment::millis(at))))
            }
            other => bad(&format!("expected a time, found {}", other.type_name())),
        }),
    );
    functions
}

fn bad(message: &str) -> Outcome {
    Err(TemplateError::Exec(message.to_owned()))
}

fn one(args: &[Value]) -> Result<&Value, TemplateError> {
    match args {
        [only] => Ok(only),
        _ => Err(TemplateError::Exec(format!("wrong number of args: want 1 got {}", args.len()))),
    }
}

fn argument(args: &[Value], at: usize) -> Result<&Value, TemplateError> {
    args.get(at).ok_or_else(|| TemplateError::Exec(format!("argument {} is missing", at + 1)))
}

fn string(args: &[Value], at: usize) -> Result<&str, TemplateError> {
    match argument(args, at)? {
        Value::Safe { s, .. } => Ok(s),
        value => values::text(value).ok_or_else(|| {
            TemplateError::Exec(format!("expected a string, found {}", value.type_name()))
        }),
    }
}

fn list(args: &[Value], at: usize) -> Result<&[Value], TemplateError> {
    match argument(args, at)? {
        Value::List(items) => Ok(items),
        other => Err(TemplateError::Exec(format!("expected a list, found {}", other.type_name()))),
    }
}

/// Each word with its first letter in upper case and the others in lower case.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        match inside {
            true => titled.extend(c.to_lowercase()),
            false => titled.extend(c.to_uppercase()),
        }
        inside = c.is_alphanumeric() || c == '\'' || c == '_';
    }
    titled
}

fn unescape(escaped: &str) -> Outcome {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return bad("invalid URL escape"),
                }
            }
            other => other,
        });
    }
    match String::from_utf8(bytes) {
        Ok(plain) => Ok(text(&plain)),
        Err(_) => bad("expected UTF-8 behind the URL escapes"),
    }
}
