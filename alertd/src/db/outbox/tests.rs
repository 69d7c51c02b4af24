//! The outbox by itself: order in a lane, merging, giving up, and a kill at every step.

use super::*;
use std::path::Path;

fn hashes(text: &str) -> Hashes {
    text.chars().map(|c| c.to_string().parse().unwrap()).collect()
}

fn lane() -> Lane {
    Lane { group_key: "{}:{}".into(), integration: "team/webhook[0]".into() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1000)
}

async fn add(outbox: &Outbox, id: &str, firing: &str, resolved: &str, repeat: bool) -> usize {
    let update = Update {
        firing: hashes(firing),
        resolved: hashes(resolved),
        memory: String::new(),
        message: Some(Message {
            delivery_id: id.to_owned(),
            payload: String::new(),
            fired_at: None,
            repeat,
        }),
    };
    outbox.flush(vec![lane()], at(0), move |_, _| Some(update.clone())).await.unwrap()
}

async fn claim(outbox: &Outbox, now: i64) -> Vec<Claimed> {
    outbox.claim(lane().integration, 9, at(now)).await.unwrap()
}

async fn entry(outbox: &Outbox) -> Option<LogEntry> {
    outbox.db.call(|tx| log::find(tx, &lane())).await.unwrap()
}

fn open(folder: &Path) -> Outbox {
    Outbox::new(Db::open(folder).unwrap())
}

#[tokio::test]
async fn a_lane_is_in_order_and_a_later_row_waits_for_the_earlier() {
    let outbox = Outbox::new(Db::in_memory().unwrap());
    add(&outbox, "1", "a", "", false).await;
    add(&outbox, "2", "", "a", false).await;
    let first = claim(&outbox, 0).await;
    assert_eq!(first.iter().map(|row| row.delivery_id.as_str()).collect::<Vec<_>>(), ["1"]);
    assert!(claim(&outbox, 0).await.is_empty());
    let retry = Outcome::Retry { due_at: at(9), error: "503".into(), perhaps: false };
    outbox.record(first[0].id, retry, at(1)).await.unwrap();
    assert!(claim(&outbox, 8).await.is_empty());
    assert_eq!(outbox.next_due(at(8)).await.unwrap(), Some(at(9)));
    let again = claim(&outbox, 9).await;
    assert_eq!((again[0].delivery_id.as_str(), again[0].attempts), ("1", 2));
    outbox.record(again[0].id, Outcome::Delivered { memory: None }, at(9)).await.unwrap();
    let second = claim(&outbox, 9).await;
    assert_eq!((second[0].delivery_id.as_str(), &second[0].told), ("2", &hashes("a")));
    outbox.record(second[0].id, Outcome::Delivered { memory: None }, at(9)).await.unwrap();
    assert!(entry(&outbox).await.unwrap().told.is_empty());
    assert_eq!(outbox.depth().await.unwrap(), (0, None));
    assert_eq!(outbox.prune(at(10)).await.unwrap(), 3, "two rows and the lane");
}

#[tokio::test]
async fn a_clock_that_was_set_back_puts_no_retry_off() {
    let outbox = Outbox::new(Db::in_memory().unwrap());
    add(&outbox, "1", "a", "", false).await;
    let row = claim(&outbox, 7200).await.remove(0);
    let retry = Outcome::Retry { due_at: at(7260), error: "503".into(), perhaps: false };
    outbox.record(row.id, retry, at(7200)).await.unwrap();
    assert!(claim(&outbox, 7210).await.is_empty());
    assert!(claim(&outbox, 3610).await.is_empty(), "50 s are left as before");
    assert_eq!(outbox.next_due(at(3610)).await.unwrap(), Some(at(3660)));
    assert_eq!(claim(&outbox, 3660).await.len(), 1);
}

#[tokio::test]
async fn repeats_merge_into_what_still_waits_and_changes_do_not() {
    let outbox = Outbox::new(Db::in_memory().unwrap());
    assert_eq!(add(&outbox, "1", "a", "", false).await, 1);
    assert_eq!(add(&outbox, "2", "a", "", true).await, 0);
    assert_eq!(add(&outbox, "3", "ab", "", false).await, 1);
    assert_eq!(entry(&outbox).await.unwrap().sequence, 3);
}

#[tokio::test]
async fn what_was_given_up_is_not_taken_as_told() {
    for (perhaps, told) in [(false, ""), (true, "a")] {
        let outbox = Outbox::new(Db::in_memory().unwrap());
        add(&outbox, "1", "a", "", false).await;
        let row = claim(&outbox, 0).await.remove(0);
        let failed = Outcome::Failed { error: "404".into(), perhaps };
        outbox.record(row.id, failed, at(5)).await.unwrap();
        let entry = entry(&outbox).await.unwrap();
        assert_eq!((&entry.told, &entry.firing), (&hashes(told), &hashes(told)));
        let failures = outbox.failures(10).await.unwrap();
        assert_eq!((failures[0].error.as_str(), failures[0].failed_at), ("404", at(5)));
    }
}

#[tokio::test]
async fn a_memory_is_kept_with_the_success_and_goes_with_the_lane() {
    let outbox = Outbox::new(Db::in_memory().unwrap());
    let mut want = None;
    // What the delivery leaves, and what is kept of it; `None`: the attempt fails.
    let long = "x".repeat(lane_memory::MAX_MEMORY + 1);
    for (at_row, (left, kept)) in [
        (Some(Some("ts=1")), Some("ts=1")),
        (None, Some("ts=1")),
        (Some(Some("ts=2")), Some("ts=2")),
        (Some(Some(long.as_str())), None),
        (Some(Some("ts=3")), Some("ts=3")),
        (Some(None), None),
        (Some(Some("ts=4")), Some("ts=4")),
    ]
    .into_iter()
    .enumerate()
    {
        add(&outbox, &at_row.to_string(), "a", "", false).await;
        let row = claim(&outbox, 0).await.remove(0);
        assert_eq!(row.memory.as_deref(), want, "row {at_row}");
        let outcome = match left {
            Some(memory) => Outcome::Delivered { memory: memory.map(str::to_owned) },
            None => Outcome::Failed { error: "404".into(), perhaps: false },
        };
        outbox.record(row.id, outcome, at(1)).await.unwrap();
        want = kept;
    }
    let memory = || outbox.db.call(|tx| lane_memory::find(tx, &lane()));
    outbox.prune(at(2)).await.unwrap();
    assert_eq!(memory().await.unwrap().as_deref(), Some("ts=4"), "the lane still fires");
    add(&outbox, "end", "", "a", false).await;
    let row = claim(&outbox, 0).await.remove(0);
    let memory_left = Some("ts=4".to_owned());
    outbox.record(row.id, Outcome::Delivered { memory: memory_left }, at(3)).await.unwrap();
    outbox.prune(at(4)).await.unwrap();
    assert_eq!((entry(&outbox).await, memory().await.unwrap()), (None, None));
}

#[tokio::test]
async fn rows_of_receivers_that_are_gone_are_given_up() {
    let outbox = Outbox::new(Db::in_memory().unwrap());
    add(&outbox, "1", "a", "", false).await;
    assert!(outbox.fail_unknown(vec![lane().integration], at(1)).await.unwrap().is_empty());
    assert_eq!(outbox.fail_unknown(Vec::new(), at(1)).await.unwrap(), [lane()]);
    assert!(claim(&outbox, 9).await.is_empty());
}

/// Steps of one delivery; the process is killed after the given number of them.
async fn deliver_until_killed(folder: &Path, kill_after: usize, got: &mut Vec<String>) -> usize {
    let mut steps = 0;
    let mut alive = || {
        steps += 1;
        steps <= kill_after
    };
    let outbox = open(folder);
    let lost = outbox.recover(at(0)).await.unwrap().len();
    while alive() {
        let Some(row) = claim(&outbox, 0).await.pop() else { break };
        if !alive() {
            break;
        }
        got.push(row.delivery_id);
        if !alive() {
            break;
        }
        outbox.record(row.id, Outcome::Delivered { memory: None }, at(0)).await.unwrap();
    }
    lost
}

#[tokio::test]
async fn a_kill_at_any_step_repeats_at_most_one_notification_under_its_id() {
    for kill_after in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(folder.path());
        add(&outbox, "1", "a", "", false).await;
        add(&outbox, "2", "", "a", false).await;
        drop(outbox);
        let mut got = Vec::new();
        deliver_until_killed(folder.path(), kill_after, &mut got).await;
        let possible = deliver_until_killed(folder.path(), usize::MAX, &mut got).await;
        let mut once = got.clone();
        once.dedup();
        assert_eq!(once, ["1", "2"], "killed after {kill_after}: {got:?}");
        let repeats = got.len() - 2;
        assert!(
            repeats <= possible,
            "killed after {kill_after}: {repeats} repeats, {possible} counted"
        );
        assert!(possible <= 1);
    }
}

#[tokio::test]
async fn what_a_delivery_asks_does_not_look_at_all_that_waits() {
    let db = Db::in_memory().unwrap();
    // As in `claim`, but for the columns.
    let claim = "SELECT id FROM outbox WHERE integration = 'x' AND state = 'waiting'
        AND (+due_at <= 1 OR +due_at > 2) ORDER BY due_at, id LIMIT 4";
    let next = "SELECT due_at FROM outbox WHERE state = 'waiting' AND due_at > 1
        ORDER BY due_at LIMIT 1";
    let open = "SELECT count(*), min(created_at) FROM outbox WHERE state IN ('waiting', 'sending')";
    for (query, index) in [(claim, "outbox_due"), (next, "outbox_next"), (open, "outbox_open")] {
        let plan = format!("EXPLAIN QUERY PLAN {query}");
        let plan = db.transact(|tx| {
            let mut plan = tx.prepare(&plan)?;
            let steps = plan.query_map([], |row| row.get::<_, String>(3))?;
            steps.collect::<rusqlite::Result<Vec<_>>>()
        });
        let plan = plan.unwrap().join("; ");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{query}: {plan}");
    }
}
