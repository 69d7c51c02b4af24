//! Lengths of time as Prometheus writes them: `15s`, `1h30m`, `7d`.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

/// Units from the longest to the shortest, in milliseconds; each may stand once, in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration such as 15s or 1h30m, found {0:?}")]
pub struct NotADuration(String);

/// Reads `1h30m` and the like; `0` alone needs no unit.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let wrong = || NotADuration(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut from, mut total) = (text, 0, 0_u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let left = UNITS.get(from..).unwrap_or(&[]);
        let at = left.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis = number.checked_mul(left[at].1).ok_or_else(wrong)?;
        total = total.checked_add(millis).ok_or_else(wrong)?;
        from += at + 1;
        rest = tail;
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Ok(Duration::from_millis(total)),
    }
}

/// The shortest text that `parse` reads back to the same time.
pub fn format(time: Duration) -> String {
    let mut left = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        // As Prometheus: weeks and years only when nothing is left over, so `8d` stays `8d`.
        if matches!(unit, "y" | "w") && left % millis != 0 {
            continue;
        }
        if left >= millis {
            text.push_str(&format!("{}{unit}", left / millis));
            left %= millis;
        }
    }
    text
}

/// For `#[serde(with = "duration")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    struct Text;
    impl de::Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as 15s or 1h30m")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }
    }
    from.deserialize_str(Text)
}

pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*time))
}

/// For `#[serde(default, with = "duration::optional")]`.
pub mod optional {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }

    pub fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, to),
            None => to.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_prometheus() {
        for (text, seconds, back) in [
            ("0", 0.0, "0s"),
            ("15s", 15.0, "15s"),
            ("1h30m", 5400.0, "1h30m"),
            ("90m", 5400.0, "1h30m"),
            ("7d", 604_800.0, "1w"),
            ("8d", 691_200.0, "8d"),
            ("1m500ms", 60.5, "1m500ms"),
        ] {
            let time = parse(text).unwrap();
            assert_eq!(time, Duration::from_secs_f64(seconds), "{text}");
            assert_eq!(format(time), back, "{text}");
        }
        for text in ["", "5", "s", "1s1h", "1m1m", "-1s", "1.5h", "1 h", "99999999999999y"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
