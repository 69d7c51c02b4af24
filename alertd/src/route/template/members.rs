//! Fields and methods of what templates are given: `.Alerts.Firing`, `.CommonLabels.Remove`.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{TemplateError, Value};

use crate::rules::template::members::walk;
use crate::rules::template::moment;
use crate::rules::template::record::{KIND, kind, record, text};

type Outcome = Result<Value, TemplateError>;

pub(super) fn get(args: &[Value]) -> Outcome {
    walk(args, member)
}

fn member(value: &Value, name: &str, args: &[Value]) -> Outcome {
    let unknown = |what: &str| {
        Err(TemplateError::Exec(format!("can't evaluate field {name} in type {what}")))
    };
    let found = match (value, kind(value)) {
        (_, Some("Time")) => return moment::time_member(value, name, args),
        (_, Some("Duration")) => return moment::duration_member(value, name, args),
        (_, Some(kind)) => match value.field(name).filter(|_| name != KIND) {
            Some(found) => found.clone(),
            None => return unknown(kind),
        },
        (Value::Map(pairs), None) => match name {
            "SortedPairs" => sorted_pairs(pairs, &[]),
            "Names" => Value::List(pairs.keys().map(|name| text(name)).collect()),
            "Values" => Value::List(pairs.values().cloned().collect()),
            "Remove" => return remove(pairs, args),
            name => pairs.get(name).cloned().unwrap_or_else(|| text("")),
        },
        (Value::List(items), None) => match name {
            "Firing" | "Resolved" => {
                let state = text(&name.to_lowercase());
                let of = |item: &&Value| item.field("Status").is_some_and(|s| print_is(s, &state));
                Value::List(items.iter().filter(of).cloned().collect())
            }
            "Names" | "Values" => {
                let field = name.trim_end_matches('s');
                let found = items.iter().map(|pair| pair.field(field).cloned());
                match found.collect::<Option<Vec<Value>>>() {
                    Some(found) => Value::List(found.into()),
                    None => return unknown("list"),
                }
            }
            _ => return unknown("list"),
        },
        (other, None) => return unknown(other.type_name()),
    };
    match args.is_empty() {
        true => Ok(found),
        false => Err(TemplateError::Exec(format!("{name} has arguments but cannot be invoked"))),
    }
}

/// Name and value of each label, by name, `alertname` first.
fn sorted_pairs(pairs: &BTreeMap<Arc<str>, Value>, without: &[&str]) -> Value {
    let mut sorted: Vec<_> =
        pairs.iter().filter(|(name, _)| !without.contains(&name.as_ref())).collect();
    sorted.sort_by_key(|(name, _)| name.as_ref() != "alertname");
    let pairs = sorted
        .into_iter()
        .map(|(name, value)| record("Pair", [("Name", text(name)), ("Value", value.clone())]));
    Value::List(pairs.collect())
}

fn remove(pairs: &BTreeMap<Arc<str>, Value>, args: &[Value]) -> Outcome {
    let [Value::List(names)] = args else {
        let message = "Remove wants one list of names, as of stringSlice".to_owned();
        return Err(TemplateError::Exec(message));
    };
    let gone = |name: &Arc<str>| names.iter().any(|gone| print_is(gone, &text(name)));
    let kept = pairs.iter().filter(|(name, _)| !gone(name));
    Ok(Value::Map(Arc::new(kept.map(|(name, value)| (name.clone(), value.clone())).collect())))
}

fn print_is(value: &Value, want: &Value) -> bool {
    matches!((value, want), (Value::String(value), Value::String(want)) if value == want)
}
