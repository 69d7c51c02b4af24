//! Binary operators: arithmetic, comparisons and the set operators.

use std::collections::HashMap;

use crate::model::labels::Labels;

use super::error::{PromqlError, failed};
use super::eval::{Evaluator, Frame, Row, Steps, absent, is_absent, is_metadata, merged};
use super::matching;
use super::syntax::{Binary, Matching, Op};

pub(super) fn apply(
    eval: &Evaluator<'_>,
    binary: &Binary,
    left: Frame,
    right: Frame,
    steps: &Steps,
) -> Result<Frame, PromqlError> {
    eval.charge(steps.count)?;
    match (left, right) {
        (Frame::Scalar(left), Frame::Scalar(right)) => {
            let pairs = left.into_iter().zip(right);
            Ok(Frame::Scalar(pairs.map(|(l, r)| scalar(binary.op, l, r)).collect()))
        }
        (Frame::Vector(rows), Frame::Scalar(values)) => {
            elementwise(eval, binary, rows, |at, value| {
                compute(binary.op, value, values.get(at).copied().unwrap_or(f64::NAN))
            })
        }
        (Frame::Scalar(values), Frame::Vector(rows)) => {
            elementwise(eval, binary, rows, |at, value| {
                let left = values.get(at).copied().unwrap_or(f64::NAN);
                let (computed, held) = compute(binary.op, left, value);
                // A comparison keeps the vector's value, on whichever side it stands.
                (if binary.op.is_comparison() { value } else { computed }, held)
            })
        }
        (Frame::Vector(left), Frame::Vector(right)) => match binary.op {
            Op::And => Ok(Frame::Vector(keep(&binary.matching, left, &right, true))),
            Op::Unless => Ok(Frame::Vector(keep(&binary.matching, left, &right, false))),
            Op::Or => Ok(Frame::Vector(merged(either(&binary.matching, left, right))?)),
            _ => matching::pairs(eval, binary, left, right, steps),
        },
        _ => Err(failed!("a string cannot be an operand of {}", binary.op.symbol())),
    }
}

/// The value of an arithmetic operation, or the left value; and whether a comparison held.
pub(super) fn compute(op: Op, left: f64, right: f64) -> (f64, bool) {
    match op {
        Op::Add => (left + right, true),
        Op::Sub => (left - right, true),
        Op::Mul => (left * right, true),
        Op::Div => (left / right, true),
        Op::Mod => (left % right, true),
        Op::Pow => (left.powf(right), true),
        Op::Atan2 => (left.atan2(right), true),
        Op::Equal => (left, left == right),
        Op::NotEqual => (left, left != right),
        Op::Less => (left, left < right),
        Op::LessEqual => (left, left <= right),
        Op::Greater => (left, left > right),
        Op::GreaterEqual => (left, left >= right),
        Op::And | Op::Or | Op::Unless => (left, true),
    }
}

/// What two elements are matched by.
pub(super) fn key(matching: &Matching, labels: &Labels) -> Labels {
    if matching.on {
        labels.retain(|name| matching.labels.iter().any(|wanted| wanted == name))
    } else {
        labels.retain(|name| {
            !is_metadata(name) && !matching.labels.iter().any(|ignored| ignored == name)
        })
    }
}

/// Between scalars a comparison always has the `bool` modifier.
fn scalar(op: Op, left: f64, right: f64) -> f64 {
    let (value, held) = compute(op, left, right);
    if op.is_comparison() { f64::from(held) } else { value }
}

fn elementwise(
    eval: &Evaluator<'_>,
    binary: &Binary,
    rows: Vec<Row>,
    operate: impl Fn(usize, f64) -> (f64, bool),
) -> Result<Frame, PromqlError> {
    let change = |at: usize, value: f64| {
        let (computed, held) = operate(at, value);
        match (binary.returns_bool, held) {
            (true, held) => f64::from(held),
            (false, true) => computed,
            (false, false) => absent(),
        }
    };
    if !binary.op.is_comparison() || binary.returns_bool {
        return eval.map_at(rows, change);
    }
    // A filter keeps names, so no two rows can become one.
    let mut rows = rows;
    for row in &mut rows {
        for (at, value) in row.values.iter_mut().enumerate() {
            if !is_absent(*value) {
                *value = change(at, *value);
            }
        }
    }
    rows.retain(|row| !row.is_empty());
    Ok(Frame::Vector(rows))
}

/// `and` (wanted) and `unless` (not wanted): left elements by whether the right has their key.
fn keep(matching: &Matching, mut left: Vec<Row>, right: &[Row], wanted: bool) -> Vec<Row> {
    let present = presence(matching, right);
    for row in &mut left {
        let partners = present.get(&key(matching, &row.labels));
        for (at, value) in row.values.iter_mut().enumerate() {
            let found = partners.is_some_and(|steps| steps.get(at) == Some(&true));
            if found != wanted {
                *value = absent();
            }
        }
    }
    left.retain(|row| !row.is_empty());
    left
}

/// `or`: all of the left, and of the right what the left has no key for.
fn either(matching: &Matching, mut left: Vec<Row>, right: Vec<Row>) -> Vec<Row> {
    let present = presence(matching, &left);
    for mut row in right {
        if let Some(taken) = present.get(&key(matching, &row.labels)) {
            for (value, taken) in row.values.iter_mut().zip(taken) {
                if *taken {
                    *value = absent();
                }
            }
        }
        left.push(row);
    }
    left
}

/// For each key, whether it has an element at each step.
fn presence(matching: &Matching, rows: &[Row]) -> HashMap<Labels, Vec<bool>> {
    let mut present: HashMap<Labels, Vec<bool>> = HashMap::new();
    for row in rows {
        let steps = present
            .entry(key(matching, &row.labels))
            .or_insert_with(|| vec![false; row.values.len()]);
        for (step, value) in steps.iter_mut().zip(&row.values) {
            *step |= !is_absent(*value);
        }
    }
    present
}
