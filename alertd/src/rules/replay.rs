//! Rules over history that is stored already: what would have fired, when and for how long. What
//! they record goes into memory, over the history, so that later rules see it.

pub mod compare;
mod overlay;
mod stretches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use self::overlay::Overlay;
use self::stretches::Stretches;
use super::config::RulesConfig;
use super::file::GroupSpec;
use super::group::{Context, Group, Progress};
use super::status::{Health, RuleStatus};
use super::template::Surroundings;
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::querier::Querier;
use crate::model::sample::Timestamp;
use crate::promql::Options;
use crate::tsdb::{Limits, Tsdb};

/// Firings that are listed; more are counted only.
const MAX_FIRINGS: usize = 100_000;
/// Evaluations of all groups together: more would not end today.
const MAX_EVALUATIONS: u128 = 50_000_000;
/// How often the memory gives back what is older than its retention.
const TIDY: Duration = Duration::from_secs(3600);

/// Which time is played, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Of groups that give none.
    pub evaluation_interval: Duration,
    pub around: Surroundings,
    pub options: Options,
}

/// What one set of rules would have done.
#[derive(Debug, Default, Serialize)]
pub struct Replayed {
    pub evaluations: usize,
    pub rules: Vec<RuleSummary>,
    /// In the order in which they fired.
    pub firings: Vec<Firing>,
    /// Beyond those that are listed.
    pub more_firings: usize,
}

/// One alerting rule, or a recording one that failed.
#[derive(Debug, Clone, Serialize)]
pub struct RuleSummary {
    pub group: String,
    pub rule: String,
    pub alerting: bool,
    pub firings: usize,
    /// Alerts that were pending and never fired.
    pub only_pending: usize,
    /// All firings together, and the longest of them.
    pub firing_seconds: f64,
    pub longest_seconds: f64,
    pub failures: usize,
    pub last_error: Option<String>,
}

/// One alert from its start to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Firing {
    pub group: String,
    pub rule: String,
    pub labels: BTreeMap<String, String>,
    #[serde(serialize_with = "rfc3339")]
    pub active_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    pub fired_at: Timestamp,
    /// Absent while it still fires at the end of the replay.
    #[serde(serialize_with = "maybe_rfc3339")]
    pub resolved_at: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("expected at most {MAX_EVALUATIONS} evaluations, found {0}")]
    TooLong(u128),
    #[error("cancelled")]
    Cancelled,
}

impl Firing {
    /// How long, up to the end of the replay.
    pub fn lasted(&self, to: Timestamp) -> Duration {
        self.resolved_at.unwrap_or(to).since(self.fired_at)
    }
}

/// Plays the groups over `history` as Prometheus evaluates them, from `plan.from` on, each at its
/// interval; groups that are due at one time in the order given.
///
/// # Errors
/// When there is too much to do, or `cancel` is set. What a rule cannot be told by the history
/// counts as its failure.
pub fn replay(
    groups: &[GroupSpec],
    history: Arc<dyn Querier>,
    plan: &Plan,
    cancel: &AtomicBool,
) -> Result<Replayed, ReplayError> {
    let interval = |group: &GroupSpec| group.interval.unwrap_or(plan.evaluation_interval);
    let length = plan.to.since(plan.from);
    let evaluations = groups.iter().map(|group| {
        (length.as_millis() / interval(group).as_millis().max(1) + 1)
            .saturating_mul(group.rules.len() as u128)
    });
    let evaluations = evaluations.sum();
    if evaluations > MAX_EVALUATIONS {
        return Err(ReplayError::TooLong(evaluations));
    }
    let own = Tsdb::new(Limits { max_series: 5_000_000, ..Limits::default() });
    let recorded = groups.iter().flat_map(|group| &group.rules);
    let recorded = recorded.filter(|rule| rule.alerting().is_none()).map(|rule| rule.name.clone());
    let history = Arc::new(Stretches::new(history, plan.to));
    let store = Arc::new(Overlay::new(history, own, plan.from, recorded));
    let context = Context {
        options: plan.options.clone(),
        around: plan.around.clone(),
        config: RulesConfig::plain(),
        ..Context::new(store.clone())
    };
    let mut players: Vec<Player> = groups
        .iter()
        .map(|spec| {
            let group = Group::new(spec.clone(), plan.evaluation_interval, Duration::ZERO);
            Player::new(group, spec, plan.from)
        })
        .collect();
    let mut replayed = Replayed::default();
    let mut tidied = plan.from;
    while let Some(player) = players.iter_mut().min_by_key(|player| player.next) {
        let now = player.next;
        if now > plan.to {
            break;
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(ReplayError::Cancelled);
        }
        player.evaluate(now, &context, &mut replayed);
        if now.since(tidied) >= TIDY {
            store.tidy(now);
            tidied = now;
        }
    }
    for player in &mut players {
        player.finish(plan.to, &mut replayed);
    }
    replayed.firings.sort_by(|a, b| (a.fired_at, &a.labels).cmp(&(b.fired_at, &b.labels)));
    Ok(replayed)
}

struct Player {
    group: Group,
    next: Timestamp,
    rules: Vec<RuleSummary>,
    /// Pending and firing alerts, by the place of their rule.
    open: BTreeMap<(usize, Labels), Open>,
}

#[derive(Clone, Copy)]
struct Open {
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
}

impl Player {
    fn new(group: Group, spec: &GroupSpec, from: Timestamp) -> Player {
        let summary = |rule: &super::file::RuleSpec| RuleSummary {
            group: spec.name.clone(),
            rule: rule.name.clone(),
            alerting: rule.alerting().is_some(),
            firings: 0,
            only_pending: 0,
            firing_seconds: 0.0,
            longest_seconds: 0.0,
            failures: 0,
            last_error: None,
        };
        let rules = spec.rules.iter().map(summary).collect();
        Player { group, next: from, rules, open: BTreeMap::new() }
    }

    fn evaluate(&mut self, now: Timestamp, context: &Context, replayed: &mut Replayed) {
        self.group.evaluate(now, context, &Progress::default(), &mut |_| true);
        replayed.evaluations += 1;
        self.next = now.plus(self.group.interval().max(Duration::from_millis(1)));
        for (at, rule) in self.group.status().rules.iter().enumerate() {
            self.follow(at, rule, now, replayed);
        }
    }

    fn follow(&mut self, at: usize, rule: &RuleStatus, now: Timestamp, replayed: &mut Replayed) {
        if let (Health::Failing { error, .. }, Some(summary)) =
            (&rule.health, self.rules.get_mut(at))
        {
            summary.failures += 1;
            summary.last_error = Some(error.clone());
        }
        let alive = rule.alerting.iter().flat_map(|alerting| &alerting.instances);
        let alive: BTreeMap<&Labels, &AlertInstance> =
            alive.map(|instance| (&instance.labels, instance.as_ref())).collect();
        let gone: Vec<Labels> = self
            .open
            .range((at, Labels::empty())..)
            .take_while(|((rule, _), _)| *rule == at)
            .filter(|((_, labels), open)| match alive.get(labels) {
                // One that ended and came back at once is another one.
                Some(instance) => instance.active_at != open.active_at,
                None => true,
            })
            .map(|((_, labels), _)| labels.clone())
            .collect();
        for labels in gone {
            if let Some(open) = self.open.remove(&(at, labels.clone())) {
                self.end(at, &labels, open, Some(now), now, replayed);
            }
        }
        for (labels, instance) in alive {
            let open = self
                .open
                .entry((at, labels.clone()))
                .or_insert(Open { active_at: instance.active_at, fired_at: None });
            if instance.state == AlertState::Firing {
                open.fired_at = open.fired_at.or(Some(now));
            }
        }
    }

    /// What still holds at the end of the replay has no end.
    fn finish(&mut self, to: Timestamp, replayed: &mut Replayed) {
        for ((at, labels), open) in std::mem::take(&mut self.open) {
            self.end(at, &labels, open, None, to, replayed);
        }
        let worth = self.rules.iter().filter(|rule| rule.alerting || rule.failures > 0);
        replayed.rules.extend(worth.cloned());
    }

    fn end(
        &mut self,
        at: usize,
        labels: &Labels,
        open: Open,
        resolved_at: Option<Timestamp>,
        now: Timestamp,
        replayed: &mut Replayed,
    ) {
        let Some(rule) = self.rules.get_mut(at) else { return };
        let Some(fired_at) = open.fired_at else {
            rule.only_pending += 1;
            return;
        };
        let seconds = now.since(fired_at).as_secs_f64();
        rule.firings += 1;
        rule.firing_seconds += seconds;
        rule.longest_seconds = rule.longest_seconds.max(seconds);
        if replayed.firings.len() >= MAX_FIRINGS {
            replayed.more_firings += 1;
            return;
        }
        replayed.firings.push(Firing {
            group: rule.group.clone(),
            rule: rule.rule.clone(),
            labels: labels.to_map(),
            active_at: open.active_at,
            fired_at,
            resolved_at,
        });
    }
}

fn rfc3339<S: serde::Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.rfc3339())
}

fn maybe_rfc3339<S: serde::Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
