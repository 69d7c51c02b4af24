//! Inhibition: which firing alerts another firing alert silences (pure).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use super::dispatch::Origin;
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::matcher::Matcher;
use crate::model::sample::Timestamp;

/// Alerts held that may silence others; of more, some silence nothing: told rather than not.
const MAX_SOURCES: usize = 100_000;

/// While an alert that `source` matches fires, those that `target` matches are not told, if both
/// have the same values of the `equal` labels (one that neither has counts as equal).
#[derive(Debug, Clone)]
pub struct InhibitRule {
    pub source: Vec<Matcher>,
    pub target: Vec<Matcher>,
    pub equal: Vec<String>,
}

/// All rules, with the alerts that may silence others where their values of the `equal` labels find
/// them: what an alert costs depends on what fires with the same values, not on all that fires.
#[derive(Debug, Default)]
pub struct Inhibitor {
    rules: Vec<InhibitRule>,
    /// The different lists of `equal` labels, and the place in it of each rule's.
    equals: Vec<Vec<String>>,
    equal_of: Vec<usize>,
    /// By list and values: the rules that have sources there, with these.
    index: HashMap<u64, BTreeMap<usize, BTreeSet<Fingerprint>>>,
    /// Alerts that are a source of some rule.
    sources: HashMap<Fingerprint, Source>,
    /// Nothing of it ends before this.
    none_ends_before: Timestamp,
    /// Keyed, so that nobody can choose label values that meet.
    hasher: RandomState,
}

#[derive(Debug)]
struct Source {
    labels: Labels,
    ends_at: Timestamp,
    origin: Origin,
}

impl Inhibitor {
    pub fn new(rules: &[InhibitRule]) -> Inhibitor {
        let mut inhibitor = Inhibitor { rules: rules.to_vec(), ..Inhibitor::default() };
        for rule in rules {
            let known = inhibitor.equals.iter().position(|equal| *equal == rule.equal);
            let at = known.unwrap_or_else(|| {
                inhibitor.equals.push(rule.equal.clone());
                inhibitor.equals.len() - 1
            });
            inhibitor.equal_of.push(at);
        }
        inhibitor
    }

    /// Takes a report of an alert: if it may silence others, it does so until it ends.
    pub fn take(&mut self, alert: &Alert, origin: Origin, now: Timestamp) {
        let fingerprint = alert.fingerprint();
        if alert.is_resolved(now) {
            self.remove(fingerprint);
            return;
        }
        self.none_ends_before = self.none_ends_before.min(alert.ends_at);
        if let Some(source) = self.sources.get_mut(&fingerprint) {
            (source.ends_at, source.origin) = (alert.ends_at, origin);
            return;
        }
        let places = self.places(&alert.labels);
        if places.is_empty() || self.sources.len() >= MAX_SOURCES {
            return;
        }
        for (key, rule) in places {
            self.index.entry(key).or_default().entry(rule).or_default().insert(fingerprint);
        }
        let (labels, ends_at) = (alert.labels.clone(), alert.ends_at);
        self.sources.insert(fingerprint, Source { labels, ends_at, origin });
    }

    /// Lets go of what has ended.
    pub fn forget(&mut self, now: Timestamp) {
        if now < self.none_ends_before {
            return;
        }
        let ended = self.sources.iter().filter(|(_, source)| source.ends_at <= now);
        for fingerprint in ended.map(|(fingerprint, _)| *fingerprint).collect::<Vec<_>>() {
            self.remove(fingerprint);
        }
        let ends = self.sources.values().map(|source| source.ends_at);
        self.none_ends_before = ends.min().unwrap_or(Timestamp(i64::MAX));
    }

    /// The alert that silences one with these labels at `now`.
    ///
    /// An alert that both sides match is not silenced by another such alert, nor by itself; and one
    /// of our own not by what nobody signed for.
    pub fn inhibited_by(
        &self,
        labels: &Labels,
        origin: Origin,
        now: Timestamp,
    ) -> Option<Fingerprint> {
        let lists = 0..self.equals.len();
        let found = lists.filter_map(|at| self.index.get(&self.key(at, labels))).flatten();
        found.filter_map(|(at, sources)| Some((self.rules.get(*at)?, sources))).find_map(
            |(rule, sources)| {
                if !all(&rule.target, labels) {
                    return None;
                }
                let is_source = all(&rule.source, labels);
                sources.iter().copied().find(|fingerprint| {
                    self.sources.get(fingerprint).is_some_and(|source| {
                        let equal = |name: &String| source.labels.get(name) == labels.get(name);
                        source.ends_at > now
                            && !(origin == Origin::Own && source.origin == Origin::Anonymous)
                            && rule.equal.iter().all(equal)
                            && !(is_source && all(&rule.target, &source.labels))
                    })
                })
            },
        )
    }

    fn remove(&mut self, fingerprint: Fingerprint) {
        let Some(Source { labels, .. }) = self.sources.remove(&fingerprint) else { return };
        for (key, rule) in self.places(&labels) {
            let Some(rules) = self.index.get_mut(&key) else { continue };
            if let Some(sources) = rules.get_mut(&rule) {
                sources.remove(&fingerprint);
                if sources.is_empty() {
                    rules.remove(&rule);
                }
            }
            if rules.is_empty() {
                self.index.remove(&key);
            }
        }
    }

    /// Where an alert stands in the index as a source: key and rule.
    fn places(&self, labels: &Labels) -> Vec<(u64, usize)> {
        let rules = self.rules.iter().zip(&self.equal_of).enumerate();
        let mine = rules.filter(|(_, (rule, _))| all(&rule.source, labels));
        mine.map(|(at, (_, equal))| (self.key(*equal, labels), at)).collect()
    }

    fn key(&self, equal: usize, labels: &Labels) -> u64 {
        let names = self.equals.get(equal).map_or(&[][..], Vec::as_slice);
        let values: Vec<&str> = names.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        self.hasher.hash_one((equal, values))
    }
}

fn all(side: &[Matcher], labels: &Labels) -> bool {
    side.iter().all(|matcher| matcher.matches_labels(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::matchers::parse;
    use std::sync::Arc;

    fn alert(pairs: &[(&str, &str)], ends_at: i64) -> Alert {
        Alert {
            labels: Labels::from_pairs(pairs.iter().copied()),
            annotations: Arc::default(),
            starts_at: Timestamp(0),
            ends_at: Timestamp(ends_at),
            generator_url: Arc::default(),
        }
    }

    fn rule(source: &str, target: &str, equal: &[&str]) -> InhibitRule {
        InhibitRule {
            source: parse(source).unwrap(),
            target: parse(target).unwrap(),
            equal: equal.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_source_mutes_its_targets_and_not_its_like() {
        let two_sided = rule("severity=critical", "severity=~warning|critical", &["instance"]);
        let mut inhibitor = Inhibitor::new(&[two_sided]);
        inhibitor.take(
            &alert(&[("severity", "critical"), ("instance", "a")], 100),
            Origin::Own,
            Timestamp(0),
        );
        for (severity, instance, now, want) in [
            ("warning", "a", 50, true),
            ("warning", "b", 50, false),
            ("warning", "", 50, false),
            ("warning", "a", 100, false),
            ("critical", "a", 50, false),
            ("info", "a", 50, false),
        ] {
            let labels = Labels::from_pairs([("severity", severity), ("instance", instance)]);
            let found = inhibitor.inhibited_by(&labels, Origin::Own, Timestamp(now));
            assert_eq!(found.is_some(), want, "{severity} {instance} at {now}");
        }
    }

    #[test]
    fn as_alertmanager_decides() {
        // source | target | equal | what fires | asked | silenced
        for (source, target, equal, fires, asked, want) in [
            ("s=1", "t=1", &[][..], &[("s", "1")][..], &[("t", "1")][..], true),
            // Labels that neither has are equal; one that only one has is not.
            ("s=1", "t=1", &["e"], &[("s", "1")], &[("t", "1")], true),
            ("s=1", "t=1", &["e"], &[("s", "1"), ("e", "x")], &[("t", "1")], false),
            (
                "s=1",
                "t=1",
                &["e", "f"],
                &[("s", "1"), ("e", "x"), ("f", "y")],
                &[("t", "1"), ("e", "x"), ("f", "y")],
                true,
            ),
            (
                "s=1",
                "t=1",
                &["e", "f"],
                &[("s", "1"), ("e", "x"), ("f", "y")],
                &[("t", "1"), ("e", "y"), ("f", "x")],
                false,
            ),
            // Every matcher of a side has to match.
            ("s=1,u=2", "t=1", &[], &[("s", "1")], &[("t", "1")], false),
            ("s=1", "t=1,u!=2", &[], &[("s", "1")], &[("t", "1"), ("u", "2")], false),
            ("s=1", "t=~1|2,u=\"\"", &[], &[("s", "1")], &[("t", "2")], true),
            // Both on both sides: neither silences the other.
            (
                "s=1",
                "t=1",
                &[],
                &[("s", "1"), ("t", "1")],
                &[("s", "1"), ("t", "1"), ("x", "2")],
                false,
            ),
            // The target alone is on both sides: silenced. The source alone is: silenced too.
            ("s=1", "t=1", &[], &[("s", "1")], &[("s", "1"), ("t", "1")], true),
            ("s=1", "t=1", &[], &[("s", "1"), ("t", "1")], &[("t", "1")], true),
            // A side without matchers matches all.
            ("s=1", "", &[], &[("s", "1")], &[("x", "1")], true),
            ("", "", &[], &[("s", "1")], &[("x", "1")], false),
        ] {
            let mut inhibitor = Inhibitor::new(&[rule(source, target, equal)]);
            let source_alert = alert(fires, 100);
            inhibitor.take(&source_alert, Origin::Own, Timestamp(0));
            let asked = Labels::from_pairs(asked.iter().copied());
            let found = inhibitor.inhibited_by(&asked, Origin::Own, Timestamp(1));
            assert_eq!(
                found,
                want.then_some(source_alert.fingerprint()),
                "{source} {target} {asked}"
            );
        }
    }

    #[test]
    fn a_source_is_renewed_and_ends() {
        let mut inhibitor = Inhibitor::new(&[rule("s=1", "t=1", &["e"]), rule("s=1", "t=2", &[])]);
        let of = |ends_at| alert(&[("s", "1"), ("e", "x")], ends_at);
        let target = Labels::from_pairs([("t", "1"), ("e", "x")]);
        let mutes = |inhibitor: &Inhibitor, now| {
            inhibitor.inhibited_by(&target, Origin::Own, Timestamp(now)).is_some()
        };
        inhibitor.take(&of(100), Origin::Own, Timestamp(0));
        inhibitor.take(&of(200), Origin::Own, Timestamp(50));
        assert!(mutes(&inhibitor, 150) && !mutes(&inhibitor, 200));
        inhibitor.take(&of(160), Origin::Own, Timestamp(160));
        assert!(!mutes(&inhibitor, 160), "it resolved");
        inhibitor.take(&of(300), Origin::Own, Timestamp(170));
        inhibitor.forget(Timestamp(299));
        assert!(mutes(&inhibitor, 299));
        inhibitor.forget(Timestamp(300));
        assert!(inhibitor.sources.is_empty() && inhibitor.index.is_empty());
    }

    #[test]
    fn what_nobody_signed_for_silences_nothing_of_ours() {
        use Origin::{Anonymous, Known, Own};
        let mut inhibitor = Inhibitor::new(&[rule("s=1", "t=1", &[])]);
        let target = Labels::from_pairs([("t", "1")]);
        for (source, of, want) in [
            (Anonymous, Own, false),
            (Anonymous, Known, true),
            (Anonymous, Anonymous, true),
            (Known, Own, true),
            (Own, Own, true),
            // Whoever reported it last counts.
            (Anonymous, Own, false),
        ] {
            inhibitor.take(&alert(&[("s", "1")], 100), source, Timestamp(0));
            let found = inhibitor.inhibited_by(&target, of, Timestamp(1));
            assert_eq!(found.is_some(), want, "{source:?} silences {of:?}");
        }
    }

    /// Each source is found by its own values, however many others fire.
    #[test]
    fn a_thousand_alerts_and_86_rules() {
        let rules: Vec<_> = (0..86)
            .map(|n| {
                let source = format!("severity=critical,alertname=~\"Down{n}|Gone{n}\"");
                rule(&source, "severity=~\"warning|info\"", &["cluster", "host"])
            })
            .collect();
        let mut inhibitor = Inhibitor::new(&rules);
        let named = |n: usize, severity: &str| {
            let (name, host) = (format!("Down{}", n % 86), format!("h{n}"));
            let pairs = [
                ("alertname", name.as_str()),
                ("severity", severity),
                ("host", &host),
                ("cluster", "c"),
            ];
            alert(&pairs, 100)
        };
        for n in 0..500 {
            inhibitor.take(&named(n, "critical"), Origin::Own, Timestamp(0));
        }
        let muted = (0..1000).filter(|n| {
            inhibitor
                .inhibited_by(&named(*n, "warning").labels, Origin::Own, Timestamp(1))
                .is_some()
        });
        assert_eq!(muted.count(), 500);
    }
}
