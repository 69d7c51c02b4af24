//! What a person may order, and the state that follows.

use super::failback::begin_failback;
use super::{Order, Phase, PoolState, Proof, candidate, home};
use crate::actions::config::PoolConfig;
use crate::actions::guard;
use crate::actions::sight::Sight;
use crate::model::sample::Timestamp;

/// The state after a person's order.
///
/// # Errors
/// Why the order cannot be followed now.
pub fn order(
    state: &PoolState,
    order: Order,
    who: &str,
    reason: &str,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Result<PoolState, String> {
    if let Some(hold) = &sight.hold {
        return Err(format!("on hold: {hold}; release it first"));
    }
    let cause = match reason.trim() {
        "" => format!("ordered by {who}"),
        reason => format!("ordered by {who}: {reason}"),
    };
    let person = Some(who.to_owned());
    let first = sight.members.first().ok_or("the pool has no members")?;
    let next = match (&state.phase, order) {
        (Phase::Normal | Phase::Degraded, Order::Failover) => {
            let to = candidate(first, sight).ok_or("no other member has a runner for the label")?;
            guard::target(to, sight, pool).map_err(|denied| denied.reason)?;
            let phase = Phase::FailingOver { from: first.name.clone(), to: to.name.clone() };
            Ok(PoolState {
                by_person: person,
                proof: Proof::None,
                helping: None,
                moved_at: None,
                failed_over_at: Some(now),
                ..state.go(phase, now, cause)
            })
        }
        (Phase::Recovering { active, .. } | Phase::FailingBack { active, .. }, Order::Failover) => {
            let phase = Phase::OnBackup { active: active.clone() };
            Ok(PoolState { by_person: person, ..state.go(phase, now, cause) })
        }
        (Phase::OnBackup { active }, Order::Failover) => Err(format!("already on {active}")),
        (Phase::FailingOver { to, .. }, Order::Failover) => {
            Err(format!("already failing over to {to}"))
        }
        (Phase::Normal | Phase::Degraded, Order::Failback) => {
            Err(format!("already on {}", first.name))
        }
        (Phase::FailingBack { to, .. }, Order::Failback) => {
            Err(format!("already failing back to {to}"))
        }
        (Phase::FailingOver { .. }, Order::Failback) => {
            guard::target(first, sight, pool).map_err(|denied| denied.reason)?;
            Ok(PoolState { by_person: None, ..home(state, first, sight, now, &cause) })
        }
        (Phase::OnBackup { active } | Phase::Recovering { active, .. }, Order::Failback) => {
            guard::target(first, sight, pool).map_err(|denied| denied.reason)?;
            let next = begin_failback(state, active, first, now, cause);
            Ok(PoolState { by_person: None, ..next })
        }
    };
    next.map(|next| PoolState { ordered: true, ..next })
}
