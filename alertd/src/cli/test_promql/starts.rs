//! Lines that say when counting began: `metric@st _ -30s-1mx2 *x3`, before the metric's own line.

use super::notation::split_metric;
use super::script::millis;

/// The metric, empty where the line is for all that follow, and the list. `None` for other lines.
pub(super) fn split(line: &str) -> Option<(&str, &str)> {
    let (metric, rest) = split_metric(line);
    // Without braces the mark is taken for a part of the name.
    let (metric, list) = match rest.strip_prefix("@st") {
        Some(list) => (metric, list),
        None => (metric.strip_suffix("@st")?, rest),
    };
    list.starts_with(char::is_whitespace).then_some((metric, list))
}

/// One start for each sample, in milliseconds relative to its time: `-1m`, `_` (none), `*` (as
/// before), and runs of them: `_x3`, `*x3`, `-1mx3`, `-30s-1mx3`. As with values, a run has one
/// more than its count says, except for `_`.
pub(super) fn parse(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut out: Vec<Option<i64>> = Vec::new();
    for item in text.split_ascii_whitespace() {
        let bad = || format!("expected a start like -1m, _, *x3 or -30s-1mx2, found {item:?}");
        let (value, count) = match item.split_once('x') {
            Some((value, count)) => (value, count.parse::<u16>().map_err(|_| bad())?),
            None => (item, 0),
        };
        if value == "_" {
            out.extend((0..count.max(1)).map(|_| None));
            continue;
        }
        let sign = value.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
        let (first, by) = value.split_at(sign.map_or(value.len(), |(at, _)| at));
        let step = if by.is_empty() { 0 } else { signed(by).ok_or_else(bad)? };
        let mut start = match first {
            "*" => out.iter().rev().flatten().next().copied().unwrap_or(0),
            first => signed(first).ok_or_else(bad)?,
        };
        for _ in 0..=count {
            out.push(Some(start));
            start += step;
        }
    }
    Ok(out)
}

fn signed(text: &str) -> Option<i64> {
    millis(text.strip_prefix('+').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_starts() {
        for (text, want) in [
            ("_ -1m 0", vec![None, Some(-60_000), Some(0)]),
            ("-30s-1mx2 _x2", vec![Some(-30_000), Some(-90_000), Some(-150_000), None, None]),
            ("+1s * *x1", vec![Some(1000); 4]),
            ("-5ms+10msx1", vec![Some(-5), Some(5)]),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
        assert!(parse("1parsec").is_err() && parse("-1mx").is_err() && parse("1m-x2").is_err());
        assert_eq!(split("a{b=\"c\"}@st _ -1m"), Some(("a{b=\"c\"}", " _ -1m")));
        assert_eq!(split("a{b=\"c @st d\"} 1"), None);
        assert_eq!((split("@st -1m"), split("a 1 2")), (Some(("", " -1m")), None));
    }
}
