//! The functions that alert templates may call: Prometheus' list.

use std::cmp;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gotmpl::{FuncMap, TemplateError, Value};
use pitcrew_exporter::config::duration;
use regex::Regex;

use super::record::{self, KIND, OPEN, SAMPLE, kind};
use super::rewrite::{GET, NOTHING, RANGED};
use super::syntax::PRINT;
use super::values::{
    equal, float, is_deep, order, print, print_all, print_line, printf, shown, text,
};
use super::{MAX_OUTPUT, QueryFn, graph_link, table_link};
use super::{humanize, members, moment, number};
use crate::model::labels::Labels;
use crate::model::pattern;
use crate::model::sample::Timestamp;

/// Queries of all templates of one alert together.
const MAX_QUERIES: usize = 1000;

type Outcome = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> Outcome;

/// Functions whose answer depends on their arguments alone.
const PURE: &[(&str, usize, Function)] = &[
    (PRINT, 1, |args| Ok(string(shown(&args[0])))),
    (RANGED, 1, |args| record::ranged(&args[0])),
    ("not", 1, |args| Ok(Value::Bool(!args[0].is_truthy()))),
    ("ne", 2, |args| Ok(Value::Bool(!equal(&args[0], &args[1])?))),
    ("lt", 2, |args| Ok(Value::Bool(less(args)?))),
    ("le", 2, |args| Ok(Value::Bool(less_or_equal(args)?))),
    ("gt", 2, |args| Ok(Value::Bool(!less_or_equal(args)?))),
    ("ge", 2, |args| Ok(Value::Bool(!less(args)?))),
    ("len", 1, |args| length(&args[0])),
    ("first", 1, |args| first(&args[0])),
    ("label", 2, |args| label(argument(args, 0)?, &args[1])),
    ("value", 1, |args| member(&args[0], "Value")),
    ("strvalue", 1, |args| label("__value__", &args[0])),
    ("sortByLabel", 2, |args| sort_by_label(argument(args, 0)?, &args[1])),
    ("humanize", 1, |args| Ok(string(humanize::decimal(float(&args[0])?)))),
    ("humanize1024", 1, |args| Ok(string(humanize::binary(float(&args[0])?)))),
    ("humanizeDuration", 1, |args| Ok(string(humanize::duration(float(&args[0])?)))),
    ("humanizePercentage", 1, |args| Ok(string(humanize::percentage(float(&args[0])?)))),
    ("humanizeTimestamp", 1, |args| timestamp(&args[0])),
    ("toTime", 1, |args| Ok(moment::time(instant(finite(&args[0])?)?, "UTC"))),
    ("toDuration", 1, |args| {
        let seconds = finite(&args[0])?;
        instant(seconds)?;
        Ok(moment::duration((seconds * 1e3) as i64))
    }),
    ("parseDuration", 1, |args| parse_duration(argument(args, 0)?)),
    ("title", 1, |args| Ok(string(title(argument(args, 0)?)))),
    ("toUpper", 1, |args| Ok(string(argument(args, 0)?.to_uppercase()))),
    ("toLower", 1, |args| Ok(string(argument(args, 0)?.to_lowercase()))),
    ("stripPort", 1, |args| Ok(string(strip_port(argument(args, 0)?)))),
    ("stripDomain", 1, |args| Ok(string(strip_domain(argument(args, 0)?)))),
    ("match", 2, |args| Ok(Value::Bool(regex(argument(args, 0)?)?.is_match(argument(args, 1)?)))),
    ("reReplaceAll", 3, |args| {
        let replaced = regex(argument(args, 0)?)?
            .replace_all(argument(args, 2)?, argument(args, 1)?)
            .into_owned();
        Ok(string(replaced))
    }),
    ("urlQueryEscape", 1, |args| Ok(string(gotmpl::url_encode(argument(args, 0)?)))),
    ("graphLink", 1, |args| Ok(string(graph_link(argument(args, 0)?)))),
    ("tableLink", 1, |args| Ok(string(table_link(argument(args, 0)?)))),
    ("safeHtml", 1, |args| Ok(string(argument(args, 0)?.to_owned()))),
];

/// Functions that take any number of arguments.
const VARIADIC: &[(&str, Function)] = &[
    (GET, members::get),
    (NOTHING, |_| Ok(Value::Nil)),
    ("index", index),
    ("eq", |args| {
        let [first, rest @ ..] = args else { return Err(wrong_count("eq", 2, 0)) };
        if rest.is_empty() {
            return Err(TemplateError::Exec("missing argument for comparison".to_owned()));
        }
        for other in rest {
            if equal(first, other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    ("args", |args| {
        if args.iter().any(is_deep) {
            return Err(TemplateError::Exec("arguments are nested too deep".to_owned()));
        }
        let named = args.iter().enumerate();
        Ok(record::record(OPEN, named.map(|(at, arg)| (format!("arg{at}"), arg.clone()))))
    }),
    ("printf", |args| Ok(string(printf(args)?))),
    ("html", |args| Ok(string(gotmpl::html_escape(&joined(args))))),
    ("urlquery", |args| Ok(string(gotmpl::url_encode(&joined(args))))),
    ("print", |args| Ok(string(print_all(args)))),
    ("println", |args| Ok(string(print_line(args)))),
];

/// Functions of the template language itself that the crate implements as Go does.
const LANGUAGE: &[&str] = &["and", "or", "slice", "call", "js"];

/// Functions whose answer depends on where and when the template is expanded.
const BOUND: &[&str] = &["query", "now", "externalURL", "pathPrefix"];

pub(super) fn known(name: &str) -> bool {
    if name.starts_with("__") {
        return false;
    }
    PURE.iter().any(|(known, ..)| *known == name)
        || VARIADIC.iter().any(|(known, _)| *known == name)
        || LANGUAGE.contains(&name)
        || BOUND.contains(&name)
}

/// Everything but what [`bound`] adds.
pub(crate) fn fixed() -> FuncMap {
    let mut functions = FuncMap::new();
    for &(name, count, function) in PURE {
        functions.insert(
            name.to_owned(),
            Arc::new(move |args: &[Value]| {
                if args.len() != count {
                    return Err(wrong_count(name, count, args.len()));
                }
                function(args).and_then(bounded).map_err(|error| calling(name, error))
            }),
        );
    }
    for &(name, function) in VARIADIC {
        functions.insert(
            name.to_owned(),
            Arc::new(move |args: &[Value]| {
                function(args).and_then(bounded).map_err(|error| calling(name, error))
            }),
        );
    }
    functions
}

/// A text that is doubled again and again must not fill the memory before it is printed.
fn bounded(value: Value) -> Outcome {
    match &value {
        Value::String(text) if text.len() > MAX_OUTPUT => {
            Err(TemplateError::Exec(format!("result is longer than {MAX_OUTPUT} bytes")))
        }
        _ => Ok(value),
    }
}

/// What one expansion brings along.
pub(super) fn bound(query: QueryFn, now: Timestamp, external_url: &str) -> FuncMap {
    let mut functions = FuncMap::new();
    let left = AtomicUsize::new(MAX_QUERIES);
    functions.insert(
        "query".to_owned(),
        Arc::new(move |args: &[Value]| {
            // Counts down to zero and stays there.
            let one = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            if one.is_err() {
                let message = format!("more than {MAX_QUERIES} queries");
                return Err(calling("query", TemplateError::Exec(message)));
            }
            let found = query(argument(args, 0)?)
                .map_err(|error| calling("query", TemplateError::Exec(error)))?;
            Ok(Value::List(found.iter().map(|(labels, value)| sample(labels, *value)).collect()))
        }),
    );
    functions.insert("now".to_owned(), Arc::new(move |_| Ok(Value::Float(now.seconds()))));
    let url = string(external_url.to_owned());
    let after_scheme = external_url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    let path = string(if path.is_empty() { String::new() } else { format!("/{path}") });
    functions.insert("externalURL".to_owned(), Arc::new(move |_| Ok(url.clone())));
    functions.insert("pathPrefix".to_owned(), Arc::new(move |_| Ok(path.clone())));
    functions
}

pub(super) fn label_map(labels: &Labels) -> Value {
    let pairs = labels.pairs().iter().filter(|(name, _)| name.as_ref() != KIND);
    let pairs = pairs.map(|(name, value)| (name.clone(), Value::String(value.clone())));
    Value::Map(Arc::new(pairs.collect()))
}

fn sample(labels: &Labels, value: f64) -> Value {
    record::record(SAMPLE, [("Labels", label_map(labels)), ("Value", Value::Float(value))])
}

fn string(text: impl Into<Arc<str>>) -> Value {
    Value::String(text.into())
}

fn argument(args: &[Value], at: usize) -> Result<&str, TemplateError> {
    let value = args.get(at).unwrap_or(&Value::Nil);
    text(value).ok_or_else(|| {
        TemplateError::Exec(format!("expected a string, found {}", value.type_name()))
    })
}

fn calling(name: &str, error: TemplateError) -> TemplateError {
    let message = super::output::cause(error);
    TemplateError::Exec(match name.starts_with("__") {
        true => message,
        false => format!("error calling {name}: {message}"),
    })
}

fn wrong_count(name: &str, want: usize, got: usize) -> TemplateError {
    TemplateError::Exec(format!("wrong number of args for {name}: want {want} got {got}"))
}

/// NaN is less than nothing, so Go's `gt` and `ge`, the opposites of `le` and `lt`, hold for it.
fn less(args: &[Value]) -> Result<bool, TemplateError> {
    Ok(order(&args[0], &args[1])? == Some(cmp::Ordering::Less))
}

fn less_or_equal(args: &[Value]) -> Result<bool, TemplateError> {
    Ok(matches!(order(&args[0], &args[1])?, Some(cmp::Ordering::Less | cmp::Ordering::Equal)))
}

fn length(value: &Value) -> Outcome {
    match (kind(value), value.len()) {
        (Some(OPEN), Some(with_kind)) => Ok(Value::Int(with_kind as i64 - 1)),
        (Some(kind), _) => {
            let kind = kind.trim_start_matches('*');
            Err(TemplateError::Exec(format!("len of type {kind}")))
        }
        (None, Some(length)) => Ok(Value::Int(length as i64)),
        (None, None) => Err(TemplateError::Exec(format!("len of type {}", value.type_name()))),
    }
}

/// The element under each key in turn.
fn index(args: &[Value]) -> Outcome {
    let Some((value, keys)) = args.split_first() else { return Err(wrong_count("index", 1, 0)) };
    keys.iter().try_fold(value.clone(), |value, key| match (&value, key) {
        (Value::Map(pairs), Value::String(name)) if matches!(kind(&value), None | Some(OPEN)) => {
            let found = pairs.get(name).filter(|_| name.as_ref() != KIND).cloned();
            Ok(found.unwrap_or_else(|| record::missing(&value)))
        }
        (Value::List(_) | Value::String(_), Value::Int(at)) => {
            let at_place = usize::try_from(*at).ok();
            let found = at_place.and_then(|place| match &value {
                Value::List(items) => items.get(place).cloned(),
                Value::String(text) => text.as_bytes().get(place).map(|b| Value::Int((*b).into())),
                _ => None,
            });
            found.ok_or_else(|| TemplateError::Exec(format!("index out of range: {at}")))
        }
        (Value::Nil, _) => Err(TemplateError::Exec("index of untyped nil".to_owned())),
        (item, key) => {
            let (item, key) = (kind(item).unwrap_or(item.type_name()), key.type_name());
            Err(TemplateError::Exec(format!("can't index item of type {item} with {key}")))
        }
    })
}

fn first(vector: &Value) -> Outcome {
    match vector {
        Value::List(samples) => samples.first().cloned().ok_or_else(|| {
            TemplateError::Exec("first() called on vector with no elements".to_owned())
        }),
        other => {
            Err(TemplateError::Exec(format!("expected a vector, found {}", other.type_name())))
        }
    }
}

fn member(sample: &Value, name: &str) -> Outcome {
    sample.field(name).cloned().ok_or_else(|| {
        TemplateError::Exec(format!("expected a sample, found {}", sample.type_name()))
    })
}

fn label(name: &str, sample: &Value) -> Outcome {
    Ok(member(sample, "Labels")?.field(name).cloned().unwrap_or_else(|| string("")))
}

fn sort_by_label(name: &str, vector: &Value) -> Outcome {
    let Value::List(samples) = vector else {
        let message = format!("expected a vector, found {}", vector.type_name());
        return Err(TemplateError::Exec(message));
    };
    let mut keyed: BTreeMap<(String, usize), Value> = BTreeMap::new();
    for (at, sample) in samples.iter().enumerate() {
        keyed.insert((print(&label(name, sample)?), at), sample.clone());
    }
    Ok(Value::List(keyed.into_values().collect()))
}

fn timestamp(value: &Value) -> Outcome {
    match float(value)? {
        seconds if seconds.is_finite() => Ok(string(number::time(instant(seconds)?))),
        odd => Ok(string(number::significant(odd, 4))),
    }
}

fn finite(value: &Value) -> Result<f64, TemplateError> {
    match float(value)? {
        seconds if seconds.is_finite() => Ok(seconds),
        _ => Err(TemplateError::Exec("value is NaN or Inf".to_owned())),
    }
}

fn instant(seconds: f64) -> Result<Timestamp, TemplateError> {
    if seconds.abs() > 9_223_372_036.0 {
        let message = format!("{seconds} cannot be represented as a time");
        return Err(TemplateError::Exec(message));
    }
    // Prometheus cuts off what is finer than a millisecond.
    Ok(Timestamp((seconds * 1e9) as i64 / 1_000_000))
}

fn parse_duration(text: &str) -> Outcome {
    let time = duration::parse(text).map_err(|error| TemplateError::Exec(error.to_string()))?;
    Ok(Value::Float(time.as_secs_f64()))
}

/// What Go's escaping functions make of their arguments: the only text as it is, else all printed.
fn joined(args: &[Value]) -> String {
    match args {
        [one] => shown(one),
        all => print_all(all),
    }
}

/// The first letter of each word in upper case, the rest as it was.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut titled = String::with_capacity(text.len());
    for char in text.chars() {
        match inside {
            true => titled.push(char),
            false => titled.extend(char.to_uppercase()),
        }
        inside = char.is_alphanumeric() || char == '_';
    }
    titled
}

/// Host and port of `host:port` or `[v6]:port`; `None` when it is not of that form.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inside) => Some((inside.strip_suffix(']')?, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

fn strip_port(text: &str) -> String {
    split_port(text).map_or(text, |(host, _)| host).to_owned()
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let first = host.split('.').next().unwrap_or(host);
    match port {
        "" => first.to_owned(),
        port if first.contains([':', '%']) => format!("[{first}]:{port}"),
        port => format!("{first}:{port}"),
    }
}

fn regex(pattern: &str) -> Result<Regex, TemplateError> {
    Regex::new(&pattern::translate(pattern)).map_err(|error| TemplateError::Exec(error.to_string()))
}
