//! The two programs side by side: started alike, asked alike, measured alike.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitcrew_tests::measure::{self, processor_seconds, resident_megabytes};
use pitcrew_tests::process::{Process, free_address};
use pitcrew_tests::{peers, programs, wait};
use reqwest::Client;
use serde_json::Value;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Pitcrew,
    Prometheus,
}

pub(super) struct Side {
    pub(super) name: Name,
    pub(super) folder: PathBuf,
    url: String,
    process: Process,
    client: Client,
    config: PathBuf,
}

impl Side {
    pub(super) async fn start(name: Name, folder: &Path) -> Result<Side> {
        fs::create_dir_all(folder)?;
        let address = free_address();
        let config = folder.join("config.yaml");
        fs::write(&config, configuration(name, None))?;
        let (config_text, data) = (config.display().to_string(), folder.join("data"));
        let process = match name {
            Name::Prometheus => Process::start(
                &peers::prometheus(),
                &[
                    format!("--config.file={config_text}"),
                    format!("--storage.tsdb.path={}", data.display()),
                    format!("--web.listen-address={address}"),
                    "--web.enable-remote-write-receiver".to_owned(),
                    "--web.enable-lifecycle".to_owned(),
                    "--web.enable-admin-api".to_owned(),
                    "--log.level=error".to_owned(),
                ],
            ),
            Name::Pitcrew => Process::start(
                &programs::workspace().join("target/release/pitcrew-alertd"),
                &[
                    "run".to_owned(),
                    format!("--config={config_text}"),
                    format!("--data-dir={}", data.display()),
                    format!("--listen={address}"),
                ],
            ),
        };
        let side = Side {
            name,
            folder: folder.to_owned(),
            url: format!("http://{address}"),
            process,
            client: Client::builder().timeout(Duration::from_secs(120)).build()?,
            config,
        };
        let ready = format!("{}/-/ready", side.url);
        wait::until(Duration::from_secs(120), "ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Ok(side)
    }

    pub(super) fn process(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn cpu(&self) -> Result<f64> {
        processor_seconds(self.process.pid())
    }

    pub(super) fn memory(&self) -> Result<f64> {
        resident_megabytes(self.process.pid())
    }

    pub(super) async fn write(&self, body: Vec<u8>) -> Result<()> {
        measure::write(&self.client, &self.url, body).await
    }

    /// The answer's `data`.
    pub(super) async fn ask(&self, path: &str, form: &[(&str, String)]) -> Result<Value> {
        let answer = self.client.get(format!("{}{path}", self.url)).query(form).send().await?;
        let mut value: Value = answer.json().await?;
        ensure!(value["status"] == "success", "{path}: {value}");
        Ok(value["data"].take())
    }

    /// Only fetches: the client's own work on the answer is none of the server's time.
    pub(super) async fn fetch(&self, path: &str, form: &[(&str, String)]) -> Result<usize> {
        let answer = self.client.get(format!("{}{path}", self.url)).query(form).send().await?;
        Ok(answer.error_for_status()?.bytes().await?.len())
    }

    /// From now on evaluates the rules of this file.
    pub(super) async fn rules(&self, file: &Path) -> Result<()> {
        fs::write(&self.config, configuration(self.name, Some(file)))?;
        match self.name {
            Name::Prometheus => {
                let url = format!("{}/-/reload", self.url);
                self.client.post(url).send().await?.error_for_status()?;
            }
            Name::Pitcrew => {
                let pid = rustix::process::Pid::from_raw(self.process.pid().cast_signed());
                let pid = pid.context("a process number")?;
                rustix::process::kill_process(pid, rustix::process::Signal::HUP)?;
            }
        }
        Ok(())
    }

    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        let page = self.client.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let lines = page.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    pub(super) async fn end(self) -> Result<()> {
        let code = self.process.terminate().await;
        ensure!(code == Some(0), "ended with {code:?}");
        Ok(())
    }

    pub(super) async fn kill(self) {
        self.process.kill().await;
    }

    pub(super) async fn post(&self, path: &str) -> Result<Value> {
        let mut request = self.client.post(format!("{}{path}", self.url));
        if self.name == Name::Pitcrew {
            let token = fs::read_to_string(self.folder.join("data/operator-token"))?;
            request = request.bearer_auth(token.trim());
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}

/// Nothing is scraped, and rules come when they are asked for.
fn configuration(name: Name, rules: Option<&Path>) -> String {
    let files = rules.map_or(String::new(), |file| format!("rule_files: [{}]\n", file.display()));
    let more = match name {
        Name::Prometheus => "",
        Name::Pitcrew => "metrics: { embedded: { max_series: 3000000 } }\n",
    };
    format!("global: {{ evaluation_interval: 10s }}\n{files}{more}")
}
