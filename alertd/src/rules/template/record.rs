//! Go's structs and open maps among the values of the template crate, which knows maps and lists.
//!
//! A map with [`KIND`] among its keys, which no label can be named, is a struct of that kind, or the
//! map that `args` makes. A map without it has texts as values, and what it lacks is an empty one.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{TemplateError, Value};

/// The key of a value's kind.
pub(crate) const KIND: &str = "\0";
/// What `args` makes: a map that may hold anything, so that what it lacks is nothing.
pub(crate) const OPEN: &str = "map[string]interface {}";
/// An element of a query's result.
pub(crate) const SAMPLE: &str = "*template.sample";
/// What an alert's templates are given.
pub(crate) const ALERT: &str = "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }";

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// A struct, or an open map.
pub(crate) fn record(
    kind: &str,
    fields: impl IntoIterator<Item = (impl Into<Arc<str>>, Value)>,
) -> Value {
    let fields = fields.into_iter().map(|(name, value)| (name.into(), value));
    Value::Map(Arc::new(fields.chain([(Arc::from(KIND), text(kind))]).collect()))
}

/// `None` for everything but structs and open maps.
pub(crate) fn kind(value: &Value) -> Option<&str> {
    match value.field(KIND) {
        Some(Value::String(kind)) => Some(kind),
        _ => None,
    }
}

/// Names and values, as Go orders them: a struct's as it declares them, a map's by name.
pub(crate) fn fields(pairs: &BTreeMap<Arc<str>, Value>) -> Vec<(&Arc<str>, &Value)> {
    let of_alert = pairs.contains_key("ExternalURL") && pairs.contains_key(KIND);
    let mut fields: Vec<_> = pairs.iter().filter(|(name, _)| name.as_ref() != KIND).collect();
    if of_alert {
        fields.sort_by_key(|(name, _)| name.as_ref() != "Labels");
    }
    fields
}

/// What an index or a field of a map gives that it does not have.
pub(crate) fn missing(map: &Value) -> Value {
    if kind(map) == Some(OPEN) { Value::Nil } else { text("") }
}

/// What `range` goes over: never a struct.
pub(crate) fn ranged(value: &Value) -> Result<Value, TemplateError> {
    match (kind(value), value) {
        (Some(OPEN), Value::Map(pairs)) => {
            let fields = fields(pairs).into_iter();
            let fields = fields.map(|(name, value)| (Arc::clone(name), value.clone()));
            Ok(Value::Map(Arc::new(fields.collect())))
        }
        (Some(kind), _) => {
            Err(TemplateError::Exec(format!("range can't iterate over a value of type {kind}")))
        }
        (None, value) => Ok(value.clone()),
    }
}
