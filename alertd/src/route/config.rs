//! Alertmanager's configuration file: global defaults, routing tree, receivers, inhibition; and what
//! alertd.yaml adds to its receivers.

mod conditions;
pub(super) mod global;
mod routes;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::yaml::{self, Invalid};
use pitcrew_exporter::secret::Secret;
use serde::Deserialize;
use serde::de::Deserializer;

use self::conditions::InhibitFile;
use self::global::{Global, Present};
use self::routes::{Names, RouteFile};
use super::inhibit::InhibitRule;
use super::receiver::additions::ReceiverConfig;
use super::receiver::file::ReceiverFile;
use super::receiver::place::Place;
use super::receiver::{Integration, Receiver};
use super::tree::{GroupBy, Route, Timing, Tree};
use crate::model::causes::causes;

/// Who is told of what: a checked configuration.
#[derive(Debug, Clone)]
pub struct Notifications {
    pub tree: Tree,
    pub receivers: Vec<Receiver>,
    pub inhibit: Vec<InhibitRule>,
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
    templates: Vec<Present>,
    #[serde(default, deserialize_with = "nullable")]
    time_intervals: Vec<Present>,
    #[serde(default, deserialize_with = "nullable")]
    mute_time_intervals: Vec<Present>,
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
            children: Vec::new(),
        };
        Notifications {
            tree: Tree { routes: vec![root] },
            receivers: Vec::new(),
            inhibit: Vec::new(),
            resolve_timeout: DEFAULT_RESOLVE_TIMEOUT,
            global: Global::default(),
        }
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
    let lists = [
        ("templates", &file.templates),
        ("time_intervals", &file.time_intervals),
        ("mute_time_intervals", &file.mute_time_intervals),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            return Err(Invalid::value(
                path,
                key,
                "no such key, which is not supported yet",
                "one",
            ));
        }
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
        receivers.push(receiver.resolve(&Place::new(path, key, &file.global))?);
    }
    let tree = root.resolve(path, &Names { receivers: names })?;
    let mut inhibit = Vec::new();
    for (at, rule) in file.inhibit_rules.into_iter().enumerate() {
        inhibit.push(rule.resolve(path, &format!("inhibit_rules[{at}]"))?);
    }
    let resolve_timeout = file.global.resolve_timeout.unwrap_or(DEFAULT_RESOLVE_TIMEOUT);
    Ok(Notifications { tree, receivers, inhibit, resolve_timeout, global: file.global })
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
