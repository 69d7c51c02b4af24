//! What forbids a move, forbids it: GitHub sees no write, the journal says why, once.

use pitcrew_alertd::actions::{CommandError, What};
use pitcrew_tests::wait;

use super::lab::{Lab, POOL, SOON};
use super::names;

/// Kills the primary, waits for some looks, and gives the journal's actions with their outcomes.
async fn denied(lab: &Lab) -> Vec<(String, String, usize)> {
    lab.kill("a");
    lab.until("degraded and said why", |view| {
        view.state == "degraded" && (view.denied.is_some() || view.proposal.is_some())
    })
    .await;
    lab.looks(4).await;
    assert_eq!(lab.writes(), [""; 0]);
    assert_eq!(lab.now().state, "degraded");
    assert_eq!(lab.labelled(), names("a", 8));
    let mut counts: Vec<(String, String, usize)> = Vec::new();
    for row in lab.journal() {
        let (action, outcome) = (row.action, row.outcome.unwrap_or_default());
        match counts.iter_mut().find(|one| (&one.0, &one.1) == (&action, &outcome)) {
            Some(one) => one.2 += 1,
            None => counts.push((action, outcome, 1)),
        }
    }
    counts
}

fn row(action: &str, outcome: &str, count: usize) -> (String, String, usize) {
    (action.to_owned(), outcome.to_owned(), count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shadow_records_the_same_plan_and_does_nothing() {
    let lab = Lab::start(&POOL.replace("trust: auto", "trust: shadow")).await;
    let counts = denied(&lab).await;
    assert_eq!(counts, [row("add_label", "would have", 4), row("remove_label", "would have", 8)]);
    lab.until_told("PoolPlanWaits").await;
    let answer = lab.order(What::Failover("ci".to_owned())).await.unwrap();
    assert!(answer.contains("shadow") && answer.contains("12 label changes"), "{answer}");
    lab.looks(2).await;
    assert_eq!(lab.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approve_waits_for_a_person_both_ways() {
    let lab = Lab::start(&POOL.replace("trust: auto", "trust: approve")).await;
    let counts = denied(&lab).await;
    let waits = "waits for a person";
    assert_eq!(counts, [row("add_label", waits, 4), row("remove_label", waits, 8)]);
    lab.order(What::Failover("ci".to_owned())).await.unwrap();
    lab.until_state("on_backup").await;
    assert_eq!(lab.labelled(), names("b", 4));
    let journal = lab.journal();
    let done: Vec<_> = journal.iter().filter(|row| row.mode == "person").collect();
    assert!(done.len() == 12 && done.iter().all(|row| row.who == "ann"), "{journal:?}");

    lab.heal("a", 8);
    lab.looks(4).await;
    assert_eq!(lab.now().state, "on_backup");
    lab.order(What::Failback("ci".to_owned())).await.unwrap();
    wait::until(SOON, "back", async || lab.labelled() == names("a", 8)).await;
    lab.until_state("normal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn min_healthy_is_denied_once() {
    let pool = POOL.replace("trust: auto", "min_healthy: 5\n    trust: auto");
    let lab = Lab::start(&pool).await;
    assert_eq!(denied(&lab).await, [row("denied_min_healthy", "denied", 1)]);
    lab.until_told("PoolGuardDenied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_hold_stops_everything_until_it_is_released() {
    let lab = Lab::start(POOL).await;
    lab.order(What::Hold(None)).await.unwrap();
    let rows = [row("hold", "done", 1), row("denied_hold", "denied", 1)];
    assert_eq!(denied(&lab).await, rows);
    let refused = lab.order(What::Failover("ci".to_owned())).await.unwrap_err();
    assert!(refused.to_string().contains("all pools are held by ann: a test"), "{refused}");
    assert_eq!(lab.db.holds().unwrap().len(), 1);
    lab.order(What::Release(None)).await.unwrap();
    lab.until_state("on_backup").await;
    for action in ["hold", "release"] {
        let journal = lab.db.journal_last(None, 1000).unwrap();
        let row = journal.iter().find(|row| row.action == action).unwrap();
        assert_eq!((&*row.target, &*row.who, &*row.cause), ("all pools", "ann", "a test"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cooldown_denies_a_second_failover() {
    let pool = POOL.replace("cooldown: 0s", "cooldown: 1h");
    let lab = Lab::start(&pool).await;
    lab.kill("a");
    lab.until_state("on_backup").await;
    lab.heal("a", 8);
    lab.until_state("normal").await;
    wait::until(SOON, "the primary alone", async || lab.labelled() == names("a", 8)).await;
    let before = lab.writes().len();
    lab.kill("a");
    lab.until("denied", |view| view.denied.is_some()).await;
    lab.looks(3).await;
    assert_eq!(lab.writes().len(), before);
    let rows = lab.journal();
    assert_eq!(rows.iter().filter(|row| row.action == "denied_cooldown").count(), 1);
    // A person may all the same.
    lab.order(What::Failover("ci".to_owned())).await.unwrap();
    lab.until_state("on_backup").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_followed_say_why() {
    let lab = Lab::start(POOL).await;
    let unknown = lab.order(What::Failover("nope".to_owned())).await.unwrap_err();
    assert!(matches!(&unknown, CommandError::NoSuchPool { .. }), "{unknown}");
    assert!(unknown.to_string().contains("there are: ci"), "{unknown}");
    let already = lab.order(What::Failback("ci".to_owned())).await.unwrap_err();
    assert!(already.to_string().contains("already on primary"), "{already}");
    let none = lab.order(What::Release(Some("ci".to_owned()))).await.unwrap_err();
    assert!(none.to_string().contains("no hold on ci"), "{none}");
    assert_eq!(lab.writes(), [""; 0]);
}
