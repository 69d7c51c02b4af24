//! One alert group: which alerts are in it and when it is looked at next (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;

use super::tree::Timing;

#[derive(Debug, Clone)]
pub struct Group {
    /// The labels that its alerts share by `group_by`.
    pub labels: Labels,
    pub timing: Timing,
    alerts: BTreeMap<Fingerprint, Arc<Alert>>,
    next_flush: Timestamp,
    flushed: bool,
}

/// A group's alerts at one moment, each list in the order in which it is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    pub firing: Vec<(Fingerprint, Arc<Alert>)>,
    pub resolved: Vec<(Fingerprint, Arc<Alert>)>,
}

/// A report of an alert joined to what is known of it: news, the renewal of a lease, or its end.
///
/// Nothing for the end of one that is not known, since nobody was told of it, and for a report that
/// was overtaken by the next life of the same alert. One that began in the future was reported before
/// the clock went back: its end is no such report.
pub fn merged(known: Option<&Alert>, report: Alert, now: Timestamp) -> Option<Alert> {
    let over = report.is_resolved(now);
    let starts_at = match known {
        None if over => return None,
        Some(known) if over && report.ends_at < known.starts_at && known.starts_at <= now => {
            return None;
        }
        Some(known) if !known.is_resolved(now) => known.starts_at.min(report.starts_at),
        _ => report.starts_at,
    };
    Some(Alert { starts_at: starts_at.min(report.ends_at), ..report })
}

/// After the clock was set forward by so much: the end of an alert that fired before, if its lease
/// ran out by that alone. Whoever reports it had no time to renew it.
pub fn after_step(alert: &Alert, by: Duration, now: Timestamp) -> Option<Timestamp> {
    let ended = alert.is_resolved(now) && !alert.is_resolved(now.minus(by));
    ended.then(|| alert.ends_at.plus(by))
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

    pub fn alerts(&self) -> impl Iterator<Item = (Fingerprint, &Arc<Alert>)> {
        self.alerts.iter().map(|(fingerprint, alert)| (*fingerprint, alert))
    }

    /// Takes an alert as it now stands. A new group whose alert has already fired for `group_wait`
    /// is due at once.
    pub fn insert(&mut self, fingerprint: Fingerprint, alert: Arc<Alert>, now: Timestamp) {
        if !self.flushed && alert.starts_at.plus(self.timing.group_wait) < now {
            self.next_flush = now;
        }
        self.alerts.insert(fingerprint, alert);
    }

    /// What the group holds at `now`; a lease that ran out counts as resolved at its end.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let shared = |(hash, alert): (&Fingerprint, &Arc<Alert>)| (*hash, Arc::clone(alert));
        let mut alerts: Vec<_> = self.alerts.iter().map(shared).collect();
        alerts.sort_by(|(_, a), (_, b)| order(a, b));
        let (resolved, firing) = alerts.into_iter().partition(|(_, alert)| alert.is_resolved(now));
        Snapshot { firing, resolved }
    }

    /// After `snapshot` was recorded: its resolved alerts go, and the next look is set.
    pub fn flushed(&mut self, snapshot: &Snapshot, now: Timestamp) {
        for (fingerprint, alert) in &snapshot.resolved {
            // One that fired again in the meantime stays.
            if self.alerts.get(fingerprint).is_some_and(|held| held.ends_at == alert.ends_at) {
                self.alerts.remove(fingerprint);
            }
        }
        self.flushed = true;
        self.next_flush = now.plus(self.timing.group_interval);
    }

    pub fn after_step(&mut self, by: Duration, now: Timestamp) {
        for alert in self.alerts.values_mut() {
            if let Some(ends_at) = after_step(alert, by, now) {
                Arc::make_mut(alert).ends_at = ends_at;
            }
        }
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
            annotations: Arc::default(),
            starts_at: at(starts),
            ends_at: at(ends),
            generator_url: Arc::default(),
        }
    }

    fn names(alerts: &[(Fingerprint, Arc<Alert>)]) -> String {
        alerts.iter().map(|(_, alert)| alert.name()).collect::<Vec<_>>().join(" ")
    }

    fn insert(group: &mut Group, alert: Alert, now: i64) {
        group.insert(alert.fingerprint(), Arc::new(alert), at(now));
    }

    #[test]
    fn first_look_after_group_wait_then_each_interval() {
        // (report at, alert starts, first look)
        for (now, starts, want) in [(100, 100, 130), (100, 80, 130), (100, 70, 130), (100, 60, 100)]
        {
            let mut group = Group::new(Labels::empty(), TIMING, at(now));
            insert(&mut group, alert("a", starts, 1000), now);
            assert_eq!(group.next_flush(), at(want), "started at {starts}");
            let snapshot = group.snapshot(at(want));
            group.flushed(&snapshot, at(want));
            insert(&mut group, alert("b", 0, 1000), want + 1);
            assert_eq!(
                group.next_flush(),
                at(want + 300),
                "one that joins waits for the next look"
            );
        }
    }

    #[test]
    fn reports_of_one_alert_become_one() {
        // Known from and until, reported from and until, at 100: what it is then.
        for (known, report, want) in [
            (None, (90, 200), Some((90, 200))),
            (None, (90, 100), None),
            (Some((0, 240)), (5, 400), Some((0, 400))),
            (Some((50, 240)), (5, 400), Some((5, 400))),
            (Some((0, 240)), (0, 100), Some((0, 100))),
            // Its end came when it had begun anew.
            (Some((80, 240)), (0, 70), None),
            // It has ended and begins anew.
            (Some((0, 90)), (95, 400), Some((95, 400))),
        ] {
            let known = known.map(|(starts, ends)| alert("a", starts, ends));
            let found = merged(known.as_ref(), alert("a", report.0, report.1), at(100));
            let found = found.map(|found| (found.starts_at, found.ends_at));
            let want = want.map(|(starts, ends)| (at(starts), at(ends)));
            assert_eq!(found, want, "{known:?} then {report:?}");
        }
    }

    #[test]
    fn what_ended_is_told_and_goes_unless_it_fires_again() {
        let mut group = Group::new(Labels::empty(), TIMING, at(0));
        insert(&mut group, alert("a", 0, 400), 0);
        insert(&mut group, alert("b", 0, 240), 0);
        let snapshot = group.snapshot(at(330));
        assert_eq!((names(&snapshot.firing), names(&snapshot.resolved)), ("a".into(), "b".into()));
        insert(&mut group, alert("b", 331, 500), 331);
        group.flushed(&snapshot, at(331));
        let later = group.snapshot(at(340));
        assert_eq!((names(&later.firing), later.resolved.len()), ("a b".into(), 0));
        group.flushed(&group.snapshot(at(600)), at(600));
        assert!(group.is_empty());
    }

    #[test]
    fn a_restored_group_lets_rules_speak_first() {
        for (notified, want) in [(900, 1200), (0, 1030), (9_999_999, 1300)] {
            let group = Group::restored(Labels::empty(), TIMING, at(notified), at(1000));
            assert_eq!(group.next_flush(), at(want), "notified at {notified}");
        }
    }
}
