//! Arithmetic and comparisons between two vectors: one-to-one, many-to-one, one-to-many.

use std::collections::HashMap;

use crate::model::labels::Labels;

use super::binary::{compute, key};
use super::error::{PromqlError, failed};
use super::eval::{Evaluator, Frame, Row, Steps, absent, is_absent, is_metadata};
use super::print::quoted;
use super::syntax::{Binary, Side};

/// Rows that share a key, by side. "One" is the right side, except under `group_right`.
#[derive(Default)]
struct Group {
    many: Vec<usize>,
    one: Vec<usize>,
}

struct Pairing<'a> {
    binary: &'a Binary,
    many: &'a [Row],
    one: &'a [Row],
    delayed: bool,
    out: Vec<Row>,
    by_labels: HashMap<Labels, usize>,
    /// Output row of a pair of rows; `None` stands for the filled-in side.
    known: HashMap<(Option<usize>, Option<usize>), usize>,
}

pub(super) fn pairs(
    eval: &Evaluator<'_>,
    binary: &Binary,
    left: Vec<Row>,
    right: Vec<Row>,
    steps: &Steps,
) -> Result<Frame, PromqlError> {
    let swapped = binary.matching.side == Side::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    // As in Prometheus, the sides of a fill are those of the grouping, not those of the text.
    let (fill_many, fill_one) = (binary.matching.fill_left, binary.matching.fill_right);
    let mut groups: Vec<(Labels, Group)> = Vec::new();
    let mut by_key: HashMap<Labels, usize> = HashMap::new();
    let mut group_of = |groups: &mut Vec<(Labels, Group)>, row: &Row| {
        let key = key(&binary.matching, &row.labels);
        *by_key.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Group::default()));
            groups.len() - 1
        })
    };
    for (at, row) in many.iter().enumerate() {
        let group = group_of(&mut groups, row);
        groups[group].1.many.push(at);
    }
    for (at, row) in one.iter().enumerate() {
        let group = group_of(&mut groups, row);
        groups[group].1.one.push(at);
    }
    let filled = fill_many.is_some() || fill_one.is_some();
    // Where one side is wholly empty nothing can match, and nothing can be ambiguous.
    let active: Vec<bool> =
        (0..steps.count).map(|at| filled || (any_at(&many, at) && any_at(&one, at))).collect();
    let mut pairing = Pairing {
        binary,
        many: &many,
        one: &one,
        delayed: eval.options.delayed_name_removal,
        out: Vec::new(),
        by_labels: HashMap::new(),
        known: HashMap::new(),
    };
    for (key, group) in &groups {
        eval.check_cancelled()?;
        eval.charge(steps.count)?;
        for step in (0..steps.count).filter(|step| active.get(*step) == Some(&true)) {
            let partner = pairing.only_partner(key, group, step)?;
            let mut seen: Vec<usize> = Vec::new();
            let present = group.many.iter().filter(|at| value_at(&many, **at, step).is_some());
            let mut present = present.map(|at| Some(*at)).peekable();
            if partner.is_none() && fill_one.is_none() {
                continue;
            }
            let lonely = present.peek().is_none() && partner.is_some() && fill_many.is_some();
            let lonely = lonely.then_some(None);
            for row in present.chain(lonely) {
                let value = |rows: &[Row], at: Option<usize>, fill: Option<f64>| {
                    at.map_or(fill, |at| value_at(rows, at, step))
                };
                let (Some(many_value), Some(one_value)) =
                    (value(&many, row, fill_many), value(&one, partner, fill_one))
                else {
                    continue;
                };
                let into = pairing.output_row(row, partner, key, steps.count);
                pairing.check_unique(&mut seen, into)?;
                let (l, r) =
                    if swapped { (one_value, many_value) } else { (many_value, one_value) };
                let (computed, held) = compute(binary.op, l, r);
                let result = match (binary.returns_bool, held) {
                    (true, held) => f64::from(held),
                    (false, true) => computed,
                    (false, false) => continue,
                };
                let cell = pairing.out.get_mut(into).and_then(|row| row.values.get_mut(step));
                if let Some(cell) = cell {
                    if !is_absent(*cell) {
                        return Err(failed!(
                            "vector cannot contain metrics with the same labelset"
                        ));
                    }
                    *cell = result;
                }
            }
        }
    }
    let mut out = pairing.out;
    out.retain(|row| !row.is_empty());
    Ok(Frame::Vector(out))
}

impl Pairing<'_> {
    /// The row of the "one" side that has a value at the step.
    fn only_partner(
        &self,
        key: &Labels,
        group: &Group,
        step: usize,
    ) -> Result<Option<usize>, PromqlError> {
        let mut present = group.one.iter().filter(|at| value_at(self.one, **at, step).is_some());
        let first = present.next().copied();
        if let (Some(first), Some(second)) = (first, present.next()) {
            let side = if self.binary.matching.side == Side::OneToMany { "left" } else { "right" };
            let name =
                |at: usize| self.one.get(at).map_or(String::new(), |row| braces(&row.labels));
            let mut names = [name(first), name(*second)];
            names.sort();
            return Err(failed!(
                "found duplicate series for the match group {} on the {side} hand-side of the \
                 operation: [{}, {}];many-to-many matching not allowed: matching labels must be \
                 unique on one side",
                braces(key),
                names[0],
                names[1]
            ));
        }
        Ok(first)
    }

    fn check_unique(&self, seen: &mut Vec<usize>, into: usize) -> Result<(), PromqlError> {
        if self.binary.matching.side == Side::OneToOne && !seen.is_empty() {
            return Err(failed!(
                "multiple matches for labels: many-to-one matching must be explicit \
                 (group_left/group_right)"
            ));
        }
        if seen.contains(&into) {
            return Err(failed!(
                "multiple matches for labels: grouping labels must ensure unique matches"
            ));
        }
        seen.push(into);
        Ok(())
    }

    fn output_row(
        &mut self,
        many: Option<usize>,
        one: Option<usize>,
        key: &Labels,
        steps: usize,
    ) -> usize {
        if let Some(known) = self.known.get(&(many, one)) {
            return *known;
        }
        let row = many.and_then(|at| self.many.get(at));
        let partner = one.and_then(|at| self.one.get(at));
        let labels = self.result_labels(
            row.map_or(key, |row| &row.labels),
            partner.map_or(key, |row| &row.labels),
        );
        let late =
            self.delayed && (self.binary.returns_bool || row.is_some_and(|row| row.drop_name));
        let next = self.out.len();
        let into = *self.by_labels.entry(labels.clone()).or_insert(next);
        if into == next {
            self.out.push(Row { labels, drop_name: late, values: vec![absent(); steps] });
        }
        self.known.insert((many, one), into);
        into
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.binary.matching;
        let drops_name =
            !self.binary.op.is_comparison() || (self.binary.returns_bool && !self.delayed);
        let listed = |name: &str| matching.labels.iter().any(|label| label == name);
        let labels = many.retain(|name| {
            if drops_name && is_metadata(name) {
                return false;
            }
            matching.side != Side::OneToOne || listed(name) == matching.on
        });
        matching
            .include
            .iter()
            .fold(labels, |labels, name| labels.with(name, one.get(name).unwrap_or("")))
    }
}

fn value_at(rows: &[Row], row: usize, step: usize) -> Option<f64> {
    rows.get(row)?.values.get(step).copied().filter(|value| !is_absent(*value))
}

fn any_at(rows: &[Row], step: usize) -> bool {
    (0..rows.len()).any(|row| value_at(rows, row, step).is_some())
}

/// A label set with the name among the labels, as error messages show it.
pub(super) fn braces(labels: &Labels) -> String {
    let pairs: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}
