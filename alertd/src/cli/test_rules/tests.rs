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
    one_file(&path, None, false)
}

fn failures(report: &Report) -> Vec<String> {
    report.failures().collect()
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
    assert_eq!(failures(&report), Vec::<String>::new());
    assert_eq!(report.passed, 9);
}

#[test]
fn cases_that_do_not_hold() {
    for (cases, wants) in [
        (
            "  alert_rule_test:\n  - {eval_time: 4m, alertname: Slow}\n",
            vec!["test 1: alert Slow at 4m:\n  expected: nothing\n  got:\n  + {alertname=\"Slow\""],
        ),
        (
            "  alert_rule_test:\n  - {eval_time: 3m, alertname: Slow, exp_alerts: [{}]}\n",
            vec!["expected:\n  - {alertname=\"Slow\"} {}\n  got: nothing"],
        ),
        (
            "  promql_expr_test:\n  - {expr: 'x{i=\"1\"}', eval_time: 1m, exp_samples: [{labels: x, value: 2}]}\n",
            vec![
                "expression \"x{i=",
                "at 1m:",
                "expected:\n  - x 2.0\n  got:\n  + x{i=\"1\", job=\"a\"} 2.0",
            ],
        ),
        ("  promql_expr_test:\n  - {expr: 'x{', eval_time: 1m}\n", vec!["parse error"]),
        (
            "  promql_expr_test:\n  - {expr: x, eval_time: 1m, exp_samples: [{labels: x, histogram: '{{}}'}]}\n",
            vec!["native histograms are not supported"],
        ),
    ] {
        let report = one(cases);
        assert_eq!((report.passed, failures(&report).len()), (0, 1), "{cases}");
        for want in wants {
            assert!(failures(&report)[0].contains(want), "{want}\n{}", failures(&report)[0]);
        }
    }
}

#[test]
fn files_that_cannot_be_played() {
    for (tests, want) in [
        ("rule_files: [*.yml]\n", "tests.yaml"),
        ("tests: [{intervall: 1m}]\n", "did you mean `interval`"),
        ("tests: [{input_series: [{series: x, values: 1+}]}]\n", "input series x"),
        ("tests: [{input_series: [{series: x, values: '{{schema:1}}'}]}]\n", "native histograms"),
        ("group_eval_order: [a, b, a]\n", "found \"a\" twice"),
        ("tests: [{alert_rule_test: [{eval_time: 1m}]}]\n", "alertname: expected a name"),
        (
            "tests: [{alert_rule_test: [{alertname: A, exp_notifications: []}]}]\n",
            "exp_notifications: expected `notifications`",
        ),
        ("tests: [{notifications: none.yaml}]\n", "cannot read"),
        (
            "evaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: x, eval_time: 1d}]}]\n",
            "at most",
        ),
        ("tests: [{start_timestamp: yesterday}]\n", "expected Unix seconds or RFC 3339"),
    ] {
        let report = report(tests);
        assert_eq!((report.passed, failures(&report).len()), (0, 1), "{tests}");
        assert!(failures(&report)[0].contains(want), "{want}\n{}", failures(&report)[0]);
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
    let report = one_file(&path, None, false);
    assert!(failures(&report)[0].contains("at 0s: rule \"A\""), "{:?}", failures(&report));
}

#[test]
fn the_bundled_rules_pass_their_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rules");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let own = fs::read_dir(folder.join("pitcrew")).unwrap();
    files.extend(own.map(|entry| entry.unwrap().path()));
    files.retain(|file| file.is_file() && !file.ends_with("alertmanager.yaml"));
    files.sort();
    assert!(files.len() >= 3);
    for file in files {
        let report = one_file(&file, None, false);
        assert_eq!(failures(&report), Vec::<String>::new(), "{}", file.display());
        assert!(report.passed > 0, "{}", file.display());
    }
}

const ROUTES: &str = "
route: {receiver: all, group_by: [alertname], group_wait: 30s, group_interval: 1m, repeat_interval: 2m}
inhibit_rules: [{source_matchers: [alertname=Down], target_matchers: [alertname=Slow], equal: [job]}]
receivers: [{name: all, webhook_configs: [{url: 'http://127.0.0.1:9/a'}, {url: 'http://127.0.0.1:9/b'}]}]
";

fn own(cases: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let rules = "
groups:
- name: g
  rules:
  - {alert: Slow, expr: x > 1, for: 2m, labels: {severity: page}}
  - {alert: Down, expr: down == 1}
";
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    fs::write(folder.path().join("alertmanager.yaml"), ROUTES).unwrap();
    let path = folder.path().join("tests.yaml");
    // `a` is slow from 1m to 6m and from 10m on, `b` from 2m to 3m; `a` is down from 12m on.
    let tests = format!(
        "rule_files: [rules.yaml]\nnotifications: alertmanager.yaml\ntests:\n- interval: 1m\n  \
         start_timestamp: 2026-11-21T00:00:00Z\n  input_series:\n  - {{series: 'x{{job=\"a\"}}', values: '0 \
         5x5 0x2 5x9'}}\n  - {{series: 'x{{job=\"b\"}}', values: '0x1 5x1 0x9'}}\n  - {{series: \
         'down{{job=\"a\"}}', values: '0x11 1x5'}}\n  alert_rule_test:\n{cases}"
    );
    fs::write(&path, tests).unwrap();
    one_file(&path, None, false)
}

#[test]
fn pending_ended_and_told() {
    let slow = "exp_labels: {job: a, severity: page}";
    let held = [
        format!("{{eval_time: 2m, alertname: Slow, exp_pending: [{{{slow}}}, {{exp_labels: {{job: b, severity: page}}}}]}}"),
        format!("{{eval_time: 3m, alertname: Slow, exp_pending: [{{exp_labels: {{job: b, severity: page}}}}], exp_alerts: [{{{slow}}}]}}"),
        "{eval_time: 4m, alertname: Slow, exp_pending: [], exp_resolved_at: []}".to_owned(),
        "{eval_time: 7m, alertname: Slow, exp_resolved_at: 7m}".to_owned(),
        format!("{{eval_time: 8m, alertname: Slow, exp_resolved_at: [{{{slow}, at: 7m}}]}}"),
        // It fires again.
        "{eval_time: 12m, alertname: Slow, exp_resolved_at: []}".to_owned(),
        "{eval_time: 3m29s, alertname: Slow, exp_notifications: []}".to_owned(),
        format!("{{eval_time: 3m30s, alertname: Slow, exp_notifications: [{{receiver: all, at: 3m30s, status: firing, reason: first, exp_alerts: [{{{slow}, status: firing}}]}}]}}"),
        "{eval_time: 9m, alertname: Slow, exp_notifications: [{receiver: all, at: 5m30s, reason: repeat}, {receiver: all, at: 7m30s, status: resolved, reason: all_resolved}]}".to_owned(),
        // Inhibited by Down before it was told.
        "{eval_time: 17m, alertname: Slow, exp_notifications: []}".to_owned(),
        "{eval_time: 13m, alertname: Down, exp_notifications: [{receiver: all, exp_alerts: [{exp_labels: {job: a}}]}]}".to_owned(),
    ];
    let cases: String = held.iter().map(|case| format!("  - {case}\n")).collect();
    let report = own(&cases);
    assert_eq!(failures(&report), Vec::<String>::new());
    assert_eq!(report.passed, held.len() + 2, "two cases ask two things");
    for (case, want) in [
        (format!("{{eval_time: 3m, alertname: Slow, exp_pending: [{{{slow}}}]}}"), "pending alert Slow at 3m:\n  expected:\n  - {alertname=\"Slow\", job=\"a\""),
        ("{eval_time: 3m, alertname: Slow, exp_resolved_at: 3m}".to_owned(), "all resolved at 3m\n  got: nothing"),
        ("{eval_time: 8m, alertname: Slow, exp_resolved_at: 8m}".to_owned(), "severity=\"page\"} resolved at 7m"),
        ("{eval_time: 8m, alertname: Slow, exp_resolved_at: []}".to_owned(), "expected: nothing"),
        ("{eval_time: 4m, alertname: Slow, exp_notifications: []}".to_owned(), "+ all at 3m30s: firing, first: {alertname=\"Slow\""),
        ("{eval_time: 4m, alertname: Slow, exp_notifications: [{receiver: other}]}".to_owned(), "- other at any: any, any: any"),
        ("{eval_time: 4m, alertname: Slow, exp_notifications: [{receiver: all, reason: repeat}]}".to_owned(), "any, repeat"),
        ("{eval_time: 4m, alertname: Slow, exp_notifications: [{receiver: all, exp_alerts: []}]}".to_owned(), "got:"),
    ] {
        let report = own(&format!("  - {case}\n"));
        let failures = failures(&report);
        assert_eq!((report.passed, failures.len()), (0, 1), "{case}");
        assert!(failures[0].contains(want), "{want}\n{}", failures[0]);
    }
}

#[test]
fn tests_are_chosen_by_name_and_reported_as_junit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tests.yaml");
    let case = "promql_expr_test: [{expr: '1', exp_samples: [{value: 1}]}]";
    let wrong = "promql_expr_test: [{expr: '1', exp_samples: [{value: 2}]}]";
    let tests = format!(
        "rule_files: [none.yaml]\ntests: [{{name: one, {case}}}, {{name: two<, {wrong}}}, {{{case}}}]\n"
    );
    fs::write(&path, tests).unwrap();
    let report = one_file(&path, Some(&Regex::new("on|nothing").unwrap()), false);
    assert_eq!((report.passed, report.tests.len()), (1, 1));
    let report = one_file(&path, None, false);
    assert_eq!((report.passed, failures(&report).len(), report.warnings.len()), (2, 1, 1));
    let xml = junit::xml(&[("a.yaml".to_owned(), report)]);
    for want in [
        "<testsuite name=\"a.yaml\" tests=\"3\" failures=\"1\" errors=\"0\">",
        "<testcase name=\"&quot;two&lt;&quot;\">\n      <failure message=\"expression",
    ] {
        assert!(xml.contains(want), "{want}\n{xml}");
    }
}
