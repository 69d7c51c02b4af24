//! `ScrapeConfig`: one job.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::protocol::{self, Escaping, Protocol};
use super::size::Size;
use super::{FileSdConfig, GlobalConfig, HttpSdConfig, StaticConfig, positive};
use crate::http_client::HttpClientConfig;
use crate::relabel::Rule;
use crate::scrape::target;

/// Most samples of one page where nothing smaller is asked for.
pub const MAX_SAMPLES: usize = 500_000;

/// One job. Any other key of Prometheus is refused by name: see `supported.rs`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct ScrapeConfig {
    pub job_name: String,
    /// `None`: the global one.
    #[serde(default, with = "duration::optional")]
    pub scrape_interval: Option<Duration>,
    /// `None`: the global one, or the interval where that is shorter.
    #[serde(default, with = "duration::optional")]
    pub scrape_timeout: Option<Duration>,
    #[serde(default = "default_path")]
    pub metrics_path: String,
    #[serde(default)]
    pub scheme: Scheme,
    /// Query parameters of the URL, each with its values in order.
    #[serde(default)]
    pub params: BTreeMap<String, Vec<String>>,
    /// Keeps a label of the page where the target has one of the same name.
    #[serde(default)]
    pub honor_labels: bool,
    /// Takes the page's timestamps rather than the scrape's.
    #[serde(default = "yes")]
    pub honor_timestamps: bool,
    /// Ends series with timestamps of their own, too, when they leave their page.
    #[serde(default)]
    pub track_timestamps_staleness: bool,
    #[serde(default)]
    pub static_configs: Vec<StaticConfig>,
    #[serde(default)]
    pub file_sd_configs: Vec<FileSdConfig>,
    #[serde(default)]
    pub http_sd_configs: Vec<HttpSdConfig>,
    /// Rewrites what is known about a target, or drops it.
    #[serde(default)]
    pub relabel_configs: Vec<Rule>,
    /// Rewrites each series of a page, or drops it.
    #[serde(default)]
    pub metric_relabel_configs: Vec<Rule>,
    /// Most samples of one page, 0 for [`MAX_SAMPLES`]; a page with more fails as a whole.
    #[serde(default)]
    pub sample_limit: usize,
    /// Most targets, 0 for no limit; with more, every scrape of the job fails.
    #[serde(default)]
    pub target_limit: usize,
    /// Most dropped targets that are shown, 0 for a number of ours.
    #[serde(default)]
    pub keep_dropped_targets: usize,
    /// Most labels of one series, 0 for no limit but the parser's own.
    #[serde(default)]
    pub label_limit: usize,
    #[serde(default)]
    pub label_name_length_limit: usize,
    #[serde(default)]
    pub label_value_length_limit: usize,
    /// Most bytes of one page after decompression; 0 for the default of 64 MiB.
    #[serde(default)]
    pub body_size_limit: Size,
    /// What is asked for, best first; `None`: every text form.
    #[serde(default)]
    pub scrape_protocols: Option<Vec<Protocol>>,
    /// How a page without a content type that is known is read; `None`: as text.
    #[serde(default)]
    pub fallback_scrape_protocol: Option<Protocol>,
    /// `None`: UTF-8.
    #[serde(default)]
    pub metric_name_validation_scheme: Option<NameScheme>,
    /// How a target is asked to write names beyond letters, digits, `_` and `:`.
    #[serde(default)]
    pub metric_name_escaping_scheme: Escaping,
    #[serde(default = "yes")]
    pub enable_compression: bool,
    #[serde(skip)]
    pub http: HttpClientConfig,
}

/// Which names a page may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameScheme {
    #[default]
    Utf8,
    /// Letters, digits, `_`, and `:` in metric names.
    Legacy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

fn default_path() -> String {
    "/metrics".to_owned()
}

fn yes() -> bool {
    true
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl ScrapeConfig {
    /// Time between two scrapes, and the longest wait for one.
    pub fn timing(&self, global: &GlobalConfig) -> (Duration, Duration) {
        let interval = self.scrape_interval.unwrap_or(global.scrape_interval);
        (interval, self.scrape_timeout.unwrap_or(global.timeout().min(interval)))
    }

    pub fn check(&self, global: &GlobalConfig, file: &Path) -> Result<(), Invalid> {
        let at = |key: &str| format!("scrape_configs[{}].{key}", self.job_name);
        let wrong = |key: &str, expected: &str, found: String| {
            Err(Invalid::value(file, at(key), expected, found))
        };
        if self.job_name.is_empty() {
            return wrong("job_name", "a name", "nothing".to_owned());
        }
        let (interval, timeout) = self.timing(global);
        positive(file, &at("scrape_interval"), interval)?;
        positive(file, &at("scrape_timeout"), timeout)?;
        if timeout > interval {
            let expected = format!("at most scrape_interval ({})", duration::format(interval));
            return wrong("scrape_timeout", &expected, duration::format(timeout));
        }
        if !self.metrics_path.starts_with('/') {
            return wrong("metrics_path", "a path that starts with /", self.metrics_path.clone());
        }
        for group in &self.static_configs {
            group.check(file, &at("static_configs"), self.relabel_configs.is_empty())?;
            target::of_group(self, global, group).map_err(|error| {
                Invalid::value(file, at("static_configs"), "targets", error.to_string())
            })?;
        }
        for files in &self.file_sd_configs {
            files.check(file, &at("file_sd_configs"))?;
        }
        for list in &self.http_sd_configs {
            list.check(file, &at("http_sd_configs"))?;
        }
        let fallback = self.fallback_scrape_protocol.as_ref().map(std::slice::from_ref);
        for (key, protocols) in [
            ("scrape_protocols", self.scrape_protocols.as_deref()),
            ("fallback_scrape_protocol", fallback),
        ] {
            if let Some(protocols) = protocols
                && let Err((expected, found)) = protocol::check(protocols)
            {
                return wrong(key, expected, found);
            }
        }
        self.http.check(file, &format!("scrape_configs[{}]", self.job_name))
    }

    /// Takes the global value where this job has none of its own.
    pub(super) fn inherit(&mut self, global: &GlobalConfig) {
        for (own, inherited) in [
            (&mut self.sample_limit, global.sample_limit),
            (&mut self.target_limit, global.target_limit),
            (&mut self.label_limit, global.label_limit),
            (&mut self.label_name_length_limit, global.label_name_length_limit),
            (&mut self.label_value_length_limit, global.label_value_length_limit),
            (&mut self.keep_dropped_targets, global.keep_dropped_targets),
        ] {
            if *own == 0 {
                *own = inherited;
            }
        }
        if self.body_size_limit.0 == 0 {
            self.body_size_limit = global.body_size_limit;
        }
        if self.scrape_protocols.is_none() {
            self.scrape_protocols.clone_from(&global.scrape_protocols);
        }
        let scheme = self.metric_name_validation_scheme;
        self.metric_name_validation_scheme = scheme.or(global.metric_name_validation_scheme);
    }

    pub(super) fn start_paths_at(&mut self, folder: &Path) {
        for path in self.file_sd_configs.iter_mut().flat_map(|config| &mut config.files) {
            *path = folder.join(&path);
        }
        for config in &mut self.http_sd_configs {
            config.http.start_paths_at(folder);
        }
        self.http.start_paths_at(folder);
    }
}
