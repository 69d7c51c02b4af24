//! Which blocks to merge, and which to delete. Pure: times and sizes in, choices out.

use std::time::Duration;

use crate::model::sample::Timestamp;

/// What a head writes at a time.
const BASE: i64 = 2 * 3_600_000;
/// How many of each to the next larger one.
const STEPS: [i64; 2] = [4, 3];
/// Without samples for longer, time has jumped, or nothing ran.
const JUMP: i64 = 86_400_000;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Age at which samples go.
    pub retention: Duration,
    /// Bytes of the whole store beyond which the oldest blocks go.
    pub size: Option<u64>,
}

/// What planning needs to know of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) min: Timestamp,
    pub(super) max: Timestamp,
    pub(super) bytes: u64,
    /// False for one that was found damaged: it stays as it is.
    pub(super) whole: bool,
}

/// The places in `blocks`, which are sorted by their start, of those to merge next.
///
/// Windows of 8 h, 24 h, and so on up to a tenth of the retention; one is merged when a later block
/// shows that no more of it will come, and two blocks or more lie within it.
pub(super) fn merge(blocks: &[Span], retention: Duration) -> Option<Vec<usize>> {
    let newest = blocks.iter().map(|block| block.min.0).max()?;
    let largest = i64::try_from(retention.as_millis() / 10).unwrap_or(i64::MAX);
    let mut window = BASE;
    for step in STEPS.into_iter().chain(std::iter::repeat(3)) {
        window = window.checked_mul(step).filter(|window| *window <= largest)?;
        let mut at = 0;
        while let Some(block) = blocks.get(at) {
            let number = block.min.0.div_euclid(window);
            let inside = |block: &Span| block.min.0.div_euclid(window) == number;
            let end = at + blocks.iter().skip(at).take_while(|block| inside(block)).count();
            let fits = |at: &usize| {
                blocks
                    .get(*at)
                    .is_some_and(|one| one.whole && one.max.0.div_euclid(window) == number)
            };
            let group: Vec<usize> = (at..end).filter(fits).collect();
            if group.len() > 1 && newest.div_euclid(window) > number {
                return Some(group);
            }
            at = end;
        }
    }
    None
}

/// The places of the blocks to delete because of their age.
///
/// Age counts from `now`, except after a leap of more than a day over which there are no samples:
/// then it counts from before the leap until a day of samples lies behind it. So a clock that is
/// wrong for less than a day deletes nothing, and a clock that is right deletes a day later.
pub(super) fn too_old(blocks: &[Span], now: Timestamp, retention: Duration) -> Vec<usize> {
    let oldest = steady(blocks, now).minus(retention);
    (0..blocks.len()).filter(|at| blocks.get(*at).is_some_and(|one| one.max < oldest)).collect()
}

/// The time up to which samples have come without a leap, or `now`.
fn steady(blocks: &[Span], now: Timestamp) -> Timestamp {
    let mut end: Option<i64> = None;
    // The last leap: samples ended at the first, and went on at the second.
    let mut leap = None;
    let past = blocks.iter().map(|one| (one.min.0, one.max.0)).filter(|(min, _)| *min <= now.0);
    for (min, max) in past.chain([(now.0, now.0)]) {
        if let Some(end) = end.filter(|end| min.saturating_sub(*end) > JUMP) {
            leap = Some((end, min));
        }
        end = end.max(Some(max));
    }
    match leap {
        Some((before, after)) if now.0.saturating_sub(after) < JUMP => Timestamp(before),
        _ => now,
    }
}

/// The places of the blocks to delete so that the store, which takes `others` bytes beside them,
/// fits into `most`: the oldest first.
pub(super) fn too_large(blocks: &[Span], others: u64, most: u64) -> Vec<usize> {
    let bytes = |one: &Span| one.bytes;
    let mut total = blocks.iter().map(bytes).fold(others, u64::saturating_add);
    let mut oldest_first: Vec<usize> = (0..blocks.len()).collect();
    oldest_first.sort_by_key(|at| blocks.get(*at).map(|one| one.max));
    let mut chosen = Vec::new();
    for at in oldest_first {
        if total <= most {
            break;
        }
        total = total.saturating_sub(blocks.get(at).map_or(0, bytes));
        chosen.push(at);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// Hours from, until, and megabytes.
    fn spans(hours: &[(i64, i64, u64)]) -> Vec<Span> {
        let span = |(from, to, size): &(i64, i64, u64)| Span {
            min: Timestamp(from * HOUR),
            max: Timestamp(to * HOUR - 1),
            bytes: *size << 20,
            whole: *size > 0,
        };
        hours.iter().map(span).collect()
    }

    fn two_hours(count: i64) -> Vec<(i64, i64, u64)> {
        (0..count).map(|at| (2 * at, 2 * at + 2, 1)).collect()
    }

    #[test]
    fn windows_are_merged_when_they_are_over() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        for (hours, retention, want) in [
            (vec![], 15, None),
            (two_hours(1), 15, None),
            (two_hours(4), 15, None),
            (two_hours(5), 15, Some(vec![0, 1, 2, 3])),
            // A tenth of the retention is less than 8 h.
            (two_hours(5), 3, None),
            // One block of a window does not become another by itself.
            (vec![(0, 2, 1), (8, 10, 1), (16, 18, 1)], 15, None),
            (vec![(0, 2, 1), (4, 6, 1), (8, 10, 1)], 15, Some(vec![0, 1])),
            // Three of 8 h become a day once the next day has begun.
            (vec![(0, 8, 4), (8, 16, 4), (16, 24, 4)], 15, None),
            (vec![(0, 8, 4), (8, 16, 4), (16, 24, 4), (24, 26, 1)], 15, Some(vec![0, 1, 2])),
            (vec![(0, 8, 4), (8, 16, 4), (16, 24, 4), (24, 26, 1)], 9, None),
            (vec![(0, 24, 9), (24, 48, 9), (48, 72, 9), (72, 74, 1)], 15, None),
            (vec![(0, 24, 9), (24, 48, 9), (48, 72, 9), (72, 74, 1)], 30, Some(vec![0, 1, 2])),
            // A late block joins the one that it belongs to.
            (vec![(0, 8, 4), (2, 3, 1), (8, 10, 1)], 15, Some(vec![0, 1])),
            // A block across the border of two windows stays, and so does a damaged one.
            (vec![(0, 2, 1), (6, 10, 1), (16, 18, 1)], 15, None),
            (vec![(0, 2, 1), (2, 4, 0), (4, 6, 1), (16, 18, 1)], 15, Some(vec![0, 2])),
            (vec![(-8, -6, 1), (-6, -4, 1), (0, 2, 1)], 15, Some(vec![0, 1])),
        ] {
            assert_eq!(merge(&spans(&hours), days(retention)), want, "{hours:?} {retention} d");
        }
    }

    #[test]
    fn age_counts_from_a_steady_clock() {
        let day = 24;
        // Ten days of a block each.
        let steady: Vec<_> = (0..10).map(|at| (at * day, (at + 1) * day, 1)).collect();
        let with = |more: &[(i64, i64, u64)]| [&steady[..], more].concat();
        for (blocks, now, want) in [
            (vec![], 1000 * day, 0),
            (steady.clone(), 10 * day, 5),
            (steady.clone(), 9 * day, 4),
            // The clock leaps years ahead: nothing more goes, whatever is written then.
            (steady.clone(), 4000 * day, 4),
            (with(&[(4000 * day, 4000 * day + 2, 1)]), 4000 * day + 2, 4),
            // It stays there for a day: then it is believed.
            (with(&[(4000 * day, 4001 * day, 1)]), 4001 * day, 10),
            // It came back; the block from the future counts for nothing.
            (with(&[(4000 * day, 4000 * day + 2, 1)]), 10 * day + 3, 5),
            // A night without power is no leap.
            (with(&[(10 * day + 20, 11 * day, 1)]), 11 * day, 6),
            (steady.clone(), -4000 * day, 0),
        ] {
            let retention = Duration::from_secs(5 * 86_400);
            let gone = too_old(&spans(&blocks), Timestamp(now * HOUR), retention);
            assert_eq!(gone, (0..want).collect::<Vec<_>>(), "{now}");
        }
    }

    #[test]
    fn the_oldest_go_first_until_the_rest_fits() {
        let blocks = spans(&[(0, 24, 10), (2, 4, 1), (24, 26, 5), (26, 28, 5)]);
        for (others, most, want) in [
            (0, 21, vec![]),
            (1, 21, vec![1]),
            (0, 19, vec![0, 1]),
            (0, 9, vec![0, 1, 2]),
            (9, 9, vec![0, 1, 2, 3]),
        ] {
            assert_eq!(too_large(&blocks, others << 20, most << 20), want, "{others} {most}");
        }
    }
}
