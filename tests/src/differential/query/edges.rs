//! Queries of the ends of what a number can be. They are not nested: what is added up there is
//! mostly rounding.

use super::Grammar;
use super::pools::{FUNCTIONS_OF_EXACT, NUMBERS, QUANTILES, RANGES};

/// Functions of the range that neither add nor fit.
const OVER_TIME: &[&str] = &[
    "max_over_time",
    "min_over_time",
    "last_over_time",
    "count_over_time",
    "present_over_time",
    "changes",
    "resets",
    "idelta",
];

impl Grammar {
    pub(super) fn of_edge(&mut self, phase: i64) -> String {
        let matcher =
            if self.one_in(4) { format!("{{{}}}", self.matcher()) } else { String::new() };
        let modifiers = self.modifiers(phase).0;
        let edge = format!("edge{matcher}{modifiers}");
        let number = self.pick(NUMBERS);
        let range = self.pick(RANGES);
        let over = format!("edge{matcher}[{range}]{modifiers}");
        match self.random.u8(..16) {
            0 => edge,
            1..4 => match self.pick(FUNCTIONS_OF_EXACT).0 {
                // Of numbers below the smallest normal one, Debian's build makes what it likes.
                function @ ("ln" | "log2" | "log10") => format!("{function}(abs({edge}) > 1e-300)"),
                "clamp" => format!("clamp({edge}, {number}, {})", self.pick(NUMBERS)),
                function @ ("clamp_min" | "clamp_max") => format!("{function}({edge}, {number})"),
                function => format!("{function}({edge})"),
            },
            4 => format!("round({edge}, {number})"),
            5 => format!("-{edge}"),
            6 => {
                let operator = self.pick(&["+", "-", "*", "/", "%", "^", "==", "<", ">= bool"]);
                match self.random.bool() {
                    true if operator == "^" => {
                        format!("({edge} unless (abs({edge}) < 1e-300 > 0)) ^ {number}")
                    }
                    true => format!("{edge} {operator} {number}"),
                    false => format!("{number} {operator} {edge}"),
                }
            }
            7 => format!("(0 + {edge}) atan2 {number}"),
            8 => {
                let operator = self.pick(&["-", "*", "/", "%", "==", "!=", "> bool", "<="]);
                format!("{edge} {operator} edge")
            }
            9 => format!("count_values(\"value\", {edge})"),
            10 => {
                let name = self.pick(&["min", "max", "count", "group"]);
                format!("{name} by (job, kind) ({edge})")
            }
            11 => format!("quantile({}, {edge})", self.pick(QUANTILES)),
            12 => format!("quantile_over_time({}, {over})", self.pick(QUANTILES)),
            13 => {
                let one = "edge{job=\"db\",instance=\"a\",kind=\"any\"}";
                format!("histogram_quantile(scalar({one}{modifiers}), took_bucket)")
            }
            _ => format!("{}({over})", self.pick(OVER_TIME)),
        }
    }
}
