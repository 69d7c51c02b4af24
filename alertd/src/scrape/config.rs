//! `scrape_configs` and `global`: the keys of Prometheus that are supported, with its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;

pub mod size;
mod supported;

use size::Size;

use super::target;
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
    /// Longest wait for one answer; lowered to a job's interval where that is shorter.
    #[serde(with = "duration")]
    pub scrape_timeout: Duration,
    /// Time between two evaluations of a rule group that names none.
    #[serde(with = "duration")]
    pub evaluation_interval: Duration,
    /// Labels that everything sent to other systems carries; not added to stored series.
    pub external_labels: BTreeMap<String, String>,
}

impl Default for GlobalConfig {
    fn default() -> GlobalConfig {
        GlobalConfig {
            scrape_interval: Duration::from_secs(30),
            scrape_timeout: Duration::from_secs(10),
            evaluation_interval: Duration::from_secs(60),
            external_labels: BTreeMap::new(),
        }
    }
}

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
    /// Follows redirects, but never to another host.
    #[serde(default = "yes")]
    pub follow_redirects: bool,
    #[serde(default)]
    pub static_configs: Vec<StaticConfig>,
    #[serde(default)]
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Most samples of one page, 0 for no limit; a page with more fails as a whole.
    #[serde(default)]
    pub sample_limit: usize,
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
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    #[serde(default)]
    pub authorization: Option<Authorization>,
    #[serde(default)]
    pub tls_config: TlsConfig,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

/// Targets as `host:port`, and labels that all of them carry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    #[serde(default)]
    pub targets: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// YAML or JSON files; the last element of a path may hold `*`.
    pub files: Vec<PathBuf>,
    /// Files are read again after this time even when nothing seems to have changed.
    #[serde(default = "five_minutes", with = "duration")]
    pub refresh_interval: Duration,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    #[serde(default)]
    pub username: String,
    pub password: Option<Secret>,
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    #[serde(default = "bearer", rename = "type")]
    pub scheme: String,
    pub credentials: Option<Secret>,
    pub credentials_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    pub ca_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
}

fn default_path() -> String {
    "/metrics".to_owned()
}

fn yes() -> bool {
    true
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn bearer() -> String {
    "Bearer".to_owned()
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
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

    /// Reads every secret once, to find out whether it can be used; `file` is only for the message.
    pub fn check_secrets(&self, file: &Path) -> Result<(), Invalid> {
        for job in &self.jobs {
            let password = job.basic_auth.iter().filter_map(|basic| basic.password_file.as_ref());
            let header = job.authorization.iter();
            let credentials = header.filter_map(|header| header.credentials_file.as_ref());
            for path in password.chain(credentials) {
                Secret::read(path).map_err(|error| {
                    let key = format!("scrape_configs[{}]", job.job_name);
                    Invalid::value(file, key, "a file with one secret", causes(&error))
                })?;
            }
        }
        Ok(())
    }
}

impl GlobalConfig {
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        for (key, time) in [
            ("global.scrape_interval", self.scrape_interval),
            ("global.scrape_timeout", self.scrape_timeout),
            ("global.evaluation_interval", self.evaluation_interval),
        ] {
            positive(file, key, time)?;
        }
        check_labels(file, "global.external_labels", &self.external_labels)
    }
}

impl ScrapeConfig {
    /// Time between two scrapes, and the longest wait for one.
    pub fn timing(&self, global: &GlobalConfig) -> (Duration, Duration) {
        let interval = self.scrape_interval.unwrap_or(global.scrape_interval);
        (interval, self.scrape_timeout.unwrap_or(global.scrape_timeout.min(interval)))
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
            group.check(file, &at("static_configs"))?;
            target::of_group(self, global, group).map_err(|error| {
                Invalid::value(file, at("static_configs"), "targets", error.to_string())
            })?;
        }
        for files in &self.file_sd_configs {
            positive(file, &at("file_sd_configs.refresh_interval"), files.refresh_interval)?;
            if files.files.is_empty() {
                return wrong("file_sd_configs.files", "at least one path", "none".to_owned());
            }
            if let Some(path) = files.files.iter().find(|path| !is_pattern(path)) {
                let expected = "a path that ends with .json, .yml or .yaml, with * only in its \
                                last element";
                return wrong("file_sd_configs.files", expected, path.display().to_string());
            }
        }
        self.check_credentials(file, &at)
    }

    fn check_credentials(&self, file: &Path, at: &dyn Fn(&str) -> String) -> Result<(), Invalid> {
        let wrong = |key: &str, expected: &str, found: &str| {
            Err(Invalid::value(file, at(key), expected, found))
        };
        if self.basic_auth.is_some() && self.authorization.is_some() {
            return wrong("authorization", "at most one of basic_auth, authorization", "both");
        }
        if let Some(basic) = &self.basic_auth
            && basic.password.is_some() == basic.password_file.is_some()
        {
            let found = if basic.password.is_some() { "both" } else { "neither" };
            return wrong("basic_auth", "one of password, password_file", found);
        }
        let Some(header) = &self.authorization else { return Ok(()) };
        if header.scheme.trim().eq_ignore_ascii_case("basic") {
            return wrong("authorization.type", "another type: use basic_auth", &header.scheme);
        }
        if header.credentials.is_some() == header.credentials_file.is_some() {
            let found = if header.credentials.is_some() { "both" } else { "neither" };
            return wrong("authorization", "one of credentials, credentials_file", found);
        }
        Ok(())
    }

    fn start_paths_at(&mut self, folder: &Path) {
        let files = self.file_sd_configs.iter_mut().flat_map(|config| &mut config.files);
        let password = self.basic_auth.iter_mut().filter_map(|basic| basic.password_file.as_mut());
        let header = self.authorization.iter_mut();
        let credentials = header.filter_map(|header| header.credentials_file.as_mut());
        for path in files.chain(password).chain(credentials).chain(&mut self.tls_config.ca_file) {
            *path = folder.join(&path);
        }
    }
}

impl StaticConfig {
    /// Checks addresses and label names, for a group in a configuration or in a discovered file.
    pub fn check(&self, file: &Path, key: &str) -> Result<(), Invalid> {
        for address in &self.targets {
            if !is_address(address) {
                let expected = "host or host:port, without scheme, path or user";
                return Err(Invalid::value(file, format!("{key}.targets"), expected, address));
            }
        }
        check_labels(file, &format!("{key}.labels"), &self.labels)
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

/// What a URL can take between `//` and the path; brackets and colons are for IPv6.
fn is_address(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]%".contains(c);
    !text.is_empty() && text.chars().all(|c| allowed(c) || (!c.is_ascii() && c.is_alphanumeric()))
}

fn is_pattern(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    let known = extension.is_some_and(|ext| ["json", "yml", "yaml"].iter().any(|is| ext == *is));
    let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned());
    known && !folder.is_some_and(|folder| folder.contains('*'))
}

#[cfg(test)]
mod tests;
