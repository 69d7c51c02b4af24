//! The keys of a rule, with the checks that Prometheus makes.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{Action, Rule};
use crate::model::pattern::{Template, anchored};

const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";
const SEPARATOR: &str = ";";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    action: Option<Spelling>,
    source_labels: Option<Vec<String>>,
    separator: Option<String>,
    regex: Option<String>,
    modulus: u64,
    target_label: String,
    replacement: Option<String>,
}

/// Letters of either case are taken.
#[derive(Debug)]
struct Spelling(Action);

impl<'de> Deserialize<'de> for Spelling {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Spelling, D::Error> {
        let text = String::deserialize(from)?;
        let lower = serde::de::value::StringDeserializer::new(text.to_ascii_lowercase());
        Action::deserialize(lower).map(Spelling)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rule, D::Error> {
        rule(Keys::deserialize(from)?).map_err(D::Error::custom)
    }
}

fn rule(keys: Keys) -> Result<Rule, String> {
    let Keys { action, source_labels, separator, regex, modulus, target_label, replacement } = keys;
    let action = action.map_or(Action::Replace, |spelling| spelling.0);
    let called = format!("{action:?}").to_ascii_lowercase();
    let differs =
        |given: &Option<String>, usual: &str| given.as_deref().is_some_and(|given| given != usual);
    let separated = differs(&separator, SEPARATOR);
    let replaced = differs(&replacement, REPLACEMENT);
    let matched = differs(&regex, REGEX);
    let wrong = |key: &str, expected: &str, found: &str| {
        Err(format!("{key}: action {called}: expected {expected}, found {found:?}"))
    };
    let replacement = replacement.unwrap_or_else(|| REPLACEMENT.to_owned());
    match action {
        Action::Replace => {
            if !is_name_template(&target_label) {
                return wrong("target_label", "a label name, $1 or ${1} in it", &target_label);
            }
        }
        Action::HashMod | Action::Lowercase | Action::Uppercase => {
            if !is_label_name(&target_label) {
                return wrong("target_label", "a label name", &target_label);
            }
            if action == Action::HashMod && modulus == 0 {
                return wrong("modulus", "at least 1", "0");
            }
            if action != Action::HashMod && replaced {
                return wrong("replacement", "none", &replacement);
            }
        }
        Action::KeepEqual | Action::DropEqual => {
            if !is_label_name(&target_label) {
                return wrong("target_label", "a label name", &target_label);
            }
            if matched || separated || replaced || modulus != 0 {
                let expected = "no other key than source_labels and target_label";
                return wrong("action", expected, "more");
            }
        }
        Action::LabelMap => {
            if !is_name_template(&replacement) {
                return wrong("replacement", "a label name, $1 or ${1} in it", &replacement);
            }
        }
        Action::LabelDrop | Action::LabelKeep => {
            let more = source_labels.is_some() || !target_label.is_empty() || modulus != 0;
            if more || separated || replaced {
                return wrong("action", "no other key than regex", "more");
            }
        }
        Action::Keep | Action::Drop => {}
    }
    let pattern = regex.unwrap_or_else(|| REGEX.to_owned());
    let regex = anchored(&pattern)
        .map_err(|_| format!("regex: expected a regular expression, found {pattern:?}"))?;
    let source_labels = source_labels.unwrap_or_default();
    if let Some(name) = source_labels.iter().find(|name| !is_label_name(name)) {
        return wrong("source_labels", "label names", name);
    }
    Ok(Rule {
        action,
        source_labels,
        separator: separator.unwrap_or_else(|| SEPARATOR.to_owned()),
        regex,
        pattern,
        modulus,
        target: Template::new(&target_label),
        target_label,
        replacement: Template::new(&replacement),
    })
}

/// Letters, digits and underscores, no digit first.
pub(super) fn is_label_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A label name in which references to groups may stand.
fn is_name_template(text: &str) -> bool {
    let (mut rest, mut first) = (text, true);
    while let Some(c) = rest.chars().next() {
        let after = rest.split_at(c.len_utf8()).1;
        rest = match c {
            '$' => {
                let braced = after.strip_prefix('{');
                let name = braced.unwrap_or(after);
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = name.find(|c| !word(c)).unwrap_or(name.len());
                let (name, rest) = name.split_at(end);
                match (name.is_empty(), braced.is_some()) {
                    (true, _) => return false,
                    (false, false) => rest,
                    (false, true) => match rest.strip_prefix('}') {
                        Some(rest) => rest,
                        None => return false,
                    },
                }
            }
            c if c.is_ascii_alphabetic() || c == '_' || (c.is_ascii_digit() && !first) => after,
            _ => return false,
        };
        first = false;
    }
    !first
}
