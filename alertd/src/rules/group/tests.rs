//! Whole evaluations over a real store: what is written, told and kept.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Querier, StoreError};
use crate::model::sample::{Sample, Series, is_stale};
use crate::rules::alerting::UNVERIFIED;
use crate::rules::file;
use crate::tsdb::{Limits, Tsdb};

mod honest;

/// A store whose reading and writing can be made to fail.
#[derive(Default)]
struct Shaky {
    tsdb: Option<Tsdb>,
    down: AtomicBool,
    closed: AtomicBool,
    /// Takes samples, and cannot put them on disk.
    full: AtomicBool,
}

impl Querier for Shaky {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match self.down.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable("gone fishing".to_owned())),
            false => self.tsdb.as_ref().unwrap().visit(matchers, from, to, each),
        }
    }
}

impl Appender for Shaky {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        match self.closed.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable("closed".to_owned())),
            false => self.tsdb.as_ref().unwrap().append(samples),
        }
    }

    fn settle(&self) -> Result<(), StoreError> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable("no space".to_owned())),
            false => Ok(()),
        }
    }
}

struct Bench {
    store: Arc<Shaky>,
    context: Context,
    group: Group,
    told: Vec<Alert>,
    room: bool,
}

impl Bench {
    /// A group with these rules, evaluated every 30 s.
    fn new(rules: &str) -> Bench {
        Bench::with("", rules)
    }

    fn with(keys: &str, rules: &str) -> Bench {
        let text = format!("groups:\n- name: g\n  interval: 30s\n{keys}  rules:\n{rules}");
        let spec = file::parse(Path::new("r.yaml"), &text).unwrap().remove(0);
        let tsdb = Some(Tsdb::new(Limits::default()));
        let store = Arc::new(Shaky { tsdb, ..Shaky::default() });
        let context = Context {
            around: Surroundings {
                external_labels: Labels::from_pairs([("site", "north")]),
                external_url: "http://pitcrew/".to_owned(),
            },
            config: RulesConfig {
                keep_unverified: Duration::from_secs(300),
                ..RulesConfig::default()
            },
            ..Context::new(Arc::clone(&store) as Arc<dyn Store>)
        };
        let group = Group::new(spec, Duration::from_secs(60), Duration::ZERO);
        Bench { store, context, group, told: Vec::new(), room: true }
    }

    fn put(&self, second: i64, series: &[(&str, f64)]) {
        let samples: Vec<_> = series
            .iter()
            .map(|(i, value)| {
                let labels = Labels::from_pairs([("__name__", "x"), ("i", *i)]);
                (labels, Sample { timestamp: Timestamp(second * 1000), value: *value })
            })
            .collect();
        self.store.append(&samples).unwrap();
    }

    fn evaluate(&mut self, second: i64) -> Evaluated {
        let Bench { context, group, told, room, .. } = self;
        told.clear();
        let mut send = |alerts: Vec<Alert>| {
            if *room {
                told.extend(alerts);
            }
            *room
        };
        group.evaluate(Timestamp(second * 1000), context, &Progress::default(), &mut send)
    }

    fn query(&self, text: &str, second: i64) -> Vec<String> {
        let expr = crate::promql::parse(text).unwrap();
        let at = Timestamp(second * 1000);
        let answer = crate::promql::instant(&expr, &*self.context.store, at, &self.context.options);
        match answer.unwrap().value {
            crate::promql::Value::Vector(vector) => {
                let line =
                    |(labels, sample): (Labels, Sample)| format!("{labels} {}", sample.value);
                vector.into_iter().map(line).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn states(&self) -> Vec<AlertState> {
        self.group.status().instances().map(|instance| instance.state).collect()
    }

    fn error(&self, rule: usize) -> String {
        match &self.group.status().rules[rule].health {
            Health::Failing { error, .. } => error.clone(),
            other => panic!("{other:?}"),
        }
    }
}

const HIGH: &str = "  - {alert: High, expr: x > 1, for: 1m}\n";

#[test]
fn a_later_rule_reads_what_an_earlier_one_wrote() {
    let mut bench = Bench::new(
        "  - {record: 'y', expr: x * 2}\n  - {alert: A, expr: y > 1}\n  \
         - {alert: B, expr: 'ALERTS{alertstate=\"firing\", alertname=\"A\"}'}\n",
    );
    bench.put(0, &[("1", 1.0)]);
    let done = bench.evaluate(0);
    assert_eq!((done.rules, done.failed, done.samples), (3, 0, 5));
    let names: Vec<_> = bench.told.iter().map(Alert::name).collect();
    assert_eq!(names, ["A", "B"]);
    // The alert keeps the label that its element had.
    assert_eq!(bench.told[1].labels.get("alertstate"), Some("firing"));
    assert_eq!(bench.told[1].labels.get("__name__"), None);
}

#[test]
fn a_state_change_is_visible_at_once() {
    let mut bench = Bench::new(HIGH);
    bench.put(0, &[("1", 5.0)]);
    for (second, want) in [(0, "pending"), (30, "pending"), (60, "firing"), (90, "firing")] {
        bench.evaluate(second);
        let want = format!(r#"ALERTS{{alertname="High", alertstate="{want}", i="1"}} 1"#);
        assert_eq!(bench.query("ALERTS", second), [want], "{second}");
        let since = r#"ALERTS_FOR_STATE{alertname="High", i="1"} 0"#;
        assert_eq!(bench.query("ALERTS_FOR_STATE", second), [since]);
    }
    bench.put(120, &[("1", 0.0)]);
    bench.evaluate(120);
    assert!(bench.query("{__name__=~\"ALERTS.*\"}", 120).is_empty());
}

#[test]
fn series_that_are_gone_end_with_a_marker() {
    let mut bench = Bench::with("  query_offset: 10s\n", "  - {record: y, expr: x > 0}\n");
    bench.put(0, &[("1", 1.0), ("2", 2.0)]);
    bench.evaluate(10);
    bench.put(20, &[("2", 0.0)]);
    assert_eq!(bench.evaluate(40).samples, 2);
    let y = Matcher::equal("__name__", "y");
    let all = bench.store.select(&[y], Timestamp(0), Timestamp(100_000)).unwrap();
    let times = |series: &Series| {
        let text = |sample: &Sample| match is_stale(sample.value) {
            true => format!("{} stale", sample.timestamp.0),
            false => format!("{} {}", sample.timestamp.0, sample.value),
        };
        series.samples.iter().map(text).collect::<Vec<_>>()
    };
    // Both the look and the samples lie 10 s back.
    assert_eq!(times(&all[0]), ["0 1", "30000 1"]);
    assert_eq!(times(&all[1]), ["0 2", "30000 stale"]);
}

#[test]
fn a_marker_that_could_not_be_written_is_written_later() {
    let mut bench = Bench::new("  - {record: y, expr: x > 0}\n");
    bench.put(0, &[("1", 1.0), ("2", 2.0)]);
    bench.evaluate(0);
    bench.put(30, &[("2", 0.0)]);
    bench.store.closed.store(true, Ordering::Relaxed);
    assert_eq!(bench.evaluate(30).failed, 1);
    assert!(bench.error(0).contains("cannot write the result"), "{}", bench.error(0));
    assert_eq!(bench.query("y", 30).len(), 2);
    bench.store.closed.store(false, Ordering::Relaxed);
    bench.evaluate(60);
    assert_eq!(bench.query("y", 60), [r#"y{i="1"} 1"#]);
    assert_eq!(bench.evaluate(90).samples, 1, "the marker is written once");
}

#[test]
fn a_result_that_is_on_no_disk_is_a_failure_of_its_rule() {
    let mut bench = Bench::new("  - {record: y, expr: x}\n  - {record: z, expr: x > 5}\n");
    bench.put(0, &[("1", 1.0)]);
    bench.store.full.store(true, Ordering::Relaxed);
    assert_eq!(bench.evaluate(0).failed, 1);
    assert!(bench.error(0).contains("cannot write the result: "), "{}", bench.error(0));
    assert_eq!(bench.group.status().rules[1].health, Health::Ok);
    bench.store.full.store(false, Ordering::Relaxed);
    assert_eq!(bench.evaluate(30).failed, 0);
    assert_eq!(bench.group.status().rules[0].health, Health::Ok);
}

#[test]
fn what_is_told_and_when() {
    let mut bench = Bench::new(HIGH);
    bench.put(0, &[("1", 5.0)]);
    let mut told = Vec::new();
    for second in (0..=300).step_by(30) {
        if second == 270 {
            bench.put(second, &[("1", 0.0)]);
        }
        bench.evaluate(second);
        told.extend(bench.told.iter().map(|alert| (second, alert.starts_at, alert.ends_at)));
    }
    let at = |second: i64| Timestamp(second * 1000);
    // Groups of 30 s tell every 90 s: the delay of 60 s must have passed. The lease is 4 × 60 s.
    let want = [
        (60, at(60), at(300)),
        (150, at(60), at(390)),
        (240, at(60), at(480)),
        (270, at(60), at(270)),
    ];
    assert_eq!(told, want);
    let mut again = Vec::new();
    for second in (330..=1300).step_by(30) {
        bench.evaluate(second);
        again.extend(bench.told.iter().map(|alert| (second, alert.ends_at)));
    }
    assert!(
        again.len() > 5 && again.iter().all(|(second, ends)| *second <= 1170 && *ends == at(270))
    );
    let url = "http://pitcrew/graph?g0.expr=x+%3E+1&g0.tab=1";
    bench.put(1320, &[("1", 5.0)]);
    bench.evaluate(1320);
    assert!(bench.told.is_empty());
    bench.evaluate(1380);
    assert_eq!(&*bench.told[0].generator_url, url);
    assert_eq!(bench.told[0].labels.get("site"), Some("north"));
    assert_eq!(bench.told[0].starts_at, at(1380));
}

#[test]
fn what_routing_has_no_room_for_is_told_next_time() {
    let mut bench = Bench::new("  - {alert: A, expr: x}\n");
    bench.put(0, &[("1", 1.0), ("2", 1.0)]);
    bench.room = false;
    assert_eq!(bench.evaluate(0).not_accepted, 2);
    bench.room = true;
    assert_eq!(bench.evaluate(30).not_accepted, 0);
    assert_eq!(bench.told.len(), 2);
    bench.evaluate(60);
    assert!(bench.told.is_empty());
}

#[test]
fn labels_and_texts_come_from_templates() {
    let mut bench = Bench::new(
        r#"
  - alert: A
    expr: x
    labels: {severity: "{{ if gt $value 1.0 }}high{{ else }}low{{ end }}", i: "", seen: "{{ $labels.severity }}."}
    annotations: {summary: "{{ $labels.i }} at {{ $value }}, {{ query \"count(x)\" | first | value }} in all", bad: "{{ query \"nope(\" }}"}
"#,
    );
    bench.put(0, &[("one", 2.5)]);
    bench.evaluate(0);
    let alert = &bench.told[0];
    let want = [("alertname", "A"), ("seen", "."), ("severity", "high"), ("site", "north")];
    assert_eq!(alert.labels, Labels::from_pairs(want));
    assert_eq!(alert.annotations["summary"], "one at 2.5, 1 in all");
    assert!(alert.annotations["bad"].starts_with("<error expanding template: "));
}

#[test]
fn two_elements_that_become_one_fail_the_rule() {
    let mut bench = Bench::new("  - {alert: A, expr: x, labels: {i: ''}}\n");
    bench.put(0, &[("1", 1.0), ("2", 2.0)]);
    assert_eq!(bench.evaluate(0).failed, 1);
    assert!(bench.error(0).contains("become one alert {alertname=\"A\"}"), "{}", bench.error(0));
    assert!(bench.told.is_empty() && bench.states().is_empty());
    assert!(bench.query("ALERTS", 0).is_empty());
}

#[test]
fn a_limit_that_is_exceeded_fails_the_rule() {
    let mut bench =
        Bench::with("  limit: 1\n", "  - {alert: A, expr: x}\n  - {record: y, expr: x}\n");
    bench.put(0, &[("1", 1.0)]);
    assert_eq!(bench.evaluate(0).failed, 0);
    bench.put(30, &[("2", 1.0)]);
    assert_eq!(bench.evaluate(30).failed, 2);
    assert_eq!(bench.error(0), "exceeded limit of 1 with 2 alerts");
    assert_eq!(bench.error(1), "exceeded limit of 1 with 2 series");
    assert!(bench.told.is_empty() && bench.states().is_empty());
}

#[test]
fn a_firing_alert_stays_alive_while_its_rule_fails() {
    let mut bench = Bench::new(HIGH);
    bench.put(0, &[("1", 5.0)]);
    for second in [0, 30, 60] {
        bench.evaluate(second);
    }
    bench.put(75, &[("2", 5.0)]);
    bench.evaluate(90);
    assert_eq!(bench.states(), [AlertState::Firing, AlertState::Pending]);
    bench.store.down.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for second in (120..=600).step_by(30) {
        assert_eq!(bench.evaluate(second).failed, 1);
        // Both stand as they were, and are shown as not verified.
        assert_eq!(bench.states(), [AlertState::Firing, AlertState::Pending]);
        assert!(
            bench.group.status().instances().all(|one| one.annotations.contains_key(UNVERIFIED))
        );
        for alert in &bench.told {
            assert_eq!(alert.labels.get("i"), Some("1"));
            let mark = &alert.annotations[UNVERIFIED];
            assert!(mark.starts_with("not verified since 1970-01-01T00:02:00.000Z: "), "{mark}");
            assert!(mark.contains("gone fishing"), "{mark}");
            told.push((second, alert.ends_at.0 / 1000 - second));
        }
    }
    // Told again with a new lease, for 5 minutes since the first failure.
    assert_eq!(told, [(150, 240), (240, 240), (330, 240)]);
    bench.store.down.store(false, Ordering::Relaxed);
    bench.put(630, &[("1", 0.0), ("2", 5.0)]);
    bench.evaluate(630);
    let ended: Vec<_> =
        bench.told.iter().map(|alert| (alert.labels.get("i"), alert.ends_at)).collect();
    assert_eq!(ended[0], (Some("1"), Timestamp(630_000)));
    assert!(bench.told.iter().all(|alert| !alert.annotations.contains_key(UNVERIFIED)));
}

#[test]
fn a_firing_alert_stays_alive_while_the_scrape_of_its_target_fails() {
    let mut bench = Bench::new("  - {alert: High, expr: y > 1}\n");
    let put = |bench: &Bench, second: i64, name: &str, value: f64| {
        let labels = Labels::from_pairs([("__name__", name), ("instance", "a:1"), ("job", "j")]);
        let sample = Sample { timestamp: Timestamp(second * 1000), value };
        bench.store.append(&[(labels, sample)]).unwrap();
    };
    let stale = crate::model::sample::stale_marker();
    put(&bench, 0, "up", 1.0);
    put(&bench, 0, "y", 5.0);
    bench.evaluate(0);
    put(&bench, 30, "y", stale);
    for second in (30..330).step_by(30) {
        put(&bench, second, "up", 0.0);
        bench.evaluate(second);
        assert_eq!(bench.states(), [AlertState::Firing], "{second}");
        let shown: Vec<_> = bench.group.status().instances().collect();
        let mark = &shown[0].annotations[UNVERIFIED];
        assert!(mark.ends_with("00:00:30.000Z: the scrape of a:1 fails"), "{mark}");
        assert!(bench.told.iter().all(|alert| !alert.is_resolved(Timestamp(second * 1000))));
        assert!(bench.told.iter().all(|alert| alert.annotations.contains_key(UNVERIFIED)));
    }
    // Five minutes are up.
    put(&bench, 330, "up", 0.0);
    bench.evaluate(330);
    assert!(bench.states().is_empty() && bench.told[0].is_resolved(Timestamp(330_000)));
    // A series that ends while its target answers ends its alert at once, and a target that is no
    // longer scraped keeps nothing alive.
    for (up, from) in [(1.0, 400), (stale, 600)] {
        put(&bench, from, "up", 1.0);
        put(&bench, from, "y", 5.0);
        bench.evaluate(from);
        assert_eq!(bench.states(), [AlertState::Firing]);
        put(&bench, from + 30, "up", up);
        put(&bench, from + 30, "y", stale);
        bench.evaluate(from + 30);
        assert!(bench.states().is_empty(), "{up}");
    }
}

#[test]
fn an_alert_of_the_last_run_waits_for_the_store_to_be_filled() {
    let mut first = Bench::new(HIGH);
    first.put(0, &[("1", 5.0), ("2", 5.0)]);
    first.put(45, &[("3", 5.0)]);
    for second in [0, 30, 60] {
        first.evaluate(second);
    }
    let mut bench = Bench::new(HIGH);
    bench.context.store_filled_at = Timestamp(200_000);
    for (rule, instance) in first.group.changes(Duration::ZERO).unwrap().changed {
        let stored = StoredAlert { rule, instance, evaluated_at: Timestamp(60_000) };
        assert!(bench.group.restore(&stored, Timestamp(90_000)));
    }
    use AlertState::{Firing, Pending};
    bench.evaluate(90);
    assert_eq!(bench.states(), [Firing, Firing, Pending], "an empty store ends nothing");
    assert!(bench.told.is_empty());
    bench.put(120, &[("1", 5.0), ("3", 5.0)]);
    bench.evaluate(120);
    assert_eq!(bench.states(), [Firing, Firing, Firing], "since 60 s all the same");
    let marked = |bench: &Bench| {
        let all: Vec<_> = bench.group.status().instances().collect();
        all.iter().map(|one| one.annotations.contains_key(UNVERIFIED)).collect::<Vec<_>>()
    };
    assert_eq!(marked(&bench), [false, true, false]);
    // One that was found again ends as ever.
    bench.put(150, &[("3", 0.0)]);
    bench.evaluate(150);
    assert_eq!(bench.states(), [Firing, Firing]);
    // The other one when the store has been filled and still does not show it.
    bench.evaluate(210);
    assert_eq!((bench.states(), marked(&bench)), (vec![Firing], vec![false]));
    let ended: Vec<_> =
        bench.told.iter().filter(|one| one.is_resolved(Timestamp(210_000))).collect();
    assert!(ended.iter().any(|alert| alert.labels.get("i") == Some("2")), "{:?}", bench.told);
}

#[test]
fn other_values_than_a_vector() {
    let mut bench = Bench::new(
        "  - {alert: A, expr: '1'}\n  - {alert: B, expr: 'x[5m]'}\n  - {record: y, expr: '7'}\n",
    );
    bench.put(0, &[("1", 1.0)]);
    assert_eq!(bench.evaluate(0).failed, 1);
    assert_eq!(bench.told.len(), 1);
    assert!(bench.error(1).contains("neither a vector nor a scalar"));
    assert_eq!(bench.query("y", 0), ["y 7"]);
}

#[test]
fn an_evaluation_can_be_stopped() {
    let mut bench = Bench::new("  - {alert: A, expr: x}\n");
    bench.put(0, &[("1", 1.0)]);
    let progress = Progress::default();
    progress.stop.store(true, Ordering::Relaxed);
    let done = bench.group.evaluate(Timestamp(0), &bench.context, &progress, &mut |_| true);
    assert_eq!((done.rules, progress.started.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn only_changes_are_written_down() {
    let mut bench = Bench::new("  - {alert: A, expr: x}\n  - {alert: A, expr: x}\n");
    let heartbeat = Duration::from_secs(45);
    bench.evaluate(0);
    assert!(bench.group.changes(heartbeat).is_none());
    bench.put(30, &[("1", 1.0)]);
    bench.evaluate(30);
    let changes = bench.group.changes(heartbeat).unwrap();
    // Two rules that agree in everything are told apart.
    let nth: Vec<u32> = changes.changed.iter().map(|(key, _)| key.nth).collect();
    assert_eq!(nth, [0, 1]);
    bench.group.mark_saved(changes);
    bench.evaluate(60);
    assert!(bench.group.changes(heartbeat).is_none());
    bench.evaluate(90);
    let beat = bench.group.changes(Duration::from_secs(60)).unwrap();
    assert_eq!(beat.changed.len() + beat.gone.len(), 0);
    bench.put(100, &[("1", f64::NAN)]);
    bench
        .store
        .append(&[(
            Labels::from_pairs([("__name__", "x"), ("i", "1")]),
            Sample { timestamp: Timestamp(110_000), value: crate::model::sample::stale_marker() },
        )])
        .unwrap();
    for second in (120..1100).step_by(30) {
        bench.evaluate(second);
    }
    assert_eq!(bench.group.changes(heartbeat).unwrap().gone.len(), 2);
}
