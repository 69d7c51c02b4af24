//! When the next call is allowed, from what GitHub's answers said (pure).
//!
//! GitHub's order of precedence: `retry-after`; else, with nothing remaining, the window's reset;
//! else a minute or more, doubling. Source: GitHub's "Rate limits for the REST API".

use std::time::Duration;

/// Of the window's calls, this share is kept for urgent ones.
const RESERVE: f64 = 0.05;
/// Shortest and longest wait after a refusal that names no time.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How much a call matters when the budget runs low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Can wait: the polls that notice what changed.
    Routine,
    /// A change to the fleet, or the reading that verifies one: may use the reserve.
    Urgent,
}

/// What one answer's headers say about the budget.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// Whether GitHub refused the call for its rate (403 or 429).
    pub refused: bool,
    /// Whether the call was counted: 304s are free.
    pub counted: bool,
    pub retry_after: Option<Duration>,
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// Start of the next window, in GitHub's seconds since the Unix epoch.
    pub reset: Option<i64>,
    /// GitHub's clock at the answer, in the same seconds.
    pub date: Option<i64>,
}

/// The budget of one credential; `now` is time since any fixed start, on a clock that only goes
/// forward.
#[derive(Debug)]
pub struct RateLimit {
    share: f64,
    window: Option<Window>,
    blocked_until: Duration,
    /// Refusals in a row that named no time.
    strikes: u32,
    writes: Bucket,
}

#[derive(Debug)]
struct Window {
    limit: u64,
    remaining: u64,
    reset: i64,
    ends: Duration,
    /// Calls of this program that GitHub counted.
    spent: u64,
}

/// Writes that may go out: `full` at once, one more each `spacing`.
#[derive(Debug)]
struct Bucket {
    full: u32,
    spacing: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl RateLimit {
    pub fn new(share: f64, write_burst: u32, write_spacing: Duration) -> RateLimit {
        let writes = Bucket { full: write_burst, spacing: write_spacing, full_at: Duration::ZERO };
        let blocked_until = Duration::ZERO;
        RateLimit { share, window: None, blocked_until, strikes: 0, writes }
    }

    /// How long a call must wait from `now`; zero when it may go out.
    pub fn wait(&self, now: Duration, urgency: Urgency) -> Duration {
        let blocked = self.blocked_until.saturating_sub(now);
        let spent = match &self.window {
            Some(window) if now < window.ends && !window.allows(self.share, urgency) => {
                window.ends - now
            }
            _ => Duration::ZERO,
        };
        blocked.max(spent)
    }

    /// Takes the next place among the writes; the answer is how long to wait before sending it.
    pub fn take_write(&mut self, now: Duration) -> Duration {
        let Bucket { full, spacing, full_at } = self.writes;
        let full_at = full_at.max(now) + spacing;
        self.writes.full_at = full_at;
        full_at.saturating_sub(now + spacing * full)
    }

    /// Learns from an answer that came at `now`.
    pub fn observe(&mut self, now: Duration, report: &Report) {
        self.learn_window(now, report);
        if !report.refused {
            self.strikes = 0;
            return;
        }
        let until_reset = match *report {
            Report { remaining: Some(0), reset: Some(reset), date: Some(date), .. } => {
                let seconds = u64::try_from(reset.saturating_sub(date)).ok();
                seconds.map(|seconds| Duration::from_secs(seconds.saturating_add(1)))
            }
            _ => None,
        };
        let pause = match report.retry_after.or(until_reset) {
            Some(said) => said.max(Duration::from_secs(1)),
            None => {
                self.strikes = (self.strikes + 1).min(8);
                FIRST_PAUSE * 2_u32.pow(self.strikes - 1)
            }
        };
        self.blocked_until = self.blocked_until.max(now + pause.min(LONGEST_PAUSE));
    }

    fn learn_window(&mut self, now: Duration, report: &Report) {
        let &Report { limit: Some(limit), remaining: Some(remaining), reset: Some(reset), .. } =
            report
        else {
            return;
        };
        let left = u64::try_from(reset.saturating_sub(report.date.unwrap_or(reset))).unwrap_or(0);
        let ends = now + Duration::from_secs(left).min(LONGEST_PAUSE);
        let spent = match &self.window {
            Some(window) if window.reset == reset => window.spent,
            _ => 0,
        };
        let spent = spent + u64::from(report.counted);
        self.window = Some(Window { limit, remaining, reset, ends, spent });
    }
}

impl Window {
    fn allows(&self, share: f64, urgency: Urgency) -> bool {
        let limit = self.limit as f64;
        match urgency {
            Urgency::Urgent => self.remaining > 0,
            Urgency::Routine => {
                self.remaining as f64 > limit * RESERVE
                    && (self.spent as f64) < limit * (share - RESERVE).max(share / 2.0)
            }
        }
    }
}

#[cfg(test)]
mod tests;
