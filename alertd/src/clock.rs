//! The one reader of the wall clock in this crate; everything else takes `now` as an argument.

use std::time::{Duration, Instant};

use pitcrew_exporter::clock;

use crate::model::sample::Timestamp;

/// Wall clocks that go ahead by less are only corrected.
const STEP: Duration = Duration::from_secs(30);

pub fn now() -> Timestamp {
    Timestamp::from_seconds(clock::unix_seconds())
}

/// Tells a wall clock that was set forward from time that has passed.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    wall: Timestamp,
    steady: Instant,
}

impl Steps {
    pub fn begin() -> Steps {
        Steps { wall: now(), steady: clock::monotonic() }
    }

    /// By how much the wall clock was set forward since the last look. The sleep of the machine
    /// counts as such: nobody was awake to renew anything.
    pub fn ahead(&mut self) -> Option<Duration> {
        self.look(now(), clock::monotonic())
    }

    fn look(&mut self, wall: Timestamp, steady: Instant) -> Option<Duration> {
        let passed = steady.saturating_duration_since(self.steady);
        let ahead = wall.since(self.wall).saturating_sub(passed);
        *self = Steps { wall, steady };
        (ahead >= STEP).then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_forward_is_told_from_time_that_passes() {
        let begin = clock::monotonic();
        let mut steps = Steps { wall: Timestamp(1_000_000), steady: begin };
        // (wall clock and time since the begin in s, ahead)
        for (wall, passed, want) in [
            (1010, 10, None),
            (1100, 100, None),
            (1110, 101, None),
            (4711, 102, Some(3600)),
            (4712, 103, None),
            (1000, 104, None),
            (1001, 105, None),
            (1040, 106, Some(38)),
        ] {
            let steady = begin + Duration::from_secs(passed);
            let found = steps.look(Timestamp(wall * 1000), steady);
            assert_eq!(found, want.map(Duration::from_secs), "at {wall} after {passed}");
        }
    }
}
