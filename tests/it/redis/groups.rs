//! Streams, groups, consumers, lists and dead letters.

use pitcrew_tests::redis::{Redis, ask};

use super::Exporter;

/// What a stream's own commands cannot say of a group that began at an id of its own: Redis 7
/// gives nil for its lag, and other exporters make 0 of it.
#[tokio::test]
async fn a_lag_that_redis_does_not_know_is_absent_and_not_0() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    for n in 1..=100 {
        let _: String =
            ask(&mut client, &format!("XADD s {}-0 n {n}", 1_700_000_000_000_u64 + n)).await;
    }
    let _: () = ask(&mut client, "XGROUP CREATE s middle 1700000000040-0").await;
    let _: () = ask(&mut client, "XGROUP CREATE s end $").await;
    let _: () = ask(&mut client, "XGROUP CREATE s start 0").await;
    let exporter = Exporter::new(&format!("{{ name: r, url: '{}', streams: [s] }}", redis.url()));
    let page = exporter.page().await;
    page.is("ok");
    page.lacks(&[r#"queue_group_lag{server="r",queue="s",group="middle"}"#]);
    page.has(&[
        (r#"queue_group_lag{server="r",queue="s",group="start"}"#, 100.0),
        (r#"queue_group_lag_estimate{server="r",queue="s",group="start"}"#, 100.0),
        (r#"queue_group_lag_estimate{server="r",queue="s",group="end"}"#, 0.0),
        (
            r#"queue_group_oldest_undelivered_timestamp_seconds{server="r",queue="s",group="middle"}"#,
            1_700_000_000.041,
        ),
        (
            r#"queue_group_oldest_undelivered_timestamp_seconds{server="r",queue="s",group="start"}"#,
            1_700_000_000.001,
        ),
    ]);
    page.lacks(&[
        r#"queue_group_oldest_undelivered_timestamp_seconds{server="r",queue="s",group="end"}"#,
    ]);
    let middle = r#"queue_group_lag_estimate{server="r",queue="s",group="middle"}"#;
    let estimate = page.get(middle).unwrap();
    assert!((estimate - 60.0).abs() <= 1.0, "60 are left, {estimate} reckoned");
    // What is added does not change the group's row when the lag is unknown.
    for n in 101..=120 {
        let id = 1_700_000_000_000_u64 + n;
        let _: String = ask(&mut client, &format!("XADD s {id}-0 n {n}")).await;
    }
    let more = exporter.page().await.get(middle).unwrap();
    assert!(more > estimate, "{estimate}, then {more}");
}

#[tokio::test]
async fn missing_empty_and_unreadable_are_told_apart() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    let _: () = ask(&mut client, "XGROUP CREATE empty g $ MKSTREAM").await;
    let _: () = ask(&mut client, "SET text 1").await;
    let _: u64 = ask(&mut client, "RPUSH list a b c").await;
    let _: u64 = ask(&mut client, "RPUSH jobs:dead a").await;
    for key in ["jobs:a", "jobs:b", "other"] {
        let _: String = ask(&mut client, &format!("XADD {key} * n 1")).await;
    }
    let exporter = Exporter::new(&format!(
        "{{ name: r, url: '{}', streams: [empty, gone, text, 'jobs:*'], lists: [list, nolist, \
         'jobs:d*'], dead_letters: ['jobs:dead', 'dead:stream'], rescan: 1s, \
         groups: {{ empty: [g, h], gone: [g] }} }}",
        redis.url()
    ));
    let page = exporter.page().await;
    page.is("ok");
    page.has(&[
        (r#"queue_present{server="r",queue="empty"}"#, 1.0),
        (r#"queue_depth{server="r",queue="empty"}"#, 0.0),
        (r#"queue_present{server="r",queue="gone"}"#, 0.0),
        (r#"queue_unreadable{server="r",queue="text",reason="wrong_type"}"#, 1.0),
        (r#"queue_group_present{server="r",queue="empty",group="g"}"#, 1.0),
        (r#"queue_group_present{server="r",queue="empty",group="h"}"#, 0.0),
        (r#"queue_group_present{server="r",queue="gone",group="g"}"#, 0.0),
        (r#"queue_group_lag{server="r",queue="empty",group="g"}"#, 0.0),
        (r#"queue_depth{server="r",queue="list"}"#, 3.0),
        (r#"queue_depth{server="r",queue="nolist"}"#, 0.0),
        (r#"queue_dead_letters{server="r",queue="jobs:dead"}"#, 1.0),
        (r#"queue_dead_letters{server="r",queue="dead:stream"}"#, 0.0),
        (r#"queue_pattern_matches{server="r",pattern="jobs:*"}"#, 2.0),
        (r#"queue_depth{server="r",queue="jobs:a"}"#, 1.0),
        (r#"queue_groups{server="r",queue="jobs:a"}"#, 0.0),
        (r#"queue_left_out_total{server="r",what="queues"}"#, 0.0),
    ]);
    page.lacks(&[
        r#"queue_depth{server="r",queue="gone"}"#,
        r#"queue_present{server="r",queue="text"}"#,
        r#"queue_depth{server="r",queue="other"}"#,
    ]);
    assert!(
        page.get(r#"queue_oldest_entry_timestamp_seconds{server="r",queue="jobs:a"}"#).is_some()
    );
    let _: String = ask(&mut client, "XADD jobs:new * n 1").await;
    let _: u64 = ask(&mut client, "DEL jobs:b").await;
    let page = exporter.page_with(r#"queue_depth{server="r",queue="jobs:new"}"#, 1.0).await;
    page.lacks(&[r#"queue="jobs:b""#]);
}

#[tokio::test]
async fn consumers_and_deliveries_by_what_they_do() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    let _: () = ask(&mut client, "XGROUP CREATE s g $ MKSTREAM").await;
    for n in 0..4 {
        let _: String = ask(&mut client, &format!("XADD s * n {n}")).await;
    }
    for consumer in ["dies", "works"] {
        let read = format!("XREADGROUP GROUP g {consumer} COUNT 2 STREAMS s >");
        let _: redis::Value = ask(&mut client, &read).await;
    }
    for consumer in ["rests", "new"] {
        let _: u64 = ask(&mut client, &format!("XGROUP CREATECONSUMER s g {consumer}")).await;
    }
    let exporter = Exporter::new(&format!(
        "{{ name: r, url: '{}', streams: [s], dead_after: 2s, idle_after: 2s, per_consumer: true, \
         redis_exporter_names: true }}",
        redis.url()
    ));
    let page = exporter.page().await;
    let group = |name: &str| format!("{name}{{server=\"r\",queue=\"s\",group=\"g\"}}");
    page.has(&[
        (&group("queue_group_pending"), 4.0),
        (&group("queue_group_lag"), 0.0),
        (&group("queue_group_deliveries_max"), 1.0),
        (r#"queue_group_consumers{server="r",queue="s",group="g",state="busy"}"#, 2.0),
        (r#"queue_group_consumers{server="r",queue="s",group="g",state="waiting"}"#, 2.0),
        (r#"queue_consumer_pending{server="r",queue="s",group="g",consumer="dies"}"#, 2.0),
        (r#"redis_stream_length{db="db0",stream="s"}"#, 4.0),
        (r#"redis_stream_groups{db="db0",stream="s"}"#, 1.0),
        (r#"redis_stream_group_consumers{db="db0",stream="s",group="g"}"#, 4.0),
        (r#"redis_stream_group_messages_pending{db="db0",stream="s",group="g"}"#, 4.0),
    ]);
    let oldest = page.get(&group("queue_group_oldest_pending_timestamp_seconds")).unwrap();
    let delivery = page.get(&group("queue_group_oldest_delivery_timestamp_seconds")).unwrap();
    // Ids are Redis' time, deliveries are reckoned back from ours.
    assert!((-1.0..30.0).contains(&(delivery - oldest)), "{oldest} {delivery}");
    // Nothing of the group's own changes; time alone makes them dead and idle.
    let dead = r#"queue_group_consumers{server="r",queue="s",group="g",state="dead"}"#;
    let page = exporter.page_with(dead, 2.0).await;
    page.has(&[(r#"queue_group_consumers{server="r",queue="s",group="g",state="idle"}"#, 2.0)]);
    // One comes back and takes over what the dead one left.
    let _: redis::Value = ask(&mut client, "XAUTOCLAIM s g works 0 0").await;
    let _: redis::Value = ask(&mut client, "XAUTOCLAIM s g works 0 0").await;
    let _: u64 = ask(&mut client, "XGROUP DELCONSUMER s g dies").await;
    let page = exporter.page_with(dead, 0.0).await;
    page.has(&[
        (&group("queue_group_deliveries_max"), 3.0),
        (r#"queue_group_consumers{server="r",queue="s",group="g",state="busy"}"#, 1.0),
        (r#"queue_consumer_pending{server="r",queue="s",group="g",consumer="works"}"#, 4.0),
    ]);
    page.lacks(&[r#"consumer="dies""#]);
}

#[tokio::test]
async fn too_much_is_left_out_and_counted() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    for n in 0..30 {
        let _: () = ask(&mut client, &format!("XGROUP CREATE s{n:02} g $ MKSTREAM")).await;
        for c in 0..3 {
            let _: u64 = ask(&mut client, &format!("XGROUP CREATECONSUMER s{n:02} g c{c}")).await;
        }
    }
    for n in 0..20 {
        let _: () = ask(&mut client, &format!("XGROUP CREATE s00 g{n} $")).await;
    }
    let name = "s99".repeat(100);
    let _: () = ask(&mut client, &format!("XGROUP CREATE {name} g $ MKSTREAM")).await;
    let exporter = Exporter::new(&format!(
        "{{ name: r, url: '{}', streams: ['s*', s00], max_queues: 10, max_groups: 12, max_consumers: 2, \
         per_consumer: true, groups: {{ s00: [g19, g20] }} }}",
        redis.url()
    ));
    let page = exporter.page().await;
    page.has(&[
        (r#"queue_group_present{server="r",queue="s00",group="g19"}"#, 1.0),
        (r#"queue_group_present{server="r",queue="s00",group="g20"}"#, 0.0),
    ]);
    let series = |name: &str| page.queues().lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((series("queue_depth"), series("queue_group_pending{")), (10, 12));
    // Three consumers are more than a group may have, and are not even asked for.
    assert_eq!(series("queue_consumer_pending"), 0);
    for (what, least) in [("queues", 21.0), ("groups", 9.0), ("consumers", 3.0)] {
        let series = format!("queue_left_out_total{{server=\"r\",what=\"{what}\"}}");
        assert!(page.get(&series).unwrap() >= least, "{series}:\n{}", page.queues());
    }
}

/// Big entries cost a scrape nothing; a group that waits costs the one entry that it waits for,
/// once.
#[tokio::test]
async fn bodies_of_entries_stay_at_redis() {
    let redis = Redis::start(&["--appendonly", "no"]).await;
    let mut client = redis.client().await;
    let body = "x".repeat(1_000_000);
    for stream in 0..5 {
        for n in 0..3 {
            let _: String = ask(&mut client, &format!("XADD s{stream} * n{n} {body}")).await;
        }
        let _: () = ask(&mut client, &format!("XGROUP CREATE s{stream} g 0")).await;
        let read = format!("XREADGROUP GROUP g c NOACK STREAMS s{stream} >");
        let _: redis::Value = ask(&mut client, &read).await;
    }
    let sent = async || {
        let sent = redis.info("stats", "total_net_output_bytes").await.unwrap();
        sent.parse::<u64>().unwrap()
    };
    let exporter =
        Exporter::new(&format!("{{ name: r, url: '{}', streams: ['s*'] }}", redis.url()));
    let before = sent().await;
    exporter.page().await.is("ok");
    let first = sent().await - before;
    assert!(first < 50_000, "{first} bytes");
    let _: () = ask(&mut client, "XGROUP CREATE s0 waits 0").await;
    let before = sent().await;
    exporter.page().await.is("ok");
    let waiting = sent().await - before;
    assert!((1_000_000..1_100_000).contains(&waiting), "{waiting} bytes");
    let _: String = ask(&mut client, "XADD s0 * n 1").await;
    let before = sent().await;
    let page = exporter.page().await;
    page.has(&[(r#"queue_group_lag{server="r",queue="s0",group="waits"}"#, 4.0)]);
    let again = sent().await - before;
    assert!(again < 50_000, "{again} bytes");
}
