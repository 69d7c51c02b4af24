//! What is read from Alertmanager's file, and what is refused with which words.

use super::*;

fn read(text: &str) -> Result<Notifications, String> {
    parse(Path::new("etc/am.yaml"), text).map_err(|error| error.to_string())
}

const GOOD: &str = r##"
global: { resolve_timeout: 1m, slack_api_url: "http://slack.test/T/B/hunter2", smtp_smarthost: "mail:587", smtp_from: "Pit Crew <p@x.test>" }
route:
  receiver: team
  group_by: [alertname, job]
  group_wait: 10s
  routes:
    - matchers: [severity="page", 'team=~"ci|sre"']
      receiver: pager
      continue: true
      group_by: ['...']
    - match: { team: ci }
      match_re: { job: "a|b" }
      repeat_interval: 1h
receivers:
  - name: team
    slack_configs: [ { channel: "#ci", send_resolved: true } ]
    email_configs: [ { to: "a@x.test, b@x.test" } ]
  - name: pager
    webhook_configs: [ { url: "http://127.0.0.1:1/", max_alerts: 5 } ]
inhibit_rules:
  - source_matchers: [severity=page]
    target_match: { severity: warning }
    equal: [instance]
"##;

#[test]
fn reads_alertmanagers_file() {
    let config = read(GOOD).unwrap();
    let shown: Vec<_> = config
        .tree
        .routes
        .iter()
        .map(|route| {
            let timing = route.timing;
            (
                route.key.as_str(),
                route.receiver.as_str(),
                timing.group_wait.as_secs(),
                timing.repeat_interval.as_secs(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("{}", "team", 10, 14_400),
            (r#"{}/{severity="page",team=~"ci|sre"}"#, "pager", 10, 14_400),
            (r#"{}/{job=~"a|b",team="ci"}"#, "team", 10, 3600),
        ]
    );
    assert_eq!(config.tree.routes[1].group_by, GroupBy::All);
    assert_eq!(config.resolve_timeout, Duration::from_secs(60));
    let keys: Vec<_> =
        config.integrations().into_iter().map(|i| (i.key, i.send_resolved)).collect();
    let want = [("team/slack[0]", true), ("team/email[0]", false), ("pager/webhook[0]", true)];
    assert_eq!(keys, want.map(|(key, all)| (key.to_owned(), all)));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_is_wrong_is_named() {
    let route = "route: { receiver: a }\n";
    let receivers = "receivers: [ { name: a } ]\n";
    let both = format!("{route}{receivers}");
    for (text, want) in [
        (receivers.to_owned(), vec!["am.yaml: route: expected a root route"]),
        (route.to_owned(), vec!["route.receiver", "\"a\""]),
        (format!("{both}recievers: []"), vec!["recievers", "line", "did you mean `receivers`"]),
        (
            "route: { receiver: a, matchers: [x=y] }\n".to_owned() + receivers,
            vec!["route.matchers"],
        ),
        ("route: { receiver: a, continue: true }\n".to_owned() + receivers, vec!["route.continue"]),
        (
            "route: { receiver: a, group_by: [x, x] }\n".to_owned() + receivers,
            vec!["group_by", "twice"],
        ),
        (
            "route: { receiver: a, group_by: [x, ...] }\n".to_owned() + receivers,
            vec!["group_by", "alone"],
        ),
        (
            "route: { receiver: a, group_interval: 0s }\n".to_owned() + receivers,
            vec!["group_interval"],
        ),
        (
            "route: { receiver: a, routes: [ { receiver: b } ] }\n".to_owned() + receivers,
            vec!["route.routes[0].receiver", "\"b\"", "(a)"],
        ),
        (
            "route: { receiver: a, routes: [ { matchers: ['x=~('] } ] }\n".to_owned() + receivers,
            vec!["route.routes[0].matchers", "regular expression"],
        ),
        (format!("{both}templates: [x.tmpl]"), vec!["templates", "not supported yet"]),
        (
            format!("{both}time_intervals: [ {{ name: x }} ]"),
            vec!["time_intervals", "not supported yet"],
        ),
        (
            "route: { receiver: a, mute_time_intervals: [x] }\n".to_owned() + receivers,
            vec!["route.mute_time_intervals", "not supported yet"],
        ),
        (
            format!("{route}receivers: [ {{ name: a, pagerduty_configs: [] }} ]"),
            vec!["receivers[0].pagerduty_configs", "not supported yet"],
        ),
        (format!("{route}receivers: [ {{ name: a }}, {{ name: a }} ]"), vec!["receivers[1].name"]),
        (
            format!("{route}receivers: [ {{ name: a, slack_configs: [ {{ }} ] }} ]"),
            vec!["receivers[0].slack_configs[0].api_url", "neither"],
        ),
        (
            format!(
                "{route}receivers: [ {{ name: a, webhook_configs: [ {{ url: 'ftp://hunter2' }} ] }} ]"
            ),
            vec!["receivers[0].webhook_configs[0].url", "another scheme"],
        ),
        (
            format!("{route}receivers: [ {{ name: a, email_configs: [ {{ to: x }} ] }} ]"),
            vec!["receivers[0].email_configs[0].smarthost"],
        ),
        (
            format!(
                "{route}receivers: [ {{ name: a, email_configs: [ {{ to: a@x.test, from: b@x.test, \
                 smarthost: 'mail.x.test:25', auth_username: u, auth_password: hunter2, \
                 require_tls: false }} ] }} ]"
            ),
            vec!["require_tls", "TLS"],
        ),
        (
            format!("{both}inhibit_rules: [ {{ equal: [x] }} ]"),
            vec!["inhibit_rules[0].source_matchers"],
        ),
        (
            format!(
                "{route}receivers: [ {{ name: a, slack_configs: [ {{ api_url: 'http://x/', title: '{{{{ .X }}}}' }} ] }} ]"
            ),
            vec!["slack_configs[0].title", "not supported yet"],
        ),
    ] {
        let error = read(&text).expect_err(&text);
        for part in want {
            assert!(error.contains(part), "{text}\n{error}\nlacks {part}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn secret_files_lie_beside_the_file_and_are_read_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("am.yaml");
    let text = "route: { receiver: a }\nreceivers: [ { name: a, slack_configs: [ { api_url_file: hook } ] } ]";
    std::fs::write(&file, text).unwrap();
    assert!(load(&file).is_ok());
    let error = check(&file).unwrap_err().to_string();
    assert!(error.contains("hook") && error.contains("receivers[a]"), "{error}");
}
