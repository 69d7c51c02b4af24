//! Aggregations: rows to groups, `by` or `without` labels.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use twox_hash::XxHash64;

use crate::model::labels::{Labels, METRIC_NAME};

use super::error::{PromqlError, failed};
use super::eval::{Evaluator, Frame, Row, Steps, absent, is_absent, is_metadata, merged};
use super::print::{number, quoted};
use super::sum::{Mean, Sum, Variance, ascending, quantile};
use super::syntax::{Aggregate, Aggregation, Node};

struct Group {
    labels: Labels,
    drop_name: bool,
    members: Vec<Row>,
}

pub(super) fn apply(
    eval: &Evaluator<'_>,
    aggregate: &Aggregate,
    steps: &Steps,
) -> Result<Frame, PromqlError> {
    let rows = match eval.options.delayed_name_removal || aggregate.looks_at_names() {
        true => eval.vector(&aggregate.expr, steps)?,
        false => eval.nameless(&aggregate.expr, steps)?,
    };
    let value_label = match aggregate.kind {
        Aggregation::CountValues => Some(label(eval, aggregate)?),
        _ => None,
    };
    let param = match &aggregate.param {
        Some(param) if aggregate.kind != Aggregation::CountValues => {
            Some((eval.scalar(param, steps)?, param.start))
        }
        _ => None,
    };
    let (param, position) = param.unwrap_or((Vec::new(), 0));
    let groups = match &value_label {
        Some(label) => grouped(aggregate, without_label(label, rows)),
        None => grouped(aggregate, rows),
    };
    let at_step = |step: usize| param.get(step).copied().unwrap_or(f64::NAN);
    let one_value = |compute: &dyn Fn(usize, &[f64]) -> f64| reduce(eval, &groups, steps, compute);
    match aggregate.kind {
        Aggregation::Sum => one_value(&|_, v| Sum::of(v.iter().copied())),
        Aggregation::Avg => one_value(&|_, v| Mean::of(v.iter().copied())),
        Aggregation::Count => one_value(&|_, v| v.len() as f64),
        Aggregation::Group => one_value(&|_, _| 1.0),
        Aggregation::Min => one_value(&|_, v| extreme(v, |new, old| new < old)),
        Aggregation::Max => one_value(&|_, v| extreme(v, |new, old| new > old)),
        Aggregation::Stdvar => one_value(&|_, v| Variance::of(v.iter().copied())),
        Aggregation::Stddev => one_value(&|_, v| Variance::of(v.iter().copied()).sqrt()),
        Aggregation::Quantile => {
            for q in outermost(&param).into_iter().filter(|q| !(0.0..=1.0).contains(q)) {
                eval.warn(position, &bad_quantile(q));
            }
            one_value(&|step, v| quantile(at_step(step), v.to_vec()))
        }
        Aggregation::CountValues => {
            count_values(eval, aggregate, &groups, &value_label.unwrap_or_default(), steps)
        }
        Aggregation::Topk | Aggregation::Bottomk | Aggregation::Limitk => {
            let limits = limits(&param)?;
            Ok(select(groups, steps, |step, values| {
                let mut order: Vec<usize> = (0..values.len()).collect();
                let value = |at: usize| values.get(at).map_or(f64::NAN, |(_, value)| *value);
                // Stable sorts: of equal values the earlier series stays. NaN goes last in both.
                match aggregate.kind {
                    Aggregation::Topk => order.sort_by(|a, b| ascending(&value(*b), &value(*a))),
                    Aggregation::Bottomk => order.sort_by(|a, b| {
                        let nan = value(*a).is_nan().cmp(&value(*b).is_nan());
                        nan.then(ascending(&value(*a), &value(*b)))
                    }),
                    _ => {}
                }
                order.truncate(limits.get(step).copied().unwrap_or(0));
                order
            }))
        }
        Aggregation::LimitRatio => {
            if param.iter().any(|ratio| ratio.is_nan()) {
                return Err(failed!("Ratio value is NaN"));
            }
            for ratio in outermost(&param).into_iter().filter(|ratio| ratio.abs() > 1.0) {
                let (got, to) = (number(ratio), number(ratio.signum()));
                let text = "ratio value should be between -1 and 1";
                eval.warn(position, &format!("{text}, got {got}, capping to {to}"));
            }
            Ok(select(groups, steps, |step, values| {
                let ratio = at_step(step).clamp(-1.0, 1.0);
                let chosen = values.iter().enumerate();
                chosen
                    .filter(|(_, (row, _))| sampled(ratio, &row.labels))
                    .map(|(at, _)| at)
                    .collect()
            }))
        }
    }
}

/// NaN if it is there, else the lowest and the highest: of these a user is told.
fn outermost(param: &[f64]) -> Vec<f64> {
    if let Some(nan) = param.iter().find(|value| value.is_nan()) {
        return vec![*nan];
    }
    let ends: [fn(f64, f64) -> f64; 2] = [f64::min, f64::max];
    ends.iter().filter_map(|end| param.iter().copied().reduce(end)).collect()
}

pub(super) fn bad_quantile(q: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", number(q))
}

impl Aggregate {
    /// Whether its result depends on metric names, in groups or in what it hands on.
    fn looks_at_names(&self) -> bool {
        let hands_on = matches!(
            self.kind,
            Aggregation::Topk
                | Aggregation::Bottomk
                | Aggregation::Limitk
                | Aggregation::LimitRatio
                | Aggregation::CountValues
        );
        hands_on || self.labels.iter().any(|label| is_metadata(label))
    }

    fn keeps(&self, name: &str) -> bool {
        let listed = self.labels.iter().any(|label| label == name);
        if self.without { name != METRIC_NAME && !listed } else { listed }
    }
}

/// Groups in the order of their first member.
fn grouped(aggregate: &Aggregate, rows: Vec<Row>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // By the hash of the labels that stay, so that a set of them is made once a group.
    let mut known: HashMap<u64, Vec<usize>> = HashMap::new();
    let hashes = RandomState::new();
    for row in rows {
        let kept = || row.labels.iter().filter(|(name, _)| aggregate.keeps(name));
        let mut hash = hashes.build_hasher();
        kept().for_each(|pair| pair.hash(&mut hash));
        let same_hash = known.entry(hash.finish()).or_default();
        let same = |at: &&usize| groups.get(**at).is_some_and(|one| one.labels.iter().eq(kept()));
        let at = match same_hash.iter().find(same) {
            Some(at) => *at,
            None => {
                let labels = row.labels.retain(|name| aggregate.keeps(name));
                groups.push(Group { labels, drop_name: row.drop_name, members: Vec::new() });
                same_hash.push(groups.len() - 1);
                groups.len() - 1
            }
        };
        if let Some(group) = groups.get_mut(at) {
            group.drop_name |= row.drop_name;
            group.members.push(row);
        }
    }
    groups
}

fn reduce(
    eval: &Evaluator<'_>,
    groups: &[Group],
    steps: &Steps,
    compute: &dyn Fn(usize, &[f64]) -> f64,
) -> Result<Frame, PromqlError> {
    let mut rows = Vec::with_capacity(groups.len());
    let mut present = Vec::new();
    for group in groups {
        eval.check_cancelled()?;
        eval.charge(steps.count)?;
        let mut values = Vec::with_capacity(steps.count);
        for step in 0..steps.count {
            present.clear();
            present.extend(at_step(group, step).map(|(_, value)| value));
            values.push(if present.is_empty() { absent() } else { compute(step, &present) });
        }
        let row = Row { labels: group.labels.clone(), drop_name: group.drop_name, values };
        rows.push(row);
    }
    rows.retain(|row| !row.is_empty());
    Ok(Frame::Vector(rows))
}

/// Keeps members by step; `choose` gives indices into the present ones, best first.
fn select(
    groups: Vec<Group>,
    steps: &Steps,
    choose: impl Fn(usize, &[(&Row, f64)]) -> Vec<usize>,
) -> Frame {
    let mut out = Vec::new();
    for group in groups {
        let mut kept = vec![vec![absent(); steps.count]; group.members.len()];
        let mut order: Vec<usize> = Vec::new();
        for step in 0..steps.count {
            let members = group.members.iter().enumerate();
            let present: Vec<(usize, (&Row, f64))> =
                members.filter_map(|(at, row)| Some((at, (row, value_at(row, step)?)))).collect();
            let values: Vec<(&Row, f64)> = present.iter().map(|(_, pair)| *pair).collect();
            for chosen in choose(step, &values) {
                let Some((member, (_, value))) = present.get(chosen) else { continue };
                if let Some(cell) = kept.get_mut(*member).and_then(|row| row.get_mut(step)) {
                    *cell = *value;
                }
                if !order.contains(member) {
                    order.push(*member);
                }
            }
        }
        for member in order {
            if let (Some(row), Some(values)) = (group.members.get(member), kept.get_mut(member)) {
                let values = std::mem::take(values);
                out.push(Row { labels: row.labels.clone(), drop_name: row.drop_name, values });
            }
        }
    }
    Frame::Vector(out)
}

fn count_values(
    eval: &Evaluator<'_>,
    aggregate: &Aggregate,
    groups: &[Group],
    label: &str,
    steps: &Steps,
) -> Result<Frame, PromqlError> {
    let listed = label == METRIC_NAME || aggregate.labels.iter().any(|name| name == label);
    let dropped = aggregate.without && listed;
    let mut rows: Vec<Row> = Vec::new();
    for group in groups {
        eval.check_cancelled()?;
        let mut known: HashMap<String, usize> = HashMap::new();
        for step in 0..steps.count {
            for (row, value) in at_step(group, step) {
                let shown = if dropped { String::new() } else { number(value) };
                let at = match known.get(&shown) {
                    Some(at) => *at,
                    None => {
                        eval.charge(steps.count)?;
                        let labels = group.labels.with(label, &shown);
                        let drop_name = row.drop_name && label != METRIC_NAME;
                        rows.push(Row { labels, drop_name, values: vec![absent(); steps.count] });
                        known.insert(shown, rows.len() - 1);
                        rows.len() - 1
                    }
                };
                if let Some(cell) = rows.get_mut(at).and_then(|row| row.values.get_mut(step)) {
                    *cell = if is_absent(*cell) { 1.0 } else { *cell + 1.0 };
                }
            }
        }
    }
    Ok(Frame::Vector(merged(rows)?))
}

/// The value takes the label's place before there are groups.
fn without_label(label: &str, mut rows: Vec<Row>) -> Vec<Row> {
    for row in rows.iter_mut().filter(|row| row.labels.get(label).is_some()) {
        row.labels = row.labels.without(&[label]);
    }
    rows
}

/// The label that `count_values` puts the value into.
fn label(eval: &Evaluator<'_>, aggregate: &Aggregate) -> Result<String, PromqlError> {
    let tree =
        aggregate.param.as_ref().ok_or_else(|| failed!("count_values needs a label name"))?;
    if let Node::NotText(literal) = &tree.bare().node {
        return Err(failed!("invalid label name {literal}"));
    }
    let label = eval.text(tree)?;
    if label.is_empty() {
        return Err(failed!("invalid label name {}", quoted(&label)));
    }
    Ok(label)
}

fn at_step(group: &Group, step: usize) -> impl Iterator<Item = (&Row, f64)> {
    group.members.iter().filter_map(move |row| Some((row, value_at(row, step)?)))
}

fn value_at(row: &Row, step: usize) -> Option<f64> {
    row.values.get(step).copied().filter(|value| !is_absent(*value))
}

/// NaN counts only where there is nothing else.
fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    let first = values.first().copied().unwrap_or(f64::NAN);
    values.iter().fold(
        first,
        |best, value| {
            if better(*value, best) || best.is_nan() { *value } else { best }
        },
    )
}

/// How many elements each step keeps. Where none keeps any, the parameters may be ever so low.
fn limits(params: &[f64]) -> Result<Vec<usize>, PromqlError> {
    if params.iter().any(|param| param.is_nan()) {
        return Err(failed!("Parameter value is NaN"));
    }
    if params.iter().any(|param| *param >= 1.0) {
        if let Some(low) = params.iter().find(|param| **param <= -9_223_372_036_854_775_808.0) {
            return Err(failed!("Scalar value {} underflows int64", number(*low)));
        }
        if let Some(high) = params.iter().find(|param| **param >= 9_223_372_036_854_775_807.0) {
            return Err(failed!("Scalar value {} overflows int64", number(*high)));
        }
    }
    Ok(params.iter().map(|param| param.max(0.0) as usize).collect())
}

/// A series' place in `0..1` is fixed by its labels, so that a ratio and its complement (the
/// negative one) split any vector in two.
fn sampled(ratio: f64, labels: &Labels) -> bool {
    let place = hash(labels) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// As Prometheus hashes a label set, so that both choose the same series: XXH64 over each name and
/// value with its length before it.
fn hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::new();
    for (name, value) in labels.iter() {
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(short) if short < 255 => bytes.push(short),
                _ => {
                    bytes.push(255);
                    bytes.extend(text.len().to_le_bytes().iter().take(3));
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    XxHash64::oneshot(0, &bytes)
}
