//! A light scanner over query text: where tokens start, and what the parser must not be given.
//!
//! promql-parser's tree has no positions and its errors name no place; both come from here.

/// One token: byte offset and text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) at: usize,
    pub(super) text: &'a str,
}

/// Splits at blanks and comments; strings, words and operators are one token each.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(at, first)) = chars.peek() {
        chars.next();
        if first.is_whitespace() {
            continue;
        }
        if first == '#' {
            while chars.next_if(|(_, next)| *next != '\n').is_some() {}
            continue;
        }
        let mut end = at + first.len_utf8();
        if matches!(first, '"' | '\'' | '`') {
            while let Some((here, next)) = chars.next() {
                end = here + next.len_utf8();
                if next == first {
                    break;
                }
                if next == '\\'
                    && first != '`'
                    && let Some((here, escaped)) = chars.next()
                {
                    end = here + escaped.len_utf8();
                }
            }
        } else if is_word(first) {
            let mut last = first;
            let number = first.is_ascii_digit() || first == '.';
            while let Some(&(here, next)) = chars.peek() {
                // The sign of an exponent belongs to the number.
                let sign = number && matches!(next, '+' | '-') && matches!(last, 'e' | 'E');
                if !(is_word(next) || sign) {
                    break;
                }
                chars.next();
                last = next;
                end = here + next.len_utf8();
            }
        } else if let Some((here, next)) = chars.next_if(|(_, next)| {
            matches!((first, *next), ('=' | '!' | '<' | '>', '=') | ('=' | '!', '~'))
        }) {
            end = here + next.len_utf8();
        }
        found.push(Token { at, text: text.get(at..end).unwrap_or("") });
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':')
}

/// Line and column of a byte offset, counted from 1; the column counts characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// Refuses what the parser would take badly: deep nesting, endless chains, absurd durations.
pub(super) fn check(
    text: &str,
    tokens: &[Token<'_>],
    max_depth: usize,
    max_operators: usize,
) -> Result<(), (usize, String)> {
    let mut open: Vec<Token<'_>> = Vec::new();
    let (mut operators, mut powers, mut signs) = (0, 0, 0);
    let (mut before, mut previous) = ("", "");
    for token in tokens {
        match token.text {
            "(" | "[" | "{" => open.push(*token),
            ")" | "]" | "}" => {
                let want = match token.text {
                    ")" => "(",
                    "]" => "[",
                    _ => "{",
                };
                if open.pop().is_none_or(|last| last.text != want) {
                    return Err((token.at, format!("unexpected {:?}", token.text)));
                }
            }
            "+" | "-" if is_operator(previous) || matches!(previous, "" | "(" | ",") => signs += 1,
            // A chain of powers nests to the right, all others to the left.
            "^" => (operators, powers, signs) = (operators + 1, powers + 1, 0),
            word if is_operator(word) => (operators, signs) = (operators + 1, 0),
            word if word.starts_with(['"', '\'']) => {
                signs = 0;
                if open.last().is_some_and(|last| last.text == "{") && !is_utf8(word) {
                    return Err((token.at, format!("{word} is not UTF-8")));
                }
            }
            word => {
                signs = 0;
                let signed = matches!(previous, "+" | "-") && before.eq_ignore_ascii_case("offset");
                let bracketed = open.last().is_some_and(|last| last.text == "[");
                let duration = bracketed || signed || previous.eq_ignore_ascii_case("offset");
                duration_in_range(word, duration).map_err(|why| (token.at, why))?;
            }
        }
        if open.len() + signs + powers > max_depth {
            return Err((token.at, format!("nested deeper than {max_depth} levels")));
        }
        if operators > max_operators {
            return Err((token.at, format!("more than {max_operators} operators")));
        }
        (before, previous) = (previous, token.text);
    }
    match open.pop() {
        Some(last) => Err((last.at, format!("unclosed {:?}", last.text))),
        None if tokens.is_empty() => Err((text.len(), "no expression found in input".into())),
        None => Ok(()),
    }
}

fn is_operator(word: &str) -> bool {
    matches!(word, "+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | "<" | "<=" | ">" | ">=")
        || ["and", "or", "unless", "atan2"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// In a literal `\xff` and `\377` stand for a byte, and a byte above 127 alone is no text.
pub(super) fn is_utf8(literal: &str) -> bool {
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        let high = match escaped {
            Some('x') => chars.next().is_some_and(|digit| !matches!(digit, '0'..='7')),
            Some(octal) => matches!(octal, '2'..='7'),
            None => false,
        };
        if high {
            return false;
        }
    }
    true
}

/// Every part of a duration must fit, and a bare number that stands for one must be a time at all.
fn duration_in_range(word: &str, duration_wanted: bool) -> Result<(), String> {
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == ':') && !duration_wanted {
        return Ok(());
    }
    for part in word.split(':').filter(|part| !part.is_empty()) {
        let digits = part.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
        let unit = part.ends_with(['s', 'm', 'h', 'd', 'w', 'y']);
        let seconds = part.parse::<f64>().unwrap_or(0.0);
        if (unit && digits > 9) || (duration_wanted && !(0.0..1e11).contains(&seconds)) {
            return Err(format!("duration {part:?} is out of range"));
        }
    }
    Ok(())
}

/// The first token that cannot stand where it stands, as far as a look at its neighbours tells.
pub(super) fn first_unexpected(text: &str, tokens: &[Token<'_>]) -> (usize, Option<String>) {
    let mut operand_wanted = true;
    let mut skip_until = None;
    for token in tokens {
        if let Some(end) = skip_until {
            if token.text == end {
                skip_until = None;
            }
            continue;
        }
        let unexpected = || (token.at, Some(format!("unexpected {:?}", token.text)));
        match token.text {
            "{" | "[" => {
                skip_until = Some(if token.text == "{" { "}" } else { "]" });
                operand_wanted = false;
            }
            "(" => operand_wanted = true,
            ")" => operand_wanted = false,
            "," if operand_wanted => return unexpected(),
            "," => operand_wanted = true,
            "+" | "-" => operand_wanted = true,
            "@" => operand_wanted = true,
            word if is_operator(word) => {
                if operand_wanted {
                    return unexpected();
                }
                operand_wanted = true;
            }
            "=" | "=~" | "!~" | "!" | "]" | "}" => return unexpected(),
            word => {
                let keyword = [
                    "by",
                    "without",
                    "on",
                    "ignoring",
                    "group_left",
                    "group_right",
                    "bool",
                    "offset",
                    "fill",
                    "fill_left",
                    "fill_right",
                ]
                .iter()
                .any(|name| word.eq_ignore_ascii_case(name));
                if !keyword && !operand_wanted && !matches!(word, "(") {
                    return unexpected();
                }
                operand_wanted = keyword;
            }
        }
    }
    if operand_wanted {
        return (text.len(), Some("unexpected end of input".into()));
    }
    (tokens.first().map_or(0, |first| first.at), None)
}

/// The text for the parser, which refuses a selector that could match everything, even where one
/// may stand, and cannot say where it stood: each selector that begins with its braces is given a
/// first matcher, for the converter to take away.
pub(super) fn with_filled_selectors(text: &str, tokens: &[Token<'_>]) -> String {
    const FILLER: &str = "__any__=~\".+\",";
    let mut out = text.to_owned();
    let mut previous = "";
    for (filled, at) in tokens
        .iter()
        .filter(|token| {
            let before = std::mem::replace(&mut previous, token.text);
            let words = ["bool", "group_left", "group_right"];
            let operand = !before.starts_with(|c: char| is_word(c)) || is_operator(before);
            token.text == "{"
                && (operand || words.iter().any(|word| before.eq_ignore_ascii_case(word)))
        })
        .map(|token| token.at + 1)
        .enumerate()
    {
        out.insert_str(at + filled * FILLER.len(), FILLER);
    }
    out
}

/// Grammar of Prometheus' newer feature flags that is not evaluated here, if the text has any.
pub(super) fn known_grammar(tokens: &[Token<'_>]) -> Option<(usize, &'static str)> {
    let mut brackets = 0;
    let mut previous = ["", "", ""];
    for token in tokens {
        let after = |word: &str| previous[2].eq_ignore_ascii_case(word);
        let duration = brackets > 0
            || after("offset")
            || (is_sign(previous[2]) && previous[1].eq_ignore_ascii_case("offset"));
        match token.text {
            "[" => brackets += 1,
            "]" => brackets -= 1,
            "/" if matches!(previous[2], "<" | ">") => {
                return Some((token.at, "trimming native histograms"));
            }
            word if ["anchored", "smoothed"].iter().any(|name| word.eq_ignore_ascii_case(name))
                && !matches!(previous[2], "" | "(" | ",")
                && !is_operator(previous[2]) =>
            {
                return Some((token.at, "anchored and smoothed selectors"));
            }
            "+" | "-" | "*" | "/" | "%" | "^" | "(" if brackets > 0 => {
                return Some((token.at, "arithmetic with durations"));
            }
            word if duration
                && (word == "("
                    || ["step", "range", "min_of", "max_of"]
                        .iter()
                        .any(|name| word.eq_ignore_ascii_case(name))) =>
            {
                return Some((token.at, "arithmetic with durations"));
            }
            _ => {}
        }
        previous = [previous[1], previous[2], token.text];
    }
    None
}

fn is_sign(word: &str) -> bool {
    matches!(word, "+" | "-")
}
