//! What waits for one Alertmanager: the newest word on each alert, oldest first. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::alert::Alert;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;
use crate::rules::alerting::RESOLVED_RETENTION;

/// Alerts that wait beyond which the oldest goes; a storm of half as many fits.
pub(super) const MOST: usize = 100_000;

#[derive(Default)]
pub(super) struct Queue {
    by_age: BTreeMap<i64, Waiting>,
    place: HashMap<Labels, i64>,
    next: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) alert: Arc<Alert>,
    /// When it is not true any more.
    until: Timestamp,
}

impl Waiting {
    /// A firing alert is true until its lease ends; of its end one may hear for as long as rules
    /// would tell it again.
    pub(super) fn new(alert: Arc<Alert>, now: Timestamp) -> Waiting {
        let until = match alert.is_resolved(now) {
            true => alert.ends_at.plus(RESOLVED_RETENTION),
            false => alert.ends_at,
        };
        Waiting { alert, until }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Adds the alert, in place of what waits of it; returns how many older ones had to go.
    pub(super) fn push(&mut self, waiting: Waiting) -> usize {
        let at = *self.place.entry(waiting.alert.labels.clone()).or_insert(self.next);
        self.by_age.insert(at, waiting);
        self.next = self.next.max(at + 1);
        self.shrink()
    }

    /// Up to `most` that are true at `now`, oldest first, and how many were not any more.
    pub(super) fn take(&mut self, most: usize, now: Timestamp) -> (Vec<Waiting>, usize) {
        let (mut taken, mut expired) = (Vec::new(), 0);
        while taken.len() < most
            && let Some((_, waiting)) = self.by_age.pop_first()
        {
            self.place.remove(&waiting.alert.labels);
            match now < waiting.until {
                true => taken.push(waiting),
                false => expired += 1,
            }
        }
        (taken, expired)
    }

    /// Returns to the front what could not be sent, unless newer word of it waits by now; returns
    /// how many had to go.
    pub(super) fn put_back(&mut self, batch: Vec<Waiting>) -> usize {
        let mut front = self.by_age.first_key_value().map_or(self.next, |(at, _)| *at);
        for waiting in batch.into_iter().rev() {
            let labels = &waiting.alert.labels;
            if !self.place.contains_key(labels) {
                front -= 1;
                self.place.insert(labels.clone(), front);
                self.by_age.insert(front, waiting);
            }
        }
        self.shrink()
    }

    fn shrink(&mut self) -> usize {
        let mut lost = 0;
        while self.by_age.len() > MOST
            && let Some((_, waiting)) = self.by_age.pop_first()
        {
            self.place.remove(&waiting.alert.labels);
            lost += 1;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(name: &str, ends_at: i64, now: i64) -> Waiting {
        let alert = Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: Arc::default(),
            starts_at: Timestamp(0),
            ends_at: Timestamp(ends_at),
            generator_url: Arc::default(),
        };
        Waiting::new(Arc::new(alert), Timestamp(now))
    }

    fn all(queue: &mut Queue, now: i64) -> (Vec<(String, i64)>, usize) {
        let (taken, expired) = queue.take(usize::MAX, Timestamp(now));
        let of = |one: Waiting| (one.alert.name().to_owned(), one.alert.ends_at.0);
        (taken.into_iter().map(of).collect(), expired)
    }

    #[test]
    fn the_newest_word_stands_in_the_place_of_the_first() {
        let mut queue = Queue::default();
        for (name, ends_at) in [("a", 100), ("b", 100), ("a", 200)] {
            assert_eq!(queue.push(waiting(name, ends_at, 0)), 0);
        }
        let want = vec![("a".to_owned(), 200), ("b".to_owned(), 100)];
        assert_eq!(all(&mut queue, 50), (want, 0));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_comes_back_is_first_unless_there_is_newer_word() {
        let mut queue = Queue::default();
        for name in ["a", "b", "c"] {
            queue.push(waiting(name, 100, 0));
        }
        let (batch, _) = queue.take(2, Timestamp(0));
        queue.push(waiting("d", 100, 0));
        queue.push(waiting("b", 300, 0));
        assert_eq!(queue.put_back(batch), 0);
        let want = [("a", 100), ("c", 100), ("d", 100), ("b", 300)];
        let want: Vec<_> = want.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect();
        assert_eq!(all(&mut queue, 0), (want, 0));
    }

    #[test]
    fn what_is_not_true_any_more_is_not_sent() {
        let mut queue = Queue::default();
        queue.push(waiting("lease", 1000, 0));
        queue.push(waiting("end", 500, 600));
        assert_eq!(all(&mut queue, 1000), (vec![("end".to_owned(), 500)], 1));
        queue.push(waiting("end", 500, 600));
        assert_eq!(all(&mut queue, 900_500), (Vec::new(), 1));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut queue = Queue::default();
        for number in 0..MOST {
            assert_eq!(queue.push(waiting(&number.to_string(), 9, 0)), 0);
        }
        assert_eq!(queue.push(waiting("new", 9, 0)), 1);
        let (batch, _) = queue.take(1, Timestamp(0));
        assert_eq!(batch[0].alert.name(), "1");
        assert_eq!(queue.push(waiting("newer", 9, 0)) + queue.put_back(batch), 1);
    }
}
