//! The normal form of an expression: one line, as Prometheus prints a rule's query.

use std::fmt::{self, Display, Formatter, Write};
use std::time::Duration;

use pitcrew_exporter::config::duration::format;

use crate::model::float::shortest;
use crate::model::labels::METRIC_NAME;
use crate::model::matcher::MatchOp;

use super::syntax::{Aggregate, At, Binary, Expr, Kind, Node, Selector, Side, Tree, When};

/// Metric names that would be read as something else.
const KEYWORDS: &[&str] =
    &["on", "ignoring", "group_left", "group_right", "bool", "atan2", "inf", "nan"];

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Scalar => "scalar",
            Kind::Text => "string",
            Kind::Vector => "instant vector",
            Kind::Matrix => "range vector",
        })
    }
}

impl Display for Tree {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(value) => f.write_str(&number(*value)),
            Node::Text(text) => f.write_str(&quoted(text)),
            Node::NotText(literal) => f.write_str(literal),
            Node::Selector(selector) => write!(f, "{selector}{}", selector.when),
            Node::Range { selector, range } => {
                write!(f, "{selector}[{}]{}", duration(*range), selector.when)
            }
            Node::Subquery { expr, range, step, when } => {
                let step = step.map(duration).unwrap_or_default();
                write!(f, "{expr}[{}:{step}]{when}", duration(*range))
            }
            Node::Paren(inner) => write!(f, "({inner})"),
            Node::Negate(inner) => write!(f, "-{inner}"),
            Node::Binary(_) => {
                let (leaf, spine) = self.spine();
                write!(f, "{leaf}")?;
                spine.into_iter().try_for_each(|binary| {
                    write!(f, " {}", binary.op.symbol())?;
                    modifiers(binary, f)?;
                    write!(f, " {}", binary.right)
                })
            }
            Node::Aggregate(aggregate) => {
                f.write_str(&head(aggregate))?;
                match &aggregate.param {
                    Some(param) => write!(f, "({param}, {})", aggregate.expr),
                    None => write!(f, "({})", aggregate.expr),
                }
            }
            Node::Call { function, args } => {
                let args: Vec<_> = args.iter().map(ToString::to_string).collect();
                write!(f, "{}({})", function.name, args.join(", "))
            }
        }
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.matchers.as_slice();
        if let Some((first, others)) = self.matchers.split_first()
            && first.name == METRIC_NAME
            && first.op == MatchOp::Equal
            && plain_name(&first.value)
        {
            f.write_str(&first.value)?;
            rest = others;
            if rest.is_empty() {
                return Ok(());
            }
        }
        let matchers: Vec<_> = rest
            .iter()
            .map(|matcher| {
                let op = matcher.op.symbol();
                format!("{}{op}{}", name(&matcher.name), quoted(&matcher.value))
            })
            .collect();
        write!(f, "{{{}}}", matchers.join(","))
    }
}

impl Display for When {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Time(millis)) => write!(f, " @ {:.3}", millis as f64 / 1000.0)?,
        }
        match self.offset {
            0 => Ok(()),
            back if back > 0 => write!(f, " offset {}", duration(back)),
            ahead => write!(f, " offset -{}", duration(-ahead)),
        }
    }
}

/// Up to the arguments.
pub(super) fn head(aggregate: &Aggregate) -> String {
    let name = aggregate.kind.name();
    match (aggregate.without, aggregate.labels.is_empty()) {
        (true, _) => format!("{name} without ({}) ", names(&aggregate.labels)),
        (false, false) => format!("{name} by ({}) ", names(&aggregate.labels)),
        (false, true) => name.to_owned(),
    }
}

pub(super) fn modifiers(binary: &Binary, f: &mut Formatter<'_>) -> fmt::Result {
    let matching = &binary.matching;
    if binary.returns_bool {
        f.write_str(" bool")?;
    }
    if matching.on {
        write!(f, " on ({})", names(&matching.labels))?;
    } else if !matching.labels.is_empty() || matching.side != Side::OneToOne {
        write!(f, " ignoring ({})", names(&matching.labels))?;
    }
    match matching.side {
        Side::OneToOne => {}
        Side::ManyToOne => write!(f, " group_left ({})", names(&matching.include))?,
        Side::OneToMany => write!(f, " group_right ({})", names(&matching.include))?,
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => write!(f, " fill ({})", number(left)),
        (left, right) => {
            if let Some(left) = left {
                write!(f, " fill_left ({})", number(left))?;
            }
            if let Some(right) = right {
                write!(f, " fill_right ({})", number(right))?;
            }
            Ok(())
        }
    }
}

/// A float as PromQL reads it: shortest form, `+Inf`, `NaN`.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        shortest(value)
    }
}

fn duration(millis: i64) -> String {
    format(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// In double quotes, as Go quotes: backslash, quote and control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes all that is written");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether it can stand before the braces.
pub(super) fn plain_name(metric: &str) -> bool {
    plain(metric, true) && !KEYWORDS.iter().any(|word| metric.eq_ignore_ascii_case(word))
}

fn names(labels: &[String]) -> String {
    labels.iter().map(|label| name(label)).collect::<Vec<_>>().join(", ")
}

fn name(label: &str) -> String {
    if plain(label, false) { label.to_owned() } else { quoted(label) }
}

fn plain(name: &str, colons: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(good)
}
