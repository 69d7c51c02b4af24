//! When a channel may be written to again: Slack takes about one message a second in each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{self, Instant};

/// Between two messages to one channel.
const GAP: Duration = Duration::from_secs(1);
/// Longer waits are left to the outbox.
const PATIENCE: Duration = Duration::from_secs(5);
/// Channels that are remembered at a time.
const MAX_CHANNELS: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When each channel may be written to again.
    free: HashMap<String, Instant>,
    /// Slack wants to hear nothing before.
    paused: Option<Instant>,
}

impl Pace {
    /// Waits until it is this message's turn.
    ///
    /// # Errors
    /// With the time until then, when that is too long.
    pub(super) async fn turn(&self, channel: &str) -> Result<(), Duration> {
        let at = self.reserve(channel, Instant::now())?;
        time::sleep_until(at).await;
        Ok(())
    }

    /// Nothing is sent for this long.
    pub(super) fn pause(&self, length: Duration) {
        let until = Instant::now() + length;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.paused = state.paused.max(Some(until));
    }

    /// How much of a pause is left.
    pub(super) fn paused(&self) -> Option<Duration> {
        let paused = self.0.lock().unwrap_or_else(PoisonError::into_inner).paused;
        paused?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn reserve(&self, channel: &str, now: Instant) -> Result<Instant, Duration> {
        let free = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).free;
        if free.len() >= MAX_CHANNELS {
            free.retain(|_, at| *at > now);
        }
        let at = free.get(channel).map_or(now, |at| now.max(*at));
        if at > now + PATIENCE {
            return Err(at - now);
        }
        free.insert(channel.to_owned(), at + GAP);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_in_each_channel_and_no_long_waits() {
        let (pace, now) = (Pace::default(), Instant::now());
        let wait = |channel: &str| pace.reserve(channel, now).map(|at| (at - now).as_secs());
        let turns: Vec<_> = (0..6).map(|_| wait("a")).collect();
        assert_eq!(turns, (0..6).map(Ok).collect::<Vec<_>>());
        assert_eq!(wait("a"), Err(Duration::from_secs(6)));
        assert_eq!(wait("b"), Ok(0));
        assert_eq!(pace.paused(), None);
        pace.pause(Duration::from_secs(600));
        pace.pause(Duration::from_secs(1));
        assert!(pace.paused().unwrap() > Duration::from_secs(60), "the longer one holds");
    }
}
