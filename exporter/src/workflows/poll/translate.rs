//! GitHub's answers as events.

use crate::github::model::{self, JobStatus};
use crate::workflows::event::{Event, Job, Run, Source, Status, What};

/// What a poll heard at `now`, in seconds since the Unix epoch.
pub(super) fn run(run: &model::Run, now: f64) -> Event {
    let run = Run {
        id: run.id,
        attempt: run.run_attempt,
        repository: run.repository.clone(),
        workflow: run.name.clone().unwrap_or_default(),
        event: run.event.clone(),
        branch: run.head_branch.clone(),
        status: status(run.status.unwrap_or(JobStatus::Other)),
        conclusion: run.conclusion.clone(),
        created_at: time(run.created_at),
        started_at: time(run.run_started_at),
        updated_at: time(run.updated_at),
        ..Run::default()
    };
    Event { source: Source::Poll, received: now, what: What::Run(run) }
}

pub(super) fn job(job: &model::Job, now: f64) -> Event {
    let job = Job {
        id: job.id,
        run_id: job.run_id,
        run_attempt: job.run_attempt,
        repository: job.repository.clone(),
        workflow: job.workflow_name.clone().unwrap_or_default(),
        name: job.name.clone(),
        branch: job.head_branch.clone(),
        labels: job.labels.clone(),
        status: status(job.status),
        conclusion: job.conclusion.clone(),
        created_at: time(job.created_at),
        started_at: time(job.started_at),
        completed_at: time(job.completed_at),
        runner: job.runner_name.clone(),
        runner_group: job.runner_group_name.clone(),
        ..Job::default()
    };
    Event { source: Source::Poll, received: now, what: What::Job(job) }
}

fn status(status: JobStatus) -> Status {
    match status {
        JobStatus::Requested => Status::Requested,
        JobStatus::Pending => Status::Pending,
        JobStatus::Waiting => Status::Waiting,
        JobStatus::Queued => Status::Queued,
        JobStatus::InProgress => Status::InProgress,
        JobStatus::Completed => Status::Completed,
        JobStatus::Other => Status::Other,
    }
}

/// GitHub writes the year 1 where it has no time.
fn time(at: Option<f64>) -> Option<f64> {
    at.filter(|at| *at > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_times_are_none() {
        let text = r#"{"id": 1, "run_id": 2, "name": "a", "status": "completed",
            "conclusion": "cancelled", "runner_name": "", "created_at": "2026-11-21T06:05:33Z",
            "started_at": "0001-01-01T00:00:00Z", "completed_at": ""}"#;
        let model: model::Job = serde_json::from_str(text).unwrap();
        let What::Job(job) = job(&model, 5.0).what else { panic!("no job") };
        assert_eq!((job.created_at, job.started_at), (Some(1_795_241_133.0), None));
        assert_eq!((job.completed_at, job.runner, job.run_attempt), (None, None, 1));
    }
}
