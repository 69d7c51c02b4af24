//! A case that failed: what was expected beside what there is, or only how they differ (pure).

use std::fmt::Write;

/// How a case went.
pub(super) type Outcome = Result<(), Failure>;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    title: String,
    /// Lines that were expected and lines that there are.
    lines: Option<(Vec<String>, Vec<String>)>,
}

impl From<String> for Failure {
    fn from(title: String) -> Failure {
        Failure { title, lines: None }
    }
}

impl Failure {
    /// All that was expected and all that there is; with `diff`, each line that differs once.
    pub(super) fn text(&self, diff: bool) -> String {
        match &self.lines {
            None => self.title.clone(),
            Some((expected, got)) if diff => {
                format!("{}:\n  diff:{}", self.title, difference(expected, got))
            }
            Some((expected, got)) => {
                let (want, have) = (list("-", expected, got), list("+", got, expected));
                format!("{}:\n  expected:{want}\n  got:{have}", self.title)
            }
        }
    }
}

/// `same` decides: lines may be alike where values are not.
pub(super) fn compare(title: &str, same: bool, expected: Vec<String>, got: Vec<String>) -> Outcome {
    match same {
        true => Ok(()),
        false => Err(Failure { title: title.to_owned(), lines: Some((expected, got)) }),
    }
}

/// What was expected and is not there with `-`, what is there and was not expected with `+`.
fn list(sign: &str, lines: &[String], others: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let sign = if others.contains(line) { " " } else { sign };
        write!(text, "\n  {sign} {line}").expect("a string takes any text");
    }
    if text.is_empty() { " nothing".to_owned() } else { text }
}

/// Lines of both stand once; of two that are only alike, `[-this-]{+that+}` is what differs.
fn difference(expected: &[String], got: &[String]) -> String {
    let missing: Vec<&String> = expected.iter().filter(|line| !got.contains(line)).collect();
    let mut extra: Vec<&String> = got.iter().filter(|line| !expected.contains(line)).collect();
    let mut text = String::new();
    let mut line = |sign: &str, line: &str| {
        write!(text, "\n  {sign} {line}").expect("a string takes any text");
    };
    expected.iter().filter(|one| got.contains(one)).for_each(|one| line(" ", one));
    for want in missing {
        // The most alike first: with the longest beginning and end in common.
        let alike = |other: &&String| {
            let (start, end) = ends(want, other);
            start + end
        };
        let best = extra.iter().map(alike).enumerate();
        let best = best.max_by_key(|(at, alike)| (*alike, std::cmp::Reverse(*at)));
        match best.filter(|(_, alike)| alike * 2 >= want.chars().count()) {
            Some((at, _)) => line("~", &marked(want, extra.remove(at))),
            None => line("-", want),
        }
    }
    extra.iter().for_each(|one| line("+", one));
    text
}

/// How many characters both have in common at their beginning and, after that, at their end.
fn ends(one: &str, other: &str) -> (usize, usize) {
    let start = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let most = one.chars().count().min(other.chars().count()) - start;
    let back = one.chars().rev().zip(other.chars().rev());
    (start, back.take(most).take_while(|(a, b)| a == b).count())
}

fn marked(one: &str, other: &str) -> String {
    let (start, end) = ends(one, other);
    let part = |text: &str| -> String {
        let left = text.chars().count() - start - end;
        text.chars().skip(start).take(left).collect()
    };
    let head: String = one.chars().take(start).collect();
    let tail: String = one.chars().skip(one.chars().count() - end).collect();
    let mark = |open: &str, text: String, close: &str| match text.is_empty() {
        true => text,
        false => format!("{open}{text}{close}"),
    };
    let (gone, new) = (mark("[-", part(one), "-]"), mark("{+", part(other), "+}"));
    format!("{head}{gone}{new}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_differs_stands_once() {
        let lines = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        for (expected, got, want) in [
            ("same|a: v 9, two", "a: v 3, two|same", "same~ a: v [-9-]{+3+}, two"),
            ("abcdef|abcxyz", "abcdeg", "~ abcde[-f-]{+g+}- abcxyz"),
            ("one", "zzz", "- one+ zzz"),
            ("grün", "grün!", "~ grün{+!+}"),
            ("a", "a|b", "a+ b"),
        ] {
            let failure = compare("t", false, lines(expected), lines(got)).unwrap_err();
            let text = failure.text(true);
            let found = text.strip_prefix("t:\n  diff:").unwrap().replace("\n    ", "");
            assert_eq!(found.replace("\n  ", ""), want, "{expected} {got}");
        }
        let plain = compare("t", false, lines("a|b"), lines("a")).unwrap_err().text(false);
        assert_eq!(plain, "t:\n  expected:\n    a\n  - b\n  got:\n    a");
        assert_eq!(Failure::from("why".to_owned()).text(true), "why");
    }
}
