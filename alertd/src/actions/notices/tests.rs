//! What is told in which situation, and that the end of it is told too.

use super::*;
use crate::actions::fixtures::{at, calm, job, pool};
use crate::actions::guard::{Denied, Guard};
use crate::actions::machine::{Interrupted, Proposal};

#[test]
fn each_situation_is_told_by_its_name() {
    type Edit = fn(&mut PoolState, &mut Sight, &mut PoolConfig);
    let cases: [(&str, Edit, &[&str]); 10] = [
        ("calm", |_, _, _| {}, &[]),
        ("degraded", |_, sight, _| sight.members[0].verdict = Verdict::Degraded, &["PoolDegraded"]),
        (
            "nobody can tell",
            |_, sight, _| {
                sight.kill(0);
                sight.members[0].verdict = Verdict::NeedsPerson;
            },
            &["PoolNeedsPerson"],
        ),
        (
            "both down",
            |_, sight, _| {
                sight.kill(0);
                sight.kill(1);
            },
            &["PoolDegraded", "PoolDegraded", "PoolDown"],
        ),
        (
            "on backup",
            |state, _, _| state.phase = Phase::OnBackup { active: "backup".to_owned() },
            &["PoolFailedOver"],
        ),
        (
            "not verified",
            |state, _, _| state.proof = Proof::Failed("late".to_owned()),
            &["PoolFailoverUnverified"],
        ),
        (
            "plan",
            |state, _, _| {
                let what = Move::FailBack { to: "primary".to_owned() };
                state.proposal = Some(Proposal { at: at(0), cause: String::new(), what });
            },
            &["PoolPlanWaits"],
        ),
        (
            "denied",
            |state, _, _| {
                let (member, reason) = ("backup".to_owned(), "why".to_owned());
                state.denied = Some(Denied { guard: Guard::Hold, member, reason });
            },
            &["PoolGuardDenied"],
        ),
        (
            "interrupted",
            |state, _, _| {
                let text = |text: &str| text.to_owned();
                state.interrupted = vec![Interrupted {
                    at: at(0),
                    job: 1,
                    name: text("build"),
                    repository: text("octo/work"),
                    run: 7,
                    url: text("https://github.test/job/1"),
                    runner: text("a-1"),
                }];
            },
            &["PoolJobsInterrupted"],
        ),
        (
            "refused",
            |_, sight, _| sight.members[1].refused = vec!["runner b-1 is ephemeral".to_owned()],
            &["PoolMemberRefused"],
        ),
    ];
    for (name, edit, want) in cases {
        let (mut pool, mut sight) = (pool(), calm());
        let mut state = PoolState::normal(at(0), "test");
        edit(&mut state, &mut sight, &mut pool);
        let told = notices(Some(&state), &sight, &pool, &Background::default(), at(1));
        let names: Vec<&str> = told.iter().map(|notice| notice.name).collect();
        assert_eq!(names, want, "{name}");
        if name == "interrupted" {
            let text = &told[0].summary;
            assert!(text.contains("build on a-1 (https://github.test/job/1)"), "{text}");
        }
    }
}

#[test]
fn jobs_that_could_not_fail_over_and_jobs_that_went_astray() {
    let (pool, mut sight) = (pool(), calm());
    let waiting = Stage::Waiting { since: at(0) };
    let mut bare = job("lint", waiting.clone());
    bare.labels = vec!["Self-Hosted".to_owned()];
    let mut hosted = job("docs", waiting);
    hosted.labels = vec!["ubuntu-latest".to_owned()];
    let found = without_label(&[bare, hosted], &sight, &pool, 5);
    assert_eq!(found, ["lint in octo/work"]);

    sight.label(0, 0);
    let ran = |name: &str, since| {
        job(name, Stage::Running { runner: "A-1".to_owned(), since: at(since) })
    };
    sight.jobs = Some(vec![ran("before", 5), ran("after", 15)]);
    let mut state = PoolState::normal(at(0), "test");
    (state.moved_at, state.phase) = (Some(at(10)), Phase::OnBackup { active: "backup".into() });
    let found = strays(&state, &sight, 5);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("after on A-1"), "{found:?}");
}

#[test]
fn told_once_said_again_and_ended() {
    let notice = |summary: &str| Notice {
        name: "PoolDegraded",
        member: "primary".to_owned(),
        severity: "warning",
        summary: summary.to_owned(),
        since: at(0),
    };
    let mut raised = Raised::default();
    let again = Duration::from_secs(60);
    let mut update = |notices: &[Notice], now| raised.update("ci", notices, again, at(now));
    let first = update(&[notice("a")], 10);
    assert_eq!((first.len(), first[0].starts_at, first[0].name()), (1, at(0), "PoolDegraded"));
    assert!(!first[0].is_resolved(at(100)));
    assert!(update(&[notice("a")], 20).is_empty());
    assert_eq!(update(&[notice("b")], 30).len(), 1);
    assert_eq!(update(&[notice("b")], 90).len(), 1);
    let end = update(&[], 100);
    assert!(end.len() == 1 && end[0].is_resolved(at(100)));
    assert!(update(&[], 200).is_empty());
}
