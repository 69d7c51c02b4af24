//! Agents' lives out of a real stream of events.

use pitcrew_tests::redis::{Redis, ask};

use super::Exporter;

#[tokio::test]
async fn agents_are_followed_over_scrapes_and_restarts() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    // Before the exporter's start: who is there counts, what happened does not.
    for words in ["event requested agent a", "event started agent a", "event requeued agent a"] {
        let _: String = ask(&mut client, &format!("XADD ev * {words} pool gpu")).await;
    }
    let settings = format!("{{ name: r, url: '{}', agents: {{ stream: ev }} }}", redis.url());
    let exporter = Exporter::new(&settings);
    let page = exporter.page().await;
    page.is("ok");
    page.has(&[
        (r#"agent_count{server="r",pool="gpu",state="idle"}"#, 1.0),
        (r#"agent_starts_total{server="r",pool="gpu",start="cold"}"#, 0.0),
        (r#"agent_jobs_requeued_total{server="r",pool="gpu"}"#, 0.0),
    ]);
    // More than one scrape reads at once.
    let _: String = ask(&mut client, "XADD ev * event requested agent b pool gpu").await;
    let _: String = ask(&mut client, "XADD ev * event started agent b seconds 21").await;
    for n in 0..6000 {
        let _: String =
            ask(&mut client, &format!("XADD ev * event requeued agent b pool gpu n {n}")).await;
    }
    let requeued = r#"agent_jobs_requeued_total{server="r",pool="gpu"}"#;
    let page = exporter.page_with(requeued, 6000.0).await;
    page.has(&[
        (r#"agent_starts_total{server="r",pool="gpu",start="cold"}"#, 1.0),
        (r#"agent_start_duration_seconds_sum{server="r",pool="gpu",start="cold"}"#, 21.0),
        (r#"agent_count{server="r",pool="gpu",state="idle"}"#, 2.0),
    ]);
    // Nothing is counted twice.
    exporter.page().await.has(&[(requeued, 6000.0)]);
    let page = Exporter::new(&settings).page().await;
    page.has(&[(requeued, 0.0)]);
}

#[tokio::test]
async fn a_stream_of_events_that_is_none_costs_the_queues_nothing() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    let _: () = ask(&mut client, "SET ev 1").await;
    let _: String = ask(&mut client, "XADD s * n 1").await;
    let exporter = Exporter::new(&format!(
        "{{ name: r, url: '{}', streams: [s], agents: {{ stream: ev }} }}",
        redis.url()
    ));
    exporter.page().await.has(&[
        (r#"queue_depth{server="r",queue="s"}"#, 1.0),
        (r#"queue_unreadable{server="r",queue="ev",reason="wrong_type"}"#, 1.0),
    ]);
    let _: u64 = ask(&mut client, "DEL ev").await;
    let _: String = ask(&mut client, "XADD ev * event running agent a").await;
    let count = r#"agent_count{server="r",pool="",state="running"}"#;
    exporter.page_with(count, 1.0).await;
}
