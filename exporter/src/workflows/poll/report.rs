//! How polling goes, as families.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::missed::Counts;
use super::plan::Target;
use super::{Known, Settings};
use crate::github::billing::Bill;
use crate::github::error::GithubError;
use crate::github::hooks::Hook;
use crate::github::scope::{Repository, Scope};
use crate::metric::{Desc, Families};

const DATA_TIMESTAMP: Desc = Desc::gauge(
    "pitcrew_exporter_github_data_timestamp_seconds",
    "When the oldest part of what is shown was read from GitHub, in unixtime; absent before the \
     first reading.",
)
.with_labels(&["scope", "data"]);
const TARGETS: Desc = Desc::gauge(
    "pitcrew_exporter_github_poll_targets",
    "Things that are read again and again, by how the last reading ended.",
)
.with_labels(&["data", "state"]);
const FAILURES: Desc = Desc::counter(
    "pitcrew_exporter_github_poll_failures_total",
    "Readings that brought nothing, by reason.",
)
.with_labels(&["data", "reason"]);
const STRETCH: Desc = Desc::gauge(
    "pitcrew_exporter_github_poll_stretch_ratio",
    "By how much intervals are longer than wanted, for the budget to last; 1 when it suffices.",
);
const NEWS: Desc = Desc::counter(
    "pitcrew_exporter_github_poll_news_total",
    "Changes of jobs and runs that polls told before any webhook did.",
);
const MISSING: Desc = Desc::gauge(
    "pitcrew_exporter_github_permission_missing",
    "1 for each permission that GitHub says the credential lacks; where it does not say, the one \
     that its documentation names.",
)
.with_labels(&["scope", "data", "permission"]);
const MISSED: Desc = Desc::counter(
    "pitcrew_exporter_github_missed_deliveries_total",
    "Events that no webhook delivery brought, by what became of them: missed, all of them; \
     recovered, came after all; given_up, GitHub no longer keeps them.",
)
.with_labels(&["outcome"]);
const REDELIVERIES: Desc = Desc::counter(
    "pitcrew_exporter_github_redeliveries_total",
    "Deliveries that GitHub was asked to repeat, by its answer.",
)
.with_labels(&["result"]);
const UNREAD: Desc = Desc::gauge(
    "pitcrew_exporter_github_unread_runs",
    "Live runs whose jobs are not read because there are too many of them.",
);
const TRUNCATED: Desc = Desc::gauge(
    "pitcrew_exporter_github_truncated_repositories",
    "Repositories with more live runs than GitHub shows or than are read.",
);
const BILLED: Desc = Desc::gauge(
    "github_billing_day_net_amount_dollars",
    "What the organization was billed for GitHub Actions on the last whole UTC day.",
)
.with_labels(&["organization", "sku"]);
const QUANTITY: Desc =
    Desc::gauge("github_billing_day_quantity", "What it used that day, in the unit of the SKU.")
        .with_labels(&["organization", "sku", "unit"]);
const BILLED_DAY: Desc =
    Desc::gauge("github_billing_day_timestamp_seconds", "Start of that day, in unixtime.")
        .with_labels(&["organization"]);

pub const DESCS: &[Desc] = &[
    DATA_TIMESTAMP,
    TARGETS,
    FAILURES,
    STRETCH,
    NEWS,
    MISSING,
    MISSED,
    REDELIVERIES,
    UNREAD,
    TRUNCATED,
    BILLED,
    QUANTITY,
    BILLED_DAY,
];

/// Rows of one family whose labels come from outside.
const MOST_ROWS: usize = 400;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    failures: BTreeMap<(&'static str, &'static str), u64>,
    redeliveries: BTreeMap<&'static str, u64>,
    truncated: BTreeSet<Repository>,
    /// The permission that each target lacks.
    pub(super) denied: BTreeMap<Target, String>,
    pub(super) news: u64,
    pub(super) unread_runs: u64,
    /// Each repository's scope.
    pub(super) homes: BTreeMap<Repository, String>,
    pub(super) bills: BTreeMap<String, Bill>,
}

impl Report {
    pub(super) fn failed(&mut self, data: &'static str, reason: &'static str) {
        *self.failures.entry((data, reason)).or_default() += 1;
    }

    pub(super) fn redelivered(&mut self, result: &'static str) {
        *self.redeliveries.entry(result).or_default() += 1;
    }

    pub(super) fn truncated(&mut self, repository: &Repository, is: bool) {
        match is {
            true => drop(self.truncated.insert(repository.clone())),
            false => drop(self.truncated.remove(repository)),
        }
    }

    /// Notes what is needed, and logs it once for each scope.
    pub(super) fn deny(&mut self, target: &Target, error: &GithubError) {
        let said = match error {
            GithubError::Forbidden { permission, .. } => permission.clone(),
            _ => None,
        };
        let permission = said.unwrap_or_else(|| needed(target).to_owned());
        let (scope, data) = (self.scope(target), target.data());
        let known = self.denied.iter().any(|(other, known)| {
            *known == permission && other.data() == data && self.scope(other) == scope
        });
        if !known {
            warn!(
                %error, scope, data, permission,
                "GitHub does not let the credential read this, or it does not exist",
            );
        }
        self.denied.insert(target.clone(), permission);
    }

    fn scope(&self, target: &Target) -> String {
        match target {
            Target::Runners(scope)
            | Target::Hooks(Some(scope))
            | Target::Deliveries(Hook::Of(scope, _)) => scope.to_string(),
            Target::Hooks(None) | Target::Deliveries(Hook::App) => "app".to_owned(),
            Target::Repositories(name) | Target::Billing(name) => name.clone(),
            Target::Runs(repository) | Target::Sweep(repository) | Target::Jobs(repository, _) => {
                self.homes.get(repository).cloned().unwrap_or_default()
            }
        }
    }
}

pub(super) fn families(known: &Known, settings: &Settings, stretch: f64, out: &mut Families) {
    let Known { plan, report, .. } = known;
    let mut oldest: BTreeMap<(String, &str), f64> = BTreeMap::new();
    for (target, at) in plan.ages().filter(|(target, _)| !is_rare(target)) {
        let known = oldest.entry((report.scope(target), target.data())).or_insert(at);
        *known = known.min(at);
    }
    for ((scope, data), at) in oldest.iter().take(MOST_ROWS) {
        out.add(&DATA_TIMESTAMP, &[scope, data], *at);
    }
    for (data, tally) in plan.tally() {
        let states = [
            ("read", tally.read),
            ("unread", tally.unread),
            ("failing", tally.failing),
            ("denied", tally.denied),
        ];
        for (state, count) in states {
            out.add(&TARGETS, &[data, state], count as f64);
        }
    }
    for ((data, reason), count) in &report.failures {
        out.add(&FAILURES, &[data, reason], *count as f64);
    }
    out.set(&STRETCH, stretch);
    out.set(&NEWS, report.news as f64);
    let rows: BTreeSet<_> = report
        .denied
        .iter()
        .map(|(target, permission)| (report.scope(target), target.data(), permission))
        .collect();
    for (scope, data, permission) in rows.into_iter().take(MOST_ROWS) {
        out.add(&MISSING, &[&scope, data, permission], 1.0);
    }
    if settings.webhooks {
        let mut all = Counts::default();
        for missed in known.missed.values() {
            all.missed += missed.counts.missed;
            all.recovered += missed.counts.recovered;
            all.given_up += missed.counts.given_up;
        }
        for (outcome, count) in
            [("missed", all.missed), ("recovered", all.recovered), ("given_up", all.given_up)]
        {
            out.add(&MISSED, &[outcome], count as f64);
        }
        for result in ["accepted", "refused"] {
            let count = report.redeliveries.get(result).copied().unwrap_or(0);
            out.add(&REDELIVERIES, &[result], count as f64);
        }
    }
    out.set(&UNREAD, report.unread_runs as f64);
    out.set(&TRUNCATED, report.truncated.len() as f64);
    for (organization, bill) in &report.bills {
        out.add(&BILLED_DAY, &[organization], bill.day);
        for line in bill.lines.iter().take(MOST_ROWS) {
            out.add(&BILLED, &[organization, &line.sku], line.net_amount);
            out.add(&QUANTITY, &[organization, &line.sku, &line.unit], line.quantity);
        }
    }
}

/// What is read so seldom that its age says nothing.
fn is_rare(target: &Target) -> bool {
    matches!(
        target,
        Target::Sweep(_) | Target::Hooks(_) | Target::Repositories(_) | Target::Billing(_)
    )
}

/// By GitHub's documentation; the first is a fine-grained token's or an App's.
fn needed(target: &Target) -> &'static str {
    match target {
        Target::Runners(Scope::Repository(_)) => "administration=read",
        Target::Runners(Scope::Organization { .. }) => "organization_self_hosted_runners=read",
        Target::Runners(Scope::Enterprise { .. }) => "manage_runners:enterprise",
        Target::Repositories(_) => "metadata=read",
        Target::Runs(_) | Target::Sweep(_) | Target::Jobs(..) => "actions=read",
        Target::Hooks(Some(Scope::Organization { .. }))
        | Target::Deliveries(Hook::Of(Scope::Organization { .. }, _)) => "organization_hooks=read",
        Target::Hooks(_) | Target::Deliveries(_) => "repository_hooks=read",
        Target::Billing(_) => "organization_administration=read",
    }
}
