//! What a recording rule writes: the expression's elements under the rule's name and labels.

use std::collections::HashSet;

use super::file::RuleSpec;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::{Sample, Timestamp};

/// The samples of one evaluation. An error when two elements would become one series.
pub fn record(
    rule: &RuleSpec,
    elements: Vec<(Labels, f64)>,
    at: Timestamp,
) -> Result<Vec<(Labels, Sample)>, String> {
    let mut seen = HashSet::new();
    let mut samples = Vec::with_capacity(elements.len());
    for (labels, value) in elements {
        let labels = relabelled(rule, &labels);
        if !seen.insert(labels.clone()) {
            return Err(format!("two elements of the result become one series {labels}"));
        }
        samples.push((labels, Sample { timestamp: at, value }));
    }
    Ok(samples)
}

/// The rule's labels win; an empty value takes a label away.
fn relabelled(rule: &RuleSpec, labels: &Labels) -> Labels {
    let own = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    let added = rule.labels.iter().map(|(name, value)| (name.as_str(), value.text()));
    Labels::from_pairs(own.chain(added).chain([(METRIC_NAME, rule.name.as_str())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;
    use std::path::Path;

    #[test]
    fn names_and_labels() {
        let text =
            "groups: [{name: g, rules: [{record: j:x, expr: x, labels: {a: '{{ b', c: ''}}]}]";
        let groups = file::parse(Path::new("r.yaml"), text).unwrap();
        let rule = &groups[0].rules[0];
        let element =
            |pairs: &[(&str, &str)]| (Labels::from_pairs(pairs.iter().map(|(n, v)| (*n, *v))), 2.0);
        let one = element(&[("__name__", "x"), ("a", "1"), ("c", "3"), ("d", "4")]);
        let two = element(&[("__name__", "x"), ("a", "2"), ("d", "4")]);
        let samples = record(rule, vec![one.clone()], Timestamp(5)).unwrap();
        let want = Labels::from_pairs([("__name__", "j:x"), ("a", "{{ b"), ("d", "4")]);
        assert_eq!(samples, [(want, Sample { timestamp: Timestamp(5), value: 2.0 })]);
        let error = record(rule, vec![one, two], Timestamp(5)).unwrap_err();
        assert!(error.contains("j:x{"), "{error}");
    }
}
