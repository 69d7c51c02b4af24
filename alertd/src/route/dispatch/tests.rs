//! Whole lives of alerts through groups, log and outbox, at given times.

use std::collections::BTreeMap;

use super::*;
use crate::db::Db;
use crate::db::outbox::{Outbox, Outcome};
use crate::route::acknowledge::Acknowledgement;
use crate::route::config;
use crate::route::dedup::Reason;
use crate::route::notification::Notification;
use crate::route::silence::{Condition, Silence};
use std::path::Path;

mod trust;

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
        annotations: Arc::default(),
        starts_at: at(starts),
        ends_at: at(ends),
        generator_url: Arc::default(),
    }
}

struct Bench {
    dispatcher: Dispatcher,
    silences: Silences,
    acknowledged: Acknowledgements,
    outbox: Outbox,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            dispatcher: dispatcher(FILE),
            silences: Silences::default(),
            acknowledged: Acknowledgements::default(),
            outbox: Outbox::new(Db::in_memory().unwrap()),
        }
    }

    fn take(&mut self, alerts: Vec<Alert>, now: i64) {
        assert_eq!(self.dispatcher.take(alerts, Origin::Own, at(now)), 0);
    }

    /// Flushes what is due and delivers it; returns reason, firing and resolved alerts of each.
    async fn tick(&mut self, now: i64) -> Vec<(Reason, usize, usize)> {
        let said = Said { silences: &self.silences, acknowledged: &self.acknowledged };
        let due = self.dispatcher.due(said, at(now));
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
    Dispatcher::new(Arc::new(config::parse(Path::new("am.yaml"), text).unwrap()), 0)
}

#[tokio::test]
async fn an_alert_is_told_repeated_and_resolved() {
    use Reason::*;
    let mut bench = Bench::new();
    let a = [("alertname", "A"), ("host", "1")];
    let b = [("alertname", "A"), ("host", "2")];
    bench.take(vec![alert(&a, 0, 9999)], 0);
    assert_eq!(bench.dispatcher.next_flush(), Some(at(10)));
    assert_eq!(bench.tick(9).await, []);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    bench.take(vec![alert(&b, 20, 9999)], 20);
    assert_eq!(bench.tick(69).await, []);
    assert_eq!(bench.tick(70).await, [(NewAlerts, 2, 0)]);
    assert_eq!(bench.tick(130).await, []);
    bench.take(vec![alert(&b, 20, 140)], 140);
    assert_eq!(bench.tick(190).await, [(SomeResolved, 1, 1)]);
    assert_eq!(bench.tick(730).await, []);
    assert_eq!(bench.tick(790).await, [(Repeat, 1, 0)]);
    bench.take(vec![alert(&a, 0, 800)], 800);
    assert_eq!(bench.tick(850).await, [(AllResolved, 0, 1)]);
    assert_eq!((bench.dispatcher.groups(), bench.dispatcher.next_flush()), (0, None));
    // A resolve that is sent again, and one of an alert that nobody knows.
    bench.take(vec![alert(&a, 0, 800), alert(&[("x", "y")], 0, 5)], 860);
    assert_eq!(bench.dispatcher.groups(), 0);
}

#[tokio::test]
async fn an_inhibited_alert_is_silent_and_its_end_is_told_if_it_was_told() {
    use Reason::*;
    let mut bench = Bench::new();
    let warning = [("alertname", "W"), ("severity", "warning"), ("host", "1")];
    let other = [("alertname", "W"), ("severity", "warning"), ("host", "2")];
    let critical = [("alertname", "C"), ("severity", "critical"), ("host", "1")];
    bench.take(vec![alert(&warning, 0, 9999)], 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    let critical2 = [("alertname", "C"), ("severity", "critical"), ("host", "2")];
    let sources = vec![alert(&critical, 20, 9999), alert(&critical2, 20, 9999)];
    bench.take(sources, 20);
    bench.take(vec![alert(&other, 21, 9999)], 21);
    assert_eq!(bench.tick(70).await, [(First, 2, 0)], "the two sources alone");
    bench.take(vec![alert(&warning, 0, 80), alert(&other, 21, 80)], 80);
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
    bench.take(vec![alert(&a, 0, 9999), alert(&[("alertname", "B")], 0, 100)], 0);
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
        bench.take(vec![alert(&a, 0, 9999)], 0);
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

fn silence(id: &str, matchers: &str, starts: i64, ends: i64) -> Silence {
    let matchers = crate::route::matchers::parse(matchers).unwrap();
    Silence {
        id: id.to_owned(),
        matchers: matchers.iter().map(Condition::new).collect(),
        starts_at: at(starts),
        ends_at: at(ends),
        updated_at: at(starts),
        created_by: "ann".into(),
        signed_in: None,
        comment: "known".into(),
        annotations: BTreeMap::new(),
        ends_with_alert: false,
    }
}

#[tokio::test]
async fn a_silenced_alert_is_not_told_and_its_end_is_told_if_it_was_told() {
    use Reason::*;
    // Silenced from, until, what is told at 10, 70, 130 (after its end at 100).
    let told = [(First, 1, 0)];
    let ended = [(AllResolved, 0, 1)];
    let none: [(Reason, usize, usize); 0] = [];
    for (starts, ends, at_10, at_70, at_130) in [
        (0, 999, &none[..], &none[..], &none[..]),
        (20, 999, &told, &none, &ended),
        (20, 60, &told, &none, &ended),
        (0, 60, &none, &told, &ended),
        (90, 999, &told, &none, &ended),
        // The end of one that was silent from its beginning to its end is nobody's news.
        (0, 110, &none, &none, &none),
    ] {
        let mut bench = Bench::new();
        let change = vec![silence("s", "alertname=A,host=~1|2", starts, ends)];
        bench.silences.apply(change, at(0));
        let a = [("alertname", "A"), ("host", "1")];
        bench.take(vec![alert(&a, 0, 9999)], 0);
        let case = format!("silenced from {starts} until {ends}");
        assert_eq!(bench.tick(10).await, at_10, "{case}");
        assert_eq!(bench.tick(70).await, at_70, "{case}");
        bench.take(vec![alert(&a, 0, 100)], 100);
        assert_eq!(bench.tick(130).await, at_130, "{case}");
        assert_eq!(bench.dispatcher.groups(), 0, "{case}");
    }
}

#[tokio::test]
async fn of_a_group_only_what_is_not_silenced_is_told() {
    use Reason::*;
    let mut bench = Bench::new();
    bench.silences.apply(vec![silence("s", "host=1", 0, 100)], at(0));
    let (a, b) = ([("alertname", "A"), ("host", "1")], [("alertname", "A"), ("host", "2")]);
    bench.take(vec![alert(&a, 0, 9999), alert(&b, 0, 9999)], 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    assert_eq!(bench.tick(70).await, []);
    assert_eq!(bench.tick(130).await, [(NewAlerts, 2, 0)], "the silence is over");
}

#[tokio::test]
async fn an_acknowledged_alert_is_not_repeated_and_its_end_is_told() {
    use Reason::*;
    let mut bench = Bench::new();
    let a = [("alertname", "A"), ("host", "1")];
    bench.take(vec![alert(&a, 0, 9999)], 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    let one = alert(&a, 0, 9999);
    bench.acknowledged.insert(Acknowledgement {
        fingerprint: one.fingerprint().to_string(),
        labels: one.labels.to_map(),
        owner: "ann".into(),
        note: "on it".into(),
        signed_in: None,
        at: at(20),
        starts_at: at(0),
    });
    assert_eq!(bench.tick(1000).await, [], "ten minutes have passed");
    let b = [("alertname", "A"), ("host", "2")];
    bench.take(vec![alert(&b, 1010, 9999)], 1010);
    let due = bench
        .dispatcher
        .due(Said { silences: &bench.silences, acknowledged: &bench.acknowledged }, at(1060));
    let lane = due[0].lanes().next().unwrap();
    let update = due[0].plan(&lane, None, &|_| Vec::new(), at(1060)).unwrap();
    let payload = update.message.unwrap().payload;
    assert!(payload.contains(r#"["acknowledged","ann: on it"]"#), "{payload}");
    assert_eq!(bench.tick(1060).await, [(NewAlerts, 2, 0)]);
    bench.take(vec![alert(&a, 0, 1070)], 1070);
    assert_eq!(bench.tick(1120).await, [(SomeResolved, 1, 1)]);
    // Its next life is nobody's yet.
    bench.take(vec![alert(&a, 1130, 99_999), alert(&b, 1010, 1130)], 1130);
    assert_eq!(bench.tick(1180).await, [(NewAlerts, 1, 1)]);
    assert_eq!(bench.tick(1800).await, [(Repeat, 1, 0)]);
}

#[tokio::test]
async fn what_another_program_posts_does_not_end_our_own_alert() {
    use Reason::*;
    let mut bench = Bench::new();
    let a = [("alertname", "A")];
    bench.take(vec![alert(&a, 0, 500)], 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    bench.dispatcher.take(vec![alert(&a, 0, 20)], Origin::Known, at(20));
    assert_eq!(bench.tick(70).await, []);
    // Its lease has run out: now anybody may say that it fires.
    bench.dispatcher.take(vec![alert(&a, 0, 9999)], Origin::Known, at(501));
    assert_eq!(bench.tick(561).await, []);
    bench.dispatcher.take(vec![alert(&a, 0, 570)], Origin::Known, at(570));
    assert_eq!(bench.tick(630).await, [(AllResolved, 0, 1)]);
}

#[tokio::test]
async fn what_one_silences_stays_silent_over_a_restart() {
    use Reason::*;
    let warning = [("alertname", "W"), ("severity", "warning"), ("host", "1")];
    let critical = [("alertname", "C"), ("severity", "critical"), ("host", "1")];
    let both = || vec![alert(&warning, 0, 9999), alert(&critical, 0, 9999)];
    let mut bench = Bench::new();
    bench.take(both(), 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)], "the source alone");
    bench.dispatcher = dispatcher(FILE);
    let entries = bench.outbox.lanes_with_firing().await.unwrap();
    bench.dispatcher.restore(entries, at(100));
    bench.take(both(), 100);
    // A group that has waited long enough is looked at once, and by then its source is known.
    for now in [100, 101, 160, 220] {
        assert_eq!(bench.tick(now).await, [], "at {now}");
    }
    let over = vec![alert(&critical, 0, 230)];
    bench.take(over, 230);
    let mut told = bench.tick(280).await;
    told.sort_by_key(|one| one.1);
    assert_eq!(told, [(AllResolved, 0, 1), (First, 1, 0)]);
}

#[tokio::test]
async fn the_end_is_told_whatever_muted_the_alert_since() {
    use Reason::*;
    let warning = [("alertname", "W"), ("severity", "warning"), ("host", "1")];
    let critical = [("alertname", "C"), ("severity", "critical"), ("host", "1")];
    // Silenced, inhibited, restarted since it was told; its source, if any, fires on or ends too.
    for case in 0..16 {
        let (silenced, inhibited) = (case & 1 > 0, case & 2 > 0);
        let (restarted, source_ends) = (case & 4 > 0, case & 8 > 0);
        let mut bench = Bench::new();
        bench.take(vec![alert(&warning, 0, 9999)], 0);
        assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
        if silenced {
            bench.silences.apply(vec![silence("s", "alertname=W", 15, 99_999)], at(15));
        }
        if inhibited {
            bench.take(vec![alert(&critical, 20, 9999)], 20);
        }
        bench.tick(70).await;
        if restarted {
            bench.dispatcher = dispatcher(FILE);
            let entries = bench.outbox.lanes_with_firing().await.unwrap();
            bench.dispatcher.restore(entries, at(80));
        }
        let mut over = vec![alert(&warning, 0, 90)];
        over.extend((inhibited && source_ends).then(|| alert(&critical, 20, 90)));
        bench.take(over, 90);
        let told = [bench.tick(130).await, bench.tick(200).await].concat();
        let ends = told.iter().filter(|one| one.0 == AllResolved).count();
        let want = 1 + usize::from(inhibited && source_ends);
        assert_eq!(ends, want, "silenced {silenced}, inhibited {inhibited}, restarted {restarted}");
    }
}

#[test]
fn a_storm_is_held_up_to_the_bound_and_looked_at_in_one_go() {
    let mut dispatcher = dispatcher(&FILE.replace("[alertname]", "[host]"));
    let hosts: Vec<String> = (0..MAX_HELD + 5).map(|n| n.to_string()).collect();
    let all = |ends| {
        let one = |host: &String| alert(&[("alertname", "A"), ("host", host)], 0, ends);
        hosts.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(dispatcher.take(all(9999), Origin::Own, at(0)), 5);
    assert_eq!((dispatcher.alerts(), dispatcher.groups()), (MAX_HELD, MAX_HELD));
    assert_eq!(dispatcher.alerts.len(), MAX_HELD, "what is dropped takes no memory");
    let (silences, acknowledged) = (Silences::default(), Acknowledgements::default());
    let said = Said { silences: &silences, acknowledged: &acknowledged };
    let due = dispatcher.due(said, at(10));
    assert_eq!(due.len(), MAX_HELD);
    dispatcher.flushed(&due, at(10));
    assert_eq!(dispatcher.due(said, at(69)).len(), 0);
    assert_eq!(dispatcher.next_flush(), Some(at(70)));
    dispatcher.take(all(20), Origin::Own, at(20));
    let due = dispatcher.due(said, at(70));
    dispatcher.flushed(&due, at(70));
    assert_eq!(dispatcher.ended(at(70)).len(), MAX_HELD);
    let left = (dispatcher.alerts(), dispatcher.groups(), dispatcher.alerts.len());
    assert_eq!((left, dispatcher.next_flush()), ((0, 0, 0), None));
}

#[test]
fn a_clock_that_goes_back_does_not_silence_a_group() {
    let mut dispatcher = dispatcher(FILE);
    dispatcher.take(vec![alert(&[("alertname", "A")], 0, 999_999)], Origin::Own, at(100_000));
    let (silences, acknowledged) = (Silences::default(), Acknowledgements::default());
    let said = Said { silences: &silences, acknowledged: &acknowledged };
    assert_eq!(dispatcher.due(said, at(90_000)).len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_by_an_hour_neither_ends_an_alert_nor_hides_its_end() {
    use Reason::*;
    const HOUR: i64 = 3600;
    let labels = [("alertname", "A")];
    for step in [HOUR, -HOUR] {
        let mut bench = Bench::new();
        let begin = 10_000;
        bench.take(vec![alert(&labels, begin, begin + 240)], begin);
        assert_eq!(bench.tick(begin + 10).await, [(First, 1, 0)]);
        let now = begin + 20 + step;
        if step > 0 {
            bench.dispatcher.after_step(Duration::from_secs(step.unsigned_abs()), at(now));
        }
        // Long before its rule speaks again.
        let told = bench.tick(now).await;
        assert!(told.iter().all(|one| one.2 == 0), "step {step}: {told:?}");
        bench.take(vec![alert(&labels, begin, now + 270)], now + 30);
        assert_eq!(bench.tick(now + 60).await.len(), 0, "step {step}");
        bench.take(vec![alert(&labels, begin, now + 90)], now + 90);
        let told = [bench.tick(now + 125).await, bench.tick(now + 190).await].concat();
        assert_eq!(told, [(AllResolved, 0, 1)], "step {step}");
    }
    // Without another word its lease runs out.
    let mut bench = Bench::new();
    bench.take(vec![alert(&labels, 0, 240)], 0);
    assert_eq!(bench.tick(10).await, [(First, 1, 0)]);
    bench.dispatcher.after_step(Duration::from_secs(3600), at(3620));
    assert_eq!(bench.tick(3620).await, [(Repeat, 1, 0)], "told of again, as its time has come");
    assert_eq!(bench.tick(3900).await, [(AllResolved, 0, 1)]);
}

#[test]
fn programs_are_told_of_every_alert_and_people_of_so_many_that_fire_first() {
    let slack = "\n    slack_configs: [ { api_url: 'http://127.0.0.1:1/', send_resolved: true } ]\ninhibit_rules:";
    let mut dispatcher = dispatcher(&FILE.replace("\ninhibit_rules:", slack));
    let host = |n: usize| [("alertname", "A".to_owned()), ("host", format!("{n:05}"))];
    let one = |n: usize, ends| {
        let labels = Labels::from_pairs(host(n));
        Alert { labels, ..alert(&[], 0, ends) }
    };
    dispatcher.take((0..1500).map(|n| one(n, 9999)).collect(), Origin::Own, at(0));
    dispatcher.take((0..1200).map(|n| one(n, 5)).collect(), Origin::Own, at(5));
    let (silences, acknowledged) = (Silences::default(), Acknowledgements::default());
    let said = Said { silences: &silences, acknowledged: &acknowledged };
    let due = dispatcher.due(said, at(10)).remove(0);
    let told = (0..1500).map(|n| one(n, 0).fingerprint());
    for lane in due.lanes().collect::<Vec<_>>() {
        let entry = LogEntry {
            lane: lane.clone(),
            firing: told.clone().collect(),
            resolved: BTreeSet::new(),
            told: told.clone().collect(),
            memory: String::new(),
            sequence: 1,
            notified_at: at(0),
        };
        let update = due.plan(&lane, Some(&entry), &|_| Vec::new(), at(10)).unwrap();
        let payload = update.message.unwrap().payload;
        let notification: Notification = serde_json::from_str(&payload).unwrap();
        let (all, left) = (notification.alerts.len(), notification.truncated);
        let want = if lane.integration.contains("webhook") { (1500, 0) } else { (1000, 500) };
        assert_eq!((all, left), want, "{}", lane.integration);
        assert_eq!(notification.firing().count(), 300, "{}", lane.integration);
        let names = notification.alerts.iter().map(|alert| alert.label("host"));
        assert!(names.is_sorted(), "{}", lane.integration);
    }
}
