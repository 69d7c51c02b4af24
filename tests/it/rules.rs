//! The bundled rules as Debian's promtool and Pitcrew see them, and the page of each alert.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitcrew_alertd::rules::config::RulesConfig;
use pitcrew_alertd::rules::template::Template;
use pitcrew_alertd::{rules, runbooks};
use pitcrew_tests::peers::promtool;
use pitcrew_tests::programs::{alertd, workspace};
use tokio::process::Command;

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {folder}");
    files
}

/// Exit code and everything that was printed.
async fn run(program: &Path, verbs: [&str; 2], files: &[PathBuf]) -> (Option<i32>, String) {
    let output = Command::new(program).args(verbs).args(files).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The two numbers of the closing line `N passed, N failed`.
fn counts(text: &str) -> (usize, usize) {
    let line = text.lines().last().unwrap_or("");
    let mut parts = line.split(' ');
    let passed = parts.next().and_then(|number| number.parse().ok());
    let failed = parts.nth(1).and_then(|number| number.parse().ok());
    passed.zip(failed).unwrap_or_else(|| panic!("no counts in {text}"))
}

#[tokio::test]
async fn both_find_the_rules_right() {
    let files = files("rules", "yaml");
    let (code, text) = run(&promtool(), ["check", "rules"], &files).await;
    assert_eq!((code, text.matches("SUCCESS").count()), (Some(0), files.len()), "{text}");
    let (code, text) = run(&alertd(), ["check", "rules"], &files).await;
    assert_eq!((code, text.matches(": ok: ").count()), (Some(0), files.len()), "{text}");
}

#[tokio::test]
async fn unit_tests_pass_under_both() {
    let files = files("tests/rules", "yaml");
    let (code, text) = run(&promtool(), ["test", "rules"], &files).await;
    assert_eq!((code, text.matches("SUCCESS").count()), (Some(0), files.len()), "{text}");
    let (code, text) = run(&alertd(), ["test", "rules"], &files).await;
    let (passed, failed) = counts(&text);
    assert_eq!((code, failed), (Some(0), 0), "{text}");
    assert!(passed >= 25, "only {passed} cases");
}

/// Each unit-test file with its rules changed so that something must fail: both see it.
#[tokio::test]
async fn unit_tests_fail_under_both_when_the_rules_are_wrong() {
    for (file, of, from, to) in [
        ("host.yaml", "host.yaml", "> 85", "> 86"),
        ("host.yaml", "host.yaml", "> 85", "> 84"),
        ("host.yaml", "host.yaml", "for: 5m", "for: 6m"),
        ("host.yaml", "host.yaml", "for: 5m", "for: 4m"),
        ("runner.yaml", "runner.yaml", "for: 2m", "for: 1m30s"),
        ("runner.yaml", "runner.yaml", "for: 2m", "for: 2m30s"),
        ("runner.yaml", "runner.yaml", "runner_health == 0 or ", ""),
        ("runner.yaml", "runner.yaml", "{job=~\"pitcrew-exporter|runner.*\"}", ""),
        ("degradation.yaml", "runner.yaml", "> 2 *", "> 2.02 *"),
        ("degradation.yaml", "runner.yaml", "> 2 *", "> 1.98 *"),
        ("degradation.yaml", "runner.yaml", ">= 20", ">= 19"),
        ("degradation.yaml", "runner.yaml", ">= 20", "> 22"),
        ("alertd.yaml", "alertd.yaml", "vector(1)", "vector(1) > 1"),
        ("queue.yaml", "queue.yaml", "queue_present == 0 or ", ""),
        ("queue.yaml", "queue.yaml", "> 300", "> 360"),
        ("queue.yaml", "queue.yaml", "> 100\n", "> 90\n"),
        ("queue.yaml", "queue.yaml", "> 2 *", "> 2.2 *"),
        ("queue.yaml", "queue.yaml", "> 3600", "> 3000"),
        ("queue.yaml", "queue.yaml", "{state=\"dead\"}", ""),
        ("queue.yaml", "queue.yaml", ">= 5", ">= 4"),
        ("workflows.yaml", "workflows.yaml", "> 2 *", "> 2.2 *"),
        ("workflows.yaml", "workflows.yaml", "> 2 *", "> 1.8 *"),
        (
            "workflows.yaml",
            "workflows.yaml",
            "          > repository_workflow:github_workflow_job_duration_seconds:p95_7d offset 1h\n",
            "",
        ),
        ("workflows.yaml", "workflows.yaml", ">= 20", ">= 19"),
        ("workflows.yaml", "workflows.yaml", "[30m])) >= 3", "[30m])) >= 2"),
        ("workflows.yaml", "workflows.yaml", "for: 10m", "for: 9m"),
        ("workflows.yaml", "workflows.yaml", "no_runner|offline", "no_runner|offline|gate"),
        ("workflows.yaml", "workflows.yaml", "> 300", "> 360"),
        ("workflows.yaml", "workflows.yaml", "> 300", ">= 300"),
        ("workflows.yaml", "workflows.yaml", "all_busy|", "all_busy|suspected_zombie|"),
        ("workflows.yaml", "workflows.yaml", "} >= 3", "} >= 4"),
        ("workflows.yaml", "workflows.yaml", "> 0 < 3", "> 0 < 4"),
        ("workflows.yaml", "workflows.yaml", "default|release", "default|release|other"),
        ("workflows.yaml", "workflows.yaml", "> 6 * 3600", "> 7 * 3600"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let rules = fs::read_to_string(workspace().join("rules").join(of)).unwrap();
        assert!(rules.contains(from), "{of} has no {from:?}");
        fs::create_dir_all(folder.path().join("rules")).unwrap();
        fs::create_dir_all(folder.path().join("tests/rules")).unwrap();
        fs::write(folder.path().join("rules").join(of), rules.replace(from, to)).unwrap();
        let test = folder.path().join("tests/rules").join(file);
        fs::copy(workspace().join("tests/rules").join(file), &test).unwrap();
        for program in [promtool(), alertd()] {
            let (code, text) = run(&program, ["test", "rules"], std::slice::from_ref(&test)).await;
            assert_eq!(code, Some(1), "{of}, {from} -> {to}: {text}");
        }
    }
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let mut loaded = rules::file::load(&[workspace().join("rules/*.yaml")]).unwrap();
    loaded.push(rules::own::group(&RulesConfig::default(), Duration::ZERO).unwrap());
    let mut alerts = BTreeSet::new();
    for rule in loaded.iter().flat_map(|group| &group.rules) {
        let Some(alerting) = rule.alerting() else { continue };
        alerts.insert(rule.name.clone());
        for annotation in ["summary", "description", "runbook_url"] {
            assert!(alerting.annotations.contains_key(annotation), "{}: {annotation}", rule.name);
        }
        let url = alerting.annotations["runbook_url"].text();
        assert!(url.ends_with(&format!("/{}.md", rule.name)), "{}: {url}", rule.name);
        // It has the labels of the alert that it is about.
        if rule.name == "AlertFlapping" {
            continue;
        }
        let severity = rule.labels.get("severity").map(Template::text);
        assert!(
            severity.is_some_and(|text| ["critical", "warning", "none"].contains(&text)),
            "{}: {severity:?}",
            rule.name
        );
    }
    let pages = files("runbooks", "md");
    let named: BTreeSet<String> =
        pages.iter().map(|page| page.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(named, alerts);
    let inside: BTreeSet<String> =
        runbooks::PAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(inside, alerts);
    let headings = [
        "What it means",
        "Impact",
        "Diagnose",
        "What Pitcrew does itself",
        "Fix",
        "Verify",
        "Silence",
    ];
    for (name, page) in runbooks::PAGES {
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        let have: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(have, headings, "{name}");
    }
}

#[test]
fn the_program_holds_all_rules() {
    let names = |groups: Vec<rules::file::GroupSpec>| {
        let rules = groups.into_iter().flat_map(|group| group.rules);
        rules.map(|rule| (rule.name, rule.query)).collect::<Vec<_>>()
    };
    let files = rules::file::load(&[workspace().join("rules/*.yaml")]).unwrap();
    assert_eq!(names(rules::bundled().unwrap()), names(files));
}

const SLOW: &str = "
groups:
- name: second
  rules:
  - alert: Slow
    expr: job:x:sum > 3
    for: 2m
    labels: {severity: page, empty: ''}
    annotations: {summary: '{{ $labels.job }} has {{ $value }} at {{ $externalLabels.site }}', none: ''}
- name: first
  interval: 5m
  rules:
  - record: job:x:sum
    expr: sum by (job) (x)
";

/// Unit-test files, each with whether Debian's promtool finds it right: Pitcrew agrees on every one.
#[tokio::test]
async fn unit_tests_have_the_same_verdict_under_both() {
    let head = "rule_files: [rules.yaml]\ngroup_eval_order: [first, second]\ntests:\n- interval: 1m\n  \
        external_labels: {site: north}\n  input_series: [{series: 'x{job=\"a\",i=\"1\"}', values: 1+1x10}]\n";
    let alert = |expected: &str| {
        format!(
            "{head}  alert_rule_test: [{{eval_time: 6m, alertname: Slow, exp_alerts: [{expected}]}}]\n"
        )
    };
    let expr = |case: &str| format!("{head}  promql_expr_test: [{{{case}}}]\n");
    let labels = "labels: '{job=\"a\",i=\"1\"}'";
    let good = "{exp_labels: {job: a, severity: page}, exp_annotations: {summary: a has 7 at north, none: ''}}";
    let cases = [
        (alert(good), true),
        (alert(""), false),
        (alert(&format!("{good}, {good}")), false),
        (alert("{exp_labels: {job: a, severity: page, empty: ''}, exp_annotations: {summary: a has 7 at north, none: ''}}"), false),
        (alert("{exp_labels: {job: a, severity: page}, exp_annotations: {summary: a has 7 at north}}"), false),
        (format!("{head}  alert_rule_test: [{{eval_time: 4m, alertname: Slow}}]\n"), true),
        (format!("{head}  alert_rule_test: [{{eval_time: 5m, alertname: Slow}}]\n"), false),
        (format!("{head}  alert_rule_test: [{{eval_time: 6m}}]\n"), false),
        (format!("{head}  alert_rule_test: [{{eval_time: 6m, alertname: Other}}]\n"), true),
        (expr("expr: x, eval_time: 1m"), false),
        (expr("expr: nope, eval_time: 1m"), true),
        (expr("expr: 'x[5m]', eval_time: 1m"), false),
        (expr("expr: '\"a\"', eval_time: 1m"), false),
        (expr("expr: 'x * -0', eval_time: 1m, exp_samples: [{value: 0, LABELS}]").replace("LABELS", labels), true),
        (expr("expr: 'x * Inf', eval_time: 1m, exp_samples: [{value: .inf, LABELS}]").replace("LABELS", labels), true),
        (expr("expr: sum(x), eval_time: 1m, exp_samples: [{value: 2}]"), true),
        (expr("expr: sum(x), eval_time: 1m, exp_samples: [{value: 2e0, labels: '{}'}]"), true),
        (expr("expr: sum(x), exp_samples: [{value: 1}]"), true),
        (expr("expr: sum(x), eval_time: 0, exp_samples: [{value: 1}]"), true),
        (expr("expr: sum(x), eval_time: 60, exp_samples: [{value: 2}]"), false),
        (expr("expr: sum(x), eval_time: -1m"), false),
        (expr("expr: x, eval_time: 1m, exp_samples: [{value: 2, labels: '{__name__=\"x\",job=\"a\",i=\"1\"}'}]"), true),
        (expr("expr: 'count(ALERTS)', eval_time: 4m, exp_samples: [{value: 1}]"), true),
        (expr("expr: 'x ==='"), false),
        (format!("{head}  nonsense: 1\n"), false),
        (format!("{head}  external_url: http://a/b\n"), true),
        ("rule_files: [none.yaml]\ntests: []\n".to_owned(), true),
        ("rule_files: ['*.none']\n".to_owned(), true),
        ("rule_files: [rules.yaml, 'rul*.yaml']\ntests: [{interval: 1m}]\n".to_owned(), true),
        ("group_eval_order: [a, a]\n".to_owned(), false),
        ("group_eval_order: [nope]\n".to_owned(), true),
        (String::new(), true),
        ("rule_files: [bad]\ntests: [{interval: 1m}]\n".to_owned(), false),
        ("tests: [{interval: 1m, input_series: [{series: x, values: 1 foo}]}]\n".to_owned(), false),
        ("tests: [{interval: 1m, input_series: [{series: 'x{a!=\"b\"}', values: 1}]}]\n".to_owned(), false),
        ("tests: [{interval: 1m, input_series: [{series: x, values: 1 1}, {series: x, values: 2 2}], promql_expr_test: [{expr: x, exp_samples: [{labels: x, value: 2}]}]}]\n".to_owned(), true),
        ("tests: [{interval: 1m, input_series: [{series: x, values: 1 1 stale}], promql_expr_test: [{expr: x, eval_time: 2m}, {expr: 'count_over_time(x[5m])', eval_time: 2m, exp_samples: [{value: 2}]}]}]\n".to_owned(), true),
        ("evaluation_interval: 7m\ntests: [{interval: 1m, promql_expr_test: [{expr: 'count_over_time(vector(1)[13m:])', eval_time: 14m, exp_samples: [{value: 2}]}]}]\n".to_owned(), true),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), SLOW).unwrap();
    fs::write(folder.path().join("bad"), "groups: [{name: g, rules: [{alert: A, expr: x ===}]}]")
        .unwrap();
    for (at, (text, passes)) in cases.iter().enumerate() {
        let path = folder.path().join(format!("test-{at}.yml"));
        fs::write(&path, text).unwrap();
        for program in [promtool(), alertd()] {
            let files = std::slice::from_ref(&path);
            let (code, said) = run(&program, ["test", "rules"], files).await;
            let want = if *passes { Some(0) } else { Some(1) };
            assert_eq!(code, want, "{}: {text}\n{said}", program.display());
        }
    }
}

/// What only Pitcrew has: promtool refuses the file, and `--run` and `--junit` do as promtool's.
#[tokio::test]
async fn keys_of_our_own_are_tested_and_refused_by_promtool() {
    let file = workspace().join("tests/rules/pitcrew/life.yaml");
    let (code, text) = run(&promtool(), ["test", "rules"], std::slice::from_ref(&file)).await;
    assert_eq!(code, Some(1), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let xml = folder.path().join("out.xml");
    let chosen = ["--run", "Watchdog", "--junit", xml.to_str().unwrap(), file.to_str().unwrap()];
    let arguments: Vec<PathBuf> = chosen.iter().map(PathBuf::from).collect();
    let (code, text) = run(&alertd(), ["test", "rules"], &arguments).await;
    assert_eq!((code, text.as_str()), (Some(0), "1 passed, 0 failed\n"));
    let xml = fs::read_to_string(xml).unwrap();
    assert!(xml.contains("tests=\"1\" failures=\"0\""), "{xml}");
}
