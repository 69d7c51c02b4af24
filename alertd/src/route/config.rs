//! Alertmanager's configuration file: global defaults, routing tree, receivers, inhibition; and what
//! alertd.yaml adds to its receivers.

mod bundled;
mod conditions;
pub(super) mod global;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::config::yaml::{self, Invalid};
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;
use serde::de::Deserializer;

use self::conditions::InhibitFile;
use self::global::Global;
use self::routes::{Names, RouteFile};
use super::inhibit::InhibitRule;
use super::receiver::additions::ReceiverConfig;
use super::receiver::file::ReceiverFile;
use super::receiver::place::Place;
use super::receiver::{Integration, Receiver};
use super::template::Templates;
use super::time_interval::TimeInterval;
use super::tree::{GroupBy, Route, Timing, Tree};
use crate::model::causes::causes;
use crate::model::sample::Timestamp;

/// Who is told of what: a checked configuration.
#[derive(Debug, Clone)]
pub struct Notifications {
    pub tree: Tree,
    pub receivers: Vec<Receiver>,
    pub inhibit: Vec<InhibitRule>,
    /// By the names that routes have for them.
    pub time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    pub templates: Arc<Templates>,
    /// How long an alert that was told before a restart is taken to fire when no rule says so.
    pub resolve_timeout: Duration,
    global: Global,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "nullable")]
    global: Global,
    route: Option<RouteFile>,
    #[serde(default, deserialize_with = "nullable")]
    receivers: Vec<ReceiverFile>,
    #[serde(default, deserialize_with = "nullable")]
    inhibit_rules: Vec<InhibitFile>,
    #[serde(default, deserialize_with = "nullable")]
    templates: Vec<PathBuf>,
    #[serde(default, deserialize_with = "nullable")]
    time_intervals: Vec<TimeIntervalsFile>,
    /// The older name.
    #[serde(default, deserialize_with = "nullable")]
    mute_time_intervals: Vec<TimeIntervalsFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimeIntervalsFile {
    name: String,
    #[serde(deserialize_with = "nullable")]
    time_intervals: Vec<TimeInterval>,
}

/// Names of receivers and the like that an error lists.
const MAX_NAMED: usize = 20;
const DEFAULT_RESOLVE_TIMEOUT: Duration = Duration::from_secs(300);
const DEFAULT_TIMING: Timing = Timing {
    group_wait: Duration::from_secs(30),
    group_interval: Duration::from_secs(300),
    repeat_interval: Duration::from_secs(4 * 3600),
};

impl Notifications {
    /// Without a file: alerts are shown and nobody is told.
    pub fn none() -> Notifications {
        let root = Route {
            key: "{}".to_owned(),
            receiver: String::new(),
            matchers: Vec::new(),
            go_on: false,
            group_by: GroupBy::Labels(Vec::new()),
            timing: DEFAULT_TIMING,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            children: Vec::new(),
        };
        Notifications {
            tree: Tree { routes: vec![root] },
            receivers: Vec::new(),
            inhibit: Vec::new(),
            time_intervals: BTreeMap::new(),
            templates: Arc::default(),
            resolve_timeout: DEFAULT_RESOLVE_TIMEOUT,
            global: Global::default(),
        }
    }

    /// Without a file: the receivers that alertd.yaml (`file`) has, told of by severity; nobody
    /// when it has none.
    pub fn bundled(file: &Path, receivers: &[ReceiverConfig]) -> Result<Notifications, Invalid> {
        let mut bare = Notifications::none();
        for (at, config) in receivers.iter().enumerate() {
            if config.name.is_empty() || config.name == bundled::NOBODY {
                let (key, found) = (format!("receivers[{at}].name"), format!("{:?}", config.name));
                return Err(Invalid::value(file, key, "a name of its own", found));
            }
            bare.receivers.push(Receiver { name: config.name.clone(), ..Receiver::default() });
        }
        let mut joined = bare.join(file, receivers)?;
        if !receivers.is_empty() {
            (joined.tree, joined.receivers) = bundled::bundled(joined.receivers);
        }
        Ok(joined)
    }

    /// Gives the receivers what alertd.yaml (`file`) has for those of the same names.
    pub fn join(mut self, file: &Path, additions: &[ReceiverConfig]) -> Result<Self, Invalid> {
        let mut seen = BTreeSet::new();
        for (at, addition) in additions.iter().enumerate() {
            let key = format!("receivers[{at}]");
            if !seen.insert(&addition.name) {
                let found = format!("{:?} once more", addition.name);
                return Err(Invalid::value(
                    file,
                    format!("{key}.name"),
                    "a name of its own",
                    found,
                ));
            }
            let names = self.receivers.iter().map(|receiver| receiver.name.as_str());
            let expected = one_of("receivers", &addition.name, names);
            let place = Place::new(file, key, &self.global);
            let mine = |receiver: &&mut Receiver| receiver.name == addition.name;
            let receiver = self.receivers.iter_mut().find(mine);
            let receiver = receiver
                .ok_or_else(|| place.bad("name", expected, format!("{:?}", addition.name)))?;
            addition.clone().join(receiver, &place)?;
        }
        Ok(self)
    }

    /// Names of the time intervals for which `route` tells nobody at `now`: those that it is muted
    /// in, or all that it is active in when none of them holds.
    pub fn time_muted_by<'a>(&self, route: &'a Route, now: Timestamp) -> Vec<&'a str> {
        let holds = |name: &&String| {
            let intervals = self.time_intervals.get(*name);
            intervals.is_some_and(|all| all.iter().any(|interval| interval.contains(now)))
        };
        let active = &route.active_time_intervals;
        if !active.is_empty() && !active.iter().any(|name| holds(&name)) {
            return active.iter().map(String::as_str).collect();
        }
        route.mute_time_intervals.iter().filter(holds).map(String::as_str).collect()
    }

    /// Every integration of every receiver.
    pub fn integrations(&self) -> Vec<Integration> {
        self.receivers.iter().flat_map(Receiver::integrations).collect()
    }

    /// Reads every file that a receiver names, to find out whether it can be used now.
    pub fn check_files(&self, file: &Path) -> Result<(), Invalid> {
        for receiver in &self.receivers {
            let bad = |expected: &str, found| {
                Invalid::value(file, format!("receivers[{}]", receiver.name), expected, found)
            };
            for path in receiver.secret_files() {
                Secret::read(path)
                    .map_err(|error| bad("a file with one secret", causes(&error)))?;
            }
            for http in receiver.http_configs() {
                http.check_files()
                    .map_err(|error| bad("files that can be used", causes(&error)))?;
            }
        }
        Ok(())
    }
}

/// Reads and checks the file; files of secrets are looked for beside it and read when used.
pub fn load(file: &Path) -> Result<Notifications, Invalid> {
    resolve(file, yaml::load(file)?)
}

/// The same from text; `file` is for messages, and for the folder of relative names.
pub fn parse(file: &Path, text: &str) -> Result<Notifications, Invalid> {
    resolve(file, yaml::parse(file, text)?)
}

fn resolve(path: &Path, file: File) -> Result<Notifications, Invalid> {
    file.global.check(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let patterns: Vec<_> = file.templates.iter().map(|name| folder.join(name)).collect();
    let templates = Arc::new(Templates::load(path, &patterns)?);
    let root = file.route.ok_or_else(|| Invalid::value(path, "route", "a root route", "none"))?;
    let mut receivers = Vec::new();
    let mut names = BTreeSet::new();
    for (at, receiver) in file.receivers.into_iter().enumerate() {
        let key = format!("receivers[{at}]");
        if receiver.name.is_empty() || !names.insert(receiver.name.clone()) {
            let found = format!("{:?} once more", receiver.name);
            return Err(Invalid::value(path, format!("{key}.name"), "a name of its own", found));
        }
        receivers.push(receiver.resolve(&Place::new(path, key, &file.global))?);
    }
    let mut time_intervals = BTreeMap::new();
    for (key, list) in
        [("mute_time_intervals", file.mute_time_intervals), ("time_intervals", file.time_intervals)]
    {
        for (at, named) in list.into_iter().enumerate() {
            let bad = |found: String| {
                let key = format!("{key}[{at}].name");
                Invalid::value(path, key, "a name of its own", found)
            };
            if named.name.is_empty() {
                return Err(bad("none".to_owned()));
            }
            if time_intervals.contains_key(&named.name) {
                return Err(bad(format!("{:?} once more", named.name)));
            }
            time_intervals.insert(named.name, named.time_intervals);
        }
    }
    let known =
        Names { receivers: names, time_intervals: time_intervals.keys().cloned().collect() };
    let tree = root.resolve(path, &known)?;
    let mut inhibit = Vec::new();
    for (at, rule) in file.inhibit_rules.into_iter().enumerate() {
        inhibit.push(rule.resolve(path, &format!("inhibit_rules[{at}]"))?);
    }
    let resolve_timeout = file.global.resolve_timeout.unwrap_or(DEFAULT_RESOLVE_TIMEOUT);
    let global = file.global;
    Ok(Notifications {
        tree,
        receivers,
        inhibit,
        time_intervals,
        templates,
        resolve_timeout,
        global,
    })
}

/// What was expected where one of `names` has to stand: a few of them, and the nearest.
fn one_of<'a>(what: &str, found: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let some: Vec<_> = names.clone().take(MAX_NAMED).collect();
    let meant = yaml::nearest(found, names).map(|name| format!("; did you mean {name:?}?"));
    format!("one of the {what} ({}{})", some.join(", "), meant.unwrap_or_default())
}

/// An empty value is the default, as in Alertmanager's file.
pub(super) fn nullable<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
