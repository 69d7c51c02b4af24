//! The state as metric families: what was counted, and who waits or runs now.

use crate::metric::{Desc, Families};
use crate::workflows::compat;
use crate::workflows::fleet::Fleet;
use crate::workflows::jobs::Odd;
use crate::workflows::present::Present;
use crate::workflows::state::State;
use crate::workflows::state::counts::{Counts, DURATION_BOUNDS, QUEUE_BOUNDS};
use crate::workflows::tally::{Histogram, Tally};

const JOB_QUEUE: Desc = Desc::histogram(
    "github_workflow_job_queue_duration_seconds",
    "Time that jobs waited for a runner: from their creation, or from when their gate opened, to \
     their start. Below zero counts as 0.",
)
.with_labels(&["repository", "labels"]);

const QUEUED: Desc = Desc::gauge(
    "github_workflow_jobs_queued",
    "Jobs that wait now, and why: no_runner has all their labels, all_busy, offline, gate, \
     concurrency, suspected_zombie (likely forgotten), not_assigned (an idle runner matches), \
     hosted (by GitHub), unknown (runners not readable).",
)
.with_labels(&["repository", "labels", "reason"]);

const OLDEST_QUEUED: Desc = Desc::gauge(
    "github_workflow_job_oldest_queued_timestamp_seconds",
    "When the job that waits longest began to wait, in unixtime.",
)
.with_labels(&["repository", "labels", "reason"]);

const IN_PROGRESS: Desc =
    Desc::gauge("github_workflow_jobs_in_progress", "Jobs that a runner works on now.")
        .with_labels(&["repository", "labels"]);

const OLDEST_IN_PROGRESS: Desc = Desc::gauge(
    "github_workflow_job_oldest_in_progress_timestamp_seconds",
    "When the job that has been running for longest began, in unixtime.",
)
.with_labels(&["repository", "workflow"]);

const JOB_DURATION: Desc = Desc::histogram(
    "github_workflow_job_duration_seconds",
    "Time from start to end of jobs that ran.",
)
.with_labels(&["repository", "workflow", "conclusion"]);

const NAMED_JOBS: Desc = Desc::histogram(
    "github_workflow_named_job_duration_seconds",
    "Time from start to end of jobs whose names `github.metrics.jobs` lists.",
)
.with_labels(&["repository", "workflow", "job_name"]);

const JOB_CONCLUSION: Desc = Desc::counter(
    "github_workflow_job_conclusion_total",
    "Jobs that ended, also those that never ran.",
)
.with_labels(&["repository", "workflow", "conclusion"]);

const RUNS: Desc =
    Desc::gauge("github_workflow_runs", "Runs that have not ended, by what they wait for or do.")
        .with_labels(&["repository", "status"]);

const RUN_QUEUE: Desc = Desc::histogram(
    "github_workflow_run_queue_duration_seconds",
    "Time from asking for a run to the start of its first job.",
)
.with_labels(&["repository"]);

const RUN_DURATION: Desc = Desc::histogram(
    "github_workflow_run_duration_seconds",
    "Time from the start of a run's attempt to its end, for those that ran.",
)
.with_labels(&["repository", "workflow"]);

const RUN_CONCLUSION: Desc = Desc::counter(
    "github_workflow_run_conclusion_total",
    "Attempts of runs that ended, also those that never ran.",
)
.with_labels(&["repository", "workflow", "conclusion"]);

const IN_A_ROW: Desc = Desc::gauge(
    "github_workflow_consecutive_failures",
    "Runs that failed or timed out since the last one that succeeded; cancelled and skipped ones \
     change nothing. branch is default, release, pull_request, merge_queue or other.",
)
.with_labels(&["repository", "workflow", "branch"]);

const RUNNER_SECONDS: Desc = Desc::counter(
    "github_workflow_runner_seconds_total",
    "Time that jobs had a runner, by its class: the first of github.metrics.prices that fits, else \
     self_hosted or hosted.",
)
.with_labels(&["repository", "class", "hosted"]);

const RUNNER_COST: Desc = Desc::counter(
    "github_workflow_runner_cost_total",
    "That time at the class's price, in the currency of github.metrics.prices.",
)
.with_labels(&["repository", "class", "hosted"]);

const PULL_OPENED: Desc =
    Desc::counter("github_pull_requests_opened_total", "Pull requests that were opened.")
        .with_labels(&["repository", "author"]);

const PULL_CLOSED: Desc = Desc::counter(
    "github_pull_requests_closed_total",
    "Pull requests that were closed without being merged.",
)
.with_labels(&["repository", "author"]);

const PULL_MERGED: Desc =
    Desc::counter("github_pull_requests_merged_total", "Pull requests that were merged.")
        .with_labels(&["repository", "author"]);

const PULL_FILES: Desc = Desc::counter(
    "github_pull_request_changed_files_total",
    "Files changed by the pull requests that were merged.",
)
.with_labels(&["repository", "author"]);

const DEPLOYMENTS: Desc = Desc::counter(
    "github_deployment_statuses_total",
    "States that deployments came into, such as success and failure.",
)
.with_labels(&["repository", "environment", "state"]);

const ODD: Desc = Desc::counter(
    "pitcrew_exporter_github_oddities_total",
    "Jobs and runs that were not counted as they were told, by kind; negative times are counted \
     as 0, the others not at all.",
)
.with_labels(&["kind"]);

const FOLDED: Desc = Desc::counter(
    "pitcrew_exporter_github_series_dropped_total",
    "Times that something was counted under other because its family has no room for more series.",
)
.with_labels(&["family"]);

const CROWDED_OUT: Desc = Desc::counter(
    "pitcrew_exporter_github_crowded_out_total",
    "Unfinished jobs and runs that were given up because there are too many of them.",
);

const OPEN: Desc = Desc::gauge(
    "pitcrew_exporter_github_tracked",
    "Jobs and runs that are followed until they end.",
)
.with_labels(&["what"]);

/// What the state exposes.
pub(crate) const DESCS: &[Desc] = &[
    JOB_QUEUE,
    QUEUED,
    OLDEST_QUEUED,
    IN_PROGRESS,
    OLDEST_IN_PROGRESS,
    JOB_DURATION,
    NAMED_JOBS,
    JOB_CONCLUSION,
    RUNS,
    RUN_QUEUE,
    RUN_DURATION,
    RUN_CONCLUSION,
    IN_A_ROW,
    RUNNER_SECONDS,
    RUNNER_COST,
    PULL_OPENED,
    PULL_CLOSED,
    PULL_MERGED,
    PULL_FILES,
    DEPLOYMENTS,
    ODD,
    FOLDED,
    CROWDED_OUT,
    OPEN,
];

impl State {
    /// Adds all families, as they stand at `now`, in seconds since the Unix epoch.
    pub fn families(&self, now: f64, fleet: &Fleet, out: &mut Families) {
        let present = Present::new(self, now, fleet);
        let counts = &self.counts;
        histograms(out, &JOB_QUEUE, &counts.job_queue, &QUEUE_BOUNDS);
        now_families(&present, out);
        histograms(out, &JOB_DURATION, &counts.job_duration, &DURATION_BOUNDS);
        histograms(out, &NAMED_JOBS, &counts.named_jobs, &DURATION_BOUNDS);
        totals(out, &JOB_CONCLUSION, &counts.job_conclusions, |count| Some(*count as f64));
        histograms(out, &RUN_QUEUE, &counts.run_queue, &QUEUE_BOUNDS);
        histograms(out, &RUN_DURATION, &counts.run_duration, &DURATION_BOUNDS);
        totals(out, &RUN_CONCLUSION, &counts.run_conclusions, |count| Some(*count as f64));
        totals(out, &IN_A_ROW, &counts.in_a_row, |row| Some(row.failures as f64));
        totals(out, &RUNNER_SECONDS, &counts.runner_time, |time| {
            Some(time.milliseconds as f64 / 1e3)
        });
        totals(out, &RUNNER_COST, &counts.runner_time, |time| {
            time.cost_millionths.map(|cost| cost as f64 / 1e6)
        });
        let pulls = &counts.pull_requests;
        totals(out, &PULL_OPENED, pulls, |pulls| Some(pulls.opened as f64));
        totals(out, &PULL_CLOSED, pulls, |pulls| Some(pulls.closed as f64));
        totals(out, &PULL_MERGED, pulls, |pulls| Some(pulls.merged as f64));
        totals(out, &PULL_FILES, pulls, |pulls| Some(pulls.changed_files as f64));
        totals(out, &DEPLOYMENTS, &counts.deployments, |count| Some(*count as f64));
        self.own_health(out);
        compat::families(self, &present, fleet, out);
    }

    fn own_health(&self, out: &mut Families) {
        let counts = &self.counts;
        for (odd, word) in Odd::ALL {
            out.add(&ODD, &[word], counts.odd.get(&odd).copied().unwrap_or(0) as f64);
        }
        for (desc, folded) in folded(counts) {
            out.add(&FOLDED, &[desc.name], folded as f64);
        }
        out.set(&CROWDED_OUT, counts.crowded_out as f64);
        out.add(&OPEN, &["jobs"], self.jobs.len() as f64);
        out.add(&OPEN, &["runs"], self.runs.len() as f64);
    }
}

fn now_families(present: &Present<'_>, out: &mut Families) {
    for ((repository, labels, reason), group) in &present.queued {
        out.add(&QUEUED, &[repository, labels, reason.word()], group.count as f64);
    }
    for ((repository, labels, reason), group) in &present.queued {
        if let Some(oldest) = group.oldest {
            out.add(&OLDEST_QUEUED, &[repository, labels, reason.word()], oldest);
        }
    }
    for ((repository, labels), group) in &present.running {
        out.add(&IN_PROGRESS, &[repository, labels], group.count as f64);
    }
    for ((repository, workflow), group) in &present.by_workflow {
        if let Some(oldest) = group.oldest {
            out.add(&OLDEST_IN_PROGRESS, &[repository, workflow], oldest);
        }
    }
    for ((repository, status), group) in &present.runs {
        out.add(&RUNS, &[repository, status], group.count as f64);
    }
}

pub(super) fn histograms(
    out: &mut Families,
    desc: &Desc,
    tally: &Tally<Histogram>,
    bounds: &[f64],
) {
    for (key, histogram) in tally.iter() {
        out.add_histogram(desc, &key, &histogram.buckets(bounds), histogram.sum(), histogram.count);
    }
}

pub(super) fn totals<V: Default>(
    out: &mut Families,
    desc: &Desc,
    tally: &Tally<V>,
    value: impl Fn(&V) -> Option<f64>,
) {
    for (key, entry) in tally.iter() {
        if let Some(value) = value(entry) {
            out.add(desc, &key, value);
        }
    }
}

/// How often each family that is counted up had no room.
fn folded(counts: &Counts) -> [(&'static Desc, u64); 11] {
    [
        (&JOB_QUEUE, counts.job_queue.folded),
        (&JOB_DURATION, counts.job_duration.folded),
        (&NAMED_JOBS, counts.named_jobs.folded),
        (&JOB_CONCLUSION, counts.job_conclusions.folded),
        (&RUN_QUEUE, counts.run_queue.folded),
        (&RUN_DURATION, counts.run_duration.folded),
        (&RUN_CONCLUSION, counts.run_conclusions.folded),
        (&IN_A_ROW, counts.in_a_row.folded),
        (&RUNNER_SECONDS, counts.runner_time.folded),
        (&PULL_OPENED, counts.pull_requests.folded),
        (&DEPLOYMENTS, counts.deployments.folded),
    ]
}
