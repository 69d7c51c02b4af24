//! One condition on a label: `=` `!=` `=~` `!~`. A selector is a list of them.

use std::fmt;

use regex::Regex;

use super::labels::Labels;
use super::pattern::anchored;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

/// A label that is absent counts as the empty string; regular expressions are anchored at both ends.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub name: String,
    pub op: MatchOp,
    pub value: String,
    regex: Option<Regex>,
}

impl MatchOp {
    /// As PromQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

impl Matcher {
    /// # Errors
    /// When `op` asks for a regular expression and `value` is not one.
    pub fn new(
        op: MatchOp,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Matcher, Box<regex::Error>> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(&value)?),
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    pub fn matches(&self, value: &str) -> bool {
        let hit = self.regex.as_ref().map_or(value == self.value, |regex| regex.is_match(value));
        hit != matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex)
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        self.op == other.op && self.name == other.name && self.value == other.value
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.symbol(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_anchoring() {
        for (op, value, input, want) in [
            (MatchOp::Equal, "a", "a", true),
            (MatchOp::Equal, "", "", true),
            (MatchOp::NotEqual, "a", "", true),
            (MatchOp::Regex, "a|b", "b", true),
            (MatchOp::Regex, "a", "xax", false),
            (MatchOp::Regex, "a.b", "a\nb", true),
            (MatchOp::NotRegex, "a.*", "abc", false),
            (MatchOp::Regex, r"\w+", "a_1", true),
            (MatchOp::Regex, r"\w+", "é", false),
            (MatchOp::Regex, r"[\W]+", "é", true),
            (MatchOp::Regex, r"[^\d\s]+", "٣", true),
            (MatchOp::Regex, r"a\bé", "aé", true),
            (MatchOp::Regex, r"\\w", r"\w", true),
        ] {
            let matcher = Matcher::new(op, "l", value).unwrap();
            assert_eq!(matcher.matches(input), want, "{matcher} on {input:?}");
        }
        assert!(Matcher::new(MatchOp::Regex, "l", "(").is_err());
    }
}
