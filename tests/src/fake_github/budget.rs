//! Rate limits: a window for each token, and the secondary limits of a minute.

use std::collections::BTreeMap;

use super::settings::Settings;

/// What each token has spent, by its holder.
#[derive(Debug, Default)]
pub struct Budgets(BTreeMap<String, Spent>);

#[derive(Debug, Default, Clone)]
struct Spent {
    window_ends: f64,
    used: u64,
    /// Times and points of the last minute's calls.
    recent: Vec<(f64, u64)>,
}

/// The figures of one token's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub limit: u64,
    pub remaining: u64,
    pub reset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    Primary,
    Secondary,
}

impl Budgets {
    /// Counts a call against the secondary limits, unless one of the limits forbids it.
    pub fn admit(
        &mut self,
        caller: &str,
        write: bool,
        settings: &Settings,
        now: f64,
    ) -> Result<(), Exceeded> {
        let spent = self.spent(caller, settings, now);
        if spent.used >= settings.rate_limit {
            return Err(Exceeded::Primary);
        }
        spent.recent.retain(|(time, _)| now - time < 60.0);
        let points = if write { 5 } else { 1 };
        let used: u64 = spent.recent.iter().map(|(_, points)| points).sum();
        let writes = spent.recent.iter().filter(|(_, points)| *points == 5).count() as u64;
        let too_many = write && writes >= settings.secondary_writes;
        if used + points > settings.secondary_points || too_many {
            return Err(Exceeded::Secondary);
        }
        spent.recent.push((now, points));
        Ok(())
    }

    /// Counts an answer against the window; 304s are not counted.
    pub fn count(&mut self, caller: &str, settings: &Settings, now: f64) {
        self.spent(caller, settings, now).used += 1;
    }

    pub fn budget(&mut self, caller: &str, settings: &Settings, now: f64) -> Budget {
        let limit = settings.rate_limit;
        let spent = self.spent(caller, settings, now);
        let remaining = limit.saturating_sub(spent.used);
        Budget { limit, remaining, reset: spent.window_ends.ceil() as u64 }
    }

    fn spent(&mut self, caller: &str, settings: &Settings, now: f64) -> &mut Spent {
        let spent = self.0.entry(caller.to_owned()).or_default();
        if now >= spent.window_ends {
            spent.window_ends = now + settings.rate_window;
            spent.used = 0;
        }
        spent
    }
}
