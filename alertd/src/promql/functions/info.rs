//! `info`: labels of info metrics, such as `target_info`, added to the series they are about.

use std::collections::{HashMap, HashSet};

use super::Call;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::sample::Timestamp;
use crate::promql::error::{PromqlError, failed};
use crate::promql::eval::{Frame, Row, absent, is_absent, merged};
use crate::promql::matching::braces;
use crate::promql::syntax::{Node, Selector};

/// A series is about what has the same values here.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What the second argument asks of info series.
struct Wanted {
    /// Matchers of the metric name.
    names: Vec<Matcher>,
    /// Matchers of all other labels; where there are any, only those labels are added.
    data: Vec<Matcher>,
}

/// Info series that can be about the same: at each step the one with the newest sample counts.
struct Candidates {
    name: String,
    /// The values are the times of the samples, milliseconds.
    rows: Vec<Row>,
}

pub(super) fn info(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let base = call.vector(0)?;
    let given: &[Matcher] = match call.args.get(1).map(|arg| &arg.node) {
        Some(Node::Selector(selector)) => &selector.matchers,
        _ => &[],
    };
    let (names, data): (Vec<_>, Vec<_>) =
        given.iter().cloned().partition(|matcher| matcher.name == METRIC_NAME);
    let wanted = Wanted { names: named(names)?, data };
    // A series that is itself a source is left as it is.
    let is_source = |row: &Row| {
        let name = row.labels.metric_name().unwrap_or("");
        wanted.names.iter().all(|matcher| matcher.matches(name))
    };
    let (sources, base): (Vec<Row>, Vec<Row>) = base.into_iter().partition(is_source);
    let found = candidates(call, &wanted, &base)?;
    let mut out = sources;
    for row in base {
        call.eval.check_cancelled()?;
        out.extend(enriched(call, row, &found, &wanted)?);
    }
    Ok(Frame::Vector(merged(out)?))
}

/// Without a word about names it is `target_info`; who only says which not, means info metrics.
fn named(mut names: Vec<Matcher>) -> Result<Vec<Matcher>, PromqlError> {
    let positive = |matcher: &Matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
    if names.is_empty() {
        names.push(Matcher::equal(METRIC_NAME, "target_info"));
    } else if !names.iter().any(positive) {
        let any = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info");
        names.push(any.map_err(|error| failed!("info(): {error}"))?);
    }
    Ok(names)
}

/// The info series that share an identifying value with any of the rows, by name and identity.
fn candidates(
    call: &Call<'_>,
    wanted: &Wanted,
    base: &[Row],
) -> Result<HashMap<Labels, Candidates>, PromqlError> {
    let values = IDENTIFYING
        .map(|label| base.iter().filter_map(|row| row.labels.get(label)).collect::<HashSet<_>>());
    let mut found: HashMap<Labels, Candidates> = HashMap::new();
    if values.iter().all(HashSet::is_empty) {
        return Ok(found);
    }
    let times: Vec<i64> = call.steps.times().collect();
    let (from, to) = bounds(call, &times)?;
    let matchers: Vec<Matcher> = wanted.names.iter().chain(&wanted.data).cloned().collect();
    for series in call.eval.store.select(&matchers, from, to)? {
        call.eval.charge(series.samples.len())?;
        let shared = IDENTIFYING.iter().zip(&values).all(|(label, values)| {
            values.is_empty()
                || series.labels.get(label).is_some_and(|value| values.contains(value))
        });
        if !shared {
            continue;
        }
        let identity =
            series.labels.retain(|name| name == METRIC_NAME || IDENTIFYING.contains(&name));
        let row = call
            .eval
            .newest(&series.labels, &series.samples, &times, |sample| sample.timestamp.0 as f64)?;
        let name = row.labels.metric_name().unwrap_or("").to_owned();
        let entry = found.entry(identity).or_insert(Candidates { name, rows: Vec::new() });
        entry.rows.push(row);
    }
    Ok(found)
}

/// The times of the info samples that may count: those that the first selector of the first
/// argument could see.
fn bounds(call: &Call<'_>, times: &[i64]) -> Result<(Timestamp, Timestamp), PromqlError> {
    let mut first: Option<&Selector> = None;
    call.arg(0)?.walk(&mut |tree| {
        if let Node::Selector(selector) | Node::Range { selector, .. } = &tree.node {
            first.get_or_insert(selector);
        }
    });
    let when = first.map(|selector| selector.when).unwrap_or_default();
    let fixed = call.eval.fixed_time(&when);
    let time = |of: Option<&i64>| {
        let time = fixed.or(of.copied()).unwrap_or(call.steps.start);
        time.saturating_sub(when.offset)
    };
    let from = time(times.first()).saturating_sub(call.eval.lookback()).saturating_add(1);
    Ok((Timestamp(from), Timestamp(time(times.last()))))
}

/// The rows that one becomes: as many as there are sets of labels that it has over time.
fn enriched(
    call: &Call<'_>,
    row: Row,
    found: &HashMap<Labels, Candidates>,
    wanted: &Wanted,
) -> Result<Vec<Row>, PromqlError> {
    let identity = row.labels.only(&IDENTIFYING);
    let mut names: Vec<&str> = found.values().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let about: Vec<&Candidates> =
        names.iter().filter_map(|name| found.get(&identity.with(METRIC_NAME, name))).collect();
    let must_match = wanted.data.iter().any(|matcher| !matcher.matches(""));
    let mut out: Vec<Row> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for (step, value) in row.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
        let mut added = Labels::empty();
        let mut matched = false;
        for one in &about {
            let Some(source) = one.newest(step)? else { continue };
            matched = true;
            for (name, value) in source.labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
                if !wanted.data.is_empty() && !wanted.data.iter().any(|one| one.name == name) {
                    continue;
                }
                if added.get(name).is_some_and(|other| other != value) {
                    return Err(failed!("conflicting label: {name}"));
                }
                if row.labels.get(name).is_none() {
                    added = added.with(name, value);
                }
            }
        }
        if !matched && must_match {
            continue;
        }
        let at = match known.get(&added) {
            Some(at) => *at,
            None => {
                call.eval.charge(row.values.len())?;
                let labels = row.labels.overlaid(&added);
                let values = vec![absent(); row.values.len()];
                out.push(Row { labels, drop_name: row.drop_name, values });
                known.insert(added, out.len() - 1);
                out.len() - 1
            }
        };
        if let Some(cell) = out.get_mut(at).and_then(|row| row.values.get_mut(step)) {
            *cell = *value;
        }
    }
    Ok(out)
}

impl Candidates {
    fn newest(&self, step: usize) -> Result<Option<&Row>, PromqlError> {
        let mut best: Option<(&Row, f64)> = None;
        for row in &self.rows {
            let Some(time) = row.values.get(step).filter(|time| !is_absent(**time)) else {
                continue;
            };
            match best {
                Some((other, newest)) if newest == *time => {
                    return Err(failed!(
                        "found duplicate series for info metric: existing {} @ {time}, new {} @ {time}",
                        braces(&other.labels),
                        braces(&row.labels)
                    ));
                }
                Some((_, newest)) if newest > *time => {}
                _ => best = Some((row, *time)),
            }
        }
        Ok(best.map(|(row, _)| row))
    }
}
