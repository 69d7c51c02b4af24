//! The bundled rules as Debian's promtool and Pitcrew see them, and the page of each alert.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    let loaded = rules::file::load(&[workspace().join("rules/*.yaml")]).unwrap();
    let mut alerts = BTreeSet::new();
    for rule in loaded.iter().flat_map(|group| &group.rules) {
        let Some(alerting) = rule.alerting() else { continue };
        alerts.insert(rule.name.clone());
        for annotation in ["summary", "description", "runbook_url"] {
            assert!(alerting.annotations.contains_key(annotation), "{}: {annotation}", rule.name);
        }
        let url = alerting.annotations["runbook_url"].text();
        assert!(url.ends_with(&format!("/{}.md", rule.name)), "{}: {url}", rule.name);
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
