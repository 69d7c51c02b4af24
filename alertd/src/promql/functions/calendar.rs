//! Calendar fields in UTC: `year`, `hour`, `days_in_month` and the like.

use super::Call;
use crate::model::labels::Labels;
use crate::promql::error::PromqlError;
use crate::promql::eval::{Frame, Row};

/// A moment in UTC. Months and days count from 1, weekdays from Sunday = 0.
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) weekday: i64,
    pub(super) year_day: i64,
    pub(super) month_days: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
}

/// `pick` of each value of the argument as Unix seconds; without one, of the evaluation's time.
pub(super) fn field(call: &Call<'_>, pick: fn(&Civil) -> i64) -> Result<Frame, PromqlError> {
    let rows = if call.args.is_empty() {
        let values = call.steps.times().map(|millis| millis as f64 / 1000.0).collect();
        vec![Row { labels: Labels::empty(), drop_name: false, values }]
    } else {
        call.vector(0)?
    };
    call.eval.map(rows, |value| if value.is_nan() { value } else { pick(&civil(value)) as f64 })
}

fn civil(seconds: f64) -> Civil {
    const DAY: i64 = 86_400;
    // Beyond this no calendar means anything, and the arithmetic stays far from overflow.
    let seconds = seconds.clamp(-1e14, 1e14) as i64;
    let days = seconds.div_euclid(DAY);
    let within = seconds.rem_euclid(DAY);
    // Count from 0000-03-01, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * from_march + 2) / 153;
    let day = from_march - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month - 1).unwrap_or(0);
    Civil {
        year,
        month,
        day,
        weekday: (days + 4).rem_euclid(7),
        year_day: lengths.iter().take(before).sum::<i64>() + day,
        month_days: lengths.get(before).copied().unwrap_or(31),
        hour: within / 3600,
        minute: within / 60 % 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (seconds, want) in [
            (0.0, [1970, 1, 1, 4, 1, 31, 0, 0]),
            (951_782_399.0, [2000, 2, 28, 1, 59, 29, 23, 59]),
            (951_782_400.0, [2000, 2, 29, 2, 60, 29, 0, 0]),
            (-1.0, [1969, 12, 31, 3, 365, 31, 23, 59]),
            (4_107_542_400.0, [2100, 3, 1, 1, 60, 31, 0, 0]),
        ] {
            let c = civil(seconds);
            let got =
                [c.year, c.month, c.day, c.weekday, c.year_day, c.month_days, c.hour, c.minute];
            assert_eq!(got, want, "{seconds}");
        }
    }
}
