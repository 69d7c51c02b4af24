//! Exporters, GitHub and alerts put together: which member is dead, and who says so.

use std::time::Duration;

use super::*;
use crate::actions::fixtures::{at, pool};
use crate::model::labels::Labels;

/// What is known of a pool of eight and four, before a case edits it.
struct World {
    exporters: Exporters,
    memory: Memory,
    alerts: Vec<Arc<AlertInstance>>,
    listed: Vec<Listed>,
    believed: bool,
    pool: PoolConfig,
}

impl World {
    fn new() -> World {
        let mut exporters = Exporters::default();
        let mut listed = Vec::new();
        for (prefix, count, label) in [("a", 8, true), ("b", 4, false)] {
            let instance = format!("{prefix}:9610");
            exporters.up.insert(instance.clone(), true);
            for n in 1..=count {
                let name = format!("{prefix}-{n}");
                exporters.health.insert((name.clone(), instance.clone()), true);
                let labels = if label { vec!["CI-Active".to_owned()] } else { vec![] };
                let (id, status) = (n, OnGithub::Online);
                listed.push(Listed { id, name, status, ephemeral: false, labels });
            }
        }
        let memory = Memory::default();
        World { exporters, memory, alerts: vec![], listed, believed: true, pool: pool() }
    }

    fn sight(&self, now: Timestamp) -> Sight {
        let evidence = Evidence {
            exporters: &self.exporters,
            memory: &self.memory,
            alerts: &self.alerts,
            listed: &self.listed,
            believed: self.believed,
            fresh: self.believed,
            starting: false,
            jobs: None,
            hold: None,
        };
        Sight::of(&self.pool, &evidence, now)
    }

    fn fire(&mut self, labels: &[(&str, &str)]) {
        self.alerts.push(Arc::new(AlertInstance {
            labels: Labels::from_pairs(labels.iter().copied()),
            annotations: Arc::default(),
            state: AlertState::Firing,
            value: 1.0,
            active_at: at(0),
            fired_at: Some(at(0)),
            resolved_at: None,
            keep_firing_since: None,
            last_sent_at: None,
            unverified_since: None,
            changes: Vec::new(),
            flapping_since: None,
        }));
    }

    fn silence_primary(&mut self) {
        self.exporters.up.insert("a:9610".to_owned(), false);
        self.exporters.health.retain(|(name, _), _| !name.starts_with('a'));
        self.fire(&[("alertname", "RunnerOffline"), ("instance", "a:9610")]);
    }

    fn on_github(&mut self, status: OnGithub) {
        for listed in self.listed.iter_mut().filter(|listed| listed.name.starts_with('a')) {
            listed.status = status;
        }
    }
}

#[test]
fn who_is_dead() {
    type Edit = fn(&mut World);
    let dead: Edit = |world| {
        for n in 1..=8 {
            let key = (format!("a-{n}"), "a:9610".to_owned());
            world.exporters.health.insert(key, false);
            let runner = format!("a-{n}");
            world.fire(&[("alertname", "RunnerOffline"), ("runner", &runner)]);
        }
    };
    let cases: [(&str, Edit, Verdict, bool); 12] = [
        ("all well", |_| {}, Verdict::Healthy, false),
        ("exporter says so, GitHub lags", dead, Verdict::Down, true),
        (
            "one of eight",
            |world| {
                world.exporters.health.insert(("a-1".into(), "a:9610".into()), false);
                world.fire(&[("alertname", "RunnerOffline"), ("runner", "a-1")]);
            },
            Verdict::Degraded,
            true,
        ),
        ("silent, online", World::silence_primary, Verdict::Degraded, true),
        (
            "silent, busy",
            |world| {
                world.silence_primary();
                world.on_github(OnGithub::Busy);
            },
            Verdict::Degraded,
            true,
        ),
        (
            "silent, offline",
            |world| {
                world.silence_primary();
                world.on_github(OnGithub::Offline);
            },
            Verdict::Down,
            true,
        ),
        (
            "silent, GitHub unreachable",
            |world| {
                world.silence_primary();
                world.believed = false;
            },
            Verdict::NeedsPerson,
            true,
        ),
        (
            "exporter says so, GitHub unreachable",
            |world| {
                for n in 1..=8 {
                    let key = (format!("a-{n}"), "a:9610".to_owned());
                    world.exporters.health.insert(key, false);
                }
                world.fire(&[("alertname", "RunnerOffline"), ("instance", "a:9610")]);
                world.believed = false;
            },
            Verdict::Down,
            true,
        ),
        (
            "the whole host, by an alert of its living exporter",
            |world| world.fire(&[("alertname", "RunnerOffline"), ("instance", "a:9610")]),
            Verdict::Down,
            true,
        ),
        (
            "an alert that pools do not know",
            |world| world.fire(&[("alertname", "Other"), ("instance", "a:9610")]),
            Verdict::Healthy,
            false,
        ),
        (
            "another host speaks of the primary's runners",
            |world| {
                for n in 1..=8 {
                    let runner = format!("a-{n}");
                    world.exporters.health.insert((runner.clone(), "b:9610".into()), false);
                    world.fire(&[
                        ("alertname", "RunnerOffline"),
                        ("runner", &runner),
                        ("instance", "b:9610"),
                    ]);
                }
            },
            Verdict::Healthy,
            false,
        ),
        (
            "no runner is registered any more",
            |world| {
                world.listed.retain(|listed| listed.name.starts_with('b'));
                world.fire(&[("alertname", "RunnerOffline"), ("instance", "a:9610")]);
            },
            Verdict::Down,
            true,
        ),
    ];
    for (name, edit, want, alert) in cases {
        let mut world = World::new();
        edit(&mut world);
        let sight = world.sight(at(0));
        let primary = &sight.members[0];
        assert_eq!(primary.verdict, want, "{name}: {}", primary.why);
        assert_eq!(primary.move_alert.is_some(), alert, "{name}");
        assert_eq!(sight.members[1].verdict, Verdict::Healthy, "{name}");
    }
}

#[test]
fn after_is_waited_for() {
    let mut world = World::new();
    world.fire(&[("alertname", "RunnerHighCPU"), ("instance", "a:9610")]);
    let early = world.sight(at(299));
    assert_eq!(early.members[0].add_alert, None);
    assert_eq!(early.members[0].due_at, Some(at(300)));
    assert_eq!(early.members[0].verdict, Verdict::Degraded);
    let due = world.sight(at(0).plus(Duration::from_secs(300)));
    assert_eq!(due.members[0].add_alert.as_deref(), Some("RunnerHighCPU"));
    assert_eq!((due.members[0].move_alert.as_ref(), due.members[0].due_at), (None, None));
}

#[test]
fn targets_that_are_refused_say_why() {
    let mut world = World::new();
    world.listed[9].ephemeral = true;
    let sight = world.sight(at(0));
    assert!(sight.members[1].refused[0].contains("b-2 is ephemeral"), "{:?}", sight.members[1]);
    assert_eq!(sight.members[1].eligible().count(), 3);

    world.pool.members[1].capacity = 1;
    world.listed.push(Listed { name: "b-5".to_owned(), ..world.listed[8].clone() });
    let sight = world.sight(at(0));
    assert!(sight.members[1].blocked.as_ref().unwrap().contains("match 5 runners"));

    world.pool.members[1].runners.push("a-8".to_owned());
    let sight = world.sight(at(0));
    assert!(sight.members[0].refused[0].contains("both primary and backup"));
    assert_eq!(sight.members[0].runners.len(), 7);
}

#[test]
fn labels_and_words_of_one_runner() {
    let mut world = World::new();
    world.exporters.health.remove(&("a-1".to_owned(), "a:9610".to_owned()));
    let sight = world.sight(at(0));
    let [first, second, ..] = &sight.members[0].runners[..] else { panic!() };
    assert_eq!((first.word, second.word), (Word::Nothing, Word::Up));
    assert!(first.labelled && first.is_fit());
    assert!(sight.member_with("B-3").is_some_and(|member| member.name == "backup"));
}
