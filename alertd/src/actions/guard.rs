//! What forbids a change, and why. Pure.

use serde::{Deserialize, Serialize};

use super::config::PoolConfig;
use super::machine::PoolState;
use super::sight::{MemberSight, Sight};
use crate::model::sample::Timestamp;
use pitcrew_exporter::config::duration;

/// A refusal; told once, as long as its guard and subject stay the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Denied {
    pub guard: Guard,
    /// The member that would have got the label.
    pub member: String,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    Hold,
    Cooldown,
    MinHealthy,
    EmptyTarget,
    Unbounded,
}

/// The reason may count seconds or runners; it is the same refusal while guard and member are.
impl PartialEq for Denied {
    fn eq(&self, other: &Denied) -> bool {
        self.guard == other.guard && self.member == other.member
    }
}

impl Guard {
    pub fn name(self) -> &'static str {
        match self {
            Guard::Hold => "hold",
            Guard::Cooldown => "cooldown",
            Guard::MinHealthy => "min_healthy",
            Guard::EmptyTarget => "empty_target",
            Guard::Unbounded => "unbounded_target",
        }
    }
}

/// Whether an automatic failover may begin.
pub fn failover(
    state: &PoolState,
    from: &MemberSight,
    to: &MemberSight,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
) -> Result<(), Denied> {
    held(sight)?;
    if let Some((member, at)) = &state.last_failover
        && *member == from.name
        && now.since(*at) < pool.cooldown
    {
        let reason = format!(
            "{} was failed over at {}, less than the cool-down of {} ago",
            from.name,
            at.rfc3339(),
            duration::format(pool.cooldown)
        );
        return Err(Denied { guard: Guard::Cooldown, member: to.name.clone(), reason });
    }
    target(to, sight, pool)
}

/// Whether the member may become the one that carries the label.
pub fn target(to: &MemberSight, sight: &Sight, pool: &PoolConfig) -> Result<(), Denied> {
    reachable(to, sight)?;
    let fit = to.fit();
    // Without GitHub's list a person's order is taken as it is; each removal is guarded again.
    if sight.fresh && fit < pool.min_healthy {
        let reason = format!(
            "{} has {fit} healthy runners, and min_healthy asks for {}",
            to.name, pool.min_healthy
        );
        return Err(Denied { guard: Guard::MinHealthy, member: to.name.clone(), reason });
    }
    Ok(())
}

/// Whether the member has runners that may carry the label at all.
///
/// Before GitHub's list was ever read this is not known, and a person's order is taken as it is.
pub fn reachable(to: &MemberSight, sight: &Sight) -> Result<(), Denied> {
    let denied = |guard, reason| Err(Denied { guard, member: to.name.clone(), reason });
    if let Some(why) = &to.blocked {
        return denied(Guard::Unbounded, format!("{}: {why}", to.name));
    }
    if sight.fresh && to.eligible().next().is_none() {
        let mut reason = format!("no registered runner of {} may carry the label", to.name);
        for why in &to.refused {
            reason.push_str("; ");
            reason.push_str(why);
        }
        return denied(Guard::EmptyTarget, reason);
    }
    Ok(())
}

pub fn held(sight: &Sight) -> Result<(), Denied> {
    match &sight.hold {
        None => Ok(()),
        Some(why) => Err(Denied { guard: Guard::Hold, member: String::new(), reason: why.clone() }),
    }
}
