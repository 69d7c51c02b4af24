//! The stage: simulator, two hosts' worth of exporters over fake runners, alertd, a Slack.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::fake_github::secret_file;
use crate::fake_github::settings::TOKEN;
use crate::fake_runner::{FakeHost, Options};
use crate::fake_webhook::FakeWebhook;
use crate::process::{Process, free_address, tls};
use crate::{programs, wait};

pub const REPOSITORY: &str = "acme/shop";
pub const LABEL: &str = "ci-active";
pub const PRIMARY_RUNNERS: usize = 8;
pub const BACKUP_RUNNERS: usize = 4;
/// What the pool's jobs ask for, as metrics tell it.
pub const ASKED_FOR: &str = "ci-active,self-hosted";

const HOOK_SECRET: &str = "the simulator signs with this";
const SCRAPE: Duration = Duration::from_secs(1);
const EVALUATION: Duration = Duration::from_secs(1);
/// What `for` of each bundled rule is shortened to.
const HOLD: Duration = Duration::from_secs(2);
/// From the kill to the label on the backup at GitHub.
pub const PROMISE: Duration =
    Duration::from_secs(SCRAPE.as_secs() + EVALUATION.as_secs() + HOLD.as_secs() + 1);

/// Everything that runs; dropping it ends everything.
pub struct Stage {
    pub alertd_url: String,
    pub github_url: String,
    /// The exporter that hears of workflows.
    pub exporter_url: String,
    pub slack: FakeWebhook,
    pub primary: FakeHost,
    pub backup: FakeHost,
    queueing: Arc<AtomicBool>,
    client: reqwest::Client,
    _programs: Vec<Process>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// Starts all of it, in the order in which one needs the other.
    pub async fn set() -> anyhow::Result<Stage> {
        tls();
        let folder = tempfile::tempdir()?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let mut running = Vec::new();
        let quiet = std::process::Stdio::null;

        let address = free_address();
        let github_url = format!("http://{address}");
        let settings = folder.path().join("simulator.json");
        let listens = [free_address(), free_address()];
        let exporter_url = format!("http://{}", listens[0]);
        let hook = json!({ "id": 1, "url": format!("{exporter_url}/webhooks/github"),
            "secret": HOOK_SECRET, "scope": REPOSITORY });
        // GitHub's own lags, shortened like everything else here.
        let lags = json!({ "offline_after": 3.0, "lost_after": 6.0, "busy_lag": 1.0,
            // At this pace an hour of reading comes together in minutes.
            "rate_limit": 1_000_000, "secondary_points": 1_000_000, "secondary_writes": 1_000_000,
            "webhooks": [hook] });
        fs::write(&settings, lags.to_string())?;
        let arguments = ["--listen", &address, "--settings", &settings.to_string_lossy()];
        running.push(Process::with_output(&programs::fake_github(), &arguments, quiet()));
        reachable(&client, &format!("{github_url}/_sim/settings")).await;

        let primary = host(&github_url, "dell-r640-01", PRIMARY_RUNNERS, &[LABEL]).await?;
        let backup = host(&github_url, "serotonin", BACKUP_RUNNERS, &[]).await?;
        secret_file(folder.path(), "github-token", TOKEN);
        secret_file(folder.path(), "webhook-secret", HOOK_SECRET);
        let workflows = workflows_config(&github_url);
        let mut instances = Vec::new();
        for (name, fakes, listen, more) in [
            ("primary", &primary, &listens[0], workflows.as_str()),
            ("backup", &backup, &listens[1], ""),
        ] {
            let config = folder.path().join(format!("exporter-{name}.yaml"));
            fs::write(&config, exporter_config(listen, &fakes.roots()) + more)?;
            let arguments = ["run", "--log", "warn", "--config", &config.to_string_lossy()];
            running.push(Process::with_output(&programs::exporter(), &arguments, quiet()));
            reachable(&client, &format!("http://{listen}/-/ready")).await;
            instances.push(listen.clone());
        }

        let slack = FakeWebhook::slack().await;
        let listen = free_address();
        let config = alertd_files(folder.path(), &listen, &github_url, &slack.url, &instances)?;
        let arguments = ["run", "--config", &config.to_string_lossy()];
        running.push(Process::with_output(&programs::alertd(), &arguments, quiet()));
        let alertd_url = format!("http://{listen}");
        reachable(&client, &format!("{alertd_url}/-/ready")).await;
        Ok(Stage {
            alertd_url,
            github_url,
            exporter_url,
            slack,
            primary,
            backup,
            queueing: Arc::default(),
            client,
            _programs: running,
            _folder: folder,
        })
    }

    /// Queues jobs that ask for the pool's label.
    pub async fn queue(&self, count: usize, milliseconds: u64) -> anyhow::Result<()> {
        queue(&self.client, &self.github_url, count, milliseconds).await
    }

    /// Queues a job behind an environment's gate; its id.
    pub async fn queue_gated(&self) -> anyhow::Result<u64> {
        let job = json!({ "repository": REPOSITORY, "labels": ["self-hosted", LABEL],
            "workflow": "Deploy", "waiting": true });
        let sent = self.client.post(format!("{}/_sim/jobs", self.github_url)).json(&job).send();
        let answer: serde_json::Value = sent.await?.error_for_status()?.json().await?;
        answer["jobs"][0].as_u64().context("the job's id")
    }

    /// Opens its gate.
    pub async fn approve(&self, job: u64) -> anyhow::Result<()> {
        let url = format!("{}/_sim/jobs/{job}/approve", self.github_url);
        self.client.post(url).send().await?.error_for_status().context("approving")?;
        Ok(())
    }

    /// From now on a job arrives twice a second.
    pub fn keep_queueing(&self) {
        self.queueing.store(true, Ordering::SeqCst);
        let (on, client, url) =
            (Arc::clone(&self.queueing), self.client.clone(), self.github_url.clone());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(700));
            while on.load(Ordering::SeqCst) {
                ticks.tick().await;
                // The simulator's end is the end of the stage.
                if queue(&client, &url, 1, 2000).await.is_err() {
                    return;
                }
            }
        });
    }

    pub fn stop_queueing(&self) {
        self.queueing.store(false, Ordering::SeqCst);
    }

    /// kill -9 of every listener and worker of the primary.
    pub async fn kill_primary(&mut self) {
        self.primary.kill_all().await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop_queueing();
    }
}

async fn queue(
    client: &reqwest::Client,
    url: &str,
    count: usize,
    milliseconds: u64,
) -> anyhow::Result<()> {
    let jobs = json!({
        "repository": REPOSITORY,
        "labels": ["self-hosted", LABEL],
        "duration_ms": milliseconds,
        "count": count,
    });
    let sent = client.post(format!("{url}/_sim/jobs")).json(&jobs).send().await?;
    sent.error_for_status().context("queueing jobs")?;
    Ok(())
}

async fn host(url: &str, name: &str, count: usize, labels: &[&str]) -> anyhow::Result<FakeHost> {
    FakeHost::start(Options {
        program: programs::fake_runner(),
        github: url.to_owned(),
        name: name.to_owned(),
        count,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        scope: REPOSITORY.to_owned(),
        group: "Default".to_owned(),
    })
    .await
}

async fn reachable(client: &reqwest::Client, url: &str) {
    wait::until(Duration::from_secs(20), url, async || {
        client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

/// Both ways in which workflows are heard of: webhooks, and polls for what these do not tell.
fn workflows_config(github: &str) -> String {
    format!(
        "data_dir: exporter
github:
  base_url: {github}
  auth: {{ token_file: github-token }}
  scopes: [ {{ repository: {REPOSITORY} }} ]
  webhook_secret_file: webhook-secret
"
    )
}

fn exporter_config(listen: &str, roots: &Path) -> String {
    format!(
        "listen: {listen}\ncollectors:\n  runner:\n    roots: [\"{}\"]\n    rescan: 1s\n",
        roots.display()
    )
}

/// Writes alertd's files into `folder`; the path of alertd.yaml.
fn alertd_files(
    folder: &Path,
    listen: &str,
    github: &str,
    slack: &str,
    instances: &[String],
) -> anyhow::Result<PathBuf> {
    let rules = folder.join("rules");
    fs::create_dir(&rules)?;
    for entry in fs::read_dir(programs::workspace().join("rules"))? {
        let path = entry?.path();
        let text = shortened(&fs::read_to_string(&path)?);
        fs::write(rules.join(path.file_name().context("a rule file has a name")?), text)?;
    }
    fs::write(folder.join("alertmanager.yaml"), notifications(slack))?;
    let file = folder.join("alertd.yaml");
    fs::write(&file, alertd_config(listen, github, instances))?;
    Ok(file)
}

/// The rules with each `for` at the stage's hold; nothing else is changed.
pub fn shortened(rules: &str) -> String {
    let hold = format!("for: {}s", HOLD.as_secs());
    let line = |line: &str| match line.trim_start().strip_prefix("for: ") {
        Some(_) => line.replace(line.trim_start(), &hold),
        None => line.to_owned(),
    };
    rules.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn notifications(slack: &str) -> String {
    format!(
        "route:
  receiver: team
  group_by: [alertname]
  group_wait: 0s
  group_interval: 5s
  repeat_interval: 1h
  routes:
    - receiver: nobody
      # The load of the machine that plays this is no part of the story.
      matchers: ['alertname=~\"Watchdog|RunnerHigh.+\"']
receivers:
  - name: nobody
  - name: team
    slack_configs:
      - api_url: {slack}
        channel: '#ci'
        send_resolved: true
"
    )
}

fn alertd_config(listen: &str, github: &str, instances: &[String]) -> String {
    let [primary, backup] = instances else { return String::new() };
    format!(
        "listen: {listen}
data_dir: data
global:
  scrape_interval: {scrape}s
  scrape_timeout: {scrape}s
  evaluation_interval: {evaluation}s
scrape_configs:
  - job_name: pitcrew-exporter
    static_configs:
      - targets: ['{primary}', '{backup}']
rule_files: ['rules/*.yaml']
notifications: alertmanager.yaml
github:
  base_url: {github}
  auth: {{ token_file: github-token }}
actions:
  reconcile_interval: 1s
pools:
  - name: ci
    label: {LABEL}
    scope: {{ repository: {REPOSITORY} }}
    members:
      - {{ name: primary, instances: ['{primary}'], runners: ['dell-r640-01-*'], capacity: {PRIMARY_RUNNERS} }}
      - {{ name: backup, instances: ['{backup}'], runners: ['serotonin-*'], capacity: {BACKUP_RUNNERS} }}
    standby: cold
    fail_over_on: [ {{ alert: RunnerOffline, do: move }} ]
    down_when: {{ healthy_below: 50% }}
    min_healthy: 1
    failback: {{ healthy_for: 4s, over: 12s }}
    cooldown: 5s
    trust: auto
",
        scrape = SCRAPE.as_secs(),
        evaluation = EVALUATION.as_secs(),
    )
}
