//! Which runners should carry the label, and the single changes that get there. Pure.

use std::collections::BTreeSet;

use super::config::PoolConfig;
use super::guard::{Denied, Guard};
use super::machine::failback::step_size;
use super::machine::{Move, Phase, PoolState};
use super::sight::{MemberSight, RunnerSight, Sight};

/// One label onto, or off, one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub add: bool,
    pub member: String,
    pub runner: String,
    /// The runner's id as of the sight; a runner that registers anew gets another one.
    pub id: u64,
}

/// The next changes to make: labels to add if any is missing where one matters, else to remove.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub adds: Vec<Change>,
    pub removes: Vec<Change>,
    /// Why the removals that would be next are not in the plan.
    pub denied: Option<Denied>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.removes.is_empty()
    }

    /// All changes in the order in which they are made.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.adds.iter().chain(&self.removes)
    }
}

/// The names of the runners that should carry the label.
pub fn carriers(state: &PoolState, sight: &Sight) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut take = |member: Option<&MemberSight>, most: usize| {
        let Some(member) = member.filter(|member| member.blocked.is_none()) else { return };
        let mut runners: Vec<&RunnerSight> = member.eligible().collect();
        // Those that carry it keep it; then those that could work at once.
        runners.sort_by_key(|runner| (!runner.labelled, !runner.is_fit(), runner.name.clone()));
        names.extend(runners.into_iter().take(most).map(|runner| runner.name.clone()));
    };
    let active = state.phase.active().and_then(|active| sight.position(active)).unwrap_or(0);
    let helped = state.helping.as_ref().and_then(|helping| sight.position(&helping.member));
    for member in sight.members.iter().take(helped.unwrap_or(active).max(active) + 1).skip(active) {
        take(Some(member), usize::MAX);
    }
    if let Phase::FailingBack { to, step, .. } = &state.phase {
        let total = sight.member(to).map_or(0, |to| to.eligible().count());
        take(sight.member(to), step_size(*step, total));
    }
    names
}

/// The changes that lead from what is seen to what is wanted.
///
/// A label comes off only once enough healthy runners that keep it are seen to have it, so that
/// the backup is labelled first and fewer than `min_healthy` never remain.
pub fn plan(state: &PoolState, sight: &Sight, pool: &PoolConfig) -> Plan {
    let wanted = carriers(state, sight);
    let mut plan = Plan::default();
    let mut keepers = 0;
    for member in sight.members.iter().filter(|member| member.blocked.is_none()) {
        for runner in member.eligible() {
            let Some(id) = runner.id else { continue };
            let wants = wanted.contains(&runner.name);
            keepers += usize::from(wants && runner.labelled && runner.is_fit());
            if wants == runner.labelled {
                continue;
            }
            let (member, runner) = (member.name.clone(), runner.name.clone());
            let change = Change { add: wants, member, runner, id };
            if wants { plan.adds.push(change) } else { plan.removes.push(change) }
        }
    }
    let least = pool.min_healthy.max(1);
    if !plan.removes.is_empty() && keepers < least {
        // With labels still to be added this is only the order of things, not a refusal.
        let waits = plan.adds.iter().any(|change| is_fit(sight, change));
        let reason = format!("{keepers} healthy runners would keep the label, fewer than {least}");
        let member = plan.removes.first().map_or(String::new(), |change| change.member.clone());
        plan.denied = (!waits).then_some(Denied { guard: Guard::MinHealthy, member, reason });
        plan.removes.clear();
    }
    plan
}

/// Every change that `what` would bring about, in order, as if all that is added works at once.
pub fn whole_plan(state: &PoolState, what: &Move, sight: &Sight) -> Vec<Change> {
    let mut then = state.clone();
    match what {
        Move::FailOver { from, to } => {
            then.phase = Phase::FailingOver { from: from.clone(), to: to.clone() };
            then.helping = None;
        }
        Move::FailBack { to } => then.phase = Phase::OnBackup { active: to.clone() },
        Move::Help { member } => {
            then.helping = Some(super::machine::Helping {
                member: member.clone(),
                since: state.since,
                cause: String::new(),
                calm_since: None,
            });
        }
    }
    whole_plan_to(&then, sight)
}

/// Every change from what is seen to what `then` wants, labels to add first.
pub fn whole_plan_to(then: &PoolState, sight: &Sight) -> Vec<Change> {
    let wanted = carriers(then, sight);
    let mut changes = Vec::new();
    for add in [true, false] {
        for member in &sight.members {
            for runner in member.eligible() {
                let wants = wanted.contains(&runner.name);
                if let Some(id) = runner.id.filter(|_| wants == add && wants != runner.labelled) {
                    let (member, runner) = (member.name.clone(), runner.name.clone());
                    changes.push(Change { add, member, runner, id });
                }
            }
        }
    }
    changes
}

fn is_fit(sight: &Sight, change: &Change) -> bool {
    let member = sight.member(&change.member);
    member.and_then(|member| member.runner(&change.runner)).is_some_and(RunnerSight::is_fit)
}

#[cfg(test)]
mod tests;
