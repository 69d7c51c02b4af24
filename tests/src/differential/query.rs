//! Random queries: most of them have an answer, some must fail.

mod broken;
mod edges;
mod operations;
mod past_end;
mod pools;
mod style;

use fastrand::Rng;

use self::pools::{
    FUNCTIONS_OF_EXACT, LABELS, NUMBERS, OF_RANGES, QUANTILES, RANGES, REGEXES, REPLACEMENTS,
    SCALAR_OPERATORS, SELECTORS, STEPS, VALUES,
};
use super::PHASE;
use super::series::{BEGIN, END};

/// A query for both engines.
#[derive(Debug, Clone)]
pub struct Query {
    pub text: String,
    /// What the older engine calls it.
    pub theirs: String,
    pub when: When,
    /// The order of an instant answer is part of it.
    pub sorted: bool,
    /// Made to be broken: if it is not, the values are left open.
    pub broken: bool,
    /// Prometheus 2.42 evaluates a subquery of it past the last step that asks for it.
    pub past_end: bool,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// How alike two right engines' values are; each holds what the later ones do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exact {
    /// Bit for bit, and sums of them too.
    Sums,
    /// Bit for bit.
    Bits,
    /// But for rounding: nothing that jumps may be asked of them.
    Near,
}
use Exact::{Bits, Near, Sums};

/// An expression and what can be said of its values.
struct Piece {
    text: String,
    exact: Exact,
}

fn piece(text: impl Into<String>, exact: Exact) -> Piece {
    Piece { text: text.into(), exact }
}

struct Grammar {
    random: Rng,
    /// Evaluation is at other times than half seconds: where subqueries would have an edge.
    fine: bool,
}

/// The same query for the same seed.
pub fn random(seed: u64) -> Query {
    let mut grammar = Grammar { random: Rng::with_seed(seed), fine: false };
    let mut query = grammar.query();
    if query.text.contains('^') {
        // Powers are made by logarithms: see `edges`.
        query.text = query.text.replace("5e-324", "1e-300");
    }
    if grammar.one_in(6) {
        query.text = grammar.restyled(&query.text);
    }
    query.past_end = past_end::evaluated(&query.text, query.when);
    query.theirs = query.text.replace("double_exponential_smoothing", "holt_winters");
    query
}

impl Grammar {
    fn query(&mut self) -> Query {
        let when = self.when();
        let depth = self.random.u8(1..5);
        let mut sorted = false;
        let broken = self.one_in(12);
        let text = match self.random.u8(..40) {
            _ if broken => self.broken(depth),
            0 => self.scalar(depth, PHASE).text,
            1 => format!("\"{}\"", self.pick(VALUES)),
            2 => self.range_selector(PHASE).0,
            3 => format!("({})[10m:1m]", self.vector(depth, 0).text),
            4..6 => {
                sorted = matches!(when, When::Instant(_));
                let function = self.pick(&["sort", "sort_desc"]);
                format!("{function}({})", self.bits(depth, PHASE).text)
            }
            6..9 => self.of_edge(PHASE),
            _ => self.vector(depth, PHASE).text,
        };
        Query { theirs: String::new(), text, when, sorted, broken, past_end: false }
    }

    fn when(&mut self) -> When {
        let start = self.random.i64((BEGIN / 1000 - 200)..(END / 1000 + 400)) * 1000 + PHASE;
        if self.random.bool() {
            return When::Instant(start);
        }
        // Samples are at odd milliseconds.
        self.fine = self.one_in(8);
        let step = match self.fine {
            true => self.pick(&[250, 1500, 7302, 13_734, 59_998, 100_000, 333_334]),
            false => self.pick(&[1, 7, 13, 30, 37, 60, 61, 150, 299, 660]) * 1000,
        };
        let span = step * self.random.i64(0..60) + self.random.i64(0..2) * 1000;
        When::Range { start, end: start + span, step }
    }

    fn vector(&mut self, depth: u8, phase: i64) -> Piece {
        if depth == 0 {
            return self.selector(phase);
        }
        let depth = depth - 1;
        match self.random.u8(..108) {
            0..8 => self.selector(phase),
            8..24 => self.of_range(depth, phase),
            24..33 => self.of_subquery(depth, phase),
            33..51 => self.aggregation(depth, phase),
            51..59 => self.with_scalar(depth, phase),
            59..68 => self.with_vector(depth, phase),
            68..74 => self.set_operation(depth, phase),
            74..80 => self.elementwise(depth, phase),
            80..82 => {
                let inner = self.vector(depth, phase);
                piece(format!("-({})", inner.text), inner.exact)
            }
            82..86 => self.relabelled(depth, phase),
            86..91 => self.of_histogram(phase),
            91..94 => {
                let inner = self.vector(depth, phase);
                piece(format!("absent({})", inner.text), Sums)
            }
            94..96 => self.calendar(phase),
            96..98 => {
                let name = self.pick(SELECTORS).0;
                piece(self.timestamp(name, phase), Bits)
            }
            98 => {
                let inner = self.scalar(depth, phase);
                piece(format!("vector({})", inner.text), inner.exact.max(Bits))
            }
            99..103 => self.chain(phase),
            103..105 => {
                let inner = self.vector(depth, phase);
                // Not of a selector alone: see `timestamp`.
                piece(format!("timestamp(+({}) or up)", inner.text), Bits)
            }
            105..107 => self.with_parameter(depth, phase),
            _ => {
                let inner = self.vector(depth, phase);
                piece(format!("(({}))", inner.text), inner.exact)
            }
        }
    }

    /// A vector that both engines agree on to the bit.
    fn bits(&mut self, depth: u8, phase: i64) -> Piece {
        for _ in 0..4 {
            let made = self.vector(depth, phase);
            if made.exact < Near {
                return made;
            }
        }
        self.selector(phase)
    }

    fn scalar(&mut self, depth: u8, phase: i64) -> Piece {
        match self.random.u8(..12) {
            0 => piece("time()", Bits),
            1 => piece("pi()", Bits),
            2 if depth > 0 => {
                let inner = self.vector(depth - 1, phase);
                piece(format!("scalar({})", inner.text), inner.exact)
            }
            3 if depth > 0 => {
                let (a, b) = (self.scalar(depth - 1, phase), self.scalar(depth - 1, phase));
                let exact = a.exact.max(b.exact).max(Bits);
                let operator = match exact {
                    Near => self.pick(&["*", "/"]),
                    _ => self.pick(SCALAR_OPERATORS),
                };
                let exact = if matches!(operator, "^" | "atan2") { Near } else { exact };
                piece(format!("({} {operator} {})", a.text, b.text), exact)
            }
            4 => piece(format!("-{}", self.pick(NUMBERS)), Bits),
            _ => piece(self.pick(NUMBERS), Bits),
        }
    }

    fn selector(&mut self, phase: i64) -> Piece {
        let (selector, exact) = self.bare_selector();
        let (modifiers, _) = self.modifiers(phase);
        piece(format!("{selector}{modifiers}"), exact)
    }

    fn bare_selector(&mut self) -> (String, Exact) {
        let mut matchers = Vec::new();
        let name = match self.random.u8(..16) {
            0 => {
                matchers.push(r#"__name__=~"load|temp""#.to_owned());
                ""
            }
            1 => {
                let job = self.pick(&["api", "db", "βατς"]);
                matchers.push(format!(r#"job="{job}",__name__!~".*_bucket|odd|edge""#));
                ""
            }
            2 => self.pick(&["load", "temp", "up", "gone"]),
            _ => self.pick(SELECTORS).0,
        };
        while self.one_in(3) {
            matchers.push(self.matcher());
        }
        let braces = match matchers.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", matchers.join(",")),
        };
        (format!("{name}{braces}"), Sums)
    }

    fn matcher(&mut self) -> String {
        let label = self.pick(LABELS);
        match self.random.bool() {
            true => format!("{label}{}\"{}\"", self.pick(&["=", "!="]), self.pick(VALUES)),
            false => format!("{label}{}\"{}\"", self.pick(&["=~", "!~"]), self.pick(REGEXES)),
        }
    }

    /// `offset` and `@`, and how far past a whole second the time is then.
    fn modifiers(&mut self, phase: i64) -> (String, i64) {
        let mut parts = Vec::new();
        let mut after = phase;
        if self.one_in(8) {
            let sign = if self.random.bool() { "-" } else { "" };
            parts.push(format!(" offset {sign}{}", self.pick(RANGES)));
        }
        if self.one_in(10) {
            let at = self.random.i64((BEGIN / 1000 - 100)..(END / 1000 + 100));
            let (text, of) = match self.random.u8(..4) {
                0 => ("start()".to_owned(), PHASE),
                1 => ("end()".to_owned(), PHASE),
                2 => (format!("{at}.500"), PHASE),
                _ => (at.to_string(), 0),
            };
            after = of;
            parts.push(format!(" @ {text}"));
        }
        if self.random.bool() {
            parts.reverse();
        }
        (parts.concat(), after)
    }

    fn range_selector(&mut self, phase: i64) -> (String, Exact) {
        let (selector, exact) = self.bare_selector();
        let range = self.pick(RANGES);
        let (modifiers, _) = self.modifiers(phase);
        (format!("{selector}[{range}]{modifiers}"), exact)
    }

    fn of_range(&mut self, depth: u8, phase: i64) -> Piece {
        if self.one_in(4) {
            // What `rate` makes of a gauge near zero differs between the versions.
            let function = self.pick(&["rate", "increase"]);
            return piece(format!("{function}({})", self.counter(phase)), Near);
        }
        let (selector, _) = self.range_selector(phase);
        self.applied(&selector, Sums, depth, phase)
    }

    fn counter(&mut self, phase: i64) -> String {
        let name = self.pick(&["hits_total", "busy_seconds_total", "took_bucket"]);
        let matcher =
            if self.one_in(3) { format!("{{{}}}", self.matcher()) } else { String::new() };
        let range = self.pick(RANGES);
        format!("{name}{matcher}[{range}]{}", self.modifiers(phase).0)
    }

    fn of_subquery(&mut self, depth: u8, phase: i64) -> Piece {
        if self.fine {
            return self.of_range(depth, phase);
        }
        let (mut modifiers, mut after) = self.modifiers(phase);
        let range = self.pick(&["30s", "5m", "7m", "17m", "30m"]);
        let inner = self.vector(depth, 0);
        if modifiers.contains("offset -") && inner.text.contains('@') {
            // If that brings the first step back to the outer query's, 2.42 moves the `@` instead.
            (modifiers, after) = (String::new(), phase);
        }
        // The inner steps are at whole seconds: no edge may be.
        let half = if after == 0 { "500ms" } else { "" };
        // Where no inner step falls into the window, 2.42 still evaluates what `@` fixes and what
        // ranges further in reach back to, and fails where that does.
        let none = range == "30s" && inner.text.contains(['@', '[']);
        let step = if none { "15s" } else { self.pick(STEPS) };
        let text = format!("({})[{range}{half}:{step}]{modifiers}", inner.text);
        self.applied(&text, inner.exact, depth, phase)
    }

    /// A function of a range vector whose samples are so exact.
    fn applied(&mut self, range: &str, of: Exact, depth: u8, phase: i64) -> Piece {
        let (function, jumps, exact) = self.pick(OF_RANGES);
        let moves = function == "predict_linear" && range.contains('@');
        if moves || (jumps && of == Near) {
            return piece(format!("avg_over_time({range})"), Near);
        }
        let exact = match function {
            "sum_over_time" if of > Sums => Near,
            _ => exact.max(of),
        };
        let text = match function {
            "quantile_over_time" => format!("{function}({}, {range})", self.pick(QUANTILES)),
            "predict_linear" => {
                let ahead = self.pick(&["0", "60", "-300", "3600"]);
                format!("{function}({range}, {ahead})")
            }
            "double_exponential_smoothing" => {
                let factors = [self.pick(&["0.1", "0.5", "0.9"]), self.pick(&["0.2", "0.7"])];
                format!("{function}({range}, {}, {})", factors[0], factors[1])
            }
            _ => format!("{function}({range})"),
        };
        if self.one_in(40) && depth > 0 && !range.contains('@') {
            let q = self.scalar(depth - 1, phase);
            return piece(format!("quantile_over_time({}, {range})", q.text), Near);
        }
        piece(text, exact)
    }

    fn elementwise(&mut self, depth: u8, phase: i64) -> Piece {
        let (function, exact) = self.pick(FUNCTIONS_OF_EXACT);
        let inner = self.bits(depth, phase).text;
        let mut number = || self.scalar(0, phase).text;
        let text = match function {
            "clamp" => format!("clamp({inner}, {}, {})", number(), number()),
            "clamp_min" | "clamp_max" => format!("{function}({inner}, {})", number()),
            "round" if inner.ends_with(')') => format!("round({inner}, {})", number()),
            _ => format!("{function}({inner})"),
        };
        piece(text, exact)
    }

    fn relabelled(&mut self, depth: u8, phase: i64) -> Piece {
        let inner = self.vector(depth, phase);
        let (target, source) = (self.pick(LABELS), self.pick(LABELS));
        let text = match self.random.u8(..3) {
            0 => {
                let more = self.pick(LABELS);
                let between = self.pick(&["", "-", "é"]);
                let inner = &inner.text;
                format!(
                    "label_join({inner}, \"{target}\", \"{between}\", \"{source}\", \"{more}\")"
                )
            }
            _ => {
                let (replacement, regex) = self.pick(REPLACEMENTS);
                let inner = &inner.text;
                format!(
                    "label_replace({inner}, \"{target}\", \"{replacement}\", \"{source}\", \"{regex}\")"
                )
            }
        };
        piece(text, inner.exact)
    }

    fn of_histogram(&mut self, phase: i64) -> Piece {
        let matcher =
            if self.one_in(3) { format!("{{{}}}", self.matcher()) } else { String::new() };
        let (modifiers, _) = self.modifiers(phase);
        let buckets = match self.random.u8(..8) {
            0 => format!("took_bucket{matcher}{modifiers}"),
            1 => format!("sick_bucket{matcher}{modifiers}"),
            2 => format!("sum by (le) (rate(took_bucket{matcher}[5m]{modifiers}))"),
            3 => format!("sum by (job, le) (rate(took_bucket{matcher}[17m]{modifiers}))"),
            4 => format!("increase(took_bucket{matcher}[7m]{modifiers})"),
            5 => format!("max_over_time(sick_bucket{matcher}[5m]{modifiers})"),
            6 => format!("sum without (instance, kind) (sick_bucket{matcher}{modifiers})"),
            _ => format!("took_bucket{matcher}{modifiers} - 8192"),
        };
        let quantile = match self.one_in(4) {
            true => self.scalar(1, phase).text,
            false => self.pick(QUANTILES).to_owned(),
        };
        piece(format!("histogram_quantile({quantile}, {buckets})"), Near)
    }

    /// Without `offset` beside `@`, which is forgotten there.
    fn timestamp(&mut self, name: &str, phase: i64) -> String {
        match self.modifiers(phase).0 {
            both if both.contains("offset") && both.contains('@') => format!("timestamp({name})"),
            modifiers => format!("timestamp({name}{modifiers})"),
        }
    }

    fn calendar(&mut self, phase: i64) -> Piece {
        let functions = [
            "year",
            "month",
            "day_of_month",
            "day_of_week",
            "day_of_year",
            "days_in_month",
            "hour",
            "minute",
        ];
        let function = self.pick(&functions);
        let (modifiers, _) = self.modifiers(phase);
        let of = match self.random.u8(..5) {
            0 => String::new(),
            1 => self.timestamp("up", phase),
            2 => "vector(time())".to_owned(),
            3 => format!("load{modifiers} * 30000"),
            _ => format!("hits_total{modifiers} * 100000"),
        };
        piece(format!("{function}({of})"), Sums)
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.random.u32(..count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(..from.len())]
    }
}
