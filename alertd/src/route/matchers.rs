//! Alertmanager's matcher text, `severity="page", team=~"ci|sre"`, to matchers (pure).

use crate::model::matcher::{MatchOp, Matcher};

/// What is wrong with a matcher text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct BadMatcher {
    pub expected: &'static str,
    pub found: String,
}

/// Reads one or more matchers, separated by commas, with or without braces around them.
pub fn parse(text: &str) -> Result<Vec<Matcher>, BadMatcher> {
    let bad = |expected| BadMatcher { expected, found: text.to_owned() };
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (Some(_), Some(_)) => trimmed.trim_start_matches('{').trim_end_matches('}'),
        (None, _) => trimmed,
        (Some(_), None) => return Err(bad("a closing brace")),
    };
    let mut pieces = split(inner);
    // One comma may stand at the end.
    if pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.trim().is_empty()) {
        pieces.pop();
    }
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    pieces.into_iter().map(one).collect()
}

/// A matcher as the legacy `match` and `match_re` give it: name and value apart.
pub fn legacy(op: MatchOp, name: &str, value: &str) -> Result<Matcher, BadMatcher> {
    if !is_name(name) {
        return Err(BadMatcher { expected: "a label name", found: name.to_owned() });
    }
    Matcher::new(op, name, value)
        .map_err(|_| BadMatcher { expected: "a regular expression", found: value.to_owned() })
}

/// Whether `name` can be the name of a label.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Pieces between commas that stand outside double quotes.
fn split(text: &str) -> Vec<String> {
    let (mut pieces, mut piece) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == ',' && !quoted {
            pieces.push(std::mem::take(&mut piece));
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        piece.push(c);
    }
    pieces.push(piece);
    pieces
}

fn one(text: String) -> Result<Matcher, BadMatcher> {
    let bad = |expected| BadMatcher { expected, found: text.clone() };
    let at = text.find(['=', '!']).ok_or_else(|| bad("an operator: = != =~ !~"))?;
    let (name, rest) = text.split_at(at);
    let ops = [
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("!=", MatchOp::NotEqual),
        ("=", MatchOp::Equal),
    ];
    let (op, value) = ops
        .into_iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (op, value.trim())))
        .ok_or_else(|| bad("an operator: = != =~ !~"))?;
    let name = name.trim();
    if !is_name(name) {
        return Err(bad("a label name before the operator"));
    }
    let value = unquote(value).ok_or_else(|| bad("a value with both quotes, or with none"))?;
    Matcher::new(op, name, value).map_err(|_| bad("a regular expression after the operator"))
}

fn unquote(value: &str) -> Option<String> {
    let inner = match value.strip_prefix('"') {
        Some("") => return None,
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c @ ('"' | '\\')) => out.push(c),
                Some(other) => out.extend(['\\', other]),
                // An odd backslash would have escaped the closing quote.
                None => return None,
            },
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_are_read() {
        for (text, want) in [
            (r#"severity="page""#, r#"severity="page""#),
            ("severity=page", r#"severity="page""#),
            (r#" severity =~ "page|crit" "#, r#"severity=~"page|crit""#),
            ("a!=b", r#"a!="b""#),
            ("a!~b.*", r#"a!~"b.*""#),
            (r#"a="x,y",b=z,"#, r#"a="x,y" b="z""#),
            (r#"{a="x\"y"}"#, r#"a="x\"y""#),
            (r#"a="=~!""#, r#"a="=~!""#),
            (r#"a=~"\d+""#, r#"a=~"\\d+""#),
            ("a=", r#"a="""#),
            ("", ""),
            ("{}", ""),
        ] {
            let found = parse(text).unwrap();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), want, "{text}");
        }
    }

    #[test]
    fn forms_that_are_refused() {
        for text in [
            "severity", "=x", r#"a="b"#, r#"a=b""#, "a=~(", "{a=b", "1a=b", "a b=c", "a!b", ",",
            r#"a=""#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
