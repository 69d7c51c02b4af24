//! Series as scripts write them: `name{a="b"} 0+10x5 _ stale NaN`.

use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::MatchOp;
use crate::model::sample::stale_marker;
use crate::promql;

/// One series line: labels, and a value for each interval; `None` where there is no sample.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Line {
    pub(in crate::cli) labels: Labels,
    pub(in crate::cli) values: Vec<Option<f64>>,
    /// Which of the values are native histograms, which are not kept.
    pub(in crate::cli) natives: Vec<usize>,
    /// When the counting began, for each value that says it: milliseconds relative to its time.
    pub(in crate::cli) starts: Vec<Option<i64>>,
}

pub(in crate::cli) fn line(text: &str) -> Result<Line, String> {
    let (metric, rest) = split_metric(text);
    let (mut all, mut natives, mut rest) = (Vec::new(), Vec::new(), rest);
    while let Some((floats, histogram)) = rest.split_once("{{") {
        all.extend(values(floats)?);
        let (count, after) = histograms(histogram)?;
        natives.extend(all.len()..all.len() + count);
        all.resize(all.len() + count, None);
        rest = after;
    }
    all.extend(values(rest)?);
    Ok(Line { labels: labels(metric)?, values: all, natives, starts: Vec::new() })
}

/// How many histograms `…}}`, `…}}x5`, `…}}+{{…}}x5` stand for, and what follows.
fn histograms(text: &str) -> Result<(usize, &str), String> {
    let bad = || format!("expected a native histogram like {{{{count:1}}}}x3, found {text:?}");
    let (_, mut after) = text.split_once("}}").ok_or_else(bad)?;
    if let Some(step) = after.strip_prefix("+{{").or(after.strip_prefix("-{{")) {
        (_, after) = step.split_once("}}").ok_or_else(bad)?;
    }
    let (times, rest) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
    match times.strip_prefix('x').map(str::parse::<usize>) {
        None if times.is_empty() => Ok((1, rest)),
        Some(Ok(more)) if more < 100_000 => Ok((more + 1, rest)),
        _ => Err(bad()),
    }
}

/// Space-separated values: `1`, `_`, `stale`, and runs: `_x3`, `5x2`, `0+10x5`, `100-1x3`. A run
/// has one value more than its count says, since the first one is not counted.
pub(in crate::cli) fn values(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut out = Vec::new();
    for item in text.split_ascii_whitespace() {
        let bad = || format!("expected a value like 1, _, stale, 5x2 or 0+10x5, found {item:?}");
        let (value, count) = match item.rsplit_once('x') {
            Some((value, count)) => (value, count.parse::<usize>().map_err(|_| bad())?),
            None => (item, 0),
        };
        if out.len().saturating_add(count) > 1_000_000 {
            return Err(format!("{item:?} asks for too many values"));
        }
        if value == "_" {
            let missing = if item.contains('x') { count } else { 1 };
            out.extend(std::iter::repeat_n(None, missing));
            continue;
        }
        let (first, step) = match step_at(value) {
            Some((first, step)) => (number(first).ok_or_else(bad)?, number(step).ok_or_else(bad)?),
            None => (number(value).ok_or_else(bad)?, 0.0),
        };
        let mut next = first;
        for _ in 0..=count {
            out.push(Some(next));
            // Without a step the bits stay: a stale marker is still one at the end of its run.
            if step != 0.0 {
                next += step;
            }
        }
    }
    Ok(out)
}

/// Splits `0+10`, `0-10`, `-1e-3+2e+5` before the sign of the step.
fn step_at(text: &str) -> Option<(&str, &str)> {
    let mut before = 'e';
    let sign = text.char_indices().find(|(_, c)| {
        let found = matches!(c, '+' | '-') && !matches!(before, 'e' | 'E');
        before = *c;
        found
    });
    let (first, step) = text.split_at_checked(sign?.0)?;
    Some((first, step))
}

/// A float as PromQL writes it, or `stale`.
pub(in crate::cli) fn number(text: &str) -> Option<f64> {
    if text == "stale" { Some(stale_marker()) } else { text.parse().ok() }
}

/// The metric with its braces, and what follows.
pub(in crate::cli) fn split_metric(text: &str) -> (&str, &str) {
    let (mut quote, mut escaped, mut braces) = (None, false, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(open), '\\') if open != '`' => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') => {
                braces -= 1;
                if braces == 0 {
                    return text.split_at_checked(at + 1).unwrap_or((text, ""));
                }
            }
            (None, c) if c.is_whitespace() && braces == 0 => {
                // A blank may stand between the name and its braces.
                let rest = text.get(at..).unwrap_or("").trim_start();
                if !rest.starts_with('{') || rest.starts_with("{{") {
                    return text.split_at_checked(at).unwrap_or((text, ""));
                }
            }
            _ => {}
        }
    }
    (text, "")
}

fn labels(metric: &str) -> Result<Labels, String> {
    let inner = metric.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if inner.is_some_and(|inner| inner.trim().is_empty()) {
        return Ok(Labels::empty());
    }
    // A label set is a selector of equalities; the extra one only makes any of them acceptable.
    let (name, rest) = metric.split_once('{').unwrap_or((metric, "}"));
    let name = name.trim();
    let text = format!("{name}{{__any__=\"x\",{rest}");
    let expr = promql::parse(&text).map_err(|error| format!("{metric}: {error}"))?;
    let selectors = expr.selectors();
    let [selector] = selectors.as_slice() else {
        return Err(format!("{metric}: expected a metric"));
    };
    let mut pairs = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != "__any__") {
        if matcher.op != MatchOp::Equal {
            return Err(format!("{metric}: only = can stand in a metric"));
        }
        pairs.push((matcher.name.as_str(), matcher.value.as_str()));
    }
    debug_assert!(name.is_empty() || pairs.iter().any(|(label, _)| *label == METRIC_NAME));
    Ok(Labels::from_pairs(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_gaps() {
        let some = |values: &[f64]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        for (text, want) in [
            ("1 2.5 -3e-1", some(&[1.0, 2.5, -0.3])),
            ("0+10x2", some(&[0.0, 10.0, 20.0])),
            ("5-1x2 7x1", some(&[5.0, 4.0, 3.0, 7.0, 7.0])),
            ("-1e1+2e0x1", some(&[-10.0, -8.0])),
            ("_ 1 _x2", vec![None, Some(1.0), None, None]),
        ] {
            assert_eq!(values(text).unwrap(), want, "{text}");
        }
        assert!(
            values("Inf -Inf NaN stale").unwrap()[3].is_some_and(crate::model::sample::is_stale)
        );
        assert!(values("1x").is_err() && values("a").is_err() && values("1x999999999").is_err());
    }

    #[test]
    fn metrics() {
        for (text, want, rest) in [
            ("up 1", "up", "1"),
            ("up{} 1", "up", "1"),
            (r#"{__name__="up", a="x} y"} 1 2"#, r#"up{a="x} y"}"#, "1 2"),
            ("{} 7", "{}", "7"),
            (r#"up {a='1'} 2"#, r#"up{a="1"}"#, "2"),
        ] {
            let (metric, values) = split_metric(text);
            assert_eq!((labels(metric).unwrap().to_string().as_str(), values.trim()), (want, rest));
        }
        assert!(line("up{a!=\"b\"} 1").is_err());
        assert!(line("up{{schema:0}} {{count:1}}").is_err());
        let mixed = line("up 1 {{schema:0 count:1}}+{{sum:2 buckets:[1 2]}}x2 {{}} _ 5").unwrap();
        assert_eq!(mixed.natives, [1, 2, 3, 4]);
        assert_eq!(mixed.values, [Some(1.0), None, None, None, None, None, Some(5.0)]);
        assert!(line("up {{count:1}}y").is_err() && line("up {{count:1").is_err());
    }
}
