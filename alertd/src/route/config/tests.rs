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
            vec!["route.routes[0].receiver", "\"b\"", "receivers (a"],
        ),
        (
            "route: { receiver: a, routes: [ { matchers: ['x=~('] } ] }\n".to_owned() + receivers,
            vec!["route.routes[0].matchers", "regular expression"],
        ),
        (
            format!(
                "{both}time_intervals: [ {{ name: x }} ]\nmute_time_intervals: [ {{ name: x }} ]"
            ),
            vec!["time_intervals[0].name", "once more"],
        ),
        (format!("{both}time_intervals: [ {{ }} ]"), vec!["time_intervals[0].name", "none"]),
        (
            "route: { receiver: a, mute_time_intervals: [x] }\n".to_owned() + receivers,
            vec!["route.mute_time_intervals", "root"],
        ),
        (
            "route: { receiver: a, routes: [ { active_time_intervals: [offfice] } ] }\n".to_owned()
                + receivers
                + "time_intervals: [ { name: office } ]",
            vec!["route.routes[0].active_time_intervals", "did you mean \"office\"?"],
        ),
        (
            format!("{route}receivers: [ {{ name: a, opsgenie_configs: [ {{ }} ] }} ]"),
            vec!["receivers[0].opsgenie_configs", "not supported"],
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
            format!("{both}inhibit_rules: [ {{ equal: [1x] }} ]"),
            vec!["inhibit_rules[0].equal", "names of labels"],
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
    let error = load(&file).unwrap().check_files(&file).unwrap_err().to_string();
    assert!(error.contains("hook") && error.contains("receivers[a]"), "{error}");
}

#[test]
fn every_key_of_every_kind_that_is_sent_to() {
    let text = r##"
global:
  smtp_smarthost: '[::1]:submission'
  smtp_from: p@x.test
  smtp_auth_username: u
  smtp_auth_password: hunter2
  smtp_auth_identity: i
  smtp_require_tls: false
  smtp_tls_config: { insecure_skip_verify: true }
  http_config: { proxy_url: 'http://proxy:3128/', tls_config: { server_name: s } }
  pagerduty_url: http://pager.test/v2
  opsgenie_api_key: of no consequence
inhibit_rules:
templates:
route: { receiver: a, routes: }
receivers:
- name: a
  discord_configs:
  - { webhook_url: 'http://d/hunter2', title: t, message: m, content: c, username: u, avatar_url: 'http://i/' }
  pagerduty_configs:
  - routing_key: hunter2
    http_config: { bearer_token: hunter2 }
    client: c
    client_url: 'http://c/'
    description: d
    severity: '{{ .CommonLabels.severity }}'
    class: x
    component: y
    group: z
    details: { firing: f }
    images: [ { src: s, alt: a, href: h } ]
    links: [ { href: h, text: t } ]
  - { service_key_file: key, url: 'https://other.test/' }
  webhook_configs:
  - { url_file: url, max_alerts: 3, timeout: 5s, send_resolved: false }
  slack_configs:
  - api_url: http://s/hunter2
    channel: '#{{ .GroupLabels.team }}'
    color: good
    title_link: l
    pretext: p
    fields: [ { title: t, value: v, short: true } ]
    short_fields: true
    footer: f
    fallback: b
    callback_id: i
    image_url: u
    thumb_url: t
    link_names: true
    mrkdwn_in: [text]
    actions:
    - { type: button, text: Look, url: 'http://x/', style: primary, name: gone }
    - { type: button, text: Do, name: n, value: v, confirm: { text: sure?, title: t, ok_text: y, dismiss_text: n } }
  email_configs:
  - to: '{{ .CommonLabels.owner }}@x.test'
    headers: { reply-to: r@x.test, X-Team: ci }
    html: <b>
    text: t
    tls_config: { ca_file: ca.pem }
- name: b
"##;
    let config = read(text).unwrap();
    let a = &config.receivers[0];
    assert_eq!(
        (a.slack[0].actions[0].name.as_str(), a.slack[0].actions[1].name.as_str()),
        ("", "n")
    );
    assert_eq!(
        (a.pagerduty[0].url.as_str(), a.pagerduty[0].source.as_deref()),
        ("http://pager.test/v2", Some("c"))
    );
    assert_eq!((a.email[0].host.as_str(), a.email[0].port), ("::1", 587));
    assert!(a.email[0].headers.contains_key("Reply-To"));
    assert_eq!(a.email[0].tls.ca_file.as_deref(), Some(Path::new("etc/ca.pem")));
    assert!(a.slack[0].http.proxy.url.is_some() && a.pagerduty[0].http.proxy.url.is_none());
    assert_eq!(a.secret_files(), [Path::new("etc/url"), Path::new("etc/key")]);
    assert_eq!(config.receivers[1].integrations(), []);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn receivers_of_alertd_yaml_join_those_of_the_same_name() {
    let join = |text: &str| {
        let additions: Vec<ReceiverConfig> =
            yaml::parse(Path::new("alertd.yaml"), text).map_err(|error| error.to_string())?;
        let joined = read(GOOD).unwrap().join(Path::new("alertd.yaml"), &additions);
        joined.map_err(|error| error.to_string())
    };
    let joined = join(
        "- { name: team, slack_bot: { token: xoxb-hunter2, channel: ci }, github_issue: { repository: a/b } }
- { name: pager, webhook_signature: { secret: hunter2 }, digest: { at: '07:30', email: { to: a@x.test } } }",
    )
    .unwrap();
    let keys: Vec<_> = joined.integrations().into_iter().map(|i| i.key).collect();
    assert_eq!(
        keys,
        [
            "team/slack[0]",
            "team/email[0]",
            "team/slack_bot[0]",
            "team/github_issue[0]",
            // A digest is told of nothing: it looks for itself.
            "pager/webhook[0]"
        ]
    );
    assert!(joined.receivers[1].webhook[0].signature.is_some());
    assert_eq!(joined.receivers[1].additions.digest.as_ref().unwrap().minute, 450);
    for (text, want) in [
        (
            "- { name: temm }",
            "receivers[0].name: expected one of the receivers (team, pager; did you mean \"team\"?), found \"temm\"",
        ),
        ("- { name: team }\n- { name: team }", "receivers[1].name: expected a name of its own"),
        ("- { name: team, slackbot: {} }", "did you mean `slack_bot`?"),
        ("- { name: team, webhook_signature: { secret: x } }", "none to sign"),
        ("- { name: team, github_issue: { repository: ../x } }", "expected owner/name"),
        ("- { name: team, digest: { at: '08:00' } }", "email, slack or both"),
        (
            "- { name: team, digest: { timezone: Mars/Base, email: { to: a@x.test } } }",
            "expected a time zone such as Europe/Berlin, found Mars/Base",
        ),
        (
            "- { name: team, alertmanager: { urls: ['http://a'], lease: 1m } }",
            "lease: expected at least 5m",
        ),
        ("- { name: team, digest: { at: '24:00', email: { to: a@x.test } } }", "a time of day"),
        (
            "- { name: team, heartbeat: { } }",
            "heartbeat.url: expected one of url and url_file, found neither",
        ),
    ] {
        let error = join(text).unwrap_err();
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn a_route_is_silent_by_its_time_intervals() {
    let text = "
route:
  receiver: a
  routes:
  - { matchers: [m=m], mute_time_intervals: [twenty, noon] }
  - { matchers: [m=a], active_time_intervals: [twenty, noon] }
  - { matchers: [m=b], active_time_intervals: [twenty], mute_time_intervals: [noon], routes: [ { matchers: [c=c] } ] }
receivers: [ { name: a } ]
time_intervals: [ { name: twenty, time_intervals: [ { years: ['1970:1979'] }, { years: ['2020:2029'] } ] } ]
mute_time_intervals: [ { name: noon, time_intervals: [ { times: [ { start_time: '12:00', end_time: '13:00' } ] } ] } ]";
    let config = read(text).unwrap();
    // The first of January.
    let noon_of =
        |year| Timestamp(if year == 2024 { 1_704_110_400_000 } else { 1_956_571_200_000 });
    let day = |at: Timestamp| Timestamp(at.0 - 6 * 3_600_000);
    for (route, at, want) in [
        (0, noon_of(2024), vec![]),
        (1, noon_of(2024), vec!["twenty", "noon"]),
        (1, day(noon_of(2024)), vec!["twenty"]),
        (1, day(noon_of(2032)), vec![]),
        (2, noon_of(2024), vec![]),
        (2, noon_of(2032), vec![]),
        (2, day(noon_of(2032)), vec!["twenty", "noon"]),
        (3, noon_of(2024), vec!["noon"]),
        (3, day(noon_of(2024)), vec![]),
        (3, noon_of(2032), vec!["twenty"]),
        (4, noon_of(2032), vec![]),
    ] {
        let route = &config.tree.routes[route];
        assert_eq!(config.time_muted_by(route, at), want, "{} at {at:?}", route.key);
    }
}

#[test]
fn without_a_file_severity_decides() {
    let bundled = |text: &str| {
        let receivers: Vec<ReceiverConfig> = yaml::parse(Path::new("alertd.yaml"), text).unwrap();
        Notifications::bundled(Path::new("alertd.yaml"), &receivers).map_err(|e| e.to_string())
    };
    let team = "- { name: team, slack_configs: [ { api_url: 'http://s/' } ], heartbeat: { url: 'http://h/' } }";
    let config = bundled(team).unwrap();
    let keys: Vec<_> = config.integrations().into_iter().map(|i| i.key).collect();
    assert_eq!(keys, ["team/heartbeat/heartbeat[0]", "team/slack[0]"]);
    let receivers = |name: &str, severity: &str| {
        let labels = [("alertname", name), ("severity", severity)];
        let labels = crate::model::labels::Labels::from_pairs(labels);
        let routes = config.tree.matching(&labels).into_iter();
        routes.map(|at| config.tree.routes[at].receiver.clone()).collect::<Vec<_>>()
    };
    assert_eq!(receivers("Watchdog", "none"), ["team/heartbeat"]);
    assert_eq!(receivers("A", "critical"), ["team"]);
    assert_eq!(receivers("A", "info"), ["nobody"]);
    assert_eq!(bundled("[]").unwrap().integrations(), []);
    assert!(bundled("- { name: nobody }").unwrap_err().contains("receivers[0].name"));
    assert!(bundled("[ { name: a }, { name: a } ]").unwrap_err().contains("once more"));
}

#[test]
fn template_files_lie_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("am.yaml");
    std::fs::write(folder.path().join("a.tmpl"), "{{ define \"a\" }}{{ end }}").unwrap();
    let text =
        "route: { receiver: a }\nreceivers: [ { name: a } ]\ntemplates: ['*.tmpl', nowhere/*]";
    assert!(parse(&file, text).is_ok());
    std::fs::write(folder.path().join("b.tmpl"), "{{ define \"a\" }}\n{{ if }}{{ end }}").unwrap();
    let error = parse(&file, text).unwrap_err().to_string();
    assert!(error.contains("b.tmpl: line "), "{error}");
}
