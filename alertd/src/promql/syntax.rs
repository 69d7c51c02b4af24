//! Text to `Expr`: crate promql-parser behind one door.

use promql_parser::parser as upstream;

use crate::model::matcher::Matcher;
use crate::model::sample::Timestamp;

use super::error::PromqlError;
use super::functions::Function;
use super::{blame, convert, scan};

/// Nesting that is accepted: evaluation walks the tree recursively.
const MAX_DEPTH: usize = 100;
/// Bytes and operators of one query that are accepted.
const MAX_TEXT: usize = 64 * 1024;
const MAX_OPERATORS: usize = 2000;

/// One parsed and checked expression. Its `Display` is the normal form that Prometheus prints.
#[derive(Debug, Clone)]
pub struct Expr {
    pub(super) text: String,
    pub(super) root: Tree,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Text,
    Vector,
    Matrix,
}

/// A node and the byte offset of its first token in the text.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) start: usize,
    pub(super) node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    /// A string literal whose bytes are not UTF-8, as written.
    NotText(String),
    Selector(Selector),
    Range {
        selector: Selector,
        range: i64,
    },
    Subquery {
        expr: Box<Tree>,
        range: i64,
        step: Option<i64>,
        when: When,
    },
    Paren(Box<Tree>),
    Negate(Box<Tree>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call {
        function: &'static Function,
        args: Vec<Tree>,
    },
}

/// All of `matchers` must hold; a metric name before the braces is the first of them.
#[derive(Debug, Clone)]
pub struct Selector {
    pub matchers: Vec<Matcher>,
    pub(super) when: When,
}

/// `@` and `offset`; milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct When {
    pub(super) at: Option<At>,
    pub(super) offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum At {
    Start,
    End,
    Time(i64),
}

#[derive(Debug, Clone)]
pub(super) struct Binary {
    pub(super) op: Op,
    pub(super) left: Tree,
    pub(super) right: Tree,
    pub(super) returns_bool: bool,
    pub(super) matching: Matching,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
}

/// Which labels make two elements of a binary operation a pair, and how many may share a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matching {
    pub(super) on: bool,
    pub(super) labels: Vec<String>,
    pub(super) side: Side,
    /// Labels that `group_left` or `group_right` copies from the "one" side.
    pub(super) include: Vec<String>,
    pub(super) fill_left: Option<f64>,
    pub(super) fill_right: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
}

#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) kind: Aggregation,
    pub(super) expr: Tree,
    pub(super) param: Option<Tree>,
    pub(super) without: bool,
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

/// # Errors
/// `Parse` where the text is not PromQL, `Unsupported` where it asks for native histograms or
/// grammar that is not evaluated here.
pub fn parse(text: &str) -> Result<Expr, PromqlError> {
    let error = |at: usize, message: String| {
        let (line, column) = scan::line_and_column(text, at);
        PromqlError::Parse { line, column, message }
    };
    if text.len() > MAX_TEXT {
        return Err(error(0, format!("query is longer than {MAX_TEXT} bytes")));
    }
    let tokens = scan::tokens(text);
    scan::check(text, &tokens, MAX_DEPTH, MAX_OPERATORS).map_err(|(at, why)| error(at, why))?;
    let filled = scan::with_filled_selectors(text, &tokens);
    let tree = upstream::parse(&filled).map_err(|why| {
        if let Some((at, grammar)) = scan::known_grammar(&tokens) {
            let (line, column) = scan::line_and_column(text, at);
            return PromqlError::Unsupported { line, column, message: grammar.to_owned() };
        }
        let (at, found) = scan::first_unexpected(text, &tokens);
        match (why.as_str(), found) {
            ("invalid promql query", Some(found)) => error(at, found),
            ("invalid promql query", None) => error(at, why),
            _ => {
                let (at, message) = blame::blame(text, &tokens, &why);
                error(at, message)
            }
        }
    })?;
    let root = convert::Converter::new(text, &tokens).tree(&tree)?;
    Ok(Expr { text: text.to_owned(), root })
}

impl Expr {
    pub fn kind(&self) -> Kind {
        self.root.kind()
    }

    /// Every selector of the expression, in the order of the text.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        self.root.walk(&mut |tree| match &tree.node {
            Node::Selector(selector) | Node::Range { selector, .. } => found.push(selector),
            _ => {}
        });
        found
    }

    /// The metric names that the expression asks for by `=`, sorted and once each.
    pub fn metric_names(&self) -> Vec<&str> {
        let mut names: Vec<_> =
            self.selectors().into_iter().filter_map(Selector::metric_name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The expression with what it reads fixed to `at` by `@`, where nothing else fixes it, so that
    /// it has the same value at any time. `None` where a function looks at the time itself.
    /// Notes go on to give places in the text as it was written.
    pub fn pinned(&self, at: Timestamp) -> Option<Expr> {
        let mut timed = false;
        self.root.walk(&mut |tree| {
            // `info` looks for info series at the time of the evaluation.
            timed |= matches!(&tree.node, Node::Call { function, .. }
                if function.tells_time() || function.name == "info");
        });
        let mut pinned = self.clone();
        pinned.root.pin(At::Time(at.0));
        (!timed).then_some(pinned)
    }

    /// `line:column` of a byte offset, both counted from 1.
    pub(super) fn position(&self, at: usize) -> String {
        let (line, column) = scan::line_and_column(&self.text, at);
        format!("{line}:{column}")
    }
}

impl Selector {
    /// The name, when it is given by `=`.
    pub fn metric_name(&self) -> Option<&str> {
        self.matchers
            .iter()
            .find(|matcher| {
                matcher.name == crate::model::labels::METRIC_NAME
                    && matcher.op == crate::model::matcher::MatchOp::Equal
            })
            .map(|matcher| matcher.value.as_str())
    }
}

impl Tree {
    pub(super) fn kind(&self) -> Kind {
        match &self.node {
            Node::Number(_) => Kind::Scalar,
            Node::Text(_) | Node::NotText(_) => Kind::Text,
            Node::Selector(_) | Node::Aggregate(_) => Kind::Vector,
            Node::Range { .. } | Node::Subquery { .. } => Kind::Matrix,
            Node::Paren(inner) | Node::Negate(inner) => inner.kind(),
            Node::Binary(_) => {
                let (leaf, spine) = self.spine();
                let scalar = leaf.kind() == Kind::Scalar
                    && spine.iter().all(|binary| binary.right.kind() == Kind::Scalar);
                if scalar { Kind::Scalar } else { Kind::Vector }
            }
            Node::Call { function, .. } => function.returns,
        }
    }

    /// True when the value is the same at every step: `@` fixes all that is read, and no function
    /// looks at the time of the evaluation.
    pub(super) fn is_fixed(&self) -> bool {
        match &self.node {
            Node::Number(_) | Node::Text(_) | Node::NotText(_) => true,
            Node::Selector(Selector { when, .. })
            | Node::Range { selector: Selector { when, .. }, .. }
            | Node::Subquery { when, .. } => when.at.is_some(),
            Node::Paren(inner) | Node::Negate(inner) => inner.is_fixed(),
            Node::Binary(_) => {
                let (leaf, spine) = self.spine();
                leaf.is_fixed() && spine.iter().all(|binary| binary.right.is_fixed())
            }
            // As in Prometheus, whose parameter is then that of the first step.
            Node::Aggregate(aggregate) => aggregate.expr.is_fixed(),
            Node::Call { function, args } => {
                !function.tells_time() && args.iter().all(Tree::is_fixed)
            }
        }
    }

    /// A subquery is fixed as a whole: what it contains moves with it.
    fn pin(&mut self, to: At) {
        let mut tree = self;
        loop {
            tree = match &mut tree.node {
                Node::Selector(Selector { when, .. })
                | Node::Range { selector: Selector { when, .. }, .. }
                | Node::Subquery { when, .. } => {
                    if !matches!(when.at, Some(At::Time(_))) {
                        when.at = Some(to);
                    }
                    return;
                }
                Node::Paren(inner) | Node::Negate(inner) => inner,
                Node::Binary(binary) => {
                    binary.right.pin(to);
                    &mut binary.left
                }
                Node::Aggregate(aggregate) => {
                    if let Some(param) = &mut aggregate.param {
                        param.pin(to);
                    }
                    &mut aggregate.expr
                }
                Node::Call { args, .. } => return args.iter_mut().for_each(|arg| arg.pin(to)),
                Node::Number(_) | Node::Text(_) | Node::NotText(_) => return,
            };
        }
    }

    /// This node without the parentheses around it.
    pub(super) fn bare(&self) -> &Tree {
        let mut tree = self;
        while let Node::Paren(inner) = &tree.node {
            tree = inner;
        }
        tree
    }

    /// The leftmost operand of a chain of operators and the chain, innermost first: a chain may be
    /// long, so it is not recursed into.
    pub(super) fn spine(&self) -> (&Tree, Vec<&Binary>) {
        let (mut leaf, mut spine) = (self, Vec::new());
        while let Node::Binary(binary) = &leaf.node {
            spine.push(binary.as_ref());
            leaf = &binary.left;
        }
        spine.reverse();
        (leaf, spine)
    }

    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Tree)) {
        visit(self);
        match &self.node {
            Node::Paren(inner) | Node::Negate(inner) => inner.walk(visit),
            Node::Subquery { expr, .. } => expr.walk(visit),
            Node::Binary(_) => {
                let (leaf, spine) = self.spine();
                leaf.walk(visit);
                spine.into_iter().for_each(|binary| binary.right.walk(visit));
            }
            Node::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    param.walk(visit);
                }
                aggregate.expr.walk(visit);
            }
            Node::Call { args, .. } => args.iter().for_each(|arg| arg.walk(visit)),
            _ => {}
        }
    }
}

impl Op {
    pub(super) fn is_comparison(self) -> bool {
        use Op::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    pub(super) fn is_set(self) -> bool {
        matches!(self, Op::And | Op::Or | Op::Unless)
    }

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
            Op::Mod => "%",
            Op::Pow => "^",
            Op::Atan2 => "atan2",
            Op::Equal => "==",
            Op::NotEqual => "!=",
            Op::Less => "<",
            Op::LessEqual => "<=",
            Op::Greater => ">",
            Op::GreaterEqual => ">=",
            Op::And => "and",
            Op::Or => "or",
            Op::Unless => "unless",
        }
    }
}

impl Aggregation {
    pub(super) const ALL: [(Aggregation, &'static str); 14] = [
        (Aggregation::Sum, "sum"),
        (Aggregation::Avg, "avg"),
        (Aggregation::Count, "count"),
        (Aggregation::Min, "min"),
        (Aggregation::Max, "max"),
        (Aggregation::Group, "group"),
        (Aggregation::Stddev, "stddev"),
        (Aggregation::Stdvar, "stdvar"),
        (Aggregation::Topk, "topk"),
        (Aggregation::Bottomk, "bottomk"),
        (Aggregation::Quantile, "quantile"),
        (Aggregation::CountValues, "count_values"),
        (Aggregation::Limitk, "limitk"),
        (Aggregation::LimitRatio, "limit_ratio"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}
