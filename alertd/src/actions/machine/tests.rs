//! The state machine's tables: what is seen, when, and the phase that follows.

use super::failback::{step_size, steps};
use super::orders::order;
use super::*;
use crate::actions::config::Standby;
use crate::actions::config::Trust;
use crate::actions::fixtures::{at, calm, job, pool};
use crate::actions::guard::Guard;
use crate::actions::health::Health;
use crate::actions::sight::Stage;

/// Asks again until nothing changes, as the shell does.
fn settle(mut state: PoolState, sight: &Sight, pool: &PoolConfig, now: Timestamp) -> PoolState {
    for _ in 0..8 {
        match next(&state, sight, pool, &ActionsConfig::default(), now) {
            Some(after) => state = after,
            None => return state,
        }
    }
    panic!("no rest: {state:?}");
}

#[track_caller]
fn check(state: &PoolState, phase: &str, cause: &str) {
    assert_eq!(state.phase.name(), phase, "{}", state.cause);
    assert!(state.cause.contains(cause), "{}", state.cause);
}

fn start() -> PoolState {
    PoolState::normal(at(0), "test")
}

fn on_backup(sight: &mut Sight, pool: &PoolConfig) -> PoolState {
    sight.kill(0);
    let state = settle(start(), sight, pool, at(10));
    sight.label(0, 0);
    sight.label(1, 4);
    settle(state, sight, pool, at(12))
}

#[test]
fn a_dead_primary_from_the_alert_to_the_way_back() {
    let (pool, mut sight) = (pool(), calm());
    let state = settle(start(), &sight, &pool, at(5));
    check(&state, "normal", "test");

    sight.kill(0);
    let state = settle(state, &sight, &pool, at(10));
    check(&state, "failing_over", "RunnerOffline on primary: all down");
    assert_eq!(state.failed_over_at, Some(at(10)));

    // The backup is labelled, the primary still is: not there yet.
    sight.label(1, 4);
    check(&settle(state.clone(), &sight, &pool, at(11)), "failing_over", "");

    sight.label(0, 0);
    let state = settle(state, &sight, &pool, at(12));
    check(&state, "on_backup", "unproven: no job waited");
    assert!(matches!(state.proof, Proof::Unproven(_)));

    sight.heal(0);
    let state = settle(state, &sight, &pool, at(100));
    check(&state, "recovering", "primary");
    let state = settle(state, &sight, &pool, at(159));
    check(&state, "recovering", "primary");
    let mut state = settle(state, &sight, &pool, at(160));
    for (now, labelled, want) in [
        (160, 1, "step 1 of 4: 1 of 8"),
        (279, 1, "step 1 of 4: 1 of 8"),
        (280, 2, "step 2 of 4: 2 of 8"),
        (400, 4, "step 3 of 4: 4 of 8"),
        (520, 8, "step 4 of 4: 8 of 8"),
    ] {
        state = settle(state, &sight, &pool, at(now));
        check(&state, "failing_back", want);
        sight.label(0, labelled);
    }
    let state = settle(state, &sight, &pool, at(640));
    check(&state, "normal", "all 8 runners of primary");
    assert_eq!((&state.failed_over_at, &state.proof), (&None, &Proof::None));
}

#[test]
fn what_does_not_move_the_label() {
    type Edit = fn(&mut Sight, &mut PoolConfig);
    let cases: [(&str, Edit, &str, Option<Guard>); 10] = [
        ("nothing wrong", |sight, _| sight.heal(0), "normal", None),
        ("down without an alert", |sight, _| sight.members[0].move_alert = None, "degraded", None),
        (
            "exporter silent, online on GitHub",
            |sight, _| sight.members[0].verdict = Verdict::Degraded,
            "degraded",
            None,
        ),
        (
            "exporter silent, GitHub unreachable",
            |sight, _| {
                sight.members[0].verdict = Verdict::NeedsPerson;
                sight.fresh = false;
            },
            "degraded",
            None,
        ),
        ("GitHub not read just now", |sight, _| sight.fresh = false, "degraded", None),
        ("both down", |sight, _| sight.kill(1), "degraded", None),
        (
            "hold",
            |sight, _| sight.hold = Some("maintenance".to_owned()),
            "degraded",
            Some(Guard::Hold),
        ),
        (
            "too few healthy",
            |sight, pool| {
                pool.min_healthy = 3;
                sight.members[1].runners.truncate(2);
            },
            "degraded",
            Some(Guard::MinHealthy),
        ),
        (
            "unbounded target",
            |sight, _| sight.members[1].blocked = Some("too many".to_owned()),
            "degraded",
            Some(Guard::Unbounded),
        ),
        ("shadow", |_, pool| pool.trust = Trust::Shadow, "degraded", None),
    ];
    for (name, edit, phase, guard) in cases {
        let (mut pool, mut sight) = (pool(), calm());
        sight.kill(0);
        edit(&mut sight, &mut pool);
        let state = settle(start(), &sight, &pool, at(10));
        assert_eq!(state.phase.name(), phase, "{name}");
        assert_eq!(state.denied.as_ref().map(|denied| denied.guard), guard, "{name}");
        assert_eq!(state.proposal.is_some(), name == "shadow", "{name}");
    }
}

#[test]
fn a_proposal_is_made_once_and_dropped_when_it_is_not_needed() {
    for trust in [Trust::Shadow, Trust::Approve] {
        let (mut pool, mut sight) = (pool(), calm());
        pool.trust = trust;
        sight.kill(0);
        let state = settle(start(), &sight, &pool, at(10));
        let first = state.proposal.clone().unwrap();
        let what = Move::FailOver { from: "primary".to_owned(), to: "backup".to_owned() };
        assert_eq!((&first.what, first.at), (&what, at(10)));
        let state = settle(state, &sight, &pool, at(20));
        assert_eq!(state.proposal, Some(first));
        sight.heal(0);
        assert_eq!(settle(state, &sight, &pool, at(30)).proposal, None);
    }
}

#[test]
fn cooldown_is_per_member_and_ends() {
    let (pool, mut sight) = (pool(), calm());
    sight.kill(0);
    let last = PoolState { last_failover: Some(("primary".to_owned(), at(0))), ..start() };
    let state = settle(last.clone(), &sight, &pool, at(599));
    check(&state, "degraded", "");
    assert_eq!(state.denied.as_ref().map(|denied| denied.guard), Some(Guard::Cooldown));
    check(&settle(state, &sight, &pool, at(600)), "failing_over", "");
    let other = PoolState { last_failover: Some(("backup".to_owned(), at(0))), ..start() };
    check(&settle(other, &sight, &pool, at(1)), "failing_over", "");
}

#[test]
fn proof_needs_a_job_when_jobs_wait() {
    let waiting = || job("build", Stage::Waiting { since: at(0) });
    let runner = "b-2".to_owned();
    for (name, jobs, read_at, now, phase, proof) in [
        (
            "job started",
            vec![job("build", Stage::Running { runner: runner.clone(), since: at(11) })],
            12,
            13,
            "on_backup",
            "proven",
        ),
        (
            "started and already over",
            vec![job("build", Stage::Over { runner: runner.clone(), since: at(11) })],
            12,
            13,
            "on_backup",
            "proven",
        ),
        (
            "ran before",
            vec![waiting(), job("old", Stage::Running { runner, since: at(-60) })],
            12,
            13,
            "failing_over",
            "none",
        ),
        ("waits", vec![waiting()], 12, 60, "failing_over", "none"),
        ("waits too long", vec![waiting()], 12, 140, "on_backup", "failed"),
        ("jobs read before the move", vec![], 9, 13, "failing_over", "none"),
        ("jobs never read again", vec![], 9, 140, "on_backup", "unproven"),
        ("none waits", vec![], 12, 13, "on_backup", "unproven"),
    ] {
        let (pool, mut sight) = (pool(), calm());
        sight.kill(0);
        let state = settle(start(), &sight, &pool, at(10));
        sight.label(0, 0);
        sight.label(1, 4);
        sight.jobs_at = at(0);
        let state = settle(state, &sight, &pool, at(12));
        assert_eq!(state.moved_at, Some(at(12)), "{name}");
        (sight.jobs, sight.jobs_at) = (Some(jobs), at(read_at));
        let state = settle(state, &sight, &pool, at(now));
        let is = match &state.proof {
            Proof::None => "none",
            Proof::Proven(_) => "proven",
            Proof::Unproven(_) => "unproven",
            Proof::Failed(_) => "failed",
        };
        assert_eq!((state.phase.name(), is), (phase, proof), "{name}: {}", state.cause);
    }
}

#[test]
fn a_move_that_does_not_help_is_undone_when_the_primary_lives() {
    let (pool, mut sight) = (pool(), calm());
    let ordered = order(&start(), Order::Failover, "ann", "", &sight, &pool, at(0)).unwrap();
    sight.label(0, 0);
    sight.label(1, 4);
    sight.jobs = Some(vec![job("build", Stage::Waiting { since: at(0) })]);
    let state = settle(ordered, &sight, &pool, at(1));
    let state = settle(state, &sight, &pool, at(200));
    check(&state, "normal", "undone: 1 jobs wait and none started on backup in time");
}

#[test]
fn recovery_before_the_move_cancels_it() {
    let (pool, mut sight) = (pool(), calm());
    sight.kill(0);
    let state = settle(start(), &sight, &pool, at(10));
    sight.heal(0);
    sight.label(1, 2);
    check(&settle(state, &sight, &pool, at(11)), "normal", "recovered before");
}

#[test]
fn relapses_go_back_to_the_backup() {
    let (pool, mut sight) = (pool(), calm());
    let state = on_backup(&mut sight, &pool);
    sight.heal(0);
    let recovering = settle(state, &sight, &pool, at(100));
    check(&recovering, "recovering", "");
    sight.kill(0);
    check(&settle(recovering.clone(), &sight, &pool, at(130)), "on_backup", "relapsed");
    sight.heal(0);
    let back = settle(recovering, &sight, &pool, at(160));
    check(&back, "failing_back", "");
    sight.label(0, 1);
    sight.kill(0);
    check(&settle(back.clone(), &sight, &pool, at(170)), "on_backup", "relapsed");

    // One runner that flickers stops the steps; it does not undo them.
    sight.heal(0);
    sight.members[0].verdict = Verdict::Degraded;
    check(&settle(back, &sight, &pool, at(900)), "failing_back", "step 1");
}

#[test]
fn a_step_waits_for_its_labels_and_for_a_hold() {
    let (pool, mut sight) = (pool(), calm());
    let state = on_backup(&mut sight, &pool);
    sight.heal(0);
    let state = settle(state, &sight, &pool, at(100));
    let state = settle(state, &sight, &pool, at(160));
    check(&settle(state.clone(), &sight, &pool, at(1000)), "failing_back", "step 1");
    sight.label(0, 1);
    sight.hold = Some("ann".to_owned());
    check(&settle(state.clone(), &sight, &pool, at(1000)), "failing_back", "step 1");
    sight.hold = None;
    check(&settle(state, &sight, &pool, at(1000)), "failing_back", "step 2");
}

#[test]
fn the_backup_dies_too() {
    let (pool, mut sight) = (pool(), calm());
    let state = on_backup(&mut sight, &pool);
    sight.kill(1);
    let state = settle(state, &sight, &pool, at(20));
    check(&state, "on_backup", "");
    // The primary comes back: at once, without waiting for healthy_for.
    sight.heal(0);
    let state = settle(state, &sight, &pool, at(30));
    check(&state, "failing_over", "RunnerOffline on backup");
    assert_eq!(
        state.phase,
        Phase::FailingOver { from: "backup".to_owned(), to: "primary".to_owned() }
    );
}

#[test]
fn persons_orders() {
    let (pool, sight) = (pool(), calm());
    let go = |state: &PoolState, what| order(state, what, "ann", "why", &sight, &pool, at(50));
    assert_eq!(go(&start(), Order::Failback).unwrap_err(), "already on primary");
    let away = go(&start(), Order::Failover).unwrap();
    check(&away, "failing_over", "ordered by ann: why");
    assert!(go(&away, Order::Failover).unwrap_err().contains("already failing over"));
    let home = go(&away, Order::Failback).unwrap();
    check(&home, "normal", "ordered by ann: why");

    let mut moved = calm();
    moved.label(0, 0);
    moved.label(1, 4);
    let there = settle(away, &moved, &pool, at(51));
    check(&there, "on_backup", "");
    // A healthy primary does not undo a person's order.
    check(&settle(there.clone(), &moved, &pool, at(9999)), "on_backup", "");
    assert_eq!(go(&there, Order::Failover).unwrap_err(), "already on backup");
    let back = order(&there, Order::Failback, "ann", "", &moved, &pool, at(60)).unwrap();
    check(&back, "failing_back", "ordered by ann; step 1 of 4");
    assert_eq!(back.by_person, None);
    check(&go(&back, Order::Failover).unwrap(), "on_backup", "ordered by ann");

    let held = Sight { hold: Some("freeze".to_owned()), ..calm() };
    let refused = order(&start(), Order::Failover, "ann", "", &held, &pool, at(0)).unwrap_err();
    assert!(refused.contains("freeze"), "{refused}");
    let mut empty = calm();
    empty.members[1].runners.clear();
    assert!(order(&start(), Order::Failover, "ann", "", &empty, &pool, at(0)).is_err());
}

#[test]
fn a_person_may_order_a_failover_while_github_is_out_of_reach() {
    let (pool, mut sight) = (pool(), calm());
    sight.kill(0);
    sight.members[0].verdict = Verdict::NeedsPerson;
    sight.fresh = false;
    for runner in sight.members.iter_mut().flat_map(|member| &mut member.runners) {
        (runner.github, runner.health) = (OnGithub::Unknown, Health::Unknown);
    }
    let state = order(&start(), Order::Failover, "ann", "", &sight, &pool, at(0)).unwrap();
    check(&settle(state, &sight, &pool, at(60)), "failing_over", "ordered by ann");
}

#[test]
fn help_comes_and_goes() {
    let (pool, mut sight) = (pool(), calm());
    sight.all_busy(0, true);
    sight.jobs = Some(vec![job("build", Stage::Waiting { since: at(0) })]);
    let state = settle(start(), &sight, &pool, at(120));
    assert_eq!(state.helping, None, "not longer than spill_after");
    let state = settle(state, &sight, &pool, at(121));
    let helping = state.helping.clone().unwrap();
    assert_eq!((helping.member.as_str(), state.phase.name()), ("backup", "normal"));
    assert!(helping.cause.contains("1 jobs wait"), "{}", helping.cause);

    sight.label(1, 4);
    sight.jobs = Some(Vec::new());
    let state = settle(state, &sight, &pool, at(200));
    let state = settle(state, &sight, &pool, at(259));
    assert!(state.helping.is_some(), "calm for less than healthy_for");
    assert_eq!(settle(state, &sight, &pool, at(260)).helping, None);
}

#[test]
fn what_does_not_call_for_help() {
    type Edit = fn(&mut Sight, &mut PoolConfig);
    let cases: [(&str, Edit); 5] = [
        ("cold", |_, pool| pool.standby = Standby::Cold),
        ("one idle", |sight, _| sight.members[0].runners[3].github = OnGithub::Online),
        ("held", |sight, _| sight.hold = Some("ann".to_owned())),
        ("shadow", |_, pool| pool.trust = Trust::Shadow),
        ("nobody there", |sight, _| sight.members[1].runners.clear()),
    ];
    for (name, edit) in cases {
        let (mut pool, mut sight) = (pool(), calm());
        sight.all_busy(0, true);
        sight.jobs = Some(vec![job("build", Stage::Waiting { since: at(0) })]);
        edit(&mut sight, &mut pool);
        let state = settle(start(), &sight, &pool, at(999));
        assert_eq!(state.helping, None, "{name}");
        assert_eq!(state.proposal.is_some(), name == "shadow", "{name}");
        assert_eq!(state.help_denied.is_some(), name == "held", "{name}");
    }
}

#[test]
fn an_alert_can_ask_for_help() {
    let (mut pool, mut sight) = (pool(), calm());
    pool.standby = Standby::Cold;
    sight.members[0].add_alert = Some("RunnerHighCPU".to_owned());
    sight.members[0].verdict = Verdict::Degraded;
    let state = settle(start(), &sight, &pool, at(10));
    check(&state, "degraded", "");
    assert_eq!(state.helping.clone().unwrap().cause, "RunnerHighCPU on primary");
    sight.heal(0);
    sight.members[0].add_alert = None;
    let state = settle(state, &sight, &pool, at(20));
    check(&state, "normal", "");
    assert_eq!(settle(state, &sight, &pool, at(80)).helping, None);
}

#[test]
fn step_sizes_double() {
    for (total, want) in
        [(8, &[1, 2, 4, 8][..]), (5, &[1, 2, 4, 5]), (1, &[1]), (2, &[1, 2]), (0, &[0])]
    {
        let sizes: Vec<usize> = (1..=steps(total)).map(|step| step_size(step, total)).collect();
        assert_eq!(sizes, want, "{total} runners");
    }
    assert_eq!(step_size(u32::MAX, 8), 8);
}

#[test]
fn a_pool_found_on_its_backup_stays_there() {
    let mut sight = calm();
    assert_eq!(PoolState::adopt(&sight, at(0)).phase, Phase::Normal);
    sight.label(0, 0);
    assert_eq!(PoolState::adopt(&sight, at(0)).phase, Phase::Normal);
    sight.label(1, 4);
    let state = PoolState::adopt(&sight, at(0));
    assert_eq!(state.phase, Phase::OnBackup { active: "backup".to_owned() });
    let mut other = pool();
    assert!(state.fits(&other));
    other.members[1].name = "renamed".to_owned();
    assert!(!state.fits(&other));
}

#[test]
fn state_survives_the_database() {
    let (pool, mut sight) = (pool(), calm());
    let state = on_backup(&mut sight, &pool);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<PoolState>(&text).unwrap(), state);
}
