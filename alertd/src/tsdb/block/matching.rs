//! Which series of a block a selector means: each condition is tried on a label's values, not on
//! every series.

use std::collections::HashMap;
use std::ops::Range;

use super::coding::Broken;
use super::index::{Index, SeriesId, Symbol};
use crate::model::matcher::{MatchOp, Matcher};

/// The series that all matchers match, in the order of their labels.
pub(super) fn matching(index: &Index, matchers: &[Matcher]) -> Result<Vec<SeriesId>, Broken> {
    let mut found: Option<Vec<SeriesId>> = None;
    let mut rest = Vec::new();
    // What asks for one value is looked up; it leaves few series for the others to look at.
    for matcher in matchers {
        let name = index.name(&matcher.name)?;
        match name {
            None if matcher.matches("") => {}
            None => return Ok(Vec::new()),
            Some((_, values)) if matcher.op == MatchOp::Equal && !matcher.value.is_empty() => {
                let Some(value) = index.find_value(values, &matcher.value)? else {
                    return Ok(Vec::new());
                };
                let mut with = Vec::with_capacity(index.posting_count(value)?);
                index.postings(value, |id| with.push(id))?;
                found = Some(match found {
                    None => with,
                    Some(found) => common(&found, &with),
                });
            }
            Some((symbol, values)) => rest.push((matcher, symbol, values)),
        }
    }
    // Few values first: they cost least.
    rest.sort_by_key(|(_, _, values)| values.len());
    for (matcher, name, values) in rest {
        found = Some(match found {
            Some(found) if found.len() <= values.len() => by_series(index, found, matcher, name)?,
            found => by_values(index, found, matcher, values)?,
        });
    }
    Ok(found.unwrap_or_else(|| (0..index.series).collect()))
}

/// Keeps the series whose own value matches; each value is tried once.
fn by_series(
    index: &Index,
    found: Vec<SeriesId>,
    matcher: &Matcher,
    name: Symbol,
) -> Result<Vec<SeriesId>, Broken> {
    let mut known: HashMap<Option<Symbol>, bool> = HashMap::new();
    let mut kept = Vec::new();
    for id in found {
        let value = index.value_of(id, name)?;
        let matches = match known.get(&value) {
            Some(matches) => *matches,
            None => {
                let text = value.map_or(Ok(""), |value| index.symbol(value))?;
                *known.entry(value).or_insert(matcher.matches(text))
            }
        };
        if matches {
            kept.push(id);
        }
    }
    Ok(kept)
}

fn by_values(
    index: &Index,
    found: Option<Vec<SeriesId>>,
    matcher: &Matcher,
    values: Range<u32>,
) -> Result<Vec<SeriesId>, Broken> {
    // Whether series with a marked value are those that stay or, where the label may be absent,
    // those that go.
    let absent_too = matcher.matches("");
    let mut marked = vec![0_u64; index.series as usize / 64 + 1];
    for value in values {
        if matcher.matches(index.value(value)?) != absent_too {
            index.postings(value, |id| {
                if let Some(word) = marked.get_mut(id as usize / 64) {
                    *word |= 1 << (id % 64);
                }
            })?;
        }
    }
    let is_marked = |id: SeriesId| {
        marked.get(id as usize / 64).is_some_and(|word| word & (1 << (id % 64)) != 0)
    };
    let stays = |id: &SeriesId| is_marked(*id) != absent_too;
    Ok(match found {
        Some(found) => found.into_iter().filter(stays).collect(),
        None => (0..index.series).filter(stays).collect(),
    })
}

/// What is in both of two ascending lists.
fn common(one: &[SeriesId], other: &[SeriesId]) -> Vec<SeriesId> {
    let (few, mut many) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let mut both = Vec::with_capacity(few.len());
    for id in few {
        // The steps double until the place is passed, so that a long list is not read through.
        let mut step = 1;
        while many.get(step).is_some_and(|at| at < id) {
            step *= 2;
        }
        let end = many.len().min(step + 1);
        let skip = many.get(..end).map_or(0, |near| near.partition_point(|at| at < id));
        many = many.get(skip..).unwrap_or_default();
        if many.first() == Some(id) {
            both.push(*id);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_of_two_lists() {
        for (one, other, want) in [
            (vec![], vec![1, 2], vec![]),
            (vec![1, 5, 9], vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], vec![1, 5, 9]),
            (vec![4], vec![1, 2, 3], vec![]),
            ((0..100).step_by(3).collect(), (0..100).collect(), (0..100).step_by(3).collect()),
            (
                (0..60).step_by(2).collect(),
                (0..60).step_by(3).collect(),
                (0..60).step_by(6).collect(),
            ),
        ] {
            assert_eq!(common(&one, &other), want);
            assert_eq!(common(&other, &one), want);
        }
    }
}
