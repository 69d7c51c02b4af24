//! When the next call is allowed, from what GitHub's answers said (pure).
//!
//! Each resource that GitHub names (`core`, `search`, …) has a window of its own; a secondary limit
//! holds for the credential as a whole. GitHub's order of precedence: `retry-after`; else, with
//! nothing remaining, the window's reset; else a minute or more, doubling. Source: GitHub's "Rate
//! limits for the REST API".

use std::collections::BTreeMap;
use std::time::Duration;

/// Shortest and longest wait after a refusal that names no time.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Background reads that may follow each other at once, and the time between them from then on:
/// 660 in the busiest minute, where GitHub allows 900 to one endpoint.
const READ_BURST: u32 = 60;
const READ_SPACING: Duration = Duration::from_millis(100);

/// How much a call matters when the budget runs low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Only metrics wait for it: leaves a fifth of the window to whoever acts.
    Background,
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
    windows: BTreeMap<&'static str, Window>,
    blocked_until: Duration,
    /// Refusals in a row that named no time.
    strikes: u32,
    writes: Bucket,
    reads: Bucket,
}

#[derive(Debug)]
struct Window {
    limit: u64,
    remaining: u64,
    reset: i64,
    ends: Duration,
    /// Calls of this program that GitHub counted.
    spent: u64,
    /// GitHub refused for this window, which is empty until it ends.
    empty: bool,
}

/// Calls that may go out: `full` at once, one more each `spacing`.
#[derive(Debug)]
struct Bucket {
    full: u32,
    spacing: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl RateLimit {
    pub fn new(share: f64, write_burst: u32, write_spacing: Duration) -> RateLimit {
        let writes = Bucket::new(write_burst, write_spacing);
        let reads = Bucket::new(READ_BURST, READ_SPACING);
        let (windows, blocked_until) = (BTreeMap::new(), Duration::ZERO);
        RateLimit { share, windows, blocked_until, strikes: 0, writes, reads }
    }

    /// How long a call must wait from `now`; zero when it may go out.
    pub fn wait(&self, now: Duration, resource: &str, urgency: Urgency) -> Duration {
        let blocked = self.blocked_until.saturating_sub(now);
        let spent = match self.windows.get(resource) {
            Some(window) if now < window.ends && window.left(self.share, urgency) < 1.0 => {
                window.ends - now
            }
            _ => Duration::ZERO,
        };
        blocked.max(spent)
    }

    /// Calls a second that would spend this window's rest evenly until its end; `None` while GitHub
    /// names no limit.
    pub fn pace(&self, now: Duration, resource: &str, urgency: Urgency) -> Option<f64> {
        let window = self.windows.get(resource)?;
        if now >= window.ends {
            let whole = Window { remaining: window.limit, spent: 0, empty: false, ..*window };
            return Some(whole.left(self.share, urgency) / LONGEST_PAUSE.as_secs_f64());
        }
        // The last seconds would be infinitely fast.
        let rest = (window.ends - now).max(FIRST_PAUSE).as_secs_f64();
        Some(window.left(self.share, urgency).max(0.0) / rest)
    }

    /// Takes the next place among the writes; the answer is how long to wait before sending it.
    pub fn take_write(&mut self, now: Duration) -> Duration {
        self.writes.take(now)
    }

    /// The same for a read in the background.
    pub fn take_read(&mut self, now: Duration) -> Duration {
        self.reads.take(now)
    }

    /// Learns from an answer that came at `now`.
    pub fn observe(&mut self, now: Duration, resource: &'static str, report: &Report) {
        self.learn_window(now, resource, report);
        if !report.refused {
            self.strikes = 0;
            return;
        }
        if report.retry_after.is_none()
            && report.is_primary()
            && let Some(window) = self.windows.get_mut(resource)
            && window.ends > now
        {
            window.empty = true;
            return;
        }
        let pause = match report.retry_after {
            Some(said) => said.max(Duration::from_secs(1)),
            None => {
                self.strikes = (self.strikes + 1).min(8);
                FIRST_PAUSE * 2_u32.pow(self.strikes - 1)
            }
        };
        self.blocked_until = self.blocked_until.max(now + pause.min(LONGEST_PAUSE));
    }

    fn learn_window(&mut self, now: Duration, resource: &'static str, report: &Report) {
        let &Report { limit: Some(limit), remaining: Some(remaining), reset: Some(reset), .. } =
            report
        else {
            return;
        };
        let left = u64::try_from(reset.saturating_sub(report.date.unwrap_or(reset))).unwrap_or(0);
        // GitHub's clock is shown in whole seconds.
        let left = if left > 0 { left.saturating_add(u64::from(report.refused)) } else { 0 };
        let ends = now + Duration::from_secs(left).min(LONGEST_PAUSE);
        let spent = match self.windows.get(resource) {
            Some(window) if window.reset == reset => window.spent,
            _ => 0,
        };
        let spent = spent + u64::from(report.counted);
        let window = Window { limit, remaining, reset, ends, spent, empty: false };
        self.windows.insert(resource, window);
    }
}

impl Report {
    /// Whether the hour's calls are used up, rather than too many having come at once.
    pub fn is_primary(&self) -> bool {
        self.refused && self.remaining == Some(0)
    }
}

impl Urgency {
    /// The share of a window that such calls leave to more urgent ones.
    fn kept(self) -> f64 {
        match self {
            Urgency::Background => 0.2,
            Urgency::Routine => 0.05,
            Urgency::Urgent => 0.0,
        }
    }
}

impl Window {
    /// Calls that may still go out before the window ends.
    fn left(&self, share: f64, urgency: Urgency) -> f64 {
        let (limit, kept) = (self.limit as f64, urgency.kept());
        let remaining = if self.empty { 0.0 } else { self.remaining as f64 };
        match urgency {
            Urgency::Urgent => remaining,
            _ => {
                let own = limit * (share - kept).max(share / 2.0) - self.spent as f64;
                (remaining - limit * kept).min(own)
            }
        }
    }
}

impl Bucket {
    fn new(full: u32, spacing: Duration) -> Bucket {
        Bucket { full, spacing, full_at: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> Duration {
        self.full_at = self.full_at.max(now) + self.spacing;
        self.full_at.saturating_sub(now + self.spacing * self.full)
    }
}

#[cfg(test)]
mod tests;
