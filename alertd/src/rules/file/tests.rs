//! Rule files as Prometheus takes or refuses them.

use super::*;

fn errors(text: &str) -> String {
    parse(Path::new("r.yaml"), text).unwrap_err().to_string()
}

#[test]
fn a_file_with_everything() {
    let text = r#"
groups:
  - name: g
    interval: 30s
    query_offset: 10s
    limit: 5
    labels: {team: infra, severity: low}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {source: rules}
      - alert: Down
        expr: |
          up == 0
        for: 0
        keep_firing_for: 1h30m
        labels: {severity: "{{ $labels.job }}", level: 1, on: true}
        annotations:
          summary: "{{ $labels.instance }} is down"
          "number": 5
  - name: empty
  - name: none
    rules:
"#;
    let groups = parse(Path::new("r.yaml"), text).unwrap();
    assert_eq!(groups.len(), 3);
    let group = &groups[0];
    assert_eq!((group.file.as_str(), group.name.as_str(), group.limit), ("r.yaml", "g", 5));
    assert_eq!(group.interval, Some(Duration::from_secs(30)));
    assert_eq!(group.query_offset, Some(Duration::from_secs(10)));
    let [record, alert] = &group.rules[..] else { panic!() };
    assert_eq!((record.name.as_str(), record.query.as_str()), ("job:up:sum", "sum by (job) (up)"));
    assert!(record.alerting().is_none());
    assert_eq!(record.labels["team"].text(), "infra");
    let spec = alert.alerting().unwrap();
    assert_eq!((alert.name.as_str(), alert.query.as_str()), ("Down", "up == 0"));
    assert_eq!((spec.hold, spec.keep_firing_for), (Duration::ZERO, Duration::from_secs(5400)));
    // The rule's own label wins over its group's; plain scalars are texts.
    assert_eq!(alert.labels["severity"].text(), "{{ $labels.job }}");
    assert_eq!((alert.labels["level"].text(), alert.labels["on"].text()), ("1", "true"));
    assert_eq!(spec.annotations["number"].text(), "5");
}

#[test]
fn an_empty_file_has_no_groups() {
    for text in ["", "# nothing\n", "groups:\n", "groups: []\n"] {
        assert!(parse(Path::new("r.yaml"), text).unwrap().is_empty(), "{text:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let rule = |body: &str| format!("groups:\n- name: g\n  rules:\n{body}");
    for (text, wants) in [
        (
            rule("  - alert: A\n    expr: up\n    fro: 5m\n"),
            vec!["r.yaml", "line 6", "`fro`", "did you mean `for`"],
        ),
        (
            rule("  - alert: A\n    expr: up ==\n"),
            vec!["r.yaml:5:11:", "group \"g\", rule \"A\"", "expr:", "parse error"],
        ),
        (rule("  - alert: A\n"), vec!["r.yaml", "expr"]),
        (
            rule("  - alert: A\n    expr: ''\n"),
            vec!["r.yaml:5:", "expected an expression, found none"],
        ),
        (rule("  - expr: up\n"), vec!["expected one of record and alert, found neither"]),
        (rule("  - alert: A\n    record: b\n    expr: up\n"), vec!["found both"]),
        (rule("  - alert: ''\n    expr: up\n"), vec!["r.yaml:4:", "alert: expected a name"]),
        (
            rule("  - record: 'a{b=\"c\"}'\n    expr: up\n"),
            vec!["r.yaml:4:", "expected a metric name"],
        ),
        (rule("  - record: a\n    expr: up\n    for: 5m\n"), vec!["for: only an alerting rule"]),
        (
            rule("  - record: a\n    expr: up\n    keep_firing_for: 5m\n"),
            vec!["keep_firing_for: only"],
        ),
        (rule("  - record: a\n    expr: up\n    annotations: {a: b}\n"), vec!["annotations: only"]),
        (
            rule("  - alert: A\n    expr: up\n    labels: {a-b: c}\n"),
            vec!["r.yaml:6:", "labels: \"a-b\" cannot"],
        ),
        (
            rule("  - alert: A\n    expr: up\n    labels: {__name__: c}\n"),
            vec!["\"__name__\" cannot"],
        ),
        (
            rule("  - alert: A\n    expr: up\n    annotations:\n      a: '{{ nope }}'\n"),
            vec!["r.yaml:7:10:", "annotations.a: template: line 1: function \"nope\""],
        ),
        (
            rule("  - alert: A\n    expr: up\n    labels: {a: '{{ end }}'}\n"),
            vec!["labels.a: template"],
        ),
        (
            rule("  - alert: A\n    expr: up\n    for: soon\n"),
            vec!["r.yaml", "expected a duration"],
        ),
        (
            rule("  - alert: A\n    expr: up\n    labels: {a: b, a: c}\n"),
            vec!["r.yaml", "duplicate"],
        ),
        ("groups:\n- name: g\n- name: g\n".to_owned(), vec!["r.yaml:3:9: group \"g\"", "unique"]),
        ("groups:\n- name: ''\n".to_owned(), vec!["r.yaml:2:", "expected a name"]),
        (
            "groups:\n- name: g\n  interval: 0s\n".to_owned(),
            vec!["interval: expected more than 0s"],
        ),
        ("groups:\n- name: g\n  limit: -1\n".to_owned(), vec!["r.yaml", "line 3"]),
        (
            rule(
                "  - alert: A\n    expr: up\n    annotations: {pitcrew_keep_firing_while: up >}\n",
            ),
            vec!["r.yaml:6:46:", "annotations.pitcrew_keep_firing_while: ", "parse error"],
        ),
        ("group: []\n".to_owned(), vec!["`group`", "did you mean `groups`"]),
    ] {
        let error = errors(&text);
        for want in wants {
            assert!(error.contains(want), "{text}: {error}");
        }
    }
    // Every fault of a file is told, not only the first.
    let both = rule("  - alert: A\n    expr: up ==\n  - alert: B\n    expr: sum(\n");
    assert_eq!(errors(&both).lines().count(), 2);
}

#[test]
fn files_by_pattern() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", "groups: [{name: a}]");
    write("b.yaml", "groups: [{name: a}]");
    let all = load(&[folder.path().join("*.yaml"), folder.path().join("a.yaml")]).unwrap();
    assert_eq!(all.len(), 2);
    for (pattern, want) in [("*.yml", "no file matches"), ("none.yaml", "cannot read")] {
        let error = load(&[folder.path().join(pattern)]).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(pattern), "{error}");
    }
}

#[test]
fn repeated_rules_are_found() {
    let text = "groups:\n- name: g\n  rules:\n  - {record: a, expr: x, labels: {l: '1'}}\n  \
        - {record: a, expr: y, labels: {l: '1'}}\n  - {record: a, expr: y, labels: {l: '2'}}\n  \
        - {alert: a, expr: y, labels: {l: '1'}}\n";
    let groups = parse(Path::new("r.yaml"), text).unwrap();
    assert_eq!(groups[0].repeated().count(), 1);
}
