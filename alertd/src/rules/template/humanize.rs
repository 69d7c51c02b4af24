//! Numbers for people: metric and binary prefixes, durations, percentages.

use super::number::significant;

/// `1.049M`, `12.5m`: four digits and a metric prefix.
pub(super) fn decimal(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value, 4);
    }
    if value.abs() < 1.0 {
        return fraction(value);
    }
    scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E", "Z", "Y"])
}

/// `1.5Gi`: four digits and a binary prefix.
pub(super) fn binary(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, 4);
    }
    scaled(value, 1024.0, &["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
}

/// `1d 2h 3m 4s`, `1.5s`, `2ms` of a number of seconds.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        return fraction(seconds) + "s";
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs() as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", significant(seconds.abs(), 4)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// `95.9%` of a ratio.
pub(super) fn percentage(ratio: f64) -> String {
    significant(ratio * 100.0, 4) + "%"
}

fn fraction(mut value: f64) -> String {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    significant(value, 4) + prefix
}

fn scaled(mut value: f64, base: f64, prefixes: &[&'static str]) -> String {
    let mut prefixes = prefixes.iter().peekable();
    let mut prefix = *prefixes.next().unwrap_or(&"");
    while let Some(next) = prefixes.next_if(|_| value.abs() >= base) {
        prefix = next;
        value /= base;
    }
    significant(value, 4) + prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        for (value, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (999.0, "999"),
            (1_048_576.0, "1.049M"),
            (0.012_5, "12.5m"),
            (-1234.0, "-1.234k"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(decimal(value), want);
        }
        for (value, want) in [(0.5, "0.5"), (1_048_576.0, "1Mi"), (1023.0, "1023")] {
            assert_eq!(binary(value), want);
        }
        for (value, want) in [
            (0.0, "0s"),
            (60.0, "1m 0s"),
            (135.0, "2m 15s"),
            (1.5, "1.5s"),
            (0.002, "2ms"),
            (3661.0, "1h 1m 1s"),
            (-90_061.0, "-1d 1h 1m 1s"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(duration(value), want);
        }
        assert_eq!(percentage(0.959), "95.9%");
        assert_eq!(percentage(1.0), "100%");
    }
}
