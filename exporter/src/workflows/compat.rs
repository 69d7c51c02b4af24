//! The same data under the names of other exporters, for dashboards that exist already; on request.

use std::collections::BTreeMap;

use crate::github::model::{Runner, RunnerStatus};
use crate::metric::{Desc, Families};
use crate::workflows::families::histograms;
use crate::workflows::fleet::Fleet;
use crate::workflows::normalise::{self, OTHER};
use crate::workflows::present::Present;
use crate::workflows::state::State;
use crate::workflows::state::counts::{DURATION_BOUNDS, QUEUE_BOUNDS};
use crate::workflows::state::settings::Compatibility;

const REPO_STATUS: Desc = Desc::gauge(
    "github_runner_status",
    "Compatibility: runners of the repository that are online; an ephemeral one counts as its pool.",
)
.with_labels(&["repo", "os", "name", "busy"]);
const ORGANIZATION_STATUS: Desc = Desc {
    name: "github_runner_organization_status",
    labels: &["organization", "os", "name", "busy"],
    ..REPO_STATUS
};
const ENTERPRISE_STATUS: Desc = Desc {
    name: "github_runner_enterprise_status",
    labels: &["enterprise", "os", "name", "busy"],
    ..REPO_STATUS
};
const ORG_STATUS: Desc = Desc::gauge(
    "github_runner_org_status",
    "Compatibility: runners of the organization with this status.",
)
.with_labels(&["org", "name", "os", "labels", "status"]);
const ORG_BUSY: Desc = Desc::gauge(
    "github_runner_org_busy",
    "Compatibility: runners of the organization that are busy, or not.",
)
.with_labels(&["org", "name", "os", "labels", "busy"]);
const ORG_LABEL_STATUS: Desc = Desc::gauge(
    "github_runner_org_label_status",
    "Compatibility: runners of the organization with this label and status.",
)
.with_labels(&["org", "label", "status", "busy"]);

const ASSIGNED: Desc =
    Desc::gauge("gha_assigned_jobs", "Compatibility: jobs with these labels that wait or run.")
        .with_labels(&["name", "repository"]);
const RUNNING: Desc =
    Desc::gauge("gha_running_jobs", "Compatibility: jobs with these labels that run.")
        .with_labels(&["name", "repository"]);
const REGISTERED: Desc = Desc::gauge("gha_registered_runners", "Compatibility: runners.")
    .with_labels(&["name", "repository", "organization", "enterprise"]);
const BUSY: Desc = Desc::gauge("gha_busy_runners", "Compatibility: runners that run a job.")
    .with_labels(REGISTERED.labels);
const IDLE: Desc =
    Desc::gauge("gha_idle_runners", "Compatibility: runners that are online and run no job.")
        .with_labels(REGISTERED.labels);
const STARTED: Desc = Desc::counter("gha_started_jobs_total", "Compatibility: jobs that began.")
    .with_labels(&["name", "repository"]);
const COMPLETED: Desc =
    Desc::counter("gha_completed_jobs_total", "Compatibility: jobs that ended.").with_labels(&[
        "repository",
        "job_workflow_name",
        "job_result",
    ]);
const STARTUP: Desc =
    Desc::histogram("gha_job_startup_duration_seconds", "Compatibility: time of waiting.")
        .with_labels(&["repository", "name"]);
const EXECUTION: Desc =
    Desc::histogram("gha_job_execution_duration_seconds", "Compatibility: time of running.")
        .with_labels(&["repository", "job_workflow_name", "job_result"]);

const JOB_RUN: Desc = Desc::histogram(
    "github_workflow_job_run_duration_seconds",
    "Compatibility: time from start to end of jobs that ran.",
)
.with_labels(&["repository_full_name", "workflow_name", "job_conclusion"]);
const JOBS_QUEUED: Desc =
    Desc::counter("github_workflow_jobs_queued_total", "Compatibility: jobs that were created.")
        .with_labels(&["repository_full_name", "runs_on"]);
const JOBS_STARTED: Desc =
    Desc::counter("github_workflow_jobs_started_total", "Compatibility: jobs that a runner took.")
        .with_labels(JOBS_QUEUED.labels);
const JOBS_COMPLETED: Desc =
    Desc::counter("github_workflow_jobs_completed_total", "Compatibility: jobs that ended.")
        .with_labels(JOBS_QUEUED.labels);
const JOB_CONCLUSIONS: Desc =
    Desc::counter("github_workflow_job_conclusions_total", "Compatibility: jobs that ended.")
        .with_labels(&["repository_full_name", "workflow_name", "job_conclusion"]);
const JOB_FAILURES: Desc =
    Desc::counter("github_workflow_job_failures_total", "Compatibility: jobs that failed.")
        .with_labels(&["repository_full_name", "workflow_name"]);

/// What is exposed under others' names.
pub(crate) const DESCS: &[Desc] = &[
    REPO_STATUS,
    ORGANIZATION_STATUS,
    ENTERPRISE_STATUS,
    ORG_STATUS,
    ORG_BUSY,
    ORG_LABEL_STATUS,
    ASSIGNED,
    RUNNING,
    REGISTERED,
    BUSY,
    IDLE,
    STARTED,
    COMPLETED,
    STARTUP,
    EXECUTION,
    JOB_RUN,
    JOBS_QUEUED,
    JOBS_STARTED,
    JOBS_COMPLETED,
    JOB_CONCLUSIONS,
    JOB_FAILURES,
];

/// Rows of one family of runners.
const MAX_ROWS: usize = 500;

pub(super) fn families(state: &State, present: &Present<'_>, fleet: &Fleet, out: &mut Families) {
    if state.settings.speaks(Compatibility::GithubRunner) {
        runners(fleet, out);
    }
    if state.settings.speaks(Compatibility::Gha) {
        scale_set(state, present, fleet, out);
    }
    if state.settings.speaks(Compatibility::GithubWorkflowJob) {
        workflow_jobs(state, out);
    }
}

/// Values by label values; beyond [`MAX_ROWS`] under `other`.
#[derive(Default)]
struct Rows(BTreeMap<Vec<String>, f64>);

impl Rows {
    /// `open` are the places of the labels that can take any value.
    fn add(&mut self, key: &[&str], open: &[usize], value: f64) {
        let mut key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        if self.0.len() >= MAX_ROWS && !self.0.contains_key(&key) {
            for (at, part) in key.iter_mut().enumerate() {
                if open.contains(&at) {
                    OTHER.clone_into(part);
                }
            }
        }
        *self.0.entry(key).or_default() += value;
    }

    fn fill(self, desc: &Desc, out: &mut Families) {
        for (key, value) in self.0 {
            let key: Vec<&str> = key.iter().map(String::as_str).collect();
            out.add(desc, &key, value);
        }
    }
}

fn runners(fleet: &Fleet, out: &mut Families) {
    let [mut status, mut busy, mut by_label] = [Rows::default(), Rows::default(), Rows::default()];
    for (desc, kind) in [
        (&REPO_STATUS, Kind::Repository),
        (&ORGANIZATION_STATUS, Kind::Organization),
        (&ENTERPRISE_STATUS, Kind::Enterprise),
    ] {
        let mut rows = Rows::default();
        for (scope, registered) in fleet.scopes.iter().filter(|(scope, _)| Kind::of(scope) == kind)
        {
            let scope = scope.strip_prefix("enterprises/").unwrap_or(scope);
            for runner in &registered.runners {
                let name = name(runner);
                let online = f64::from(u8::from(runner.status == RunnerStatus::Online));
                rows.add(&[scope, &name, &runner.os, word(runner.busy)], &[1, 2], online);
                if kind == Kind::Organization {
                    let names: Vec<_> =
                        runner.labels.iter().map(|label| label.name.clone()).collect();
                    let labels = normalise::labels(&names);
                    let is = if online > 0.0 { "online" } else { "offline" };
                    status.add(&[scope, &name, &runner.os, &labels, is], &[1, 2, 3], 1.0);
                    let key = [scope, &*name, &runner.os, &labels, word(runner.busy)];
                    busy.add(&key, &[1, 2, 3], 1.0);
                    for label in &names {
                        let label = normalise::labels(std::slice::from_ref(label));
                        by_label.add(&[scope, &label, is, word(runner.busy)], &[1], 1.0);
                    }
                }
            }
        }
        for (key, value) in rows.0 {
            if let [scope, name, os, busy] = &*key {
                out.add(desc, &[scope, os, name, busy], value);
            }
        }
    }
    status.fill(&ORG_STATUS, out);
    busy.fill(&ORG_BUSY, out);
    by_label.fill(&ORG_LABEL_STATUS, out);
}

fn scale_set(state: &State, present: &Present<'_>, fleet: &Fleet, out: &mut Families) {
    let mut assigned = Rows::default();
    for ((repository, labels, _), group) in &present.queued {
        assigned.add(&[labels, repository], &[0, 1], group.count as f64);
    }
    for ((repository, labels), group) in &present.running {
        assigned.add(&[labels, repository], &[0, 1], group.count as f64);
        out.add(&RUNNING, &[labels, repository], group.count as f64);
    }
    assigned.fill(&ASSIGNED, out);
    let [mut registered, mut busy, mut idle] = [Rows::default(), Rows::default(), Rows::default()];
    for (scope, all) in &fleet.scopes {
        for runner in &all.runners {
            let names: Vec<_> = runner.labels.iter().map(|label| label.name.clone()).collect();
            let labels = normalise::labels(&names);
            let key = match Kind::of(scope) {
                Kind::Repository => [&*labels, scope, "", ""],
                Kind::Organization => [&*labels, "", scope, ""],
                Kind::Enterprise => [&*labels, "", "", scope.trim_start_matches("enterprises/")],
            };
            let online = runner.status == RunnerStatus::Online;
            registered.add(&key, &[0], 1.0);
            busy.add(&key, &[0], f64::from(u8::from(runner.busy)));
            idle.add(&key, &[0], f64::from(u8::from(online && !runner.busy)));
        }
    }
    registered.fill(&REGISTERED, out);
    busy.fill(&BUSY, out);
    idle.fill(&IDLE, out);
    let counts = &state.counts;
    for (key, moves) in counts.moves.iter() {
        if let [repository, labels] = *key {
            out.add(&STARTED, &[labels, repository], moves.started as f64);
        }
    }
    for (key, count) in counts.job_conclusions.iter() {
        out.add(&COMPLETED, &key, *count as f64);
    }
    histograms(out, &STARTUP, &counts.job_queue, &QUEUE_BOUNDS);
    histograms(out, &EXECUTION, &counts.job_duration, &DURATION_BOUNDS);
}

fn workflow_jobs(state: &State, out: &mut Families) {
    let counts = &state.counts;
    histograms(out, &JOB_RUN, &counts.job_duration, &DURATION_BOUNDS);
    for (key, moves) in counts.moves.iter() {
        out.add(&JOBS_QUEUED, &key, moves.queued as f64);
        out.add(&JOBS_STARTED, &key, moves.started as f64);
        out.add(&JOBS_COMPLETED, &key, moves.completed as f64);
    }
    for (key, count) in counts.job_conclusions.iter() {
        out.add(&JOB_CONCLUSIONS, &key, *count as f64);
        if let [repository, workflow, "failure"] = *key {
            out.add(&JOB_FAILURES, &[repository, workflow], *count as f64);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Repository,
    Organization,
    Enterprise,
}

impl Kind {
    fn of(scope: &str) -> Kind {
        match scope {
            _ if scope.starts_with("enterprises/") => Kind::Enterprise,
            _ if scope.contains('/') => Kind::Repository,
            _ => Kind::Organization,
        }
    }
}

fn name(runner: &Runner) -> String {
    match runner.ephemeral {
        Some(true) => normalise::pool(&runner.name),
        _ => normalise::text(&runner.name),
    }
}

fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}
