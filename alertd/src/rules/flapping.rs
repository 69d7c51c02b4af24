//! Alerts that fire and end all the time: held still, told once, and let go when they are calm. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::alerting;
use crate::model::alert::{AlertInstance, AlertState};
use crate::model::sample::Timestamp;

/// The annotation that marks an alert that is held still.
pub const FLAPPING: &str = "pitcrew_flapping";

/// When an alert counts as flapping.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    /// So many beginnings and ends; 0: never.
    pub changes: usize,
    /// In so much time.
    pub within: Duration,
}

/// The instance after an evaluation that made `after` of `before`, with its history of beginnings
/// and ends: as it is, or held in the state firing because there were too many.
///
/// One that is held counts as ending and beginning with each evaluation that does not find it, or
/// finds it again. It is let go when there were no more than half as many changes as the limit.
pub fn held(
    before: Option<&AlertInstance>,
    after: Option<AlertInstance>,
    seen: bool,
    limit: Limit,
    now: Timestamp,
) -> Option<AlertInstance> {
    let mut changes = before.map(|before| before.changes.clone()).unwrap_or_default();
    let fires = |one: &AlertInstance| one.state == AlertState::Firing;
    let held = before.filter(|before| before.flapping_since.is_some() && fires(before));
    let was_there = match held {
        Some(held) => held.keep_firing_since.is_none(),
        None => before.is_some_and(fires),
    };
    let is_there = match held {
        Some(_) => seen,
        None => after.as_ref().is_some_and(fires),
    };
    if was_there != is_there && limit.changes > 0 {
        changes.push(now);
    }
    changes.retain(|at| *at <= now && now.since(*at) < limit.within);
    let surplus = changes.len().saturating_sub(limit.changes.max(1) * 2);
    changes.drain(..surplus);
    let Some(held) = held else {
        let mut after = after?;
        if was_there != is_there && limit.changes > 0 && changes.len() >= limit.changes {
            after.flapping_since = Some(now);
            if !is_there {
                after.state = AlertState::Firing;
                after.resolved_at = None;
                after.keep_firing_since = Some(now);
            }
        }
        after.changes = changes;
        return Some(after);
    };
    let calm = changes.len() <= limit.changes / 2;
    let mut after = match seen {
        // It was alive before, so what came of it is alive.
        true => AlertInstance { keep_firing_since: None, ..after.unwrap_or_else(|| held.clone()) },
        false => AlertInstance {
            keep_firing_since: held.keep_firing_since.or(Some(now)),
            ..held.clone()
        },
    };
    after.changes = changes;
    match (calm, seen) {
        (false, _) => {}
        (true, true) => after.flapping_since = None,
        (true, false) => {
            after = alerting::resolved(&after, now);
            after.flapping_since = None;
        }
    }
    Some(after)
}

/// The instance as it is shown and told while it is held.
pub fn marked(instance: &AlertInstance) -> Option<AlertInstance> {
    let since = instance.flapping_since?;
    let mut marked = instance.clone();
    let text = format!(
        "begins and ends all the time since {}: told again when it is calm",
        since.rfc3339()
    );
    Arc::make_mut(&mut marked.annotations).insert(FLAPPING.to_owned(), text);
    Some(marked)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::model::labels::Labels;
    use crate::rules::alerting::{Seen, Timing, needs_sending, next};

    const MINUTE: Duration = Duration::from_secs(60);

    fn minute(at: usize) -> Timestamp {
        Timestamp(at as i64 * 60_000)
    }

    /// Evaluations a minute apart, at most four changes in ten minutes. `1` yields the element. In
    /// letters: `-` nothing, `f` firing, `h` held, `r` over; capitals where routing is told.
    fn story(input: &str) -> (String, Option<AlertInstance>) {
        let limit = Limit { changes: 4, within: MINUTE * 10 };
        let (mut states, mut instance) = (String::new(), None::<AlertInstance>);
        for (at, char) in input.chars().enumerate() {
            let seen = (char == '1').then(|| Seen {
                labels: Labels::from_pairs([("alertname", "A")]),
                annotations: Arc::default(),
                value: at as f64,
            });
            let found = seen.is_some();
            let after = next(instance.as_ref(), seen, Timing::default(), minute(at));
            instance = held(instance.as_ref(), after, found, limit, minute(at));
            let letter = match &instance {
                None => '-',
                Some(one) if one.flapping_since.is_some() => 'h',
                Some(one) if one.state == AlertState::Firing => 'f',
                Some(_) => 'r',
            };
            let told = instance.as_mut().filter(|one| needs_sending(one, minute(at), MINUTE * 99));
            states.push(if told.is_some() { letter.to_ascii_uppercase() } else { letter });
            if let Some(told) = told {
                told.last_sent_at = Some(minute(at));
            }
        }
        (states, instance)
    }

    #[test]
    fn held_when_there_are_too_many_changes_and_let_go_when_it_is_calm() {
        for (what, input, want) in [
            ("few changes", "011011", "-FfRFf"),
            ("the fourth change is an end: held firing, told once", "1010101", "FRFHhhh"),
            ("it stays quiet while it goes on", "10101010101010", "FRFHhhhhhhhhhh"),
            ("calm while it is there", "10101111111111111", "FRFHhhhhhhhhfffff"),
            ("calm while it is not", "10100000000000000", "FRFHhhhhhhhRrrrrr"),
            ("slow ones are no flapping", "1111100000111110000011111", "FffffRrrrrFffffRrrrrFffff"),
        ] {
            assert_eq!(story(input).0, want, "{what}");
        }
    }

    #[test]
    fn the_history_is_bounded_and_marks_are_texts() {
        let (_, instance) = story(&"10".repeat(500));
        let instance = instance.unwrap();
        assert!(instance.changes.len() <= 8, "{:?}", instance.changes);
        let text = &marked(&instance).unwrap().annotations[FLAPPING];
        assert!(text.contains("since 1970-01-01T00:03:00.000Z"), "{text}");
        assert!(marked(&AlertInstance { flapping_since: None, ..instance }).is_none());
    }
}
