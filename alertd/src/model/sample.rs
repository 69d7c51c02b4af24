//! `Timestamp`, `Sample`, `Series`, and the NaN that ends a series.

use std::time::Duration;

use super::labels::Labels;

/// Milliseconds since the Unix epoch, as Prometheus counts them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub timestamp: Timestamp,
    pub value: f64,
}

/// One label set and its samples, oldest first, no two at one timestamp.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub samples: Vec<Sample>,
}

const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker: the one NaN that says a series ended at its timestamp.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Tells the stale marker from any other NaN, which is a value like others.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

impl Timestamp {
    pub fn from_seconds(seconds: f64) -> Timestamp {
        Timestamp((seconds * 1000.0).round() as i64)
    }

    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The time from `earlier` to `self`; zero when the clock went back.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn plus(self, time: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, time: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// As RFC 3339 in UTC with milliseconds: `2026-11-21T05:36:49.000Z`.
    pub fn rfc3339(self) -> String {
        let days = self.0.div_euclid(86_400_000);
        let rest = self.0.rem_euclid(86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
        let (second, milli) = (rest / 1000 % 60, rest % 1000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// Reads RFC 3339 with any offset and fraction; what is finer than a millisecond is cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let (date, time) = text.split_once('T')?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let zone = time.find(['Z', '+', '-'])?;
        let (clock, zone) = time.split_at(zone);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
        let digits = fraction.bytes().all(|byte| byte.is_ascii_digit()) && !fraction.is_empty();
        let milli = fraction.chars().chain("00".chars()).take(3).collect::<String>();
        let milli: i64 = milli.parse().ok().filter(|_| digits)?;
        let behind = match zone.strip_prefix(['+', '-']) {
            None => (zone == "Z").then_some(0)?,
            Some(offset) => {
                let [hours, minutes] = numbers(offset, ':', [2, 2])?;
                let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
                if zone.starts_with('-') { minutes } else { -minutes }
            }
        };
        let days = days(year, month, day);
        let real = civil(days) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
        let seconds = ((days * 24 + hour) * 60 + minute + behind) * 60 + second;
        real.then_some(Timestamp(seconds * 1000 + milli))
    }
}

/// `text` split into numbers of exactly these many digits.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut out = [0; N];
    for (slot, digits) in out.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        let plain = part.bytes().all(|byte| byte.is_ascii_digit());
        *slot = part.parse().ok().filter(|_| plain)?;
    }
    parts.next().is_none().then_some(out)
}

/// Days since 1970-01-01: what `civil` turns back.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a count of days since 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, i64, i64) {
    // Count from 0000-03-01, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_of_known_days() {
        for (millis, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_643_114_203_000, "2022-01-25T12:36:43.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(millis).rfc3339(), want);
        }
    }

    #[test]
    fn rfc3339_is_read_back() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.123456Z", Some(951_782_400_123)),
            ("2000-02-29T01:30:00.5+01:30", Some(951_782_400_500)),
            ("1969-12-31T18:59:59.999-05:00", Some(-1)),
            ("2001-02-29T00:00:00Z", None),
            ("2000-13-01T00:00:00Z", None),
            ("2000-02-29T24:00:00Z", None),
            ("2000-02-29T00:00:00", None),
            ("2000-02-29T00:00:00.Z", None),
            ("2000-02-29T00:00:00+99:00", None),
            ("2000-2-29T00:00:00Z", None),
            ("2000-02-29 00:00:00Z", None),
            ("é", None),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), want.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale(stale_marker()));
        assert!(!is_stale(f64::NAN));
        assert!(stale_marker().is_nan());
    }
}
