//! RFC 3339 times, as GitHub writes them, to seconds since the Unix epoch.

use serde::{Deserialize, Deserializer, de};

/// Reads `2026-11-21T06:05:33Z`, with or without a fraction, or with an offset such as `+02:00`.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(at)?;
    let mut clock = clock.split(':');
    let (hour, minute) = (digits(clock.next()?)?, digits(clock.next()?)?);
    let second = clock.next()?;
    if !second.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let second: f64 = second.parse().ok()?;
    let known = (1..=12).contains(&month) && (1..=31).contains(&day) && year <= 9999;
    let whole = date.next().is_none() && clock.next().is_none();
    // A leap second is written as 60.
    if !known || !whole || hour > 23 || minute > 59 || second >= 61.0 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 - offset(zone)?;
    Some(seconds as f64 + second)
}

/// Reads an HTTP date such as `Sat, 21 Nov 2026 06:05:33 GMT`, to whole seconds.
pub(super) fn parse_http(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let day = digits(parts.next()?)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (year, clock) = (digits(parts.next()?)?, parts.next()?);
    parse(&format!("{year:04}-{month:02}-{day:02}T{clock}Z")).map(|seconds| seconds as i64)
}

/// Whole seconds as GitHub writes them: `2026-11-21T06:05:33Z`.
pub(super) fn format(seconds: f64) -> String {
    let seconds = seconds as i64;
    let (day, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(day);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of so many days since 1970-01-01.
pub(super) fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// For `#[serde(deserialize_with = …)]`.
pub(super) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    read(&String::deserialize(from)?)
}

/// As `required`, for a field that may be null or empty; with `default`, one that may be missing.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let text = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty());
    text.map(|text| read(&text)).transpose()
}

fn read<E: de::Error>(text: &str) -> Result<f64, E> {
    parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &"an RFC 3339 time"))
}

fn digits(text: &str) -> Option<i64> {
    let fits = (1..=4).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (digits(hours)? * 3600 + digits(minutes)? * 60))
}

/// Days since 1970-01-01 in the Gregorian calendar: years are counted from March, so that the leap
/// day is the last one of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * from_march + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates() {
        assert_eq!(parse_http("Sat, 21 Nov 2026 06:05:33 GMT"), Some(1_795_241_133));
        for text in ["", "Sat, 21 Nov", "Sat, 21 Foo 2026 06:05:33 GMT", "Sat, é"] {
            assert_eq!(parse_http(text), None, "{text}");
        }
    }

    #[test]
    fn known_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2000-02-29T12:00:00Z", 951_825_600.0),
            ("2026-11-21T06:05:33Z", 1_795_241_133.0),
            ("2026-11-21T08:05:33.250+02:00", 1_795_241_133.25),
            ("1969-12-31T23:59:59Z", -1.0),
            ("2016-12-31T23:59:60Z", 1_483_228_800.0),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
            let whole = text.ends_with('Z') && !text.contains(":60");
            assert!(!whole || format(seconds) == text, "{text}: {}", format(seconds));
        }
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T06:05:33",
            "2026-11-21T06:05:infZ",
            "2026-11-21T06:05:1e9Z",
            "2026-11-21T06:05:33+2",
            "99999999-01-01T00:00:00Z",
            "é026-11-21T06:05:33é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
