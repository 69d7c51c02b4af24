//! The one reader of the clocks in this crate; everything else takes time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch; 0 when the clock stands before it.
#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
pub fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// For measuring how long something took; unaffected by clock changes.
#[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
pub fn monotonic() -> Instant {
    Instant::now()
}
