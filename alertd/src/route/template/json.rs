//! Template values as Go's `encoding/json` writes them.

use gotmpl::Value;
use serde_json::{Map, Value as Json};

use crate::model::sample::Timestamp;
use crate::rules::template::moment;
use crate::rules::template::record::{KIND, kind};

/// With `<`, `>` and `&` as escapes, so that the text is safe within HTML.
pub(super) fn encode(value: &Value) -> String {
    let text = json(value).to_string();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Int(int) => (*int).into(),
        Value::Uint(int) => (*int).into(),
        Value::Float(float) => (*float).into(),
        Value::String(text) => text.as_ref().into(),
        Value::Safe { s, .. } => s.as_ref().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(pairs) => match kind(value) {
            Some("Time") => rfc3339(moment::millis(value)).into(),
            Some("Duration") => moment::millis(value).saturating_mul(1_000_000).into(),
            kind => {
                let fields = pairs.iter().filter(|(name, _)| name.as_ref() != KIND);
                let fields = fields.map(|(name, field)| {
                    // A pair has no names for JSON; the fields of the others begin small.
                    let name = match kind {
                        None | Some("Pair") => name.to_string(),
                        Some(_) => small(name),
                    };
                    (name, json(field))
                });
                Json::Object(fields.collect::<Map<_, _>>())
            }
        },
    }
}

fn small(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// Without zeros at the end of the fraction.
fn rfc3339(millis: i64) -> String {
    let text = Timestamp(millis).rfc3339();
    let bare = text.trim_end_matches('Z');
    match bare.split_once('.') {
        None => text,
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => format!("{whole}Z"),
            fraction => format!("{whole}.{fraction}Z"),
        },
    }
}
