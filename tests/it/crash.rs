//! The real program is killed with signal 9 at each step of its journal, and ends right every time.
//!
//! The simulator lets the k-th call hang, before or after it took effect; the kill comes while it
//! hangs. So a kill falls between intent and effect, between effect and outcome, and between an
//! outcome and the read-back that follows.
#![expect(clippy::print_stdout, reason = "the number of kills is a figure to be read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitcrew_exporter::clock;
use pitcrew_tests::fake_github::fault::{Fault, Kind};
use pitcrew_tests::fake_github::ledger::Event;
use pitcrew_tests::fake_github::settings::{Settings, TOKEN};
use pitcrew_tests::fake_github::{FakeGithub, secret_file};
use pitcrew_tests::fake_target::{Answer, FakeTarget, TEXT};
use pitcrew_tests::process::{self, Process};
use pitcrew_tests::programs;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::failover::lab;

/// Kills in `make test`; `make sweep` asks for more.
const SHORT: usize = 14;
const LIMIT: Duration = Duration::from_secs(60);

/// Where the hanging call is: so many fitting calls pass before it.
#[derive(Debug, Clone, Copy)]
struct Point {
    path: &'static str,
    method: Option<&'static str>,
    pass: u32,
    effect: bool,
}

pub(crate) struct World {
    pub(crate) github: Arc<FakeGithub>,
    hosts: [FakeTarget; 2],
    alive: Arc<Mutex<BTreeSet<String>>>,
    config: PathBuf,
    pub(crate) url: String,
    stop: CancellationToken,
    pub(crate) folder: tempfile::TempDir,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_it_ends_right() {
    process::tls();
    let wanted = std::env::var("PITCREW_SWEEP").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(SHORT);
    // The short form strides; the long one stops at every single call.
    let stride = if wanted > SHORT { 0 } else { 3 };
    let (mut kills, mut survived, mut rounds) = (0, 0, 0);
    while kills < wanted {
        let world = World::start().await;
        for stage in ["failover", "failback"] {
            world.turn(stage);
            let (mut number, mut here) = (0, 0);
            loop {
                let point = point(number, stride);
                number += 1;
                match world.run_until(stage, point).await {
                    Met::Killed => here += 1,
                    Met::Rest(program) => {
                        world.check(stage).await;
                        // One more kill, at rest: the next stage starts from what is on disk.
                        program.kill().await;
                        here += 1;
                        break;
                    }
                }
            }
            kills += here;
            survived += here;
        }
        rounds += 1;
    }
    println!("crash sweep: {kills} kills in {rounds} rounds, {survived} survived");
}

/// Writes before and after their effect by turns, and every few of them a list of runners.
fn point(number: u32, stride: u32) -> Point {
    let label = |pass, effect| Point { path: "/labels", method: None, pass, effect };
    let list = |pass| Point { path: "/actions/runners", method: Some("GET"), pass, effect: false };
    match number % 5 {
        0 => label(0, false),
        1 => label(stride, true),
        2 => label(stride, false),
        3 => label(0, true),
        // The first list of a life is before any decision, the second reads a change back.
        _ => list(number / 5 % 3),
    }
}

enum Met {
    /// The call hung and the program was killed.
    Killed,
    /// It came to rest without meeting the point.
    Rest(Process),
}

impl World {
    pub(crate) async fn start() -> World {
        let settings = Settings {
            offline_after: 5.0,
            busy_lag: 0.0,
            secondary_writes: 100_000,
            secondary_points: 100_000_000,
            rate_limit: 100_000_000,
            ..Settings::default()
        };
        let github = Arc::new(FakeGithub::start(settings).await);
        let alive = Arc::new(Mutex::new(BTreeSet::new()));
        lab::register_all(&github, "octo/work", &alive);
        let hosts = [FakeTarget::page("").await, FakeTarget::page("").await];
        let folder = tempfile::tempdir().unwrap();
        let listen = process::free_address();
        let token_file = secret_file(folder.path(), "token", TOKEN);
        let rules =
            "groups: [{ name: g, rules: [{ alert: RunnerOffline, expr: runner_health == 0 }] }]";
        fs::write(folder.path().join("rules.yaml"), rules).unwrap();
        let [a, b] = [&hosts[0].address, &hosts[1].address];
        let config = format!(
            "
listen: {listen}
data_dir: {data}
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }}
scrape_configs:
  - {{ job_name: runners, static_configs: [{{ targets: ['{a}', '{b}'] }}] }}
rule_files: [rules.yaml]
github:
  base_url: {url}
  auth: {{ token_file: {token} }}
  write_burst: 1000
actions: {{ reconcile_interval: 300ms, verify_within: 5s }}
pools:
  - name: ci
    label: ci-active
    scope: {{ repository: octo/work }}
    members:
      - {{ name: primary, instances: ['{a}'], runners: ['a-*'], capacity: 8 }}
      - {{ name: backup, instances: ['{b}'], runners: ['b-*'], capacity: 4 }}
    failback: {{ healthy_for: 200ms, over: 400ms }}
    cooldown: 0s
    trust: auto
",
            data = folder.path().join("data").display(),
            url = github.url,
            token = token_file.display(),
        );
        let file = folder.path().join("alertd.yaml");
        fs::write(&file, config).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(lab::live(Arc::clone(&github), Arc::clone(&alive), stop.clone()));
        let url = format!("http://{listen}");
        let world = World { github, hosts, alive, config: file, url, stop, folder };
        world.turn("failback");
        world
    }

    /// The primary is dead in the stage `failover` and alive in the stage `failback`.
    fn turn(&self, stage: &str) {
        let dead = stage == "failover";
        let mut alive = self.alive.lock().unwrap();
        for (host, prefix, count) in [(&self.hosts[0], "a", 8), (&self.hosts[1], "b", 4)] {
            let dies = dead && prefix == "a";
            let mut page = String::new();
            for n in 1..=count {
                let name = format!("{prefix}-{n}");
                page.push_str(&format!("runner_health{{runner=\"{name}\"}} {}\n", u8::from(!dies)));
                page.push_str(&format!("runner_info{{runner=\"{name}\"}} 1\n"));
                if dies {
                    alive.remove(&name)
                } else {
                    alive.insert(name)
                };
            }
            host.set(Answer::Page(TEXT, page));
        }
    }

    /// Starts the program and kills it while the call at `point` hangs.
    async fn run_until(&self, stage: &str, point: Point) -> Met {
        let fault = |kind, times, effect| Fault {
            method: point.method.map(str::to_owned),
            path: point.path.to_owned(),
            times: Some(times),
            effect,
            kind,
        };
        if point.pass > 0 {
            self.github.set_fault(fault(Kind::Latency(0), point.pass, true));
        }
        self.github.set_fault(fault(Kind::Hang, 1, point.effect));
        let mut program = self.program();
        let began = clock::monotonic();
        loop {
            if self.github.faults_left() == 0 {
                program.kill().await;
                return Met::Killed;
            }
            if self.is_done(stage).await {
                self.github.clear_faults();
                return Met::Rest(program);
            }
            let over = program.child().try_wait().unwrap();
            assert!(over.is_none(), "{stage} {point:?}: the program ended by itself: {over:?}");
            assert!(began.elapsed() < LIMIT, "{stage} {point:?}: {}", self.story().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn program(&self) -> Process {
        let arguments = ["run".as_ref(), "--config".as_ref(), self.config.as_os_str()];
        Process::start(&programs::alertd(), &arguments)
    }

    async fn is_done(&self, stage: &str) -> bool {
        let (carriers, state) = match stage {
            "failover" => ("b", "on_backup"),
            _ => ("a", "normal"),
        };
        let right = self.github.with(|sim, _| {
            sim.runners
                .values()
                .all(|one| one.has_label("ci-active") == one.name.starts_with(carriers))
        });
        if !right {
            return false;
        }
        let pools = self.get("/api/pools/ci").await;
        pools.pointer("/data/state").and_then(Value::as_str) == Some(state)
            && self.journal().await.iter().all(|row| !row["outcome"].is_null())
    }

    /// Each label of the stage changed once, the new ones first; each change is in the journal
    /// with its one success, and no intent is without an outcome.
    async fn check(&self, stage: &str) {
        let mut moves = Vec::new();
        let mut effects: BTreeMap<(String, String), usize> = BTreeMap::new();
        for entry in self.github.ledger() {
            let action = match entry.event {
                Event::LabelAdded => "add_label",
                Event::LabelRemoved => "remove_label",
                _ => continue,
            };
            let name = entry.what.runner_name.unwrap();
            *effects.entry((action.to_owned(), name.clone())).or_default() += 1;
            moves.push((action, name));
        }
        let all = if stage == "failover" { 12 } else { 24 };
        assert_eq!(moves.len(), all, "{stage}: {moves:?}");
        let last = &moves[all - 12..];
        let adds = if stage == "failover" { 4 } else { 8 };
        let (first, then) = last.split_at(adds);
        assert!(first.iter().all(|one| one.0 == "add_label"), "{stage}: {moves:?}");
        assert!(then.iter().all(|one| one.0 == "remove_label"), "{stage}: {moves:?}");

        let mut journaled: BTreeMap<(String, String), usize> = BTreeMap::new();
        for row in self.journal().await {
            let text = |key: &str| row[key].as_str().unwrap_or("").to_owned();
            assert!(!text("outcome").is_empty(), "{stage}: {row}");
            if text("action").ends_with("_label") && text("outcome").starts_with("done") {
                *journaled.entry((text("action"), text("target"))).or_default() += 1;
            }
        }
        assert_eq!(journaled, effects, "{stage}: {}", self.story().await);
    }

    async fn journal(&self) -> Vec<Value> {
        let answer = self.get("/api/journal?pool=ci&limit=1000").await;
        answer.pointer("/data").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// `null` while the program does not answer.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5));
        let request = client.build().unwrap().get(format!("{}{path}", self.url));
        match request.send().await {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }

    async fn story(&self) -> String {
        let pool = self.get("/api/pools/ci").await;
        serde_json::to_string_pretty(&pool).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
