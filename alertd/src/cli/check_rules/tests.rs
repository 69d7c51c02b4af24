//! Rules with what is odd about them; the bundled ones, in which nothing is.

use std::path::Path;

use super::*;

fn settings() -> Settings {
    Settings {
        scrape_interval: Duration::from_secs(30),
        evaluation_interval: Duration::from_secs(60),
        known: Vec::new(),
    }
}

/// What is found in the text of a file: `line:column code` each.
fn found(text: &str) -> Vec<String> {
    let groups = file::parse(Path::new("r.yaml"), text).unwrap();
    let sources = BTreeMap::from([("r.yaml".to_owned(), text.to_owned())]);
    let findings = lint(&groups, &sources, &settings());
    findings.iter().map(|one| format!("{}:{} {}", one.line, one.column, one.code)).collect()
}

const GOOD: &str = "    annotations: {summary: s, runbook_url: 'https://example.org'}\n";

#[test]
fn each_code_at_its_place() {
    let head = "groups:\n- name: g\n  rules:\n";
    for (rule, want) in [
        ("  - alert: A\n    expr: x > 1\n    for: 5m\n", vec![]),
        ("  - alert: A\n    expr: x > 1\n", vec!["4:12 missing-for"]),
        ("  - alert: A\n    expr: rate(x_total[5m]) > 1\n", vec![]),
        ("  - alert: A\n    expr: x > 1\n    for: 10s\n", vec!["4:12 short-for"]),
        ("  - alert: A\n    expr: up == 2\n    for: 5m\n", vec!["5:11 never-true"]),
        ("  - alert: A\n    expr: 'sum(x_total) > 5'\n    for: 5m\n", vec!["5:16 raw-counter"]),
        (
            "  - alert: A\n    expr: |\n      x > 1\n        and rate(y_total[30s]) > 1\n    for: 5m\n",
            vec!["7:13 short-window"],
        ),
        (
            "  - alert: A\n    for: 5m\n    expr: |\n      runner_helth == 0\n        or node_memory_MemAvailble_bytes < 5 or http_requests > 1\n",
            vec!["7:7 unknown-metric", "8:12 unknown-metric"],
        ),
        (
            "  - alert: A\n    expr: 'absent(up{job=~\"a\"})'\n    for: 5m\n",
            vec!["5:12 absent-labels"],
        ),
        (
            "  - alert: A\n    expr: sum by (a) (x) > 1\n    for: 5m\n    labels: {b: '{{ $labels.c }}', d: '{{ $labels.a }}'}\n",
            vec!["4:12 lost-label"],
        ),
        // Silenced above, beside and for the file.
        ("  # pitcrew: disable=missing-for, never-true\n  - alert: A\n    expr: up > 1\n", vec![]),
        (
            "  - alert: A\n    expr: up > 1 # pitcrew: disable=missing-for\n",
            vec!["5:11 never-true"],
        ),
        ("  - alert: A\n    expr: x > 1\n  # pitcrew: disable-file=missing-for\n", vec![]),
        ("  - alert: A\n    expr: job:x:sum > 1\n    for: 5m\n", vec!["5:11 unknown-metric"]),
    ] {
        assert_eq!(found(&format!("{head}{rule}{GOOD}")), want, "{rule}");
    }
    for (text, want) in [
        ("annotations: {summary: s}", "no-runbook"),
        ("annotations: {runbook_url: x}", "no-summary"),
        (
            "annotations: {summary: s, runbook_url: '{{ $externalURL }}/runbooks/None.md'}",
            "no-such-runbook",
        ),
    ] {
        let rule = format!("{head}  - alert: A\n    expr: vector(1)\n    {text}\n");
        assert_eq!(found(&rule), [format!("4:12 {want}")], "{text}");
    }
    let own = "annotations: {summary: s, runbook_url: '{{ $externalURL }}/runbooks/Watchdog.md'}";
    assert_eq!(found(&format!("{head}  - alert: A\n    expr: vector(1)\n    {own}\n")), [""; 0]);
}

#[test]
fn a_comment_silences_its_own_rule_only() {
    let rule = |name: &str| format!("  - alert: {name}\n    expr: x > 1\n{GOOD}");
    let text = format!(
        "groups:\n- name: g\n  rules:\n{}  # pitcrew: disable=missing-for\n{}{}",
        rule("A"),
        rule("B"),
        rule("C")
    );
    assert_eq!(found(&text), ["4:12 missing-for", "11:12 missing-for"]);
}

#[test]
fn rules_that_repeat_one_another() {
    let group = |name: &str, rules: &str| format!("- name: {name}\n  rules:\n{rules}");
    for (one, two, want) in [
        ("  - {record: 'a:b', expr: x}\n", "  - {record: 'a:b', expr: y}\n", 1),
        ("  - {record: 'a:b', expr: x}\n", "  - {record: 'a:b', expr: x, labels: {a: b}}\n", 0),
        ("  - {record: 'a:b', expr: x}\n", "  - {record: 'a:c', expr: x}\n", 0),
    ] {
        let text = format!("groups:\n{}{}", group("g", one), group("h", two));
        let codes = found(&text);
        let duplicates = codes.iter().filter(|code| code.ends_with(" duplicate-rule"));
        assert_eq!(duplicates.count(), want, "{text}");
    }
}

#[test]
fn nothing_is_odd_in_the_bundled_rules() {
    let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/*.yaml");
    let groups = file::load(&[pattern]).unwrap();
    let read =
        |group: &file::GroupSpec| (group.file.clone(), yaml::read(group.file.as_ref()).unwrap());
    let sources = groups.iter().map(read).collect();
    let findings = lint(&groups, &sources, &settings());
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn codes_are_chosen_by_name() {
    let names = |names: &[&str]| chosen(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    assert_eq!(names(&["all"]).unwrap().len(), CODES.len());
    assert_eq!(names(&["none"]).unwrap(), [""; 0]);
    assert_eq!(
        names(&["duplicate-rules", "never-true"]).unwrap(),
        ["duplicate-rule", "never-true"]
    );
    assert!(names(&["nothing"]).unwrap_err().to_string().contains("never-true"));
}
