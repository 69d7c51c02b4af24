//! Go's times and durations in templates: values, methods, layouts.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use chrono_tz::Tz;
use gotmpl::{TemplateError, Value};

use super::number;
use super::record::{kind, record, text};
use crate::model::sample::Timestamp;

type Outcome = Result<Value, TemplateError>;

/// Go's reference time, piece by piece, longer ones first, and what chrono calls each.
const LAYOUT: &[(&str, &str)] = &[
    ("January", "%B"),
    ("Monday", "%A"),
    ("2006", "%Y"),
    ("-07:00", "%:z"),
    ("Z07:00", "\0%:z"),
    ("-0700", "%z"),
    ("Z0700", "\0%z"),
    ("MST", "%Z"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// Go's zero time, 0001-01-01T00:00:00Z.
pub(crate) const NEVER: Timestamp = Timestamp(-62_135_596_800_000);

fn bad<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Exec(message.into()))
}

/// A time as templates hold it, shown in `zone`.
pub(crate) fn time(at: Timestamp, zone: &str) -> Value {
    record("Time", [("ms", Value::Int(at.0)), ("zone", text(zone))])
}

/// A length of time, in milliseconds.
pub(crate) fn duration(millis: i64) -> Value {
    record("Duration", [("ms", Value::Int(millis))])
}

/// Milliseconds of a time or of a duration.
pub(crate) fn millis(value: &Value) -> i64 {
    match value.field("ms") {
        Some(Value::Int(millis)) => *millis,
        _ => 0,
    }
}

pub(crate) fn is(value: &Value, kind: &str) -> bool {
    self::kind(value) == Some(kind)
}

fn civil(value: &Value) -> DateTime<Tz> {
    let zone = match value.field("zone") {
        Some(Value::String(name)) => name.parse().unwrap_or(Tz::UTC),
        _ => Tz::UTC,
    };
    DateTime::from_timestamp_millis(millis(value)).unwrap_or_default().with_timezone(&zone)
}

/// As Go prints a time.
pub(crate) fn print_time(value: &Value) -> String {
    let at = civil(value);
    let fraction = match millis(value).rem_euclid(1000) {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    at.format(&format!("%Y-%m-%d %H:%M:%S{fraction} %z %Z")).to_string()
}

pub(crate) fn print_duration(value: &Value) -> String {
    number::duration(millis(value) as f64 / 1000.0)
}

/// The time in another zone.
pub(crate) fn in_zone(name: &str, value: &Value) -> Outcome {
    let name = if name.is_empty() { "UTC" } else { name };
    if name.parse::<Tz>().is_err() {
        return bad(format!("unknown time zone {name}"));
    }
    if !is(value, "Time") {
        return bad(format!("expected a time, found {}", value.type_name()));
    }
    Ok(time(Timestamp(millis(value)), name))
}

/// By Go's layout, as in `2006-01-02 15:04`.
pub(crate) fn format(layout: &str, value: &Value) -> Outcome {
    if !is(value, "Time") {
        return bad(format!("expected a time, found {}", value.type_name()));
    }
    let at = civil(value);
    let pattern = pattern(layout, Some(millis(value)));
    // At offset zero, `Z07:00` is a `Z`.
    let zero = at.offset().to_string() == "UTC";
    let pattern = match zero {
        true => pattern.replace("\0%:z", "Z").replace("\0%z", "Z"),
        false => pattern.replace('\0', ""),
    };
    Ok(text(&at.format(&pattern).to_string()))
}

/// The time of a text in Go's layout, read as UTC unless it says otherwise.
pub(crate) fn parse(layout: &str, given: &str) -> Outcome {
    let pattern = pattern(layout, None).replace("\0%:z", "%#z").replace("\0%z", "%#z");
    let midnight = || format!("{pattern} %H:%M:%S");
    let given = if given.ends_with('Z') && pattern.ends_with("%#z") {
        format!("{}+00:00", given.trim_end_matches('Z'))
    } else {
        given.to_owned()
    };
    let zoned = DateTime::parse_from_str(&given, &pattern).map(|at| at.timestamp_millis());
    let naive = |text: &str, pattern: &str| {
        NaiveDateTime::parse_from_str(text, pattern).map(|at| at.and_utc().timestamp_millis())
    };
    let found = zoned
        .or_else(|_| naive(&given, &pattern))
        .or_else(|_| naive(&format!("{given} 00:00:00"), &midnight()));
    match found {
        Ok(millis) => Ok(time(Timestamp(millis), "UTC")),
        Err(_) => bad(format!("cannot read {given:?} as {layout:?}")),
    }
}

/// chrono's pattern for a layout. Fractions are written out for `millis`.
fn pattern(layout: &str, millis: Option<i64>) -> String {
    let mut pattern = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((digits, zeros, after)) = fraction(rest) {
            let of = millis.map(|millis| format!("{:03}000000", millis.rem_euclid(1000)));
            match of {
                Some(nanos) => {
                    let shown = nanos.get(..digits).unwrap_or(&nanos);
                    let shown = if zeros { shown } else { shown.trim_end_matches('0') };
                    if zeros || !shown.is_empty() {
                        pattern.push(first);
                        pattern.push_str(shown);
                    }
                }
                None => pattern.push_str("%.f"),
            }
            rest = after;
            continue;
        }
        let known = LAYOUT.iter().find_map(|(piece, chrono)| {
            let after = rest.strip_prefix(piece)?;
            let word = matches!(*piece, "Jan" | "Mon");
            let goes_on = after.starts_with(|c: char| c.is_ascii_lowercase());
            (!word || !goes_on).then_some((*chrono, after))
        });
        match known {
            Some((chrono, after)) => {
                pattern.push_str(chrono);
                rest = after;
            }
            None => {
                if first == '%' {
                    pattern.push('%');
                }
                pattern.push(first);
                rest = rest.strip_prefix(first).unwrap_or("");
            }
        }
    }
    pattern
}

/// `.000` or `,999` at the start: how many digits, whether zeros stay, and what follows.
fn fraction(text: &str) -> Option<(usize, bool, &str)> {
    let after = text.strip_prefix(['.', ','])?;
    let digit = after.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let rest = after.trim_start_matches(digit);
    let ends = !rest.starts_with(|c: char| c.is_ascii_digit());
    let digits = after.len() - rest.len();
    (ends && digits <= 9).then_some((digits, digit == '0', rest))
}

pub(crate) fn time_member(value: &Value, name: &str, args: &[Value]) -> Outcome {
    let at = civil(value);
    let int = |number: i64| Ok(Value::Int(number));
    match (name, args) {
        ("Format", [Value::String(layout)]) => format(layout, value),
        ("Sub", [other]) if is(other, "Time") => Ok(duration(millis(value) - millis(other))),
        ("Add", [length]) if nanos(length).is_some() => {
            moved(value, nanos(length).unwrap_or(0) / 1_000_000)
        }
        ("After", [other]) if is(other, "Time") => Ok(Value::Bool(millis(value) > millis(other))),
        ("Before", [other]) if is(other, "Time") => Ok(Value::Bool(millis(value) < millis(other))),
        ("Equal", [other]) if is(other, "Time") => Ok(Value::Bool(millis(value) == millis(other))),
        ("String", []) => Ok(text(&print_time(value))),
        ("UTC" | "Local", []) => Ok(time(Timestamp(millis(value)), "UTC")),
        ("Unix", []) => int(millis(value).div_euclid(1000)),
        ("UnixMilli", []) => int(millis(value)),
        ("UnixNano", []) => int(millis(value).saturating_mul(1_000_000)),
        ("IsZero", []) => Ok(Value::Bool(millis(value) == NEVER.0)),
        ("Year", []) => int(at.year().into()),
        ("Month", []) => Ok(text(&at.format("%B").to_string())),
        ("Weekday", []) => Ok(text(&at.format("%A").to_string())),
        ("Day", []) => int(at.day().into()),
        ("YearDay", []) => int(at.ordinal().into()),
        ("Hour", []) => int(at.hour().into()),
        ("Minute", []) => int(at.minute().into()),
        ("Second", []) => int(at.second().into()),
        ("Nanosecond", []) => int(millis(value).rem_euclid(1000) * 1_000_000),
        ("Location", []) => Ok(text(at.timezone().name())),
        ("Truncate", [by]) if nanos(by).is_some_and(|by| by >= 1_000_000) => {
            // From Go's zero time on, as whole days and shorter spans are from any midnight.
            let by = nanos(by).unwrap_or(1_000_000) / 1_000_000;
            moved(value, -(millis(value) - NEVER.0).rem_euclid(by))
        }
        _ => bad(format!(
            "can't evaluate field {name} in type *time.Time with {} arguments",
            args.len()
        )),
    }
}

/// Nanoseconds of a duration or of a plain number.
fn nanos(value: &Value) -> Option<i64> {
    match value {
        Value::Int(nanos) => Some(*nanos),
        other => is(other, "Duration").then(|| millis(other).saturating_mul(1_000_000)),
    }
}

fn moved(value: &Value, by: i64) -> Outcome {
    let zone = match value.field("zone") {
        Some(Value::String(zone)) => zone.to_string(),
        _ => "UTC".to_owned(),
    };
    Ok(time(Timestamp(millis(value).saturating_add(by)), &zone))
}

pub(crate) fn duration_member(value: &Value, name: &str, args: &[Value]) -> Outcome {
    let millis = millis(value);
    let unit = |arg: &Value| nanos(arg).map(|nanos| nanos / 1_000_000);
    match (name, args) {
        ("String", []) => Ok(text(&print_duration(value))),
        ("Seconds", []) => Ok(Value::Float(millis as f64 / 1e3)),
        ("Minutes", []) => Ok(Value::Float(millis as f64 / 6e4)),
        ("Hours", []) => Ok(Value::Float(millis as f64 / 3.6e6)),
        ("Milliseconds", []) => Ok(Value::Int(millis)),
        ("Nanoseconds", []) => Ok(Value::Int(millis.saturating_mul(1_000_000))),
        ("Abs", []) => Ok(duration(millis.saturating_abs())),
        ("Truncate", [by]) if unit(by).is_some_and(|by| by > 0) => {
            Ok(duration(millis - millis % unit(by).unwrap_or(1)))
        }
        ("Round", [by]) if unit(by).is_some_and(|by| by > 0) => {
            let by = unit(by).unwrap_or(1);
            let half = if millis < 0 { -(by / 2) } else { by / 2 };
            Ok(duration((millis + half) / by * by))
        }
        _ => bad(format!(
            "can't evaluate field {name} in type time.Duration, {} arguments",
            args.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_go() {
        let at = time(Timestamp(1_700_000_000_120), "UTC");
        let berlin = in_zone("Europe/Berlin", &at).unwrap();
        for (layout, in_utc, in_berlin) in [
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"),
            (
                "Mon, 02 Jan 2006 15:04:05 MST",
                "Tue, 14 Nov 2023 22:13:20 UTC",
                "Tue, 14 Nov 2023 23:13:20 CET",
            ),
            (
                "Monday January _2 3:04PM -0700",
                "Tuesday November 14 10:13PM +0000",
                "Tuesday November 14 11:13PM +0100",
            ),
            ("15:04:05.000 .999999", "22:13:20.120 .12", "23:13:20.120 .12"),
            ("1/2/06 100%d", "11/14/23 1100%d", "11/14/23 1100%d"),
            ("Janet Mondays", "Janet Tuesdays", "Janet Tuesdays"),
        ] {
            let shown = |at| match format(layout, at).unwrap() {
                Value::String(text) => text.to_string(),
                _ => String::new(),
            };
            assert_eq!((shown(&at), shown(&berlin)), (in_utc.into(), in_berlin.into()), "{layout}");
        }
        assert_eq!(print_time(&at), "2023-11-14 22:13:20.12 +0000 UTC");
        assert_eq!(print_time(&berlin), "2023-11-14 23:13:20.12 +0100 CET");
        for (layout, given, want) in [
            ("2006-01-02", "2023-11-14", 1_699_920_000_000),
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2006-01-02 15:04", "2023-11-14 22:13", 1_699_999_980_000),
        ] {
            assert_eq!(millis(&parse(layout, given).unwrap()), want, "{given}");
        }
        assert!(parse("2006-01-02", "soon").is_err());
    }
}
