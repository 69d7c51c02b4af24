//! The text of a rule file: where in it an expression's byte is, and what its comments silence.

use std::collections::BTreeSet;

use crate::rules::file::RuleSpec;

/// What a comment begins with that silences findings: `# pitcrew: disable=missing-for, no-runbook`.
const MARK: &str = "# pitcrew: disable";

pub(super) struct Source<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Source<'a> {
        Source { lines: text.lines().collect() }
    }

    /// Line and column of a byte of the rule's expression, as well as the YAML lets it be told: in a
    /// folded text it is the expression's first line.
    pub(super) fn place(&self, rule: &RuleSpec, at: usize) -> (u64, u64) {
        let before = rule.query.get(..at).unwrap_or("");
        let row = before.matches('\n').count();
        let (line, inside) = match (rule.query.lines().nth(row), before.rsplit_once('\n')) {
            (Some(line), Some((_, inside))) => (line, inside),
            (Some(line), None) => (line, before),
            (None, _) => return rule.place.expr,
        };
        // The text begins where YAML says, or on the line after a `|`.
        let first = usize::try_from(rule.place.expr.0).unwrap_or(usize::MAX).saturating_sub(1);
        for number in [first + row, first + row + 1] {
            let Some(found) = self.lines.get(number).and_then(|text| text.find(line.trim())) else {
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let column = found + inside.len().saturating_sub(indent);
            return (number as u64 + 1, column as u64 + 1);
        }
        rule.place.expr
    }

    /// The codes silenced for the rule that begins at line `from`, where the next one begins at `to`:
    /// by comments among its lines and directly above it, and by `disable-file` ones anywhere.
    pub(super) fn silenced(&self, from: u64, to: Option<u64>) -> BTreeSet<&'a str> {
        let place = |line: u64| usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let begin = self.above(place(from));
        let end = to.map_or(self.lines.len(), |to| self.above(place(to)));
        let own = self.lines.get(begin..end.max(begin)).unwrap_or_default();
        let own = own.iter().filter_map(|line| codes(line, "="));
        let file = self.lines.iter().filter_map(|line| codes(line, "-file="));
        own.chain(file).flatten().collect()
    }

    /// The first of the comment lines directly above a line.
    fn above(&self, mut line: usize) -> usize {
        let comment =
            |at: usize| self.lines.get(at).is_some_and(|text| text.trim_start().starts_with('#'));
        while line > 0 && comment(line - 1) {
            line -= 1;
        }
        line
    }
}

fn codes<'a>(line: &'a str, form: &str) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
    let (_, rest) = line.split_once(MARK)?;
    let list = rest.strip_prefix(form)?;
    Some(list.split([',', ' ']).map(str::trim).filter(|code| !code.is_empty()))
}
