//! `sort` and its kin: the order of an instant query's result; range queries have their own.

use std::cmp::Ordering;

use super::Call;
use crate::promql::error::PromqlError;
use crate::promql::eval::{Frame, Row};
use crate::promql::sum::ascending;

pub(super) fn sort(call: &Call<'_>) -> Result<Frame, PromqlError> {
    by_value(call, ascending)
}

pub(super) fn sort_desc(call: &Call<'_>) -> Result<Frame, PromqlError> {
    by_value(call, |a, b| ascending(b, a))
}

pub(super) fn sort_by_label(call: &Call<'_>) -> Result<Frame, PromqlError> {
    by_label(call, |order| order)
}

pub(super) fn sort_by_label_desc(call: &Call<'_>) -> Result<Frame, PromqlError> {
    by_label(call, Ordering::reverse)
}

/// NaN goes last, whichever way the numbers go.
fn by_value(call: &Call<'_>, order: fn(&f64, &f64) -> Ordering) -> Result<Frame, PromqlError> {
    let mut rows = call.vector(0)?;
    let value = |row: &Row| row.values.first().copied().unwrap_or(f64::NAN);
    if call.steps.count == 1 {
        rows.sort_by(|a, b| {
            let (a, b) = (value(a), value(b));
            a.is_nan().cmp(&b.is_nan()).then(order(&a, &b))
        });
    }
    Ok(Frame::Vector(rows))
}

fn by_label(call: &Call<'_>, turn: fn(Ordering) -> Ordering) -> Result<Frame, PromqlError> {
    let mut rows = call.vector(0)?;
    let names =
        (1..call.args.len()).map(|at| call.text(at)).collect::<Result<Vec<_>, PromqlError>>()?;
    let order = |a: &Row, b: &Row| {
        let value = |row: &Row, name: &str| row.labels.get(name).unwrap_or("").to_owned();
        let by_names = names.iter().map(|name| natural(&value(a, name), &value(b, name)));
        by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels))
    };
    if call.steps.count == 1 {
        rows.sort_by(|a, b| turn(order(a, b)));
    }
    Ok(Frame::Vector(rows))
}

/// Runs of digits compare as numbers: `node2` before `node10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.chars().peekable(), b.chars().peekable());
    loop {
        let (Some(left), Some(right)) = (a.peek().copied(), b.peek().copied()) else {
            return a.peek().is_some().cmp(&b.peek().is_some());
        };
        if left.is_ascii_digit() && right.is_ascii_digit() {
            let run = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
                let mut digits = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                digits
            };
            let (left, right) = (run(&mut a), run(&mut b));
            let (short, other) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            let order = short.len().cmp(&other.len()).then(short.cmp(other));
            if order != Ordering::Equal {
                return order;
            }
        } else if left != right {
            return left.cmp(&right);
        } else {
            a.next();
            b.next();
        }
    }
}
