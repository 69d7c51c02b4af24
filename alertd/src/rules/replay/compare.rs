//! Two replays of the same time beside each other.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Firing;
use crate::model::sample::Timestamp;

/// What two sets of rules have in common and what only one of them has.
#[derive(Debug, Default, Serialize)]
pub struct Comparison {
    pub only_a: Vec<Firing>,
    pub only_b: Vec<Firing>,
    pub both: Vec<Pair>,
}

/// Firings of alerts with the same labels at overlapping times.
#[derive(Debug, Serialize)]
pub struct Pair {
    pub a: Firing,
    pub b: Firing,
    /// How much later B fired; negative when earlier.
    pub fired_later_seconds: f64,
    /// How much later it resolved; absent when one of them did not.
    pub resolved_later_seconds: Option<f64>,
}

/// Pairs firings by labels and time; each has at most one partner.
pub fn compare(a: &[Firing], b: &[Firing]) -> Comparison {
    let mut comparison = Comparison::default();
    let mut others: BTreeMap<&BTreeMap<String, String>, Vec<&Firing>> = BTreeMap::new();
    for firing in b {
        others.entry(&firing.labels).or_default().push(firing);
    }
    for firing in a {
        let mine = others.get_mut(&firing.labels);
        let found = mine.and_then(|mine| {
            let at = mine.iter().position(|other| overlap(firing, other))?;
            Some(mine.remove(at))
        });
        match found {
            Some(other) => comparison.both.push(Pair {
                fired_later_seconds: later(firing.fired_at, other.fired_at),
                resolved_later_seconds: firing
                    .resolved_at
                    .zip(other.resolved_at)
                    .map(|(one, two)| later(one, two)),
                a: firing.clone(),
                b: other.clone(),
            }),
            None => comparison.only_a.push(firing.clone()),
        }
    }
    comparison.only_b = others.into_values().flatten().cloned().collect();
    comparison.only_b.sort_by(|a, b| (a.fired_at, &a.labels).cmp(&(b.fired_at, &b.labels)));
    comparison
}

fn overlap(one: &Firing, two: &Firing) -> bool {
    let before = |first: &Firing, second: &Firing| {
        first.resolved_at.is_some_and(|resolved| resolved < second.fired_at)
    };
    !before(one, two) && !before(two, one)
}

fn later(one: Timestamp, two: Timestamp) -> f64 {
    (two.0.saturating_sub(one.0)) as f64 / 1000.0
}
