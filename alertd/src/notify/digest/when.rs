//! When a digest is due, by the clocks of its time zone (pure).

use chrono::{DateTime, Days, LocalResult, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::model::sample::Timestamp;

/// The last time at or before `now` at which it was `minute` of a day in that zone.
///
/// On a day without that time (clocks were put forward over it) it is the first time after it; on
/// one that has it twice, the first.
pub(super) fn last(now: Timestamp, minute: u16, zone: Tz) -> Timestamp {
    let Some(here) = local(now, zone) else { return now };
    for back in 0..=2 {
        let day = here.date_naive().checked_sub_days(Days::new(back));
        if let Some(at) = day.and_then(|day| on(day, minute, zone))
            && at <= now
        {
            return at;
        }
    }
    now
}

pub(super) fn local(at: Timestamp, zone: Tz) -> Option<DateTime<Tz>> {
    DateTime::from_timestamp_millis(at.0).map(|utc| utc.with_timezone(&zone))
}

fn on(day: NaiveDate, minute: u16, zone: Tz) -> Option<Timestamp> {
    let time = day.and_hms_opt(0, 0, 0)? + TimeDelta::minutes(minute.into());
    // No gap is longer than a day; most are an hour.
    for later in 0..=96 {
        match zone.from_local_datetime(&(time + TimeDelta::minutes(15 * later))) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => {
                return Some(Timestamp(at.timestamp_millis()));
            }
            LocalResult::None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_own_hours() {
        for (now, minute, zone, want) in [
            ("2026-11-21T08:00:00Z", 480, "UTC", "2026-11-21T08:00:00.000Z"),
            ("2026-11-21T07:59:59Z", 480, "UTC", "2026-11-20T08:00:00.000Z"),
            ("2026-11-21T07:30:00Z", 480, "Europe/Berlin", "2026-11-21T07:00:00.000Z"),
            ("2026-07-01T07:30:00Z", 480, "Europe/Berlin", "2026-07-01T06:00:00.000Z"),
            // Clocks went from 2:00 to 3:00, and from 3:00 to 2:00.
            ("2026-03-29T12:00:00Z", 150, "Europe/Berlin", "2026-03-29T01:00:00.000Z"),
            ("2026-10-25T12:00:00Z", 150, "Europe/Berlin", "2026-10-25T00:30:00.000Z"),
            ("2026-01-01T00:10:00Z", 0, "Asia/Kolkata", "2025-12-31T18:30:00.000Z"),
            // The day that Samoa left out.
            ("2011-12-30T12:00:00Z", 600, "Pacific/Apia", "2011-12-30T10:00:00.000Z"),
        ] {
            let now = Timestamp::parse_rfc3339(now).unwrap();
            assert_eq!(last(now, minute, zone.parse().unwrap()).rfc3339(), want, "{zone} {minute}");
        }
    }
}
