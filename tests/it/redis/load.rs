//! A thousand jobs a second, and a server that is killed in the middle of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_tests::redis::{Redis, ask, try_ask};
use redis::aio::MultiplexedConnection;

use super::Exporter;

const CONSUMERS: usize = 4;
/// Jobs for one call: a producer of a thousand a second does not wait for each.
const BATCH: usize = 100;

#[derive(Default)]
struct Tally {
    added: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
}

async fn produce(mut client: MultiplexedConnection, tally: Arc<Tally>) {
    while !tally.stop.load(Ordering::Relaxed) {
        let mut pipe = redis::pipe();
        for n in 0..BATCH {
            pipe.cmd("XADD").arg("jobs").arg("*").arg("job").arg(n).ignore();
        }
        if pipe.exec_async(&mut client).await.is_err() {
            return;
        }
        tally.added.fetch_add(BATCH as u64, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn consume(mut client: MultiplexedConnection, name: usize, tally: Arc<Tally>) {
    let read = format!("XREADGROUP GROUP g c{name} COUNT 50 BLOCK 20 STREAMS jobs >");
    loop {
        let Ok(read): redis::RedisResult<redis::Value> = try_ask(&mut client, &read).await else {
            return;
        };
        let redis::Value::Array(streams) = read else {
            match tally.stop.load(Ordering::Relaxed) {
                true => return,
                false => continue,
            }
        };
        let [redis::Value::Array(stream)] = streams.as_slice() else { panic!("{streams:?}") };
        let redis::Value::Array(entries) = &stream[1] else { panic!("{stream:?}") };
        let mut ack = redis::cmd("XACK");
        ack.arg("jobs").arg("g");
        for entry in entries {
            let redis::Value::Array(parts) = entry else { panic!("{entry:?}") };
            let redis::Value::BulkString(id) = &parts[0] else { panic!("{parts:?}") };
            ack.arg(id);
        }
        let Ok(done): redis::RedisResult<u64> = ack.query_async(&mut client).await else { return };
        tally.done.fetch_add(done, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_a_second_and_a_kill_in_the_middle() {
    let mut redis = Redis::start(&["--appendfsync", "everysec"]).await;
    let mut client = redis.client().await;
    let _: () = ask(&mut client, "XGROUP CREATE jobs g 0 MKSTREAM").await;
    let exporter = Exporter::new(&format!(
        "{{ name: r, url: '{}', streams: [jobs], timeout: 10s }}",
        redis.url()
    ));
    exporter.page().await.is("ok");
    let tally = Arc::new(Tally::default());
    let begun = clock::monotonic();
    let mut tasks = vec![tokio::spawn(produce(redis.client().await, Arc::clone(&tally)))];
    for name in 0..CONSUMERS {
        tasks.push(tokio::spawn(consume(redis.client().await, name, Arc::clone(&tally))));
    }
    let (mut pages, mut depth) = (0, 0.0);
    while tally.added.load(Ordering::Relaxed) < 6000 {
        let page = exporter.page().await;
        page.is("ok");
        let now = page.get(r#"queue_depth{server="r",queue="jobs"}"#).unwrap();
        assert!(now >= depth, "entries are kept, and {depth} became {now}");
        let lag = page.get(r#"queue_group_lag{server="r",queue="jobs",group="g"}"#).unwrap();
        assert!(lag <= now, "{lag} of {now}");
        depth = now;
        pages += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rate = 6000.0 / begun.elapsed().as_secs_f64();
    report(rate, pages);
    redis.kill().await;
    exporter.page().await.is("unreachable");
    tally.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    redis.again(&[]);
    redis.ready().await;
    let page = exporter.page_with(r#"queue_server_up{server="r"}"#, 1.0).await;
    let mut client = redis.client().await;
    // What was lost with the kill is Redis' affair; what it has is told as it is, group and all.
    let length: u64 = ask(&mut client, "XLEN jobs").await;
    page.has(&[(r#"queue_depth{server="r",queue="jobs"}"#, length as f64)]);
    assert!(page.get(r#"queue_group_pending{server="r",queue="jobs",group="g"}"#).is_some());
    // In flight when it died: claimed by who is left, acknowledged, and gone from the page.
    let tally = Arc::new(Tally { stop: AtomicBool::new(true), ..Tally::default() });
    let _: redis::Value = ask(&mut client, "XAUTOCLAIM jobs g c0 0 0 COUNT 10000").await;
    consume(redis.client().await, 0, Arc::clone(&tally)).await;
    let left: redis::Value = ask(&mut client, "XPENDING jobs g - + 100000").await;
    let redis::Value::Array(left) = left else { panic!("{left:?}") };
    for entry in left {
        let redis::Value::Array(parts) = entry else { panic!("{entry:?}") };
        let redis::Value::BulkString(id) = &parts[0] else { panic!("{parts:?}") };
        let mut ack = redis::cmd("XACK");
        let _: u64 = ack.arg("jobs").arg("g").arg(id).query_async(&mut client).await.unwrap();
    }
    let page =
        exporter.page_with(r#"queue_group_pending{server="r",queue="jobs",group="g"}"#, 0.0).await;
    page.has(&[(r#"queue_group_lag_estimate{server="r",queue="jobs",group="g"}"#, 0.0)]);
    page.lacks(&["queue_group_oldest_pending_timestamp_seconds{"]);
}

#[expect(clippy::print_stderr, reason = "a figure beside the test's result")]
fn report(rate: f64, pages: u32) {
    eprintln!("{rate:.0} jobs a second while {pages} pages were made");
}
