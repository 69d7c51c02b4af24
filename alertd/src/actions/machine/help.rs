//! A lower member helps the active one: on overflow, or because an alert asks for it.

use std::time::Duration;

use super::{Helping, Move, Phase, PoolState, Proposal, is_dead, propose};
use crate::actions::config::{PoolConfig, Standby, Trust};
use crate::actions::guard;
use crate::actions::health::OnGithub;
use crate::actions::sight::{MemberSight, Sight};
use crate::model::sample::Timestamp;
use pitcrew_exporter::config::duration;

/// Whether a lower member should begin, go on or cease to help the active one.
pub(super) fn helping(
    state: &PoolState,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<PoolState> {
    let active = match &state.phase {
        Phase::Normal | Phase::Degraded => sight.members.first()?,
        Phase::OnBackup { active } => sight.member(active)?,
        _ => return None,
    };
    if !sight.fresh {
        return None;
    }
    let upto = state.helping.as_ref().map_or(active.name.as_str(), |helping| &helping.member);
    let from = sight.position(&active.name)?;
    let last = sight.position(upto)?.max(from);
    let serving = sight.members.get(from..=last).unwrap_or(&[]);
    let fit: Vec<_> = serving
        .iter()
        .flat_map(|member| &member.runners)
        .filter(|runner| runner.labelled && runner.is_fit())
        .collect();
    let all_busy = !fit.is_empty() && fit.iter().all(|runner| runner.github == OnGithub::Busy);
    let oldest = sight.waiting().map(|(_, since)| since).min();
    let waited = oldest.map_or(Duration::ZERO, |since| now.since(since));
    let settled =
        state.helping.as_ref().is_none_or(|helping| pool.spill_after < now.since(helping.since));
    let spills = pool.standby == Standby::Overflow && all_busy && pool.spill_after < waited;
    let cause = match &active.add_alert {
        Some(alert) if state.helping.is_none() => Some(format!("{alert} on {}", active.name)),
        _ if spills && settled => Some(format!(
            "every labelled runner is busy; {} jobs wait, one of them longer than {}",
            sight.waiting().count(),
            duration::format(pool.spill_after)
        )),
        _ => None,
    };
    let helper =
        sight.members.iter().skip(last + 1).find(|member| member.fit() > 0 && !is_dead(member));
    match (cause, helper, &state.helping) {
        (Some(cause), Some(member), _) => begin_help(state, member, cause, sight, pool, now),
        (_, _, Some(helping)) => {
            let calm = active.add_alert.is_none() && oldest.is_none();
            let calm_since = calm.then(|| helping.calm_since.unwrap_or(now));
            let done = calm_since
                .is_some_and(|since| pool.failback.healthy_for <= now.since(since))
                && sight.hold.is_none();
            let helping = (!done).then(|| Helping { calm_since, ..helping.clone() });
            let settling = state.settling || done;
            Some(PoolState { helping, settling, ..state.clone() })
        }
        (None, _, None) => {
            let help = |proposal: &Proposal| matches!(proposal.what, Move::Help { .. });
            let proposal = state.proposal.clone().filter(|proposal| !help(proposal));
            Some(PoolState { proposal, help_denied: None, ..state.clone() })
        }
        (Some(_), None, None) => None,
    }
}

fn begin_help(
    state: &PoolState,
    member: &MemberSight,
    cause: String,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Option<PoolState> {
    if state.proposal.as_ref().is_some_and(|one| !matches!(one.what, Move::Help { .. })) {
        return None;
    }
    if let Err(denied) = guard::held(sight).and_then(|()| guard::reachable(member, sight)) {
        return Some(PoolState { help_denied: Some(denied), ..state.clone() });
    }
    if pool.trust != Trust::Auto {
        let what = Move::Help { member: member.name.clone() };
        return Some(propose(state, state, what, cause, now));
    }
    let helping = Helping { member: member.name.clone(), since: now, cause, calm_since: None };
    Some(PoolState { helping: Some(helping), help_denied: None, settling: true, ..state.clone() })
}
