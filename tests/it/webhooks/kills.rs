//! Killed with signal 9 under a load of webhooks, again and again: what was accepted is counted,
//! and nothing is counted twice.
#![expect(clippy::print_stdout, reason = "the number of kills is a figure to be read")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;

/// Kills in `make test`; `make sweep` asks for more.
const SHORT: usize = 6;
const SENDERS: u64 = 12;

/// What senders have in common.
struct Load {
    hook: Hook,
    next: AtomicU64,
    accepted: AtomicU64,
    /// Deliveries that were sent again, since no answer had come, and turned out to be accepted.
    repeated: AtomicU64,
    over: AtomicBool,
}

/// Sends one delivery after another, each until somebody has answered for it.
async fn send(load: Arc<Load>) {
    while !load.over.load(Ordering::SeqCst) {
        let id = load.next.fetch_add(1, Ordering::SeqCst);
        let body = job(id, "completed", clock::unix_seconds());
        loop {
            match load.hook.send("workflow_job", &format!("delivery-{id}"), &body).await {
                Some(202) => break,
                Some(200) => {
                    load.repeated.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                None | Some(503) => tokio::time::sleep(Duration::from_millis(10)).await,
                Some(other) => panic!("delivery {id}: {other}"),
            }
        }
        load.accepted.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn nothing_accepted_is_lost_or_counted_twice() {
    let wanted = std::env::var("PITCREW_SWEEP").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(SHORT);
    let stage = Stage::new();
    let mut random = fastrand::Rng::new();
    let arguments = stage.arguments();
    let arguments = arguments.each_ref().map(String::as_str);
    let mut live = stage.start().await;
    let (next, accepted, repeated) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    let load = Arc::new(Load { hook: stage.hook(), next, accepted, repeated, over });
    let senders: Vec<_> = (0..SENDERS).map(|_| tokio::spawn(send(Arc::clone(&load)))).collect();
    let mut snapshots = 0.0;
    for _ in 0..wanted {
        // Some are killed while they restore what they know, most under load.
        if random.u8(..5) > 0 {
            let before = load.accepted.load(Ordering::SeqCst);
            let more = async || load.accepted.load(Ordering::SeqCst) > before + 20;
            wait::until(PATIENCE, "deliveries", more).await;
            snapshots += live.sum("pitcrew_exporter_workflow_log_snapshots_total").await;
        }
        tokio::time::sleep(Duration::from_micros(random.u64(..200_000))).await;
        live.end(Signal::KILL).await;
        live = Live::start(&programs::exporter(), &arguments, &stage.address, stage.folder.path());
    }
    load.over.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    let accepted = load.accepted.load(Ordering::SeqCst);
    assert_eq!(live.sum(ENDED).await as u64, accepted, "{}", live.log());
    let durations = "github_workflow_job_duration_seconds_count";
    assert_eq!(live.sum(durations).await as u64, accepted);

    // All of it once more.
    for id in 1..load.next.load(Ordering::SeqCst) {
        let body = job(id, "completed", clock::unix_seconds());
        let again = load.hook.send("workflow_job", &format!("delivery-{id}"), &body).await;
        assert_eq!(again, Some(200), "delivery {id}");
    }
    assert_eq!(live.sum(ENDED).await as u64, accepted);
    let repeated = load.repeated.load(Ordering::SeqCst);
    println!(
        "webhook sweep: {wanted} kills, {accepted} deliveries accepted, {repeated} of them known \
         already when sent again, {snapshots} snapshots seen, none lost, none counted twice"
    );
}
