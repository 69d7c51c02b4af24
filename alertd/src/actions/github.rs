//! GitHub's runners and jobs as the pools look at them.

use pitcrew_exporter::github::model;

use super::health::OnGithub;
use super::sight::{Job, Listed, Stage};
use crate::model::sample::Timestamp;

pub(super) fn listed(runner: model::Runner) -> Listed {
    let status = match runner.status {
        // A runner that died in the middle of a job stays busy until GitHub gives the job up.
        model::RunnerStatus::Online if runner.busy => OnGithub::Busy,
        model::RunnerStatus::Online => OnGithub::Online,
        model::RunnerStatus::Offline => OnGithub::Offline,
        model::RunnerStatus::Other => OnGithub::Unknown,
    };
    Listed {
        id: runner.id,
        name: runner.name,
        status,
        ephemeral: runner.ephemeral == Some(true),
        labels: runner.labels.into_iter().map(|label| label.name).collect(),
    }
}

/// `None` for a job that no runner could take yet: it waits for a gate, not for a runner.
pub(super) fn job(job: model::Job, now: Timestamp) -> Option<Job> {
    let time = |seconds: Option<f64>| seconds.map(Timestamp::from_seconds);
    let began = time(job.started_at).or(time(job.created_at)).unwrap_or(now);
    let stage = match (job.status, job.runner_name) {
        (model::JobStatus::Queued, _) => {
            Stage::Waiting { since: time(job.created_at).unwrap_or(began) }
        }
        (model::JobStatus::InProgress, Some(runner)) => Stage::Running { runner, since: began },
        (model::JobStatus::Completed, runner) => {
            Stage::Over { runner: runner.unwrap_or_default(), since: began }
        }
        _ => return None,
    };
    Some(Job {
        id: job.id,
        name: job.name,
        repository: job.repository,
        run_id: job.run_id,
        url: job.html_url.unwrap_or_default(),
        labels: job.labels,
        stage,
    })
}
