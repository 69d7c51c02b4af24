//! Runs, their attempts, and what is counted of them.

use super::*;

fn run(id: u64, status: Status) -> Run {
    Run {
        id,
        attempt: 1,
        repository: "octo/app".into(),
        workflow: "ci".into(),
        event: "push".into(),
        branch: Some("main".into()),
        status,
        created_at: Some(T),
        started_at: Some(T),
        updated_at: Some(T),
        ..Run::default()
    }
}

fn over(id: u64, at: f64, conclusion: &str) -> Run {
    let conclusion = Some(conclusion.to_owned());
    Run { updated_at: Some(at), conclusion, ..run(id, Status::Completed) }
}

fn apply(state: &mut State, received: f64, run: Run) {
    state.apply(&told(received, What::Run(run)));
}

fn in_a_row(state: &State, class: &str) -> Option<f64> {
    let labels = format!("repository=\"octo/app\",workflow=\"ci\",branch=\"{class}\"");
    value(state, &format!("github_workflow_consecutive_failures{{{labels}}}"))
}

fn runs_queue(state: &State) -> (f64, u64) {
    state.counts.run_queue.iter().fold((0.0, 0), |(sum, count), (_, histogram)| {
        (sum + histogram.sum(), count + histogram.count)
    })
}

fn runs_time(state: &State) -> (f64, u64) {
    state.counts.run_duration.iter().fold((0.0, 0), |(sum, count), (_, histogram)| {
        (sum + histogram.sum(), count + histogram.count)
    })
}

#[test]
fn a_run_in_flight_is_no_failure() {
    let mut state = State::default();
    for status in [Status::Requested, Status::Queued, Status::InProgress] {
        apply(&mut state, T + 1.0, run(1, status));
    }
    let count = |state: &State, conclusion: &str| {
        let labels = format!("repository=\"octo/app\",workflow=\"ci\",conclusion=\"{conclusion}\"");
        value(state, &format!("github_workflow_run_conclusion_total{{{labels}}}"))
    };
    assert_eq!(count(&state, "failure"), Some(0.0), "shown as 0 before the first");
    let open = "github_workflow_runs{repository=\"octo/app\",status=\"in_progress\"}";
    assert_eq!((value(&state, open), in_a_row(&state, "default")), (Some(1.0), None));
    apply(&mut state, T + 90.0, over(1, T + 90.0, "failure"));
    assert_eq!((count(&state, "failure"), count(&state, "success")), (Some(1.0), Some(0.0)));
    assert_eq!((value(&state, open), in_a_row(&state, "default")), (None, Some(1.0)));
}

#[test]
fn a_runs_queue_time_ends_when_its_first_job_begins() {
    let mut state = State::default();
    apply(&mut state, T + 1.0, run(1001, Status::Queued));
    let of_run = |job: Job| told(T + 60.0, What::Job(Job { run_id: 1001, ..job }));
    state.apply(&of_run(running(2, T + 55.0)));
    state.apply(&of_run(running(1, T + 42.0)));
    apply(&mut state, T + 300.0, over(1001, T + 300.0, "success"));
    state.expire(T + 400.0);
    assert_eq!((runs_queue(&state), runs_time(&state)), ((42.0, 1), (300.0, 1)));
    // Without its jobs: what GitHub says when it goes in progress.
    let mut state = State::default();
    apply(&mut state, T + 8.0, Run { updated_at: Some(T + 7.0), ..run(2, Status::InProgress) });
    apply(&mut state, T + 90.0, over(2, T + 90.0, "success"));
    state.expire(T + 200.0);
    assert_eq!(runs_queue(&state), (7.0, 1));
    // Nothing but its end: no queue time of 0 is made up.
    let mut state = State::default();
    apply(&mut state, T + 90.0, over(3, T + 90.0, "success"));
    state.expire(T + 200.0);
    assert_eq!((runs_queue(&state), odd(&state, Odd::StartUnknown)), ((0.0, 0), 1));
}

#[test]
fn a_run_that_ended_before_it_began_has_no_duration() {
    for conclusion in ["cancelled", "skipped", "action_required", "startup_failure"] {
        let mut state = State::default();
        apply(&mut state, T + 50.0, over(1, T + 50.0, conclusion));
        state.expire(T + 70.0);
        assert_eq!((runs_time(&state), runs_queue(&state)), ((0.0, 0), (0.0, 0)), "{conclusion}");
        assert!(state.open_runs().is_empty());
    }
}

#[test]
fn a_rerun_does_not_count_the_jobs_of_earlier_attempts_again() {
    let mut state = State::default();
    let of = |job: Job, attempt: u32| What::Job(Job { run_id: 1, run_attempt: attempt, ..job });
    state.apply(&told(T + 60.0, of(ended(1, T + 5.0, T + 50.0, "success"), 1)));
    state.apply(&told(T + 60.0, of(ended(2, T + 5.0, T + 55.0, "failure"), 1)));
    apply(&mut state, T + 60.0, over(1, T + 56.0, "failure"));
    let again = Run { attempt: 2, started_at: Some(T + 1000.0), ..run(1, Status::Queued) };
    apply(&mut state, T + 1000.0, again.clone());
    // The copy of the job that had succeeded, under a new id and with its old times.
    let copy = Job { created_at: Some(T + 1000.0), ..ended(11, T + 5.0, T + 50.0, "success") };
    state.apply(&told(T + 1001.0, of(copy, 2)));
    let anew = Job { created_at: Some(T + 1000.0), ..ended(12, T + 1030.0, T + 1090.0, "success") };
    state.apply(&told(T + 1091.0, of(anew, 2)));
    let over = Run { started_at: again.started_at, attempt: 2, ..over(1, T + 1100.0, "success") };
    apply(&mut state, T + 1100.0, over);
    state.expire(T + 1200.0);
    assert_eq!((durations(&state), odd(&state, Odd::CarriedOver)), ((155.0, 3), 1));
    assert_eq!(queue(&state), (5.0 + 5.0 + 30.0, 3));
    assert_eq!((runs_time(&state).1, in_a_row(&state, "default")), (2, Some(0.0)));
    assert_eq!(runs_queue(&state), (35.0, 2), "of the second attempt from its own start");
}

#[test]
fn open_jobs_of_a_run_that_is_over_do_not_wait_for_ever() {
    let mut state = State::default();
    let of_run = |id: u64| What::Job(Job { run_id: 1, ..job(id, Status::Queued) });
    state.apply(&told(T + 1.0, of_run(1)));
    state.apply(&told(T + 1.0, of_run(2)));
    let queued = "github_workflow_jobs_queued{repository=\"octo/app\",\
                  labels=\"linux,self-hosted\",reason=\"suspected_zombie\"}";
    assert_eq!(value(&state, queued), Some(2.0), "long after");
    apply(&mut state, T + 50.0, over(1, T + 50.0, "cancelled"));
    assert_eq!(value(&state, queued), None);
    assert_eq!(state.open_jobs().len(), 2, "still to be asked about");
    state.expire(T + 7200.0);
    assert!(state.open_jobs().is_empty());
    assert_eq!(odd(&state, Odd::Superseded), 2);
}

#[test]
fn a_run_that_never_moved_is_not_real_demand() {
    let mut state = State::default();
    apply(&mut state, T + 1.0, run(1, Status::Queued));
    state.apply(&told(T + 1.0, What::Job(Job { run_id: 1, ..job(1, Status::Queued) })));
    let reasons = |now: f64| -> Vec<String> {
        let page = page(&state, now, &Fleet::default());
        let queued =
            page.iter().filter(|(name, _)| name.starts_with("github_workflow_jobs_queued"));
        queued.map(|(name, _)| name.rsplit('"').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(reasons(T + 3600.0), ["unknown"]);
    assert_eq!(reasons(T + 7.0 * 3600.0), ["suspected_zombie"]);
}

#[test]
fn failures_in_a_row_end_with_a_success_and_heed_neither_order_nor_cancelled_runs() {
    let mut state = State::default();
    for (id, at, conclusion, want) in [
        (1, 10.0, "failure", 1.0),
        (2, 20.0, "cancelled", 1.0),
        (3, 30.0, "timed_out", 2.0),
        (4, 40.0, "startup_failure", 3.0),
        (5, 35.0, "success", 3.0),
        (6, 50.0, "success", 0.0),
        (7, 45.0, "failure", 0.0),
    ] {
        apply(&mut state, T + 60.0, over(id, T + at, conclusion));
        assert_eq!(in_a_row(&state, "default"), Some(want), "after {id}");
    }
    let pull = Run { event: "pull_request".into(), ..over(8, T + 60.0, "failure") };
    apply(&mut state, T + 60.0, pull);
    assert_eq!(in_a_row(&state, "pull_request"), Some(1.0));
    assert_eq!(in_a_row(&state, "default"), Some(0.0), "a pull request breaks nobody's branch");
}

#[test]
fn what_must_be_asked_about_is_told_until_it_ends() {
    let mut state = State::default();
    state.apply(&told(T + 1.0, What::Job(running(1, T))));
    let open = state.open_runs();
    assert_eq!((open[0].id, open[0].status, open[0].heard), (1001, Status::Other, T + 1.0));
    apply(&mut state, T + 2.0, run(1001, Status::InProgress));
    assert_eq!(state.open_runs()[0].status, Status::InProgress);
    apply(&mut state, T + 9.0, over(1001, T + 9.0, "success"));
    assert!(state.open_runs().is_empty());
    assert_eq!(state.open_jobs()[0].run_id, 1001);
    let stub = Job { run_id: 7, ..job(3, Status::Queued) };
    state.apply(&told(T + 10.0, What::Job(stub)));
    state.expire(T + 90_000.0);
    assert!(state.open_runs().is_empty(), "nobody tells of it");
}
