//! How fast alerts may be posted: a measure that fills with time (pure).

use std::time::Duration;

use crate::model::sample::Timestamp;
use crate::route::limits::PostedLimits;

/// Begins full. May be overdrawn once, so that no request is too large for ever.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    /// What was taken and has not come back, and when that was so.
    taken: f64,
    at: Timestamp,
}

impl Rate {
    /// Takes so much, whatever it is, if something is left; else says when that will be so.
    pub fn take(
        &mut self,
        cost: usize,
        limits: &PostedLimits,
        now: Timestamp,
    ) -> Result<(), Duration> {
        // A clock that went back gives nothing.
        let back = now.since(self.at).as_secs_f64() * f64::from(limits.per_second);
        (self.taken, self.at) = ((self.taken - back).max(0.0), now);
        let over = self.taken - f64::from(limits.burst);
        if over >= 0.0 {
            return Err(Duration::from_secs_f64((over + 1.0) / f64::from(limits.per_second)));
        }
        self.taken += cost as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_so_many_a_second() {
        let limits = PostedLimits { per_second: 10, burst: 100, ..PostedLimits::default() };
        let mut rate = Rate::default();
        // (second, alerts, taken or seconds to wait)
        for (second, cost, want) in [
            (1000, 99, None),
            (1000, 50, None),
            (1000, 1, Some(5.0)),
            (1004, 1, Some(1.0)),
            (1005, 1, None),
            (1005, 1, Some(0.1)),
            (1006, 10, None),
            // Back by an hour: as if no time had passed, and on from there.
            (-2600, 1, Some(0.1)),
            (-2599, 1, None),
            (9999, 1_000_000, None),
            (9999, 1, Some(99_990.1)),
        ] {
            let found = rate.take(cost, &limits, Timestamp(second * 1000));
            let found = found.err().map(|wait| (wait.as_secs_f64() * 10.0).round() / 10.0);
            assert_eq!(found, want, "{cost} at {second}");
        }
    }
}
