//! What the page, the API and the command line see of the pools.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::config::{PoolConfig, Standby, Trust};
use super::guard::Denied;
use super::health::{Health, OnGithub, Verdict, Word};
use super::machine::{Helping, PoolState, Proof, Proposal};
use super::sight::Sight;
use crate::db::journal::Entry;
use crate::db::pools::{Hold, Transition};
use crate::model::sample::Timestamp;

#[derive(Debug, Clone, Default, Serialize)]
pub struct PoolsView {
    /// The hold on all pools, if there is one.
    pub hold: Option<Hold>,
    /// In the order of their names.
    pub pools: Vec<PoolView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PoolView {
    pub name: String,
    pub label: String,
    pub scope: String,
    pub trust: Trust,
    pub standby: Standby,
    /// A name of [`super::machine::Phase::NAMES`], or `unknown` before GitHub was first read.
    pub state: &'static str,
    pub since: Timestamp,
    pub cause: String,
    /// The member that jobs go to.
    pub active: String,
    /// Whether the label is off the primary, or on its way.
    pub away: bool,
    pub by_person: Option<String>,
    pub proof: Proof,
    pub helping: Option<Helping>,
    pub proposal: Option<Proposal>,
    pub denied: Option<Denied>,
    /// Why nothing is changed now, if so.
    pub hold: Option<String>,
    /// What failed last, until it works again.
    pub error: Option<String>,
    /// When GitHub's list of runners was last read.
    pub github_read_at: Option<Timestamp>,
    /// Jobs that wait for the label; absent when they could not be read.
    pub jobs_waiting: Option<usize>,
    pub members: Vec<MemberView>,
    /// The last ones, newest first.
    pub transitions: Vec<Transition>,
    /// The last rows, newest first.
    pub journal: Vec<Entry>,
    /// What persons are being told about this pool.
    pub notices: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct MemberView {
    pub name: String,
    pub capacity: usize,
    pub verdict: Verdict,
    pub why: String,
    pub runners: Vec<RunnerView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct RunnerView {
    pub name: String,
    /// Absent when GitHub could not be asked.
    pub online: Option<bool>,
    pub busy: bool,
    pub labelled: bool,
    pub health: Health,
    /// What its host's exporter says.
    pub exporter: Word,
}

/// Where each pool puts its part of the view; clones share it.
#[derive(Clone)]
pub(super) struct Board {
    parts: Arc<Mutex<Parts>>,
    view: watch::Sender<Arc<PoolsView>>,
}

#[derive(Default)]
struct Parts {
    hold: Option<Hold>,
    pools: BTreeMap<String, PoolView>,
}

impl PoolView {
    /// The pool's part, without what only the database and the loop know.
    pub(super) fn new(pool: &PoolConfig, state: Option<&PoolState>, sight: &Sight) -> PoolView {
        let members = sight.members.iter().zip(&pool.members);
        let members = members.map(|(sight, member)| MemberView {
            name: sight.name.clone(),
            capacity: member.capacity,
            verdict: sight.verdict,
            why: sight.why.clone(),
            runners: sight
                .runners
                .iter()
                .map(|runner| RunnerView {
                    name: runner.name.clone(),
                    online: match runner.github {
                        OnGithub::Online | OnGithub::Busy => Some(true),
                        OnGithub::Offline => Some(false),
                        OnGithub::Unknown => None,
                    },
                    busy: runner.github == OnGithub::Busy,
                    labelled: runner.labelled,
                    health: runner.health,
                    exporter: runner.word,
                })
                .collect(),
        });
        let primary = || pool.members.first().map_or(String::new(), |first| first.name.clone());
        PoolView {
            name: pool.name.clone(),
            label: pool.label.clone(),
            scope: pool.scope.to_string(),
            trust: pool.trust,
            standby: pool.standby,
            state: state.map_or("unknown", |state| state.phase.name()),
            since: state.map_or(Timestamp(0), |state| state.since),
            cause: state.map_or("GitHub was not read yet".to_owned(), |state| state.cause.clone()),
            active: state
                .and_then(|state| state.phase.active())
                .map_or_else(primary, str::to_owned),
            away: state.is_some_and(|state| state.phase.is_away()),
            by_person: state.and_then(|state| state.by_person.clone()),
            proof: state.map_or(Proof::None, |state| state.proof.clone()),
            helping: state.and_then(|state| state.helping.clone()),
            proposal: state.and_then(|state| state.proposal.clone()),
            denied: state.and_then(|state| state.denied.clone().or(state.help_denied.clone())),
            hold: sight.hold.clone(),
            error: None,
            github_read_at: None,
            jobs_waiting: sight.jobs.as_ref().map(|_| sight.waiting().count()),
            members: members.collect(),
            transitions: Vec::new(),
            journal: Vec::new(),
            notices: Vec::new(),
        }
    }
}

impl Board {
    pub(super) fn new(view: watch::Sender<Arc<PoolsView>>) -> Board {
        Board { parts: Arc::default(), view }
    }

    pub(super) fn show(&self, part: PoolView) {
        self.change(|parts| {
            parts.pools.insert(part.name.clone(), part);
        });
    }

    pub(super) fn show_hold(&self, hold: Option<Hold>) {
        self.change(|parts| parts.hold = hold);
    }

    fn change(&self, edit: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        edit(&mut parts);
        let pools = parts.pools.values().cloned().collect();
        self.view.send_replace(Arc::new(PoolsView { hold: parts.hold.clone(), pools }));
    }
}
