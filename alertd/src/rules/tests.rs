//! The engine over a real database file: restarts, rules that vanish, rules that take too long.

use std::ops::ControlFlow;

use prometheus_client::registry::Registry;

use super::*;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Querier, StoreError};
use crate::model::sample::Sample;
use crate::rules::status::Health;
use crate::tsdb::{Limits, Tsdb};

const RULES: &str = "
groups:
- name: g
  interval: 50ms
  rules:
  - {alert: Now, expr: x > 1, labels: {severity: page}, annotations: {summary: 'is {{ $value }}'}}
  - {alert: Later, expr: x > 1, for: 1h}
";

/// A running engine and both ends of what it talks to.
struct Running {
    view: View,
    told: mpsc::Receiver<Vec<Alert>>,
    active: watch::Receiver<Arc<ActiveAlerts>>,
    engine: Option<Engine>,
}

fn engine(rules: &str, store: Arc<dyn Store>, db: &Db, change: impl Fn(&mut Settings)) -> Running {
    let groups = file::parse(Path::new("r.yaml"), rules).unwrap();
    let mut settings = Settings { first_within: Some(Duration::ZERO), ..Settings::default() };
    change(&mut settings);
    let (alerts, told) = mpsc::channel(64);
    let (sender, active) = watch::channel(Arc::default());
    let metrics = RulesMetrics::new(&mut Registry::default());
    let engine = Engine::new(groups, store, db.clone(), settings, alerts, sender, metrics).unwrap();
    Running { view: engine.view(), told, active, engine: Some(engine) }
}

fn store(value: f64) -> Arc<dyn Store> {
    let tsdb = Tsdb::new(Limits::default());
    let labels = Labels::from_pairs([("__name__", "x"), ("i", "1")]);
    tsdb.append(&[(labels, Sample { timestamp: clock::now(), value })]).unwrap();
    Arc::new(tsdb)
}

impl Running {
    /// Runs until `done` holds, then stops.
    async fn run_until(&mut self, done: impl Fn(&Running) -> bool) {
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.engine.take().unwrap().run(stop.clone()));
        let deadline = time::Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(time::Instant::now() < deadline, "not in time: {:?}", self.view.groups());
            time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        time::timeout(Duration::from_secs(15), task).await.unwrap().unwrap();
    }

    fn instance(&self, name: &str) -> Option<Arc<AlertInstance>> {
        let active = self.active.borrow();
        active.instances.iter().find(|one| one.labels.get("alertname") == Some(name)).cloned()
    }

    fn evaluated(&self) -> bool {
        self.view.groups().iter().all(|group| group.evaluated_at.is_some())
    }
}

#[tokio::test]
async fn a_restart_changes_nothing_about_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path()).unwrap();
    let mut first = engine(RULES, store(2.0), &db, |_| {});
    first.run_until(|running| running.instance("Now").is_some()).await;
    let (now, later) = (first.instance("Now").unwrap(), first.instance("Later").unwrap());
    assert_eq!((now.state, later.state), (AlertState::Firing, AlertState::Pending));
    let told = first.told.try_recv().unwrap();
    assert_eq!((told.len(), told[0].name(), told[0].starts_at), (1, "Now", now.fired_at.unwrap()));
    assert_eq!(told[0].annotations["summary"], "is 2");
    drop((first, db));

    let db = Db::open(folder.path()).unwrap();
    let mut second = engine(RULES, store(2.0), &db, |_| {});
    // Known before the first evaluation.
    let same = |running: &Running| {
        for (name, want) in [("Now", &now), ("Later", &later)] {
            let have = running.instance(name).unwrap();
            assert_eq!(
                (have.state, have.active_at, have.fired_at, have.last_sent_at),
                (want.state, want.active_at, want.fired_at, want.last_sent_at)
            );
        }
    };
    same(&second);
    second.run_until(Running::evaluated).await;
    same(&second);
    // Told a moment ago: not told again.
    assert!(second.told.try_recv().is_err());
    drop(second);

    // What ended while nobody looked is told at the first evaluation.
    let mut third = engine(RULES, store(0.0), &db, |_| {});
    third.run_until(|running| running.instance("Now").is_none()).await;
    let told = third.told.try_recv().unwrap();
    assert_eq!((told.len(), told[0].name(), told[0].starts_at), (1, "Now", now.fired_at.unwrap()));
    assert!(told[0].is_resolved(clock::now()));
}

#[tokio::test]
async fn alerts_without_a_rule_end() {
    for (what, rules) in [
        ("the rule is gone", "groups: []"),
        (
            "the alert became a recording rule",
            "groups: [{name: g, rules: [{record: Now, expr: x}]}]",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path()).unwrap();
        let mut first = engine(RULES, store(2.0), &db, |_| {});
        first.run_until(|running| running.instance("Now").is_some()).await;
        drop(first);
        let nothing = Arc::new(Tsdb::new(Limits::default()));
        let mut second = engine(rules, nothing, &db, |_| {});
        assert!(second.instance("Now").is_none(), "{what}");
        second.run_until(|_| db.load_alerts().unwrap().is_empty()).await;
        let told = second.told.try_recv().unwrap();
        assert_eq!((told.len(), told[0].name()), (1, "Now"), "{what}");
        assert!(told[0].is_resolved(clock::now()), "{what}");
    }
}

#[tokio::test]
async fn after_a_long_outage_what_fires_is_judged_and_what_is_pending_starts_anew() {
    let db = Db::in_memory().unwrap();
    let mut first = engine(RULES, store(2.0), &db, |_| {});
    first.run_until(|running| running.instance("Now").is_some()).await;
    let (now, later) = (first.instance("Now").unwrap(), first.instance("Later").unwrap());
    drop(first);
    while clock::now() <= later.active_at {
        time::sleep(Duration::from_millis(1)).await;
    }
    let long = |settings: &mut Settings| settings.config.outage_tolerance = Duration::ZERO;
    let mut second = engine(RULES, store(2.0), &db, long);
    assert_eq!(second.instance("Now").unwrap().fired_at, now.fired_at);
    second.run_until(Running::evaluated).await;
    assert_eq!(second.instance("Now").unwrap().fired_at, now.fired_at);
    assert!(second.instance("Later").unwrap().active_at > later.active_at);
}

#[tokio::test]
async fn state_is_kept_in_memory_while_it_cannot_be_written() {
    let db = Db::in_memory().unwrap();
    let mut running = engine(RULES, store(2.0), &db, |_| {});
    db.transact(|sql| sql.execute_batch("ALTER TABLE rule_alerts RENAME TO hidden")).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(running.engine.take().unwrap().run(stop.clone()));
    let alert = time::timeout(Duration::from_secs(20), running.told.recv()).await.unwrap().unwrap();
    assert_eq!(alert[0].name(), "Now");
    db.transact(|sql| sql.execute_batch("ALTER TABLE hidden RENAME TO rule_alerts")).unwrap();
    let deadline = time::Instant::now() + Duration::from_secs(20);
    while db.load_alerts().unwrap().len() < 2 {
        assert!(time::Instant::now() < deadline, "{:?}", running.view.groups());
        time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_storm_is_told_while_the_disk_is_full() {
    const MANY: usize = 3000;
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(folder.path()).unwrap();
    let tsdb = Tsdb::new(Limits::default());
    let now = clock::now();
    let of = |number: usize| {
        let pairs = [("__name__", "x".to_owned()), ("i", number.to_string())];
        (Labels::from_pairs(pairs), Sample { timestamp: now, value: 2.0 })
    };
    tsdb.append(&(0..MANY).map(of).collect::<Vec<_>>()).unwrap();
    let pages = |most: &str| {
        let text = format!("PRAGMA max_page_count = {most}");
        db.transact(|sql| sql.execute_batch(&text)).unwrap();
    };
    // No less than there are.
    pages("1");
    let rules = "groups: [{name: g, interval: 50ms, rules: [{alert: Many, expr: x > 1}]}]";
    let mut running = engine(rules, Arc::new(tsdb), &db, |_| {});
    let stop = CancellationToken::new();
    let task = tokio::spawn(running.engine.take().unwrap().run(stop.clone()));
    let told = time::timeout(Duration::from_secs(60), running.told.recv()).await.unwrap().unwrap();
    assert_eq!(told.len(), MANY);
    assert_eq!(db.load_alerts().unwrap().len(), 0);
    while running.active.borrow().instances.len() < MANY {
        time::sleep(Duration::from_millis(5)).await;
    }
    pages("1000000");
    let deadline = time::Instant::now() + Duration::from_secs(60);
    while db.load_alerts().unwrap().len() < MANY {
        assert!(time::Instant::now() < deadline, "not written when there is room again");
        time::sleep(Duration::from_millis(20)).await;
    }
    assert!(running.told.try_recv().is_err(), "told once");
    stop.cancel();
    task.await.unwrap();
}

/// A store where every look takes a while.
struct Slow;

impl Querier for Slow {
    fn visit(
        &self,
        _: &[Matcher],
        _: Timestamp,
        _: Timestamp,
        _: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }
}

impl Appender for Slow {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        Ok(Appended { accepted: samples.len(), ..Appended::default() })
    }
}

#[tokio::test]
async fn a_rule_that_takes_too_long_is_cancelled_and_the_next_one_runs() {
    let many = vec!["x"; 1000].join(" or ");
    let rules = format!(
        "groups: [{{name: g, rules: [{{alert: Long, expr: '{many}'}}, {{record: y, expr: '1'}}]}}]"
    );
    let db = Db::in_memory().unwrap();
    let mut running = engine(&rules, Arc::new(Slow), &db, |settings| {
        settings.config.rule_timeout = Duration::from_millis(100);
    });
    let started = time::Instant::now();
    running.run_until(Running::evaluated).await;
    assert!(started.elapsed() < Duration::from_secs(10), "20 s without the time-out");
    let group = running.view.groups().remove(0);
    let [long, next] = &group.rules[..] else { panic!("{group:?}") };
    assert!(
        matches!(&long.health, Health::Failing { error, .. } if error.contains("cancelled")),
        "{long:?}"
    );
    assert_eq!(next.health, Health::Ok);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_long_rule() {
    let many = vec!["x"; 1000].join(" or ");
    let rule = format!("{{alert: Long, expr: '{many}'}}");
    let rules = format!("groups: [{{name: g, rules: [{rule}, {rule}]}}]");
    let db = Db::in_memory().unwrap();
    let mut running = engine(&rules, Arc::new(Slow), &db, |_| {});
    // `run_until` allows 15 s for the stop; the two rules take 20 s each.
    running.run_until(|_| true).await;
}

#[test]
fn the_bundled_rules_load() {
    let groups = bundled().unwrap();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let names: Vec<&str> =
        rules.filter(|rule| rule.alerting().is_some()).map(|rule| rule.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Watchdog",
            "RunnerDisagreement",
            "GithubBudgetLow",
            "RunnerHighCPU",
            "RunnerHighMemory",
            "QueueServerDown",
            "QueueMissing",
            "QueueStuck",
            "QueueGrowing",
            "QueuePendingStuck",
            "QueueConsumersDead",
            "QueuePoison",
            "QueueDeadLetters",
            "RunnerOffline",
            "RunnerPerformanceDegradation",
            "RunnerPerformanceDegradation",
            "JobsWithoutRunner",
            "JobQueueTimeHigh",
            "WorkflowKeepsFailing",
            "WorkflowFailed",
            "JobHangs",
        ]
    );
}
