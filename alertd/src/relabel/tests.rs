//! Tests of the rules: what becomes of a label set, and which rules are refused.

use std::path::Path;

use pitcrew_exporter::config::yaml;

use super::*;

fn rules(text: &str) -> Result<Vec<Rule>, String> {
    yaml::parse(Path::new("a.yaml"), text).map_err(|error| error.to_string())
}

/// `a=foo, b=bar, c=baz, d=boom, __meta_pod_name=runner-1` after the rules, or `dropped`.
fn after(text: &str) -> String {
    let labels = Labels::from_pairs([
        ("a", "foo"),
        ("b", "bar"),
        ("c", "baz"),
        ("d", "Boom"),
        ("__meta_pod_name", "runner-1"),
        ("__meta_pod_zone", "eu"),
    ]);
    let rules = rules(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let Some(labels) = apply(&rules, &labels) else { return "dropped".to_owned() };
    let shown = labels.iter().filter(|(name, _)| !name.starts_with("__"));
    shown.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_action() {
    const SAME: &str = "a=foo b=bar c=baz d=Boom";
    for (text, want) in [
        ("[]", SAME),
        (
            "[{source_labels: [a], regex: f(.*), target_label: d, replacement: 'ch${1}-ch$1'}]",
            "a=foo b=bar c=baz d=choo-choo",
        ),
        ("[{source_labels: [a, b], target_label: d}]", "a=foo b=bar c=baz d=foo;bar"),
        (
            "[{source_labels: [a, nosuch, b], separator: '', target_label: d, replacement: '${1}!'}]",
            "a=foo b=bar c=baz d=foobar!",
        ),
        ("[{source_labels: [a], regex: no, target_label: d}]", SAME),
        // An empty replacement removes, and so does an empty group.
        ("[{source_labels: [a], target_label: d, replacement: ''}]", "a=foo b=bar c=baz"),
        ("[{source_labels: [a], target_label: d, replacement: $2}]", "a=foo b=bar c=baz"),
        ("[{source_labels: [nosuch], target_label: d}]", "a=foo b=bar c=baz"),
        ("[{target_label: e, replacement: always}]", "a=foo b=bar c=baz d=Boom e=always"),
        (
            "[{source_labels: [a], target_label: '${1}_x', replacement: y}]",
            "a=foo b=bar c=baz d=Boom foo_x=y",
        ),
        // The name that comes of it is none: nothing happens.
        ("[{source_labels: [__meta_pod_name], target_label: '${1}', replacement: y}]", SAME),
        (
            "[{source_labels: [a], regex: (?P<x>.)oo, target_label: d, replacement: '${x}$x'}]",
            "a=foo b=bar c=baz d=ff",
        ),
        ("[{action: keep, source_labels: [a], regex: f.o}]", SAME),
        ("[{action: keep, source_labels: [a], regex: f}]", "dropped"),
        ("[{action: Drop, source_labels: [a, b], regex: foo;bar}]", "dropped"),
        ("[{action: drop, source_labels: [nosuch], regex: '.+'}]", SAME),
        ("[{action: drop, source_labels: [nosuch], regex: ''}]", "dropped"),
        (
            "[{target_label: e, replacement: foo}, {action: keepequal, source_labels: [a], target_label: e}]",
            "a=foo b=bar c=baz d=Boom e=foo",
        ),
        ("[{action: keepequal, source_labels: [a], target_label: b}]", "dropped"),
        ("[{action: dropequal, source_labels: [a], target_label: a}]", "dropped"),
        ("[{action: dropequal, source_labels: [a], target_label: b}]", SAME),
        (
            "[{action: lowercase, source_labels: [d], target_label: e}, {action: uppercase, source_labels: [d], target_label: d}]",
            "a=foo b=bar c=baz d=BOOM e=boom",
        ),
        (
            "[{action: hashmod, source_labels: [c], target_label: d, modulus: 1000}]",
            "a=foo b=bar c=baz d=976",
        ),
        (
            "[{action: hashmod, source_labels: [a, b], target_label: d, modulus: 18446744073709551615}]",
            "a=foo b=bar c=baz d=15973639978189266750",
        ),
        (
            "[{action: labelmap, regex: __meta_pod_(.+)}]",
            "a=foo b=bar c=baz d=Boom name=runner-1 zone=eu",
        ),
        (
            "[{action: labelmap, regex: __meta_pod_(.+), replacement: pod_$1}]",
            "a=foo b=bar c=baz d=Boom pod_name=runner-1 pod_zone=eu",
        ),
        // Two names become one: the later wins.
        ("[{action: labelmap, regex: '[ab]', replacement: d}]", "a=foo b=bar c=baz d=bar"),
        ("[{action: labeldrop, regex: '[bc]'}]", "a=foo d=Boom"),
        ("[{action: labelkeep, regex: '[bc]'}]", "b=bar c=baz"),
        (
            "[{action: labeldrop, regex: a}, {source_labels: [a], regex: '', target_label: a, replacement: new}]",
            "a=new b=bar c=baz d=Boom",
        ),
    ] {
        assert_eq!(after(text), want, "{text}");
    }
}

#[test]
fn rules_that_cannot_be_are_refused() {
    for (text, want) in [
        ("{action: replac}", "unknown variant `replac`"),
        ("{target_labl: a}", "did you mean `target_label`?"),
        ("{}", "target_label: action replace: expected a label name"),
        ("{target_label: 'a-b'}", "target_label: action replace: expected a label name"),
        ("{target_label: '${1'}", "target_label: action replace"),
        ("{target_label: a, regex: '('}", "regex: expected a regular expression, found \"(\""),
        ("{action: hashmod, target_label: a}", "modulus: action hashmod: expected at least 1"),
        ("{action: hashmod, modulus: 2}", "target_label: action hashmod"),
        ("{action: lowercase, target_label: '${1}'}", "target_label: action lowercase"),
        (
            "{action: lowercase, target_label: a, replacement: x}",
            "replacement: action lowercase: expected none",
        ),
        (
            "{action: keepequal, target_label: a, regex: x}",
            "no other key than source_labels and target_label",
        ),
        ("{action: labelmap, replacement: 'a-$1'}", "replacement: action labelmap"),
        ("{action: labeldrop, source_labels: [a]}", "no other key than regex"),
        (
            "{action: keep, source_labels: ['a-b']}",
            "source_labels: action keep: expected label names",
        ),
    ] {
        let error = rules(&format!("[{text}]")).unwrap_err();
        assert!(error.contains(want) && error.contains("line 1"), "{text}: {error}");
    }
}
