//! A simulated day of a large organization: what the plan spends and how old its data gets.
//!
//! Time is simulated; GitHub's budget is kept by the client's own `RateLimit`. Prints its figures:
//! `PITCREW_SWEEP=1 cargo test -p pitcrew-exporter --lib plan::day -- --nocapture`; without the
//! variable, of the first three hours.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::github::rate_limit::{RateLimit, Report, Urgency};

const REPOSITORIES: u64 = 100;
const LIVE: usize = 30;
const RUNNER_PAGES: u64 = 10;
const LIMIT: u64 = 5000;
/// Of one call, in seconds.
const LATENCY: f64 = 0.15;
/// Mean length of a run.
const RUN: f64 = 600.0;
/// What is not delivered, of a thousand webhooks.
const LOST: u64 = 1;
/// Each token's life; with it go the validators.
const TOKEN: f64 = 3600.0;

/// Splitmix64: the same day each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Run {
    repository: u64,
    ends: f64,
    /// The next change of one of its jobs: every ten seconds, as live runs were seen to.
    changes: f64,
}

/// GitHub, the network, and what is known of it all.
struct Day {
    dice: Dice,
    webhooks: bool,
    now: f64,
    limit: RateLimit,
    window: (f64, u64),
    runs: BTreeMap<u64, Run>,
    born: u64,
    /// When a repository's list, a run's jobs last changed.
    changed: BTreeMap<Target, f64>,
    asked: BTreeMap<Target, f64>,
    /// Changes that are not known yet: when they happened.
    unknown: BTreeMap<Target, Vec<f64>>,
    delays: Vec<f64>,
    runner_ages: Vec<f64>,
    /// Calls that were counted, by hour.
    counted: Vec<u64>,
    calls: u64,
}

fn repository(at: u64) -> Repository {
    format!("o/r{at}").parse().unwrap()
}

impl Day {
    fn change(&mut self, target: &Target) {
        self.changed.insert(target.clone(), self.now);
        let told = self.webhooks && self.dice.roll() % 1000 >= LOST;
        match told {
            true => self.delays.push(1.0),
            false => self.unknown.entry(target.clone()).or_default().push(self.now),
        }
    }

    /// What happens in GitHub by itself.
    fn pass(&mut self, plan: &mut Plan) {
        let now = self.now;
        let due = |run: &Run| run.ends <= now || run.changes <= now;
        let due: Vec<_> = self.runs.iter().filter(|(_, run)| due(run)).map(|(id, _)| *id).collect();
        for id in due {
            let run = self.runs.get_mut(&id).unwrap();
            let place = repository(run.repository);
            let (jobs, list) = (Target::Jobs(place.clone(), id), Target::Runs(place));
            if run.ends <= now {
                self.runs.remove(&id);
                self.change(&jobs);
                self.change(&list);
                if self.webhooks {
                    plan.retain(|target| *target != jobs);
                }
            } else {
                run.changes = now + 10.0;
                if self.dice.roll() % 18 < 11 {
                    self.change(&jobs);
                    if self.webhooks {
                        plan.want_since(&jobs, now);
                    }
                }
            }
        }
        while self.runs.len() < LIVE {
            self.born += 1;
            let run = Run {
                repository: self.dice.roll() % REPOSITORIES,
                ends: now - RUN * self.dice.unit().max(1e-6).ln(),
                changes: now + 10.0 * self.dice.unit(),
            };
            let place = repository(run.repository);
            self.change(&Target::Runs(place.clone()));
            if self.webhooks {
                plan.want_since(&Target::Jobs(place, self.born), now);
            }
            self.runs.insert(self.born, run);
        }
    }

    /// Sends `calls`, of which `counted` bring something new.
    fn send(&mut self, calls: u64, counted: u64) {
        for at in 0..calls {
            self.now += LATENCY;
            if self.now >= self.window.0 {
                self.window = (self.now + 3600.0, 0);
            }
            let counts = at < counted;
            self.window.1 += u64::from(counts);
            assert!(self.window.1 <= LIMIT * 4 / 5 + calls, "the reserve is spent");
            let report = Report {
                counted: counts,
                limit: Some(LIMIT),
                remaining: Some(LIMIT - self.window.1),
                reset: Some(self.window.0.ceil() as i64),
                date: Some(self.now as i64),
                ..Report::default()
            };
            self.limit.observe(Duration::from_secs_f64(self.now), "core", &report);
            self.counted[(self.now / 3600.0) as usize] += u64::from(counts);
            self.calls += 1;
        }
    }

    fn ask(&mut self, plan: &mut Plan, target: &Target) {
        let rotated = (self.now / TOKEN).floor() * TOKEN;
        let known = self.asked.get(target).is_some_and(|asked| {
            let changed = self.changed.get(target).copied().unwrap_or(0.0);
            *asked > changed && *asked >= rotated
        });
        let (calls, counted) = match target {
            Target::Runners(_) => (RUNNER_PAGES, RUNNER_PAGES),
            Target::Sweep(_) => (5, if known { 0 } else { 2 }),
            Target::Runs(_) | Target::Jobs(..) => (1, u64::from(!known)),
            _ => (1, 1),
        };
        let begun = self.now;
        self.send(calls, counted);
        self.asked.insert(target.clone(), begun);
        plan.answered(target, self.now, counted);
        let learn = |day: &mut Day, target: &Target| {
            let (old, new) = day
                .unknown
                .remove(target)
                .unwrap_or_default()
                .into_iter()
                .partition(|at| *at <= begun);
            let old: Vec<f64> = old;
            day.delays.extend(old.iter().map(|at| day.now - at));
            day.unknown.insert(target.clone(), new);
        };
        match target {
            Target::Runs(place) => {
                learn(self, target);
                let live = self.runs.iter().filter(|(_, run)| repository(run.repository) == *place);
                for id in live.map(|(id, _)| *id) {
                    plan.want(&Target::Jobs(place.clone(), id));
                }
            }
            Target::Jobs(_, id) => {
                learn(self, target);
                if !self.runs.contains_key(id) {
                    plan.retain(|other| other != target);
                }
            }
            // What was lost is delivered again, unless it may still be under way.
            Target::Deliveries(_) => {
                let late = self.now + 1.0;
                for lost in self.unknown.values_mut() {
                    lost.retain(|at| {
                        let found = *at <= begun - 10.0;
                        if found {
                            self.delays.push(late - at);
                        }
                        !found
                    });
                }
            }
            _ => {}
        }
    }
}

fn simulate(hours: usize, webhooks: bool) -> Day {
    let mut day = Day {
        dice: Dice(7),
        webhooks,
        now: 0.0,
        limit: RateLimit::new(1.0, 12, Duration::from_secs(1)),
        window: (0.0, 0),
        runs: BTreeMap::new(),
        born: 0,
        changed: BTreeMap::new(),
        asked: BTreeMap::new(),
        unknown: BTreeMap::new(),
        delays: Vec::new(),
        runner_ages: Vec::new(),
        counted: vec![0; hours + 1],
        calls: 0,
    };
    let organization = Scope::Organization { name: "o".to_owned(), repositories: Vec::new() };
    let runners = Target::Runners(organization.clone());
    let mut plan = Plan::default();
    plan.want(&runners);
    if webhooks {
        plan.want(&Target::Deliveries(Hook::Of(organization, 1)));
    }
    for at in 0..REPOSITORIES {
        plan.want(&Target::Runs(repository(at)));
        plan.want(&Target::Sweep(repository(at)));
    }
    let coverage = if webhooks { Coverage::CheckedWebhooks } else { Coverage::Polls };
    let mut sampled = 300.0;
    while day.now < hours as f64 * 3600.0 {
        day.pass(&mut plan);
        while sampled <= day.now {
            day.runner_ages.extend(day.asked.get(&runners).map(|asked| sampled - asked));
            sampled += 15.0;
        }
        let now = Duration::from_secs_f64(day.now);
        let pace = day.limit.pace(now, "core", Urgency::Background);
        if !day.limit.wait(now, "core", Urgency::Background).is_zero() {
            day.now += 1.0;
            continue;
        }
        match plan.next(day.now, pace, |_| coverage) {
            Next::Ask(target) => day.ask(&mut plan, &target),
            Next::Sleep(seconds) => day.now += seconds.clamp(0.05, 1.0),
        }
    }
    day
}

/// Median, 99th percentile, largest.
fn spread(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    [at(0.5), at(0.99), at(1.0)]
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of BENCHMARKS.md")]
fn a_day_stays_within_the_budget_and_fresh() {
    let hours = if std::env::var_os("PITCREW_SWEEP").is_some() { 24 } else { 3 };
    for (webhooks, oldest_runners, latest_news, most) in
        [(true, 60.0, 62.0, 2500), (false, 120.0, 180.0, 4100)]
    {
        let mut day = simulate(hours, webhooks);
        let [median, high, max] = spread(&mut day.runner_ages);
        let [news_median, news_high, news_max] = spread(&mut day.delays);
        day.counted.truncate(hours);
        let busiest = *day.counted.iter().max().unwrap();
        let mean = day.counted.iter().sum::<u64>() / hours as u64;
        println!(
            "webhooks {webhooks}: {mean} counted requests an hour (busiest {busiest}), {} calls in all; \
             age of runners p50 {median:.0} s, p99 {high:.0} s, max {max:.0} s; \
             change to knowledge p50 {news_median:.0} s, p99 {news_high:.0} s, max {news_max:.0} s",
            day.calls,
        );
        assert!(max <= oldest_runners && news_max <= latest_news && busiest <= most);
    }
}
