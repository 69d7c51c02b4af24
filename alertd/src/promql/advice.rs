//! What is odd about an expression, found without data: comparisons that cannot matter, counters
//! that are read as if they were gauges, windows that are too short.

mod carried;
mod reach;

use std::time::Duration;

use pitcrew_exporter::config::duration;

use self::reach::reach;
use super::syntax::{Expr, Node, Tree};
use crate::model::matcher::MatchOp;

pub use carried::Carried;

/// Functions that need two samples in their window.
const TWO_SAMPLES: [&str; 6] = ["rate", "increase", "irate", "delta", "idelta", "deriv"];

/// One finding and where it is in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// Byte offset.
    pub at: usize,
    pub about: About,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    NeverTrue,
    AlwaysTrue,
    RawCounter,
    ShortWindow,
    AbsentLabels,
}

impl Expr {
    /// `scrape` is how far apart samples are.
    pub fn advice(&self, scrape: Duration) -> Vec<Advice> {
        let mut found = Vec::new();
        reach(&self.root, &mut found);
        self.root.walk(&mut |tree| {
            found.extend(short_window(tree, scrape));
            found.extend(absent_labels(tree));
        });
        found.sort_by_key(|advice| advice.at);
        found
    }

    /// The labels that the elements of its value can have.
    pub fn carried(&self) -> Carried {
        carried::carried(&self.root)
    }

    /// Whether its value hangs on single samples: a selector that no window and no `for` smooths.
    pub fn hangs_on_one_sample(&self) -> bool {
        let mut instant = false;
        self.root.walk(&mut |tree| instant |= matches!(tree.node, Node::Selector(_)));
        instant
    }

    /// Each selector's metric name, with its byte offset.
    pub fn metrics(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        self.root.walk(&mut |tree| {
            if let Node::Selector(selector) | Node::Range { selector, .. } = &tree.node {
                found.extend(selector.metric_name().map(|name| (tree.start, name)));
            }
        });
        found
    }
}

fn short_window(tree: &Tree, scrape: Duration) -> Option<Advice> {
    let Node::Call { function, args } = &tree.node else { return None };
    let Node::Range { range, .. } = &args.first()?.bare().node else { return None };
    let least = i64::try_from(scrape.as_millis()).ok()?.saturating_mul(2);
    if !TWO_SAMPLES.contains(&function.name) || *range >= least {
        return None;
    }
    let window = Duration::from_millis(u64::try_from(*range).ok()?);
    Some(Advice {
        at: tree.start,
        about: About::ShortWindow,
        message: format!(
            "{} over {} often finds fewer than the two samples that it needs, with a scrape each {}",
            function.name,
            duration::format(window),
            duration::format(scrape)
        ),
    })
}

fn absent_labels(tree: &Tree) -> Option<Advice> {
    let Node::Call { function, args } = &tree.node else { return None };
    if !matches!(function.name, "absent" | "absent_over_time") {
        return None;
    }
    let message = match &args.first()?.bare().node {
        Node::Selector(selector) | Node::Range { selector, .. } => {
            let lost = selector.matchers.iter().find(|matcher| {
                matcher.op == MatchOp::Regex && matcher.name != crate::model::labels::METRIC_NAME
            })?;
            let (function, label) = (function.name, &lost.name);
            format!("{function} carries only labels that are matched by =, so {label:?} is lost")
        }
        Node::Aggregate(aggregate) if !aggregate.labels.is_empty() => format!(
            "{} of an aggregation has no labels at all, and finds only that everything is gone",
            function.name
        ),
        _ => return None,
    };
    Some(Advice { at: tree.start, about: About::AbsentLabels, message })
}

#[cfg(test)]
mod tests;
