//! What to ask GitHub next, given the budget, the ages of what is known, and whether webhooks arrive
//! (pure).
//!
//! Each target has an interval at which it is wanted and a cost that is learnt: answers 304 are free.
//! Where all of them together would cost more than the window has left, every interval is stretched
//! by the same factor.

use std::collections::BTreeMap;

use crate::github::hooks::Hook;
use crate::github::scope::{Repository, Scope};

/// One thing to ask; some take several calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Runners(Scope),
    /// The repositories of an organization whose scope names none.
    Repositories(String),
    /// The newest runs, which shows what began and what ended.
    Runs(Repository),
    /// All runs that are not done: those too old to be among the newest.
    Sweep(Repository),
    /// The jobs of one run.
    Jobs(Repository, u64),
    /// Which webhooks of the scope come here; without one, whether the GitHub App's own does.
    Hooks(Option<Scope>),
    Deliveries(Hook),
    /// What an organization was billed, by day.
    Billing(String),
}

/// How much of a repository's news webhooks bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    Polls,
    Webhooks,
    /// And lost ones are found among the deliveries.
    CheckedWebhooks,
}

/// Why a target brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The credential may not: asked again now and then, should that change.
    Denied,
    /// Nothing is wrong but the rate.
    Limited,
    /// An answer that makes no sense.
    Odd,
    /// No answer, or that GitHub failed.
    Down,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    Ask(Target),
    /// Nothing is due for so many seconds.
    Sleep(f64),
}

/// All times are seconds since the Unix epoch.
#[derive(Debug)]
pub(crate) struct Plan {
    speed: f64,
    entries: BTreeMap<Target, Entry>,
    /// Times in a row that GitHub was down.
    down: u32,
    not_before: f64,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    asked: Option<f64>,
    answered: Option<f64>,
    /// News of it that came otherwise.
    heard: f64,
    /// Counted calls that it takes, a moving mean.
    cost: f64,
    failures: u32,
    denied: bool,
    not_before: f64,
}

/// Targets of one kind, by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) read: u64,
    pub(crate) unread: u64,
    pub(crate) failing: u64,
    pub(crate) denied: u64,
}

/// Jobs of at most so many runs are read; each is a call.
pub(crate) const MAX_JOBS: usize = 2000;
/// Longest interval, however little the window has left.
const LONGEST: f64 = 3600.0;
/// What was denied or is odd is asked again after this.
const DENIED: f64 = 900.0;
/// What was withheld for the rate; where everything is, the poller waits as long as GitHub says.
const LIMITED: f64 = 15.0;
/// Shortest and longest pause when GitHub is down.
const PAUSE: (f64, f64) = (5.0, 300.0);
/// Part of the pace that is planned for: costs are learnt, and so lag.
const PLANNED: f64 = 0.95;
/// New open runs are looked for this often at least.
const LONGEST_SLEEP: f64 = 5.0;

impl Target {
    /// For metrics: what it brings.
    pub(crate) fn data(&self) -> &'static str {
        match self {
            Target::Runners(_) => "runners",
            Target::Repositories(_) => "repositories",
            Target::Runs(_) | Target::Sweep(_) => "runs",
            Target::Jobs(..) => "jobs",
            Target::Hooks(_) | Target::Deliveries(_) => "deliveries",
            Target::Billing(_) => "billing",
        }
    }

    pub(crate) fn repository(&self) -> Option<&Repository> {
        match self {
            Target::Runs(repository) | Target::Sweep(repository) | Target::Jobs(repository, _) => {
                Some(repository)
            }
            _ => None,
        }
    }

    /// Seconds between two askings when there is budget enough.
    fn wanted(&self, coverage: Coverage) -> f64 {
        let news = match coverage {
            Coverage::Polls => 45.0,
            Coverage::Webhooks => 120.0,
            Coverage::CheckedWebhooks => 300.0,
        };
        match self {
            // GitHub waits ten seconds for an answer before a delivery is lost.
            Target::Deliveries(_) => 45.0,
            Target::Runners(_) => 50.0,
            Target::Runs(_) | Target::Jobs(..) => news,
            Target::Repositories(_) => 900.0,
            Target::Sweep(_) | Target::Hooks(_) => 3600.0,
            Target::Billing(_) => 6.0 * 3600.0,
        }
    }

    /// Which comes first when none has been asked yet.
    fn rank(&self) -> f64 {
        match self {
            Target::Runners(_) => 0.0,
            Target::Hooks(_) | Target::Deliveries(_) => 1.0,
            Target::Repositories(_) => 2.0,
            Target::Runs(_) => 3.0,
            Target::Jobs(..) => 4.0,
            Target::Sweep(_) => 5.0,
            Target::Billing(_) => 6.0,
        }
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new(1.0)
    }
}

impl Plan {
    /// Every interval is divided by `speed`.
    pub(crate) fn new(speed: f64) -> Plan {
        Plan { speed, entries: BTreeMap::new(), down: 0, not_before: 0.0 }
    }

    /// Adds the target if it is new; it is then due at once. `false` where it is one too many.
    pub(crate) fn want(&mut self, target: &Target) -> bool {
        if self.entries.contains_key(target) {
            return true;
        }
        let jobs = |target: &Target| matches!(target, Target::Jobs(..));
        if jobs(target) && self.entries.keys().filter(|known| jobs(known)).count() >= MAX_JOBS {
            return false;
        }
        self.entries.insert(target.clone(), Entry { cost: 1.0, ..Entry::default() });
        true
    }

    /// The same, and what was heard of it at `at` counts as asked.
    pub(crate) fn want_since(&mut self, target: &Target, at: f64) -> bool {
        let wanted = self.want(target);
        if let Some(entry) = self.entries.get_mut(target) {
            entry.heard = entry.heard.max(at);
            entry.asked = entry.asked.or(Some(at));
        }
        wanted
    }

    /// Keeps only the targets for which `keep` holds.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Target) -> bool) {
        self.entries.retain(|target, _| keep(target));
    }

    /// `pace` is how many calls a second may be spent; `None` where GitHub names no limit.
    pub(crate) fn next(
        &self,
        now: f64,
        pace: Option<f64>,
        coverage: impl Fn(&Target) -> Coverage,
    ) -> Next {
        if now < self.not_before {
            return Next::Sleep((self.not_before - now).min(LONGEST_SLEEP));
        }
        let stretch = self.stretch(pace, &coverage);
        let mut first: Option<(f64, &Target)> = None;
        let mut soonest = LONGEST_SLEEP;
        for (target, entry) in &self.entries {
            let wanted = target.wanted(coverage(target)) / self.speed;
            let every = (wanted * stretch).min(LONGEST.max(wanted));
            // By how much of its interval it is late; what was never asked is late beyond compare.
            let (due, late) = match entry.asked {
                None => (entry.not_before, 1e9 - target.rank()),
                Some(asked) => {
                    let due = (asked.max(entry.heard) + every).max(entry.not_before);
                    (due, (now - due) / every)
                }
            };
            if due > now {
                soonest = soonest.min(due - now);
            } else if first.is_none_or(|(best, _)| late > best) {
                first = Some((late, target));
            }
        }
        match first {
            Some((_, target)) => Next::Ask(target.clone()),
            None => Next::Sleep(soonest),
        }
    }

    /// The factor by which intervals are longer than wanted.
    pub(crate) fn stretch(&self, pace: Option<f64>, coverage: impl Fn(&Target) -> Coverage) -> f64 {
        let Some(pace) = pace else { return 1.0 };
        let alive = self.entries.iter().filter(|(_, entry)| !entry.denied);
        let demand: f64 =
            alive.map(|(target, entry)| entry.cost / target.wanted(coverage(target))).sum();
        (demand * self.speed / (PLANNED * pace)).clamp(1.0, LONGEST)
    }

    /// It was answered, for so many counted calls.
    pub(crate) fn answered(&mut self, target: &Target, now: f64, cost: u64) {
        self.down = 0;
        let Some(entry) = self.entries.get_mut(target) else { return };
        let weight = if entry.answered.is_none() { 1.0 } else { 0.3 };
        entry.cost += weight * (cost as f64 - entry.cost);
        (entry.asked, entry.answered) = (Some(now), Some(now));
        (entry.failures, entry.denied) = (0, false);
    }

    pub(crate) fn failed(&mut self, target: &Target, now: f64, failure: Failure) {
        match failure {
            Failure::Down => {
                self.down = (self.down + 1).min(16);
                // One silent endpoint is not an outage; three in a row are.
                if self.down >= 3 {
                    let pause = PAUSE.0 * 2_f64.powi(self.down as i32 - 3);
                    self.not_before = now + pause.min(PAUSE.1);
                }
            }
            Failure::Denied | Failure::Odd | Failure::Limited => self.down = 0,
        }
        let Some(entry) = self.entries.get_mut(target) else { return };
        if failure == Failure::Limited {
            entry.not_before = now + LIMITED;
            return;
        }
        entry.asked = Some(now);
        entry.failures = (entry.failures + 1).min(16);
        entry.denied = failure == Failure::Denied;
        let pause = match failure {
            Failure::Denied => DENIED,
            _ => (15.0 * 2_f64.powi(entry.failures as i32)).min(DENIED),
        };
        entry.not_before = now + pause;
    }

    /// When each target was last answered, without those that are denied or were never answered.
    pub(crate) fn ages(&self) -> impl Iterator<Item = (&Target, f64)> {
        let readable = self.entries.iter().filter(|(_, entry)| !entry.denied);
        readable.filter_map(|(target, entry)| Some((target, entry.answered?)))
    }

    /// The oldest of these, among the targets that fit.
    pub(crate) fn oldest(&self, fits: impl Fn(&Target) -> bool) -> Option<f64> {
        self.ages().filter(|(target, _)| fits(target)).map(|(_, at)| at).reduce(f64::min)
    }

    /// How the targets stand, by what they bring.
    pub(crate) fn tally(&self) -> BTreeMap<&'static str, Tally> {
        // Those of jobs come and go, and their series should not.
        let mut tallies = BTreeMap::from([("jobs", Tally::default())]);
        for (target, entry) in &self.entries {
            let tally = tallies.entry(target.data()).or_default();
            match entry {
                Entry { denied: true, .. } => tally.denied += 1,
                Entry { failures: 1.., .. } => tally.failing += 1,
                Entry { answered: None, .. } => tally.unread += 1,
                _ => tally.read += 1,
            }
        }
        tallies
    }
}

#[cfg(test)]
mod day;
#[cfg(test)]
mod tests;
