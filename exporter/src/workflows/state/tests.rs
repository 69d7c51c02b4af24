//! News in and out of order, and what is counted of it.

use super::*;
use crate::metric::Families;
use crate::workflows::fleet::Fleet;

mod bounds;
mod runs;

/// Seconds since the Unix epoch at which these tests begin.
pub(super) const T: f64 = 1_700_000_000.0;

pub(super) fn job(id: u64, status: Status) -> Job {
    let text = |text: &str| text.to_owned();
    Job {
        id,
        run_id: 1000 + id,
        run_attempt: 1,
        repository: text("octo/app"),
        workflow: text("ci"),
        name: text("build"),
        labels: vec![text("self-hosted"), text("Linux")],
        status,
        created_at: Some(T),
        started_at: Some(T),
        ..Job::default()
    }
}

pub(super) fn running(id: u64, started: f64) -> Job {
    let runner = Some("r-1".to_owned());
    Job { started_at: Some(started), runner, ..job(id, Status::InProgress) }
}

pub(super) fn ended(id: u64, started: f64, completed: f64, conclusion: &str) -> Job {
    let conclusion = Some(conclusion.to_owned());
    let (completed_at, status) = (Some(completed), Status::Completed);
    Job { completed_at, conclusion, status, ..running(id, started) }
}

pub(super) fn told(received: f64, what: What) -> Event {
    Event { source: Source::Webhook, received, what }
}

/// A state that was told these, a second after the last of the times in them.
pub(super) fn state(events: &[(f64, Job)]) -> State {
    let mut state = State::default();
    for (received, job) in events {
        state.apply(&told(*received, What::Job(job.clone())));
    }
    state
}

/// What one family holds: labels and value of each sample, `name_suffix{labels}` for short.
pub(super) fn page(state: &State, now: f64, fleet: &Fleet) -> Vec<(String, f64)> {
    let mut out = Families::default();
    state.families(now, fleet, &mut out);
    let samples = out.iter().flat_map(|family| {
        family.samples.iter().map(move |sample| {
            (format!("{}{}{{{}}}", family.name, sample.suffix, sample.labels), sample.value)
        })
    });
    samples.collect()
}

#[track_caller]
pub(super) fn value(state: &State, series: &str) -> Option<f64> {
    let page = page(state, T + 1e6, &Fleet::default());
    page.iter().find(|(name, _)| name == series).map(|(_, value)| *value)
}

/// Sum and count of the queue times.
pub(super) fn queue(state: &State) -> (f64, u64) {
    state.counts.job_queue.iter().fold((0.0, 0), |(sum, count), (_, histogram)| {
        (sum + histogram.sum(), count + histogram.count)
    })
}

/// Sum and count of the jobs' durations.
pub(super) fn durations(state: &State) -> (f64, u64) {
    state.counts.job_duration.iter().fold((0.0, 0), |(sum, count), (_, histogram)| {
        (sum + histogram.sum(), count + histogram.count)
    })
}

pub(super) fn odd(state: &State, odd: Odd) -> u64 {
    state.counts.odd.get(&odd).copied().unwrap_or(0)
}

fn waiting(id: u64, changed: Option<f64>) -> Job {
    Job { gate_changed_at: changed, ..job(id, Status::Waiting) }
}

fn queued(id: u64, changed: Option<f64>) -> Job {
    Job { gate_changed_at: changed, ..job(id, Status::Queued) }
}

#[test]
fn queue_time_is_from_creation_to_start_and_not_between_steps() {
    let mut state = state(&[(T + 1.0, job(1, Status::Queued)), (T + 91.0, running(1, T + 90.0))]);
    assert_eq!(queue(&state), (90.0, 1));
    let series = "github_workflow_job_queue_duration_seconds_bucket\
                  {repository=\"octo/app\",labels=\"linux,self-hosted\",le=\"120\"}";
    assert_eq!(value(&state, series), Some(1.0));
    state.apply(&told(T + 99.0, What::Job(ended(1, T + 90.0, T + 99.0, "success"))));
    assert_eq!((queue(&state), durations(&state)), ((90.0, 1), (9.0, 1)));
}

#[test]
fn a_queued_job_whose_start_repeats_its_creation_has_no_queue_time_yet() {
    let state = state(&[(T + 1.0, job(1, Status::Queued))]);
    assert_eq!(queue(&state), (0.0, 0));
}

#[test]
fn waits_of_many_hours_do_not_all_fall_beyond_the_last_bucket() {
    let hours = 23.0 * 3600.0;
    let state = state(&[(T + 1.0, job(1, Status::Queued)), (T + hours, running(1, T + hours))]);
    let series = "github_workflow_job_queue_duration_seconds_bucket\
                  {repository=\"octo/app\",labels=\"linux,self-hosted\",le=\"86400\"}";
    assert_eq!(value(&state, series), Some(1.0));
}

#[test]
fn a_negative_queue_time_counts_as_zero_and_is_told() {
    let state = state(&[(T + 1.0, job(1, Status::Queued)), (T + 2.0, running(1, T - 3.0))]);
    assert_eq!((queue(&state), odd(&state, Odd::NegativeQueueTime)), ((0.0, 1), 1));
    let series = "pitcrew_exporter_github_oddities_total{kind=\"negative_queue_time\"}";
    assert_eq!(value(&state, series), Some(1.0));
}

#[test]
fn zero_and_missing_times_make_no_absurd_durations() {
    for (job, want) in [
        (Job { created_at: None, ..ended(1, T, T + 5.0, "success") }, Odd::CreatedUnknown),
        (Job { created_at: Some(0.0), ..ended(1, T, T + 5.0, "success") }, Odd::CreatedUnknown),
        (Job { started_at: None, ..ended(1, T, T + 5.0, "success") }, Odd::StartUnknown),
        (Job { completed_at: None, ..ended(1, T, T + 5.0, "success") }, Odd::EndUnknown),
        (Job { completed_at: Some(f64::NAN), ..ended(1, T, T, "success") }, Odd::EndUnknown),
        (Job { completed_at: Some(T * 2.0), ..ended(1, T, T, "success") }, Odd::AbsurdTime),
        (Job { created_at: Some(1.0), ..ended(1, T, T + 5.0, "success") }, Odd::AbsurdTime),
        (ended(1, T, T - 5.0, "failure"), Odd::NegativeDuration),
    ] {
        let mut state = state(&[(T + 9.0, job.clone())]);
        state.expire(T + 60.0);
        assert!(odd(&state, want) > 0, "{want:?} of {job:?}");
        for (name, value) in page(&state, T + 60.0, &Fleet::default()) {
            assert!((0.0..=3e9).contains(&value), "{name} {value} of {job:?}");
        }
        assert!(state.open_jobs().is_empty(), "{job:?}");
    }
}

#[test]
fn older_payloads_without_creation_take_it_from_the_queued_event() {
    let without = |job: Job| Job { created_at: None, ..job };
    let events =
        [(T + 1.0, without(job(1, Status::Queued))), (T + 8.0, without(running(1, T + 7.0)))];
    assert_eq!(queue(&state(&events)), (7.0, 1));
}

#[test]
fn a_start_that_is_missing_while_the_job_runs_is_taken_from_its_end() {
    let unstarted = Job { started_at: None, ..running(1, T) };
    let events = [
        (T + 1.0, job(1, Status::Queued)),
        (T + 8.0, unstarted),
        (T + 60.0, ended(1, T + 7.0, T + 59.0, "success")),
    ];
    let state = state(&events);
    assert_eq!((queue(&state), odd(&state, Odd::StartUnknown)), ((7.0, 1), 0));
}

#[test]
fn a_gate_of_which_only_the_end_was_told_is_taken_out_all_the_same() {
    let mut state =
        state(&[(T + 301.0, queued(1, Some(T + 300.0))), (T + 321.0, running(1, T + 320.0))]);
    state.expire(T + 400.0);
    assert_eq!(queue(&state), (20.0, 1));
}

#[test]
fn a_job_with_an_environment_of_which_only_the_start_was_told_has_no_queue_time() {
    let started = Job { gate_changed_at: Some(T + 320.0), ..running(1, T + 320.0) };
    let mut state = state(&[(T + 321.0, started)]);
    state.expire(T + 400.0);
    assert_eq!((queue(&state), odd(&state, Odd::GateEndUnknown)), ((0.0, 0), 1));
}

#[test]
fn time_at_a_gate_is_not_queue_time() {
    // As GitHub sends them: created and started are the same in all three.
    for exact in [true, false] {
        let at = |time: f64| exact.then_some(time);
        let mut state = state(&[
            (T + 1.0, Job { status: Status::Waiting, ..queued(1, at(T)) }),
            (T + 2.0, waiting(1, at(T))),
        ]);
        let gate = "github_workflow_jobs_queued{repository=\"octo/app\",\
                    labels=\"linux,self-hosted\",reason=\"gate\"}";
        assert_eq!(value(&state, gate), Some(1.0), "a gate is no lack of runners");
        state.apply(&told(T + 600.0, What::Job(queued(1, at(T + 600.0)))));
        assert_eq!(value(&state, gate), None, "{exact}");
        state.apply(&told(T + 611.0, What::Job(running(1, T + 610.0))));
        assert_eq!(queue(&state), (10.0, 1), "{exact}");
    }
}

#[test]
fn a_queued_event_before_the_gate_does_not_open_it() {
    for exact in [true, false] {
        let at = |time: f64| exact.then_some(time);
        let state = state(&[(T + 1.0, queued(1, at(T))), (T + 1.5, waiting(1, at(T)))]);
        assert_eq!(state.open_jobs()[0].status, Status::Waiting, "{exact}");
    }
}

#[test]
fn a_late_waiting_event_does_not_close_the_gate_again() {
    let last = |events: &[(f64, Job)]| state(events).open_jobs()[0].status;
    let gated = [(T + 900.0, queued(1, Some(T + 899.0))), (T + 901.0, waiting(1, Some(T)))];
    assert_eq!(last(&gated), Status::Queued);
    let gated = [(T + 900.0, queued(1, None)), (T + 901.0, waiting(1, None))];
    assert_eq!(last(&gated), Status::Queued);
    let twice =
        [(T + 1.0, waiting(1, None)), (T + 900.0, queued(1, None)), (T + 901.0, waiting(1, None))];
    assert_eq!(last(&twice), Status::Queued);
}

#[test]
fn a_gate_whose_end_nobody_told_gives_no_queue_time() {
    let mut state = state(&[(T + 1.0, waiting(1, None)), (T + 500.0, running(1, T + 499.0))]);
    assert_eq!(queue(&state), (0.0, 0), "the end of the gate may still come in");
    state.expire(T + 600.0);
    assert_eq!((queue(&state), odd(&state, Odd::GateEndUnknown)), ((0.0, 0), 1));
}

/// All orders in which a few things can come.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let place = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..count).map(move |at| place(order, at))).collect()
}

#[test]
fn whatever_the_order_and_the_repetitions_the_counts_are_the_same() {
    let events = [
        Job { status: Status::Waiting, ..queued(1, Some(T)) },
        waiting(1, Some(T + 1.0)),
        queued(1, Some(T + 600.0)),
        running(1, T + 615.0),
        ended(1, T + 615.0, T + 700.0, "failure"),
    ];
    for order in orders(events.len()) {
        let mut state = State::default();
        for (at, which) in order.iter().chain(&order).enumerate() {
            let received = T + 700.0 + 0.2 * at as f64;
            state.apply(&told(received, What::Job(events[*which].clone())));
        }
        state.expire(T + 800.0);
        assert_eq!(queue(&state), (15.0, 1), "{order:?}");
        assert_eq!(durations(&state), (85.0, 1), "{order:?}");
        let failed = "github_workflow_job_conclusion_total\
                      {repository=\"octo/app\",workflow=\"ci\",conclusion=\"failure\"}";
        assert_eq!(value(&state, failed), Some(1.0), "{order:?}");
        assert!(state.open_jobs().is_empty(), "{order:?}");
        assert!(page(&state, T + 800.0, &Fleet::default()).iter().all(|(name, _)| {
            !name.starts_with("github_workflow_jobs_queued") && !name.contains("in_progress")
        }));
    }
}

#[test]
fn a_job_whose_queued_event_was_lost_counts_all_the_same() {
    let mut state = state(&[(T + 40.0, running(1, T + 39.0))]);
    state.expire(T + 60.0);
    assert_eq!(queue(&state), (39.0, 1));
    let mut state = self::state(&[(T + 90.0, ended(1, T + 39.0, T + 80.0, "success"))]);
    state.expire(T + 110.0);
    assert_eq!((queue(&state), durations(&state)), ((39.0, 1), (41.0, 1)));
}

#[test]
fn jobs_that_never_ran_have_neither_duration_nor_queue_time() {
    let never = |conclusion: &str| Job { runner: None, ..ended(1, T + 50.0, T + 50.0, conclusion) };
    for conclusion in ["cancelled", "skipped", "failure", "action_required", "stale"] {
        let mut state = state(&[(T + 1.0, job(1, Status::Queued)), (T + 50.0, never(conclusion))]);
        state.expire(T + 70.0);
        assert_eq!((queue(&state), durations(&state)), ((0.0, 0), (0.0, 0)), "{conclusion}");
        let counted = format!(
            "github_workflow_job_conclusion_total{{repository=\"octo/app\",workflow=\"ci\",\
             conclusion=\"{conclusion}\"}}"
        );
        assert_eq!(value(&state, &counted), Some(1.0));
        assert!(state.open_jobs().is_empty());
    }
    let mut ran = state(&[(T + 9.0, running(1, T + 8.0)), (T + 50.0, never("cancelled"))]);
    ran.expire(T + 70.0);
    assert_eq!(durations(&ran), (42.0, 1), "cancelled in the middle of it");
}

#[test]
fn polls_that_repeat_what_is_known_tell_no_news() {
    let mut state = State::default();
    for (job, repeats) in [
        (job(1, Status::Queued), true),
        (running(1, T + 5.0), true),
        (ended(1, T + 5.0, T + 9.0, "success"), true),
        (running(1, T + 5.0), false),
        (job(1, Status::Queued), false),
    ] {
        let poll = Event { source: Source::Poll, received: T + 20.0, what: What::Job(job) };
        assert_eq!(state.tells_news(&poll), repeats, "{poll:?}");
        state.apply(&poll);
        assert!(!state.tells_news(&poll), "{poll:?}");
    }
    let strange =
        Event { source: Source::Poll, received: T, what: What::Job(job(2, Status::Other)) };
    assert!(!state.tells_news(&strange));
}

#[test]
fn it_goes_on_from_what_was_stored() {
    let events = [
        told(T + 1.0, What::Job(waiting(1, None))),
        told(T + 2.0, What::Job(job(2, Status::Queued))),
        told(T + 3.0, What::Job(running(3, T + 2.0))),
        told(T + 50.0, What::Job(queued(1, None))),
        told(T + 61.0, What::Job(ended(1, T + 60.0, T + 61.0, "success"))),
        told(T + 62.0, What::Job(ended(2, T + 60.0, T + 61.0, "failure"))),
        told(T + 63.0, What::Job(ended(3, T + 2.0, T + 61.0, "failure"))),
    ];
    let mut whole = State::default();
    events.iter().for_each(|event| whole.apply(event));
    whole.expire(T + 90.0);
    for at in 0..events.len() {
        let mut state = State::default();
        events[..at].iter().for_each(|event| state.apply(event));
        let text = serde_json::to_string(&state).unwrap();
        let mut state: State = serde_json::from_str(&text).unwrap();
        events.iter().for_each(|event| state.apply(event));
        state.expire(T + 90.0);
        let now = T + 100.0;
        assert_eq!(page(&state, now, &Fleet::default()), page(&whole, now, &Fleet::default()));
    }
    assert_eq!(serde_json::from_str::<State>("{}").unwrap().open_jobs(), []);
}

#[test]
fn pull_requests_and_deployments_count_once_each() {
    let mut state = State::default();
    let pull = |action: &str, merged: bool, bot: bool, number: u64| {
        What::PullRequest(PullRequest {
            repository: "octo/app".into(),
            number,
            action: action.into(),
            merged,
            changed_files: Some(3),
            bot,
            closed_at: (action == "closed").then_some(T),
            ..PullRequest::default()
        })
    };
    let deployed = |id: u64, state: &str| {
        What::Deployment(Deployment {
            id,
            repository: "octo/app".into(),
            environment: "production".into(),
            state: state.into(),
        })
    };
    let news = [
        pull("opened", false, false, 1),
        pull("opened", false, true, 2),
        pull("closed", true, false, 1),
        pull("closed", false, true, 2),
        pull("labeled", false, true, 2),
        deployed(1, "success"),
        deployed(2, "success"),
        deployed(3, "strange"),
    ];
    // A repository's webhook and its organization's tell the same under two delivery ids.
    for what in news.iter().chain(&news) {
        state.apply(&told(T, what.clone()));
    }
    for (series, want) in [
        ("github_pull_requests_opened_total{repository=\"octo/app\",author=\"person\"}", 1.0),
        ("github_pull_requests_opened_total{repository=\"octo/app\",author=\"bot\"}", 1.0),
        ("github_pull_requests_merged_total{repository=\"octo/app\",author=\"person\"}", 1.0),
        ("github_pull_requests_closed_total{repository=\"octo/app\",author=\"bot\"}", 1.0),
        ("github_pull_request_changed_files_total{repository=\"octo/app\",author=\"person\"}", 3.0),
        (
            "github_deployment_statuses_total\
             {repository=\"octo/app\",environment=\"production\",state=\"success\"}",
            2.0,
        ),
        (
            "github_deployment_statuses_total\
             {repository=\"octo/app\",environment=\"production\",state=\"other\"}",
            1.0,
        ),
    ] {
        assert_eq!(value(&state, series), Some(want), "{series}");
    }
}

#[test]
fn minutes_of_own_runners_cost_what_their_class_costs() {
    let settings = Settings {
        prices: vec![settings::Price {
            class: "small".to_owned(),
            labels: vec!["linux".to_owned()],
            per_minute: 0.5,
        }],
        ..Settings::default()
    };
    let mut state = State::default();
    state.configure(Arc::new(settings));
    let hosted = Job {
        labels: vec!["ubuntu-24.04".to_owned()],
        runner: Some("GitHub Actions 7".to_owned()),
        ..ended(2, T, T + 30.0, "success")
    };
    for job in [ended(1, T, T + 120.0, "failure"), hosted] {
        state.apply(&told(T + 200.0, What::Job(job)));
    }
    let of = |name: &str, class: &str, hosted: bool| {
        let labels = format!("repository=\"octo/app\",class=\"{class}\",hosted=\"{hosted}\"");
        value(&state, &format!("github_workflow_runner_{name}_total{{{labels}}}"))
    };
    assert_eq!(of("seconds", "small", false), Some(120.0));
    assert_eq!(of("cost", "small", false), Some(1.0));
    assert_eq!(of("seconds", "hosted", true), Some(30.0));
    assert_eq!(of("cost", "hosted", true), None, "no price, no cost");
}

#[test]
fn named_jobs_have_durations_of_their_own_whatever_their_matrix() {
    let mut state = State::default();
    let jobs = vec!["build*".to_owned()];
    state.configure(Arc::new(Settings { jobs, ..Settings::default() }));
    for (id, name) in [(1, "build (a, 1)"), (2, "build (b, 2)"), (3, "lint")] {
        let job = Job { name: name.to_owned(), ..ended(id, T, T + 30.0, "success") };
        state.apply(&told(T + 30.0, What::Job(job)));
    }
    let of = |name: &str| {
        let labels = format!("repository=\"octo/app\",workflow=\"ci\",job_name=\"{name}\"");
        value(&state, &format!("github_workflow_named_job_duration_seconds_sum{{{labels}}}"))
    };
    assert_eq!((of("build"), of("lint")), (Some(60.0), None));
}

#[test]
fn a_job_that_never_ends_is_seen_before_it_ends_and_not_as_waiting() {
    let mut state = state(&[(T + 1.0, job(1, Status::Queued)), (T + 6.0, running(1, T + 5.0))]);
    let oldest = "github_workflow_job_oldest_in_progress_timestamp_seconds\
                  {repository=\"octo/app\",workflow=\"ci\"}";
    assert_eq!(value(&state, oldest), Some(T + 5.0));
    let page = page(&state, T + 60.0, &Fleet::default());
    assert!(!page.iter().any(|(name, _)| name.starts_with("github_workflow_jobs_queued{")));
    state.expire(T + 7.0 * 86_400.0);
    assert_eq!((value(&state, oldest), odd(&state, Odd::EndUnknown)), (None, 1));
}
