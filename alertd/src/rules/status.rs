//! What the API and the page see of rules: a snapshot after each evaluation.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::own;
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// The state of all groups, in the order of the files; clones share it.
#[derive(Debug, Clone, Default)]
pub struct View(Arc<RwLock<Vec<Arc<GroupStatus>>>>);

#[derive(Debug, Clone)]
pub struct GroupStatus {
    pub file: String,
    pub name: String,
    pub interval: Duration,
    pub query_offset: Duration,
    pub limit: usize,
    /// The timestamp of the last evaluation, and how long it took.
    pub evaluated_at: Option<Timestamp>,
    pub took: Duration,
    pub rules: Vec<RuleStatus>,
}

#[derive(Debug, Clone)]
pub struct RuleStatus {
    pub name: String,
    pub query: String,
    /// As written, templates not expanded.
    pub labels: BTreeMap<String, String>,
    pub health: Health,
    /// Selectors that match no series, because of which the expression yields nothing.
    pub unmatched: Vec<String>,
    /// Targets whose scrape fails and that alerts of this rule are about, once for each of them.
    pub silent: Vec<Labels>,
    pub evaluated_at: Option<Timestamp>,
    pub took: Duration,
    /// Absent for a recording rule.
    pub alerting: Option<AlertingStatus>,
}

#[derive(Debug, Clone)]
pub struct AlertingStatus {
    pub hold: Duration,
    pub keep_firing_for: Duration,
    /// As written, templates not expanded.
    pub annotations: BTreeMap<String, String>,
    /// Pending and firing ones, sorted by labels.
    pub instances: Vec<Arc<AlertInstance>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum Health {
    /// Not evaluated yet.
    #[default]
    Unknown,
    Ok,
    /// Failing since then, and why.
    Failing {
        since: Timestamp,
        error: String,
        /// The store does not answer or take samples: not the rule's own fault.
        source: bool,
    },
}

impl View {
    /// The groups of the files; and the program's own, while one of its alerts is there.
    pub fn groups(&self) -> Vec<Arc<GroupStatus>> {
        let mut groups = self.all();
        groups.retain(|group| group.file != own::FILE || group.instances().next().is_some());
        groups
    }

    pub(super) fn all(&self) -> Vec<Arc<GroupStatus>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the whole list.
    pub fn fill(&self, groups: Vec<Arc<GroupStatus>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = groups;
    }

    /// Replaces one group; the answer is every pending and firing instance of all groups.
    pub(super) fn replace(&self, at: usize, status: GroupStatus) -> Vec<Arc<AlertInstance>> {
        let mut groups = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get_mut(at) {
            *group = Arc::new(status);
        }
        groups.iter().flat_map(|group| group.instances()).collect()
    }
}

impl GroupStatus {
    pub fn instances(&self) -> impl Iterator<Item = Arc<AlertInstance>> {
        let alerting = self.rules.iter().filter_map(|rule| rule.alerting.as_ref());
        alerting.flat_map(|rule| rule.instances.iter().cloned())
    }
}

impl AlertingStatus {
    /// The state of the worst instance.
    pub fn state(&self) -> AlertState {
        let has = |state| self.instances.iter().any(|instance| instance.state == state);
        match (has(AlertState::Firing), has(AlertState::Pending)) {
            (true, _) => AlertState::Firing,
            (false, true) => AlertState::Pending,
            (false, false) => AlertState::Inactive,
        }
    }
}
