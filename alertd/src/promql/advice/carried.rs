//! Which labels the elements of an expression can carry.

use std::collections::BTreeSet;

use super::super::syntax::{Aggregate, Aggregation, Binary, Kind, Node, Op, Selector, Side, Tree};
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::MatchOp;

/// The labels that may be there: those listed, or, without a list, any but `never`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Carried {
    pub only: Option<BTreeSet<String>>,
    pub never: BTreeSet<String>,
}

impl Carried {
    pub fn may_have(&self, label: &str) -> bool {
        let listed = self.only.as_ref().is_none_or(|only| only.contains(label));
        listed && !self.never.contains(label)
    }

    fn none() -> Carried {
        Carried { only: Some(BTreeSet::new()), never: BTreeSet::new() }
    }

    fn keep(&self, labels: &[String]) -> Carried {
        let kept = labels.iter().filter(|label| self.may_have(label)).cloned().collect();
        Carried { only: Some(kept), never: BTreeSet::new() }
    }

    fn without<'a>(mut self, labels: impl IntoIterator<Item = &'a String>) -> Carried {
        for label in labels {
            if let Some(only) = &mut self.only {
                only.remove(label);
            }
            self.never.insert(label.clone());
        }
        self
    }

    fn with<'a>(mut self, labels: impl IntoIterator<Item = &'a String>) -> Carried {
        for label in labels {
            if let Some(only) = &mut self.only {
                only.insert(label.clone());
            }
            self.never.remove(label);
        }
        self
    }

    fn or(self, other: Carried) -> Carried {
        let only = match (self.only, other.only) {
            (Some(one), Some(two)) => Some(&one | &two),
            _ => None,
        };
        Carried { only, never: &self.never & &other.never }
    }

    fn and(self, other: Carried) -> Carried {
        let only = match (self.only, other.only) {
            (Some(one), Some(two)) => Some(&one & &two),
            (one, two) => one.or(two),
        };
        Carried { only, never: &self.never | &other.never }
    }
}

pub(super) fn carried(tree: &Tree) -> Carried {
    match &tree.node {
        Node::Number(_) | Node::Text(_) | Node::NotText(_) => Carried::none(),
        Node::Selector(selector) | Node::Range { selector, .. } => selected(selector),
        Node::Subquery { expr, .. } => carried(expr),
        Node::Paren(inner) | Node::Negate(inner) => carried(inner),
        Node::Binary(_) => {
            let (leaf, spine) = tree.spine();
            let mut left = (carried(leaf), leaf.kind());
            for binary in spine {
                let right = (carried(&binary.right), binary.right.kind());
                left = joined(binary, left, right);
            }
            left.0
        }
        Node::Aggregate(aggregate) => aggregated(aggregate),
        Node::Call { function, args } => called(function.name, function.returns, args),
    }
}

fn selected(selector: &Selector) -> Carried {
    let empty = selector.matchers.iter().filter(|m| m.op == MatchOp::Equal && m.value.is_empty());
    Carried { only: None, never: empty.map(|matcher| matcher.name.clone()).collect() }
}

fn joined(binary: &Binary, left: (Carried, Kind), right: (Carried, Kind)) -> (Carried, Kind) {
    let carried = match (left.1, right.1) {
        (Kind::Scalar, Kind::Scalar) => return (Carried::none(), Kind::Scalar),
        (Kind::Scalar, _) => right.0,
        (_, Kind::Scalar) => left.0,
        _ => match binary.op {
            Op::And | Op::Unless => left.0,
            Op::Or => left.0.or(right.0),
            _ => matched(binary, left.0, right.0),
        },
    };
    (carried, Kind::Vector)
}

fn matched(binary: &Binary, left: Carried, right: Carried) -> Carried {
    let matching = &binary.matching;
    let (many, one) = match matching.side {
        Side::OneToOne if matching.on => return left.keep(&matching.labels),
        Side::OneToOne => {
            return left.without(&matching.labels).and(right.without(&matching.labels));
        }
        Side::ManyToOne => (left, right),
        Side::OneToMany => (right, left),
    };
    let included = matching.include.iter().filter(|label| one.may_have(label));
    let included: Vec<String> = included.cloned().collect();
    // A label that the "one" side does not have is taken from the "many" side.
    many.without(&matching.include).with(&included)
}

fn aggregated(aggregate: &Aggregate) -> Carried {
    let inner = carried(&aggregate.expr);
    match aggregate.kind {
        Aggregation::Topk
        | Aggregation::Bottomk
        | Aggregation::Limitk
        | Aggregation::LimitRatio => return inner,
        _ => {}
    }
    let kept = match aggregate.without {
        true => inner.without(&aggregate.labels),
        false => inner.keep(&aggregate.labels),
    };
    match aggregate.param.as_ref().map(|param| &param.bare().node) {
        Some(Node::Text(label)) if aggregate.kind == Aggregation::CountValues => kept.with([label]),
        _ => kept,
    }
}

fn called(name: &str, returns: Kind, args: &[Tree]) -> Carried {
    if returns == Kind::Scalar || matches!(name, "vector") {
        return Carried::none();
    }
    let first = |args: &[Tree]| {
        let vector = args.iter().find(|arg| matches!(arg.kind(), Kind::Vector | Kind::Matrix));
        vector.map_or_else(Carried::none, carried)
    };
    match (name, args) {
        ("absent" | "absent_over_time", [arg]) => match &arg.bare().node {
            Node::Selector(selector) | Node::Range { selector, .. } => {
                let equal = selector.matchers.iter().filter(|matcher| {
                    matcher.op == MatchOp::Equal
                        && matcher.name != METRIC_NAME
                        && selector.matchers.iter().filter(|m| m.name == matcher.name).count() == 1
                });
                let equal = equal.map(|matcher| matcher.name.clone()).collect();
                Carried { only: Some(equal), never: BTreeSet::new() }
            }
            _ => Carried::none(),
        },
        ("histogram_quantile" | "histogram_fraction", _) => first(args).without([&"le".to_owned()]),
        ("label_replace" | "label_join", [vector, to, ..]) => match &to.bare().node {
            Node::Text(label) => carried(vector).with([label]),
            _ => Carried::default(),
        },
        ("info", _) => Carried::default(),
        _ => first(args),
    }
}
