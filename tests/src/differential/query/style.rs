//! The same query in another hand: capital letters, other quotes, comments, line breaks.

use super::Grammar;
use super::broken::tokens;

/// What may be in capital letters.
const KEYWORDS: &[&str] = &[
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
];

impl Grammar {
    pub(super) fn restyled(&mut self, text: &str) -> String {
        tokens(text).into_iter().map(|token| self.token(token)).collect()
    }

    fn token(&mut self, token: String) -> String {
        let inner = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner {
            Some(inner) if inner.contains(['\\', '\'', '`']) => token,
            Some(inner) => {
                let quote = self.pick(&['"', '\'', '`']);
                format!("{quote}{inner}{quote}")
            }
            None if KEYWORDS.contains(&token.as_str()) && self.random.bool() => {
                token.to_uppercase()
            }
            None if token.trim().is_empty() && self.one_in(3) => {
                self.pick(&["\n\t", "  ", " # \"(\n", "\r\n"]).to_owned()
            }
            None => token,
        }
    }
}
