//! Whether an expression can yield anything at all: which of its selectors match no series.

use std::ops::ControlFlow;
use std::time::Duration;

use super::error::PromqlError;
use super::syntax::{At, Expr, Node, Op, Selector, Tree};
use super::{Options, Value};
use crate::model::querier::Querier;
use crate::model::sample::{Timestamp, is_stale};

/// The selectors because of which the expression yields nothing at `at`, whatever the values are:
/// they match no series. Empty when it may yield something.
///
/// # Errors
/// When the store fails.
pub fn unmatched(
    expr: &Expr,
    store: &dyn Querier,
    at: Timestamp,
    options: &Options,
) -> Result<Vec<String>, PromqlError> {
    Look { store, at, options }.missing(&expr.root, Duration::ZERO)
}

struct Look<'a> {
    store: &'a dyn Querier,
    at: Timestamp,
    options: &'a Options,
}

impl Look<'_> {
    /// `reach` is how far back a subquery around it looks.
    fn missing(&self, tree: &Tree, reach: Duration) -> Result<Vec<String>, PromqlError> {
        let all = |parts: &[&Tree]| {
            let mut found = Vec::new();
            for part in parts {
                found.extend(self.missing(part, reach)?);
            }
            Ok(found)
        };
        match &tree.node {
            Node::Number(_) | Node::Text(_) | Node::NotText(_) => Ok(Vec::new()),
            Node::Selector(selector) => {
                let back = reach + self.options.lookback;
                self.selector(tree, selector, back, reach.is_zero())
            }
            Node::Range { selector, range } => {
                self.selector(tree, selector, reach + millis(*range), false)
            }
            Node::Subquery { expr, range, when, .. } => {
                let offset = millis(when.offset.max(0));
                self.missing(expr, reach + millis(*range) + offset)
            }
            Node::Paren(inner) | Node::Negate(inner) => self.missing(inner, reach),
            Node::Aggregate(aggregate) => self.missing(&aggregate.expr, reach),
            // Their whole purpose is to yield something then.
            Node::Call { function, .. }
                if matches!(function.name, "absent" | "absent_over_time" | "scalar") =>
            {
                Ok(Vec::new())
            }
            Node::Call { args, .. } => all(&args.iter().collect::<Vec<_>>()),
            Node::Binary(binary) => {
                let (left, right) = (&binary.left, &binary.right);
                let filled = &binary.matching;
                match binary.op {
                    Op::Unless => self.missing(left, reach),
                    Op::Or => {
                        let first = self.missing(left, reach)?;
                        if first.is_empty() {
                            return Ok(first);
                        }
                        let second = self.missing(right, reach)?;
                        Ok(if second.is_empty() { second } else { [first, second].concat() })
                    }
                    _ if filled.fill_left.is_some() || filled.fill_right.is_some() => {
                        Ok(Vec::new())
                    }
                    _ => all(&[left, right]),
                }
            }
        }
    }

    fn selector(
        &self,
        tree: &Tree,
        selector: &Selector,
        back: Duration,
        ends: bool,
    ) -> Result<Vec<String>, PromqlError> {
        let found = match self.store.engine() {
            Some(engine) => {
                let text = match &tree.node {
                    Node::Range { .. } => format!("group(last_over_time({tree}))"),
                    _ => format!("group({tree})"),
                };
                let answer = engine.instant(&text, self.at, &self.options.cancel)?;
                !matches!(answer.value, Value::Vector(found) if found.is_empty())
            }
            None => self.stored(selector, back, ends)?,
        };
        Ok(if found { Vec::new() } else { vec![tree.to_string()] })
    }

    fn stored(&self, selector: &Selector, back: Duration, ends: bool) -> Result<bool, PromqlError> {
        let at = match selector.when.at {
            Some(At::Time(at)) => at,
            Some(At::Start | At::End) | None => self.at.0,
        };
        let to = Timestamp(at.saturating_sub(selector.when.offset));
        let from = Timestamp(to.minus(back).0.saturating_add(1));
        let mut found = false;
        self.store.visit(&selector.matchers, from, to, &mut |_, samples| {
            // Under an instant selector a series that has ended is not there.
            found = !ends || samples.last().is_some_and(|sample| !is_stale(sample.value));
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tests::Fixed;
    use super::*;
    use crate::model::labels::Labels;
    use crate::model::sample::Series;
    use crate::model::sample::{Sample, stale_marker};

    #[test]
    fn what_keeps_an_expression_from_yielding() {
        let series = |name: &str, points: &[(i64, f64)]| Series {
            labels: Labels::from_pairs([("__name__", name), ("i", "1")]),
            samples: points
                .iter()
                .map(|(second, value)| Sample {
                    timestamp: Timestamp(second * 1000),
                    value: *value,
                })
                .collect(),
        };
        let store = Fixed(vec![
            series("x", &[(990, 1.0)]),
            series("old", &[(100, 1.0)]),
            series("ended", &[(980, 1.0), (990, stale_marker())]),
        ]);
        for (text, want) in [
            ("x > 5", ""),
            ("y > 5", "y"),
            ("x{i=\"2\"}", "x{i=\"2\"}"),
            ("x / y", "y"),
            ("y / z", "y z"),
            ("x or y", ""),
            ("y or z", "y z"),
            ("y or vector(0)", ""),
            ("x unless y", ""),
            ("y unless x", "y"),
            ("x and on () y", "y"),
            ("absent(y)", ""),
            ("sum by (i) (rate(y[5m])) > 1", "y[5m]"),
            ("old", "old"),
            ("rate(old[20m])", ""),
            ("old offset 14m", ""),
            ("old @ 150", ""),
            ("max_over_time(old[20m:1m])", ""),
            ("ended", "ended"),
            ("increase(ended[1m])", ""),
            ("vector(1)", ""),
            ("1", ""),
            ("clamp_max(-(y), 3)", "y"),
        ] {
            let options = Options::default();
            let found = unmatched(&parse(text).unwrap(), &store, Timestamp(1_000_000), &options);
            assert_eq!(found.unwrap().join(" "), want, "{text}");
        }
    }
}
