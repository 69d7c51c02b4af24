//! alertd as the sender, to Debian's Prometheus.

use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::process::free_address;
use pitcrew_tests::wait;
use rustix::process::Signal;

use super::{alertd, count, prometheus, samples};

/// Many series, of which a kill finds some sent and some not.
fn page(turn: usize) -> String {
    (0..300).map(|n| format!("m{{n=\"{n}\"}} {}\n", turn * 1000 + n)).collect()
}

/// Until the sender has much that the receiver has not.
async fn backlog(sender: &Live) {
    let pending = "pitcrew_alertd_remote_write_pending_samples{remote=\"peer\"}";
    let many = async || sender.metric(pending).await > Some(3000.0);
    wait::until(PATIENCE, "a backlog", many).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_arrives_through_outage_and_kills() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = FakeTarget::page(&page(0)).await;
    let (here, there) = (free_address(), free_address());
    let config = format!(
        "global: {{ scrape_interval: 100ms, scrape_timeout: 100ms, external_labels: {{ site: lab }} }}
scrape_configs: [{{ job_name: x, static_configs: [{{ targets: ['{}'] }}] }}]
remote_write:
- url: 'http://{there}/api/v1/write'
  name: peer
  queue_config: {{ batch_send_deadline: 50ms, max_samples_per_send: 200, min_shards: 2, max_backoff: 200ms }}
",
        target.address
    );
    let receiver = prometheus(theirs.path(), &there, "global: {}").await;
    let sender = alertd(ours.path(), &here, &config).await;
    let arrived = async |live: &Live| live.value("count(m{site=\"lab\"})").await == Some(300.0);
    wait::until(PATIENCE, "the first samples", async || arrived(&receiver).await).await;

    // The receiver is away, and so is the sender for a while.
    receiver.end(Signal::KILL).await;
    target.set(Answer::Page(TEXT, page(1)));
    backlog(&sender).await;
    sender.end(Signal::KILL).await;
    let sender = alertd(ours.path(), &here, &config).await;
    target.set(Answer::Page(TEXT, page(2)));
    let receiver = prometheus(theirs.path(), &there, "global: {}").await;
    wait::until(PATIENCE, "what is new", async || receiver.value("min(m)").await == Some(2000.0))
        .await;

    // Killed while it sends, and the receiver too.
    receiver.end(Signal::KILL).await;
    backlog(&sender).await;
    let receiver = prometheus(theirs.path(), &there, "global: {}").await;
    sender.end(Signal::KILL).await;
    let sender = alertd(ours.path(), &here, &config).await;
    receiver.end(Signal::KILL).await;
    let receiver = prometheus(theirs.path(), &there, "global: {}").await;
    target.set(Answer::Page(TEXT, page(3)));
    wait::until(PATIENCE, "what is newest", async || {
        receiver.value("min(m)").await == Some(3000.0)
    })
    .await;

    // What either has up to here, the other has.
    let at = receiver.value("max(timestamp(m))").await.unwrap();
    let ours = samples(&sender, "m", at).await;
    assert!(ours.len() == 300 && count(&ours) > 3000, "{} samples", count(&ours));
    let values = |mut series: Vec<serde_json::Value>| {
        for one in &mut series {
            one["metric"].as_object_mut().unwrap().remove("site");
        }
        series
    };
    wait::until(PATIENCE, "all samples", async || {
        values(samples(&receiver, "m", at).await) == ours
    })
    .await;
    let lost = |reason: &str| {
        format!(
            "pitcrew_alertd_remote_write_dropped_samples_total{{remote=\"peer\",reason=\"{reason}\"}}"
        )
    };
    for reason in ["queue_full", "queue_error", "broken", "too_old"] {
        assert_eq!(sender.metric(&lost(reason)).await, None, "{reason}");
    }
    let (code, time) = sender.end(Signal::TERM).await;
    assert_eq!(code, Some(0));
    assert!(time < PATIENCE, "{time:?}");
}
