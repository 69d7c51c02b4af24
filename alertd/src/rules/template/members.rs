//! Fields and methods of what alert templates are given: `.Labels.job`, `(toTime 0).Year`.

use gotmpl::{TemplateError, Value};

use super::moment;
use super::record::{OPEN, kind, missing};

type Outcome = Result<Value, TemplateError>;

/// Value, path, and the arguments of its last name: `member` takes one step.
pub(crate) fn walk(args: &[Value], member: fn(&Value, &str, &[Value]) -> Outcome) -> Outcome {
    let [value, Value::String(path), args @ ..] = args else {
        return Err(TemplateError::Exec("expected a field".to_owned()));
    };
    let mut value = value.clone();
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let args = if names.peek().is_none() { args } else { &[] };
        // Nothing has every field, each of them nothing.
        if !matches!(value, Value::Nil) {
            value = member(&value, name, args)?;
        }
    }
    Ok(value)
}

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
        (Value::Map(pairs), None | Some(OPEN)) => {
            pairs.get(name).cloned().unwrap_or_else(|| missing(value))
        }
        (_, Some(kind)) => match value.field(name) {
            Some(found) => found.clone(),
            None => return unknown(kind),
        },
        (other, None) => return unknown(go_name(other)),
    };
    match args.is_empty() {
        true => Ok(found),
        false => Err(TemplateError::Exec(format!("{name} has arguments but cannot be invoked"))),
    }
}

/// What Go calls the type of a plain value.
fn go_name(value: &Value) -> &'static str {
    match value {
        Value::Float(_) => "float64",
        Value::List(_) => "template.queryResult",
        other => other.type_name(),
    }
}
