//! Alerts that other programs post: what is taken, and how two reports of one become one (pure).

pub mod rate;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::PostedLimits;
use crate::model::alert::Alert;
use crate::model::labels::{Fingerprint, Labels};
use crate::model::sample::Timestamp;

/// How long one that ended is remembered, since senders repeat an end for a quarter of an hour.
pub const RETENTION: Duration = Duration::from_secs(3600);
/// Labels, and annotations, of one alert.
const MAX_PAIRS: usize = 256;
/// Bytes of one label's or annotation's value.
const MAX_VALUE: usize = 128 * 1024;
const MAX_NAME: usize = 1024;
/// Bytes of one alert's texts.
const MAX_SIZE: usize = 1024 * 1024;

/// An alert as it was posted; times that were left out are `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Posted {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    pub generator_url: String,
    /// Whether whoever posted it gave no credentials.
    pub anonymous: bool,
}

/// What is known of a posted alert from all its reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Received {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub updated_at: Timestamp,
    /// Whether the end is only when it was not posted again, and nobody's word.
    timeout: bool,
    generator_url: String,
    /// Whether its end was seen by a running alertd.
    #[serde(default)]
    pub over: bool,
    /// Whether whoever reported it last gave no credentials.
    #[serde(default)]
    pub anonymous: bool,
}

#[derive(Debug, Default)]
pub struct Intake {
    held: HashMap<Fingerprint, Arc<Received>>,
    bytes: usize,
}

/// What becomes of a request.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// To be written down, then applied and routed.
    pub taken: Vec<Arc<Received>>,
    /// What is wrong with others, in Alertmanager's words.
    pub invalid: Vec<String>,
    /// Right, and not taken since too much is held.
    pub refused: usize,
}

impl Posted {
    /// With Alertmanager's defaults for what was left out.
    ///
    /// # Errors
    /// When it cannot be an alert.
    pub fn check(self, resolve_timeout: Duration, now: Timestamp) -> Result<Received, String> {
        let starts_at = self.starts_at.or(self.ends_at).unwrap_or(now);
        let ends_at = self.ends_at.unwrap_or_else(|| now.plus(resolve_timeout));
        if ends_at < starts_at {
            return Err("start time must be before end time".to_owned());
        }
        let mut labels = self.labels;
        labels.retain(|_, value| !value.is_empty());
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        check_pairs("label set", &labels)?;
        check_pairs("annotations", &self.annotations)?;
        let received = Received {
            labels,
            annotations: self.annotations,
            starts_at,
            ends_at,
            updated_at: now,
            timeout: self.ends_at.is_none(),
            generator_url: self.generator_url,
            over: ends_at <= now,
            anonymous: self.anonymous,
        };
        match received.size() {
            size if size > MAX_SIZE => {
                Err(format!("alert of {size} bytes exceeds the limit of {MAX_SIZE} bytes"))
            }
            _ => Ok(received),
        }
    }
}

fn check_pairs(what: &str, pairs: &BTreeMap<String, String>) -> Result<(), String> {
    if pairs.len() > MAX_PAIRS {
        return Err(format!("invalid {what}: {} pairs, at most {MAX_PAIRS}", pairs.len()));
    }
    for (name, value) in pairs {
        if name.is_empty() || name.len() > MAX_NAME {
            let start: String = name.chars().take(40).collect();
            return Err(format!("invalid {what}: invalid name {start:?}"));
        }
        if value.len() > MAX_VALUE {
            let size = value.len();
            return Err(format!(
                "invalid {what}: value of {name:?} has {size} bytes, at most {MAX_VALUE}"
            ));
        }
    }
    Ok(())
}

impl Received {
    pub fn alert(&self) -> Alert {
        let pairs = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Alert {
            labels: Labels::from_pairs(pairs),
            annotations: Arc::new(self.annotations.clone()),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            generator_url: self.generator_url.as_str().into(),
        }
    }

    fn size(&self) -> usize {
        let pairs = self.labels.iter().chain(&self.annotations);
        pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.generator_url.len()
    }

    /// Two reports of one alert whose times overlap: the earliest start; the newer one's end, unless
    /// both ended or the older one's word reaches further.
    fn merged(&self, newer: Received, now: Timestamp) -> Received {
        let overlap = self.starts_at < newer.ends_at && newer.ends_at < self.ends_at
            || self.starts_at < newer.starts_at && newer.starts_at < self.ends_at;
        if !overlap {
            return newer;
        }
        let (old_over, over) = (self.ends_at <= now, newer.ends_at <= now);
        let further = self.ends_at > newer.ends_at;
        let kept = further && if over { old_over } else { !self.timeout };
        Received {
            starts_at: self.starts_at.min(newer.starts_at),
            ends_at: if kept { self.ends_at } else { newer.ends_at },
            ..newer
        }
    }
}

impl Intake {
    /// What was written down. A lease that ran out while nobody looked is begun anew, until
    /// `resolve_timeout` from now: whoever posted it had no one to tell that it goes on.
    pub fn restore(
        entries: impl IntoIterator<Item = Received>,
        resolve_timeout: Duration,
        now: Timestamp,
    ) -> Intake {
        let mut intake = Intake::default();
        for mut entry in entries {
            if !entry.over && entry.ends_at <= now {
                entry.ends_at = now.plus(resolve_timeout);
            }
            if !entry.over || now.since(entry.ends_at) < RETENTION {
                intake.insert(entry.alert().fingerprint(), Arc::new(entry));
            }
        }
        intake
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Every alert as last reported, those that ended among them: a kill may have come between the
    /// report of an end and the telling of it.
    pub fn reports(&self) -> impl Iterator<Item = &Arc<Received>> {
        self.held.values()
    }

    /// Every alert whose end nobody has seen yet.
    #[cfg(test)]
    fn alerts(&self) -> Vec<Alert> {
        self.held.values().filter(|entry| !entry.over).map(|entry| entry.alert()).collect()
    }

    /// `resolve_timeout` is the lease of those that come without an end.
    pub fn plan(
        &self,
        posted: Vec<Posted>,
        limits: &PostedLimits,
        resolve_timeout: Duration,
        now: Timestamp,
    ) -> Plan {
        let mut plan = Plan::default();
        // What is planned so far counts: one request may hold an alert twice, or too many.
        let mut planned: HashMap<Fingerprint, Arc<Received>> = HashMap::new();
        let (mut count, mut bytes) = (self.held.len(), self.bytes);
        for posted in posted {
            let received = match posted.check(resolve_timeout, now) {
                Ok(received) => received,
                Err(why) => {
                    plan.invalid.push(why);
                    continue;
                }
            };
            let fingerprint = received.alert().fingerprint();
            let known = planned.get(&fingerprint).or_else(|| self.held.get(&fingerprint));
            let (new, size) = (known.is_none(), received.size());
            if new && (count >= limits.max || (bytes + size) as u64 > limits.max_size.0) {
                plan.refused += 1;
                continue;
            }
            count += usize::from(new);
            bytes += size;
            let mut merged = match known {
                Some(known) => known.merged(received, now),
                None => received,
            };
            merged.over = merged.ends_at <= now;
            planned.insert(fingerprint, Arc::new(merged));
        }
        plan.taken = planned.into_values().collect();
        plan
    }

    /// After they were written down.
    pub fn apply(&mut self, taken: &[Arc<Received>]) {
        for entry in taken {
            self.insert(entry.alert().fingerprint(), Arc::clone(entry));
        }
    }

    fn insert(&mut self, fingerprint: Fingerprint, entry: Arc<Received>) {
        self.bytes += entry.size();
        if let Some(old) = self.held.insert(fingerprint, entry) {
            self.bytes -= old.size();
        }
    }

    /// Those whose lease ran out since they were last looked at, marked so; to be written down.
    pub fn ended(&mut self, now: Timestamp) -> Vec<Arc<Received>> {
        let mut ended = Vec::new();
        for entry in self.held.values_mut() {
            if !entry.over && entry.ends_at <= now {
                *entry = Arc::new(Received { over: true, ..Received::clone(entry) });
                ended.push(Arc::clone(entry));
            }
        }
        ended
    }

    /// After the clock was set forward by so much: leases that ran out by that alone go on.
    pub fn after_step(&mut self, by: Duration, now: Timestamp) {
        let before = now.minus(by);
        for entry in self.held.values_mut() {
            if !entry.over && before < entry.ends_at && entry.ends_at <= now {
                *entry = Arc::new(Received {
                    ends_at: entry.ends_at.plus(by),
                    ..Received::clone(entry)
                });
            }
        }
    }

    /// Drops what ended too long ago.
    pub fn prune(&mut self, now: Timestamp) {
        let bytes = &mut self.bytes;
        self.held.retain(|_, entry| {
            let kept = !entry.over || now.since(entry.ends_at) < RETENTION;
            if !kept {
                *bytes -= entry.size();
            }
            kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn posted(name: &str, starts: Option<i64>, ends: Option<i64>) -> Posted {
        Posted {
            labels: BTreeMap::from([("alertname".to_owned(), name.to_owned())]),
            starts_at: starts.map(at),
            ends_at: ends.map(at),
            ..Posted::default()
        }
    }

    fn take(intake: &mut Intake, posted: Vec<Posted>, now: i64) -> Plan {
        let limits = PostedLimits { max: 1000, ..PostedLimits::default() };
        let plan = intake.plan(posted, &limits, TIMEOUT, at(now));
        intake.apply(&plan.taken);
        plan
    }

    #[test]
    fn times_that_were_left_out() {
        for (starts, ends, want_starts, want_ends, over) in [
            (None, None, 1000, 1300, false),
            (Some(900), None, 900, 1300, false),
            (None, Some(1100), 1100, 1100, false),
            (None, Some(900), 900, 900, true),
            (Some(800), Some(900), 800, 900, true),
            (Some(1200), None, 1200, 1300, false),
        ] {
            let found = posted("A", starts, ends).check(TIMEOUT, at(1000)).unwrap();
            let found = (found.starts_at, found.ends_at, found.over);
            assert_eq!(found, (at(want_starts), at(want_ends), over), "{starts:?} {ends:?}");
        }
    }

    #[test]
    fn what_is_no_alert_is_refused_and_the_rest_is_taken() {
        let with = |name: &str, value: String| {
            let mut one = posted("A", None, None);
            one.labels.insert(name.to_owned(), value);
            one
        };
        let mut noted = posted("A", None, None);
        noted.annotations.insert(String::new(), "x".to_owned());
        for (one, want) in [
            (posted("A", Some(10), Some(9)), "start time must be before end time"),
            (Posted::default(), "at least one label pair required"),
            (posted("", None, None), "at least one label pair required"),
            (with("", "x".to_owned()), "invalid label set: invalid name \"\""),
            (with("x", "y".repeat(MAX_VALUE + 1)), "invalid label set: value of \"x\" has"),
            (noted, "invalid annotations: invalid name \"\""),
        ] {
            let mut intake = Intake::default();
            let plan = take(&mut intake, vec![one, posted("B", None, None)], 0);
            assert_eq!((plan.taken.len(), plan.invalid.len()), (1, 1), "{want}");
            assert!(plan.invalid[0].starts_with(want), "{:?}", plan.invalid);
            assert_eq!(intake.alerts()[0].name(), "B");
        }
        let kept = with("odd\n\"name", "z".repeat(64 * 1024)).check(TIMEOUT, at(0));
        assert_eq!(kept.unwrap().alert().labels.get("odd\n\"name").unwrap().len(), 64 * 1024);
        let empty = with("empty", String::new()).check(TIMEOUT, at(0)).unwrap();
        assert_eq!(empty.alert().labels.get("empty"), None);
    }

    #[test]
    fn two_reports_of_one_alert() {
        // Reported at 100, then at 200: start and end of each, and of both.
        for (first, second, want) in [
            // A lease of one's own word is renewed, and never shortened by a time-out.
            ((Some(90), Some(400)), (Some(150), Some(500)), (90, 500)),
            ((Some(90), Some(900)), (Some(150), Some(500)), (90, 900)),
            ((Some(90), Some(900)), (Some(150), None), (90, 900)),
            // A time-out gives way.
            ((Some(90), None), (Some(150), Some(300)), (90, 300)),
            ((Some(90), None), (Some(150), None), (90, 500)),
            // The end is believed at once.
            ((Some(90), Some(900)), (Some(90), Some(180)), (90, 180)),
            // Of two ends the later.
            ((Some(50), Some(99)), (Some(60), Some(70)), (50, 99)),
            // Fires anew after its end: no overlap, a new life.
            ((Some(50), Some(99)), (Some(150), Some(500)), (150, 500)),
        ] {
            let mut intake = Intake::default();
            take(&mut intake, vec![posted("A", first.0, first.1)], 100);
            take(&mut intake, vec![posted("A", second.0, second.1)], 200);
            let found = intake.held.values().next().unwrap();
            let case = format!("{first:?} then {second:?}");
            assert_eq!((found.starts_at, found.ends_at), (at(want.0), at(want.1)), "{case}");
            assert_eq!(intake.len(), 1);
        }
        // Both in one request.
        let mut intake = Intake::default();
        let both = vec![posted("A", Some(90), Some(400)), posted("A", Some(80), Some(300))];
        assert_eq!(take(&mut intake, both, 100).taken.len(), 1);
        assert_eq!(intake.alerts()[0].starts_at, at(80));
    }

    #[test]
    fn a_lease_that_ends_is_seen_once_and_one_that_nobody_saw_begins_anew() {
        let mut intake = Intake::default();
        take(&mut intake, vec![posted("A", Some(0), None), posted("B", Some(0), Some(5))], 10);
        assert_eq!(intake.alerts().len(), 1, "the one that has ended is only remembered");
        assert_eq!(intake.len(), 2);
        let stored = || intake.held.values().map(|entry| Received::clone(entry));
        let hour = Duration::from_secs(3600);
        let mut stepped = Intake::restore(stored(), TIMEOUT, at(20));
        stepped.after_step(hour, at(3620));
        assert_eq!(stepped.ended(at(3620)), [], "a clock that was set forward ends nothing");
        assert_eq!(stepped.ended(at(3910)).len(), 1);
        let again = Intake::restore(stored(), TIMEOUT, at(1000));
        assert_eq!(again.alerts()[0].ends_at, at(1300));
        assert_eq!(Intake::restore(stored(), TIMEOUT, at(20)).alerts()[0].ends_at, at(310));
        assert_eq!(intake.ended(at(309)), []);
        assert_eq!(intake.ended(at(310)).len(), 1);
        assert_eq!(intake.ended(at(311)), []);
        let stored = || intake.held.values().map(|entry| Received::clone(entry));
        assert!(Intake::restore(stored(), TIMEOUT, at(1000)).alerts().is_empty());
        assert_eq!(Intake::restore(stored(), TIMEOUT, at(310 + 3599)).len(), 1);
        intake.prune(at(310 + 3600));
        assert_eq!((intake.len(), intake.bytes), (0, 0));
    }

    #[test]
    fn no_more_than_the_bound() {
        let mut intake = Intake::default();
        let many = (0..=1000).map(|n| posted(&n.to_string(), None, None)).collect();
        let plan = take(&mut intake, many, 0);
        assert_eq!((plan.taken.len(), plan.refused), (1000, 1));
        let plan = take(&mut intake, vec![posted("1", None, None), posted("x", None, None)], 1);
        assert_eq!((plan.taken.len(), plan.refused), (1, 1), "known ones are still renewed");
    }
}
