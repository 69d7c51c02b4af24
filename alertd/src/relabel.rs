//! Relabelling: Prometheus' rules that rewrite or drop a label set.
//!
//! The same rules serve targets, scraped series, what is sent by remote write, and alerts.

mod builder;
mod config;

use regex::Regex;

use crate::model::labels::Labels;
use crate::model::pattern::Template;
use builder::Builder;

/// One step. Read from YAML, which checks it and compiles its expression.
#[derive(Debug, Clone)]
pub struct Rule {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    /// As the configuration has it; two rules are compared by it.
    pattern: String,
    modulus: u64,
    target: Template,
    target_label: String,
    replacement: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// What becomes of a label set, rule after rule; `None` when one of them drops it.
pub fn apply(rules: &[Rule], labels: &Labels) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels.clone());
    }
    let mut builder = Builder::new(labels);
    for rule in rules {
        if !rule.apply(&mut builder) {
            return None;
        }
    }
    Some(builder.labels())
}

impl Rule {
    /// Whether the label set is kept.
    fn apply(&self, labels: &mut Builder<'_>) -> bool {
        match self.action {
            Action::LabelMap | Action::LabelDrop | Action::LabelKeep => self.rename(labels),
            Action::Drop => return !self.regex.is_match(&self.source(labels)),
            Action::Keep => return self.regex.is_match(&self.source(labels)),
            Action::DropEqual => return labels.get(&self.target_label) != self.source(labels),
            Action::KeepEqual => return labels.get(&self.target_label) == self.source(labels),
            Action::Replace => self.replace(labels),
            Action::HashMod => {
                let hash = md5::compute(self.source(labels));
                // The last eight bytes, as Prometheus takes them.
                let tail = hash.0.iter().skip(8);
                let number = tail.fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                labels.set(&self.target_label, &(number % self.modulus.max(1)).to_string());
            }
            Action::Lowercase => {
                let value = self.source(labels).to_lowercase();
                labels.set(&self.target_label, &value);
            }
            Action::Uppercase => {
                let value = self.source(labels).to_uppercase();
                labels.set(&self.target_label, &value);
            }
        }
        true
    }

    fn source(&self, labels: &Builder<'_>) -> String {
        let mut text = String::new();
        for (at, name) in self.source_labels.iter().enumerate() {
            if at > 0 {
                text.push_str(&self.separator);
            }
            text.push_str(labels.get(name));
        }
        text
    }

    fn replace(&self, labels: &mut Builder<'_>) {
        let source = self.source(labels);
        let Some(groups) = self.regex.captures(&source) else { return };
        let name = self.target.expand(&groups);
        if config::is_label_name(&name) {
            labels.set(&name, &self.replacement.expand(&groups));
        }
    }

    /// What looks at names: the changes do not see each other.
    fn rename(&self, labels: &mut Builder<'_>) {
        for (name, value) in labels.all() {
            match (self.action, self.regex.captures(&name)) {
                (Action::LabelMap, Some(groups)) => {
                    let new = self.replacement.expand(&groups);
                    if !new.is_empty() {
                        labels.set(&new, &value);
                    }
                }
                (Action::LabelDrop, Some(_)) | (Action::LabelKeep, None) => labels.set(&name, ""),
                _ => {}
            }
        }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        let what = |rule: &Rule| (rule.action, rule.modulus, rule.pattern.clone());
        what(self) == what(other)
            && self.source_labels == other.source_labels
            && self.separator == other.separator
            && self.target_label == other.target_label
            && self.replacement == other.replacement
    }
}

#[cfg(test)]
mod tests;
