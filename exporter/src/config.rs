//! The root of exporter.yaml: assembles and checks what the components define.

pub mod duration;
pub mod glob;
pub mod stamp;
pub mod yaml;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::collectors::{COLLECTORS, HostConfig, redis, runner};
use crate::github::config::GithubConfig;
use crate::server::WebConfig;
use yaml::Invalid;

/// Where the exporter listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9610";

/// exporter.yaml; every key is optional.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the HTTP server.
    pub listen: String,
    pub web: WebConfig,
    /// Where what webhooks and polls tell is kept; without, see [`state_dir`].
    pub data_dir: Option<PathBuf>,
    pub collectors: Collectors,
    pub github: Option<GithubConfig>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: DEFAULT_LISTEN.to_owned(),
            web: WebConfig::default(),
            data_dir: None,
            collectors: Collectors::default(),
            github: None,
        }
    }
}

/// Which collectors run, and the settings of each.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collectors {
    /// Longest time that a scrape waits for one collector.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Names of collectors that run although they do not by default.
    pub on: Vec<String>,
    /// Names of collectors that do not run.
    pub off: Vec<String>,
    pub host: HostConfig,
    pub runner: runner::Settings,
    pub redis: redis::Settings,
}

impl Default for Collectors {
    fn default() -> Collectors {
        Collectors {
            timeout: Duration::from_secs(5),
            on: Vec::new(),
            off: Vec::new(),
            host: HostConfig::default(),
            runner: runner::Settings::default(),
            redis: redis::Settings::default(),
        }
    }
}

impl Config {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let port = self.listen.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            let expected = "an address and port such as 127.0.0.1:9610";
            return Err(Invalid::value(file, "listen", expected, &self.listen));
        }
        self.web.check(file)?;
        if self.web.protect_loopback && self.web.users.is_empty() {
            let expected = "false, as there are no web.users and so nobody could read";
            return Err(Invalid::value(file, "web.protect_loopback", expected, "true"));
        }
        let Collectors { timeout, on, off, host, runner, redis } = &self.collectors;
        // The server gives up on any answer after a minute; the page must be complete before.
        if !(Duration::from_millis(1)..=Duration::from_secs(50)).contains(timeout) {
            let found = duration::format(*timeout);
            return Err(Invalid::value(file, "collectors.timeout", "1ms to 50s", found));
        }
        for (key, names) in [("collectors.on", on), ("collectors.off", off)] {
            for name in names {
                check_name(file, key, name)?;
            }
        }
        if let Some(both) = on.iter().find(|name| off.contains(name)) {
            let expected = "each name in one of `on` and `off`";
            return Err(Invalid::value(file, "collectors.on", expected, both));
        }
        host.check(file)?;
        runner.check(file)?;
        redis.check(file)?;
        self.github.as_ref().map_or(Ok(()), |github| github.check(file))
    }

    /// Makes relative paths begin at `folder`.
    pub fn start_paths_at(&mut self, folder: &Path) {
        self.web.start_paths_at(folder);
        self.collectors.redis.start_paths_at(folder);
        if let Some(path) = &mut self.data_dir {
            *path = folder.join(&path);
        }
        if let Some(github) = &mut self.github {
            github.start_paths_at(folder);
        }
    }
}

/// Where `program` keeps its state unless told otherwise: what systemd gave it, else its folder
/// beneath the user's; `None` without a home.
pub fn state_dir(program: &str) -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let given = env::var_os("STATE_DIRECTORY");
    let given = given.and_then(|list| env::split_paths(&list).next()).and_then(absolute);
    let state = || env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    given.or_else(|| Some(state().or_else(home)?.join(program)))
}

fn check_name(file: &Path, key: &str, name: &str) -> Result<(), Invalid> {
    let names = || COLLECTORS.iter().map(|entry| entry.name);
    if names().any(|known| known == name) {
        return Ok(());
    }
    let nearest = names().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let expected = match nearest {
        Some(nearest) => format!("the name of a collector, such as {nearest}"),
        None => "the name of a collector".to_owned(),
    };
    Err(Invalid::value(file, key, expected, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let file = Path::new("exporter.yaml");
        match yaml::parse::<Config>(file, text) {
            Ok(config) => config.check(file).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bad_files_name_key_and_expectation() {
        for (text, want) in [
            ("listen: localhost", "listen: expected an address and port"),
            ("listen: 127.0.0.1:70000", "found 127.0.0.1:70000"),
            ("listen: ':9610'", "such as 127.0.0.1:9610"),
            ("listten: x", "did you mean `listen`?"),
            ("collectors: { hots: {} }", "did you mean `host`?"),
            ("collectors: { host: { proc_rot: /x } }", "did you mean `proc_root`?"),
            (
                "collectors: { off: [laodavg] }",
                "collectors.off: expected the name of a collector, such as loadavg, found laodavg",
            ),
            ("collectors: { timeout: 0 }", "collectors.timeout: expected 1ms to 50s, found 0s"),
            ("collectors: { timeout: 5 }", "expected a duration"),
            ("collectors: { on: [cpu], off: [cpu] }", "each name in one of"),
            (
                "web: { users: { ann: {} } }",
                "web.users.ann: expected password_file or token_file, found neither",
            ),
            ("web: { users: { ann: { role: root } } }", "line 1"),
            ("web: { tls: { cert_file: a } }", "key_file"),
            ("web: { protect_loopback: true }", "web.protect_loopback: expected false, as there"),
            ("web: { hosts: [\"https://ci.example.org\"] }", "web.hosts: expected a name without"),
            ("web: { hosts: [\"ci.example.org:9610\"] }", "found ci.example.org:9610"),
            (
                "collectors: { host: { proc_root: relative } }",
                "host.proc_root: expected an absolute path",
            ),
            (
                "collectors: { runner: { roots: [runner] } }",
                "runner.roots: expected an absolute path, found runner",
            ),
            ("collectors: { runner: { read_environ: true } }", "read_environ: expected false"),
            ("collectors: { runner: { rescan: 0s } }", "runner.rescan: expected 1s to 1d"),
            ("github: { webhook_secret: x }", "did you mean `webhook_secret_file`?"),
            (
                "github: { auth: { token_file: t }, budget_share: 2 }",
                "github.budget_share: expected",
            ),
            ("listen: [", "line"),
            ("- a", "line"),
        ] {
            let error = error(text);
            assert!(error.contains(want), "{text}: {error}");
            assert!(error.starts_with("exporter.yaml: "), "{error}");
        }
    }

    #[test]
    fn an_empty_file_and_a_full_one_are_good() {
        let file = Path::new("exporter.yaml");
        for text in [
            "",
            "listen: \"[::1]:0\"\ncollectors: { timeout: 2s, off: [cpu], host: { root: /host }, \
             runner: { roots: [\"/r*\"], read_environ: false } }",
            "data_dir: state\ngithub: { base_url: https://ghe.example.org/api/v3, webhook_secret_file: s, \
             budget_share: 0.5, auth: { app_id: 1, installation_id: 2, private_key_file: k }, \
             scopes: [{ repository: a/b }, { organization: c }] }",
            "github: { webhook_secret_file: /etc/pitcrew/webhook-secret }",
        ] {
            yaml::parse::<Config>(file, text).unwrap().check(file).unwrap();
        }
    }
}
