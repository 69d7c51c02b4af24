//! The labels that a template asks the alert's own element for.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\$labels\.([A-Za-z_][A-Za-z0-9_]*)|index\s+\$labels\s+"([^"]+)""#)
        .expect("the pattern is fixed")
});
static FIELD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^$\w)])\.Labels\.([A-Za-z_][A-Za-z0-9_]*)").expect("the pattern is fixed")
});
/// Inside of these, the dot is something else.
static MOVES_DOT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{-?\s*(range|with|define|block)\b").expect("the pattern is fixed")
});
static ACTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)\{\{.*?\}\}").expect("the pattern is fixed"));

/// Those that an `if` asks for as well: whether there is one is a fair question.
pub(super) fn references(template: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let fields = !MOVES_DOT.is_match(template);
    let mut asked = BTreeSet::new();
    for action in ACTION.find_iter(template) {
        let names = VARIABLE.captures_iter(action.as_str());
        let mut names: BTreeSet<String> = names
            .filter_map(|found| found.get(1).or(found.get(2)).map(|name| name.as_str().to_owned()))
            .collect();
        if fields {
            let more = FIELD.captures_iter(action.as_str());
            names.extend(more.filter_map(|found| Some(found.get(1)?.as_str().to_owned())));
        }
        let inside = action.as_str().trim_start_matches(['{', '-', ' ']);
        if ["if ", "with ", "else if "].iter().any(|word| inside.starts_with(word)) {
            asked.extend(names);
        } else {
            found.extend(names);
        }
    }
    found.retain(|name| !asked.contains(name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_templates() {
        for (text, want) in [
            ("$labels.a", ""),
            ("{{ $labels.a }} and {{- $labels.b | toUpper }}", "a b"),
            ("{{ .Labels.a }}{{ index $labels \"b\" }}", "a b"),
            ("{{ range query \"x\" }}{{ .Labels.a }}{{ end }}{{ $labels.b }}", "b"),
            ("{{ if $labels.a }}{{ $labels.a }}{{ else }}{{ $labels.b }}{{ end }}", "b"),
            ("{{ $x.Labels.a }}", ""),
            ("{{ printf \"%s\" $labels.a }}", "a"),
        ] {
            let found: Vec<String> = references(text).into_iter().collect();
            assert_eq!(found.join(" "), want, "{text}");
        }
    }
}
