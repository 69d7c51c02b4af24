//! GitHub answers badly in the middle: the pool keeps its state, says why, and gets there.

use std::collections::BTreeMap;
use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_tests::fake_github::fault::{Fault, Kind};
use pitcrew_tests::fake_github::ledger::Event;
use pitcrew_tests::wait;

use super::lab::{Lab, POOL, SOON};
use super::names;

fn status(status: u16) -> Kind {
    Kind::Status { status, message: "no".to_owned(), headers: BTreeMap::new() }
}

fn limited() -> Kind {
    let headers = BTreeMap::from([("retry-after".to_owned(), "1".to_owned())]);
    Kind::Status { status: 403, message: "secondary rate limit".to_owned(), headers }
}

fn fault(method: &str, kind: Kind, times: u32, effect: bool) -> Fault {
    let path = "/actions/runners".to_owned();
    Fault { method: Some(method.to_owned()), path, times: Some(times), effect, kind }
}

/// The primary dies while GitHub answers so; in the end the backup alone carries the label, each
/// intent has its outcome, and no label was changed twice.
async fn survives(name: &'static str, fault: Fault) {
    let lab = Lab::start(POOL).await;
    lab.looks(1).await;
    lab.github.set_fault(fault);
    lab.kill("a");
    let there = async || {
        lab.labelled() == names("b", 4)
            && lab.now().state == "on_backup"
            && lab.now().error.is_none()
    };
    wait::until(Duration::from_secs(60), name, there).await;
    let moves = lab.moves();
    assert_eq!(moves.len(), 12, "{name}: {moves:?}");
    assert!(moves[0].starts_with("+b"), "{name}: {moves:?}");
    let open: Vec<_> = lab.journal().into_iter().filter(|row| row.outcome.is_none()).collect();
    assert!(open.is_empty(), "{name}: {open:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_answer_to_a_label_call() {
    for (name, fault) in [
        ("401", fault("POST", status(401), 1, false)),
        ("403", fault("POST", status(403), 1, false)),
        ("404", fault("POST", status(404), 1, false)),
        ("422", fault("POST", status(422), 1, false)),
        ("500", fault("POST", status(500), 1, false)),
        ("500 after its effect", fault("POST", status(500), 1, true)),
        ("500 on removal, after its effect", fault("DELETE", status(500), 1, true)),
    ] {
        survives(name, fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_or_half_of_one() {
    for (name, fault) in [
        ("hang", fault("POST", Kind::Hang, 1, false)),
        ("hang after its effect", fault("POST", Kind::Hang, 1, true)),
        ("hang on removal", fault("DELETE", Kind::Hang, 1, true)),
        ("cut off", fault("POST", Kind::Close, 1, true)),
        ("half", fault("POST", Kind::Truncate, 1, true)),
        ("a proxy's page", fault("POST", Kind::Html(200), 1, false)),
        ("wrong types", fault("POST", Kind::WrongType, 1, true)),
    ] {
        survives(name, fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lists_and_limits() {
    for (name, fault) in [
        ("list 500", fault("GET", status(500), 2, false)),
        ("list garbage", fault("GET", Kind::Html(200), 1, false)),
        ("list hangs", fault("GET", Kind::Hang, 1, false)),
        ("list cut", fault("GET", Kind::Truncate, 1, false)),
        ("rate limited", fault("POST", limited(), 1, false)),
    ] {
        survives(name, fault).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_failure_is_told_and_not_hammered() {
    let lab = Lab::start(POOL).await;
    let lasting = Fault { times: None, ..fault("POST", status(403), 1, false) };
    lab.github.set_fault(lasting);
    lab.kill("a");
    lab.until("the error is shown", |view| {
        view.error.as_ref().is_some_and(|error| error.contains("403"))
    })
    .await;
    let told = lab.until_told("PoolGithubFailing").await;
    assert!(told.annotations["summary"].contains("403"), "{told:?}");
    wait::until(SOON, "a second try", async || 2 <= lab.writes().len()).await;
    // The primary keeps its label while the backup cannot be given it.
    assert_eq!(lab.labelled(), names("a", 8));
    assert_eq!(lab.now().state, "failing_over");
    assert!(lab.writes().len() <= 4, "{:?}", lab.writes());
    lab.github.clear_faults();
    lab.until_state("on_backup").await;
    assert_eq!(lab.labelled(), names("b", 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_registers_anew_in_the_middle() {
    let lab = Lab::start(POOL).await;
    let path = "/actions/runners".to_owned();
    let slow = Kind::Latency(600);
    let method = Some("POST".to_owned());
    lab.github.set_fault(Fault { method, path, times: Some(2), effect: false, kind: slow });
    lab.kill("a");
    wait::until(SOON, "failing over", async || lab.now().state == "failing_over").await;
    lab.register("b-3", &[]);
    lab.register("b-4", &[]);
    wait::until(SOON, "all of the backup", async || lab.labelled() == names("b", 4)).await;
    lab.until_state("on_backup").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_cannot_be_read_do_not_hold_up_the_label() {
    for (name, kind) in [("forbidden", status(403)), ("slow", Kind::Latency(1200))] {
        let lab = Lab::start(POOL).await;
        let (path, method) = ("/actions/runs".to_owned(), Some("GET".to_owned()));
        lab.github.set_fault(Fault { method, path, times: None, effect: false, kind });
        if name == "forbidden" {
            lab.until("it is said", |view| {
                view.error.as_ref().is_some_and(|error| error.contains("jobs cannot be read"))
            })
            .await;
        } else {
            lab.looks(2).await;
        }
        let before = clock::unix_seconds();
        lab.kill("a");
        wait::until(SOON, "moved", async || lab.labelled() == names("b", 4)).await;
        let ledger = lab.github.ledger();
        let first = ledger.iter().find(|one| one.event == Event::LabelAdded).unwrap();
        assert!(first.time - before < 1.0, "{name}: {}", first.time - before);
    }
}
