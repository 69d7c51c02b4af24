//! Values and timestamps as Go's `strconv` reads them, since every client library writes for that.

/// `NaN`, `+Inf`, `1e3`, `.5`; `None` for anything else, and for what does not fit a float.
pub fn value(text: &str) -> Option<f64> {
    if let Some(small) = small(text) {
        return Some(small);
    }
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    if bare.eq_ignore_ascii_case("nan") {
        return (bare.len() == text.len()).then_some(f64::NAN);
    }
    let value: f64 = text.parse().ok()?;
    // Too large a number is an error there and infinity here.
    let spelt_out = bare.starts_with(['i', 'I']);
    (value.is_finite() || spelt_out).then_some(value)
}

/// A whole number that a float holds exactly: most values are.
fn small(text: &str) -> Option<f64> {
    if text.is_empty() || text.len() > 15 {
        return None;
    }
    let mut number = 0_u64;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    Some(number as f64)
}

/// Milliseconds, as text 0.0.4 writes them.
pub fn milliseconds(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Seconds with a fraction, as OpenMetrics writes them, in milliseconds.
pub fn seconds(text: &str) -> Option<i64> {
    let millis = value(text)? * 1000.0;
    // The largest float below 2^63; beyond it the cast would saturate.
    (millis.abs() < 9.2e18).then_some(millis as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, want) in [
            ("0", Some(0.0)),
            ("999999999999999", Some(999_999_999_999_999.0)),
            ("9007199254740993", Some(9_007_199_254_740_992.0)),
            ("-1.5e3", Some(-1500.0)),
            ("+.5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e-400", Some(0.0)),
            ("+Inf", Some(f64::INFINITY)),
            ("-Inf", Some(f64::NEG_INFINITY)),
            ("inf", Some(f64::INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("1e999", None),
            ("", None),
            ("-NaN", None),
            ("1_000", None),
            ("0x1p-2", None),
            ("1,5", None),
            ("1\r", None),
            ("one", None),
        ] {
            assert_eq!(value(text), want, "{text:?}");
        }
        assert!(value("NaN").is_some_and(f64::is_nan) && value("nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn timestamps() {
        for (text, want) in [
            ("1520879607.789", Some(1_520_879_607_789)),
            ("-1", Some(-1000)),
            ("NaN", None),
            ("1e300", None),
        ] {
            assert_eq!(seconds(text), want, "{text:?}");
        }
        for (text, want) in [
            ("1395066363000", Some(1_395_066_363_000)),
            ("-5", Some(-5)),
            ("1.5", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(milliseconds(text), want, "{text:?}");
        }
    }
}
