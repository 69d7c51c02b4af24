//! Between which bounds the values of an expression lie, and the comparisons that this decides.

use super::super::print::number;
use super::super::syntax::{Aggregate, Aggregation, Binary, Node, Op, Selector, Tree};
use super::{About, Advice};
use crate::model::matcher::Matcher;

/// Metrics that are 0 or 1.
const BOOLEAN: [&str; 6] = [
    "up",
    "runner_health",
    "runner_listener_up",
    "runner_busy",
    "runner_service_active",
    "probe_success",
];

/// A metric that is a part of another one.
const PARTS: [(&str, &str); 9] = [
    ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
    ("node_memory_MemFree_bytes", "node_memory_MemTotal_bytes"),
    ("node_memory_Cached_bytes", "node_memory_MemTotal_bytes"),
    ("node_memory_SwapFree_bytes", "node_memory_SwapTotal_bytes"),
    ("node_filesystem_avail_bytes", "node_filesystem_size_bytes"),
    ("node_filesystem_free_bytes", "node_filesystem_size_bytes"),
    ("node_filesystem_files_free", "node_filesystem_files"),
    ("node_filefd_allocated", "node_filefd_maximum"),
    ("node_nf_conntrack_entries", "node_nf_conntrack_entries_limit"),
];

/// The values that there may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    low: f64,
    high: f64,
    /// A counter whose own value this is, with its offset.
    counter: Option<(usize, String)>,
}

impl Reach {
    fn new(low: f64, high: f64) -> Reach {
        // What is not a number bounds nothing.
        let low = if low.is_nan() { f64::NEG_INFINITY } else { low };
        let high = if high.is_nan() { f64::INFINITY } else { high };
        Reach { low, high, counter: None }
    }

    fn any() -> Reach {
        Reach::new(f64::NEG_INFINITY, f64::INFINITY)
    }

    fn positive() -> Reach {
        Reach::new(0.0, f64::INFINITY)
    }

    fn is_point(&self) -> bool {
        self.low == self.high
    }
}

/// The bounds of a tree's values; findings go to `found`.
pub(super) fn reach(tree: &Tree, found: &mut Vec<Advice>) -> Reach {
    match &tree.node {
        Node::Number(value) => Reach::new(*value, *value),
        Node::Text(_) | Node::NotText(_) => Reach::any(),
        Node::Selector(selector) => {
            let name = selector.metric_name().unwrap_or("");
            let counter = name.ends_with("_total") || name.ends_with("_bucket");
            Reach { counter: counter.then(|| (tree.start, name.to_owned())), ..of_metric(name) }
        }
        Node::Range { selector, .. } => of_metric(selector.metric_name().unwrap_or("")),
        Node::Subquery { expr, .. } => Reach { counter: None, ..reach(expr, found) },
        Node::Paren(inner) => reach(inner, found),
        Node::Negate(inner) => {
            let inner = reach(inner, found);
            Reach { counter: inner.counter, ..Reach::new(-inner.high, -inner.low) }
        }
        Node::Binary(_) => {
            let (leaf, spine) = tree.spine();
            let mut left = reach(leaf, found);
            for binary in spine {
                let right = reach(&binary.right, found);
                left = joined(tree.start, binary, left, right, found);
            }
            left
        }
        Node::Aggregate(aggregate) => aggregated(aggregate, found),
        Node::Call { function, args } => called(function.name, args, found),
    }
}

fn of_metric(name: &str) -> Reach {
    let counted = ["_total", "_bucket", "_count", "_bytes"].iter().any(|end| name.ends_with(end));
    match name {
        "ALERTS" => Reach::new(1.0, 1.0),
        name if BOOLEAN.contains(&name) => Reach::new(0.0, 1.0),
        _ if counted => Reach::positive(),
        _ => Reach::any(),
    }
}

fn joined(
    start: usize,
    binary: &Binary,
    left: Reach,
    right: Reach,
    found: &mut Vec<Advice>,
) -> Reach {
    if binary.op.is_comparison() {
        found.extend(compared(start, binary, &left, &right));
        return if binary.returns_bool { Reach::new(0.0, 1.0) } else { left };
    }
    if binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some() {
        return Reach::any();
    }
    let corners = |of: fn(f64, f64) -> f64| {
        let all = [
            of(left.low, right.low),
            of(left.low, right.high),
            of(left.high, right.low),
            of(left.high, right.high),
        ];
        match all.iter().any(|value| value.is_nan()) {
            true => Reach::any(),
            false => Reach::new(
                all.iter().copied().fold(f64::INFINITY, f64::min),
                all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
        }
    };
    let positive = left.low >= 0.0 && right.low >= 0.0;
    let bounds = match binary.op {
        Op::Add => Reach::new(left.low + right.low, left.high + right.high),
        // The rest of a whole.
        Op::Sub if is_part(&binary.right, &binary.left) => Reach::positive(),
        Op::Sub => Reach::new(left.low - right.high, left.high - right.low),
        Op::Mul if positive && left.high * right.high != 0.0 => {
            let (low, high) = (left.low * right.low, left.high * right.high);
            Reach::new(if low.is_nan() { 0.0 } else { low }, high)
        }
        Op::Mul => corners(|a, b| a * b),
        Op::Div if is_share(&binary.left, &binary.right) => Reach::new(0.0, 1.0),
        Op::Div if is_share(&binary.right, &binary.left) => Reach::new(1.0, f64::INFINITY),
        Op::Div if right.is_point() && right.low != 0.0 => corners(|a, b| a / b),
        Op::Div | Op::Mod | Op::Pow if positive => Reach::positive(),
        Op::And | Op::Unless => return left,
        Op::Or => Reach::new(left.low.min(right.low), left.high.max(right.high)),
        _ => Reach::any(),
    };
    // What a factor or a summand does to a counter leaves it one; a difference may be a gauge.
    let counter = match binary.op {
        Op::Add | Op::Mul | Op::Div if right.is_point() => left.counter,
        Op::Add | Op::Mul if left.is_point() => right.counter,
        Op::Or => left.counter.or(right.counter),
        _ => None,
    };
    Reach { counter, ..bounds }
}

fn compared(start: usize, binary: &Binary, left: &Reach, right: &Reach) -> Option<Advice> {
    if let (Some((at, name)), true) = (&left.counter, right.is_point()) {
        let message =
            format!("the counter {name} only grows; compare its rate or increase, not its value");
        return Some(Advice { at: *at, about: About::RawCounter, message });
    }
    let (never, always) = match binary.op {
        Op::Greater => (left.high <= right.low, left.low > right.high),
        Op::GreaterEqual => (left.high < right.low, left.low >= right.high),
        Op::Less => (left.low >= right.high, left.high < right.low),
        Op::LessEqual => (left.low > right.high, left.high <= right.low),
        Op::Equal => (left.low > right.high || left.high < right.low, false),
        Op::NotEqual => {
            let same = left.is_point() && right.is_point() && left.low == right.low;
            (same, left.low > right.high || left.high < right.low)
        }
        _ => return None,
    };
    let (about, verdict) = match () {
        () if never => (About::NeverTrue, "can never hold"),
        // `count(x) > 0` and `absent(x) == 1` are ways to say that something is there.
        () if always && !left.is_point() && !(right.is_point() && right.low == 0.0) => {
            (About::AlwaysTrue, "always holds")
        }
        () => return None,
    };
    let bounds = |reach: &Reach| match reach.is_point() {
        true => number(reach.low),
        false => format!("between {} and {}", number(reach.low), number(reach.high)),
    };
    let message = format!(
        "this comparison {verdict}: the left side is {}, the right side {}",
        bounds(left),
        bounds(right)
    );
    Some(Advice { at: start, about, message })
}

fn aggregated(aggregate: &Aggregate, found: &mut Vec<Advice>) -> Reach {
    let inner = reach(&aggregate.expr, found);
    match aggregate.kind {
        Aggregation::Sum => {
            let low = if inner.low >= 0.0 { inner.low } else { f64::NEG_INFINITY };
            let high = if inner.high <= 0.0 { inner.high } else { f64::INFINITY };
            Reach { counter: inner.counter, ..Reach::new(low, high) }
        }
        Aggregation::Count | Aggregation::CountValues => Reach::new(1.0, f64::INFINITY),
        Aggregation::Group => Reach::new(1.0, 1.0),
        Aggregation::Stddev | Aggregation::Stdvar => Reach::positive(),
        Aggregation::Quantile => Reach { counter: None, ..inner },
        _ => inner,
    }
}

fn called(name: &str, args: &[Tree], found: &mut Vec<Advice>) -> Reach {
    let reaches: Vec<Reach> = args.iter().map(|arg| reach(arg, found)).collect();
    let last = |at: usize| reaches.get(at).cloned().unwrap_or_else(Reach::any);
    let first = last(0);
    match name {
        "rate" | "irate" if is_cpu(args) => Reach::new(0.0, 1.0),
        "rate" | "increase" | "irate" | "resets" | "changes" | "timestamp" | "time"
        | "count_over_time" | "stddev_over_time" | "stdvar_over_time" | "mad_over_time"
        | "histogram_count" => Reach::positive(),
        "absent" | "absent_over_time" | "present_over_time" => Reach::new(1.0, 1.0),
        "avg_over_time" | "min_over_time" | "max_over_time" | "first_over_time"
        | "last_over_time" => Reach { counter: None, ..first },
        "sum_over_time" if first.low >= 0.0 => Reach::positive(),
        "abs" => {
            let low = if first.low >= 0.0 { first.low } else { 0.0 };
            Reach::new(low, first.low.abs().max(first.high.abs()))
        }
        "sqrt" | "exp" => Reach::positive(),
        "sgn" => Reach::new(-1.0, 1.0),
        "ceil" | "floor" | "round" if args.len() == 1 => {
            Reach { counter: first.counter, ..Reach::new(first.low.floor(), first.high.ceil()) }
        }
        "clamp" => Reach::new(first.low.max(last(1).low), first.high.min(last(2).high)),
        "clamp_min" => Reach::new(first.low.max(last(1).low), first.high.max(last(1).high)),
        "clamp_max" => Reach::new(first.low.min(last(1).low), first.high.min(last(1).high)),
        "vector" | "sort" | "sort_desc" | "label_replace" | "label_join" | "sort_by_label"
        | "sort_by_label_desc" => first,
        "hour" => Reach::new(0.0, 23.0),
        "minute" => Reach::new(0.0, 59.0),
        "day_of_week" => Reach::new(0.0, 6.0),
        "day_of_month" => Reach::new(1.0, 31.0),
        "day_of_year" => Reach::new(1.0, 366.0),
        "days_in_month" => Reach::new(28.0, 31.0),
        "month" => Reach::new(1.0, 12.0),
        _ => Reach::any(),
    }
}

/// Whether these are the seconds that one core spent in some mode.
fn is_cpu(args: &[Tree]) -> bool {
    let Some(Node::Range { selector, .. }) = args.first().map(|arg| &arg.bare().node) else {
        return false;
    };
    selector.metric_name() == Some("node_cpu_seconds_total")
}

/// Whether `part / whole` is a share: part of the whole, or the whole less a part.
fn is_share(part: &Tree, whole: &Tree) -> bool {
    if is_part(part, whole) {
        return true;
    }
    match &part.bare().node {
        Node::Binary(rest) if rest.op == Op::Sub => {
            same(&rest.left, whole) && is_part(&rest.right, whole)
        }
        _ => false,
    }
}

/// Whether both select in the same way, and `part` selects a part of what `whole` does.
fn is_part(part: &Tree, whole: &Tree) -> bool {
    let (part, whole) = (part.bare(), whole.bare());
    match (&part.node, &whole.node) {
        (Node::Selector(part), Node::Selector(whole)) => narrows(part, whole),
        (
            Node::Range { selector: part, range: one },
            Node::Range { selector: whole, range: two },
        ) => one == two && narrows(part, whole),
        (Node::Call { function: one, args: part }, Node::Call { function: two, args: whole }) => {
            let adds = ["rate", "increase", "irate", "sum_over_time", "avg_over_time"];
            adds.contains(&one.name)
                && one.name == two.name
                && matches!((part.as_slice(), whole.as_slice()), ([one], [two]) if is_part(one, two))
        }
        (Node::Aggregate(one), Node::Aggregate(two)) => {
            let same = one.kind == two.kind && one.without == two.without;
            let sum = one.kind == Aggregation::Sum;
            let fixed = |aggregate: &Aggregate| match &aggregate.expr.bare().node {
                Node::Selector(selector) => selector.metric_name().map(str::to_owned),
                _ => None,
            };
            // A mean of a part may be above that of the whole, unless every element has its own.
            let pairs = PARTS.iter().any(|(part, whole)| {
                fixed(one).as_deref() == Some(part) && fixed(two).as_deref() == Some(whole)
            });
            same && (sum || pairs) && one.labels == two.labels && is_part(&one.expr, &two.expr)
        }
        _ => false,
    }
}

fn narrows(part: &Selector, whole: &Selector) -> bool {
    if part.when != whole.when {
        return false;
    }
    let (Some(one), Some(two)) = (part.metric_name(), whole.metric_name()) else { return false };
    let rest = |selector: &Selector| -> Vec<Matcher> {
        let named = crate::model::labels::METRIC_NAME;
        selector.matchers.iter().filter(|matcher| matcher.name != named).cloned().collect()
    };
    let (part, whole) = (rest(part), rest(whole));
    let within = whole.iter().all(|matcher| part.iter().any(|own| like(own, matcher)));
    match one == two {
        // As many matchers select the same, which is a quotient of 1 and no share.
        true => within && part.len() > whole.len() && one != "up",
        false => within && PARTS.contains(&(one, two)),
    }
}

fn same(one: &Tree, two: &Tree) -> bool {
    match (&one.bare().node, &two.bare().node) {
        (Node::Selector(one), Node::Selector(two)) => {
            one.when == two.when
                && one.matchers.len() == two.matchers.len()
                && one.matchers.iter().all(|m| two.matchers.iter().any(|other| like(m, other)))
        }
        _ => false,
    }
}

fn like(one: &Matcher, two: &Matcher) -> bool {
    one.name == two.name && one.op == two.op && one.value == two.value
}
