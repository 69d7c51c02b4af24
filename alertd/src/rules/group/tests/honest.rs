//! Alerts through outages, restarts, leaps of the clock, and thresholds that differ.

use super::*;
use crate::db::Db;
use crate::rules::config::Flapping;
use crate::rules::flapping::FLAPPING;
use crate::rules::own;
use crate::rules::status::View;

use AlertState::{Firing, Inactive, Pending};

/// How often somebody was told of an end.
fn ends(bench: &Bench, second: i64) -> usize {
    bench.told.iter().filter(|alert| alert.is_resolved(Timestamp(second * 1000))).count()
}

fn put(bench: &Bench, second: i64, name: &str, value: f64) {
    let labels = Labels::from_pairs([("__name__", name), ("instance", "a:1"), ("job", "j")]);
    let sample = Sample { timestamp: Timestamp(second * 1000), value };
    bench.store.append(&[(labels, sample)]).unwrap();
}

/// Half an hour without the source, which is empty for a while when it is back.
#[test]
fn an_outage_of_the_source_ends_nothing() {
    let mut bench = Bench::new(HIGH);
    bench.context.config.keep_unverified = Duration::from_secs(3600);
    bench.context.refill = Duration::from_secs(130);
    let (mut lease, mut told) = (0, 0);
    for second in (0..=2700).step_by(30) {
        let away = (300..2100).contains(&second);
        bench.store.down.store(away, Ordering::Relaxed);
        // Scraping goes on two minutes after the source is back.
        if !(300..2220).contains(&second) {
            bench.put(second, &[("1", 5.0)]);
        }
        bench.evaluate(second);
        assert_eq!(ends(&bench, second), 0, "at {second}");
        if second >= 60 {
            assert_eq!(bench.states(), [Firing], "at {second}");
            told += bench.told.len();
            lease = bench.told.iter().map(|alert| alert.ends_at.0).max().unwrap_or(0).max(lease);
            assert!(lease > (second + 30) * 1000, "the lease runs out at {second}");
        }
        let all: Vec<_> = bench.group.status().instances().collect();
        let marked = all.iter().any(|one| one.annotations.contains_key(UNVERIFIED));
        assert_eq!(marked, (300..2220).contains(&second), "at {second}");
    }
    assert!(told >= 2640 / 90, "told {told} times");
    // What is not so any more ends as ever.
    bench.put(2730, &[("1", 0.0)]);
    bench.evaluate(2730);
    assert_eq!((ends(&bench, 2730), bench.states()), (1, vec![]));
}

#[test]
fn leaps_of_the_clock_end_nothing() {
    let mut bench = Bench::new(HIGH);
    bench.context.refill = Duration::from_secs(70);
    for second in [0, 30, 60] {
        bench.put(second, &[("1", 5.0)]);
        bench.evaluate(second);
    }
    // An hour ahead: what the store has is too old to be seen.
    for second in [3660, 3690, 3720] {
        bench.evaluate(second);
        assert_eq!((bench.states(), ends(&bench, second)), (vec![Firing], 0), "{second}");
    }
    bench.put(3721, &[("1", 5.0)]);
    bench.evaluate(3750);
    let all: Vec<_> = bench.group.status().instances().collect();
    assert!(all[0].state == Firing && !all[0].annotations.contains_key(UNVERIFIED));
}

/// For an hour the store shows what was an hour ago, and takes nothing.
#[test]
fn a_clock_that_goes_back_makes_blind_and_loses_nothing() {
    let mut bench = Bench::new(
        "  - {alert: High, expr: x > 1}\n  - {alert: Later, expr: x > 1, for: 5m}
  - {alert: Gone, expr: y > 1}\n  - {record: 'r', expr: x}\n",
    );
    let mut own = Own::new(&bench);
    let names = |bench: &Bench| -> Vec<String> {
        let all = bench.group.status().instances().collect::<Vec<_>>();
        let text = |one: &Arc<AlertInstance>| {
            let marked = one.annotations.contains_key(UNVERIFIED);
            let name = one.labels.get("alertname").unwrap_or_default().to_owned();
            format!("{name} {:?}{}", one.state, if marked { " not verified" } else { "" })
        };
        all.iter().map(text).collect()
    };
    // Half an hour in which another alert comes and goes, then one begins.
    for second in (0..=7200).step_by(30) {
        put(&bench, second, "y", if (3600..4200).contains(&second) { 5.0 } else { 0.0 });
        bench.put(second, &[("1", if second >= 7080 { 5.0 } else { 0.0 })]);
        bench.evaluate(second);
    }
    assert_eq!(names(&bench), ["High Firing", "Later Pending"]);
    // The value stays what it is; of what the scrapes bring, the store takes nothing.
    let mut told = Vec::new();
    for second in (3601..7200).step_by(30) {
        put(&bench, second, "y", 0.0);
        bench.put(second, &[("1", 5.0)]);
        bench.evaluate(second);
        let blind = ["High Firing not verified", "Later Pending not verified"];
        assert_eq!(names(&bench), blind, "at {second}");
        assert_eq!(ends(&bench, second), 0, "at {second}");
        told.extend(own.look(&bench, second));
    }
    told.retain(|text: &String| text.starts_with("DatasourceDown"));
    told.dedup();
    assert_eq!(told, ["DatasourceDown fires: The source of metrics does not answer"]);
    for second in (7201..7500).step_by(30) {
        put(&bench, second, "y", 0.0);
        bench.put(second, &[("1", 5.0)]);
        bench.evaluate(second);
        assert_eq!(ends(&bench, second), 0, "at {second}");
        told.extend(own.look(&bench, second));
    }
    assert_eq!(names(&bench), ["High Firing", "Later Firing"], "its time counted on");
    told.retain(|text| text.starts_with("DatasourceDown"));
    assert!(told[1].starts_with("DatasourceDown ended"), "{told:?}");
}

#[test]
fn a_job_is_silent_when_all_its_targets_are() {
    let mut bench = Bench::new("  - {alert: Few, expr: 'sum by (job) (y) > 1'}\n");
    let up = |bench: &Bench, second: i64, instance: &str, value: f64| {
        let pairs = [("__name__", "up"), ("instance", instance), ("job", "j")];
        let sample = Sample { timestamp: Timestamp(second * 1000), value };
        bench.store.append(&[(Labels::from_pairs(pairs), sample)]).unwrap();
    };
    for instance in ["a:1", "b:1"] {
        up(&bench, 0, instance, 1.0);
    }
    put(&bench, 0, "y", 5.0);
    bench.evaluate(0);
    put(&bench, 30, "y", crate::model::sample::stale_marker());
    for instance in ["a:1", "b:1"] {
        up(&bench, 30, instance, 0.0);
    }
    bench.evaluate(30);
    assert_eq!(bench.states(), [Firing], "both are down");
    up(&bench, 60, "b:1", 1.0);
    bench.evaluate(60);
    assert_eq!(
        (bench.states(), ends(&bench, 60)),
        (vec![], 1),
        "one answers, and has no such series"
    );
}

#[test]
fn it_fires_above_one_threshold_and_ends_below_another() {
    let mut bench = Bench::new(
        "  - alert: High\n    expr: x > 80\n    annotations: {pitcrew_keep_firing_while: x > 60, summary: 'at {{ $value }}'}\n",
    );
    let mut seen = Vec::new();
    for (at, value) in [70.0, 90.0, 70.0, 61.0, 60.0, 70.0, 81.0].into_iter().enumerate() {
        let second = at as i64 * 30;
        bench.put(second, &[("1", value)]);
        bench.evaluate(second);
        let all: Vec<_> = bench.group.status().instances().collect();
        seen.push(all.first().map(|one| one.annotations["summary"].clone()));
    }
    let at = |value: &str| Some(format!("at {value}"));
    assert_eq!(seen, [None, at("90"), at("70"), at("61"), None, None, at("81")]);
}

#[test]
fn an_alert_that_flaps_is_told_once_and_then_when_it_is_calm() {
    let mut bench = Bench::new("  - {alert: A, expr: x > 1}\n");
    bench.context.config.flapping = Flapping { changes: 4, evaluations: 10 };
    let (mut told, mut own, mut by_own) = (Vec::new(), Own::new(&bench), Vec::new());
    for second in (0..1500).step_by(30) {
        let high = second < 600 && (second / 30) % 2 == 0;
        bench.put(second, &[("1", if high { 5.0 } else { 0.0 })]);
        bench.evaluate(second);
        for alert in &bench.told {
            let flapping = alert.annotations.contains_key(FLAPPING);
            let over = alert.is_resolved(Timestamp(second * 1000));
            let last = (flapping, over);
            if told.last().map(|(_, last)| *last) != Some(last) {
                told.push((second, last));
            }
        }
        let series = bench.query("ALERTS{alertname=\"A\"}", second).len();
        assert_eq!(series, bench.states().len(), "at {second}");
        for text in own.look(&bench, second) {
            if by_own.last() != Some(&text) {
                by_own.push(text);
            }
        }
    }
    let text = "A begins and ends all the time";
    assert_eq!(
        by_own[..2],
        [format!("AlertFlapping fires: {text}"), format!("AlertFlapping ended: {text}")]
    );
    let want = [
        (0, (false, false)),
        (30, (false, true)),
        (60, (false, false)),
        (90, (true, false)),
        (810, (false, true)),
    ];
    assert_eq!(told, want);
}

/// The same story with and without a restart after each evaluation: nobody can tell the difference.
#[test]
fn a_restart_changes_nothing_of_any_life() {
    let rules = "  - {alert: Now, expr: x > 1}
  - {alert: Later, expr: x > 1, for: 90s}
  - {alert: Kept, expr: x > 1, keep_firing_for: 2m}
  - {alert: Silent, expr: y > 1}
";
    let begin = |rules: &str| {
        let mut bench = Bench::new(rules);
        bench.context.config.flapping = Flapping { changes: 4, evaluations: 10 };
        bench
    };
    let (mut steady, mut torn) = (begin(rules), begin(rules));
    let db = Db::in_memory().unwrap();
    let mut states = std::collections::BTreeSet::new();
    for second in (0..3000).step_by(30) {
        let step = second / 30;
        for bench in [&steady, &torn] {
            // On and off for a while, then on, then long off.
            let high = match step {
                0..20 => step % 3 != 0,
                20..40 => true,
                _ => step > 80,
            };
            bench.put(second, &[("1", if high { 5.0 } else { 0.0 })]);
            // A target that goes silent while its alert fires, and stays so.
            let silent = (10..90).contains(&step);
            put(bench, second, "up", if silent { 0.0 } else { 1.0 });
            match step {
                0..10 => put(bench, second, "y", 5.0),
                10 => put(bench, second, "y", crate::model::sample::stale_marker()),
                _ => {}
            }
        }
        steady.evaluate(second);
        torn.evaluate(second);
        assert_eq!(torn.told, steady.told, "at {second}");
        let shown = |bench: &Bench| {
            let all = bench.group.status().instances().collect::<Vec<_>>();
            all.iter().map(|one| (**one).clone()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&torn), shown(&steady), "at {second}");
        for one in shown(&torn) {
            states.insert(match one {
                one if one.flapping_since.is_some() => "flapping",
                one if one.unverified_since.is_some() => "unverified",
                one if one.keep_firing_since.is_some() => "kept",
                one if one.state == Pending => "pending",
                _ => "firing",
            });
        }
        // Through the database into a new group.
        if let Some(changes) = torn.group.changes(Duration::ZERO) {
            db.save_alerts("r.yaml", "g", Timestamp(second * 1000), &changes).unwrap();
        }
        let spec = torn.group.spec().clone();
        torn.group = Group::new(spec, Duration::from_secs(60), Duration::ZERO);
        for stored in db.load_alerts().unwrap() {
            assert!(torn.group.restore(&stored, Timestamp(second * 1000)));
        }
        if torn
            .group
            .rules
            .iter()
            .any(|rule| rule.instances.values().any(|one| one.state == Inactive))
        {
            states.insert("ended");
        }
    }
    let want = ["ended", "firing", "flapping", "kept", "pending", "unverified"];
    assert_eq!(states.into_iter().collect::<Vec<_>>(), want, "the story lacks something");
}

#[test]
fn a_rule_that_can_yield_nothing_says_so() {
    let mut bench = Bench::new(
        "  - {alert: A, expr: nothing > 1 or x > 9}\n  - {alert: B, expr: x / nothing}\n",
    );
    bench.put(0, &[("1", 1.0)]);
    bench.evaluate(0);
    let unmatched = |bench: &Bench| -> Vec<Vec<String>> {
        bench.group.status().rules.iter().map(|rule| rule.unmatched.clone()).collect()
    };
    assert_eq!(unmatched(&bench), [vec![], vec!["nothing".to_owned()]]);
    assert!(bench.group.status().rules.iter().all(|rule| rule.health == Health::Ok));
    let labels = Labels::from_pairs([("__name__", "nothing"), ("i", "1")]);
    let sample = Sample { timestamp: Timestamp(30_000), value: 1.0 };
    bench.store.append(&[(labels, sample)]).unwrap();
    bench.put(30, &[("1", 1.0)]);
    bench.evaluate(30);
    assert_eq!(unmatched(&bench), [vec![], Vec::<String>::new()]);
}

/// Own alerts over the same view: what is told of them at each step.
struct Own {
    view: View,
    context: Context,
    group: Group,
}

impl Own {
    fn new(bench: &Bench) -> Own {
        let view = View::default();
        let store = Arc::new(own::Watched {
            view: view.clone(),
            store: Arc::clone(&bench.context.store),
            undelivered: Some(Arc::new(|at: Timestamp| match at.0 >= 1_000_000 {
                true => vec![(
                    Labels::from_pairs([
                        ("receiver", "team"),
                        ("integration", "team/slack[0]"),
                        ("error", "404"),
                    ]),
                    660.0,
                )],
                false => Vec::new(),
            })),
        });
        let spec = own::group(&bench.context.config, Duration::from_secs(30)).unwrap();
        let group = Group::new(spec, Duration::from_secs(60), Duration::ZERO);
        Own { view, context: Context { own: true, ..Context::new(store) }, group }
    }

    fn look(&mut self, bench: &Bench, second: i64) -> Vec<String> {
        self.view.fill(vec![Arc::new(bench.group.status()), Arc::new(self.group.status())]);
        let mut told = Vec::new();
        let mut send = |alerts: Vec<Alert>| {
            told.extend(alerts);
            true
        };
        let now = Timestamp(second * 1000);
        let done = self.group.evaluate(now, &self.context, &Progress::default(), &mut send);
        assert_eq!(done.failed, 0, "{:?}", self.group.status());
        let text = |alert: &Alert| {
            let what = if alert.is_resolved(now) { "ended" } else { "fires" };
            format!("{} {what}: {}", alert.name(), alert.annotations["summary"])
        };
        told.iter().map(text).collect()
    }
}

#[test]
fn what_this_program_cannot_see_is_an_alert_of_its_own() {
    let mut bench = Bench::new(
        "  - {alert: High, expr: y > 1}\n  - {alert: Also, expr: y > 2}\n  - {record: 'z', expr: x * on (nope) x}\n",
    );
    let mut own = Own::new(&bench);
    put(&bench, 0, "up", 1.0);
    put(&bench, 0, "y", 5.0);
    bench.evaluate(0);
    assert_eq!(own.look(&bench, 0), [""; 0]);
    let blind = own.group.status().rules.iter().any(|rule| !rule.unmatched.is_empty());
    assert!(!blind, "that nothing is wrong is no fault of its rules");
    assert_eq!(own.view.groups().len(), 1, "it is not shown while nothing is wrong");
    // The source is away: one alert, when that has lasted, whatever the number of rules.
    bench.store.down.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for second in (30..=120).step_by(15) {
        if second % 30 == 0 {
            bench.evaluate(second);
        }
        told.extend(own.look(&bench, second));
    }
    assert_eq!(told, ["DatasourceDown fires: The source of metrics does not answer"]);
    let shown: Vec<_> = own.group.status().instances().collect();
    let text = &shown[0].annotations["description"];
    assert!(
        text.starts_with("3 rules cannot be evaluated.") && text.contains("gone fishing"),
        "{text}"
    );
    assert_eq!(shown[0].labels.get("severity"), Some("critical"));
    assert_eq!(own.view.groups().len(), 2);
    // It is back, the target is silent: one alert for the target, at once.
    bench.store.down.store(false, Ordering::Relaxed);
    put(&bench, 130, "up", 0.0);
    put(&bench, 130, "y", crate::model::sample::stale_marker());
    bench.evaluate(150);
    let want = [
        "DatasourceDown ended: The source of metrics does not answer",
        "TargetDown fires: a:1 does not answer, and had alerts",
    ];
    assert_eq!(own.look(&bench, 150), want);
    put(&bench, 180, "up", 1.0);
    put(&bench, 180, "y", 5.0);
    bench.put(180, &[("1", 1.0), ("2", 1.0)]);
    bench.evaluate(180);
    assert_eq!(own.look(&bench, 180), ["TargetDown ended: a:1 does not answer, and had alerts"]);
    // A rule that fails by itself is no fault of the source.
    bench.evaluate(210);
    own.look(&bench, 210);
    own.look(&bench, 270);
    let names: Vec<_> = own
        .group
        .status()
        .instances()
        .map(|one| one.labels.get("alertname").unwrap().to_owned())
        .collect();
    assert_eq!(names, ["RulesFailing"]);
    let told = own.look(&bench, 1000);
    assert!(
        told.contains(
            &"NotificationsFailing fires: team is not reached by team/slack[0]".to_owned()
        ),
        "{told:?}"
    );
    let all: Vec<_> = own.group.status().instances().collect();
    let last = all.iter().find(|one| one.labels.get("receiver").is_some()).unwrap();
    assert_eq!(last.annotations["description"], "Notifications to it have failed for 11m 0s. 404");
    assert_eq!(last.labels.get("error"), None);
}
