//! The root of alertd.yaml: assembles and checks what the components define.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::config::yaml::{self, Invalid};
use pitcrew_exporter::config::{duration, glob};
use pitcrew_exporter::github::config::{Auth, GithubConfig};
use pitcrew_exporter::github::error::GithubError;
use pitcrew_exporter::server::{ServerError, WebConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::actions::config::{self as pools, ActionsConfig, PoolConfig};
use crate::api::evaluate::QueryConfig;
use crate::api::masked;
use crate::notify;
use crate::notify::heartbeat::HeartbeatConfig;
use crate::remote::config::{self as remote, RemoteWriteConfig};
use crate::remote::source::config::SourceConfig;
use crate::route::config::{self as notifications, Notifications};
use crate::route::limits::Limits;
use crate::route::receiver::Receiver;
use crate::route::receiver::additions::ReceiverConfig;
use crate::rules::config::RulesConfig;
use crate::rules::file::{self as rules, GroupSpec, RuleErrors};
use crate::rules::notifier::config::AlertingConfig;
use crate::rules::own;
use crate::scrape::config::size::Size;
use crate::scrape::config::{GlobalConfig, ScrapeConfig, Settings};

/// Where alertd listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9611";

/// Where one host watches itself: short, since there is nothing to spare.
const OWN_INTERVAL: Duration = Duration::from_secs(15);

/// Less would hold little beside the log of the newest samples.
const MIN_RETENTION_SIZE: u64 = 1 << 30;

/// alertd.yaml; every key is optional.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the HTTP server.
    pub listen: String,
    /// Where alert state, notifications, journal and operator token are kept.
    pub data_dir: PathBuf,
    /// Under which URL people reach this server; links in notifications begin with it.
    pub external_url: Option<String>,
    pub web: WebConfig,
    pub global: GlobalConfig,
    pub metrics: MetricsConfig,
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Where everything that is stored is sent too.
    pub remote_write: Vec<RemoteWriteConfig>,
    /// Prometheus rule files; `*` and `?` stand for characters of the last name.
    pub rule_files: Vec<PathBuf>,
    /// How they are evaluated.
    pub rules: RulesConfig,
    /// Alertmanagers that rules tell beside this program's own routing.
    pub alerting: AlertingConfig,
    /// A file in Alertmanager's format; without it `receivers` are told by severity.
    pub notifications: Option<PathBuf>,
    /// What Pitcrew adds to the receivers of that file, by their names; without it, all receivers.
    pub receivers: Vec<ReceiverConfig>,
    pub github: Option<GithubConfig>,
    pub pools: Vec<PoolConfig>,
    pub actions: ActionsConfig,
    /// How notifications are delivered: time-outs, retries, deadline.
    pub delivery: notify::Settings,
    /// Who outside hears that this program is alive.
    pub heartbeat: Option<HeartbeatConfig>,
    /// What one query to the API may take.
    pub query: QueryConfig,
    /// How many silences and posted alerts are taken.
    pub limits: Limits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    pub embedded: Embedded,
    /// In place of the embedded store, which stays empty then.
    pub prometheus: Option<SourceConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// Age at which samples go.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// Series held in memory at a time; samples of further ones are refused and counted.
    pub max_series: usize,
    /// How far behind the newest sample of its series a sample may be.
    #[serde(with = "duration")]
    pub out_of_order_window: Duration,
    /// Disk space beyond which the oldest samples go before their time, written as in `10GB`.
    pub retention_size: Option<Size>,
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded {
            retention: Duration::from_secs(15 * 86_400),
            max_series: 1_000_000,
            out_of_order_window: Duration::ZERO,
            retention_size: None,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: DEFAULT_LISTEN.to_owned(),
            data_dir: PathBuf::from("data"),
            external_url: None,
            web: WebConfig::default(),
            global: GlobalConfig::default(),
            metrics: MetricsConfig::default(),
            scrape_configs: Vec::new(),
            remote_write: Vec::new(),
            rule_files: Vec::new(),
            rules: RulesConfig::default(),
            alerting: AlertingConfig::default(),
            notifications: None,
            receivers: Vec::new(),
            github: None,
            pools: Vec::new(),
            actions: ActionsConfig::default(),
            delivery: notify::Settings::default(),
            heartbeat: None,
            query: QueryConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// A configuration with every file that it names read and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub scrape: Settings,
    pub groups: Vec<GroupSpec>,
    pub notifications: Arc<Notifications>,
    /// The file, as far as there is one.
    pub file: PathBuf,
    /// What stands in it, without secrets.
    pub shown: String,
    /// What stands in Alertmanager's file, without secrets.
    pub shown_notifications: Arc<str>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Rules(#[from] RuleErrors),
    /// Found by reading the files that `web` names, or in what `listen` means.
    #[error(transparent)]
    Web(#[from] ServerError),
    #[error("github")]
    Github(#[from] GithubError),
}

/// What a flag or the environment says in place of the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Address and port to serve on, instead of the file's
    #[arg(long, value_name = "ADDR", env = "PITCREW_LISTEN")]
    pub listen: Option<String>,
    /// Where state is kept, instead of the file's
    #[arg(long, value_name = "DIR", env = "PITCREW_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the exporter in this process: what the file leaves out of scraping and rules is
    /// as without a file.
    #[arg(skip)]
    pub exporter: Option<String>,
}

/// Reads alertd.yaml and every file that it names; relative paths begin at its folder, those of
/// `overrides` at the working directory.
pub fn load(file: &Path, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let text = yaml::read(file)?;
    let mut config: Config = yaml::parse(file, &text)?;
    let mut shown: Map<String, Value> = yaml::parse(file, &text)?;
    config.start_paths_at(file.parent().unwrap_or(Path::new("")));
    if let Some(listen) = &overrides.listen {
        config.listen.clone_from(listen);
        shown.insert("listen".to_owned(), listen.as_str().into());
    }
    if let Some(data_dir) = &overrides.data_dir {
        config.data_dir.clone_from(data_dir);
        shown.insert("data_dir".to_owned(), data_dir.to_string_lossy().into());
    }
    let left_out = |key: &str| !shown.contains_key(key);
    let mut bundled = false;
    if let Some(exporter) = &overrides.exporter {
        let (scrapes, times) = (left_out("scrape_configs"), left_out("global"));
        config.watch_host(exporter, scrapes, times)?;
        bundled = left_out("rule_files");
    }
    let mut loaded = config.load(file)?;
    if bundled {
        loaded.groups = crate::rules::bundled()?;
    }
    Ok(Loaded { shown: masked::notifications(shown.into()), ..loaded })
}

/// Who is told of what by this file: alertd.yaml, or Alertmanager's. Nothing else of it is looked at.
///
/// # Errors
/// When it is neither, or routes and receivers are not right.
pub fn routing(file: &Path) -> Result<Notifications, Invalid> {
    let text = yaml::read(file)?;
    let keys: Map<String, Value> = yaml::parse(file, &text)?;
    if keys.contains_key("route") {
        return notifications::parse(file, &text);
    }
    let mut config: Config = yaml::parse(file, &text)?;
    config.start_paths_at(file.parent().unwrap_or(Path::new("")));
    config.notifications(file)
}

impl Config {
    /// Scrapes the exporter at this address, and alertd itself where its port is known beforehand
    /// (`scrapes`), in short intervals (`times`).
    pub fn watch_host(
        &mut self,
        exporter: &str,
        scrapes: bool,
        times: bool,
    ) -> Result<(), Invalid> {
        let job = |name: &str, target: &str| -> Result<ScrapeConfig, Invalid> {
            let text = format!("{{job_name: {name}, static_configs: [{{targets: ['{target}']}}]}}");
            yaml::parse(Path::new("built-in configuration"), &text)
        };
        if scrapes {
            self.scrape_configs = vec![job("pitcrew-exporter", exporter)?];
            if !self.listen.ends_with(":0") && self.listen.starts_with("127.") {
                self.scrape_configs.push(job("pitcrew-alertd", &self.listen)?);
            }
        }
        if times {
            self.global.scrape_interval = OWN_INTERVAL;
            self.global.evaluation_interval = OWN_INTERVAL;
        }
        Ok(())
    }

    /// Checks everything and reads what is named; `file` is only for messages.
    pub fn load(self, file: &Path) -> Result<Loaded, ConfigError> {
        self.check(file)?;
        let scrape = Settings::new(self.global.clone(), self.scrape_configs.clone(), file)?;
        let mut paths = Vec::new();
        for pattern in &self.rule_files {
            let found = glob::expand(pattern);
            if found.is_empty() {
                let found = format!("no file at {}", pattern.display());
                return Err(Invalid::value(file, "rule_files", "at least one file", found).into());
            }
            paths.extend(found);
        }
        let groups = rules::load(&paths)?;
        let mut notifications = self.notifications(file)?;
        let issues = |receiver: &Receiver| receiver.additions.github_issue.is_some();
        if self.credential().is_none() && notifications.receivers.iter().any(issues) {
            let expected = "a credential, since a receiver has github_issue";
            return Err(Invalid::value(file, "github", expected, "none").into());
        }
        if let Some(name) = &self.delivery.failure_receiver {
            if !notifications.receivers.iter().any(|receiver| receiver.name == *name) {
                let (key, expected) = ("delivery.failure_receiver", "the name of a receiver");
                return Err(Invalid::value(file, key, expected, format!("{name:?}")).into());
            }
            notifications.tree.lead(own::NOT_DELIVERED, name);
        }
        if let Some(unknown) = notify::without_notifier(&notifications) {
            let expected = "a kind of receiver that this version sends to";
            return Err(Invalid::value(file, unknown.key, expected, unknown.kind).into());
        }
        notifications.check_files(self.notifications.as_deref().unwrap_or(file))?;
        let notifications = Arc::new(notifications);
        let shown_notifications = match &self.notifications {
            Some(path) => masked::notifications(yaml::load(path)?).into(),
            None => "".into(),
        };
        let (file, shown) = (file.to_owned(), String::new());
        Ok(Loaded { scrape, groups, notifications, config: self, file, shown, shown_notifications })
    }

    /// Alertmanager's file joined with `receivers`, or these alone.
    fn notifications(&self, file: &Path) -> Result<Notifications, Invalid> {
        match &self.notifications {
            Some(path) => notifications::load(path)?.join(file, &self.receivers),
            None => Notifications::bundled(file, &self.receivers),
        }
    }

    fn check(&self, file: &Path) -> Result<(), Invalid> {
        self.web.check(file)?;
        let web_link = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if let Some(url) = self.external_url.as_deref().filter(|url| !web_link(url)) {
            return Err(Invalid::value(file, "external_url", "a URL with http or https", url));
        }
        let Embedded { retention, retention_size, max_series, out_of_order_window } =
            self.metrics.embedded;
        if retention < Duration::from_secs(3600) {
            let found = duration::format(retention);
            return Err(Invalid::value(file, "metrics.embedded.retention", "at least 1h", found));
        }
        if let Some(Size(size)) = retention_size.filter(|Size(size)| *size < MIN_RETENTION_SIZE) {
            let (key, found) = ("metrics.embedded.retention_size", format!("{size} bytes"));
            return Err(Invalid::value(file, key, "at least 1GB", found));
        }
        if max_series == 0 {
            return Err(Invalid::value(file, "metrics.embedded.max_series", "at least 1", "0"));
        }
        if out_of_order_window >= retention {
            let expected = format!("less than retention ({})", duration::format(retention));
            let found = duration::format(out_of_order_window);
            let key = "metrics.embedded.out_of_order_window";
            return Err(Invalid::value(file, key, expected, found));
        }
        self.metrics.prometheus.as_ref().map_or(Ok(()), |source| source.check(file))?;
        pools::check_all(&self.pools, file)?;
        self.actions.check(file)?;
        self.query.check(file)?;
        self.limits.check(file)?;
        remote::check(&self.remote_write, file)?;
        self.rules.check(file)?;
        self.alerting.check(file)?;
        self.heartbeat.as_ref().map_or(Ok(()), |heartbeat| heartbeat.check(file))?;
        self.github.as_ref().map_or(Ok(()), |github| github.check(file))?;
        for pool in &self.pools {
            let Some(auth) = self.credential() else {
                let expected = "a credential, since there are pools";
                return Err(Invalid::value(file, "github", expected, "none"));
            };
            pool.scope.check(auth).map_err(|expected| {
                let key = format!("pools[{}].scope", pool.name);
                Invalid::value(file, key, expected, pool.scope.to_string())
            })?;
        }
        Ok(())
    }

    fn credential(&self) -> Option<&Auth> {
        self.github.as_ref()?.auth.as_ref()
    }

    fn start_paths_at(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&path);
        join(&mut self.data_dir);
        self.rule_files.iter_mut().for_each(join);
        self.notifications.iter_mut().for_each(join);
        self.web.start_paths_at(folder);
        self.remote_write.iter_mut().for_each(|remote| remote.start_paths_at(folder));
        self.alerting.start_paths_at(folder);
        self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.start_paths_at(folder));
        if let Some(source) = &mut self.metrics.prometheus {
            source.http.start_paths_at(folder);
        }
        if let Some(github) = &mut self.github {
            github.start_paths_at(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let file = Path::new("alertd.yaml");
        match yaml::parse::<Config>(file, text) {
            Ok(config) => config.load(file).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bad_files_name_key_and_expectation() {
        for (text, want) in [
            ("scrape_confgs: []", "did you mean `scrape_configs`?"),
            (
                "metrics: { embedded: { retention: 5m } }",
                "metrics.embedded.retention: expected at least 1h, found 5m",
            ),
            (
                "metrics: { prometheus: { url: mimir } }",
                "metrics.prometheus.url: expected a URL with http or https",
            ),
            ("metrics: { prometheus: { urls: a } }", "did you mean `url`?"),
            (
                "metrics: { embedded: { retention: 1d, out_of_order_window: 1d } }",
                "metrics.embedded.out_of_order_window: expected less than retention (1d), found 1d",
            ),
            (
                "metrics: { embedded: { retention_size: 1023MB } }",
                "metrics.embedded.retention_size: expected at least 1GB, found 1072693248 bytes",
            ),
            ("metrics: { embedded: { retention_size: 5XB } }", "expected a size such as 64MB"),
            ("external_url: pitcrew.example", "external_url: expected a URL"),
            (
                "rule_files: [nowhere/*.yaml]",
                "rule_files: expected at least one file, found no file at",
            ),
            ("notifications: nowhere.yaml", "cannot read nowhere.yaml"),
            (
                "pools: [{ name: ci, label: ci-active, scope: { repository: a/b }, members: \
                 [{ name: p, runners: [p-*], capacity: 1 }, { name: b, runners: [b-*], capacity: 1 }] }]",
                "github: expected a credential",
            ),
        ] {
            let error = error(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn routing_stands_in_either_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let am = "{ route: { receiver: a }, receivers: [{ name: a }] }";
        let am = write("am.yaml", am);
        let own = "receivers: [{ name: a, github_issue: { repository: o/n } }]";
        let joined = write("alertd.yaml", &format!("notifications: am.yaml\n{own}\n"));
        let alone = write("own.yaml", own);
        let kinds = |file: &Path| -> Vec<&'static str> {
            routing(file).unwrap().integrations().iter().map(|one| one.kind).collect()
        };
        assert_eq!(kinds(&am), [""; 0]);
        assert_eq!((kinds(&joined), kinds(&alone)), (vec!["github_issue"], vec!["github_issue"]));
        let error = routing(&write("bad.yaml", "recievers: []")).unwrap_err().to_string();
        assert!(error.contains("did you mean `receivers`?"), "{error}");
    }

    #[test]
    fn what_is_shown_has_no_address_of_a_receiver() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alertd.yaml");
        let am = "{ route: { receiver: a }, receivers: [{ name: a, webhook_configs: [{ url: 'http://a/' }] }] }";
        std::fs::write(folder.path().join("am.yaml"), am).unwrap();
        let text = "notifications: am.yaml
receivers:
- name: a
  webhook_signature: { secret: hidden1 }
  alertmanager: { urls: ['http://u:hidden2@shown'] }
  digest: { slack: { api_url: 'https://shown/services/hidden3' } }
";
        std::fs::write(&file, text).unwrap();
        let shown = load(&file, &Overrides::default()).unwrap().shown;
        assert!(!shown.contains("hidden") && shown.matches("shown").count() == 2, "{shown}");
    }

    #[test]
    fn paths_begin_at_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alertd.yaml");
        std::fs::write(folder.path().join("a.yaml"), "groups: []\n").unwrap();
        std::fs::write(&file, "rule_files: ['*.yaml']\ndata_dir: data\n").unwrap();
        // alertd.yaml itself matches the pattern and is no rule file.
        assert!(load(&file, &Overrides::default()).is_err());
        std::fs::write(&file, "rule_files: ['a*.yaml', /nowhere]\n").unwrap();
        assert!(load(&file, &Overrides::default()).unwrap_err().to_string().contains("/nowhere"));
        std::fs::write(&file, "rule_files: ['?.yaml']\ndata_dir: data\n").unwrap();
        let loaded = load(&file, &Overrides::default()).unwrap();
        assert_eq!(loaded.config.data_dir, folder.path().join("data"));
        let listen = Some("127.0.0.1:1".to_owned());
        let overrides = Overrides { listen, data_dir: Some("here".into()), exporter: None };
        let config = load(&file, &overrides).unwrap().config;
        assert_eq!((&*config.listen, config.data_dir), ("127.0.0.1:1", PathBuf::from("here")));
    }
}
