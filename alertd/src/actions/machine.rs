//! One pool's states and how it goes from one to the next. Pure: no clock, no store, no GitHub.

pub mod failback;
mod help;
pub mod orders;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{ActionsConfig, PoolConfig, Trust};
use super::guard::{self, Denied};
use super::health::{OnGithub, Verdict};
use super::sight::{MemberSight, Sight};
use crate::model::sample::Timestamp;

/// Where a pool stands; kept in the database between two looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolState {
    pub phase: Phase,
    pub since: Timestamp,
    pub cause: String,
    /// The person by whose order the pool is where it is: it stays until a person says otherwise.
    pub by_person: Option<String>,
    pub proof: Proof,
    /// The last member that helps the active one, and all between.
    pub helping: Option<Helping>,
    /// What would be done if the pool's trust allowed it.
    pub proposal: Option<Proposal>,
    pub denied: Option<Denied>,
    pub help_denied: Option<Denied>,
    /// The last automatic failover: off which member and when it began.
    pub last_failover: Option<(String, Timestamp)>,
    /// When the label was last seen to be off the member that it moved from.
    pub moved_at: Option<Timestamp>,
    /// When the failover under way or in effect began.
    pub failed_over_at: Option<Timestamp>,
    /// A person's order is being carried out, so labels may be written in a pool that only a
    /// person's order moves.
    pub ordered: bool,
    /// The labels were not all as wanted since the last change of state: what differs now is our
    /// own work to do, not somebody else's change.
    pub settling: bool,
    /// Jobs that ran on a runner when it died, the last day's.
    pub interrupted: Vec<Interrupted>,
}

/// A job that was in flight on a runner that died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    pub at: Timestamp,
    pub job: u64,
    pub name: String,
    pub repository: String,
    pub run: u64,
    pub url: String,
    pub runner: String,
}

/// Members stand by name, so that a change of the configuration cannot mix them up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    Normal,
    /// Something is wrong with the primary, and the label stays.
    Degraded,
    FailingOver {
        from: String,
        to: String,
    },
    OnBackup {
        active: String,
    },
    /// A member before the active one is healthy again and is being watched.
    Recovering {
        active: String,
        to: String,
    },
    /// It gets the label back, runner by runner; `step` counts from 1.
    FailingBack {
        active: String,
        to: String,
        step: u32,
        step_since: Timestamp,
    },
}

/// Whether the world has shown that the last failover helped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "detail", rename_all = "snake_case")]
pub enum Proof {
    /// Nothing to prove.
    None,
    /// A job that waited runs on the new member.
    Proven(String),
    /// Online and labelled, and no job waited to show more.
    Unproven(String),
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helping {
    pub member: String,
    pub since: Timestamp,
    pub cause: String,
    pub calm_since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub at: Timestamp,
    pub cause: String,
    pub what: Move,
}

/// A change of who carries the label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Move {
    FailOver { from: String, to: String },
    FailBack { to: String },
    Help { member: String },
}

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Failover,
    Failback,
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Normal => "normal",
            Phase::Degraded => "degraded",
            Phase::FailingOver { .. } => "failing_over",
            Phase::OnBackup { .. } => "on_backup",
            Phase::Recovering { .. } => "recovering",
            Phase::FailingBack { .. } => "failing_back",
        }
    }

    /// All names, in the order of a failover.
    pub const NAMES: [&'static str; 6] =
        ["normal", "degraded", "failing_over", "on_backup", "recovering", "failing_back"];

    /// The members that the phase speaks of.
    pub fn members(&self) -> Vec<&str> {
        match self {
            Phase::Normal | Phase::Degraded => vec![],
            Phase::FailingOver { from, to } => vec![from, to],
            Phase::OnBackup { active } => vec![active],
            Phase::Recovering { active, to } | Phase::FailingBack { active, to, .. } => {
                vec![active, to]
            }
        }
    }

    /// The member that carries the label; `None` when it is the primary.
    pub fn active(&self) -> Option<&str> {
        match self {
            Phase::Normal | Phase::Degraded => None,
            Phase::FailingOver { to: active, .. }
            | Phase::OnBackup { active }
            | Phase::Recovering { active, .. }
            | Phase::FailingBack { active, .. } => Some(active),
        }
    }

    /// Whether the label is off the primary, or on its way.
    pub fn is_away(&self) -> bool {
        !matches!(self, Phase::Normal | Phase::Degraded)
    }
}

impl PoolState {
    pub fn normal(now: Timestamp, cause: &str) -> PoolState {
        PoolState {
            phase: Phase::Normal,
            since: now,
            cause: cause.to_owned(),
            by_person: None,
            proof: Proof::None,
            helping: None,
            proposal: None,
            denied: None,
            help_denied: None,
            last_failover: None,
            moved_at: None,
            failed_over_at: None,
            ordered: false,
            settling: true,
            interrupted: Vec::new(),
        }
    }

    /// The state of a pool seen for the first time: on the first member whose runners carry the
    /// label, so that a lost database does not move a pool that is on its backup.
    pub fn adopt(sight: &Sight, now: Timestamp) -> PoolState {
        let carrier = sight.members.iter().position(|member| member.labelled() > 0);
        match carrier.and_then(|at| sight.members.get(at).filter(|_| at > 0)) {
            None => PoolState::normal(now, "first sight of the pool"),
            Some(active) => PoolState {
                phase: Phase::OnBackup { active: active.name.clone() },
                failed_over_at: Some(now),
                ..PoolState::normal(now, "found with the label on a lower member")
            },
        }
    }

    /// Whether every member that the state speaks of still exists.
    pub fn fits(&self, pool: &PoolConfig) -> bool {
        let known = |name: &str| pool.members.iter().any(|member| member.name == name);
        self.phase.members().into_iter().all(known)
            && self.helping.as_ref().is_none_or(|helping| known(&helping.member))
    }

    fn go(&self, phase: Phase, now: Timestamp, cause: impl Into<String>) -> PoolState {
        let cause = cause.into();
        let cleared = PoolState { proposal: None, help_denied: None, ..self.calm() };
        PoolState { phase, since: now, cause, settling: true, ..cleared }
    }

    /// Without what was planned or denied about moving the label; help is another matter.
    fn calm(&self) -> PoolState {
        let proposal = self.proposal.clone().filter(|one| matches!(one.what, Move::Help { .. }));
        PoolState { proposal, denied: None, ..self.clone() }
    }
}

/// The next state, or `None` when the pool stays exactly where it is.
///
/// One step at a time: the caller asks again until it gets `None`.
pub fn next(
    state: &PoolState,
    sight: &Sight,
    pool: &PoolConfig,
    actions: &ActionsConfig,
    now: Timestamp,
) -> Option<PoolState> {
    let primary = sight.members.first()?;
    let changed = match &state.phase {
        Phase::Normal if is_well(primary) || is_unheard(primary) => None,
        Phase::Normal => Some(state.go(Phase::Degraded, now, primary.why.clone())),
        Phase::Degraded if is_well(primary) => Some(PoolState {
            failed_over_at: None,
            ..state.go(Phase::Normal, now, primary.why.clone())
        }),
        Phase::Degraded => leave(state, primary, sight, pool, now),
        Phase::FailingOver { from, to } => {
            let (from, to) = (sight.member(from)?, sight.member(to)?);
            failing_over(state, from, to, sight, pool, actions, now)
        }
        Phase::OnBackup { active } => on_backup(state, sight.member(active)?, sight, pool, now),
        Phase::Recovering { active, to } => {
            failback::recovering(state, sight.member(active)?, sight.member(to)?, sight, pool, now)
        }
        Phase::FailingBack { active, to, step, step_since } => {
            let (active, to) = (sight.member(active)?, sight.member(to)?);
            failback::failing_back(state, active, to, (*step, *step_since), sight, pool, now)
        }
    };
    let other = |next: &PoolState| next != state;
    changed.filter(other).or_else(|| help::helping(state, sight, pool, now).filter(other))
}

/// When the pool should be looked at again, if sooner than at the usual interval.
pub fn look_again(
    state: &PoolState,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<Duration> {
    let until = |time: Timestamp| time.since(now).max(Duration::from_millis(10));
    let alert = sight.members.iter().filter_map(|member| member.due_at).min().map(until);
    let phase = match &state.phase {
        Phase::FailingOver { .. } => Some(Duration::from_secs(1)),
        Phase::Recovering { .. } => Some(until(state.since.plus(pool.failback.healthy_for))),
        Phase::FailingBack { to, step_since, .. } => {
            let total = sight.member(to).map_or(1, |to| to.eligible().count());
            Some(until(step_since.plus(failback::step_time(pool, total))))
        }
        // The exporter is silent and GitHub still shows the runners: its view lags, so ask often.
        Phase::Degraded | Phase::OnBackup { .. } => {
            let asked = |member: &MemberSight| member.move_alert.is_some();
            sight.members.iter().any(asked).then_some(Duration::from_secs(5))
        }
        Phase::Normal => None,
    };
    alert.into_iter().chain(phase).min()
}

fn is_well(member: &MemberSight) -> bool {
    member.verdict == Verdict::Healthy
}

/// Only that nothing was heard of it yet speaks against it.
fn is_unheard(member: &MemberSight) -> bool {
    member.unheard && member.move_alert.is_none() && member.verdict < Verdict::NeedsPerson
}

fn is_dead(member: &MemberSight) -> bool {
    member.verdict == Verdict::Down && member.move_alert.is_some()
}

/// Where jobs can go instead of `from`: the first other member, in priority order, that lives.
fn candidate<'a>(from: &MemberSight, sight: &'a Sight) -> Option<&'a MemberSight> {
    let lives = |member: &&MemberSight| {
        let seen = member.runners.iter().any(|runner| runner.github != OnGithub::Unknown);
        let hidden = !seen && member.verdict != Verdict::Down;
        member.name != from.name && (member.fit() > 0 || hidden) && !is_dead(member)
    };
    sight.members.iter().find(lives)
}

/// Off a member whose alert asks for it, if it is dead and the guards let it.
fn leave(
    state: &PoolState,
    from: &MemberSight,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<PoolState> {
    let calm = state.calm();
    let Some(alert) = from.move_alert.as_ref().filter(|_| is_dead(from)) else {
        return Some(calm);
    };
    // With a stale list nothing can be written; the next read decides.
    if !sight.fresh {
        return None;
    }
    let Some(to) = candidate(from, sight) else { return Some(calm) };
    let cause = format!("{alert} on {}: {}", from.name, from.why);
    if let Err(denied) = guard::failover(state, from, to, sight, pool, now) {
        return Some(PoolState { denied: Some(denied), proposal: None, ..state.clone() });
    }
    let what = Move::FailOver { from: from.name.clone(), to: to.name.clone() };
    if pool.trust != Trust::Auto {
        return Some(propose(&calm, state, what, cause, now));
    }
    let phase = Phase::FailingOver { from: from.name.clone(), to: to.name.clone() };
    Some(PoolState {
        proof: Proof::None,
        helping: None,
        moved_at: None,
        last_failover: Some((from.name.clone(), now)),
        failed_over_at: state.failed_over_at.or(Some(now)),
        by_person: None,
        ..state.go(phase, now, cause)
    })
}

fn propose(
    calm: &PoolState,
    state: &PoolState,
    what: Move,
    cause: String,
    now: Timestamp,
) -> PoolState {
    let kept = state.proposal.clone().filter(|proposal| proposal.what == what);
    let proposal = kept.unwrap_or(Proposal { at: now, cause, what });
    PoolState { proposal: Some(proposal), ..calm.clone() }
}

fn failing_over(
    state: &PoolState,
    from: &MemberSight,
    to: &MemberSight,
    sight: &Sight,
    pool: &PoolConfig,
    actions: &ActionsConfig,
    now: Timestamp,
) -> Option<PoolState> {
    if !sight.fresh {
        return None;
    }
    let moved = to.serving() >= pool.min_healthy.max(1) && from.labelled() == 0;
    if !moved {
        let recovered = is_well(from) && from.serving() > 0 && state.by_person.is_none();
        if recovered {
            let cause = format!("{} recovered before its label was moved", from.name);
            return Some(home(state, from, sight, now, &cause));
        }
        let better = candidate(from, sight).filter(|other| other.name != to.name);
        let phase = match better {
            Some(other) if to.fit() == 0 => {
                Phase::FailingOver { from: from.name.clone(), to: other.name.clone() }
            }
            _ => return None,
        };
        let cause = format!("{} has no fit runner either", to.name);
        return Some(PoolState { moved_at: None, ..state.go(phase, now, cause) });
    }
    let Some(moved_at) = state.moved_at else {
        return Some(PoolState { moved_at: Some(now), denied: None, ..state.clone() });
    };
    let late = now.since(moved_at) >= actions.verify_within;
    // What was asked before the label had moved proves nothing.
    if sight.jobs_at < moved_at && !late {
        return None;
    }
    let began = state.failed_over_at.unwrap_or(state.since);
    let started = sight.taken_by(to, began.minus(SKEW));
    let waiting = sight.waiting().count();
    let read = sight.jobs.as_ref().filter(|_| moved_at <= sight.jobs_at);
    let proof = match (read, started) {
        (Some(_), Some((job, runner))) => {
            Proof::Proven(format!("job {} runs on {runner}", job.name))
        }
        (Some(_), None) if waiting == 0 => {
            Proof::Unproven("no job waited; its runners are online and labelled".to_owned())
        }
        (Some(_), None) if late => {
            Proof::Failed(format!("{waiting} jobs wait and none started on {} in time", to.name))
        }
        (None, _) if late => Proof::Unproven("the jobs could not be read".to_owned()),
        _ => return None,
    };
    if let (Proof::Failed(why), true) = (&proof, is_well(from) && 0 < from.fit()) {
        let undone = home(state, from, sight, now, &format!("undone: {why}"));
        return Some(PoolState { proof, ..undone });
    }
    let phase = Phase::OnBackup { active: to.name.clone() };
    let cause = match &proof {
        Proof::Failed(why) => format!("label moved, not verified: {why}"),
        Proof::Unproven(why) => format!("label moved, unproven: {why}"),
        Proof::Proven(how) => format!("label moved, verified: {how}"),
        Proof::None => "label moved".to_owned(),
    };
    Some(PoolState { proof, ..state.go(phase, now, cause) })
}

/// GitHub's clock and ours may differ by so much.
const SKEW: Duration = Duration::from_secs(5);

fn on_backup(
    state: &PoolState,
    active: &MemberSight,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<PoolState> {
    if is_dead(active) {
        return leave(state, active, sight, pool, now);
    }
    let calm = state.calm();
    let before = sight.position(&active.name)?;
    let back = sight.members.iter().take(before).find(|member| is_well(member) && member.fit() > 0);
    match back {
        Some(to) if state.by_person.is_none() && sight.fresh => {
            let phase = Phase::Recovering { active: active.name.clone(), to: to.name.clone() };
            Some(state.go(phase, now, format!("{}: {}", to.name, to.why)))
        }
        _ => Some(calm),
    }
}

/// Where the pool rests when `member` carries the label.
fn home(
    state: &PoolState,
    member: &MemberSight,
    sight: &Sight,
    now: Timestamp,
    cause: &str,
) -> PoolState {
    let next = PoolState { helping: None, moved_at: None, ..state.clone() };
    match sight.position(&member.name) {
        Some(0) => PoolState {
            by_person: None,
            proof: Proof::None,
            failed_over_at: None,
            ..next.go(Phase::Normal, now, cause)
        },
        _ => next.go(Phase::OnBackup { active: member.name.clone() }, now, cause),
    }
}

#[cfg(test)]
mod tests;
