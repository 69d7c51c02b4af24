//! The simulator by itself: runners, labels and jobs, with time as an argument.

use super::super::ledger::{Tally, check};
use super::super::registry::{LabelRefused, NewRunner};
use super::*;

const REPOSITORY: &str = "owner/name";

fn sim() -> Sim {
    Sim::new(Settings { offline_after: 10.0, lost_after: 30.0, ..Settings::default() })
}

fn runner(sim: &mut Sim, name: &str, scope: &str, labels: &[&str]) -> (u64, String) {
    let new = serde_json::json!({ "name": name, "scope": scope, "labels": labels });
    let new: NewRunner = serde_json::from_value(new).unwrap();
    let runner = sim.register(&new, 0.0);
    (runner.id, runner.token)
}

fn jobs(count: u32, labels: &[&str]) -> NewJobs {
    NewJobs { count, ..NewJobs::new(REPOSITORY, labels) }
}

fn tally(sim: &Sim) -> Tally {
    check(&sim.ledger.after(0)).unwrap()
}

#[test]
fn a_job_goes_to_a_runner_that_has_all_its_labels() {
    for (scope, labels, wanted, fits) in [
        (REPOSITORY, &["CI-Active"][..], &["ci-active", "Self-Hosted"][..], true),
        ("OWNER", &["ci-active"], &["ci-active"], true),
        (REPOSITORY, &[], &["ci-active"], false),
        (REPOSITORY, &["ci-active"], &["ci-active", "gpu"], false),
        ("owner/other", &["ci-active"], &["ci-active"], false),
        ("other", &["ci-active"], &["ci-active"], false),
        (REPOSITORY, &[], &[], true),
    ] {
        let mut sim = sim();
        let (id, token) = runner(&mut sim, "a", scope, labels);
        sim.queue(&jobs(1, wanted), "push", 0.0);
        let got = sim.poll(id, &token, 1.0).unwrap();
        assert_eq!(got.is_some(), fits, "{scope} {labels:?} {wanted:?}");
    }
}

#[test]
fn one_job_at_a_time_oldest_first() {
    let mut sim = sim();
    let (a, token_a) = runner(&mut sim, "a", REPOSITORY, &[]);
    let (b, token_b) = runner(&mut sim, "b", REPOSITORY, &[]);
    let (_, ids) = sim.queue(&jobs(3, &[]), "push", 0.0);
    let job = sim.poll(a, &token_a, 1.0).unwrap().unwrap();
    assert_eq!(job.id, ids[0]);
    // The answer may have been lost, so it is given again, until the runner shows that it has it.
    assert_eq!(sim.poll(a, &token_a, 2.0).unwrap().unwrap().id, ids[0]);
    sim.heartbeat(a, &token_a, ids[0], 3.0).unwrap();
    assert!(sim.poll(a, &token_a, 4.0).unwrap().is_none());
    assert_eq!(sim.poll(b, &token_b, 4.0).unwrap().unwrap().id, ids[1]);
    assert_eq!(sim.complete(b, &token_b, ids[0], "success", 5.0), Err(Refused::NotItsJob));
    sim.complete(a, &token_a, ids[0], "success", 5.0).unwrap();
    assert_eq!(sim.complete(a, &token_a, ids[0], "success", 5.0), Err(Refused::NotItsJob));
    assert_eq!(sim.poll(a, &token_a, 6.0).unwrap().unwrap().id, ids[2]);
    assert_eq!(tally(&sim), Tally { queued: 3, completed: 1, open: 2, ..Tally::default() });
}

#[test]
fn a_dead_runner_goes_offline_late_and_its_job_fails_later() {
    let mut sim = sim();
    let (id, token) = runner(&mut sim, "a", REPOSITORY, &[]);
    let online = |sim: &Sim, now| sim.runners[&id].is_online(&sim.settings, now);
    assert!(!online(&sim, 0.0), "never in contact");
    sim.queue(&jobs(2, &[]), "push", 0.0);
    let job = sim.poll(id, &token, 1.0).unwrap().unwrap().id;
    assert!(online(&sim, 10.9) && !online(&sim, 11.0));
    sim.tick(30.9);
    assert_eq!(sim.jobs[&job].status, Status::InProgress);
    sim.tick(31.0);
    assert_eq!(sim.jobs[&job].conclusion.as_deref(), Some("failure"));
    assert_eq!(sim.heartbeat(id, &token, job, 32.0), Err(Refused::NotItsJob));
    // Back again, it takes the next one.
    assert!(sim.poll(id, &token, 33.0).unwrap().is_some_and(|next| next.id != job));
    assert_eq!(tally(&sim), Tally { queued: 2, lost: 1, open: 1, ..Tally::default() });
}

#[test]
fn registering_anew_retires_the_id_and_orphans_the_job() {
    let mut sim = sim();
    let (old, token) = runner(&mut sim, "a", REPOSITORY, &["x"]);
    sim.queue(&jobs(1, &[]), "push", 0.0);
    let job = sim.poll(old, &token, 1.0).unwrap().unwrap().id;
    let (new, new_token) = runner(&mut sim, "A", REPOSITORY, &["y"]);
    assert_ne!(old, new);
    assert_eq!(sim.poll(old, &token, 2.0).unwrap_err(), Refused::Gone);
    assert_eq!(sim.poll(new, &token, 2.0).unwrap_err(), Refused::WrongToken);
    assert!(sim.poll(new, &new_token, 2.0).unwrap().is_none());
    assert!(sim.runners[&new].has_label("y") && !sim.runners[&new].has_label("x"));
    sim.tick(40.0);
    assert_eq!(sim.jobs[&job].conclusion.as_deref(), Some("failure"));
    assert_eq!(tally(&sim).lost, 1);
}

#[test]
fn busy_lags_and_may_lie() {
    let mut sim = sim();
    sim.settings.busy_lag = 20.0;
    let (id, token) = runner(&mut sim, "a", REPOSITORY, &[]);
    sim.queue(&jobs(1, &[]), "push", 90.0);
    let job = sim.poll(id, &token, 100.0).unwrap().unwrap().id;
    let busy = |sim: &Sim, now| sim.runners[&id].shows_busy(&sim.settings, now);
    assert!(!busy(&sim, 119.0) && busy(&sim, 120.0));
    sim.complete(id, &token, job, "success", 125.0).unwrap();
    assert!(busy(&sim, 144.0) && !busy(&sim, 145.0));
    sim.settings.busy_hidden = true;
    assert!(!busy(&sim, 130.0));
}

#[test]
fn labels_change_as_at_github() {
    let mut sim = sim();
    let (id, _) = runner(&mut sim, "a", REPOSITORY, &["keep"]);
    let names = |sim: &Sim| -> Vec<String> {
        sim.runners[&id].labels.iter().map(|label| label.name.clone()).collect()
    };
    sim.add_labels(id, &["ci".to_owned(), "KEEP".to_owned()], "pitcrew", 1.0).unwrap();
    assert_eq!(names(&sim), ["self-hosted", "Linux", "X64", "keep", "ci"]);
    assert_eq!(
        sim.remove_label(id, "linux", "pitcrew", 2.0),
        Err(LabelRefused::ReadOnly("linux".to_owned()))
    );
    assert_eq!(
        sim.remove_label(id, "nothing", "pitcrew", 2.0),
        Err(LabelRefused::Unknown("nothing".to_owned()))
    );
    sim.remove_label(id, "CI", "hand", 3.0).unwrap();
    sim.set_labels(id, &["new".to_owned()], "hand", 4.0).unwrap();
    assert_eq!(names(&sim), ["self-hosted", "Linux", "X64", "new"]);
    let entries = sim.ledger.after(0);
    let changes: Vec<_> = entries
        .iter()
        .filter(|entry| matches!(entry.event, Event::LabelAdded | Event::LabelRemoved))
        .map(|entry| (entry.what.label.as_deref().unwrap(), entry.what.caller.as_deref().unwrap()))
        .collect();
    assert_eq!(changes, [("ci", "pitcrew"), ("ci", "hand"), ("keep", "hand"), ("new", "hand")]);
}

#[test]
fn a_finished_job_can_run_again_as_a_new_attempt() {
    let mut sim = sim();
    let (id, token) = runner(&mut sim, "a", REPOSITORY, &[]);
    let (run, ids) = sim.queue(&jobs(1, &[]), "push", 0.0);
    assert_eq!(sim.rerun(ids[0], 1.0), None, "not finished");
    sim.poll(id, &token, 1.0).unwrap();
    sim.complete(id, &token, ids[0], "failure", 2.0).unwrap();
    let again = sim.rerun(ids[0], 3.0).unwrap();
    assert_eq!((sim.jobs[&again].attempt, sim.runs[&run].attempt), (2, 2));
    assert_eq!(sim.poll(id, &token, 4.0).unwrap().unwrap().id, again);
    assert_eq!(tally(&sim), Tally { queued: 2, completed: 1, open: 1, ..Tally::default() });
}

#[test]
fn nobody_takes_a_job_for_a_day() {
    let mut sim = sim();
    let (_, ids) = sim.queue(&jobs(1, &["no-such-label"]), "push", 0.0);
    sim.tick(86_400.0);
    assert_eq!(sim.jobs[&ids[0]].conclusion.as_deref(), Some("cancelled"));
    assert_eq!(tally(&sim).cancelled, 1);
}

#[test]
fn a_concurrency_group_has_one_run_at_work_and_one_that_waits() {
    let mut sim = sim();
    let (id, token) = runner(&mut sim, "a", REPOSITORY, &[]);
    let group = NewJobs { concurrency: Some("deploy".to_owned()), ..jobs(1, &[]) };
    let queue = |sim: &mut Sim, now| sim.queue(&group, "push", now).1[0];
    let (first, second) = (queue(&mut sim, 0.0), queue(&mut sim, 1.0));
    let status = |sim: &Sim, job: u64| sim.jobs[&job].status;
    assert_eq!((status(&sim, first), status(&sim, second)), (Status::Queued, Status::Pending));
    let third = queue(&mut sim, 2.0);
    assert_eq!(sim.jobs[&second].conclusion.as_deref(), Some("cancelled"));
    let other = NewJobs { repository: "owner/other".to_owned(), ..group.clone() };
    let other = sim.queue(&other, "push", 2.0).1[0];
    assert_eq!((status(&sim, third), status(&sim, other)), (Status::Pending, Status::Queued));
    sim.poll(id, &token, 3.0).unwrap();
    assert_eq!(status(&sim, third), Status::Pending, "the first one runs");
    sim.complete(id, &token, first, "success", 10.0).unwrap();
    assert_eq!(status(&sim, third), Status::Queued);
    assert_eq!(sim.poll(id, &token, 14.0).unwrap().unwrap().id, third);
    assert_eq!(sim.jobs[&third].queue_seconds(), Some(4.0), "8 s behind the first are not counted");
}

#[test]
fn what_succeeded_is_listed_again_in_the_next_attempt_and_not_run() {
    let mut sim = sim();
    let (id, token) = runner(&mut sim, "a", REPOSITORY, &[]);
    let (run, ids) = sim.queue(&jobs(2, &[]), "push", 0.0);
    for (job, how) in ids.iter().zip(["success", "failure"]) {
        sim.poll(id, &token, 1.0).unwrap();
        sim.complete(id, &token, *job, how, 2.0).unwrap();
    }
    sim.changes.clear();
    let again = sim.rerun_failed(run, 100.0).unwrap();
    assert_eq!(again.len(), 1);
    let told = sim.take_payloads("");
    assert_eq!(
        told.iter().map(|told| told.event).collect::<Vec<_>>(),
        ["workflow_run", "workflow_job"]
    );
    let latest = crate::fake_github::json::latest(&sim, &sim.runs[&run]);
    let times: Vec<_> = latest.iter().map(|job| (job.created, job.started)).collect();
    assert_eq!(times, [(100.0, Some(1.0)), (100.0, None)]);
    assert_eq!(sim.rerun_failed(run, 101.0), None, "a job of it is open");
}

#[test]
fn a_cancelled_job_never_had_a_runner() {
    let mut sim = sim();
    let (id, token) = runner(&mut sim, "a", REPOSITORY, &[]);
    let (_, ids) = sim.queue(&jobs(1, &[]), "push", 0.0);
    assert!(sim.cancel(ids[0], 1.0) && !sim.cancel(ids[0], 2.0));
    assert!(sim.poll(id, &token, 3.0).unwrap().is_none());
    assert_eq!((sim.jobs[&ids[0]].started, tally(&sim).cancelled), (None, 1));
}

/// Runners that poll, work, die, come back and register anew in an order that a seed decides.
#[test]
fn whatever_happens_no_job_is_run_twice_or_lost_sight_of() {
    let (mut completed, mut lost) = (0, 0);
    for seed in 1..=200_u64 {
        let mut state = seed;
        let mut roll = |sides: u64| {
            // Knuth's generator; its high bits are random enough here.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % sides
        };
        let mut sim = sim();
        let mut alive: Vec<(u64, String)> =
            (0..4).map(|at| runner(&mut sim, &format!("r{at}"), REPOSITORY, &["ci"])).collect();
        let mut now = 0.0;
        for _ in 0..400 {
            now += 1.0;
            let at = roll(4) as usize;
            let (id, token) = alive[at].clone();
            let job = sim.runners.get(&id).and_then(|runner| runner.job);
            match roll(10) {
                0 => drop(sim.queue(&jobs(roll(3) as u32, &["ci"]), "push", now)),
                1 => alive[at] = runner(&mut sim, &format!("r{at}"), REPOSITORY, &["ci"]),
                2 => now += 40.0,
                3 => drop(sim.remove_label(id, "ci", "hand", now)),
                4 => drop(sim.add_labels(id, &["ci".to_owned()], "hand", now)),
                5 | 6 => drop(sim.poll(id, &token, now)),
                7 => drop(job.map(|job| sim.heartbeat(id, &token, job, now))),
                _ => drop(job.map(|job| sim.complete(id, &token, job, "success", now))),
            }
        }
        let tally = tally(&sim);
        assert_eq!(tally.queued, sim.jobs.len(), "seed {seed}");
        let ended = sim.jobs.values().filter(|job| job.conclusion.is_some()).count();
        assert_eq!(tally.queued - tally.open, ended, "seed {seed}");
        completed += tally.completed;
        lost += tally.lost;
    }
    assert!(completed > 1000 && lost > 1000, "{completed} completed, {lost} lost");
}
