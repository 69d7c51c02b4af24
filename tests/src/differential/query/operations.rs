//! Aggregations and binary operators.

use super::Exact::{self, Bits, Near, Sums};
use super::pools::{LABELS, OPERANDS, PAIRS, QUANTILES};
use super::{Grammar, Piece, piece};

impl Grammar {
    fn grouping(&mut self) -> String {
        let mut labels = Vec::new();
        while self.random.u8(..5) < 2 {
            labels.push(self.pick(LABELS));
        }
        let word = self.pick(&["by", "without"]);
        let comma = if !labels.is_empty() && self.one_in(8) { "," } else { "" };
        format!("{word} ({}{comma})", labels.join(", "))
    }

    pub(super) fn aggregation(&mut self, depth: u8, phase: i64) -> Piece {
        let grouping = if self.one_in(4) { String::new() } else { self.grouping() };
        let inner = self.vector(depth, phase);
        let (name, param, inner, exact) = match self.random.u8(..15) {
            0..3 => {
                let exact = if inner.exact == Sums { Sums } else { Near };
                ("sum", String::new(), inner, exact)
            }
            3..5 => ("avg", String::new(), inner, Near),
            5 => ("min", String::new(), piece(inner.text, inner.exact), inner.exact),
            6 => ("max", String::new(), piece(inner.text, inner.exact), inner.exact),
            7 => ("count", String::new(), inner, Sums),
            8 => ("group", String::new(), inner, Sums),
            9 => (self.pick(&["stddev", "stdvar"]), String::new(), self.tame(depth, phase), Near),
            10..12 => {
                let name = self.pick(&["topk", "bottomk"]);
                let k = self.pick(&["1", "2", "3", "5", "0", "-1", "1.9", "20"]);
                (name, format!("{k}, "), self.distinct(phase), Near)
            }
            12..14 => ("quantile", format!("{}, ", self.pick(QUANTILES)), inner, Near),
            _ => {
                let label = self.pick(&["value", "job", "x", "instance"]);
                // Listed labels that come after its own in the alphabet can be forgotten by Prometheus
                // 2.42 from the second step on.
                let label = if grouping.starts_with("by") { "x" } else { label };
                ("count_values", format!("\"{label}\", "), self.bits(depth, phase), Sums)
            }
        };
        let text = match self.random.bool() {
            true => format!("{name} {grouping}({param}{})", inner.text),
            false => format!("{name}({param}{}) {grouping}", inner.text),
        };
        piece(text, exact)
    }

    /// A parameter that is not a number, and may be another at each step.
    pub(super) fn with_parameter(&mut self, depth: u8, phase: i64) -> Piece {
        let grouping = if self.one_in(3) { String::new() } else { self.grouping() };
        let text = match self.random.u8(..3) {
            0 => {
                let name = self.pick(&["topk", "bottomk"]);
                let k = self.pick(&[
                    "time() % 4",
                    "scalar(count(up))",
                    "scalar(up)",
                    "scalar(sum(up)) - 2",
                    "-(time() % 7 - 3)",
                    "scalar(up{job=\"βατς\"}) * 2",
                    "scalar(gone)",
                ]);
                format!("{name} {grouping}({k}, {})", self.distinct(phase).text)
            }
            1 => {
                let q = self.scalar(depth, phase).text;
                format!("quantile({q}, {}) {grouping}", self.bits(depth, phase).text)
            }
            _ => {
                let q = self.pick(&["scalar(up{job=\"βατς\"})", "time() % 5 / 4", "scalar(gone)"]);
                format!("quantile({q}, {}) {grouping}", self.vector(depth, phase).text)
            }
        };
        piece(text, Near)
    }

    /// Operators side by side without parentheses; series that all have the same labels.
    pub(super) fn chain(&mut self, phase: i64) -> Piece {
        let powers = self.one_in(3);
        let mut text = String::new();
        // Rounding decides whether an exponent is whole.
        let mut power = false;
        for at in 0..self.random.u8(2..6) {
            if at > 0 {
                let operator = match powers {
                    // A sum may be nothing but rounding.
                    true => self.pick(&["*", "/", "^"]),
                    false => self.pick(&[
                        "+",
                        "-",
                        "*",
                        "/",
                        "%",
                        "==",
                        "!=",
                        "<",
                        "<=",
                        ">",
                        ">=",
                        "== bool",
                        "< bool",
                        "and",
                        "or",
                        "unless",
                        "+ ignoring (path)",
                        "and on (instance)",
                        "or ignoring ()",
                        "> on (job, instance)",
                    ]),
                };
                power = operator == "^";
                text += &format!(" {operator} ");
            }
            let number = power || self.one_in(5);
            text += self.pick(if number { &["2", "-1", "0.5", "3"] } else { OPERANDS });
            if !number && text.ends_with(char::is_alphabetic) {
                text += &self.modifiers(phase).0;
            }
        }
        piece(text, if powers { Near } else { Bits })
    }

    /// No two values are equal: which of equals `topk` takes is left open.
    pub(super) fn distinct(&mut self, phase: i64) -> Piece {
        let matcher =
            if self.one_in(3) { format!("{{{}}}", self.matcher()) } else { String::new() };
        let (modifiers, _) = self.modifiers(phase);
        let text = match self.random.u8(..4) {
            0 => format!("load{matcher}{modifiers}"),
            1 => format!("temp{matcher}{modifiers} * 3"),
            2 => format!("avg_over_time(load{matcher}[5m]{modifiers})"),
            _ => format!("temp{matcher}{modifiers} - load"),
        };
        piece(text, Near)
    }

    pub(super) fn with_scalar(&mut self, depth: u8, phase: i64) -> Piece {
        let vector = self.vector(depth, phase);
        let scalar = self.scalar(depth, phase);
        let both = vector.exact.max(scalar.exact);
        let (operator, exact) = match both {
            // A sum may be nothing but rounding.
            Near => (self.pick(&["*", "*"]), Near),
            _ => self.operator(),
        };
        let vector = match operator {
            "atan2" => format!("(0 + ({}))", vector.text),
            _ => vector.text,
        };
        let (left, right) = match self.random.bool() {
            true => (vector, scalar.text),
            false => (scalar.text, vector),
        };
        let text = match self.one_in(3) && both < Near {
            true => format!("{left} {operator} {right}"),
            false => format!("({left}) {operator} ({right})"),
        };
        piece(text, exact.max(both).max(Bits))
    }

    fn operator(&mut self) -> (&'static str, Exact) {
        let arithmetic = ["+", "-", "*", "/", "%"];
        let comparisons = ["==", "!=", "<", "<=", ">", ">="];
        let with_bool = ["== bool", "!= bool", "< bool", "<= bool", "> bool", ">= bool"];
        match self.random.u8(..12) {
            0..5 => (self.pick(&arithmetic), Bits),
            5..8 => (self.pick(&comparisons), Bits),
            8..10 => (self.pick(&with_bool), Bits),
            _ => (self.pick(&["^", "atan2"]), Near),
        }
    }

    pub(super) fn with_vector(&mut self, depth: u8, phase: i64) -> Piece {
        let (left, right, matching) = match self.random.u8(..3) {
            0 => {
                let (left, right) = (self.bits(depth, phase).text, self.bits(depth, phase).text);
                let mut matching = self.matching();
                if self.one_in(4) {
                    let label = self.pick(LABELS);
                    let side = self.pick(&["group_left", "group_right"]);
                    matching = format!("{matching} {side} ({label})");
                }
                (left, right, matching)
            }
            1 => {
                let name = self.bits(depth, phase).text;
                (name.clone(), name, String::new())
            }
            _ => {
                let (left, matching, right) = self.pick(PAIRS);
                let (before, after) = (self.modifiers(phase).0, self.modifiers(phase).0);
                (format!("{left}{before}"), format!("{right}{after}"), matching.to_owned())
            }
        };
        let (operator, exact) = self.operator();
        let nameless = |text: String| match operator {
            "atan2" => format!("0 + ({text})"),
            _ => text,
        };
        let (left, right) = (nameless(left), nameless(right));
        piece(format!("({left}) {operator} {matching} ({right})"), exact)
    }

    fn matching(&mut self) -> String {
        let mut labels = Vec::new();
        while self.random.u8(..4) < 3 {
            labels.push(self.pick(LABELS));
        }
        match self.random.u8(..3) {
            0 => String::new(),
            1 => format!("on ({})", labels.join(", ")),
            _ => format!("ignoring ({})", labels.join(", ")),
        }
    }

    pub(super) fn set_operation(&mut self, depth: u8, phase: i64) -> Piece {
        let (left, right) = (self.vector(depth, phase), self.vector(depth, phase));
        let (matching, operator) = (self.matching(), self.pick(&["and", "or", "unless"]));
        let exact = left.exact.max(right.exact);
        piece(format!("({}) {operator} {matching} ({})", left.text, right.text), exact)
    }

    /// A vector of numbers near each other, among which are neither NaN nor infinity.
    fn tame(&mut self, depth: u8, phase: i64) -> Piece {
        let made = self.bits(depth, phase);
        let wild = ["odd", "edge", "/", "%", "sqrt", "scalar", "Inf", "NaN", "time"];
        match wild.iter().any(|part| made.text.contains(part)) {
            true => self.distinct(phase),
            false => made,
        }
    }
}
