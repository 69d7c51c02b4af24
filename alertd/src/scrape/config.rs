//! `global` and `scrape_configs`: the keys of Prometheus that are supported, with its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

mod discovery;
mod job;
pub mod protocol;
pub mod size;
mod supported;

pub(super) use discovery::is_address;
pub use discovery::{FileSdConfig, HttpSdConfig, StaticConfig};
pub use job::{MAX_SAMPLES, NameScheme, Scheme, ScrapeConfig};
use protocol::Protocol;
use size::Size;

use crate::model::causes::causes;

/// What scraping runs on: checked, with defaults filled in and paths made absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    pub global: GlobalConfig,
    pub jobs: Vec<ScrapeConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalConfig {
    /// Time between two scrapes of one target.
    #[serde(with = "duration")]
    pub scrape_interval: Duration,
    /// Longest wait for one answer; `None`: 10s, or the interval where that is shorter.
    #[serde(with = "duration::optional")]
    pub scrape_timeout: Option<Duration>,
    /// Time between two evaluations of a rule group that names none.
    #[serde(with = "duration")]
    pub evaluation_interval: Duration,
    /// Labels that everything sent to other systems carries; not added to stored series.
    pub external_labels: BTreeMap<String, String>,
    // Each of these is for the jobs that have 0, or nothing, there.
    pub sample_limit: usize,
    pub target_limit: usize,
    pub label_limit: usize,
    pub label_name_length_limit: usize,
    pub label_value_length_limit: usize,
    pub body_size_limit: Size,
    pub keep_dropped_targets: usize,
    pub scrape_protocols: Option<Vec<Protocol>>,
    pub metric_name_validation_scheme: Option<NameScheme>,
}

impl Default for GlobalConfig {
    fn default() -> GlobalConfig {
        GlobalConfig {
            scrape_interval: Duration::from_secs(30),
            scrape_timeout: None,
            evaluation_interval: Duration::from_secs(60),
            external_labels: BTreeMap::new(),
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            body_size_limit: Size(0),
            keep_dropped_targets: 0,
            scrape_protocols: None,
            metric_name_validation_scheme: None,
        }
    }
}

impl Settings {
    /// Checks what types cannot say and makes relative paths start at the folder of `file`. No IO.
    pub fn new(
        global: GlobalConfig,
        mut jobs: Vec<ScrapeConfig>,
        file: &Path,
    ) -> Result<Settings, Invalid> {
        global.check(file)?;
        let mut names = BTreeSet::new();
        for job in &mut jobs {
            job.inherit(&global);
            job.check(&global, file)?;
            if !names.insert(job.job_name.clone()) {
                let found = format!("{:?} a second time", job.job_name);
                return Err(Invalid::value(
                    file,
                    "scrape_configs.job_name",
                    "a name of its own for each job",
                    found,
                ));
            }
            job.start_paths_at(file.parent().unwrap_or(Path::new("")));
        }
        Ok(Settings { global, jobs })
    }

    /// Reads every secret and certificate once, to find out whether it can be used;  `file` is only for the message.
    pub fn check_secrets(&self, file: &Path) -> Result<(), Invalid> {
        for job in &self.jobs {
            let discovery = job.http_sd_configs.iter().map(|config| &config.http);
            for http in discovery.chain([&job.http]) {
                http.check_files().map_err(|error| {
                    let key = format!("scrape_configs[{}]", job.job_name);
                    Invalid::value(file, key, "files that can be used", causes(&error))
                })?;
            }
        }
        Ok(())
    }
}

impl GlobalConfig {
    /// Longest wait for one answer in a job that says none.
    pub fn timeout(&self) -> Duration {
        self.scrape_timeout.unwrap_or(Duration::from_secs(10).min(self.scrape_interval))
    }

    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        for (key, time) in [
            ("global.scrape_interval", self.scrape_interval),
            ("global.scrape_timeout", self.timeout()),
            ("global.evaluation_interval", self.evaluation_interval),
        ] {
            positive(file, key, time)?;
        }
        if self.timeout() > self.scrape_interval {
            let expected =
                format!("at most scrape_interval ({})", duration::format(self.scrape_interval));
            let found = duration::format(self.timeout());
            return Err(Invalid::value(file, "global.scrape_timeout", expected, found));
        }
        check_labels(file, "global.external_labels", &self.external_labels)
    }
}

fn positive(file: &Path, key: &str, time: Duration) -> Result<(), Invalid> {
    match time.is_zero() {
        true => Err(Invalid::value(file, key, "more than 0s", "0s")),
        false => Ok(()),
    }
}

fn check_labels(file: &Path, key: &str, labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    match labels.keys().find(|name| !is_label_name(name)) {
        Some(name) => Err(Invalid::value(
            file,
            key,
            "label names of letters, digits and _, not starting with a digit",
            format!("{name:?}"),
        )),
        None => Ok(()),
    }
}

fn is_label_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests;
