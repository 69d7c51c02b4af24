//! Times at which a route tells nobody, or only then: Alertmanager's time intervals (pure).

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Local, TimeZone, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, de};

use crate::model::sample::Timestamp;

/// A time is inside when it is inside of each part that is given, which it is when one range of it
/// holds the time. A part that is given and empty holds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeInterval {
    times: Option<Vec<Times>>,
    weekdays: Option<Vec<Weekdays>>,
    days_of_month: Option<Vec<DaysOfMonth>>,
    months: Option<Vec<Months>>,
    years: Option<Vec<Years>>,
    location: Option<Location>,
}

/// Minutes of the day, the last one not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    start: u32,
    end: u32,
}

/// Days from Sunday, 0, to Saturday, 6.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Weekdays(RangeInclusive<i32>);

/// Days from 1 on; from -1 on they count from the end of the month.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DaysOfMonth(RangeInclusive<i32>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Months(RangeInclusive<i32>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Years(RangeInclusive<i32>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Location {
    Named(Tz),
    /// What this machine is set to.
    Local,
}

impl TimeInterval {
    pub fn contains(&self, at: Timestamp) -> bool {
        let Some(utc) = DateTime::from_timestamp_millis(at.0) else { return false };
        match self.location {
            None => self.contains_civil(&utc),
            Some(Location::Named(zone)) => self.contains_civil(&utc.with_timezone(&zone)),
            Some(Location::Local) => self.contains_civil(&utc.with_timezone(&Local)),
        }
    }

    fn contains_civil<Z: TimeZone>(&self, at: &DateTime<Z>) -> bool {
        let minute = at.hour() * 60 + at.minute();
        let weekday = at.weekday().num_days_from_sunday() as i32;
        let (day, days) = (at.day() as i32, i32::from(at.num_days_in_month()));
        any(&self.times, |times| times.start <= minute && minute < times.end)
            && any(&self.weekdays, |Weekdays(range)| range.contains(&weekday))
            && any(&self.days_of_month, |DaysOfMonth(range)| {
                let from_start = |day: i32| if day < 0 { days + day + 1 } else { day };
                let (first, last) = (from_start(*range.start()), from_start(*range.end()));
                first <= days && (first..=last.min(days)).contains(&day)
            })
            && any(&self.months, |Months(range)| range.contains(&(at.month() as i32)))
            && any(&self.years, |Years(range)| range.contains(&at.year()))
    }
}

fn any<T>(part: &Option<Vec<T>>, holds: impl Fn(&T) -> bool) -> bool {
    part.as_ref().is_none_or(|ranges| ranges.iter().any(holds))
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Times, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            start_time: String,
            end_time: String,
        }
        let written = Written::deserialize(from)?;
        let minute = |text: &str| {
            minute_of_day(text).ok_or_else(|| {
                de::Error::custom(format!("expected a time such as 09:30 or 24:00, found {text:?}"))
            })
        };
        let (start, end) = (minute(&written.start_time)?, minute(&written.end_time)?);
        match start < end {
            true => Ok(Times { start, end }),
            false => Err(de::Error::custom(format!(
                "expected a start_time before the end_time, found {} and {} (a night is two ranges)",
                written.start_time, written.end_time
            ))),
        }
    }
}

/// Of `HH:MM`, up to 24:00.
fn minute_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let fits = (hour < 24 && minute < 60) || (hour, minute) == (24, 0);
    fits.then_some(hour * 60 + minute)
}

impl<'de> Deserialize<'de> for Weekdays {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Weekdays, D::Error> {
        const NAMES: [&str; 7] =
            ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
        range(from, "weekdays such as monday:friday (the week begins with sunday)", |text| {
            NAMES.iter().position(|name| *name == text).map(|at| at as i32)
        })
        .map(Weekdays)
    }
}

impl<'de> Deserialize<'de> for DaysOfMonth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<DaysOfMonth, D::Error> {
        // As if every month had 28 days: what is no range there may be none in February.
        let order = |day: i32| if day < 0 { 28 + day } else { day };
        ends(from, "days of the month such as 1:15 or -3:-1", |text| {
            text.parse().ok().filter(|day: &i32| *day != 0 && (-31..=31).contains(day))
        })
        .and_then(|(first, last)| {
            match first < 0 && last > 0 || order(first) > order(last) {
                true => Err(de::Error::custom(format!(
                    "expected a first day that is never after the last, found {first}:{last}"
                ))),
                false => Ok(DaysOfMonth(first..=last)),
            }
        })
    }
}

impl<'de> Deserialize<'de> for Months {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Months, D::Error> {
        const NAMES: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        range(from, "months such as january:march or 4:6", |text| {
            let named = NAMES.iter().position(|name| *name == text).map(|at| at as i32 + 1);
            named.or_else(|| text.parse().ok())
        })
        .map(Months)
    }
}

impl<'de> Deserialize<'de> for Years {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Years, D::Error> {
        range(from, "years such as 2026 or 2026:2028", |text| text.parse().ok()).map(Years)
    }
}

/// `first:last`, or one for both, of which the first must not be greater.
fn range<'de, D: Deserializer<'de>>(
    from: D,
    expected: &str,
    member: impl Fn(&str) -> Option<i32>,
) -> Result<RangeInclusive<i32>, D::Error> {
    let (first, last) = ends(from, expected, member)?;
    match first <= last {
        true => Ok(first..=last),
        false => Err(de::Error::custom(format!("expected {expected}, found an inverted range"))),
    }
}

fn ends<'de, D: Deserializer<'de>>(
    from: D,
    expected: &str,
    member: impl Fn(&str) -> Option<i32>,
) -> Result<(i32, i32), D::Error> {
    let text = String::deserialize(from)?.to_lowercase();
    let (first, last) = text.split_once(':').unwrap_or((&text, &text));
    match (member(first), member(last)) {
        (Some(first), Some(last)) => Ok((first, last)),
        _ => Err(de::Error::custom(format!("expected {expected}, found {text:?}"))),
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Location, D::Error> {
        let name = String::deserialize(from)?;
        match name.as_str() {
            "" => Ok(Location::Named(Tz::UTC)),
            "Local" => Ok(Location::Local),
            name => name.parse().map(Location::Named).map_err(|_| {
                de::Error::custom(format!(
                    "expected a time zone such as Europe/Berlin, found {name:?}"
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pitcrew_exporter::config::yaml;
    use std::path::Path;

    fn read(text: &str) -> Result<TimeInterval, String> {
        yaml::parse(Path::new("am.yaml"), text).map_err(|error| error.to_string())
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
    }

    #[test]
    fn when_it_holds() {
        let office = "times: [ { start_time: '09:00', end_time: '17:00' } ]\n\
            weekdays: ['monday:friday']\nlocation: Europe/Berlin\n";
        let night = "times: [ { start_time: 22:00, end_time: '24:00' }, { start_time: '00:00', \
            end_time: '06:00' } ]\n";
        for (text, time, want) in [
            ("", "2026-11-21T12:00:00Z", true),
            ("times: []", "2026-11-21T12:00:00Z", false),
            // Friday; Berlin is an hour ahead in winter and two in summer.
            (office, "2026-11-20T07:59:59Z", false),
            (office, "2026-11-20T08:00:00Z", true),
            (office, "2026-11-20T15:59:59.999Z", true),
            (office, "2026-11-20T16:00:00Z", false),
            (office, "2026-07-17T07:00:00Z", true),
            (office, "2026-07-17T15:00:00Z", false),
            (office, "2026-11-21T12:00:00Z", false),
            (night, "2026-11-21T21:59:59Z", false),
            (night, "2026-11-21T23:59:59Z", true),
            (night, "2026-11-22T05:59:00Z", true),
            (night, "2026-11-22T06:00:00Z", false),
            // The clock in Berlin goes from 02:00 to 03:00, and back from 03:00 to 02:00.
            (HALF_PAST_TWO, "2026-03-29T00:59:00Z", false),
            (HALF_PAST_TWO, "2026-03-29T01:00:00Z", false),
            (HALF_PAST_TWO, "2026-10-25T00:30:00Z", true),
            (HALF_PAST_TWO, "2026-10-25T01:30:00Z", true),
            (HALF_PAST_TWO, "2026-10-25T02:30:00Z", false),
            ("days_of_month: ['-3:-1']", "2028-02-27T00:00:00Z", true),
            ("days_of_month: ['-3:-1']", "2028-02-26T23:59:59Z", false),
            ("days_of_month: ['-3:-1']", "2026-02-26T00:00:00Z", true),
            ("days_of_month: ['25:-3']", "2026-04-28T00:00:00Z", true),
            ("days_of_month: ['25:-3']", "2026-04-29T00:00:00Z", false),
            ("days_of_month: ['31']", "2026-04-30T00:00:00Z", false),
            ("days_of_month: ['30:31']", "2026-04-30T00:00:00Z", true),
            ("days_of_month: [5, '1:2']", "2026-04-05T00:00:00Z", true),
            ("days_of_month: ['-31:-30']", "2026-04-01T00:00:00Z", true),
            ("months: ['JANUARY:3', 12]", "2026-03-31T23:59:59Z", true),
            ("months: ['JANUARY:3', 12]", "2026-04-01T00:00:00Z", false),
            ("months: ['JANUARY:3', 12]", "2026-12-01T00:00:00Z", true),
            ("years: [2020, '2025:2026']", "2026-12-31T23:59:59Z", true),
            ("years: [2020, '2025:2026']", "2027-01-01T00:00:00Z", false),
            ("years: [2027]\nlocation: Pacific/Auckland", "2026-12-31T11:00:00Z", true),
            ("weekdays: [sunday]\nlocation: America/New_York", "2026-11-23T04:59:59Z", true),
            ("weekdays: [sunday]\nlocation: America/New_York", "2026-11-23T05:00:00Z", false),
            ("location: ''", "2026-11-23T05:00:00Z", true),
        ] {
            assert_eq!(read(text).unwrap().contains(at(time)), want, "{text} at {time}");
        }
    }

    const HALF_PAST_TWO: &str = "times: [ { start_time: '02:00', end_time: '03:00' } ]\n\
        location: Europe/Berlin\n";

    /// As Debian's `amtool check-config` refuses them.
    #[test]
    fn what_is_refused() {
        for (text, want) in [
            ("times: [ { start_time: '9:00', end_time: '10:00' } ]", "a time such as 09:30"),
            ("times: [ { start_time: '09:00', end_time: '24:01' } ]", "found \"24:01\""),
            ("times: [ { start_time: '10:00', end_time: '09:00' } ]", "before the end_time"),
            ("times: [ { start_time: '10:00', end_time: '10:00' } ]", "before the end_time"),
            ("times: [ { end_time: '10:00' } ]", "start_time"),
            ("weekdays: ['1']", "expected weekdays"),
            ("weekdays: ['saturday:monday']", "an inverted range"),
            ("weekdays: ['monday: friday']", "expected weekdays"),
            ("days_of_month: ['0']", "expected days of the month"),
            ("days_of_month: ['32']", "expected days of the month"),
            ("days_of_month: ['-1:5']", "found -1:5"),
            ("days_of_month: ['30:-3']", "found 30:-3"),
            ("months: ['5:1']", "an inverted range"),
            ("months: ['1:2:3']", "expected months"),
            ("months: [feb]", "expected months"),
            ("years: ['2021:2020']", "an inverted range"),
            ("location: Mars/Phobos", "a time zone such as"),
            ("location: europe/berlin", "a time zone such as"),
            ("time_zone: UTC", "unknown field"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
