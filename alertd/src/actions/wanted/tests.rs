//! Which labels are added and removed, in which order, and which removals are refused.

use super::*;
use crate::actions::fixtures::{at, calm, pool};
use crate::actions::health::{Health, OnGithub};
use crate::actions::machine::{Helping, Phase};

fn in_phase(phase: Phase) -> PoolState {
    PoolState { phase, ..PoolState::normal(at(0), "test") }
}

fn failing_over() -> PoolState {
    in_phase(Phase::FailingOver { from: "primary".to_owned(), to: "backup".to_owned() })
}

fn names(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.runner.as_str()).collect()
}

#[test]
fn backup_first_then_primary() {
    let (pool, mut sight) = (pool(), calm());
    sight.kill(0);
    let first = plan(&failing_over(), &sight, &pool);
    assert_eq!(names(&first.adds), ["b-1", "b-2", "b-3", "b-4"]);
    assert_eq!((first.removes.len(), first.denied), (0, None));

    sight.label(1, 4);
    let then = plan(&failing_over(), &sight, &pool);
    assert!(then.adds.is_empty());
    assert_eq!(then.removes.len(), 8);

    sight.label(0, 0);
    assert!(plan(&failing_over(), &sight, &pool).is_empty());
}

#[test]
fn one_runner_that_cannot_be_labelled_does_not_hold_up_the_rest() {
    let (pool, mut sight) = (pool(), calm());
    sight.kill(0);
    sight.label(1, 3);
    let plan = plan(&failing_over(), &sight, &pool);
    assert_eq!(names(&plan.adds), ["b-4"]);
    assert_eq!(plan.removes.len(), 8);
}

#[test]
fn never_fewer_than_min_healthy() {
    let (mut pool, mut sight) = (pool(), calm());
    pool.min_healthy = 2;
    sight.label(1, 4);
    for runner in &mut sight.members[1].runners {
        runner.github = OnGithub::Offline;
    }
    let refused = plan(&failing_over(), &sight, &pool);
    assert!(refused.removes.is_empty());
    assert!(refused.denied.unwrap().reason.contains("0 healthy runners"));
    sight.members[1].runners[0].github = OnGithub::Online;
    assert!(plan(&failing_over(), &sight, &pool).removes.is_empty());
    sight.members[1].runners[1].github = OnGithub::Busy;
    assert_eq!(plan(&failing_over(), &sight, &pool).removes.len(), 8);
    sight.members[1].runners[1].health = Health::Down;
    assert!(plan(&failing_over(), &sight, &pool).removes.is_empty());
}

#[test]
fn who_carries_the_label_in_each_phase() {
    let on_backup = Phase::OnBackup { active: "backup".to_owned() };
    let back = |step| Phase::FailingBack {
        active: "backup".to_owned(),
        to: "primary".to_owned(),
        step,
        step_since: at(0),
    };
    for (phase, primary, backup) in [
        (Phase::Normal, 8, 0),
        (Phase::Degraded, 8, 0),
        (on_backup, 0, 4),
        (back(1), 1, 4),
        (back(3), 4, 4),
        (back(4), 8, 4),
    ] {
        let got = carriers(&in_phase(phase.clone()), &calm());
        let count = |prefix: &str| got.iter().filter(|name| name.starts_with(prefix)).count();
        assert_eq!((count("a-"), count("b-")), (primary, backup), "{phase:?}");
    }
    let helping = Helping {
        member: "backup".to_owned(),
        since: at(0),
        cause: String::new(),
        calm_since: None,
    };
    let helped = PoolState { helping: Some(helping), ..in_phase(Phase::Normal) };
    assert_eq!(carriers(&helped, &calm()).len(), 12);
}

#[test]
fn a_step_takes_runners_that_can_work_and_keeps_those_it_has() {
    let mut sight = calm();
    sight.label(0, 0);
    sight.members[0].runners[0].github = OnGithub::Offline;
    let state = in_phase(Phase::FailingBack {
        active: "backup".to_owned(),
        to: "primary".to_owned(),
        step: 1,
        step_since: at(0),
    });
    assert!(carriers(&state, &sight).contains("a-2"));
    sight.members[0].runners[4].labelled = true;
    assert!(carriers(&state, &sight).contains("a-5"));
}

#[test]
fn ephemeral_and_unbounded_targets_are_left_alone() {
    let (pool, mut sight) = (pool(), calm());
    sight.members[1].runners[0].ephemeral = true;
    assert_eq!(names(&plan(&failing_over(), &sight, &pool).adds), ["b-2", "b-3", "b-4"]);
    sight.members[1].blocked = Some("too many".to_owned());
    assert!(plan(&failing_over(), &sight, &pool).is_empty());
}

#[test]
fn labels_changed_by_others_are_put_right() {
    let (pool, mut sight) = (pool(), calm());
    sight.members[0].runners[2].labelled = false;
    sight.members[1].runners[1].labelled = true;
    let plan = plan(&in_phase(Phase::Normal), &sight, &pool);
    assert_eq!((names(&plan.adds), names(&plan.removes)), (vec!["a-3"], vec!["b-2"]));
}

#[test]
fn a_shadow_plan_has_the_shape_of_the_real_one() {
    let what = Move::FailOver { from: "primary".to_owned(), to: "backup".to_owned() };
    let whole = whole_plan(&in_phase(Phase::Degraded), &what, &calm());
    let adds: Vec<bool> = whole.iter().map(|change| change.add).collect();
    assert_eq!(adds, [[true; 4].as_slice(), &[false; 8]].concat());
}
