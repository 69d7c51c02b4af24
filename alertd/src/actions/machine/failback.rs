//! The way back: a watched recovery, then one, two, four, eight runners.

use std::time::Duration;

use super::{Move, Phase, PoolState, home, is_dead, is_unheard, is_well, leave, propose};
use crate::actions::config::{PoolConfig, Trust};
use crate::actions::guard;
use crate::actions::health::Verdict;
use crate::actions::sight::{MemberSight, Sight};
use crate::model::sample::Timestamp;
use pitcrew_exporter::config::duration;

/// How many runners carry the label from this step on: one, two, four, eight.
pub fn step_size(step: u32, total: usize) -> usize {
    1_usize.checked_shl(step.saturating_sub(1)).unwrap_or(usize::MAX).min(total)
}

/// How many steps it takes until all of `total` runners carry the label; at least one.
pub fn steps(total: usize) -> u32 {
    total.max(1).next_power_of_two().ilog2() + 1
}

/// The time that each step lasts.
pub(super) fn step_time(pool: &PoolConfig, total: usize) -> Duration {
    pool.failback.over / steps(total)
}

pub(super) fn recovering(
    state: &PoolState,
    active: &MemberSight,
    to: &MemberSight,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<PoolState> {
    if is_dead(active) {
        return leave(state, active, sight, pool, now);
    }
    if is_unheard(to) || (!sight.fresh && is_well(to)) {
        return None;
    }
    if !is_well(to) || to.fit() == 0 {
        let phase = Phase::OnBackup { active: active.name.clone() };
        return Some(state.go(phase, now, format!("{} relapsed: {}", to.name, to.why)));
    }
    if now.since(state.since) < pool.failback.healthy_for {
        return None;
    }
    let calm = state.calm();
    if let Err(denied) = guard::held(sight).and_then(|()| guard::target(to, sight, pool)) {
        return Some(PoolState { denied: Some(denied), ..calm });
    }
    let healthy_for = duration::format(pool.failback.healthy_for);
    let cause = format!("{} was healthy for {healthy_for}", to.name);
    if pool.trust != Trust::Auto {
        return Some(propose(&calm, state, Move::FailBack { to: to.name.clone() }, cause, now));
    }
    Some(begin_failback(state, &active.name, to, now, cause))
}

pub(super) fn begin_failback(
    state: &PoolState,
    active: &str,
    to: &MemberSight,
    now: Timestamp,
    cause: String,
) -> PoolState {
    let total = to.eligible().count();
    let cause = format!("{cause}; {}", step_text(1, total));
    let (active, to) = (active.to_owned(), to.name.clone());
    state.go(Phase::FailingBack { active, to, step: 1, step_since: now }, now, cause)
}

fn step_text(step: u32, total: usize) -> String {
    format!("step {step} of {}: {} of {total} runners", steps(total), step_size(step, total))
}

pub(super) fn failing_back(
    state: &PoolState,
    active: &MemberSight,
    to: &MemberSight,
    (step, step_since): (u32, Timestamp),
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<PoolState> {
    if !sight.fresh {
        return None;
    }
    let relapsed = to.move_alert.is_some() || Verdict::NeedsPerson <= to.verdict || to.fit() == 0;
    if relapsed && !is_dead(active) {
        let phase = Phase::OnBackup { active: active.name.clone() };
        return Some(state.go(phase, now, format!("{} relapsed: {}", to.name, to.why)));
    }
    let total = to.eligible().count();
    let wanted = step_size(step, total);
    let ready = is_well(to) && wanted <= to.labelled() && sight.hold.is_none();
    if !ready || now.since(step_since) < step_time(pool, total) {
        return None;
    }
    if step < steps(total) {
        let (active, to) = (active.name.clone(), to.name.clone());
        let phase = Phase::FailingBack { active, to, step: step + 1, step_since: now };
        return Some(state.go(phase, now, step_text(step + 1, total)));
    }
    let cause = format!("all {total} runners of {} carry the label and are healthy", to.name);
    Some(home(state, to, sight, now, &cause))
}
