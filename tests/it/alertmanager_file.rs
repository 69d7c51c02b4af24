//! Alertmanager's configuration file: Debian's amtool and alertd take and refuse the same ones, and
//! route the same alerts to the same receivers.

use std::path::Path;
use std::process::Command;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::route::config;
use pitcrew_tests::{peers, programs};

const BASE: &str = "route: {receiver: a}\nreceivers: [{name: a}]\n";

/// One integration of the only receiver.
fn receiver(keys: &str) -> String {
    format!("route: {{receiver: a}}\nreceivers:\n- name: a\n  {keys}\n")
}

/// The only route below the root.
fn route(keys: &str) -> String {
    format!("route: {{receiver: a, routes: [{{ {keys} }}]}}\nreceivers: [{{name: a}}]\n")
}

fn root(keys: &str) -> String {
    format!("route: {{receiver: a, {keys} }}\nreceivers: [{{name: a}}]\n")
}

fn also(keys: &str) -> String {
    format!("{BASE}{keys}\n")
}

fn interval(keys: &str) -> String {
    also(&format!("time_intervals: [{{name: x, time_intervals: [{{ {keys} }}]}}]"))
}

fn amtool_takes(file: &Path) -> bool {
    let mut amtool = program(&peers::amtool());
    amtool.arg("check-config").arg(file).output().unwrap().status.success()
}

#[expect(clippy::disallowed_methods, reason = "a short run of a program, in a test")]
fn program(path: &Path) -> Command {
    Command::new(path)
}

#[test]
fn amtool_and_alertd_take_and_refuse_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.tmpl"), "{{ define \"x\" }}{{ .Status }}{{ end }}")
        .unwrap();
    std::fs::write(folder.path().join("bad.tmpl"), "{{ define \"x\" }}{{ .Status }}").unwrap();
    std::fs::write(folder.path().join("call.tmpl"), "{{ nothing 5 }}").unwrap();
    let file = folder.path().join("am.yaml");
    let cases = [
        String::new(),
        BASE.to_owned(),
        "receivers: [{name: a}]".to_owned(),
        "route: {receiver: a}".to_owned(),
        "route: {}\nreceivers: [{name: a}]".to_owned(),
        "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]".to_owned(),
        "route: {receiver: a}\nreceivers: [{name: a}, {name: ''}]".to_owned(),
        "route: {receiver: a}\nreceivers: [{name: a}, {name: 5}]".to_owned(),
        also("foo: bar"),
        also("receivers: []"),
        also("global:\ntemplates:\ninhibit_rules:\ntime_intervals:\nmute_time_intervals:"),
        also("templates: [good.tmpl, nowhere.tmpl, '*.none']"),
        also("templates: [bad.tmpl]"),
        also("templates: ['ba*.tmpl']"),
        also("templates: [call.tmpl]"),
        // The root.
        root("continue: true"),
        root("continue: false"),
        root("matchers: [x=y]"),
        root("match: {x: y}"),
        root("match_re: {x: y}"),
        root("mute_time_intervals: [x]"),
        root("active_time_intervals: [x]"),
        root("mute_time_intervals: []"),
        root("group_by: [x, x]"),
        root("group_by: ['...', x]"),
        root("group_by: ['...']"),
        root("group_by: ['...', '...']"),
        root("group_by: ['']"),
        root("group_by: ['a-b']"),
        root("group_by: [a_b, _c, B9]"),
        root("group_by: x"),
        root("group_by: []"),
        root("group_wait: 0s"),
        root("group_wait: 5"),
        root("group_wait: 1h30"),
        root("group_wait: ''"),
        root("group_wait: -5s"),
        root("group_wait: 1h30m"),
        root("group_wait: 30m1h"),
        root("group_interval: 0s"),
        root("repeat_interval: 0s"),
        root("repeat_interval: 1d12h"),
        root("repeat_interval: 1y2w"),
        root("repeat: 1d"),
        // Other routes.
        route("receiver: b"),
        route("receiver: ''"),
        route("matchers: ['x=~(']"),
        route("matchers: [x]"),
        route("matchers: ['1x=y']"),
        route("matchers: ['x=\"y']"),
        route("matchers: ['x=y\"']"),
        route("matchers: ['{x=y,z=~\"w.*\"}']"),
        route("matchers: ['x=y', 'z!~w', 'v!=']"),
        route("matchers: ['x = \"a, b\" , y = c']"),
        route("matchers: x=y"),
        route("matchers: []"),
        route("match: {x: 5}"),
        route("match: {'a-b': c}"),
        route("match_re: {x: 'a(?!b)'}"),
        route("match_re: {x: 'a|b'}"),
        route("match_re: {'1': a}"),
        route("continue: maybe"),
        route("mute_time_intervals: [x]"),
        route("active_time_intervals: [x]"),
        route("mute_time_intervals: [x]") + "time_intervals: [{name: x}]",
        route("active_time_intervals: [x]")
            + "mute_time_intervals: [{name: x, time_intervals: []}]",
        // Time intervals; what each range may say is in the unit tests, from amtool's answers.
        also("time_intervals: [{time_intervals: []}]"),
        also("time_intervals: [{name: x}, {name: x}]"),
        also("time_intervals: [{name: x}]\nmute_time_intervals: [{name: x}]"),
        interval("times: [{start_time: '9:00', end_time: '10:00'}]"),
        interval("times: [{start_time: 09:00, end_time: 24:00}]"),
        interval("times: [{start_time: '10:00', end_time: '09:00'}]"),
        interval("times: [{end_time: '10:00'}]"),
        interval("weekdays: ['1']"),
        interval("weekdays: ['monday:friday', Sunday]"),
        interval("weekdays: ['saturday:monday']"),
        interval("days_of_month: ['-1:5']"),
        interval("days_of_month: ['30:-3']"),
        interval("days_of_month: ['25:-3', 5]"),
        interval("days_of_month: [0]"),
        interval("months: ['january:3', 12]"),
        interval("months: ['5:1']"),
        interval("months: [feb]"),
        interval("years: ['2021:2020']"),
        interval("years: [2020, '2021:2022']"),
        interval("location: Europe/Berlin"),
        interval("location: Mars/Phobos"),
        interval("location: Local"),
        interval("time_zone: UTC"),
        // Inhibition.
        also("inhibit_rules: [{}]"),
        also("inhibit_rules: [{source_matchers: [a=b]}]"),
        also("inhibit_rules: [{source_matchers: [a=b], target_matchers: [c=d], equal: ['1x']}]"),
        also("inhibit_rules: [{source_matchers: [a=b], target_matchers: [c=d], equal: [e, f]}]"),
        also("inhibit_rules: [{source_match: {a: b}, target_match_re: {c: 'd('}}]"),
        also("inhibit_rules: [{source_match: {a: b}, target_match_re: {c: 'd|e'}, equal: [x]}]"),
        also("inhibit_rules: [{source_match: {'a-b': b}}]"),
        also("inhibit_rules: [{sources: [a=b]}]"),
        // Global.
        also("global: {}"),
        also("global: {resolve_timeout: x}"),
        also("global: {resolve_timeout: 5m}"),
        also("global: {slack_api_url: 'http://x/', slack_api_url_file: y}"),
        also("global: {slack_api_url: x}"),
        also("global: {smtp_smarthost: x}"),
        also("global: {smtp_smarthost: 'x:'}"),
        also(
            "global: {smtp_smarthost: 'x:25', smtp_from: a, smtp_hello: b, smtp_require_tls: false}",
        ),
        also("global: {smtp_auth_username: a, smtp_auth_identity: b, smtp_auth_secret: c}"),
        also("global: {smtp_auth_password: a, smtp_auth_password_file: b}"),
        also("global: {pagerduty_url: 'ftp://x'}"),
        also("global: {pagerduty_url: 'https://x'}"),
        also("global: {opsgenie_api_key: x, opsgenie_api_key_file: y}"),
        also("global: {opsgenie_api_key: x, victorops_api_key: y, wechat_api_secret: z}"),
        also("global: {http_config: {bearer_token: x, basic_auth: {username: y}}}"),
        also(
            "global: {http_config: {basic_auth: {username: y, password: z}, follow_redirects: false}}",
        ),
        also("global: {http_config: {tls_config: {insecure_skip_verify: true, server_name: x}}}"),
        also("global: {http_config: {foo: x}}"),
        also("global: {foo: x}"),
        // Slack.
        receiver("slack_configs: [{}]"),
        receiver("slack_configs:"),
        receiver("slack_configs: [{api_url: 'http://x/', api_url_file: y}]"),
        receiver("slack_configs: [{api_url: 'http://x/'}]"),
        receiver("slack_configs: [{api_url_file: y}]"),
        receiver("slack_configs: [{}]") + "global: {slack_api_url: 'http://x/'}",
        receiver("slack_configs: [{}]") + "global: {slack_api_url_file: x}",
        receiver("slack_configs: [{api_url: x}]"),
        receiver("slack_configs: [{api_url: 'http://'}]"),
        receiver("slack_configs: [{api_url: 'ftp://x'}]"),
        receiver("slack_configs: [{api_url: 'http://x', title: '{{ .Foo'}]"),
        receiver(
            "slack_configs: [{api_url: 'http://x', color: 5, short_fields: true, link_names: false}]",
        ),
        receiver("slack_configs: [{api_url: 'http://x', fields: [{title: t}]}]"),
        receiver("slack_configs: [{api_url: 'http://x', fields: [{value: t}]}]"),
        receiver(
            "slack_configs: [{api_url: 'http://x', fields: [{title: t, value: v, short: false}]}]",
        ),
        receiver("slack_configs: [{api_url: 'http://x', actions: [{type: b}]}]"),
        receiver("slack_configs: [{api_url: 'http://x', actions: [{type: b, text: t}]}]"),
        receiver("slack_configs: [{api_url: 'http://x', actions: [{type: b, text: t, url: u}]}]"),
        receiver(
            "slack_configs: [{api_url: 'http://x', actions: [{type: b, text: t, name: n, confirm: {title: x}}]}]",
        ),
        receiver(
            "slack_configs: [{api_url: 'http://x', actions: [{type: b, text: t, name: n, confirm: {text: x}}]}]",
        ),
        receiver("slack_configs: [{api_url: 'http://x', http_config: {foo: true}}]"),
        receiver(
            "slack_configs: [{api_url: 'http://x', http_config: {authorization: {type: Basic, credentials: x}}}]",
        ),
        receiver("slack_configs: [{api_url: 'http://x', titel: x}]"),
        // Webhook.
        receiver("webhook_configs: [{}]"),
        receiver("webhook_configs: [{url: 'http://x', max_alerts: 5, send_resolved: false}]"),
        receiver("webhook_configs: [{url: 'http://x', max_alerts: -1}]"),
        receiver("webhook_configs: [{url: x}]"),
        // E-mail.
        receiver("email_configs: [{to: a@x.test}]"),
        receiver("email_configs: [{smarthost: 'x:25', from: b@x.test}]"),
        receiver("email_configs: [{to: a@x.test, smarthost: 'x:25'}]"),
        receiver("email_configs: [{to: a@x.test, smarthost: 'x:25', from: b@x.test}]"),
        receiver("email_configs: [{to: a@x.test, smarthost: x, from: b@x.test}]"),
        receiver(
            "email_configs: [{to: '{{ .CommonLabels.who }}', smarthost: 'x:25', from: b@x.test}]",
        ),
        receiver(
            "email_configs: [{to: a@x.test, smarthost: 'x:25', from: b@x.test, headers: {Subject: a, subject: b}}]",
        ),
        receiver(
            "email_configs: [{to: a@x.test, smarthost: 'x:25', from: b@x.test, headers: {Subject: a}, html: '', text: x}]",
        ),
        receiver(
            "email_configs: [{to: a@x.test, smarthost: 'x:25', from: b@x.test, tls_config: {ca_file: y}}]",
        ),
        receiver(
            "email_configs: [{to: a@x.test, smarthost: 'x:25', from: b@x.test, auth_username: u, auth_password: p, auth_identity: i}]",
        ),
        receiver("email_configs: [{to: a@x.test}]")
            + "global: {smtp_smarthost: 'x:25', smtp_from: b@x.test}",
        // PagerDuty and Discord.
        receiver("pagerduty_configs: [{}]"),
        receiver("pagerduty_configs: [{service_key: a, routing_key: b}]"),
        receiver("pagerduty_configs: [{routing_key: b, routing_key_file: c}]"),
        receiver("pagerduty_configs: [{routing_key_file: c}]"),
        receiver("pagerduty_configs: [{routing_key: c, url: x}]"),
        receiver(
            "pagerduty_configs: [{routing_key: c, images: [{src: a, alt: b, href: c}], links: [{href: b, text: c}], source: x, details: {a: b}}]",
        ),
        receiver("discord_configs: [{}]"),
        receiver("discord_configs: [{webhook_url: 'http://x', title: t, message: m}]"),
        receiver("discord_configs: [{webhook_url: x}]"),
        receiver("opsgenie_configs: []"),
        receiver("foo_configs: []"),
    ];
    let mut taken = 0;
    for text in &cases {
        std::fs::write(&file, text).unwrap();
        let ours = config::load(&file);
        let theirs = amtool_takes(&file);
        assert_eq!(ours.is_ok(), theirs, "{text}\n{:?}", ours.err().map(|error| error.to_string()));
        taken += usize::from(theirs);
    }
    assert!(taken > 40 && cases.len() - taken > 40, "{taken} of {} are taken", cases.len());
}

/// What amtool takes and alertd does not: none of it could be sent.
#[test]
fn alertd_is_stricter_where_nothing_would_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("am.yaml");
    let mail = |keys: &str| {
        receiver(&format!("email_configs: [{{smarthost: 'x.test:25', from: b@x.test, {keys} }}]"))
    };
    for (text, want) in [
        (mail("to: nonsense"), "e-mail addresses"),
        (mail("to: a@x.test, auth_username: u"), "auth_password"),
        (mail("to: a@x.test, auth_username: u, auth_password: p, require_tls: false"), "TLS"),
        (mail("to: a@x.test, auth_password: p, auth_password_file: q"), "both"),
        (receiver("opsgenie_configs: [{api_key: x}]"), "not supported"),
    ] {
        std::fs::write(&file, &text).unwrap();
        assert!(amtool_takes(&file), "{text}");
        let error = config::load(&file).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn amtool_and_alertd_route_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("am.yaml");
    std::fs::write(
        &file,
        r#"
route:
  receiver: root
  routes:
  - { receiver: audit, matchers: ['env=~"prod|stage"'], continue: true }
  - receiver: ci
    matchers: [team=ci]
    routes:
    - { receiver: page, match: { severity: critical }, continue: true }
    - { matchers: ['severity=~"crit.*"', 'quiet!="yes"'], receiver: loud }
    - { receiver: late, match_re: { severity: "warn(ing)?" }, routes: [ { matchers: ['host!~"a.*"'], receiver: other } ] }
  - { receiver: nobody, matchers: ['{alertname="Watchdog"}'] }
  - { receiver: empty, matchers: ['team=""', 'x="a,b"'] }
  - { receiver: quoted, matchers: ['msg="say \"hi\""'] }
receivers: [ {name: root}, {name: audit}, {name: ci}, {name: page}, {name: loud}, {name: late}, {name: other}, {name: nobody}, {name: empty}, {name: quoted} ]
"#,
    )
    .unwrap();
    let config = config::load(&file).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let values = [
        ("env", ["", "prod", "stages"].as_slice()),
        ("team", &["", "ci", "web"]),
        ("severity", &["", "critical", "warning"]),
        ("host", &["", "a1", "b1"]),
    ];
    let mut sets: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
    for (name, choices) in values {
        sets = sets
            .iter()
            .flat_map(|set| {
                choices.iter().map(move |value| {
                    let own = (!value.is_empty()).then_some((name, *value));
                    set.iter().copied().chain(own).collect()
                })
            })
            .collect();
    }
    sets.push(vec![("alertname", "Watchdog")]);
    sets.push(vec![("x", "a,b")]);
    sets.push(vec![("team", "ci"), ("severity", "critical"), ("quiet", "yes")]);
    sets.push(vec![("msg", "say \"hi\"")]);
    for set in sets {
        let labels = Labels::from_pairs(set.iter().copied());
        let ours: Vec<&str> = config
            .tree
            .matching(&labels)
            .into_iter()
            .map(|at| config.tree.routes[at].receiver.as_str())
            .collect();
        let args: Vec<String> =
            set.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let mut amtool = program(&peers::amtool());
        amtool.args(["config", "routes", "test"]).arg(format!("--config.file={}", file.display()));
        let output = amtool.args(&args).output().unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert_eq!(ours.join(","), theirs.trim(), "{labels}");
        seen.extend(ours);
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
    // The command line says the same.
    let test = |args: &[&str]| {
        let mut alertd = program(&programs::alertd());
        alertd.args(["test", "routes"]).arg(&file).args(args).output().unwrap()
    };
    let found = test(&["team=ci", "severity=critical", "--expect", "page,loud"]);
    assert!(found.status.success() && found.stdout == b"page,loud\n", "{found:?}");
    assert_eq!(test(&["team=ci", "--expect", "root"]).status.code(), Some(1));
    assert!(!test(&["team=~ci"]).status.success());
}
