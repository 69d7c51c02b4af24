//! What is seen of a pool at one moment, put together from exporters, GitHub and alerts. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::{Member, PoolConfig, Response};
use super::health::{self, Health, OnGithub, Verdict, Word};
use super::roster::{Memory, member_of};
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::sample::Timestamp;

/// A member whose patterns match more runners than this times its capacity has no bounds.
const MOST_PER_CAPACITY: usize = 4;

/// What the exporters say, from the store. Runners and instances are in lower case.
#[derive(Debug, Clone, Default)]
pub struct Exporters {
    /// `up` by instance.
    pub up: BTreeMap<String, bool>,
    /// `runner_health` by runner and instance.
    pub health: BTreeMap<(String, String), bool>,
}

/// A runner as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: u64,
    pub name: String,
    pub status: OnGithub,
    /// A runner of a scale set or a just-in-time one: gone after its job.
    pub ephemeral: bool,
    /// All of its labels, as written.
    pub labels: Vec<String>,
}

/// A job as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: u64,
    pub name: String,
    pub repository: String,
    pub run_id: u64,
    pub url: String,
    pub labels: Vec<String>,
    pub stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// No runner has taken it yet.
    Waiting {
        since: Timestamp,
    },
    Running {
        runner: String,
        since: Timestamp,
    },
    /// It ended; `runner` is empty when no runner ever took it.
    Over {
        runner: String,
        since: Timestamp,
    },
}

/// What there is to go by.
pub struct Evidence<'a> {
    pub exporters: &'a Exporters,
    pub memory: &'a Memory,
    pub alerts: &'a [Arc<AlertInstance>],
    /// The last list of runners, however old.
    pub listed: &'a [Listed],
    /// Whether that list is young enough to believe.
    pub believed: bool,
    /// Whether it was read just now, so that acting on it is safe.
    pub fresh: bool,
    /// Whether this program began so lately that targets may not have been scraped yet.
    pub starting: bool,
    /// The last list of jobs and when it was asked for.
    pub jobs: Option<(&'a [Job], Timestamp)>,
    /// Why nothing may be changed now, if so.
    pub hold: Option<String>,
}

/// A pool at one moment.
#[derive(Debug, Clone)]
pub struct Sight {
    pub members: Vec<MemberSight>,
    /// Whether GitHub's list was read just now.
    pub fresh: bool,
    /// Jobs that ask for the pool's label; `None` when they could not be read.
    pub jobs: Option<Vec<Job>>,
    /// When those jobs were asked for; the epoch when there are none.
    pub jobs_at: Timestamp,
    pub hold: Option<String>,
}

#[derive(Debug, Clone)]
pub struct MemberSight {
    pub name: String,
    pub verdict: Verdict,
    /// The verdict's reasons, for people.
    pub why: String,
    /// The alert that asks to move off this member, once its `after` has passed.
    pub move_alert: Option<String>,
    /// The alert that asks for the next member's help, once its `after` has passed.
    pub add_alert: Option<String>,
    /// When an alert that is firing now will have fired for its `after`.
    pub due_at: Option<Timestamp>,
    /// No exporter of it was scraped yet since this program began: silence proves nothing.
    pub unheard: bool,
    /// By name.
    pub runners: Vec<RunnerSight>,
    /// Why none of its runners may be given the label, if so.
    pub blocked: Option<String>,
    /// Why single runners of it may not, for people.
    pub refused: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct RunnerSight {
    pub name: String,
    /// `None` for a runner that only an exporter knows.
    pub id: Option<u64>,
    pub word: Word,
    pub github: OnGithub,
    pub health: Health,
    pub labelled: bool,
    pub ephemeral: bool,
    pub labels: Vec<String>,
}

impl Sight {
    pub fn of(pool: &PoolConfig, evidence: &Evidence<'_>, now: Timestamp) -> Sight {
        let members =
            pool.members.iter().map(|member| member_sight(pool, member, evidence, now)).collect();
        let wants = |job: &&Job| has_label(&job.labels, &pool.label);
        let jobs = evidence.jobs.map(|(jobs, _)| jobs.iter().filter(wants).cloned().collect());
        let jobs_at = evidence.jobs.map_or(Timestamp(0), |(_, at)| at);
        Sight { members, fresh: evidence.fresh, jobs, jobs_at, hold: evidence.hold.clone() }
    }

    pub fn member(&self, name: &str) -> Option<&MemberSight> {
        self.members.iter().find(|member| member.name == name)
    }

    pub fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }

    /// The member to which the runner belongs.
    pub fn member_with(&self, runner: &str) -> Option<&MemberSight> {
        self.members.iter().find(|member| member.runner(runner).is_some())
    }

    /// Jobs that wait for a runner with the pool's label.
    pub fn waiting(&self) -> impl Iterator<Item = (&Job, Timestamp)> {
        self.jobs.iter().flatten().filter_map(|job| match job.stage {
            Stage::Waiting { since } => Some((job, since)),
            Stage::Running { .. } | Stage::Over { .. } => None,
        })
    }

    /// Jobs with the pool's label that run on this member's runners.
    pub fn running_on<'a>(
        &'a self,
        member: &'a MemberSight,
    ) -> impl Iterator<Item = (&'a Job, &'a str, Timestamp)> {
        self.jobs.iter().flatten().filter_map(|job| match &job.stage {
            Stage::Running { runner, since } => {
                member.runner(runner).map(|_| (job, runner.as_str(), *since))
            }
            Stage::Waiting { .. } | Stage::Over { .. } => None,
        })
    }

    /// A job with the pool's label that one of this member's runners took at `from` or later.
    pub fn taken_by(&self, member: &MemberSight, from: Timestamp) -> Option<(&Job, &str)> {
        self.jobs.iter().flatten().find_map(|job| match &job.stage {
            Stage::Running { runner, since } | Stage::Over { runner, since }
                if from <= *since && member.runner(runner).is_some() =>
            {
                Some((job, runner.as_str()))
            }
            _ => None,
        })
    }
}

impl MemberSight {
    pub fn runner(&self, name: &str) -> Option<&RunnerSight> {
        self.runners.iter().find(|runner| runner.name.eq_ignore_ascii_case(name))
    }

    /// Runners that can take a job now.
    pub fn fit(&self) -> usize {
        self.runners.iter().filter(|runner| runner.is_fit()).count()
    }

    /// Runners that can take one of the pool's jobs now.
    pub fn serving(&self) -> usize {
        self.runners.iter().filter(|runner| runner.is_fit() && runner.labelled).count()
    }

    pub fn labelled(&self) -> usize {
        self.runners.iter().filter(|runner| runner.labelled).count()
    }

    /// Runners that may carry the label at all.
    pub fn eligible(&self) -> impl Iterator<Item = &RunnerSight> {
        self.runners.iter().filter(|runner| runner.id.is_some() && !runner.ephemeral)
    }
}

impl RunnerSight {
    /// Online, not known to be down, and one whose labels stay.
    pub fn is_fit(&self) -> bool {
        self.id.is_some()
            && !self.ephemeral
            && matches!(self.github, OnGithub::Online | OnGithub::Busy)
            && matches!(self.health, Health::Healthy | Health::Blind)
    }
}

/// Labels are compared as GitHub compares them: without regard to case.
pub fn has_label(labels: &[String], label: &str) -> bool {
    labels.iter().any(|have| have.eq_ignore_ascii_case(label))
}

/// An alert that concerns a member, as far as its configuration goes.
struct Asked<'a> {
    alert: &'a AlertInstance,
    response: Response,
    due_at: Timestamp,
}

fn member_sight(
    pool: &PoolConfig,
    member: &Member,
    evidence: &Evidence<'_>,
    now: Timestamp,
) -> MemberSight {
    let asked = asked(pool, member, evidence);
    let is_due = |ask: &&Asked<'_>| ask.due_at <= now;
    let mut runners = Vec::new();
    let (mut refused, mut blocked) = (Vec::new(), None);
    for listed in evidence.listed.iter().filter(|listed| member.has_runner(&listed.name)) {
        if let Some(other) = claimed_twice(pool, member, &listed.name) {
            let both = format!("{} and {other}", member.name);
            refused.push(format!("runner {} fits the patterns of both {both}", listed.name));
            continue;
        }
        if listed.ephemeral {
            let why =
                "is ephemeral: it is gone after one job, so it scales instead of failing over";
            refused.push(format!("runner {} {why}", listed.name));
        }
        let github = if evidence.believed { listed.status } else { OnGithub::Unknown };
        runners.push(RunnerSight {
            id: Some(listed.id),
            github,
            labelled: has_label(&listed.labels, &pool.label),
            ephemeral: listed.ephemeral,
            labels: listed.labels.clone(),
            ..from_exporter(member, &listed.name, evidence)
        });
    }
    if !evidence.believed {
        // Without a list, the runners that an exporter of this member names are all there is.
        let known = |name: &str| runners.iter().any(|have| have.name.eq_ignore_ascii_case(name));
        let unlisted: Vec<_> = evidence
            .exporters
            .health
            .keys()
            .filter(|(name, instance)| {
                member.has_instance(instance) && member.has_runner(name) && !known(name)
            })
            .map(|(name, _)| from_exporter(member, name, evidence))
            .collect();
        runners.extend(unlisted);
    }
    runners.sort_by(|a, b| a.name.cmp(&b.name));
    let most = member.capacity.saturating_mul(MOST_PER_CAPACITY);
    if runners.len() > most {
        let found = runners.len();
        blocked = Some(format!(
            "its patterns match {found} runners, more than {MOST_PER_CAPACITY} times its capacity \
             of {}",
            member.capacity
        ));
    }
    for runner in &mut runners {
        let moving = asked.iter().filter(is_due).filter(|ask| ask.response == Response::Move);
        let alerted = moving.clone().any(|ask| concerns(ask.alert, member, runner, evidence));
        runner.health = health::runner(runner.word, runner.github, alerted);
    }
    let healths: Vec<Health> = runners.iter().map(|runner| runner.health).collect();
    let alerted = !asked.is_empty();
    let below = pool.down_when.healthy_below;
    let verdict = health::member(&healths, below, alerted, evidence.believed);
    let due = |response: Response| {
        let mut found = asked.iter().filter(is_due).filter(|ask| ask.response == response);
        found.next().map(|ask| ask.alert.labels.get("alertname").unwrap_or("").to_owned())
    };
    MemberSight {
        name: member.name.clone(),
        verdict,
        why: why(&runners, &asked),
        move_alert: due(Response::Move),
        add_alert: due(Response::Add),
        due_at: asked.iter().map(|ask| ask.due_at).filter(|due_at| now < *due_at).min(),
        unheard: evidence.starting
            && !member
                .instances
                .iter()
                .any(|one| evidence.exporters.up.contains_key(&one.to_lowercase())),
        runners,
        blocked,
        refused,
    }
}

/// The firing alerts of `fail_over_on` that are about this member.
///
/// One whose `instance` is another member's is not believed: a host may say what it likes of its
/// own runners, not of others'.
fn asked<'a>(pool: &PoolConfig, member: &Member, evidence: &Evidence<'a>) -> Vec<Asked<'a>> {
    let mut found = Vec::new();
    for alert in evidence.alerts {
        let firing = alert.state == AlertState::Firing;
        let name = alert.labels.get("alertname");
        let trigger = pool.fail_over_on.iter().find(|trigger| Some(&*trigger.alert) == name);
        let Some(trigger) = trigger.filter(|_| firing) else { continue };
        let about = member_of(pool, evidence.memory, &alert.labels);
        let forged = alert.labels.get("instance").is_some_and(|instance| {
            pool.members
                .iter()
                .any(|other| other.name != member.name && other.has_instance(instance))
        });
        if about.is_none_or(|about| about.name != member.name) || forged {
            continue;
        }
        // One that flaps moves nothing, and keeps what was moved where it is.
        let due_at = match alert.flapping_since {
            None => alert.fired_at.unwrap_or(alert.active_at).plus(trigger.after),
            Some(_) => Timestamp(i64::MAX),
        };
        found.push(Asked { alert, response: trigger.response, due_at });
    }
    found
}

/// Whether an alert about the member is about this runner of it.
fn concerns(
    alert: &AlertInstance,
    member: &Member,
    runner: &RunnerSight,
    evidence: &Evidence<'_>,
) -> bool {
    if let Some(name) = alert.labels.get("runner").filter(|name| member.has_runner(name)) {
        return name.eq_ignore_ascii_case(&runner.name);
    }
    let place = place_of(member, &runner.name, evidence.memory);
    let instance = alert.labels.get("instance");
    place.is_none_or(|place| instance.is_none_or(|other| other.eq_ignore_ascii_case(place)))
}

/// The member's instance on which the runner was last seen, or the only one there is.
fn place_of<'a>(member: &'a Member, runner: &str, memory: &'a Memory) -> Option<&'a str> {
    let seen = memory.instance(runner).filter(|place| member.has_instance(place));
    seen.or(match member.instances.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

/// The runner with the exporter's word on it; everything of GitHub's is left open.
fn from_exporter(member: &Member, name: &str, evidence: &Evidence<'_>) -> RunnerSight {
    let Evidence { exporters, memory, .. } = evidence;
    let alive = |instance: &str| exporters.up.get(&instance.to_lowercase()) == Some(&true);
    let key = name.to_lowercase();
    let said = exporters.health.iter().filter(|((runner, instance), _)| {
        // Only the member's own exporters are believed about its runners.
        *runner == key
            && alive(instance)
            && (member.instances.is_empty() || member.has_instance(instance))
    });
    let word = match said.map(|(_, up)| *up).reduce(|a, b| a || b) {
        Some(true) => Word::Up,
        Some(false) => Word::Down,
        None => match place_of(member, name, memory) {
            Some(place) if alive(place) => Word::Nothing,
            Some(_) => Word::Silent,
            None if member.instances.is_empty() => Word::Nothing,
            None if member.instances.iter().any(|instance| alive(instance)) => Word::Nothing,
            None => Word::Silent,
        },
    };
    RunnerSight {
        name: name.to_owned(),
        id: None,
        word,
        github: OnGithub::Unknown,
        health: Health::Unknown,
        labelled: false,
        ephemeral: false,
        labels: Vec::new(),
    }
}

fn claimed_twice<'a>(pool: &'a PoolConfig, member: &Member, runner: &str) -> Option<&'a str> {
    let others = pool.members.iter().filter(|other| other.name != member.name);
    others.into_iter().find(|other| other.has_runner(runner)).map(|other| other.name.as_str())
}

/// `RunnerOffline fires; 8 of 8 runners down`.
fn why(runners: &[RunnerSight], asked: &[Asked<'_>]) -> String {
    let mut parts = Vec::new();
    let mut alerts: Vec<&str> =
        asked.iter().filter_map(|ask| ask.alert.labels.get("alertname")).collect();
    alerts.sort_unstable();
    alerts.dedup();
    if !alerts.is_empty() {
        parts.push(format!("{} firing", alerts.join(", ")));
    }
    let total = runners.len();
    for (health, text) in [
        (Health::Down, "down"),
        (Health::Blind, "at work on GitHub with the exporter silent"),
        (Health::Unseen, "up but offline on GitHub"),
        (Health::Unknown, "out of sight: exporter silent and GitHub not readable"),
    ] {
        let count = runners.iter().filter(|runner| runner.health == health).count();
        if count > 0 {
            parts.push(format!("{count} of {total} runners {text}"));
        }
    }
    if total == 0 {
        parts.push("no registered runner fits its patterns".to_owned());
    }
    match parts.is_empty() {
        true => format!("{total} of {total} runners healthy"),
        false => parts.join("; "),
    }
}

#[cfg(test)]
mod tests;
