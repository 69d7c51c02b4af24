//! The `route` section: a tree as it is written, to the flat one that alerts are sorted by.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use serde::Deserialize;

use super::conditions::conditions;
use super::{DEFAULT_TIMING, nullable, one_of};
use crate::route::matchers;
use crate::route::tree::{GroupBy, Route, Timing, Tree};

/// Routes nested deeper are refused.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteFile {
    receiver: Option<String>,
    group_by: Option<Vec<String>>,
    #[serde(with = "duration::optional")]
    group_wait: Option<Duration>,
    #[serde(with = "duration::optional")]
    group_interval: Option<Duration>,
    #[serde(with = "duration::optional")]
    repeat_interval: Option<Duration>,
    #[serde(rename = "continue", deserialize_with = "nullable")]
    go_on: bool,
    #[serde(deserialize_with = "nullable")]
    matchers: Vec<String>,
    #[serde(rename = "match", deserialize_with = "nullable")]
    equal: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    match_re: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    active_time_intervals: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    mute_time_intervals: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    routes: Vec<RouteFile>,
}

/// What routes may name.
pub(super) struct Names {
    pub(super) receivers: BTreeSet<String>,
    pub(super) time_intervals: BTreeSet<String>,
}

impl RouteFile {
    /// The tree below this route, its root.
    pub(super) fn resolve(self, file: &Path, names: &Names) -> Result<Tree, Invalid> {
        let mut tree = Tree { routes: Vec::new() };
        self.add(file, "route", None, names, &mut tree, 0)?;
        Ok(tree)
    }

    /// Appends this route and those below it; returns its place.
    fn add(
        self,
        file: &Path,
        key: &str,
        parent: Option<usize>,
        names: &Names,
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
            if parent.is_none() && !list.is_empty() {
                return Err(bad(name, "none on the root, which takes all", "some".into()));
            }
            if let Some(unknown) = list.iter().find(|name| !names.time_intervals.contains(*name)) {
                let known = names.time_intervals.iter().map(String::as_str);
                let expected = one_of("time_intervals", unknown, known);
                return Err(bad(name, &expected, format!("{unknown:?}")));
            }
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
        let receiver = self.receiver.filter(|name| !name.is_empty());
        let receiver = receiver.or_else(|| above.as_ref().map(|above| above.receiver.clone()));
        let receiver =
            receiver.ok_or_else(|| bad("receiver", "the name of a receiver", "none".into()))?;
        if !names.receivers.contains(&receiver) {
            let known = names.receivers.iter().map(String::as_str);
            let expected = one_of("receivers", &receiver, known);
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
            mute_time_intervals: self.mute_time_intervals,
            active_time_intervals: self.active_time_intervals,
            children: Vec::new(),
        });
        for (index, child) in self.routes.into_iter().enumerate() {
            let key = format!("{key}.routes[{index}]");
            let child = child.add(file, &key, Some(at), names, tree, depth + 1)?;
            if let Some(route) = tree.routes.get_mut(at) {
                route.children.push(child);
            }
        }
        Ok(at)
    }
}

fn group_by(file: &Path, key: &str, names: Vec<String>) -> Result<GroupBy, Invalid> {
    let key = format!("{key}.group_by");
    let mut seen = BTreeSet::new();
    for name in &names {
        if name == "..." && names.iter().any(|name| name != "...") {
            return Err(Invalid::value(file, key, "... alone", "other labels beside it"));
        }
        if name != "..." && !matchers::is_name(name) {
            return Err(Invalid::value(file, key, "names of labels", format!("{name:?}")));
        }
        if name != "..." && !seen.insert(name) {
            return Err(Invalid::value(file, key, "each label once", format!("{name:?} twice")));
        }
    }
    match names.first().map(String::as_str) {
        Some("...") => Ok(GroupBy::All),
        _ => Ok(GroupBy::Labels(names)),
    }
}
