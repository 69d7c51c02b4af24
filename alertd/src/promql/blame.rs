//! Where a query is of the wrong type, in Prometheus' words: the parser's errors have no place.

use promql_parser::parser as upstream;

use super::scan::{self, Token};

/// Calls that are tried on their own to find the wrong one.
const MAX_TRIES: usize = 50;

/// The byte offset of what `why` is about, as far as it can be told, and the message.
pub(super) fn blame(text: &str, tokens: &[Token<'_>], why: &str) -> (usize, String) {
    let start = tokens.first().map_or(0, |first| first.at);
    (place(text, tokens, why).unwrap_or(start), worded(why))
}

fn place(text: &str, tokens: &[Token<'_>], why: &str) -> Option<usize> {
    if why.starts_with("comparisons between scalars") {
        let bare = |two: &&[Token<'_>]| {
            matches!(two, [op, next] if matches!(op.text, "==" | "!=" | "<" | "<=" | ">" | ">=")
                && !next.text.eq_ignore_ascii_case("bool"))
        };
        return tokens.windows(2).find(bare).and_then(|two| two.first()).map(|op| op.at);
    }
    // The shortest call that fails in the same way is the one.
    let mut calls = calls(tokens);
    calls.sort_by_key(|call| call.end - call.name);
    let wrong = calls.into_iter().take(MAX_TRIES).find(|call| {
        let alone = part(text, tokens, call.name, call.end);
        alone.is_some_and(|alone| parsed(alone).is_err_and(|error| error == why))
    })?;
    // An argument is the wrong one if the call is right with another in its place.
    let argument = || {
        let wanted = why.strip_prefix("expected type ")?.split_whitespace().next()?;
        let right = [("scalar", "1"), ("string", "''"), ("vector", "x"), ("matrix", "x[1m]")];
        let (_, right) = right.into_iter().find(|(kind, _)| *kind == wanted)?;
        let mut from = wrong.open + 1;
        let ends = wrong.commas.iter().chain([&wrong.end]);
        ends.map(|end| (std::mem::replace(&mut from, end + 1), end - 1))
            .find(|(from, to)| {
                let before = part(text, tokens, wrong.name, from - 1).unwrap_or("");
                let after = part(text, tokens, to + 1, wrong.end).unwrap_or("");
                parsed(&format!("{before} {right} {after}")).is_ok()
            })
            .map(|(from, _)| from)
    };
    tokens.get(argument().unwrap_or(wrong.name)).map(|token| token.at)
}

/// Token numbers of a call or an aggregation: its name, its brackets, the commas between.
struct Call {
    name: usize,
    open: usize,
    end: usize,
    commas: Vec<usize>,
}

fn calls(tokens: &[Token<'_>]) -> Vec<Call> {
    let is_name = |at: usize| {
        tokens.get(at).is_some_and(|token| token.text.starts_with(|c: char| c.is_alphabetic()))
    };
    let (mut open, mut done): (Vec<Call>, Vec<Call>) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => {
                // The labels of a grouping stand between the name and the brackets.
                let before = at.checked_sub(1).unwrap_or(at);
                let grouped = done.last().filter(|last| last.end == before && is_name(last.name));
                let name = match grouped {
                    Some(grouping) if is_name(grouping.name.wrapping_sub(1)) => grouping.name - 1,
                    _ => before,
                };
                open.push(Call { name, open: at, end: at, commas: Vec::new() });
            }
            ")" | "]" | "}" => {
                if let Some(call) = open.pop() {
                    done.push(Call { end: at, ..call });
                }
            }
            "," => open.iter_mut().next_back().into_iter().for_each(|call| call.commas.push(at)),
            _ => {}
        }
    }
    done.retain(|call| is_name(call.name) && tokens.get(call.open).is_some_and(|t| t.text == "("));
    done
}

fn part<'a>(text: &'a str, tokens: &[Token<'_>], from: usize, to: usize) -> Option<&'a str> {
    let (from, to) = (tokens.get(from)?, tokens.get(to)?);
    text.get(from.at..to.at + to.text.len())
}

fn parsed(text: &str) -> Result<upstream::Expr, String> {
    upstream::parse(&scan::with_filled_selectors(text, &scan::tokens(text)))
}

fn worded(why: &str) -> String {
    let long = |kind: &str| match kind {
        "vector" => "instant vector".to_owned(),
        "matrix" => "range vector".to_owned(),
        other => other.to_owned(),
    };
    let why = why.replace('\'', "\"");
    let types = why.strip_prefix("expected type ").and_then(|rest| {
        let (wanted, rest) = rest.split_once(" in ")?;
        let (context, got) = rest.rsplit_once(", got ")?;
        Some(format!("expected type {} in {context}, got {}", long(wanted), long(got)))
    });
    types.unwrap_or(why)
}
