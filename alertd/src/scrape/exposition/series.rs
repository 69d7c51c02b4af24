//! `name{a="1",b="2"}` to label pairs.

use std::borrow::Cow;

use super::Format;
use crate::model::labels::METRIC_NAME;

/// More labels than this on one series are refused whatever the configuration says.
pub const MAX_LABELS: usize = 256;

pub type Pair<'a> = (&'a str, Cow<'a, str>);

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
    if name.is_empty() {
        return Err(("a metric name", text));
    }
    let mut pairs: Vec<Pair<'_>> = vec![(METRIC_NAME, Cow::Borrowed(name))];
    skip(&mut rest);
    if rest.is_empty() {
        return Ok(pairs);
    }
    rest = rest.strip_prefix('{').ok_or(("{ or a value", rest))?;
    loop {
        skip(&mut rest);
        if let Some(after) = rest.strip_prefix('}') {
            return if after.is_empty() { Ok(pairs) } else { Err(("a value", after)) };
        }
        let (name, after) = rest.split_at(name_length(rest, false));
        if name.is_empty() {
            return Err(("a label name or }", rest));
        }
        if pairs.iter().any(|(have, _)| *have == name) {
            return Err(("each label once", rest));
        }
        if pairs.len() >= MAX_LABELS {
            return Err(("at most 256 labels", rest));
        }
        rest = after;
        skip(&mut rest);
        rest = rest.strip_prefix('=').ok_or(("=", rest))?;
        skip(&mut rest);
        let inside = rest.strip_prefix('"').ok_or(("a label value in double quotes", rest))?;
        let end = quoted_length(inside).ok_or(("a label value that ends with a quote", rest))?;
        let (value, after) = inside.split_at(end);
        pairs.push((name, unescape(value)));
        rest = after.strip_prefix('"').unwrap_or(after);
        skip(&mut rest);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err((", or }", rest)),
        }
    }
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
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
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
