//! The form of an expression for people: broken into lines where one would be too long, in the places
//! where Prometheus breaks it.

use std::fmt::{self, Display, Formatter};

use super::print::{head, modifiers};
use super::syntax::{Binary, Expr, Node, Tree};

/// What is longer, in bytes, is broken.
const WIDTH: usize = 100;

/// What stands behind the operator.
struct Modifiers<'a>(&'a Binary);

impl Display for Modifiers<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        modifiers(self.0, f)
    }
}

impl Expr {
    pub fn pretty(&self) -> String {
        self.root.pretty(0)
    }
}

impl Tree {
    fn pretty(&self, level: usize) -> String {
        let indent = "  ".repeat(level);
        let line = match &self.node {
            // Of these nothing is broken but what they hold.
            Node::Negate(_) => String::new(),
            _ => self.to_string(),
        };
        let short = line.len() <= WIDTH;
        match &self.node {
            Node::Negate(inner) => format!("{indent}-{}", inner.pretty(level).trim()),
            // As Prometheus: a short one stands at the beginning of its line.
            Node::Subquery { .. } if short => line,
            _ if short => format!("{indent}{line}"),
            Node::Subquery { expr, .. } => {
                let inner = expr.to_string();
                format!("{}{}", expr.pretty(level), line.strip_prefix(&inner).unwrap_or_default())
            }
            Node::Paren(inner) => format!("{indent}(\n{}\n{indent})", inner.pretty(level + 1)),
            Node::Binary(_) => self.pretty_spine(level),
            Node::Aggregate(aggregate) => {
                let param = aggregate.param.as_ref().map(|param| param.pretty(level + 1) + ",\n");
                let inner = aggregate.expr.pretty(level + 1);
                let (head, param) = (head(aggregate), param.unwrap_or_default());
                format!("{indent}{head}(\n{param}{inner}\n{indent})")
            }
            Node::Call { function, args } => {
                let args: Vec<_> = args.iter().map(|arg| arg.pretty(level + 1)).collect();
                format!("{indent}{}(\n{}\n{indent})", function.name, args.join(",\n"))
            }
            Node::Number(_)
            | Node::Text(_)
            | Node::NotText(_)
            | Node::Selector(_)
            | Node::Range { .. } => format!("{indent}{line}"),
        }
    }

    /// Operators in a row nest to the left: the last one is the outermost, and of those before it
    /// the ones that fit stay on one line.
    fn pretty_spine(&self, level: usize) -> String {
        let (leaf, spine) = self.spine();
        let mut line = leaf.to_string();
        let mut fits = 0;
        for binary in &spine {
            let longer =
                format!("{line} {}{} {}", binary.op.symbol(), Modifiers(binary), binary.right);
            if longer.len() > WIDTH {
                break;
            }
            (line, fits) = (longer, fits + 1);
        }
        let rest = spine.get(fits..).unwrap_or_default();
        let depth = level + rest.len();
        let mut out = match fits {
            0 => leaf.pretty(depth),
            _ => "  ".repeat(depth) + &line,
        };
        for (at, binary) in rest.iter().enumerate() {
            let level = depth - 1 - at;
            let (indent, op) = ("  ".repeat(level), binary.op.symbol());
            let right = binary.right.pretty(level + 1);
            out += &format!("\n{indent}{op}{}\n{right}", Modifiers(binary));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn short_ones_stay_on_a_line_and_long_ones_mean_the_same() {
        let long = "a".repeat(60);
        for (text, want) in [
            ("up  +  1".to_owned(), "up + 1".to_owned()),
            (
                format!("sum by (job) (rate({long}{long}[5m])) > 1"),
                format!("  sum by (job) (\n    rate(\n      {long}{long}[5m]\n    )\n  )\n>\n  1"),
            ),
            (
                format!("a + b - on (x) group_left () {long}{long}"),
                format!("  a + b\n- on (x) group_left ()\n  {long}{long}"),
            ),
            (
                format!("topk(5, (-{long}{long}))"),
                format!("topk(\n  5,\n  (\n    -{long}{long}\n  )\n)"),
            ),
        ] {
            let expr = parse(&text).unwrap();
            let pretty = expr.pretty();
            assert_eq!(pretty, want, "{text}");
            assert_eq!(parse(&pretty).unwrap().to_string(), expr.to_string());
        }
        let row = |count| vec!["up"; count].join(" + ");
        assert_eq!(parse(&parse(&row(100)).unwrap().pretty()).unwrap().to_string(), row(100));
        // Many operators in a row cost no stack, though the text is longer than what may be asked.
        assert!(parse(&row(1900)).unwrap().pretty().len() > 100_000);
    }
}
