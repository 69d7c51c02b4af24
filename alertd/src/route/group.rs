//! One alert group: which alerts are in it and when it is looked at next (pure).

use std::collections::BTreeMap;

use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;

use super::tree::Timing;

#[derive(Debug, Clone)]
pub struct Group {
    /// The labels that its alerts share by `group_by`.
    pub labels: Labels,
    pub timing: Timing,
    alerts: BTreeMap<Fingerprint, Alert>,
    next_flush: Timestamp,
    flushed: bool,
}

/// A group's alerts at one moment, each list in the order in which it is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    pub firing: Vec<Alert>,
    pub resolved: Vec<Alert>,
}

impl Group {
    /// A group that waits `group_wait` for more alerts to come.
    pub fn new(labels: Labels, timing: Timing, now: Timestamp) -> Group {
        let next_flush = now.plus(timing.group_wait);
        Group { labels, timing, alerts: BTreeMap::new(), next_flush, flushed: false }
    }

    /// A group that was told before a restart, last at `notified_at`. It waits at least
    /// `group_wait` from now, so that rules can say first what still fires.
    pub fn restored(
        labels: Labels,
        timing: Timing,
        notified_at: Timestamp,
        now: Timestamp,
    ) -> Group {
        let due = notified_at.plus(timing.group_interval).min(now.plus(timing.group_interval));
        let next_flush = due.max(now.plus(timing.group_wait));
        Group { labels, timing, alerts: BTreeMap::new(), next_flush, flushed: true }
    }

    pub fn next_flush(&self) -> Timestamp {
        self.next_flush
    }

    pub fn len(&self) -> usize {
        self.alerts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.alerts.contains_key(&fingerprint)
    }

    /// Takes a report of an alert: news, the renewal of a lease, or its end.
    ///
    /// The end of an alert that is not here is ignored: nobody was told of it. A new group whose
    /// alert has already fired for `group_wait` is due at once.
    pub fn insert(&mut self, alert: Alert, now: Timestamp) {
        let fingerprint = alert.fingerprint();
        let over = alert.is_resolved(now);
        let starts_at = match self.alerts.get(&fingerprint) {
            None if over => return,
            // A report that was overtaken by the next life of the same alert.
            Some(known) if over && alert.ends_at < known.starts_at => return,
            Some(known) if !known.is_resolved(now) => known.starts_at.min(alert.starts_at),
            _ => alert.starts_at,
        };
        if !self.flushed && starts_at.plus(self.timing.group_wait) < now {
            self.next_flush = now;
        }
        self.alerts.insert(fingerprint, Alert { starts_at, ..alert });
    }

    /// Whether its time has come; also when the clock went back by more than it may ever wait.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let longest = self.timing.group_interval.max(self.timing.group_wait);
        self.next_flush <= now || self.next_flush > now.plus(longest)
    }

    /// What the group holds at `now`; a lease that ran out counts as resolved at its end.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut alerts: Vec<_> = self.alerts.values().cloned().collect();
        alerts.sort_by(order);
        let (resolved, firing) = alerts.into_iter().partition(|alert| alert.is_resolved(now));
        Snapshot { firing, resolved }
    }

    /// After `snapshot` was recorded: its resolved alerts go, and the next look is set.
    pub fn flushed(&mut self, snapshot: &Snapshot, now: Timestamp) {
        for alert in &snapshot.resolved {
            let fingerprint = alert.fingerprint();
            // One that fired again in the meantime stays.
            if self.alerts.get(&fingerprint).is_some_and(|held| held.ends_at == alert.ends_at) {
                self.alerts.remove(&fingerprint);
            }
        }
        self.flushed = true;
        self.next_flush = now.plus(self.timing.group_interval);
    }

    /// Looks again at `at`, because the last flush could not be recorded.
    pub fn try_again(&mut self, at: Timestamp) {
        self.next_flush = at;
    }
}

/// Alertmanager's order: by job, by instance (those without it last), then by all labels.
pub(super) fn order(a: &Alert, b: &Alert) -> std::cmp::Ordering {
    let by = |name: &str| {
        let (a, b) = (a.labels.get(name), b.labels.get(name));
        (a.is_none(), a).cmp(&(b.is_none(), b))
    };
    by("job").then_with(|| by("instance")).then_with(|| a.labels.cmp(&b.labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIMING: Timing = Timing {
        group_wait: Duration::from_secs(30),
        group_interval: Duration::from_secs(300),
        repeat_interval: Duration::from_secs(14_400),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn alert(name: &str, starts: i64, ends: i64) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: BTreeMap::new(),
            starts_at: at(starts),
            ends_at: at(ends),
            generator_url: String::new(),
        }
    }

    fn names(alerts: &[Alert]) -> String {
        alerts.iter().map(Alert::name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn first_look_after_group_wait_then_each_interval() {
        // (report at, alert starts, first look)
        for (now, starts, want) in [(100, 100, 130), (100, 80, 130), (100, 70, 130), (100, 60, 100)]
        {
            let mut group = Group::new(Labels::empty(), TIMING, at(now));
            group.insert(alert("a", starts, 1000), at(now));
            assert_eq!(group.next_flush(), at(want), "started at {starts}");
            assert!(!group.is_due(at(want - 1)) && group.is_due(at(want)));
            let snapshot = group.snapshot(at(want));
            group.flushed(&snapshot, at(want));
            group.insert(alert("b", 0, 1000), at(want + 1));
            assert_eq!(
                group.next_flush(),
                at(want + 300),
                "one that joins waits for the next look"
            );
        }
    }

    #[test]
    fn a_lease_that_ends_resolves_and_a_renewed_one_does_not() {
        let mut group = Group::new(Labels::empty(), TIMING, at(0));
        group.insert(alert("a", 0, 240), at(0));
        group.insert(alert("b", 0, 240), at(0));
        group.insert(alert("a", 5, 400), at(100));
        let snapshot = group.snapshot(at(330));
        assert_eq!((names(&snapshot.firing), names(&snapshot.resolved)), ("a".into(), "b".into()));
        assert_eq!(snapshot.firing[0].starts_at, at(0), "the earliest start stays");
        group.flushed(&snapshot, at(330));
        assert_eq!(group.len(), 1);
    }

    #[test]
    fn the_end_of_what_is_not_here_is_nothing() {
        let mut group = Group::new(Labels::empty(), TIMING, at(0));
        group.insert(alert("a", 0, 10), at(10));
        assert!(group.is_empty());
        // Fires again while its end is being told.
        group.insert(alert("b", 0, 100), at(10));
        group.insert(alert("b", 0, 20), at(20));
        let snapshot = group.snapshot(at(30));
        group.insert(alert("b", 31, 500), at(31));
        group.flushed(&snapshot, at(31));
        let later = group.snapshot(at(40));
        assert_eq!((later.firing[0].starts_at, later.resolved.len()), (at(31), 0));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_silence_a_group() {
        let mut group = Group::new(Labels::empty(), TIMING, at(100_000));
        group.insert(alert("a", 100_000, 200_000), at(100_000));
        assert!(group.is_due(at(90_000)));
    }

    #[test]
    fn a_restored_group_lets_rules_speak_first() {
        for (notified, want) in [(900, 1200), (0, 1030), (9_999_999, 1300)] {
            let group = Group::restored(Labels::empty(), TIMING, at(notified), at(1000));
            assert_eq!(group.next_flush(), at(want), "notified at {notified}");
        }
    }
}
