//! Whole lives of alerts through groups, log and outbox, at given times.

use super::*;
use crate::db::Db;
use crate::db::outbox::{Outbox, Outcome};
use crate::route::config;
use crate::route::dedup::Reason;
use std::path::Path;

const FILE: &str = "
route:
  receiver: team
  group_by: [alertname]
  group_wait: 10s
  group_interval: 60s
  repeat_interval: 10m
receivers:
  - name: team
    webhook_configs: [ { url: 'http://127.0.0.1:1/' } ]
inhibit_rules:
  - { source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [host] }
";

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1000)
}

fn alert(pairs: &[(&str, &str)], starts: i64, ends: i64) -> Alert {
    Alert {
        labels: Labels::from_pairs(pairs.iter().copied()),
        annotations: BTreeMap::new(),
        starts_at: at(starts),
        ends_at: at(ends),
        generator_url: String::new(),
    }
}

struct Bench {
    dispatcher: Dispatcher,
    outbox: Outbox,
}

impl Bench {
    fn new() -> Bench {
        Bench { dispatcher: dispatcher(FILE), outbox: Outbox::new(Db::in_memory().unwrap()) }
    }

    /// Flushes what is due and delivers it; returns reason, firing and resolved alerts of each.
    async fn tick(&mut self, now: i64) -> Vec<(Reason, usize, usize)> {
        let due = self.dispatcher.due(at(now));
        let lanes = due.iter().flat_map(Due::lanes).collect();
        let owned = due.clone();
        let plan = move |lane: &Lane, entry: Option<&LogEntry>| {
            let due = owned.iter().find(|due| due.has(lane))?;
            due.plan(lane, entry, &|_| vec![("pool".into(), "ci".into())], at(now))
        };
        self.outbox.flush(lanes, at(now), plan).await.unwrap();
        self.dispatcher.flushed(&due, at(now));
        let mut told = Vec::new();
        for integration in self.dispatcher.config.integrations() {
            for row in self.outbox.claim(integration.key, 9, at(now)).await.unwrap() {
                let notification: Notification = serde_json::from_str(&row.payload).unwrap();
                assert!(notification.alerts.iter().all(|a| !a.labels.contains_key("pool")));
                let firing = notification.firing().count();
                told.push((notification.reason, firing, notification.alerts.len() - firing));
                self.outbox
                    .record(row.id, Outcome::Delivered { memory: None }, at(now))
                    .await
                    .unwrap();
            }
        }
        told
    }
}

fn dispatcher(text: &str) -> Dispatcher {
    Dispatcher::new(Arc::new(config::parse(Path::new("am.yaml"), text).unwrap()))
}

#[tokio::test]
async fn an_alert_is_told_repeated_and_resolved() {
    use Reason::*;
    let mut bench = Bench::new();
    let a = [("alertname", "A"), ("host", "1")];
    let b = [("alertname", "A"), ("host", "2")];
    bench.dispatcher.take(vec![alert(&a, 0, 9999)], at(0));
    assert_eq!(bench.dispatcher.next_flush(), Some(at(10)));
    assert_eq!(bench.tick(9).await, []);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    bench.dispatcher.take(vec![alert(&b, 20, 9999)], at(20));
    assert_eq!(bench.tick(69).await, []);
    assert_eq!(bench.tick(70).await, [(NewAlerts, 2, 0)]);
    assert_eq!(bench.tick(130).await, []);
    bench.dispatcher.take(vec![alert(&b, 20, 140)], at(140));
    assert_eq!(bench.tick(190).await, [(SomeResolved, 1, 1)]);
    assert_eq!(bench.tick(730).await, []);
    assert_eq!(bench.tick(790).await, [(Repeat, 1, 0)]);
    bench.dispatcher.take(vec![alert(&a, 0, 800)], at(800));
    assert_eq!(bench.tick(850).await, [(AllResolved, 0, 1)]);
    assert_eq!((bench.dispatcher.groups(), bench.dispatcher.next_flush()), (0, None));
    // A resolve that is sent again, and one of an alert that nobody knows.
    bench.dispatcher.take(vec![alert(&a, 0, 800), alert(&[("x", "y")], 0, 5)], at(860));
    assert_eq!(bench.dispatcher.groups(), 0);
}

#[tokio::test]
async fn an_inhibited_alert_is_silent_and_its_end_is_told_if_it_was_told() {
    use Reason::*;
    let mut bench = Bench::new();
    let warning = [("alertname", "W"), ("severity", "warning"), ("host", "1")];
    let other = [("alertname", "W"), ("severity", "warning"), ("host", "2")];
    let critical = [("alertname", "C"), ("severity", "critical"), ("host", "1")];
    bench.dispatcher.take(vec![alert(&warning, 0, 9999)], at(0));
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    let critical2 = [("alertname", "C"), ("severity", "critical"), ("host", "2")];
    let sources = vec![alert(&critical, 20, 9999), alert(&critical2, 20, 9999)];
    bench.dispatcher.take(sources, at(20));
    bench.dispatcher.take(vec![alert(&other, 21, 9999)], at(21));
    assert_eq!(bench.tick(70).await, [(First, 2, 0)], "the two sources alone");
    bench.dispatcher.take(vec![alert(&warning, 0, 80), alert(&other, 21, 80)], at(80));
    assert_eq!(bench.tick(130).await, [(AllResolved, 0, 1)]);
}

#[tokio::test]
async fn a_route_waits_for_the_end_of_its_mute_time() {
    use Reason::*;
    let text = FILE.replace(
        "inhibit_rules:",
        "time_intervals: [ { name: first, time_intervals: \
        [ { times: [ { start_time: '00:00', end_time: '00:02' } ] } ] } ]\ninhibit_rules:",
    );
    let text =
        text.replace("receivers:", "  routes: [ { mute_time_intervals: [first] } ]\nreceivers:");
    let mut bench = Bench { dispatcher: dispatcher(&text), ..Bench::new() };
    let a = [("alertname", "A")];
    bench.dispatcher.take(vec![alert(&a, 0, 9999), alert(&[("alertname", "B")], 0, 100)], at(0));
    assert_eq!(bench.tick(10).await, []);
    assert_eq!(bench.tick(70).await, []);
    // B came and went in the meantime.
    assert_eq!(bench.tick(130).await, [(First, 1, 0)]);
}

#[tokio::test]
async fn after_a_restart_the_end_is_told_even_when_the_route_is_gone() {
    use Reason::*;
    let a = [("alertname", "A")];
    let moved = FILE.replace("group_by: [alertname]", "group_by: [host]");
    let gone = FILE.replace("name: team", "name: x").replace("receiver: team", "receiver: x");
    for (text, first, lost) in [(FILE, 60, 0), (&moved, 60, 0), (&gone, 60, 1)] {
        let mut bench = Bench::new();
        bench.dispatcher.take(vec![alert(&a, 0, 9999)], at(0));
        assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
        bench.dispatcher = dispatcher(text);
        let entries = bench.outbox.lanes_with_firing().await.unwrap();
        assert_eq!(bench.dispatcher.restore(entries, at(20)).len(), lost);
        if lost > 0 {
            continue;
        }
        assert_eq!(bench.tick(20 + first).await, [], "nothing is told again");
        // Not renewed, so its lease of the resolve time-out ends.
        assert_eq!(bench.tick(20 + 300 + 60).await, [(AllResolved, 0, 1)], "{text}");
    }
}
