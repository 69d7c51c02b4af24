//! However many and however odd the names: few series, little memory.

use super::*;
use crate::github::model::{LabelKind, Runner, RunnerLabel, RunnerStatus};
use crate::workflows::fleet::Registered;
use crate::workflows::state::settings::Compatibility;

/// Names as an attacker, a matrix and a bot would make them up.
fn hostile(at: u64) -> [Job; 3] {
    let names = ["ci", "a\"b\\c\n", "\u{202e}ic", "", "x{y=\"z\"}"];
    let name = names[at as usize % names.len()];
    let of = |job: Job| Job {
        run_id: at / 3,
        repository: format!("octo/repo-{}", at % 997),
        workflow: format!("{name} {at}"),
        name: format!("build ({at}, {})", "x".repeat(at as usize % 300)),
        branch: Some(format!("refs/pull/{at}/merge")),
        labels: vec![format!("run-{at}"), "self-hosted".into(), format!("l{}", at % 7919)],
        runner: job.runner.as_ref().map(|_| format!("ephemeral-{at}")),
        created_at: Some(T + at as f64 * 0.1),
        ..job
    };
    let start = T + at as f64 * 0.1 + 5.0;
    let conclusion = format!("conclusion-{}", at % 50);
    [
        of(job(at, Status::Queued)),
        of(running(at, start)),
        of(ended(at, start, start + 9.0, &conclusion)),
    ]
}

fn hostile_run(at: u64) -> Run {
    Run {
        id: at,
        attempt: 1 + (at % 3) as u32,
        repository: format!("octo/repo-{}", at % 997),
        workflow: format!("wf {at} \u{0}"),
        event: format!("event-{at}"),
        branch: Some(format!("feature/{at}")),
        status: if at.is_multiple_of(2) { Status::Completed } else { Status::Pending },
        conclusion: Some(format!("c{at}")),
        created_at: Some(T + at as f64 * 0.1),
        started_at: Some(T + at as f64 * 0.1),
        updated_at: Some(T + at as f64 * 0.1 + 60.0),
        ..Run::default()
    }
}

fn flood(state: &mut State, ids: std::ops::Range<u64>) {
    for at in ids {
        let received = T + at as f64 * 0.1 + 15.0;
        let [queued, running, ended] = hostile(at);
        // Every fifth never ends.
        let jobs = if at.is_multiple_of(5) { vec![queued, running] } else { vec![queued, ended] };
        for job in jobs {
            state.apply(&told(received, What::Job(job)));
        }
        state.apply(&told(received, What::Run(hostile_run(at))));
        state.apply(&told(
            received,
            What::PullRequest(PullRequest {
                repository: format!("octo/repo-{at}"),
                number: at,
                action: "opened".into(),
                ..PullRequest::default()
            }),
        ));
        state.apply(&told(
            received,
            What::Deployment(Deployment {
                id: at,
                repository: format!("octo/repo-{at}"),
                environment: format!("preview-{at}"),
                state: format!("s{at}"),
            }),
        ));
    }
}

fn fleet(count: u64) -> Fleet {
    let runner = |at: u64| Runner {
        id: at,
        name: format!("runner-{at}"),
        os: "linux".into(),
        status: if at.is_multiple_of(3) { RunnerStatus::Offline } else { RunnerStatus::Online },
        busy: at.is_multiple_of(2),
        labels: ["self-hosted".to_owned(), format!("l{at}")]
            .map(|name| RunnerLabel { name, kind: LabelKind::Custom })
            .into(),
        ephemeral: None,
        runner_group_id: None,
        version: None,
    };
    let registered = Registered { runners: (0..count).map(runner).collect(), read_at: T };
    Fleet { scopes: [("octo".to_owned(), registered)].into() }
}

#[test]
fn a_hundred_thousand_hostile_jobs_stay_within_the_caps() {
    let mut state = State::default();
    flood(&mut state, 0..100_000);
    let fleet = fleet(1000);
    let now = T + 10_010.0;
    let series = page(&state, now, &fleet);
    assert!(series.len() < 2000, "{} series", series.len());
    let mut names: Vec<_> = series.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), series.len(), "each series once");
    let folded = "pitcrew_exporter_github_series_dropped_total\
                  {family=\"github_workflow_job_queue_duration_seconds\"}";
    assert!(series.iter().any(|(name, value)| name == folded && *value > 90_000.0));
    assert_eq!(queue(&state).1, 100_000, "what has no series of its own is counted under other");
    let jobs: u64 = state.counts.job_conclusions.iter().map(|(_, count)| *count).sum();
    assert_eq!(jobs, 80_000);

    // As much again: no more memory, as far as what is stored tells.
    let before = serde_json::to_string(&state).unwrap().len();
    flood(&mut state, 100_000..150_000);
    let after = serde_json::to_string(&state).unwrap().len();
    assert!(after < before + before / 10, "{before} bytes, then {after}");
    assert!(state.jobs.len() <= MAX_JOBS && state.runs.len() <= MAX_RUNS);
    assert!(state.counts.crowded_out > 0);

    // When all have been silent for long, nothing of it is left.
    state.expire(T + 100.0 * 86_400.0);
    assert!(state.jobs.is_empty() && state.runs.is_empty());
    assert!(state.held_jobs.is_empty() && state.held_runs.is_empty());
    let left = page(&state, T + 100.0 * 86_400.0, &fleet);
    assert!(left.iter().all(|(name, _)| name.starts_with("pitcrew_exporter_github_")), "{left:?}");
}

#[test]
fn others_names_are_bounded_too_and_absent_unless_asked_for() {
    let mut state = State::default();
    flood(&mut state, 0..5000);
    let fleet = fleet(3000);
    let ours = page(&state, T + 510.0, &fleet);
    assert!(!ours.iter().any(|(name, _)| name.starts_with("gha_")));
    use Compatibility::{Gha, GithubRunner, GithubWorkflowJob};
    let compatibility = vec![Gha, GithubRunner, GithubWorkflowJob];
    state.configure(Arc::new(Settings { compatibility, ..Settings::default() }));
    let all = page(&state, T + 510.0, &fleet);
    assert!(all.len() < 10_000, "{} series", all.len());
    let sum = |start: &str, part: &str| -> f64 {
        let fits = |name: &str| name.starts_with(start) && name.contains(part);
        all.iter().filter(|(name, _)| fits(name)).map(|(_, value)| value).sum()
    };
    assert_eq!(sum("github_runner_org_status{", "status=\"online\""), 2000.0);
    assert_eq!(sum("github_runner_org_status{", "status=\"offline\""), 1000.0);
    assert_eq!(sum("github_runner_organization_status{", ""), 2000.0);
    assert_eq!(sum("github_runner_org_busy{", "busy=\"true\""), 1500.0);
    assert_eq!(sum("gha_registered_runners{", ""), 3000.0);
    assert_eq!(sum("gha_idle_runners{", ""), 1000.0);
    let running = sum("github_workflow_jobs_in_progress{", "");
    assert!(running > 0.0);
    assert_eq!(sum("gha_running_jobs{", ""), running);
    assert_eq!(sum("gha_job_startup_duration_seconds_count", ""), 5000.0);
    assert_eq!(sum("github_workflow_jobs_queued_total{", ""), 5000.0);
    assert_eq!(sum("github_workflow_jobs_completed_total{", ""), 4000.0);
}

#[test]
fn a_run_of_hundreds_of_jobs_counts_each_of_them() {
    let mut state = State::default();
    for id in 1..=256 {
        state.apply(&told(T + 1.0, What::Job(Job { run_id: 1, ..job(id, Status::Queued) })));
    }
    let queued: f64 = page(&state, T + 2.0, &Fleet::default())
        .iter()
        .filter(|(name, _)| name.starts_with("github_workflow_jobs_queued{"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(queued, 256.0, "jobs are counted, not runs");
}

#[test]
fn a_series_that_nothing_is_counted_in_ends() {
    let mut state = state(&[(T + 9.0, ended(1, T + 5.0, T + 9.0, "success"))]);
    state.expire(T + 100.0);
    let before = page(&state, T + 100.0, &Fleet::default()).len();
    state.expire(T + 9.0 * 86_400.0);
    let after = page(&state, T + 9.0 * 86_400.0, &Fleet::default()).len();
    assert!(after + 30 < before, "{before} then {after}");
    // Told again long after: neither counted again nor open again.
    state.apply(&told(T + 9.0 * 86_400.0, What::Job(ended(1, T + 5.0, T + 9.0, "success"))));
    assert_eq!((durations(&state).1, odd(&state, Odd::TooLate)), (0, 1));
}

#[test]
fn when_many_come_at_once_only_some_of_the_eldest_are_given_up() {
    let mut state = State::default();
    for id in 0..MAX_JOBS as u64 + 1 {
        state.apply(&told(T + 1.0, What::Job(job(id, Status::Queued))));
    }
    assert!(state.open_jobs().len() > MAX_JOBS * 3 / 4);
    assert!(state.counts.crowded_out > 0);
}
