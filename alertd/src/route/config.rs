//! Alertmanager's configuration file: global defaults, routing tree, receivers, inhibition.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::{self, Invalid};
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::inhibit::InhibitRule;
use super::matchers;
use super::receiver::file::ReceiverFile;
use super::receiver::{HttpConfig, Integration, Receiver};
use super::tree::{GroupBy, Route, Timing, Tree};
use crate::model::causes::causes;
use crate::model::matcher::{MatchOp, Matcher};

/// Routes nested deeper are refused.
const MAX_DEPTH: usize = 32;

/// Who is told of what: a checked configuration.
#[derive(Debug, Clone)]
pub struct Notifications {
    pub tree: Tree,
    pub receivers: Vec<Receiver>,
    pub inhibit: Vec<InhibitRule>,
    /// How long an alert that was told before a restart is taken to fire when no rule says so.
    pub resolve_timeout: Duration,
}

/// The `global` section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Global {
    #[serde(default, with = "duration::optional")]
    resolve_timeout: Option<Duration>,
    pub(super) http_config: Option<HttpConfig>,
    pub(super) slack_api_url: Option<Secret>,
    pub(super) slack_api_url_file: Option<PathBuf>,
    pub(super) smtp_smarthost: Option<String>,
    pub(super) smtp_from: Option<String>,
    pub(super) smtp_hello: Option<String>,
    pub(super) smtp_auth_username: Option<String>,
    pub(super) smtp_auth_password: Option<Secret>,
    pub(super) smtp_auth_password_file: Option<PathBuf>,
    pub(super) smtp_require_tls: Option<bool>,
    smtp_auth_identity: Option<Present>,
    smtp_auth_secret: Option<Present>,
    opsgenie_api_key: Option<Present>,
    opsgenie_api_key_file: Option<Present>,
    opsgenie_api_url: Option<Present>,
    pagerduty_url: Option<Present>,
    telegram_api_url: Option<Present>,
    victorops_api_key: Option<Present>,
    victorops_api_key_file: Option<Present>,
    victorops_api_url: Option<Present>,
    webex_api_url: Option<Present>,
    wechat_api_corp_id: Option<Present>,
    wechat_api_secret: Option<Present>,
    wechat_api_url: Option<Present>,
}

/// A key of Alertmanager's that is known and not supported: only that it is there.
#[derive(Debug, Clone)]
pub(super) struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Present, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Present)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: Global,
    route: Option<RouteFile>,
    #[serde(default)]
    receivers: Vec<ReceiverFile>,
    #[serde(default)]
    inhibit_rules: Vec<InhibitFile>,
    #[serde(default)]
    templates: Vec<Present>,
    #[serde(default)]
    time_intervals: Vec<Present>,
    #[serde(default)]
    mute_time_intervals: Vec<Present>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RouteFile {
    receiver: Option<String>,
    group_by: Option<Vec<String>>,
    #[serde(with = "duration::optional")]
    group_wait: Option<Duration>,
    #[serde(with = "duration::optional")]
    group_interval: Option<Duration>,
    #[serde(with = "duration::optional")]
    repeat_interval: Option<Duration>,
    #[serde(rename = "continue")]
    go_on: bool,
    matchers: Vec<String>,
    #[serde(rename = "match")]
    equal: BTreeMap<String, String>,
    match_re: BTreeMap<String, String>,
    active_time_intervals: Vec<Present>,
    mute_time_intervals: Vec<Present>,
    routes: Vec<RouteFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct InhibitFile {
    source_matchers: Vec<String>,
    source_match: BTreeMap<String, String>,
    source_match_re: BTreeMap<String, String>,
    target_matchers: Vec<String>,
    target_match: BTreeMap<String, String>,
    target_match_re: BTreeMap<String, String>,
    equal: Vec<String>,
}

impl Notifications {
    /// Without a file: alerts are shown and nobody is told.
    pub fn none() -> Notifications {
        let timing = DEFAULT_TIMING;
        let root = Route {
            key: "{}".to_owned(),
            receiver: String::new(),
            matchers: Vec::new(),
            go_on: false,
            group_by: GroupBy::Labels(Vec::new()),
            timing,
            children: Vec::new(),
        };
        Notifications {
            tree: Tree { routes: vec![root] },
            receivers: Vec::new(),
            inhibit: Vec::new(),
            resolve_timeout: DEFAULT_RESOLVE_TIMEOUT,
        }
    }

    /// Every integration of every receiver.
    pub fn integrations(&self) -> Vec<Integration> {
        self.receivers.iter().flat_map(Receiver::integrations).collect()
    }
}

const DEFAULT_RESOLVE_TIMEOUT: Duration = Duration::from_secs(300);
const DEFAULT_TIMING: Timing = Timing {
    group_wait: Duration::from_secs(30),
    group_interval: Duration::from_secs(300),
    repeat_interval: Duration::from_secs(4 * 3600),
};

/// Reads and checks the file; files of secrets are looked for beside it and read when used.
pub fn load(file: &Path) -> Result<Notifications, Invalid> {
    resolve(file, yaml::load(file)?)
}

/// The same from text; `file` is for messages, and for the folder of relative names.
pub fn parse(file: &Path, text: &str) -> Result<Notifications, Invalid> {
    resolve(file, yaml::parse(file, text)?)
}

/// `load`, and every secret can be read now.
pub fn check(file: &Path) -> Result<Notifications, Invalid> {
    let config = load(file)?;
    for receiver in &config.receivers {
        for path in receiver.secret_files() {
            Secret::read(path).map_err(|error| {
                let key = format!("receivers[{}]", receiver.name);
                Invalid::value(file, key, "a file with one secret", causes(&error))
            })?;
        }
    }
    Ok(config)
}

fn resolve(path: &Path, file: File) -> Result<Notifications, Invalid> {
    file.global.refuse_unsupported(path)?;
    let lists = [
        ("templates", &file.templates),
        ("time_intervals", &file.time_intervals),
        ("mute_time_intervals", &file.mute_time_intervals),
    ];
    for (key, list) in lists {
        refuse_list(path, key, list)?;
    }
    let root = file.route.ok_or_else(|| Invalid::value(path, "route", "a root route", "none"))?;
    let mut receivers = Vec::new();
    let mut names = BTreeSet::new();
    for (at, receiver) in file.receivers.into_iter().enumerate() {
        let key = format!("receivers[{at}]");
        if receiver.name.is_empty() || !names.insert(receiver.name.clone()) {
            let found = format!("{:?} once more", receiver.name);
            return Err(Invalid::value(path, format!("{key}.name"), "a name of its own", found));
        }
        receivers.push(receiver.resolve(path, &key, &file.global)?);
    }
    let mut tree = Tree { routes: Vec::new() };
    root.add(path, "route", None, &names, &mut tree, 0)?;
    let mut inhibit = Vec::new();
    for (at, rule) in file.inhibit_rules.into_iter().enumerate() {
        inhibit.push(rule.resolve(path, &format!("inhibit_rules[{at}]"))?);
    }
    let resolve_timeout = file.global.resolve_timeout.unwrap_or(DEFAULT_RESOLVE_TIMEOUT);
    Ok(Notifications { tree, receivers, inhibit, resolve_timeout })
}

impl Global {
    fn refuse_unsupported(&self, file: &Path) -> Result<(), Invalid> {
        for (name, both) in [
            ("slack_api_url", self.slack_api_url.is_some() && self.slack_api_url_file.is_some()),
            (
                "smtp_auth_password",
                self.smtp_auth_password.is_some() && self.smtp_auth_password_file.is_some(),
            ),
        ] {
            if both {
                let expected = format!("one of {name} and {name}_file");
                return Err(Invalid::value(file, format!("global.{name}"), expected, "both"));
            }
        }
        refuse_present(
            file,
            "global",
            &[
                ("smtp_auth_identity", &self.smtp_auth_identity),
                ("smtp_auth_secret", &self.smtp_auth_secret),
                ("opsgenie_api_key", &self.opsgenie_api_key),
                ("opsgenie_api_key_file", &self.opsgenie_api_key_file),
                ("opsgenie_api_url", &self.opsgenie_api_url),
                ("pagerduty_url", &self.pagerduty_url),
                ("telegram_api_url", &self.telegram_api_url),
                ("victorops_api_key", &self.victorops_api_key),
                ("victorops_api_key_file", &self.victorops_api_key_file),
                ("victorops_api_url", &self.victorops_api_url),
                ("webex_api_url", &self.webex_api_url),
                ("wechat_api_corp_id", &self.wechat_api_corp_id),
                ("wechat_api_secret", &self.wechat_api_secret),
                ("wechat_api_url", &self.wechat_api_url),
            ],
        )
    }
}

impl RouteFile {
    /// Appends this route and those below it; returns its place.
    fn add(
        self,
        file: &Path,
        key: &str,
        parent: Option<usize>,
        receivers: &BTreeSet<String>,
        tree: &mut Tree,
        depth: usize,
    ) -> Result<usize, Invalid> {
        let bad = |name: &str, expected: &str, found: String| {
            Invalid::value(file, format!("{key}.{name}"), expected, found)
        };
        if depth > MAX_DEPTH {
            let found = format!("{depth} levels");
            return Err(Invalid::value(file, key, format!("at most {MAX_DEPTH} levels"), found));
        }
        for (name, list) in [
            ("active_time_intervals", &self.active_time_intervals),
            ("mute_time_intervals", &self.mute_time_intervals),
        ] {
            refuse_list(file, &format!("{key}.{name}"), list)?;
        }
        let mut found =
            conditions(file, key, "matchers", &self.matchers, &self.equal, &self.match_re)?;
        if parent.is_none() {
            if !found.is_empty() {
                return Err(bad("matchers", "none on the root, which takes all", "some".into()));
            }
            if self.go_on {
                return Err(bad("continue", "false on the root", "true".into()));
            }
        }
        let above = parent.and_then(|at| tree.routes.get(at)).cloned();
        let receiver = self.receiver.or_else(|| above.as_ref().map(|above| above.receiver.clone()));
        let receiver =
            receiver.ok_or_else(|| bad("receiver", "the name of a receiver", "none".into()))?;
        if !receivers.contains(&receiver) {
            let names: Vec<_> = receivers.iter().map(String::as_str).collect();
            let expected = format!("one of the receivers ({})", names.join(", "));
            return Err(bad("receiver", &expected, format!("{receiver:?}")));
        }
        let group_by = match (self.group_by, &above) {
            (Some(names), _) => group_by(file, key, names)?,
            (None, Some(above)) => above.group_by.clone(),
            (None, None) => GroupBy::Labels(Vec::new()),
        };
        let from = above.as_ref().map_or(DEFAULT_TIMING, |above| above.timing);
        let timing = Timing {
            group_wait: self.group_wait.unwrap_or(from.group_wait),
            group_interval: self.group_interval.unwrap_or(from.group_interval),
            repeat_interval: self.repeat_interval.unwrap_or(from.repeat_interval),
        };
        for (name, time) in
            [("group_interval", timing.group_interval), ("repeat_interval", timing.repeat_interval)]
        {
            if time.is_zero() {
                return Err(bad(name, "more than 0s", "0s".into()));
            }
        }
        // Alertmanager's order, because the key shows it.
        found.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
        let text: Vec<_> = found.iter().map(ToString::to_string).collect();
        let own = format!("{{{}}}", text.join(","));
        let route_key = above.as_ref().map_or(own.clone(), |above| format!("{}/{own}", above.key));
        let at = tree.routes.len();
        tree.routes.push(Route {
            key: route_key,
            receiver,
            matchers: found,
            go_on: self.go_on,
            group_by,
            timing,
            children: Vec::new(),
        });
        for (index, child) in self.routes.into_iter().enumerate() {
            let key = format!("{key}.routes[{index}]");
            let child = child.add(file, &key, Some(at), receivers, tree, depth + 1)?;
            if let Some(route) = tree.routes.get_mut(at) {
                route.children.push(child);
            }
        }
        Ok(at)
    }
}

impl InhibitFile {
    fn resolve(self, file: &Path, key: &str) -> Result<InhibitRule, Invalid> {
        let side = |name: &str, list, equal, regex| {
            let found = conditions(file, key, &format!("{name}_matchers"), list, equal, regex)?;
            match found.is_empty() {
                true => {
                    let key = format!("{key}.{name}_matchers");
                    Err(Invalid::value(file, key, "at least one matcher", "none"))
                }
                false => Ok(found),
            }
        };
        Ok(InhibitRule {
            source: side(
                "source",
                &self.source_matchers,
                &self.source_match,
                &self.source_match_re,
            )?,
            target: side(
                "target",
                &self.target_matchers,
                &self.target_match,
                &self.target_match_re,
            )?,
            equal: self.equal,
        })
    }
}

/// The new and the legacy forms of matchers, all of which must match.
fn conditions(
    file: &Path,
    key: &str,
    name: &str,
    list: &[String],
    equal: &BTreeMap<String, String>,
    regex: &BTreeMap<String, String>,
) -> Result<Vec<Matcher>, Invalid> {
    let bad = |error: matchers::BadMatcher| {
        Invalid::value(file, format!("{key}.{name}"), error.expected, format!("{:?}", error.found))
    };
    let mut found = Vec::new();
    for text in list {
        found.extend(matchers::parse(text).map_err(bad)?);
    }
    for (label, value) in equal {
        found.push(matchers::legacy(MatchOp::Equal, label, value).map_err(bad)?);
    }
    for (label, value) in regex {
        found.push(matchers::legacy(MatchOp::Regex, label, value).map_err(bad)?);
    }
    Ok(found)
}

fn group_by(file: &Path, key: &str, names: Vec<String>) -> Result<GroupBy, Invalid> {
    let key = format!("{key}.group_by");
    let mut seen = BTreeSet::new();
    for name in &names {
        if name == "..." && names.len() > 1 {
            return Err(Invalid::value(file, key, "... alone", "other labels beside it"));
        }
        if name != "..." && !matchers::is_name(name) {
            return Err(Invalid::value(file, key, "names of labels", format!("{name:?}")));
        }
        if !seen.insert(name) {
            return Err(Invalid::value(file, key, "each label once", format!("{name:?} twice")));
        }
    }
    match names.first().map(String::as_str) {
        Some("...") => Ok(GroupBy::All),
        _ => Ok(GroupBy::Labels(names)),
    }
}

/// Refuses keys that Alertmanager knows and this program does not act on.
pub(super) fn refuse_present(
    file: &Path,
    key: &str,
    fields: &[(&str, &Option<Present>)],
) -> Result<(), Invalid> {
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(not_supported(file, &format!("{key}.{name}"))),
        None => Ok(()),
    }
}

fn refuse_list(file: &Path, key: &str, list: &[Present]) -> Result<(), Invalid> {
    match list.is_empty() {
        true => Ok(()),
        false => Err(not_supported(file, key)),
    }
}

fn not_supported(file: &Path, key: &str) -> Invalid {
    Invalid::value(file, key, "no such key, which is not supported yet", "one")
}

#[cfg(test)]
mod tests;
