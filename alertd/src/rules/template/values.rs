//! Go's way to print and compare template values, where the template crate differs.

use std::cmp::Ordering;
use std::sync::Arc;

use gotmpl::parse::{ActionNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos};
use gotmpl::{TemplateError, Value};

use super::record::{ALERT, OPEN, SAMPLE, fields, kind};
use super::{moment, number};

/// Lists and maps within one another.
const MAX_NESTED: usize = 8;
/// Values in them that are looked at.
const MAX_LOOKED_AT: usize = 100_000;

/// What an action prints of a value.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        other => print(other),
    }
}

/// A value as text, as Go writes it. No longer than an output may be, and a little.
pub(crate) fn print(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, out: &mut String) {
    if out.len() > super::MAX_OUTPUT {
        return;
    }
    match value {
        Value::Float(float) => out.push_str(&number::shortest(*float)),
        time if moment::is(time, "Time") => out.push_str(&moment::print_time(time)),
        length if moment::is(length, "Duration") => out.push_str(&moment::print_duration(length)),
        Value::List(items) => {
            let items = items.iter().map(|item| (None, item));
            join("[", items, "]", out);
        }
        Value::Map(pairs) => {
            let is_struct = kind(value).is_some_and(|kind| kind != OPEN);
            let fields = fields(pairs).into_iter();
            let named = |(name, value)| ((!is_struct).then_some(name), value);
            let (open, close) = if is_struct { ("{", "}") } else { ("map[", "]") };
            join(open, fields.map(named), close, out);
        }
        other => out.push_str(&other.to_string()),
    }
}

fn join<'a>(
    open: &str,
    items: impl Iterator<Item = (Option<&'a Arc<str>>, &'a Value)>,
    close: &str,
    out: &mut String,
) {
    out.push_str(open);
    for (at, (name, value)) in items.enumerate() {
        out.push_str(if at > 0 { " " } else { "" });
        if let Some(name) = name {
            out.push_str(name);
            out.push(':');
        }
        write(value, out);
    }
    out.push_str(close);
}

/// Whether lists and maps hold one another deeper than anything needs: what prints and drops them
/// is recursive.
pub(crate) fn is_deep(value: &Value) -> bool {
    fn within(value: &Value, left: usize, looks: &mut usize) -> bool {
        if left == 0 || *looks == 0 {
            return false;
        }
        *looks -= 1;
        match value {
            Value::List(items) => items.iter().all(|item| within(item, left - 1, looks)),
            Value::Map(pairs) => pairs.values().all(|value| within(value, left - 1, looks)),
            _ => true,
        }
    }
    !within(value, MAX_NESTED, &mut { MAX_LOOKED_AT })
}

/// Go's `print`: a space between two operands when neither is a string.
pub(crate) fn print_all(args: &[Value]) -> String {
    let mut text = String::new();
    let mut after_text = true;
    for (at, arg) in args.iter().enumerate() {
        let is_text = matches!(arg, Value::String(_));
        if at > 0 && !is_text && !after_text {
            text.push(' ');
        }
        text.push_str(&print(arg));
        after_text = is_text;
    }
    text
}

/// Go's `println`: a space between all operands.
pub(crate) fn print_line(args: &[Value]) -> String {
    let args: Vec<String> = args.iter().map(print).collect();
    args.join(" ") + "\n"
}

/// Go's `printf`, by the crate's own once it gets arguments that it prints right.
pub(crate) fn printf(args: &[Value]) -> Result<String, TemplateError> {
    if asks_for_too_much(args) {
        return Err(TemplateError::Exec("width or precision is too large".to_owned()));
    }
    let at = Pos::new(0, 1);
    let literals = prepare_printf(args).into_iter().map(|arg| match arg {
        Value::String(text) => Expr::String(at, text),
        Value::Bool(bool) => Expr::Bool(at, bool),
        Value::Int(int) => Expr::Number(at, Number::Int(int)),
        Value::Float(float) => Expr::Number(at, Number::Float(float)),
        Value::Nil => Expr::Nil(at),
        other => Expr::String(at, print(&other).into()),
    });
    // The crate shows its `printf` to templates only, so it is called from one.
    let call = [Expr::Identifier(at, "printf".into())].into_iter().chain(literals).collect();
    let commands = vec![CommandNode { pos: at, args: call }];
    let pipe = PipeNode { pos: at, decl: Vec::new(), commands, is_assign: false };
    let nodes = vec![Node::Action(ActionNode { pos: at, pipe })];
    let template = gotmpl::Template::new("").add_parse_tree("", ListNode { pos: at, nodes });
    let mut text = String::new();
    template.execute_template_fmt(&mut text, "", &Value::Nil)?;
    Ok(text)
}

/// Whether a width or precision is longer than any output may be.
fn asks_for_too_much(args: &[Value]) -> bool {
    let Some(Value::String(format)) = args.first() else { return false };
    let digits = |c: char| c.is_ascii_digit();
    let written = format.split(|c| !digits(c)).any(|run| run.len() > 5);
    let most = super::MAX_OUTPUT as i64;
    let given = format.contains('*')
        && args.iter().any(|arg| matches!(arg, Value::Int(int) if int.abs() > most));
    written || given
}

/// Rewrites what the crate's `printf` gets wrong into what it gets right: floats under `%v` and
/// under integer verbs, and compound values. Formats that pick or size by argument are left alone.
fn prepare_printf(args: &[Value]) -> Vec<Value> {
    let mut args = args.to_vec();
    let Some(Value::String(format)) = args.first().cloned() else { return args };
    if format.contains(['[', '*']) {
        return args;
    }
    let (mut written, mut chars, mut at) = (String::new(), format.chars(), 1);
    while let Some(char) = chars.next() {
        written.push(char);
        if char != '%' {
            continue;
        }
        let (mut plain, flags_at, mut ended) = (true, written.len(), false);
        for char in chars.by_ref() {
            if matches!(char, '0'..='9' | '.' | '+' | '-' | '#' | ' ') {
                plain &= !matches!(char, '+' | '#' | ' ' | '.');
                written.push(char);
                continue;
            }
            ended = true;
            if char == '%' {
                written.push(char);
                break;
            }
            let float = match args.get(at) {
                Some(Value::Float(float)) => Some(*float),
                _ => None,
            };
            let replaced = match (char, float) {
                ('v', Some(float)) if plain => Some(number::shortest(float)),
                ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'v', Some(float)) if !float.is_finite() => {
                    // Neither digits nor zeros in front of them; the width stays.
                    let flags: String = written.drain(flags_at..).collect();
                    let flags = flags.split('.').next().unwrap_or("");
                    let left = if flags.contains('-') { "-" } else { "" };
                    written.push_str(left);
                    written.push_str(flags.trim_start_matches(['+', '-', '#', ' ', '0']));
                    Some(number::shortest(float))
                }
                ('T', _) if plain => args.get(at).map(|arg| go_type(arg).to_owned()),
                (_, None) if args.get(at).is_some_and(is_compound) => {
                    let flags: String = written.drain(flags_at..).collect();
                    args.get(at).map(|arg| compound(&flags, char, arg))
                }
                ('d' | 'c' | 'o' | 'q' | 'U', Some(float)) => {
                    Some(format!("%!{char}(float64={})", number::shortest(float)))
                }
                ('e' | 'E' | 'f' | 'F' | 'g' | 'G', None) => match args.get(at) {
                    Some(Value::Int(int)) => Some(format!("%!{char}(int={int})")),
                    _ => None,
                },
                _ => None,
            };
            match replaced {
                Some(text) => {
                    written.push('s');
                    args[at] = Value::String(text.into());
                }
                None => written.push(char),
            }
            at += 1;
            break;
        }
        if !ended {
            written.push_str("%!(NOVERB)");
        }
    }
    args[0] = Value::String(written.into());
    args
}

fn is_compound(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Map(_))
}

/// A verb with its flags, of each part of a list, map or struct, keys of maps among them.
fn compound(flags: &str, verb: char, value: &Value) -> String {
    let one = |value: &Value| match value {
        inner if is_compound(inner) => compound(flags, verb, inner),
        plain => {
            // The crate quotes no text for `%#v`.
            let quoted = matches!(plain, Value::String(_)) && verb == 'v' && flags.contains('#');
            let format = if quoted { "%q".to_owned() } else { format!("%{flags}{verb}") };
            let format = Value::String(format.into());
            printf(&[format, plain.clone()]).unwrap_or_default()
        }
    };
    let (sharp, plus) = (flags.contains('#') && verb == 'v', flags.contains('+') && verb == 'v');
    let (pairs, kind) = match value {
        length if moment::is(length, "Duration") && !matches!(verb, 'v' | 's' | 'q') => {
            return one(&Value::Int(moment::millis(length).saturating_mul(1_000_000)));
        }
        time if moment::is(time, "Time") || moment::is(time, "Duration") => {
            return one(&Value::String(print(time).into()));
        }
        Value::Map(pairs) => (fields(pairs), kind(value)),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(one).collect();
            return format!("[{}]", items.join(" "));
        }
        plain => return one(plain),
    };
    let is_struct = kind.is_some_and(|kind| kind != OPEN);
    let part = |(name, value): (&Arc<str>, &Value)| match (is_struct, plus || sharp) {
        (true, false) => one(value),
        (true, true) => format!("{name}:{}", one(value)),
        (false, _) => format!("{}:{}", one(&Value::String(Arc::clone(name))), one(value)),
    };
    let parts: Vec<String> = pairs.into_iter().map(part).collect();
    match (is_struct, sharp) {
        (true, _) if kind == Some(SAMPLE) => format!("&{{{}}}", parts.join(" ")),
        (true, _) => format!("{{{}}}", parts.join(" ")),
        (false, false) => format!("map[{}]", parts.join(" ")),
        (false, true) => format!("{}{{{}}}", go_type(value), parts.join(", ")),
    }
}

/// What Go calls the type of a value.
fn go_type(value: &Value) -> &'static str {
    match kind(value) {
        Some("Time") => return "*time.Time",
        Some("Duration") => return "time.Duration",
        Some(OPEN) => return OPEN,
        Some(ALERT) => return ALERT,
        Some(_) => return SAMPLE,
        None => {}
    }
    match value {
        Value::Nil => "<nil>",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) => "int",
        Value::Float(_) => "float64",
        Value::Map(_) => "map[string]string",
        _ => "template.queryResult",
    }
}

/// Go's `eq` of two values: an error when their kinds differ.
pub(super) fn equal(left: &Value, right: &Value) -> Result<bool, TemplateError> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Int(_) | Value::Uint(_), Value::Int(_) | Value::Uint(_)) => {
            Ok(integer(left) == integer(right))
        }
        _ => match (text(left), text(right)) {
            (Some(left), Some(right)) => Ok(left == right),
            _ => Err(incompatible(left, right)),
        },
    }
}

/// Go's order for `lt` and its kin; `None` when one of two floats is NaN.
pub(super) fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, TemplateError> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::Int(_) | Value::Uint(_), Value::Int(_) | Value::Uint(_)) => {
            Ok(Some(integer(left).cmp(&integer(right))))
        }
        _ => match (text(left), text(right)) {
            (Some(left), Some(right)) => Ok(Some(left.cmp(right))),
            _ => Err(incompatible(left, right)),
        },
    }
}

/// A number out of what templates pass around: a number, or text that is one.
pub(crate) fn float(value: &Value) -> Result<f64, TemplateError> {
    match value {
        Value::Float(float) => Ok(*float),
        Value::Int(int) => Ok(*int as f64),
        Value::Uint(int) => Ok(*int as f64),
        Value::String(text) => text
            .parse()
            .map_err(|_| TemplateError::Exec(format!("expected a number, found {text:?}"))),
        other => Err(TemplateError::Exec(format!("can't convert {} to float", other.type_name()))),
    }
}

/// The text of an argument.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(int) => i128::from(*int),
        Value::Uint(int) => i128::from(*int),
        _ => 0,
    }
}

fn incompatible(left: &Value, right: &Value) -> TemplateError {
    let kinds = (left.type_name(), right.type_name());
    TemplateError::Exec(format!("incompatible types for comparison: {} and {}", kinds.0, kinds.1))
}
