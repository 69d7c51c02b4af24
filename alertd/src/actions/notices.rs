//! What a person must be told about a pool, as alerts that end by themselves. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::{PoolConfig, Trust};
use super::health::Verdict;
use super::machine::{Move, Phase, PoolState, Proof};
use super::sight::{Sight, Stage, has_label};
use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// One thing to be told; the same name and member are the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The alert's name.
    pub name: &'static str,
    /// The member that it is about; empty for the pool as a whole.
    pub member: String,
    pub severity: &'static str,
    pub summary: String,
    pub since: Timestamp,
}

/// What the loop knows beside state and sight.
#[derive(Debug, Clone, Default)]
pub struct Background<'a> {
    /// What failed, and since when.
    pub trouble: Option<(&'a str, Timestamp)>,
    /// Labels that others changed or that came back wrong, with the last time seen.
    pub drift: Option<(&'a str, Timestamp)>,
    /// Jobs of the pool's runners that do not ask for the pool's label.
    pub unlabelled: &'a [String],
    /// Jobs that a runner without the label took after it had lost it.
    pub strays: &'a [String],
}

/// How long something that happened once is told.
pub const TOLD_FOR: Duration = Duration::from_secs(15 * 60);

/// All that is to be told now.
pub fn notices(
    state: Option<&PoolState>,
    sight: &Sight,
    pool: &PoolConfig,
    background: &Background<'_>,
    now: Timestamp,
) -> Vec<Notice> {
    let mut told = Vec::new();
    let mut tell = |name, member: &str, severity, since, summary| {
        told.push(Notice { name, member: member.to_owned(), severity, summary, since });
    };
    let label = &pool.label;
    for member in &sight.members {
        let since = state.map_or(now, |state| state.since);
        match member.verdict {
            Verdict::Healthy => {}
            Verdict::Degraded if member.unheard && member.move_alert.is_none() => {}
            Verdict::NeedsPerson if member.move_alert.is_some() => {
                let text = format!(
                    "{} may be dead and nobody can tell: {}. Order `pool failover {}` if it is",
                    member.name, member.why, pool.name
                );
                tell("PoolNeedsPerson", &member.name, "critical", since, text);
            }
            Verdict::Degraded | Verdict::NeedsPerson | Verdict::Down => {
                let text = format!("{}: {}", member.name, member.why);
                tell("PoolDegraded", &member.name, "warning", since, text);
            }
        }
        if let Some(why) = member.blocked.iter().chain(&member.refused).next() {
            let text = format!("label {label} is not given to some runners: {why}");
            tell("PoolMemberRefused", &member.name, "warning", now, text);
        }
    }
    if let Some(state) = state {
        of_state(state, sight, pool, now, &mut tell);
    }
    if let Some((error, since)) = background.trouble {
        let text = format!("pool {} cannot be looked after: {error}", pool.name);
        tell("PoolGithubFailing", "", "critical", since, text);
    }
    if let Some((what, at)) = background.drift.filter(|(_, at)| now.since(*at) < TOLD_FOR) {
        tell("PoolLabelDrift", "", "warning", at, what.to_owned());
    }
    if !background.unlabelled.is_empty() {
        let jobs = background.unlabelled.join(", ");
        let text = format!("jobs that do not ask for {label} cannot fail over: {jobs}");
        tell("PoolJobsWithoutLabel", "", "warning", now, text);
    }
    if !background.strays.is_empty() {
        let jobs = background.strays.join(", ");
        let text = format!("a runner without the label {label} took a job: {jobs}");
        tell("PoolJobTakenWithoutLabel", "", "warning", now, text);
    }
    told
}

fn of_state(
    state: &PoolState,
    sight: &Sight,
    pool: &PoolConfig,
    now: Timestamp,
    tell: &mut impl FnMut(&'static str, &str, &'static str, Timestamp, String),
) {
    let active = state.phase.active();
    let asked = sight.members.iter().any(|member| member.move_alert.is_some());
    let spare = sight.members.iter().any(|member| member.fit() > 0);
    if sight.fresh && asked && !spare {
        let text = format!(
            "no member of pool {} can take jobs: {}",
            pool.name,
            sight
                .members
                .iter()
                .map(|one| format!("{}: {}", one.name, one.why))
                .collect::<Vec<_>>()
                .join("; ")
        );
        tell("PoolDown", "", "critical", state.since, text);
    }
    if let Some(active) = active.filter(|_| state.phase.is_away()) {
        let since = state.failed_over_at.unwrap_or(state.since);
        let text = match &state.phase {
            Phase::FailingOver { from, .. } => {
                format!("label {} moves from {from} to {active}: {}", pool.label, state.cause)
            }
            Phase::Recovering { to, .. } | Phase::FailingBack { to, .. } => {
                format!("jobs go to {active}; {to} is coming back: {}", state.cause)
            }
            _ => format!("jobs go to {active}: {}", state.cause),
        };
        tell("PoolFailedOver", active, "warning", since, text);
    }
    if let Proof::Failed(why) = &state.proof {
        let text = format!("the last failover of pool {} is not verified: {why}", pool.name);
        tell("PoolFailoverUnverified", "", "critical", state.since, text);
    }
    if let Some(proposal) = &state.proposal {
        let what = match &proposal.what {
            Move::FailOver { from, to } => format!("move its label from {from} to {to}"),
            Move::FailBack { to } => format!("give its label back to {to}"),
            Move::Help { member } => format!("let {member} help"),
        };
        let (severity, text) = match pool.trust {
            Trust::Approve => {
                let text = format!("pool {} waits for a person to {what}", pool.name);
                ("critical", format!("{text}: {}", proposal.cause))
            }
            Trust::Shadow | Trust::Auto => {
                let text = format!("pool {} would {what} if it were trusted to", pool.name);
                ("warning", format!("{text}: {}", proposal.cause))
            }
        };
        tell("PoolPlanWaits", "", severity, proposal.at, text);
    }
    for denied in [&state.denied, &state.help_denied].into_iter().flatten() {
        let text = format!(
            "{} denied a change of pool {}: {}",
            denied.guard.name(),
            pool.name,
            denied.reason
        );
        tell("PoolGuardDenied", &denied.member, "warning", state.since, text);
    }
    let fresh = state.interrupted.iter().filter(|job| now.since(job.at) < TOLD_FOR);
    let jobs: Vec<String> =
        fresh.clone().map(|job| format!("{} on {} ({})", job.name, job.runner, job.url)).collect();
    if let Some(first) = fresh.map(|job| job.at).min() {
        let text = format!("{} jobs were interrupted: {}", jobs.len(), jobs.join(", "));
        tell("PoolJobsInterrupted", "", "warning", first, text);
    }
}

/// Jobs that could run on the pool's runners and do not ask for its label, at most `most`.
pub fn without_label(
    jobs: &[super::sight::Job],
    sight: &Sight,
    pool: &PoolConfig,
    most: usize,
) -> Vec<String> {
    let runners = || sight.members.iter().flat_map(|member| &member.runners);
    let mut names: Vec<String> = jobs
        .iter()
        .filter(|job| !matches!(job.stage, Stage::Over { .. }))
        .filter(|job| !job.labels.is_empty() && !has_label(&job.labels, &pool.label))
        .filter(|job| {
            runners().any(|runner| job.labels.iter().all(|label| has_label(&runner.labels, label)))
        })
        .map(|job| format!("{} in {}", job.name, job.repository))
        .collect();
    names.sort();
    names.dedup();
    names.truncate(most);
    names
}

/// Jobs of the pool that a runner took when it did not have the label any more, at most `most`.
pub fn strays(state: &PoolState, sight: &Sight, most: usize) -> Vec<String> {
    let Some(moved_at) = state.moved_at.filter(|_| state.phase.is_away()) else {
        return Vec::new();
    };
    let members = sight.members.iter();
    let taken = members.flat_map(|member| sight.running_on(member));
    let stray = taken.filter(|(_, runner, since)| {
        let seen = sight.member_with(runner).and_then(|member| member.runner(runner));
        moved_at < *since && seen.is_some_and(|runner| !runner.labelled)
    });
    stray
        .map(|(job, runner, _)| format!("{} on {runner} ({})", job.name, job.url))
        .take(most)
        .collect()
}

/// What was told last, so that its end is told too.
#[derive(Debug, Default)]
pub struct Raised {
    alerts: BTreeMap<Labels, Alert>,
    sent_at: Timestamp,
}

impl Raised {
    /// What is being told now.
    pub fn summaries(&self) -> Vec<String> {
        let summary = |alert: &Alert| alert.annotations.get("summary").cloned();
        self.alerts.values().filter_map(summary).collect()
    }

    /// The alerts to send now: all that hold, when one is new, changed or due to be said again
    /// after `again`, and the ends of those that do not hold any more.
    pub fn update(
        &mut self,
        pool: &str,
        notices: &[Notice],
        again: Duration,
        now: Timestamp,
    ) -> Vec<Alert> {
        let lease = (again * 4).max(Duration::from_secs(120));
        let mut current = BTreeMap::new();
        for notice in notices {
            let pairs = [
                ("alertname", notice.name),
                ("pool", pool),
                ("member", &notice.member),
                ("severity", notice.severity),
            ];
            let labels = Labels::from_pairs(pairs);
            let earlier = self.alerts.get(&labels).map(|alert| alert.starts_at);
            let summary = ("summary".to_owned(), notice.summary.clone());
            let alert = Alert {
                labels: labels.clone(),
                annotations: BTreeMap::from([summary]).into(),
                starts_at: earlier.unwrap_or(notice.since),
                ends_at: now.plus(lease),
                generator_url: "".into(),
            };
            current.insert(labels, alert);
        }
        let ended = self.alerts.iter().filter(|(labels, _)| !current.contains_key(*labels));
        let mut send: Vec<Alert> =
            ended.map(|(_, alert)| Alert { ends_at: now, ..alert.clone() }).collect();
        let differs = |(labels, alert): (&Labels, &Alert)| {
            self.alerts.get(labels).is_none_or(|had| had.annotations != alert.annotations)
        };
        let due = again <= now.since(self.sent_at) || current.iter().any(differs);
        if due && !current.is_empty() {
            self.sent_at = now;
            send.extend(current.values().cloned());
        }
        self.alerts = current;
        send
    }
}

#[cfg(test)]
mod tests;
