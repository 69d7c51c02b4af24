//! Alertd on one side, Debian's Prometheus with its Alertmanager on the other: started alike,
//! given the same, measured alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitcrew_tests::alertmanager::Alertmanager;
use pitcrew_tests::measure::{self, peak_megabytes, processor_seconds, resident_megabytes};
use pitcrew_tests::process::{Process, free_address};
use pitcrew_tests::{peers, programs, wait};
use reqwest::Client;

pub(super) struct Side {
    url: String,
    process: Process,
    alertmanager: Option<Alertmanager>,
    client: Client,
    folder: PathBuf,
}

/// What both sides are configured with.
pub(super) struct Setup<'a> {
    /// The rule file's text.
    pub(super) rules: &'a str,
    /// Alertmanager's file.
    pub(super) notifications: &'a str,
    /// What more alertd's own file says.
    pub(super) more: &'a str,
}

impl Side {
    pub(super) async fn ours(folder: &Path, setup: &Setup<'_>) -> Result<Side> {
        let address = free_address();
        files(folder, setup)?;
        let config = folder.join("alertd.yaml");
        let text = format!(
            "data_dir: data\nlisten: {address}\nrule_files: [rules.yaml]\nnotifications: alertmanager.yaml\n{}",
            setup.more
        );
        fs::write(&config, text)?;
        let program = programs::workspace().join("target/release/pitcrew-alertd");
        let arguments = ["run".to_owned(), format!("--config={}", config.display())];
        let process = Process::start(&program, &arguments);
        Side::ready(folder, address, process, None).await
    }

    pub(super) async fn theirs(folder: &Path, setup: &Setup<'_>) -> Result<Side> {
        let address = free_address();
        files(folder, setup)?;
        let alertmanager = Alertmanager::start(&folder.join("alertmanager.yaml")).await;
        let target = alertmanager.url.trim_start_matches("http://");
        let config = folder.join("prometheus.yml");
        let text = format!(
            "rule_files: [rules.yaml]\nalerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: ['{target}'] }} ] }} ] }}\n"
        );
        fs::write(&config, text)?;
        let process = Process::start(
            &peers::prometheus(),
            &[
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                format!("--web.listen-address={address}"),
                "--web.enable-remote-write-receiver".to_owned(),
                "--log.level=error".to_owned(),
            ],
        );
        Side::ready(folder, address, process, Some(alertmanager)).await
    }

    async fn ready(
        folder: &Path,
        address: String,
        process: Process,
        alertmanager: Option<Alertmanager>,
    ) -> Result<Side> {
        let client = Client::builder().timeout(Duration::from_secs(60)).build()?;
        let url = format!("http://{address}");
        let ready = format!("{url}/-/ready");
        wait::until(Duration::from_secs(60), "ready", async || {
            let answer = client.get(&ready).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Ok(Side { url, process, alertmanager, client, folder: folder.to_owned() })
    }

    /// Seconds of all its processes.
    pub(super) fn cpu(&self) -> Result<f64> {
        self.pids().map(processor_seconds).sum()
    }

    /// Megabytes of all its processes.
    pub(super) fn memory(&self) -> Result<f64> {
        self.pids().map(resident_megabytes).sum()
    }

    /// The most that it ever was.
    pub(super) fn peak(&self) -> Result<f64> {
        self.pids().map(peak_megabytes).sum()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        let second = self.alertmanager.as_ref().map(Alertmanager::pid);
        [self.process.pid()].into_iter().chain(second)
    }

    pub(super) async fn write(&self, body: Vec<u8>) -> Result<()> {
        measure::write(&self.client, &self.url, body).await
    }

    /// To Alertmanager's API of this side.
    pub(super) async fn post_alerts(&self, alerts: &serde_json::Value) -> Result<()> {
        let request = self.client.post(format!("{}/api/v2/alerts", self.board())).json(alerts);
        let answer = self.signed(request)?.send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{status}: {}", answer.text().await?);
        Ok(())
    }

    /// The whole list of alerts, as text.
    pub(super) async fn alerts(&self) -> Result<String> {
        let request = self.client.get(format!("{}/api/v2/alerts", self.board()));
        Ok(self.signed(request)?.send().await?.error_for_status()?.text().await?)
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder> {
        if self.alertmanager.is_some() {
            return Ok(request);
        }
        let token = fs::read_to_string(self.folder.join("data/operator-token"))?;
        Ok(request.bearer_auth(token.trim()))
    }

    fn board(&self) -> &str {
        self.alertmanager.as_ref().map_or(&self.url, |alertmanager| &alertmanager.url)
    }

    /// The sum of the samples whose line begins so, on the page of alertd or Prometheus.
    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        Ok(self.samples(name).await?.into_iter().sum())
    }

    /// The largest of them.
    pub(super) async fn most(&self, name: &str) -> Result<f64> {
        Ok(self.samples(name).await?.into_iter().fold(0.0, f64::max))
    }

    async fn samples(&self, name: &str) -> Result<Vec<f64>> {
        let page = self.client.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let lines = page.lines().filter(|line| line.starts_with(name));
        Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).collect())
    }

    /// What alertd counts of what went wrong: rounds missed, alerts deferred or dropped, flushes or
    /// states not written.
    pub(super) async fn check(&self) -> Result<()> {
        for name in [
            "rule_group_iterations_missed_total",
            "rule_alerts_deferred_total",
            "rule_state_save_failures_total",
            "alerts_dropped_total",
            "group_flush_failures_total",
            "notification_possible_repeats_total",
        ] {
            let count = self.metric(&format!("pitcrew_alertd_{name}")).await?;
            ensure!(count == 0.0, "{name}: {count}");
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<()> {
        let code = self.process.terminate().await;
        ensure!(code == Some(0), "ended with {code:?}");
        Ok(())
    }
}

fn files(folder: &Path, setup: &Setup<'_>) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(folder.join("rules.yaml"), setup.rules)?;
    fs::write(folder.join("alertmanager.yaml"), setup.notifications)?;
    Ok(())
}
