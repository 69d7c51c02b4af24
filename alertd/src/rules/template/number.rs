//! Numbers and times as Go prints them.

use crate::model::sample::Timestamp;

/// Go's `%v` of a float64: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn shortest(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = split(&format!("{value:e}"));
    lay_out(value < 0.0, &digits, exponent, 6)
}

/// Go's `%.<precision>g`: at most that many significant digits, trailing zeros dropped.
pub(super) fn significant(value: f64, precision: usize) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = split(&format!("{value:.*e}", precision.saturating_sub(1)));
    lay_out(value < 0.0, &digits, exponent, precision as i32)
}

/// Go's `%e` with the shortest digits: `1.5e+00`. The API gives alert values so.
pub fn scientific(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = split(&format!("{value:e}"));
    with_exponent(value < 0.0, &digits, exponent)
}

/// Go's `Time.String()` in UTC: `2022-01-25 12:36:43.5 +0000 UTC`.
pub(super) fn time(at: Timestamp) -> String {
    let text = at.rfc3339();
    let text = text.trim_end_matches('Z').replacen('T', " ", 1);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    match fraction.trim_end_matches('0') {
        "" => format!("{whole} +0000 UTC"),
        fraction => format!("{whole}.{fraction} +0000 UTC"),
    }
}

/// Go's `Duration.String()`: `1h0m1.5s`, `2ms`, `0s`.
pub(crate) fn duration(seconds: f64) -> String {
    let nanos = (seconds * 1e9) as i64;
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let fraction = |unit: u64| {
        let text = format!("{:.9}", nanos as f64 / unit as f64);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{:.9}", rest as f64 / 1e9);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// Significant digits without trailing zeros, and the exponent of the first one.
fn split(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}

fn lay_out(negative: bool, digits: &str, exponent: i32, precision: i32) -> String {
    if exponent < -4 || exponent >= precision {
        return with_exponent(negative, digits, exponent);
    }
    let sign = if negative { "-" } else { "" };
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if whole == 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    match digits.split_at_checked(whole) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
    }
}

fn with_exponent(negative: bool, digits: &str, exponent: i32) -> String {
    let sign = if negative { "-" } else { "" };
    let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
    let point = if rest.is_empty() { "" } else { "." };
    let way = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{way}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_go_prints_them() {
        for (value, want) in [
            (0.0, "0"),
            (0.1, "0.1"),
            (100.0, "100"),
            (123_456.0, "123456"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5, "-2.5"),
            (1_234_567.5, "1.2345675e+06"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shortest(value), want);
        }
        for (value, want) in [
            (1.048_576, "1.049"),
            (999.96, "1000"),
            (0.001_234_56, "0.001235"),
            (100.0, "100"),
            (12_345.0, "1.234e+04"),
            (0.0, "0"),
        ] {
            assert_eq!(significant(value, 4), want);
        }
        assert_eq!(scientific(1.0), "1e+00");
        assert_eq!(scientific(-0.025), "-2.5e-02");
        assert_eq!(scientific(0.0), "0e+00");
    }

    #[test]
    fn times_and_durations_as_go_prints_them() {
        assert_eq!(time(Timestamp(1_643_114_203_000)), "2022-01-25 12:36:43 +0000 UTC");
        assert_eq!(time(Timestamp(1_643_114_203_120)), "2022-01-25 12:36:43.12 +0000 UTC");
        for (seconds, want) in
            [(0.0, "0s"), (3600.0, "1h0m0s"), (90.5, "1m30.5s"), (0.002, "2ms"), (-1.5, "-1.5s")]
        {
            assert_eq!(duration(seconds), want);
        }
    }
}
