//! Regular expressions as Go reads them, and its templates (`$1`, `${name}`), over the regex crate.
//!
//! Both are RE2-like: what a class such as `\w` holds, where a brace stands for itself, how literal
//! text is quoted differ, and are translated. What Go refuses may still be taken here.

use regex::{Captures, Regex};

/// A pattern that has to match the whole of a text; a dot matches newlines too.
///
/// # Errors
/// When it is no regular expression.
pub fn anchored(pattern: &str) -> Result<Regex, Box<regex::Error>> {
    Regex::new(&format!("^(?s:{})$", translate(pattern))).map_err(Box::new)
}

/// The same expression in the regex crate's notation.
pub fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.split_at(c.len_utf8()).1;
        rest = after;
        match c {
            '\\' => rest = escape(after, class, &mut out),
            // Posix classes are the same in both.
            '[' if class && after.starts_with(':') => out.push('['),
            '[' if class => out.push_str("\\["),
            '[' => {
                class = true;
                out.push('[');
                if let Some(after) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = after;
                }
                // First in a class it stands for itself.
                if let Some(after) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = after;
                }
            }
            ']' if class && out.ends_with(':') => out.push(']'),
            ']' => {
                class = false;
                out.push(']');
            }
            // Doubled, these are set operations here.
            '&' | '~' if class => out.extend(['\\', c]),
            '-' if class && rest.starts_with('-') => {
                out.push_str("-\\-");
                rest = rest.strip_prefix('-').unwrap_or(rest);
            }
            '{' if !class && repetition(after).is_none() => out.push_str("\\{"),
            other => out.push(other),
        }
    }
    out
}

/// Translates what follows a backslash and returns what comes after it.
fn escape<'a>(after: &'a str, class: bool, out: &mut String) -> &'a str {
    if let Some(quoted) = after.strip_prefix('Q') {
        let (text, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(text));
        return rest;
    }
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    match c {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' if !class => out.push_str("(?-u:\\b)"),
        'B' if !class => out.push_str("(?-u:\\B)"),
        // Their braces are none of a repetition.
        'p' | 'P' | 'x' if after.split_at(1).1.starts_with('{') => {
            let (inside, rest) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(&format!("\\{inside}}}"));
            return rest;
        }
        // Any punctuation may be escaped there.
        _ if c.is_ascii_punctuation() => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        _ => out.extend(['\\', c]),
    }
    after.split_at(c.len_utf8()).1
}

/// Whether the text after a brace makes it a repetition: `2}`, `2,}` or `2,5}`.
fn repetition(after: &str) -> Option<()> {
    let (inside, _) = after.split_once('}')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let right = match inside.split_once(',') {
        Some((from, to)) => digits(from) && (to.is_empty() || digits(to)),
        None => digits(inside),
    };
    right.then_some(())
}

/// A text with references to the groups of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
    Named(String),
}

impl Template {
    /// A name is as long as it can be, so that `$1x` is a group named `1x`; `$$` is a dollar sign,
    /// and so is one that no name follows.
    pub fn new(text: &str) -> Template {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(group(name));
                rest = after;
            } else {
                plain.push('$');
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Template(pieces)
    }

    /// Without any reference: the text itself.
    pub fn plain(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Fills in the groups; one that took no part, or that there is not, is empty.
    pub fn expand(&self, groups: &Captures<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Group(at) => {
                    out.push_str(groups.get(*at).map_or("", |found| found.as_str()))
                }
                Piece::Named(name) => {
                    out.push_str(groups.name(name).map_or("", |found| found.as_str()));
                }
            }
        }
        out
    }
}

/// The name that a dollar sign is followed by, in braces or not, and the rest.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, inside) = match text.strip_prefix('{') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let end = inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    let rest = if braced { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

fn group(name: &str) -> Piece {
    let number = name.bytes().all(|byte| byte.is_ascii_digit());
    let leading = name.len() > 1 && name.starts_with('0');
    match name.parse() {
        Ok(at) if number && !leading => Piece::Group(at),
        _ => Piece::Named(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, yes, no) in [
            ("a|b", &["a", "b"][..], &["xa", "ab", ""][..]),
            ("", &[""], &["a"]),
            ("a.b", &["a\nb", "aüb"], &["ab"]),
            (r"\d+", &["12"], &["٣"]),
            (r"\w", &["a", "_"], &["ü"]),
            (r"\W\D\S", &["üüü"], &["aaa"]),
            (r"[^\W]", &["a"], &["ü", "-"]),
            (r"[\d\-x]+", &["1-x"], &["y"]),
            (r"x\b.*", &["xü", "x y"], &["xy"]),
            (r"\Qa.b\E+", &["a.b", "a.bb"], &["aab"]),
            (r"\Qa{", &["a{"], &["a"]),
            ("a{", &["a{"], &["a"]),
            ("a{,2}", &["a{,2}"], &["aa"]),
            ("a{2}b{1,}c{1,2}", &["aabc", "aabbcc"], &["abc"]),
            ("${x}", &[], &["${x}"]),
            ("[[a]b", &["[b", "ab"], &["a"]),
            ("[]a]+", &["]a"], &["b"]),
            ("[^]]", &["a"], &["]"]),
            ("[[:alpha:]_]+", &["a_b"], &["1"]),
            ("[a&&b]+", &["a&b"], &["c"]),
            ("[+--]", &["+", ",", "-"], &["."]),
            (r"\-\_\/\@\<", &["-_/@<"], &[""]),
            (r"[\]\[\\]+", &["]", "[", "\\"], &["a"]),
            ("(?i)ab", &["AB"], &["A"]),
            ("(?P<n>a)(?:b)?", &["a", "ab"], &["b"]),
            (r"\p{Greek}", &["α"], &["a"]),
        ] {
            let regex = anchored(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            yes.iter().for_each(|text| assert!(regex.is_match(text), "{pattern} on {text:?}"));
            no.iter().for_each(|text| assert!(!regex.is_match(text), "{pattern} on {text:?}"));
        }
        for pattern in ["(", "a)", "*", "[", r"\", r"\8", "(?<", "[b-a]"] {
            assert!(anchored(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn templates_expand_as_in_go() {
        let regex = anchored("(a)(?P<name>b)(x)?(c)").unwrap();
        let groups = regex.captures("abc").unwrap();
        for (template, want) in [
            ("plain", "plain"),
            ("", ""),
            ("$1-$2", "a-b"),
            ("${1}x$1x", "ax"),
            ("$name/${name}", "b/b"),
            ("$0", "abc"),
            ("$3|$4|$9", "|c|"),
            ("$$1 $ ${ ${} $-", "$1 $ ${ ${} $-"),
            ("$01", ""),
            ("${1", "${1"),
            ("${name}_$1ü", "b_"),
            ("99$", "99$"),
        ] {
            assert_eq!(Template::new(template).expand(&groups), want, "{template}");
        }
        assert_eq!(Template::new("a$$b").plain(), Some("a$b"));
        assert_eq!(Template::new("$1").plain(), None);
    }
}
