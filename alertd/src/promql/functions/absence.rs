//! `absent` and `absent_over_time`: 1 where there is nothing.

use super::Call;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::MatchOp;
use crate::promql::error::PromqlError;
use crate::promql::eval::{Frame, Row, absent as nothing, is_absent};
use crate::promql::syntax::{Node, Tree};

pub(super) fn absent(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.vector(0)?;
    where_empty(call, &rows)
}

pub(super) fn absent_over_time(call: &Call<'_>) -> Result<Frame, PromqlError> {
    let rows = call.over_keeping_names(0, |_| Some(1.0))?;
    where_empty(call, &rows)
}

fn where_empty(call: &Call<'_>, rows: &[Row]) -> Result<Frame, PromqlError> {
    let empty = |step: usize| {
        rows.iter().all(|row| row.values.get(step).is_none_or(|value| is_absent(*value)))
    };
    let values = (0..call.steps.count).map(|step| if empty(step) { 1.0 } else { nothing() });
    let row = Row { labels: labels_of(call.arg(0)?), drop_name: false, values: values.collect() };
    Ok(Frame::Vector(if row.is_empty() { Vec::new() } else { vec![row] }))
}

/// The labels that the selector asks for by `=`. Any further matcher of the same label takes it
/// away again; matchers before the first `=` do not count.
fn labels_of(tree: &Tree) -> Labels {
    let selector = match &tree.bare().node {
        Node::Selector(selector) | Node::Range { selector, .. } => selector,
        _ => return Labels::empty(),
    };
    let matchers = || selector.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME);
    let wanted = matchers().filter(|matcher| {
        let mut same = matchers().filter(|other| other.name == matcher.name);
        same.find(|other| other.op == MatchOp::Equal).is_some_and(|first| first == *matcher)
            && same.next().is_none()
    });
    Labels::from_pairs(wanted.map(|matcher| (matcher.name.as_str(), matcher.value.as_str())))
}
