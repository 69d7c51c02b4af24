//! What comes next, with time and budget as arguments.

use super::*;

const NOW: f64 = 1e9;

fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

fn runners() -> Target {
    Target::Runners(Scope::Repository(repository("o/a")))
}

fn runs() -> Target {
    Target::Runs(repository("o/a"))
}

fn polls(_: &Target) -> Coverage {
    Coverage::Polls
}

/// A plan with these targets, all answered at `NOW` for so many calls.
fn answered(targets: &[(Target, u64)]) -> Plan {
    let mut plan = Plan::default();
    for (target, cost) in targets {
        plan.want(target);
        plan.answered(target, NOW, *cost);
    }
    plan
}

#[test]
fn new_targets_come_in_order_of_use() {
    let jobs = Target::Jobs(repository("o/a"), 1);
    let sweep = Target::Sweep(repository("o/a"));
    let mut plan = Plan::default();
    for target in [&sweep, &jobs, &runs(), &runners()] {
        plan.want(target);
    }
    for target in [runners(), runs(), jobs, sweep] {
        assert_eq!(plan.next(NOW, None, polls), Next::Ask(target.clone()));
        plan.answered(&target, NOW, 1);
    }
    assert_eq!(plan.next(NOW, None, polls), Next::Sleep(LONGEST_SLEEP));
}

#[test]
fn intervals_follow_coverage_and_budget() {
    use Coverage::{CheckedWebhooks, Polls, Webhooks};
    let cost = [(runs(), 1)];
    for (what, coverage, pace, due) in [
        ("no limit is named", Polls, None, 45.0),
        ("enough", Polls, Some(1.0), 45.0),
        ("half of what is wanted", Polls, Some(0.5 / 45.0 / PLANNED), 90.0),
        ("nothing is left", Polls, Some(0.0), 3600.0),
        ("webhooks tell", Webhooks, Some(1.0), 120.0),
        ("and lost ones are found", CheckedWebhooks, Some(1.0), 300.0),
    ] {
        let plan = answered(&cost);
        let next = |at: f64| plan.next(NOW + at, pace, |_| coverage);
        assert!(matches!(next(due - 0.1), Next::Sleep(_)), "{what}");
        assert_eq!(next(due + 0.1), Next::Ask(runs()), "{what}");
    }
}

#[test]
fn free_answers_do_not_stretch() {
    let mut plan = answered(&[(runs(), 1), (runners(), 10)]);
    let pace = Some(0.01);
    let before = plan.stretch(pace, polls);
    assert!((before - (1.0 / 45.0 + 10.0 / 50.0) / (PLANNED * 0.01)).abs() < 1e-9, "{before}");
    for at in 0..20 {
        plan.answered(&runners(), NOW + f64::from(at), 0);
    }
    assert!(plan.stretch(pace, polls) < before / 8.0);
    plan.failed(&runs(), NOW, Failure::Denied);
    assert_eq!(plan.stretch(pace, polls), 1.0, "what is denied is not planned for");
}

#[test]
fn what_webhooks_told_is_not_asked_again_at_once() {
    let jobs = Target::Jobs(repository("o/a"), 1);
    let mut plan = Plan::default();
    plan.want_since(&jobs, NOW);
    assert!(matches!(plan.next(NOW + 119.0, None, |_| Coverage::Webhooks), Next::Sleep(_)));
    plan.want_since(&jobs, NOW + 100.0);
    assert!(matches!(plan.next(NOW + 219.0, None, |_| Coverage::Webhooks), Next::Sleep(_)));
    assert_eq!(plan.next(NOW + 221.0, None, |_| Coverage::Webhooks), Next::Ask(jobs));
}

#[test]
fn failures_wait_each_by_its_kind() {
    for (failure, waits) in [
        (Failure::Denied, 900.0),
        (Failure::Odd, 45.0),
        (Failure::Down, 45.0),
        (Failure::Limited, 15.0),
    ] {
        let mut plan = Plan::default();
        plan.want(&runs());
        plan.failed(&runs(), NOW, failure);
        let next = |at: f64| plan.next(NOW + at, None, polls);
        assert!(matches!(next(waits - 1.0), Next::Sleep(_)), "{failure:?}");
        assert_eq!(next(waits + 0.1), Next::Ask(runs()), "{failure:?}");
    }
    // What fails again and again is asked ever more seldom, and the others go on.
    let mut plan = answered(&[(runners(), 1)]);
    plan.want(&runs());
    for _ in 0..8 {
        plan.failed(&runs(), NOW, Failure::Odd);
    }
    assert_eq!(plan.next(NOW + 51.0, None, polls), Next::Ask(runners()));
    plan.answered(&runners(), NOW + 899.0, 1);
    assert!(matches!(plan.next(NOW + 899.0, None, polls), Next::Sleep(_)));
    assert_eq!(plan.next(NOW + 901.0, None, polls), Next::Ask(runs()));
}

#[test]
fn an_outage_holds_everything_and_one_answer_ends_it() {
    let mut plan = answered(&[(runners(), 1), (runs(), 1)]);
    let other = Target::Runs(repository("o/b"));
    plan.want(&other);
    for target in [runners(), runs(), runs()] {
        plan.failed(&target, NOW, Failure::Down);
    }
    assert!(matches!(plan.next(NOW + 4.0, None, polls), Next::Sleep(_)));
    assert_eq!(plan.next(NOW + 6.0, None, polls), Next::Ask(other.clone()));
    for _ in 0..20 {
        plan.failed(&runs(), NOW, Failure::Down);
    }
    assert!(matches!(plan.next(NOW + 299.0, None, polls), Next::Sleep(_)));
    assert_eq!(plan.next(NOW + 301.0, None, polls), Next::Ask(other.clone()));
    plan.answered(&other, NOW + 301.0, 1);
    plan.failed(&runs(), NOW + 302.0, Failure::Down);
    assert_eq!(plan.next(NOW + 302.0, None, polls), Next::Ask(runners()));
}

#[test]
fn ages_and_tallies_leave_out_what_is_denied() {
    let mut plan = answered(&[(runs(), 1)]);
    let other = Target::Runs(repository("o/b"));
    plan.want(&other);
    assert_eq!(plan.oldest(|_| true), Some(NOW));
    plan.answered(&other, NOW - 50.0, 1);
    assert_eq!(plan.oldest(|_| true), Some(NOW - 50.0));
    plan.failed(&other, NOW, Failure::Odd);
    assert_eq!(plan.oldest(|_| true), Some(NOW - 50.0), "the last good data has its age");
    plan.failed(&other, NOW, Failure::Denied);
    assert_eq!(plan.oldest(|_| true), Some(NOW));
    let want = Tally { read: 1, denied: 1, ..Tally::default() };
    assert_eq!(plan.tally(), BTreeMap::from([("jobs", Tally::default()), ("runs", want)]));
}

#[test]
fn the_runs_whose_jobs_are_read_are_bounded() {
    let mut plan = Plan::default();
    let jobs = |run| Target::Jobs(repository("o/a"), run);
    for run in 0..MAX_JOBS as u64 {
        assert!(plan.want(&jobs(run)));
    }
    assert!(!plan.want(&jobs(1 << 40)) && plan.want(&jobs(5)) && plan.want(&runs()));
}
