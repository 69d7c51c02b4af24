//! When a group is evaluated next. Pure.

use std::time::Duration;

use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// Evaluations of one group are `interval` apart, at `phase` after each whole interval since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    interval: i64,
    phase: i64,
}

/// The next evaluation, and how many were passed over since the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub at: Timestamp,
    pub missed: u64,
}

impl Schedule {
    /// The phase comes from the group's identity, so that every run of the program has the same one
    /// and groups spread over the interval. With `soon`, the first evaluation comes within that time.
    pub fn new(
        file: &str,
        group: &str,
        interval: Duration,
        soon: Option<Duration>,
        now: Timestamp,
    ) -> Schedule {
        let hash = Labels::from_pairs([("file", file), ("group", group)]).fingerprint().0;
        let interval = millis(interval).max(1);
        let hash = i64::try_from(hash >> 1).unwrap_or(0);
        let phase = match soon.map(millis).filter(|soon| *soon < interval) {
            None => hash % interval,
            Some(soon) => (now.0 + hash % soon.max(1)).rem_euclid(interval),
        };
        Schedule { interval, phase }
    }

    /// The first evaluation.
    pub fn first(&self, now: Timestamp) -> Slot {
        let since = (now.0 - self.phase).rem_euclid(self.interval);
        let wait = if since == 0 { 0 } else { self.interval - since };
        Slot { at: Timestamp(now.0 + wait), missed: 0 }
    }

    /// The one after `last`. Missed ones are counted and never caught up: of those whose time has
    /// come, only the newest is done. A clock that went back begins anew from where it is.
    pub fn after(&self, last: Timestamp, now: Timestamp) -> Slot {
        if now.0 < last.0.saturating_sub(self.interval) {
            return self.first(now);
        }
        let due = last.0 + self.interval;
        let missed = (now.0 - due).max(0) / self.interval;
        Slot { at: Timestamp(due + missed * self.interval), missed: missed.unsigned_abs() }
    }

    /// How long to sleep before looking at the clock again: in steps, since it may be set.
    pub fn wait(&self, slot: Slot, now: Timestamp) -> Option<Duration> {
        let left = slot.at.since(now);
        (!left.is_zero()).then(|| left.min(Duration::from_secs(30)))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_phase_is_the_groups_own_and_stays() {
        let schedule = |group, now| Schedule::new("f", group, MINUTE, None, Timestamp(now));
        assert_eq!(schedule("a", 0), schedule("a", 123_456));
        assert_ne!(schedule("a", 0), schedule("b", 0));
        let now = Timestamp(10_000_123);
        let first = schedule("a", 0).first(now);
        assert!(first.at >= now && first.at < now.plus(MINUTE));
        assert_eq!(schedule("a", 0).first(first.at), first);
    }

    #[test]
    fn the_first_evaluation_can_be_soon() {
        for now in [0, 59_999, 10_000_123] {
            let now = Timestamp(now);
            for soon in [Duration::ZERO, Duration::from_millis(500)] {
                let first = Schedule::new("f", "g", MINUTE, Some(soon), now).first(now);
                assert!(first.at >= now && first.at <= now.plus(soon), "{first:?}");
            }
        }
    }

    #[test]
    fn missed_ones_are_counted_and_not_caught_up() {
        let schedule = Schedule { interval: 60_000, phase: 0 };
        for (last, now, at, missed) in [
            (0, 1000, 60_000, 0),
            (0, 60_000, 60_000, 0),
            (0, 119_999, 60_000, 0),
            (0, 120_000, 120_000, 1),
            (0, 605_000, 600_000, 9),
            // The clock went back a little, then by hours.
            (600_000, 590_000, 660_000, 0),
            (36_000_000, 605_000, 660_000, 0),
        ] {
            let slot = schedule.after(Timestamp(last), Timestamp(now));
            assert_eq!(slot, Slot { at: Timestamp(at), missed }, "{last} {now}");
        }
    }
}
