//! `name{a="1",b="2"}`, or `{"name.1","a.b"="1"}`, to label pairs.

use std::borrow::Cow;

use memchr::memchr2;

use super::Format;
use crate::model::labels::METRIC_NAME;

/// More labels than this on one series are refused whatever the configuration says.
pub const MAX_LABELS: usize = 256;

pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What was expected, and the rest of the text from there.
pub type Fault<'a> = (&'static str, &'a str);

/// The metric name as `__name__`, then the labels in the order of the page, empty values included.
///
/// # Errors
/// When the text is not a series, or a label stands twice.
pub fn labels(text: &str, format: Format) -> Result<Vec<Pair<'_>>, Fault<'_>> {
    let blank = |text: &'_ str| -> usize {
        match format {
            Format::Text004 => text.len() - text.trim_start_matches([' ', '\t']).len(),
            Format::OpenMetrics100 => 0,
        }
    };
    let skip = |text: &mut &str| *text = text.split_at(blank(text)).1;
    let (name, mut rest) = text.split_at(name_length(text, true));
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(8);
    if !name.is_empty() {
        pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
        skip(&mut rest);
        if rest.is_empty() {
            return Ok(pairs);
        }
    }
    rest = rest.strip_prefix('{').ok_or(("{ or a value", rest))?;
    loop {
        skip(&mut rest);
        if let Some(after) = rest.strip_prefix('}') {
            return match pairs.first() {
                _ if !after.is_empty() => Err(("a value", after)),
                Some((first, _)) if first == METRIC_NAME => Ok(pairs),
                _ => Err(("a metric name", text)),
            };
        }
        let start = rest;
        let quoted = rest.starts_with('"');
        let name = if quoted { string(&mut rest)? } else { bare(&mut rest)? };
        skip(&mut rest);
        let pair = match rest.strip_prefix('=') {
            // The metric's own name, quoted.
            None if quoted && !rest.starts_with('"') => (Cow::Borrowed(METRIC_NAME), name),
            None => return Err(("=", rest)),
            Some(after) => {
                rest = after;
                skip(&mut rest);
                (name, string(&mut rest)?)
            }
        };
        if pairs.iter().any(|(have, _)| *have == pair.0) {
            return Err(("each label once", start));
        }
        if pairs.len() >= MAX_LABELS {
            return Err(("at most 256 labels", start));
        }
        match pair.0 == METRIC_NAME {
            true if pair.1.is_empty() => return Err(("a metric name", start)),
            true => pairs.insert(0, pair),
            false => pairs.push(pair),
        }
        skip(&mut rest);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err((", or }", rest)),
        }
    }
}

/// Takes a label name without quotes.
fn bare<'a>(rest: &mut &'a str) -> Result<Cow<'a, str>, Fault<'a>> {
    let (name, after) = rest.split_at(name_length(rest, false));
    if name.is_empty() {
        return Err(("a label name or }", rest));
    }
    *rest = after;
    Ok(Cow::Borrowed(name))
}

/// Takes a text in double quotes.
fn string<'a>(rest: &mut &'a str) -> Result<Cow<'a, str>, Fault<'a>> {
    let inside = rest.strip_prefix('"').ok_or(("a label value in double quotes", *rest))?;
    let end = quoted_length(inside).ok_or(("a label value that ends with a quote", *rest))?;
    let (value, after) = inside.split_at(end);
    *rest = after.strip_prefix('"').unwrap_or(after);
    Ok(unescape(value))
}

/// Whether all names are of letters, digits and `_`, and `:` in the metric's.
pub fn is_legacy(pairs: &[Pair<'_>]) -> bool {
    let plain = |text: &str, colon| name_length(text, colon) == text.len();
    pairs
        .iter()
        .all(|(name, value)| plain(name, false) && (name != METRIC_NAME || plain(value, true)))
}

/// Bytes of the name that `text` starts with; colons belong to metric names only.
pub fn name_length(text: &str, colon: bool) -> usize {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (colon && byte == b':');
    match text.bytes().next() {
        Some(byte) if first(byte) => text
            .bytes()
            .position(|byte| !first(byte) && !byte.is_ascii_digit())
            .unwrap_or(text.len()),
        _ => 0,
    }
}

/// Bytes before the closing quote; `None` when there is none.
pub fn quoted_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        match bytes.get(at) {
            Some(b'"') => return Some(at),
            // What is escaped is part of the text.
            _ => from = at + 2,
        }
    }
}

/// `\\`, `\"` and `\n` mean what they say; any other backslash stands for itself.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
