//! The runners that GitHub knows, as families: counts for all, series of their own for those that
//! stay.

use std::collections::BTreeMap;

use super::fleet::Fleet;
use super::normalise::{self, OTHER};
use crate::github::model::{Runner, RunnerStatus};
use crate::metric::{Desc, Families};

const RUNNERS: Desc = Desc::gauge(
    "github_runners",
    "Runners registered at GitHub, by their labels and by what GitHub says they do: idle, busy, \
     offline, or other for a word that is not known.",
)
.with_labels(&["scope", "labels", "status"]);
const ONLINE: Desc = Desc::gauge(
    "github_runner_online",
    "Whether GitHub shows the runner online; it takes about a minute to see that one is gone. Not \
     for ephemeral runners, and for 250 of a scope at most.",
)
.with_labels(&["scope", "runner"]);
const BUSY: Desc = Desc::gauge(
    "github_runner_busy",
    "Whether GitHub shows the runner busy, which lags by up to a minute and can be wrong.",
)
.with_labels(&["scope", "runner"]);
const HIDDEN: Desc = Desc::gauge(
    "github_runners_without_series",
    "Runners that have no series of their own: ephemeral ones, and those beyond the 250.",
)
.with_labels(&["scope"]);
const VERSIONS: Desc =
    Desc::gauge("github_runners_by_version", "Runners by the version of their agent.")
        .with_labels(&["scope", "version"]);
const OUTDATED: Desc = Desc::gauge(
    "github_runners_outdated",
    "Runners whose agent is older than the newest one seen in any scope. GitHub turns a version \
     away about 30 days after the next one came out.",
)
.with_labels(&["scope"]);

pub const DESCS: &[Desc] = &[RUNNERS, ONLINE, BUSY, HIDDEN, VERSIONS, OUTDATED];

/// Runners of a scope with series of their own.
const MOST_RUNNERS: usize = 250;
/// Label sets and versions of a scope that are told apart.
const MOST_SETS: usize = 100;
const MOST_VERSIONS: usize = 20;

/// Adds what is known of each scope's runners.
pub fn families(fleet: &Fleet, out: &mut Families) {
    let all = fleet.scopes.values().flat_map(|registered| &registered.runners);
    let newest = all.filter_map(|runner| parts(runner.version.as_deref()?)).max();
    for (scope, registered) in &fleet.scopes {
        counts(scope, &registered.runners, out);
        singles(scope, &registered.runners, out);
        versions(scope, &registered.runners, newest.as_deref(), out);
    }
}

fn counts(scope: &str, runners: &[Runner], out: &mut Families) {
    let mut counts: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for runner in runners {
        let mut labels = labels(runner);
        if counts.len() >= MOST_SETS && !counts.contains_key(&labels) {
            labels = OTHER.to_owned();
        }
        let status = match (runner.status, runner.busy) {
            (RunnerStatus::Online, false) => "idle",
            (RunnerStatus::Online, true) => "busy",
            (RunnerStatus::Offline, _) => "offline",
            (RunnerStatus::Other, _) => OTHER,
        };
        *counts.entry(labels).or_default().entry(status).or_default() += 1;
    }
    // An empty fleet is told, and so is a pool whose last idle runner went.
    if counts.is_empty() {
        counts.entry(normalise::labels(&[])).or_default();
    }
    for (labels, by_status) in counts {
        for status in ["idle", "busy", "offline"] {
            let count = by_status.get(status).copied().unwrap_or(0);
            out.add(&RUNNERS, &[scope, &labels, status], count as f64);
        }
        if let Some(count) = by_status.get(OTHER) {
            out.add(&RUNNERS, &[scope, &labels, OTHER], *count as f64);
        }
    }
}

fn singles(scope: &str, runners: &[Runner], out: &mut Families) {
    let lasting = runners.iter().filter(|runner| runner.ephemeral != Some(true));
    // Of the same name there may be two while one replaces the other: the later one counts.
    let by_name: BTreeMap<String, &Runner> =
        lasting.map(|runner| (normalise::text(&runner.name), runner)).collect();
    let shown = by_name.iter().take(MOST_RUNNERS);
    let hidden = runners.len() - shown.len();
    for (name, runner) in shown {
        match runner.status {
            RunnerStatus::Online => out.add(&ONLINE, &[scope, name], 1.0),
            RunnerStatus::Offline => out.add(&ONLINE, &[scope, name], 0.0),
            RunnerStatus::Other => {}
        }
        out.add(&BUSY, &[scope, name], f64::from(u8::from(runner.busy)));
    }
    out.add(&HIDDEN, &[scope], hidden as f64);
}

fn versions(scope: &str, runners: &[Runner], newest: Option<&[u64]>, out: &mut Families) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut outdated = 0;
    for version in runners.iter().filter_map(|runner| runner.version.as_deref()) {
        *counts.entry(normalise::text(version)).or_default() += 1;
        outdated += u64::from(parts(version).as_deref().is_some_and(|it| Some(it) < newest));
    }
    if counts.is_empty() {
        return;
    }
    let mut ordered: Vec<_> = counts.into_iter().collect();
    ordered.sort_by_cached_key(|(version, _)| std::cmp::Reverse(parts(version)));
    let rest: u64 = ordered.iter().skip(MOST_VERSIONS).map(|(_, count)| count).sum();
    for (version, count) in ordered.iter().take(MOST_VERSIONS) {
        out.add(&VERSIONS, &[scope, version], *count as f64);
    }
    if rest > 0 {
        out.add(&VERSIONS, &[scope, OTHER], rest as f64);
    }
    out.add(&OUTDATED, &[scope], outdated as f64);
}

/// All labels as one value, spelled as those of jobs are.
fn labels(runner: &Runner) -> String {
    let names: Vec<_> = runner.labels.iter().map(|label| label.name.clone()).collect();
    normalise::labels(&names)
}

/// `2.330.0` as numbers.
fn parts(version: &str) -> Option<Vec<u64>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflows::fleet::Registered;

    fn runner(name: &str, more: serde_json::Value) -> Runner {
        let mut runner = serde_json::json!({ "id": 1, "name": name, "status": "online" });
        for (key, value) in more.as_object().unwrap() {
            runner[key] = value.clone();
        }
        serde_json::from_value(runner).unwrap()
    }

    /// The page's lines, `family{labels} value`.
    fn page(scopes: Vec<(&str, Vec<Runner>)>) -> Vec<String> {
        let registered = |runners| Registered { runners, read_at: 1.0 };
        let scopes = scopes.into_iter();
        let scopes =
            scopes.map(|(scope, runners)| (scope.to_owned(), registered(runners))).collect();
        let mut out = Families::default();
        families(&Fleet { scopes }, &mut out);
        let line = |name: &str, sample: &crate::metric::Sample| {
            format!("{name}{{{}}} {}", sample.labels.replace('"', ""), sample.value)
        };
        let lines = out
            .iter()
            .flat_map(|family| family.samples.iter().map(move |sample| line(&family.name, sample)));
        lines.collect()
    }

    #[test]
    fn a_fleet_is_counted_and_an_empty_one_is_zero() {
        let label = |name: &str| serde_json::json!({ "name": name });
        let labels = serde_json::json!([label("Linux"), label("ci"), label("CI")]);
        let found = page(vec![
            (
                "o",
                vec![
                    runner("a", serde_json::json!({"labels": labels, "version": "2.9.1"})),
                    runner(
                        "b",
                        serde_json::json!({"labels": labels, "busy": true,
                        "status": "offline", "version": "2.330.0"}),
                    ),
                    runner("c", serde_json::json!({"busy": true, "ephemeral": true})),
                    runner("d", serde_json::json!({"status": "asleep"})),
                ],
            ),
            ("o/r", vec![]),
        ]);
        let want = [
            "github_runners{scope=o,labels=ci,linux,status=idle} 1",
            "github_runners{scope=o,labels=ci,linux,status=busy} 0",
            "github_runners{scope=o,labels=ci,linux,status=offline} 1",
            "github_runners{scope=o,labels=none,status=idle} 0",
            "github_runners{scope=o,labels=none,status=busy} 1",
            "github_runners{scope=o,labels=none,status=offline} 0",
            "github_runners{scope=o,labels=none,status=other} 1",
            "github_runners{scope=o/r,labels=none,status=idle} 0",
            "github_runners{scope=o/r,labels=none,status=busy} 0",
            "github_runners{scope=o/r,labels=none,status=offline} 0",
            "github_runner_online{scope=o,runner=a} 1",
            "github_runner_online{scope=o,runner=b} 0",
            "github_runner_busy{scope=o,runner=a} 0",
            "github_runner_busy{scope=o,runner=b} 1",
            "github_runner_busy{scope=o,runner=d} 0",
            "github_runners_without_series{scope=o} 1",
            "github_runners_without_series{scope=o/r} 0",
            "github_runners_by_version{scope=o,version=2.330.0} 1",
            "github_runners_by_version{scope=o,version=2.9.1} 1",
            "github_runners_outdated{scope=o} 1",
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn a_hostile_fleet_stays_bounded() {
        // Numbers would be masked.
        let letters = |at: u64| -> String {
            at.to_string().bytes().map(|digit| char::from(b'g' + digit - b'0')).collect()
        };
        let hostile = |at: u64| {
            let name = format!("r{at}{}", "x".repeat(300));
            let labels = serde_json::json!([{ "name": letters(at) }]);
            runner(&name, serde_json::json!({"labels": labels, "version": format!("2.{at}.0")}))
        };
        let found = page(vec![("o", (0..5000).map(hostile).collect())]);
        assert!(found.len() < 4 * (MOST_SETS + 1) + 2 * MOST_RUNNERS + MOST_VERSIONS + 4);
        assert!(found.iter().all(|line| line.chars().count() < 250));
        assert!(
            found.contains(&"github_runners{scope=o,labels=other,status=idle} 4900".to_owned())
        );
        assert!(
            found.contains(&"github_runners_by_version{scope=o,version=other} 4980".to_owned())
        );
        assert!(found.contains(&"github_runners_outdated{scope=o} 4999".to_owned()));
        assert!(found.contains(&"github_runners_without_series{scope=o} 4750".to_owned()));
    }
}
