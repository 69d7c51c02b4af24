//! A pool of eight and four runners at the simulator, its exporters and alerts as the test wants
//! them, and the part of alertd that moves the label.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitcrew_alertd::actions::config::{ActionsConfig, PoolConfig};
use pitcrew_alertd::actions::metrics::ActionMetrics;
use pitcrew_alertd::actions::view::{PoolView, PoolsView};
use pitcrew_alertd::actions::{self, Actions, Command, CommandError, What};
use pitcrew_alertd::clock;
use pitcrew_alertd::db::Db;
use pitcrew_alertd::model::alert::{ActiveAlerts, Alert, AlertInstance, AlertState};
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::Store;
use pitcrew_alertd::model::sample::{Sample, stale_marker};
use pitcrew_alertd::tsdb::{Limits, Tsdb};
use pitcrew_exporter::config::yaml;
use pitcrew_exporter::github::Github;
use pitcrew_exporter::github::config::GithubConfig;
use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_tests::fake_github::FakeGithub;
use pitcrew_tests::fake_github::ledger::{Entry, Event};
use pitcrew_tests::fake_github::registry::NewRunner;
use pitcrew_tests::fake_github::settings::Settings;
use pitcrew_tests::fake_github::sim::NewJobs;
use pitcrew_tests::wait;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a machine that builds beside the tests; a condition ends the wait.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const POOL: &str = "
    name: ci
    label: ci-active
    scope: { repository: octo/work }
    members:
      - { name: primary, instances: ['a:9610'], runners: ['a-*'], capacity: 8 }
      - { name: backup, instances: ['b:9610'], runners: ['b-*'], capacity: 4 }
    fail_over_on: [{ alert: RunnerOffline, do: move }, { alert: RunnerHighCPU, do: add }]
    failback: { healthy_for: 300ms, over: 1600ms }
    cooldown: 0s
    trust: auto";

pub(crate) struct Lab {
    pub(crate) github: Arc<FakeGithub>,
    pub(crate) db: Db,
    pub(crate) metrics: Registry,
    pub(crate) told: Arc<Mutex<Vec<Alert>>>,
    store: Arc<dyn Store>,
    active: watch::Sender<Arc<ActiveAlerts>>,
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<PoolsView>>,
    /// Names of the runners whose process lives.
    alive: Arc<Mutex<BTreeSet<String>>>,
    scope: String,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Lab {
    /// The primary's runners carry the label, all are online, nothing fires.
    pub(crate) async fn start(pool: &str) -> Lab {
        Lab::start_with(pool, Lab::settings(), |_| {}).await
    }

    pub(crate) fn settings() -> Settings {
        Settings { offline_after: 5.0, lost_after: 60.0, busy_lag: 0.0, ..Settings::default() }
    }

    pub(crate) async fn start_with(
        pool: &str,
        settings: Settings,
        edit: impl FnOnce(&FakeGithub),
    ) -> Lab {
        Lab::start_over(Arc::new(Tsdb::new(Limits::default())), pool, settings, edit).await
    }

    /// What the exporters say is in `store`.
    pub(crate) async fn start_over(
        store: Arc<dyn Store>,
        pool: &str,
        settings: Settings,
        edit: impl FnOnce(&FakeGithub),
    ) -> Lab {
        let pool: PoolConfig = yaml::parse(Path::new("pool"), pool).unwrap();
        pool.check(Path::new("pool")).unwrap();
        let github = Arc::new(FakeGithub::start(settings).await);
        let scope = pool.scope.to_string();
        let alive = Arc::new(Mutex::new(BTreeSet::new()));
        register_all(&github, &scope, &alive);
        edit(&github);
        let (folder, db) = (tempfile::tempdir().unwrap(), Db::in_memory().unwrap());
        let mut config = github.config(folder.path());
        (config.write_burst, config.timeout) = (1000, Duration::from_secs(3));
        let (active, alerts) = watch::channel(Arc::new(ActiveAlerts::default()));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (commands, inbox) = mpsc::channel(8);
        let (show, view) = watch::channel(Arc::new(PoolsView::default()));
        let stop = CancellationToken::new();
        let mut metrics = Registry::default();
        let lab_metrics = ActionMetrics::new(&mut metrics);
        let mut lab = Lab {
            github,
            db: db.clone(),
            metrics,
            told: Arc::clone(&told),
            store: Arc::clone(&store),
            active,
            commands,
            view,
            alive,
            scope,
            stop: stop.clone(),
            tasks: Vec::new(),
            _folder: folder,
        };
        lab.say("a", 1.0, Some(1.0));
        lab.say("b", 1.0, Some(1.0));
        let (tell, mut inbox_of_people) = mpsc::channel::<Vec<Alert>>(64);
        let run = Actions {
            config: ActionsConfig {
                reconcile_interval: Duration::from_millis(200),
                verify_within: Duration::from_secs(10),
            },
            roster: actions::roster(vec![pool], &db).unwrap(),
            github: client(&config),
            store,
            active: alerts,
            alerts: tell,
            db,
            commands: inbox,
            view: show,
            metrics: lab_metrics,
            stop,
        };
        lab.tasks.push(tokio::spawn(actions::run(run)));
        lab.tasks.push(tokio::spawn(async move {
            while let Some(alerts) = inbox_of_people.recv().await {
                told.lock().unwrap().extend(alerts);
            }
        }));
        lab.tasks.push(tokio::spawn(live(
            Arc::clone(&lab.github),
            Arc::clone(&lab.alive),
            lab.stop.clone(),
        )));
        lab.until("first look", |view| view.state != "unknown").await;
        lab
    }

    /// What the host with this prefix's exporter says: `up`, and its runners' health if it answers.
    pub(crate) fn say(&self, prefix: &str, up: f64, health: Option<f64>) {
        let instance = format!("{prefix}:9610");
        let timestamp = clock::now();
        let mut samples = vec![(
            Labels::from_pairs([("__name__", "up"), ("instance", &instance)]),
            Sample { timestamp, value: up },
        )];
        for n in 1..=8 {
            let runner = format!("{prefix}-{n}");
            for (name, value) in [
                ("runner_health", health.unwrap_or(stale_marker())),
                ("runner_info", health.map_or(stale_marker(), |_| 1.0)),
            ] {
                let pairs = [("__name__", name), ("instance", &*instance), ("runner", &*runner)];
                samples.push((Labels::from_pairs(pairs), Sample { timestamp, value }));
            }
        }
        // A remote one blocks.
        tokio::task::block_in_place(|| self.store.append(&samples)).unwrap();
    }

    /// Exactly these alerts fire now.
    pub(crate) fn fire(&self, alerts: &[Labels]) {
        let now = clock::now();
        let instance = |labels: &Labels| {
            Arc::new(AlertInstance {
                labels: labels.clone(),
                annotations: Arc::default(),
                state: AlertState::Firing,
                value: 1.0,
                active_at: now,
                fired_at: Some(now),
                resolved_at: None,
                keep_firing_since: None,
                last_sent_at: None,
                unverified_since: None,
                changes: Vec::new(),
                flapping_since: None,
            })
        };
        let instances = alerts.iter().map(instance).collect();
        self.active.send_replace(Arc::new(ActiveAlerts { at: now, instances }));
    }

    /// The processes of this host's runners die, its exporter says so, the alerts fire.
    pub(crate) fn kill(&self, prefix: &str) {
        self.alive.lock().unwrap().retain(|name| !name.starts_with(prefix));
        self.say(prefix, 1.0, Some(0.0));
        self.fire(&offline(prefix));
    }

    /// The processes of this host's runners die, and that is all.
    pub(crate) fn silence(&self, prefix: &str) {
        self.alive.lock().unwrap().retain(|name| !name.starts_with(prefix));
    }

    pub(crate) fn heal(&self, prefix: &str, count: usize) {
        let names = (1..=count).map(|n| format!("{prefix}-{n}"));
        self.alive.lock().unwrap().extend(names);
        self.say(prefix, 1.0, Some(1.0));
        self.fire(&[]);
    }

    pub(crate) fn queue(&self, name: &str, count: u32, duration_ms: u64) -> Vec<u64> {
        let name = name.to_owned();
        let new = NewJobs::new("octo/work", &["self-hosted", "ci-active"]);
        let new = NewJobs { name, count, duration_ms, ..new };
        self.github.with(|sim, now| sim.queue(&new, "push", now).1)
    }

    /// Registers a runner anew under the same name, with these labels and another id.
    pub(crate) fn register(&self, name: &str, labels: &[&str]) {
        register(&self.github, &self.scope, name, labels);
    }

    /// A person adds or removes the label by hand.
    pub(crate) fn by_hand(&self, runner: &str, add: bool) {
        self.github.with(|sim, now| {
            let id = sim.runners.values().find(|one| one.name == runner).unwrap().id;
            match add {
                true => sim.add_labels(id, &["ci-active".to_owned()], "hand", now).unwrap(),
                false => sim.remove_label(id, "ci-active", "hand", now).unwrap(),
            }
        });
    }

    pub(crate) fn labelled(&self) -> Vec<String> {
        self.github.with(|sim, _| {
            let has = sim.runners.values().filter(|one| one.has_label("ci-active"));
            let mut names: Vec<String> = has.map(|one| one.name.clone()).collect();
            names.sort();
            names
        })
    }

    /// Every label call of ours that GitHub received, whatever it answered.
    pub(crate) fn writes(&self) -> Vec<String> {
        let ours = |entry: &Entry| {
            let call = entry.what.call.as_deref().unwrap_or("");
            entry.event == Event::Call && !call.starts_with("GET")
        };
        let ledger = self.github.ledger();
        ledger.iter().filter(|entry| ours(entry)).filter_map(|one| one.what.call.clone()).collect()
    }

    /// The effective label changes of ours, in order: `+b-1`, `-a-1`.
    pub(crate) fn moves(&self) -> Vec<String> {
        let ledger = self.github.ledger();
        let ours = ledger.iter().filter(|one| one.what.caller.as_deref() == Some("pitcrew"));
        ours.filter_map(|one| {
            let name = one.what.runner_name.as_deref().unwrap_or("?");
            match one.event {
                Event::LabelAdded => Some(format!("+{name}")),
                Event::LabelRemoved => Some(format!("-{name}")),
                _ => None,
            }
        })
        .collect()
    }

    pub(crate) fn view(&self) -> Option<PoolView> {
        self.view.borrow().pools.first().cloned()
    }

    #[track_caller]
    pub(crate) fn now(&self) -> PoolView {
        self.view().expect("the pool was looked at")
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&PoolView) -> bool) {
        let wait =
            wait::until(SOON * 2, what, async || self.view().is_some_and(|view| holds(&view)));
        if tokio::time::timeout(SOON, wait).await.is_err() {
            panic!("waited in vain: {what}; {}", self.story());
        }
    }

    /// What the pool went through, for the message of a test that failed.
    fn story(&self) -> String {
        let view = self.view().map(|view| {
            let whys: Vec<_> =
                view.members.iter().map(|one| (one.verdict, one.why.clone())).collect();
            (view.state, view.cause, view.error, view.denied, view.notices, whys)
        });
        let steps = self.db.pool_transitions("ci", 20).unwrap();
        format!("{view:#?}\n{steps:#?}\n{:?}", self.moves())
    }

    /// Waits until the pool rests in this state.
    pub(crate) async fn until_state(&self, state: &str) {
        self.until(&format!("state {state}"), |view| view.state == state).await;
    }

    /// Waits until `count` more looks at GitHub's runners have begun.
    pub(crate) async fn looks(&self, count: usize) {
        let seen = || {
            let list = |entry: &&Entry| {
                let call = entry.what.call.as_deref().unwrap_or("");
                entry.event == Event::Call && call.contains("/actions/runners?")
            };
            self.github.ledger().iter().filter(list).count()
        };
        let before = seen();
        wait::until(SOON, "more looks", async || before + count <= seen()).await;
    }

    pub(crate) async fn order(&self, what: What) -> Result<String, CommandError> {
        let (reply, answer) = oneshot::channel();
        let (who, reason) = ("ann".to_owned(), "a test".to_owned());
        self.commands.send(Command { what, who, reason, reply }).await.unwrap();
        answer.await.unwrap()
    }

    pub(crate) async fn until_told(&self, name: &str) -> Alert {
        let find = || {
            let told = self.told.lock().unwrap();
            told.iter().rev().find(|alert| alert.name() == name).cloned()
        };
        self.until(&format!("{name} told"), |_| find().is_some()).await;
        find().unwrap()
    }

    pub(crate) fn journal(&self) -> Vec<pitcrew_alertd::db::journal::Entry> {
        let mut rows = self.db.journal_last(None, 1000).unwrap();
        rows.reverse();
        rows
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// `RunnerOffline` for each runner of the host.
pub(crate) fn offline(prefix: &str) -> Vec<Labels> {
    let count = if prefix == "a" { 8 } else { 4 };
    let alert = |n| {
        let (instance, runner) = (format!("{prefix}:9610"), format!("{prefix}-{n}"));
        Labels::from_pairs([
            ("alertname", "RunnerOffline".to_owned()),
            ("instance", instance),
            ("runner", runner),
        ])
    };
    (1..=count).map(alert).collect()
}

fn client(config: &GithubConfig) -> Github {
    rustls::crypto::ring::default_provider().install_default().ok();
    Github::new(config, GithubMetrics::new(&mut Registry::default(), "pitcrew_alertd")).unwrap()
}

pub(crate) fn register_all(github: &FakeGithub, scope: &str, alive: &Mutex<BTreeSet<String>>) {
    for (prefix, count, labels) in [("a", 8, &["ci-active"][..]), ("b", 4, &[])] {
        for n in 1..=count {
            let name = format!("{prefix}-{n}");
            register(github, scope, &name, labels);
            alive.lock().unwrap().insert(name);
        }
    }
    poll_all(github, alive);
}

fn register(github: &FakeGithub, scope: &str, name: &str, labels: &[&str]) {
    let new = NewRunner {
        name: name.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        scope: scope.to_owned(),
        os: "Linux".to_owned(),
        group: "Default".to_owned(),
        ephemeral: false,
    };
    github.with(|sim, now| sim.register(&new, now));
}

/// Every living runner keeps in touch, takes jobs and ends them.
pub(crate) async fn live(
    github: Arc<FakeGithub>,
    alive: Arc<Mutex<BTreeSet<String>>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        poll_all(&github, &alive);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn poll_all(github: &FakeGithub, alive: &Mutex<BTreeSet<String>>) {
    let alive = alive.lock().unwrap().clone();
    github.with(|sim, now| {
        let runners: Vec<_> = sim.runners.values().cloned().collect();
        for runner in runners.into_iter().filter(|runner| alive.contains(&runner.name)) {
            let Some(job) = runner.job.and_then(|id| sim.jobs.get(&id).cloned()) else {
                sim.poll(runner.id, &runner.token, now).ok();
                continue;
            };
            let over = job.started.is_some_and(|at| at + job.duration_ms as f64 / 1000.0 <= now);
            let said = match over {
                true => sim.complete(runner.id, &runner.token, job.id, "success", now),
                false => sim.heartbeat(runner.id, &runner.token, job.id, now),
            };
            said.ok();
        }
    });
}
