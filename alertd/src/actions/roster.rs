//! From an alert's labels to the pool and member it is about.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::config::{Member, PoolConfig};
use super::glob;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// How long a runner's host is remembered after its last `runner_info`.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Runners remembered at most; past it the one seen longest ago is forgotten.
const MOST: usize = 10_000;

/// Which instance each runner was last seen on, and when. Pure: the caller gives the time and
/// keeps it in the database.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    runners: BTreeMap<String, Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub instance: String,
    pub seen_at: Timestamp,
}

/// The pools with what is remembered of their runners; clones share the memory.
#[derive(Clone)]
pub struct Roster {
    pools: Arc<Vec<PoolConfig>>,
    memory: Arc<RwLock<Memory>>,
}

impl Memory {
    pub fn new(rows: impl IntoIterator<Item = (String, Place)>) -> Memory {
        Memory { runners: rows.into_iter().collect() }
    }

    /// Takes in what `runner_info` says now, and forgets what is too old or too much.
    pub fn see(&mut self, seen: impl IntoIterator<Item = (String, String)>, now: Timestamp) {
        for (runner, instance) in seen {
            self.runners.insert(runner, Place { instance, seen_at: now });
        }
        self.runners.retain(|_, place| now.since(place.seen_at) <= REMEMBERED);
        while self.runners.len() > MOST {
            let oldest = self.runners.iter().min_by_key(|(_, place)| place.seen_at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
            self.runners.remove(&name);
        }
    }

    /// The instance on which the runner was last seen; names ignore case, as GitHub's do.
    pub fn instance(&self, runner: &str) -> Option<&str> {
        let exact = self.runners.get(runner);
        let place = exact.or_else(|| {
            let same = |(name, _): &(&String, &Place)| name.eq_ignore_ascii_case(runner);
            self.runners.iter().find(same).map(|(_, place)| place)
        });
        place.map(|place| place.instance.as_str())
    }

    /// The runners last seen on the instance.
    pub fn runners_on(&self, instance: &str) -> impl Iterator<Item = &str> {
        let here = move |place: &Place| place.instance.eq_ignore_ascii_case(instance);
        self.runners.iter().filter(move |(_, place)| here(place)).map(|(name, _)| name.as_str())
    }

    /// Whether both remember the same runners on the same instances, whenever seen.
    pub fn same_places(&self, other: &Memory) -> bool {
        let places = |memory: &'_ Memory| -> Vec<(String, String)> {
            memory.iter().map(|(name, place)| (name.to_owned(), place.instance.clone())).collect()
        };
        places(self) == places(other)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.runners.iter().map(|(name, place)| (name.as_str(), place))
    }
}

impl Member {
    pub fn has_runner(&self, name: &str) -> bool {
        self.runners.iter().any(|pattern| glob::matches(pattern, name))
    }

    pub fn has_instance(&self, instance: &str) -> bool {
        self.instances.iter().any(|have| have.eq_ignore_ascii_case(instance))
    }
}

/// The member of `pool` that an alert with these labels is about: by its runner, else by its
/// instance, each first through the pool's own lists and then through what is remembered.
///
/// `None` when it concerns no member, and when two members claim the runner.
pub fn member_of<'a>(pool: &'a PoolConfig, memory: &Memory, labels: &Labels) -> Option<&'a Member> {
    let by_runner = |runner: &str| {
        let mut fit = pool.members.iter().filter(|member| member.has_runner(runner));
        let first = fit.next();
        first.filter(|_| fit.next().is_none())
    };
    let by_instance =
        |instance: &str| pool.members.iter().find(|member| member.has_instance(instance));
    if let Some(runner) = labels.get("runner") {
        let found = by_runner(runner);
        let found = found.or_else(|| memory.instance(runner).and_then(by_instance));
        if found.is_some() {
            return found;
        }
    }
    let instance = labels.get("instance")?;
    by_instance(instance).or_else(|| memory.runners_on(instance).find_map(by_runner))
}

impl Roster {
    pub fn new(pools: Vec<PoolConfig>, memory: Memory) -> Roster {
        Roster { pools: Arc::new(pools), memory: Arc::new(RwLock::new(memory)) }
    }

    pub fn pools(&self) -> &[PoolConfig] {
        &self.pools
    }

    /// What is added to an alert when it is told: `pool` and `member`; several pools are joined
    /// by commas in the order of the configuration, and their members likewise.
    pub fn enrich(&self, labels: &Labels) -> Vec<(String, String)> {
        let memory = self.memory();
        let hits: Vec<(&str, &str)> = self
            .pools
            .iter()
            .filter_map(|pool| {
                member_of(pool, &memory, labels).map(|found| (&*pool.name, &*found.name))
            })
            .collect();
        if hits.is_empty() {
            return Vec::new();
        }
        let join = |names: Vec<&str>| names.join(",");
        vec![
            ("pool".to_owned(), join(hits.iter().map(|hit| hit.0).collect())),
            ("member".to_owned(), join(hits.iter().map(|hit| hit.1).collect())),
        ]
    }

    /// A copy of what is remembered now.
    pub fn memory(&self) -> Memory {
        self.memory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn see(&self, seen: impl IntoIterator<Item = (String, String)>, now: Timestamp) {
        self.memory.write().unwrap_or_else(PoisonError::into_inner).see(seen, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::fixtures::pool;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn memory() -> Memory {
        let mut memory = Memory::default();
        let seen = [("odd-name", "a:9610"), ("b-1", "elsewhere:9610"), ("stranger", "c:9610")];
        memory.see(seen.map(|(runner, place)| (runner.to_owned(), place.to_owned())), at(0));
        memory
    }

    #[test]
    fn runner_first_then_instance_then_memory() {
        let roster = Roster::new(vec![pool()], memory());
        for (labels, want) in [
            (&[("runner", "a-3"), ("instance", "b:9610")][..], Some("primary")),
            (&[("runner", "A-3")], Some("primary")),
            (&[("runner", "b-1")], Some("backup")),
            // A runner outside the patterns counts for the host that it was seen on.
            (&[("runner", "odd-name")], Some("primary")),
            (&[("runner", "ODD-NAME")], Some("primary")),
            (&[("runner", "stranger"), ("instance", "b:9610")], Some("backup")),
            (&[("instance", "a:9610")], Some("primary")),
            // An instance outside the lists counts for the runner that was seen there.
            (&[("instance", "elsewhere:9610")], Some("backup")),
            (&[("instance", "c:9610")], None),
            (&[("runner", "nobody")], None),
            (&[("alertname", "Watchdog")], None),
        ] {
            let got = roster.enrich(&Labels::from_pairs(labels.iter().copied()));
            let want = want.map(|member| {
                vec![("pool".to_owned(), "ci".to_owned()), ("member".to_owned(), member.to_owned())]
            });
            assert_eq!(got, want.unwrap_or_default(), "{labels:?}");
        }
    }

    #[test]
    fn a_runner_that_two_members_claim_belongs_to_neither() {
        let mut pool = pool();
        pool.members[1].runners.push("a-1*".to_owned());
        let labels = Labels::from_pairs([("runner", "a-1")]);
        assert!(member_of(&pool, &Memory::default(), &labels).is_none());
    }

    #[test]
    fn remembered_for_a_day_after_the_last_sight() {
        let mut memory = memory();
        memory.see([("odd-name".to_owned(), "a:9610".to_owned())], at(10));
        memory.see([], at(24 * 3600 + 5));
        assert_eq!(memory.instance("odd-name"), Some("a:9610"));
        assert_eq!(memory.instance("b-1"), None);
    }
}
