//! A page of metrics, read line by line: Prometheus' text format 0.0.4 and OpenMetrics 1.0.
//!
//! Pure and lazy: nothing is copied but what escapes force. What Prometheus accepts is accepted,
//! apart from label pairs without a comma between them and labels that stand twice.

pub mod number;
pub mod series;

pub mod lines;

use crate::model::metadata::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text004,
    OpenMetrics100,
}

/// One thing that a page says.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    Sample(Line<'a>),
    /// The text still has its escapes.
    Help(&'a str, &'a str),
    Type(&'a str, Kind),
    Unit(&'a str, &'a str),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line<'a> {
    /// Name and labels as they stand on the page: the key of a cache; read by [`series::labels`].
    pub series: &'a str,
    pub value: f64,
    /// In milliseconds, when the page gives one.
    pub timestamp: Option<i64>,
    /// Counted from 1.
    pub number: usize,
}

/// Why a page cannot be read. Nothing of such a page is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found}")]
pub struct Malformed {
    pub line: usize,
    pub expected: &'static str,
    pub found: String,
}

impl Format {
    /// A page of another kind, or of none, is read as `fallback`.
    pub fn of(content_type: Option<&str>, fallback: Format) -> Format {
        let kind = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => Format::OpenMetrics100,
            "text/plain" => Format::Text004,
            _ => fallback,
        }
    }
}

impl Malformed {
    /// `rest` is the text from where something else was expected.
    pub fn at(line: usize, expected: &'static str, rest: &str) -> Malformed {
        let mut found: String = rest.chars().take_while(|c| *c != '\n').take(40).collect();
        if found.is_empty() {
            found =
                if rest.is_empty() { "the end of the page" } else { "the end of the line" }.into();
        } else {
            found = format!("{found:?}");
        }
        Malformed { line, expected, found }
    }
}

#[cfg(test)]
mod tests;
