//! Which deliveries of a webhook never arrived, and which of them to ask for again (pure).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::github::hooks::Delivery;

/// GitHub delivers again what is at most three days old; a margin for slow clocks.
pub(crate) const KEPT: f64 = 3.0 * 86_400.0 - 3600.0;
/// Redeliveries that one reading asks for: GitHub allows 80 writes a minute for everything.
const MAX_AT_ONCE: usize = 20;
/// Times that one event is asked for again.
const MAX_TRIES: u32 = 3;
/// GitHub waits so many seconds for an answer: until then an attempt may be under way.
const UNDER_WAY: f64 = 10.0;
/// Seconds between the first two tries; twice as many between the next.
const PATIENCE: f64 = 30.0;
/// Deliveries are listed when they end: seconds by which two readings overlap.
const OVERLAP: f64 = 300.0;
/// Events that are remembered.
const MAX_REMEMBERED: usize = 20_000;

/// What was missed at one webhook.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    /// By the event's id.
    lost: HashMap<String, Lost>,
    pub(crate) counts: Counts,
}

/// Events that did not arrive at first, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) missed: u64,
    /// Came after all.
    pub(crate) recovered: u64,
    /// Grew too old.
    pub(crate) given_up: u64,
}

#[derive(Debug, Clone, Copy)]
struct Lost {
    delivered_at: f64,
    tries: u32,
    tried_at: f64,
}

impl Missed {
    /// From when on deliveries must be listed: `read` is when they were read last.
    pub(crate) fn since(&self, now: f64, read: Option<f64>) -> f64 {
        let open = self.lost.values().filter(|lost| lost.tries < MAX_TRIES);
        let open = open.map(|lost| lost.delivered_at).reduce(f64::min);
        let read = read.map_or(0.0, |read| read - OVERLAP);
        open.unwrap_or(read).min(read).max(now - KEPT)
    }

    /// The ids of the deliveries to ask for again, oldest first, from a list in any order.
    pub(crate) fn due(&mut self, deliveries: &[Delivery], now: f64) -> Vec<u64> {
        let arrived = deliveries.iter().filter(|one| one.arrived());
        let arrived: HashSet<&str> = arrived.map(|one| one.guid.as_str()).collect();
        for guid in &arrived {
            self.counts.recovered += u64::from(self.lost.remove(*guid).is_some());
        }
        // What GitHub no longer keeps cannot come any more.
        let before = self.lost.len();
        self.lost.retain(|_, lost| lost.delivered_at > now - KEPT);
        self.counts.given_up += (before - self.lost.len()) as u64;

        let mut latest: BTreeMap<&str, &Delivery> = BTreeMap::new();
        for one in deliveries {
            let old = one.delivered_at <= now - KEPT || one.delivered_at > now - UNDER_WAY;
            if old || arrived.contains(one.guid.as_str()) {
                continue;
            }
            let known = latest.entry(&one.guid).or_insert(one);
            if one.delivered_at > known.delivered_at {
                *known = one;
            }
        }
        let mut latest: Vec<_> = latest.into_values().collect();
        latest.sort_by(|a, b| a.delivered_at.total_cmp(&b.delivered_at));
        for one in &latest {
            self.note(one);
        }
        let due = latest.into_iter().filter(|one| self.take(&one.guid, now));
        due.map(|one| one.id).take(MAX_AT_ONCE).collect()
    }

    fn note(&mut self, one: &Delivery) {
        let Delivery { guid, delivered_at, .. } = one;
        if self.lost.len() < MAX_REMEMBERED && !self.lost.contains_key(guid) {
            self.counts.missed += 1;
            let new = Lost { delivered_at: *delivered_at, tries: 0, tried_at: 0.0 };
            self.lost.insert(guid.clone(), new);
        }
    }

    /// Whether it is time to ask for it again, which is then noted.
    fn take(&mut self, guid: &str, now: f64) -> bool {
        let Some(lost) = self.lost.get_mut(guid) else { return false };
        let pause = PATIENCE * f64::from(1 << lost.tries.saturating_sub(1).min(8));
        if lost.tries >= MAX_TRIES || (lost.tries > 0 && now < lost.tried_at + pause) {
            return false;
        }
        (lost.tries, lost.tried_at) = (lost.tries + 1, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1e9;

    fn delivery(id: u64, guid: &str, age: f64, status_code: u16) -> Delivery {
        let (guid, event) = (guid.to_owned(), "workflow_job".to_owned());
        Delivery { id, guid, delivered_at: NOW - age, status_code, event }
    }

    #[test]
    fn only_what_no_attempt_brought_is_asked_for_again() {
        let list = [
            delivery(1, "a", 100.0, 200),
            delivery(2, "b", 110.0, 502),
            delivery(3, "c", 120.0, 0),
            delivery(4, "c", 90.0, 202),  // came at the second attempt
            delivery(5, "d", 5.0, 500),   // perhaps being repeated right now
            delivery(6, "b", 105.0, 500), // the last attempt is the one to repeat
            delivery(7, "e", 300.0, 401),
        ];
        let mut missed = Missed::default();
        assert_eq!(missed.due(&list, NOW), [7, 6]);
        assert_eq!((missed.counts.missed, missed.counts.recovered), (2, 0));
        // Not twice within the patience, then with growing pauses, then not at all.
        assert_eq!(missed.due(&list, NOW + 10.0), [5]);
        let tries: Vec<_> =
            (0..40).flat_map(|at| missed.due(&list, NOW + 60.0 * f64::from(at + 1))).collect();
        assert_eq!(tries.len(), 6, "{tries:?}");
        assert_eq!(missed.counts.missed, 3);
        let came = [delivery(8, "b", 0.0, 200), delivery(9, "e", 0.0, 200)];
        assert_eq!(missed.due(&came, NOW + 9000.0), [] as [u64; 0]);
        assert_eq!(missed.counts, Counts { missed: 3, recovered: 2, given_up: 0 });
        assert_eq!(missed.due(&[], NOW + 4.0 * 86_400.0), [] as [u64; 0]);
        assert_eq!(missed.counts, Counts { missed: 3, recovered: 2, given_up: 1 });
    }

    #[test]
    fn a_day_of_misses_is_asked_for_bit_by_bit() {
        let list: Vec<_> =
            (0..50).map(|id| delivery(id, &format!("g{id}"), 1000.0 + id as f64, 503)).collect();
        let mut missed = Missed::default();
        let first = missed.due(&list, NOW);
        assert_eq!((first.len(), first[0], missed.since(NOW, Some(NOW))), (20, 49, NOW - 1049.0));
        let second = missed.due(&list, NOW + 20.0);
        assert_eq!((second.len(), second[0], missed.counts.missed), (20, 29, 50));
        assert_eq!(missed.since(NOW, None), NOW - KEPT);
    }
}
