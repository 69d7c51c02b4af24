//! Unit tests of rules that pass and fail where they must.

use std::fs;

use super::*;

const RULES: &str = r#"
groups:
- name: second
  rules:
  - alert: Slow
    expr: job:x:sum > 3
    for: 2m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} has {{ $value }} at {{ $externalLabels.site }}"}
- name: first
  rules:
  - record: job:x:sum
    expr: sum by (job) (x)
"#;

fn report(tests: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    let path = folder.path().join("tests.yaml");
    fs::write(&path, tests).unwrap();
    one_file(&path)
}

fn one(cases: &str) -> Report {
    report(&format!(
        "rule_files: [rules.yaml]\ngroup_eval_order: [first, second]\ntests:\n- interval: 1m\n  \
         external_labels: {{site: north}}\n  input_series:\n  - {{series: 'x{{job=\"a\", i=\"1\"}}', \
         values: '1+1x10'}}\n  - {{series: 'x{{job=\"a\", i=\"2\"}}', values: '1 1 _ stale 0x20'}}\n{cases}"
    ))
}

#[test]
fn cases_that_hold() {
    let report = one(r#"
  alert_rule_test:
  - {eval_time: 3m59s, alertname: Slow}
  - eval_time: 4m
    alertname: Slow
    exp_alerts:
    - exp_labels: {job: a, severity: page}
      exp_annotations: {summary: "a has 5 at north"}
  - {eval_time: 5m, alertname: Nothing}
  promql_expr_test:
  - {expr: 'job:x:sum', eval_time: 1m, exp_samples: [{labels: 'job:x:sum{job="a"}', value: 3}]}
  - {expr: 'x{i="2"}', eval_time: 2m, exp_samples: [{labels: 'x{i="2", job="a"}', value: 1}]}
  - {expr: 'x{i="2"}', eval_time: 3m, exp_samples: []}
  - {expr: 'x{i="2"}', eval_time: 3m}
  - {expr: 'count(ALERTS{alertstate="pending"})', eval_time: 2m, exp_samples: [{labels: '{}', value: 1}]}
  - {expr: '1 + 1', eval_time: 0s, exp_samples: [{value: 2}]}
"#);
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.passed, 9);
}

#[test]
fn cases_that_do_not_hold() {
    for (cases, wants) in [
        (
            "  alert_rule_test:\n  - {eval_time: 4m, alertname: Slow}\n",
            vec!["test 1: alert Slow at 4m:\n  expected: nothing\n  got:\n    {alertname=\"Slow\""],
        ),
        (
            "  alert_rule_test:\n  - {eval_time: 3m, alertname: Slow, exp_alerts: [{}]}\n",
            vec!["expected:\n    {alertname=\"Slow\"} {}\n  got: nothing"],
        ),
        (
            "  promql_expr_test:\n  - {expr: 'x{i=\"1\"}', eval_time: 1m, exp_samples: [{labels: x, value: 2}]}\n",
            vec![
                "expression \"x{i=",
                "at 1m:",
                "expected:\n    x 2.0\n  got:\n    x{i=\"1\", job=\"a\"} 2.0",
            ],
        ),
        ("  promql_expr_test:\n  - {expr: 'x{', eval_time: 1m}\n", vec!["parse error"]),
        (
            "  promql_expr_test:\n  - {expr: x, eval_time: 1m, exp_samples: [{labels: x, histogram: '{{}}'}]}\n",
            vec!["native histograms are not supported"],
        ),
    ] {
        let report = one(cases);
        assert_eq!((report.passed, report.failures.len()), (0, 1), "{cases}");
        for want in wants {
            assert!(report.failures[0].contains(want), "{want}\n{}", report.failures[0]);
        }
    }
}

#[test]
fn files_that_cannot_be_played() {
    for (tests, want) in [
        ("rule_files: [none.yaml]\n", "cannot read"),
        ("rule_files: [*.yml]\n", "tests.yaml"),
        ("tests: [{intervall: 1m}]\n", "did you mean `interval`"),
        ("tests: [{input_series: [{series: x, values: 1+}]}]\n", "input series x"),
        ("tests: [{input_series: [{series: x, values: '{{schema:1}}'}]}]\n", "native histograms"),
        (
            "tests: [{input_series: [{series: x, values: 1}, {series: x, values: 2}]}]\n",
            "not all taken",
        ),
    ] {
        let report = report(tests);
        assert_eq!((report.passed, report.failures.len()), (0, 1), "{tests}");
        assert!(report.failures[0].contains(want), "{want}\n{}", report.failures[0]);
    }
}

#[test]
fn a_rule_that_cannot_be_evaluated_fails_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "groups: [{name: g, rules: [{alert: A, expr: 'x * on (a) x'}]}]";
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let path = folder.path().join("tests.yaml");
    let tests = "rule_files: [rules.yaml]\ntests: [{input_series: [{series: 'x{a=\"1\",b=\"1\"}', values: 1}, \
        {series: 'x{a=\"1\",b=\"2\"}', values: 1}], alert_rule_test: [{eval_time: 0m, alertname: A}]}]";
    fs::write(&path, tests).unwrap();
    let report = one_file(&path);
    assert!(report.failures[0].contains("at 0s: rule \"A\""), "{:?}", report.failures);
}

#[test]
fn the_bundled_rules_pass_their_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rules");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3);
    for file in files {
        let report = one_file(&file);
        assert_eq!(report.failures, Vec::<String>::new(), "{}", file.display());
        assert!(report.passed > 0, "{}", file.display());
    }
}
