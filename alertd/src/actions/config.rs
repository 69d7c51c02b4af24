//! Pools as the configuration file describes them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use pitcrew_exporter::config::yaml::Invalid;
use pitcrew_exporter::github::scope::Scope;
use serde::{Deserialize, Deserializer, de};

use super::glob;

/// Labels that GitHub sets itself; they cannot be moved.
const READ_ONLY: [&str; 9] =
    ["self-hosted", "linux", "windows", "macos", "x64", "x86", "arm", "arm64", "github-hosted"];

/// What holds for every pool.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActionsConfig {
    /// Time between two reads of a pool's runners when nothing asks for one sooner.
    #[serde(with = "duration")]
    pub reconcile_interval: Duration,
    /// How long a waiting job may take to start on the new member before the failover counts as
    /// not verified.
    #[serde(with = "duration")]
    pub verify_within: Duration,
}

/// A routing label and the members that may carry it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    pub name: String,
    /// What workflows ask for in `runs-on`.
    pub label: String,
    /// Where the runners are registered.
    pub scope: Scope,
    /// In priority order: the first one is the primary.
    pub members: Vec<Member>,
    #[serde(default)]
    pub standby: Standby,
    /// How long jobs wait, with every labelled runner busy, before a lower member helps.
    #[serde(default = "two_minutes", with = "duration")]
    pub spill_after: Duration,
    #[serde(default = "runner_offline")]
    pub fail_over_on: Vec<Trigger>,
    #[serde(default)]
    pub down_when: DownWhen,
    /// So many healthy runners keep the label, whatever happens.
    #[serde(default = "one")]
    pub min_healthy: usize,
    #[serde(default)]
    pub failback: Failback,
    #[serde(default)]
    pub trust: Trust,
    /// Least time between two automatic failovers off the same member.
    #[serde(default = "ten_minutes", with = "duration")]
    pub cooldown: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub name: String,
    /// The `instance` labels under which the member's exporters are scraped.
    #[serde(default)]
    pub instances: Vec<String>,
    /// Patterns of registered runner names; `*` and `?`, ignoring case.
    pub runners: Vec<String>,
    /// Jobs that the member runs at a time: its number of registered runners.
    pub capacity: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standby {
    /// A lower member gets the label only on failover.
    #[default]
    Cold,
    /// It also gets it while the higher ones are all busy and jobs wait.
    Overflow,
}

/// An alert that asks for something, once it has been firing for `after`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    pub alert: String,
    #[serde(default, with = "duration")]
    pub after: Duration,
    #[serde(rename = "do")]
    pub response: Response,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// Off the member, onto the next one.
    Move,
    /// The next member helps; this one keeps its label.
    Add,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownWhen {
    /// A member is down when less than this share of its runners is up.
    pub healthy_below: Share,
}

/// A share in 0–1, written as in `50%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failback {
    /// The member must be healthy without a break for this long before it gets its label back.
    #[serde(with = "duration")]
    pub healthy_for: Duration,
    /// The time over which its runners get the label: one, two, four, …
    #[serde(with = "duration")]
    pub over: Duration,
}

/// What Pitcrew may do without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Nothing is written, by nobody's order: what would have been done is recorded.
    #[default]
    Shadow,
    /// Plans are recorded and told; a person's `pool failover` or `pool failback` executes them.
    Approve,
    Auto,
}

impl PoolConfig {
    /// Checks what types cannot; `file` is only for the message.
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let key = |what: &str| format!("pools[{}].{what}", self.name);
        let wrong = |what: &str, expected: &str, found: String| {
            Err(Invalid::value(file, key(what), expected, found))
        };
        if !is_plain(&self.name) {
            return wrong("name", "letters, digits, '-', '_' or '.'", format!("{:?}", self.name));
        }
        if !is_plain(&self.label) {
            let expected = "one label of letters, digits, '-', '_' or '.', at most 64 of them";
            return wrong("label", expected, format!("{:?}", self.label));
        }
        if READ_ONLY.iter().any(|label| label.eq_ignore_ascii_case(&self.label)) {
            let expected = "a custom label: GitHub sets this one itself and it cannot be moved";
            return wrong("label", expected, self.label.clone());
        }
        if self.members.len() < 2 {
            let found = self.members.len().to_string();
            return wrong("members", "at least two, in priority order", found);
        }
        let mut names = BTreeSet::new();
        let mut instances = BTreeSet::new();
        let mut globs = BTreeSet::new();
        for member in &self.members {
            let at = |what: &str| format!("members[{}].{what}", member.name);
            if !is_plain(&member.name) {
                let found = format!("{:?}", member.name);
                return wrong("members.name", "letters, digits, '-', '_' or '.'", found);
            }
            if !names.insert(member.name.to_lowercase()) {
                return wrong("members.name", "a name of its own", member.name.clone());
            }
            if member.runners.is_empty() {
                return wrong(&at("runners"), "at least one pattern", "none".to_owned());
            }
            for pattern in &member.runners {
                if glob::is_unbounded(pattern) {
                    let expected = "a pattern that names some runners, such as host1-*";
                    return wrong(&at("runners"), expected, format!("{pattern:?}"));
                }
                if !globs.insert(pattern.to_lowercase()) {
                    let expected = "a pattern that no other place of this pool has";
                    return wrong(&at("runners"), expected, format!("{pattern:?}"));
                }
            }
            for instance in &member.instances {
                if instance.trim().is_empty() || !instances.insert(instance.to_lowercase()) {
                    let expected = "an instance label that no other place of this pool has";
                    return wrong(&at("instances"), expected, format!("{instance:?}"));
                }
            }
            if member.capacity == 0 {
                return wrong(&at("capacity"), "at least 1", "0".to_owned());
            }
        }
        if self.fail_over_on.is_empty() {
            return wrong("fail_over_on", "at least one alert", "none".to_owned());
        }
        let mut alerts = BTreeSet::new();
        for trigger in &self.fail_over_on {
            if trigger.alert.trim().is_empty() {
                return wrong("fail_over_on.alert", "the name of an alert", "nothing".to_owned());
            }
            if !alerts.insert(&trigger.alert) {
                let expected = "each alert once";
                return wrong("fail_over_on.alert", expected, trigger.alert.clone());
            }
        }
        if self.min_healthy == 0 {
            let expected = "at least 1: a label that no runner carries stops every job";
            return wrong("min_healthy", expected, "0".to_owned());
        }
        let most = self.members.iter().map(|member| member.capacity).max().unwrap_or(0);
        if self.min_healthy > most {
            let expected = format!("at most the largest member's capacity ({most})");
            return wrong("min_healthy", &expected, self.min_healthy.to_string());
        }
        if self.spill_after.is_zero() {
            return wrong("spill_after", "more than 0s", "0s".to_owned());
        }
        Ok(())
    }
}

/// Checks each pool, and that no two pools share a name or a label in one scope.
pub fn check_all(pools: &[PoolConfig], file: &Path) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    let mut labels = BTreeSet::new();
    for pool in pools {
        pool.check(file)?;
        if !names.insert(pool.name.to_lowercase()) {
            let expected = "a name that no other pool has";
            return Err(Invalid::value(file, "pools.name", expected, &pool.name));
        }
        if !labels.insert((pool.scope.to_string(), pool.label.to_lowercase())) {
            let key = format!("pools[{}].label", pool.name);
            let expected = "a label that no other pool moves in the same scope";
            return Err(Invalid::value(file, key, expected, &pool.label));
        }
    }
    Ok(())
}

impl ActionsConfig {
    pub fn check(&self, file: &Path) -> Result<(), Invalid> {
        let least = Duration::from_millis(100);
        for (key, time) in [
            ("actions.reconcile_interval", self.reconcile_interval),
            ("actions.verify_within", self.verify_within),
        ] {
            if time < least {
                return Err(Invalid::value(file, key, "at least 100ms", duration::format(time)));
            }
        }
        Ok(())
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty()
        && text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

impl Default for ActionsConfig {
    fn default() -> ActionsConfig {
        ActionsConfig {
            reconcile_interval: Duration::from_secs(30),
            verify_within: Duration::from_secs(120),
        }
    }
}

impl Default for DownWhen {
    fn default() -> DownWhen {
        DownWhen { healthy_below: Share(0.5) }
    }
}

impl Default for Failback {
    fn default() -> Failback {
        Failback { healthy_for: Duration::from_secs(300), over: Duration::from_secs(600) }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Share, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share above 0% and up to 100%, such as 50%")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                let percent =
                    text.strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
                percent
                    .filter(|percent| 0.0 < *percent && *percent <= 100.0)
                    .map(|percent| Share(percent / 100.0))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        from.deserialize_str(Text)
    }
}

fn one() -> usize {
    1
}

fn two_minutes() -> Duration {
    Duration::from_secs(120)
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn runner_offline() -> Vec<Trigger> {
    let alert = "RunnerOffline".to_owned();
    vec![Trigger { alert, after: Duration::ZERO, response: Response::Move }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pitcrew_exporter::config::yaml;

    const GOOD: &str = r#"
name: ci
label: ci-active
scope: { repository: owner/name }
members:
  - { name: primary, instances: ["192.168.0.201:9610"], runners: ["dell-r640-01-*"], capacity: 8 }
  - { name: backup, instances: ["192.168.0.202:9610"], runners: ["serotonin-*"], capacity: 4 }
standby: overflow
spill_after: 2m
fail_over_on: [ { alert: RunnerOffline, do: move }, { alert: RunnerHighCPU, after: 5m, do: add } ]
down_when: { healthy_below: 50% }
min_healthy: 1
failback: { healthy_for: 5m, over: 10m }
trust: shadow
"#;

    fn read(text: &str) -> Result<PoolConfig, Invalid> {
        let file = Path::new("alertd.yaml");
        let pool: PoolConfig = yaml::parse(file, text)?;
        pool.check(file)?;
        Ok(pool)
    }

    #[test]
    fn the_documented_example_is_read() {
        let pool = read(GOOD).unwrap();
        assert_eq!(pool.members[1].capacity, 4);
        assert_eq!(pool.fail_over_on[1].after, Duration::from_secs(300));
        assert_eq!(pool.fail_over_on[1].response, Response::Add);
        assert_eq!(pool.down_when.healthy_below, Share(0.5));
        assert_eq!((pool.standby, pool.trust), (Standby::Overflow, Trust::Shadow));
    }

    #[test]
    fn little_is_enough_and_defaults_are_careful() {
        let pool = read(
            "{name: ci, label: x, scope: {organization: o}, members: [{name: a, runners: [a-*], \
             capacity: 1}, {name: b, runners: [b-*], capacity: 1}]}",
        )
        .unwrap();
        assert_eq!((pool.trust, pool.standby), (Trust::Shadow, Standby::Cold));
        assert_eq!(pool.fail_over_on, runner_offline());
        assert_eq!(pool.cooldown, Duration::from_secs(600));
    }

    #[test]
    fn what_cannot_be_is_refused_with_key_and_expectation() {
        for (from, to, want) in [
            ("label: ci-active", "label: Self-Hosted", "pools[ci].label: expected a custom label"),
            ("label: ci-active", "label: \"a,b\"", "pools[ci].label: expected one label"),
            ("label: ci-active", "label: \"\"", "pools[ci].label"),
            ("name: ci\n", "name: \"../x\"\n", "expected letters"),
            ("name: backup", "name: Primary", "expected a name of its own"),
            ("[\"serotonin-*\"]", "[\"*\"]", "expected a pattern that names some runners"),
            ("[\"serotonin-*\"]", "[]", "members[backup].runners: expected at least one"),
            ("[\"serotonin-*\"]", "[\"DELL-R640-01-*\"]", "no other place"),
            ("192.168.0.202", "192.168.0.201", "members[backup].instances"),
            ("capacity: 4", "capacity: 0", "members[backup].capacity: expected at least 1"),
            ("healthy_below: 50%", "healthy_below: 0%", "above 0%"),
            ("healthy_below: 50%", "healthy_below: 150%", "above 0%"),
            ("min_healthy: 1", "min_healthy: 0", "expected at least 1"),
            ("min_healthy: 1", "min_healthy: 9", "largest member's capacity (8)"),
            ("alert: RunnerHighCPU", "alert: RunnerOffline", "each alert once"),
            ("alert: RunnerHighCPU", "alert: \"\"", "the name of an alert"),
            ("do: add", "do: nothing", "nothing"),
            ("trust: shadow", "trust: yolo", "yolo"),
            ("spill_after: 2m", "spill_after: 0", "more than 0s"),
            ("standby:", "stand_by:", "did you mean `standby`"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = read(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(want), "{to}: {error}");
        }
    }

    #[test]
    fn two_pools_do_not_move_one_label() {
        let one = read(GOOD).unwrap();
        let mut two = one.clone();
        let file = Path::new("a");
        let error = |pools: &[PoolConfig]| check_all(pools, file).unwrap_err().to_string();
        assert!(error(&[one.clone(), two.clone()]).contains("no other pool has"));
        two.name = "other".to_owned();
        assert!(error(&[one.clone(), two.clone()]).contains("same scope"));
        two.label = "other".to_owned();
        check_all(&[one, two], file).unwrap();
    }
}
