//! Templates as people write them for Alertmanager, over one notification.

use std::collections::BTreeMap;

use super::*;
use crate::model::sample::Timestamp;
use crate::route::dedup::Reason;
use crate::route::notification::NotifiedAlert;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn notification() -> Notification {
    let alert = |host: &str, ends_at| NotifiedAlert {
        labels: map(&[("alertname", "Disk"), ("host", host), ("a", "{{ .Receiver }}")]),
        annotations: map(&[("summary", "<b> & \"full\"")]),
        extra: vec![("pool".into(), "ci".into())],
        starts_at: Timestamp(1_700_000_000_000),
        ends_at,
        generator_url: "javascript:alert(1)".into(),
        fingerprint: host.into(),
    };
    Notification {
        receiver: "team.a".into(),
        group_key: "{}:{}".into(),
        group_labels: map(&[("alertname", "Disk")]),
        reason: Reason::First,
        alerts: vec![alert("h1", None), alert("h2", Some(Timestamp(1_700_000_090_000)))],
        truncated: 0,
        at: Timestamp(1_700_003_600_000),
    }
}

fn expand(text: &str) -> String {
    let notification = notification();
    let of = Scope { notification: &notification, external_url: "http://p.test/" };
    Templates::default().expand(text, &of)
}

#[test]
fn data_and_functions() {
    for (text, want) in [
        ("plain }} {", "plain }} {"),
        ("{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}", r"team\.a firing http://p.test"),
        ("{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}", "2 1 1"),
        (
            "{{ .GroupLabels.alertname }}|{{ .CommonLabels.host }}|{{ .CommonLabels.a }}",
            "Disk||{{ .Receiver }}",
        ),
        ("{{ .CommonAnnotations.pool }}{{ .CommonAnnotations.nothing }}", "ci"),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
            "alertname=Disk;a={{ .Receiver }};",
        ),
        ("{{ .CommonLabels.Names | join \",\" }} {{ .GroupLabels.Values }}", "a,alertname [Disk]"),
        ("{{ (.CommonLabels.Remove .GroupLabels.Names).Names }}", "[a]"),
        (
            "{{ with .CommonLabels.Remove (stringSlice \"a\") }}{{ .SortedPairs.Values | join \" \" }}{{ end }}",
            "Disk",
        ),
        ("{{ .GroupLabels }}", "map[alertname:Disk]"),
        (
            "{{ range $i, $a := .Alerts }}{{ $i }}{{ $a.Labels.host }}{{ $a.Status }} {{ end }}",
            "0h1firing 1h2resolved ",
        ),
        ("{{ (index .Alerts 1).Labels.host }}{{ index .GroupLabels \"alertname\" }}", "h2Disk"),
        ("{{ range .Alerts }}{{ .EndsAt.Format \"15:04\" }} {{ end }}", "00:00 22:14 "),
        (
            "{{ with index .Alerts 1 }}{{ .EndsAt.Sub .StartsAt }} {{ (.EndsAt.Sub .StartsAt).Minutes }}{{ end }}",
            "1m30s 1.5",
        ),
        (
            "{{ with index .Alerts 0 }}{{ .StartsAt }}|{{ .EndsAt.IsZero }}|{{ .StartsAt.Unix }}{{ end }}",
            "2023-11-14 22:13:20 +0000 UTC|true|1700000000",
        ),
        (
            "{{ with index .Alerts 0 }}{{ since .StartsAt | humanizeDuration }} {{ since .StartsAt }}{{ end }}",
            "1h 0m 0s 1h0m0s",
        ),
        (
            "{{ (index .Alerts 0).StartsAt | tz \"Europe/Berlin\" | date \"02 Jan 06 15:04 MST\" }}",
            "14 Nov 23 23:13 CET",
        ),
        ("{{ (toDate \"2006-01-02\" \"2024-02-29\").Weekday }}", "Thursday"),
        (
            "{{ title \"heLLO wORLD\" }} {{ toUpper \"a\" }}{{ trimSpace \" b \" }}",
            "Hello World Ab",
        ),
        (
            "{{ if match \"^D\" .GroupLabels.alertname }}y{{ end }}{{ reReplaceAll \"(D)\" \"$1$1\" .GroupLabels.alertname }}",
            "yDDisk",
        ),
        (
            "{{ urlUnescape \"a%20b+c\" }} {{ base64encode \"a\" }} {{ base64decode \"YQ==\" }}",
            "a b c YQ== a",
        ),
        ("{{ list 1 2 | len }}{{ append (list \"a\") \"b\" }}{{ (dict \"k\" 5).k }}", "2[a b]5"),
        (
            "{{ toJson .GroupLabels }}{{ toJson (index .Alerts 0).Annotations }}",
            "{\"alertname\":\"Disk\"}{\"pool\":\"ci\",\"summary\":\"\\u003cb\\u003e \\u0026 \\\"full\\\"\"}",
        ),
        (
            "{{ safeHtml \"<i>\" }}{{ printf \"%s-%d-%v\" .Status 5 .GroupLabels }}",
            "<i>firing-5-map[alertname:Disk]",
        ),
        ("{{ define \"mine\" }}<{{ . }}>{{ end }}{{ template \"mine\" .Status }}", "<firing>"),
        ("{{ template \"slack.default.title\" . }}", "[FIRING:1] Disk ({{ .Receiver }})"),
        (
            "{{- /* nothing */ -}} {{ $x := .Status }}{{ if and (eq $x \"firing\") (not .Alerts.Resolved) }}a{{ else }}b{{ end }}",
            "b",
        ),
    ] {
        assert_eq!(expand(text), want, "{text}");
    }
}

#[test]
fn what_fails_costs_its_text() {
    for (text, want) in [
        ("{{ .Nothing }}", "can't evaluate field Nothing in type Data"),
        ("{{ .Status.Foo }}", "can't evaluate field Foo in type string"),
        ("{{ range .Alerts }}{{ .Foo }}{{ end }}", "field Foo in type Alert"),
        ("{{ .Status", "line 1"),
        ("{{ graphLink \"a\" }}", "function \"graphLink\" not defined"),
        ("{{ template \"nowhere\" . }}", "nowhere"),
        (
            "{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ template \"x\" . }}",
            "recursion limit",
        ),
        ("{{ .Status.Format \"x\" }}", "in type string"),
        ("{{ .Status \"x\" }}", "cannot be invoked"),
        ("{{ tz \"Mars\" (index .Alerts 0).StartsAt }}", "unknown time zone"),
        ("{{ __get . \"Status\" }}", "not defined"),
    ] {
        let found = expand(text);
        assert!(found.starts_with("<error expanding template: "), "{text}: {found}");
        assert!(found.contains(want), "{text}: {found}");
    }
    let long = expand(&("{{ .Status }}".to_owned() + &"x".repeat(600_000)));
    assert!(long.ends_with("output is longer than 524288 bytes>"), "{} bytes", long.len());
}

#[test]
fn a_page_escapes_every_value() {
    let notification = notification();
    let of = Scope { notification: &notification, external_url: "http://p.test/" };
    let templates = Templates::default();
    let page = |text: &str| templates.page(Some(text), "", &of).unwrap();
    assert_eq!(
        page("<p>{{ .CommonAnnotations.summary }}</p>"),
        "<p>&lt;b&gt; &amp; &#34;full&#34;</p>"
    );
    assert_eq!(page("{{ .CommonAnnotations.summary | safeHtml }}"), "<b> & \"full\"");
    let link = page("<a href=\"{{ (index .Alerts 0).GeneratorURL }}\">x</a>");
    assert!(!link.contains("javascript:"), "{link}");
    let all = page("{{ template \"email.default.html\" . }}");
    assert!(all.contains("&lt;b&gt; &amp;") && !all.contains("javascript:"), "{all}");
    assert!(all.contains("<h2>[FIRING:1] Disk ("), "{all}");
}

#[test]
fn names_that_the_user_defines_are_used_where_nothing_is_configured() {
    let notification = notification();
    let of = Scope { notification: &notification, external_url: "" };
    let templates = Templates::default();
    assert_eq!(templates.text(None, "slack.default.title", &of), None);
    assert_eq!(templates.text(Some("x"), "slack.default.title", &of).as_deref(), Some("x"));
    let own =
        "{{ define \"__subject\" }}mine {{ .Status }}{{ end }}{{ define \"slack.my\" }}my{{ end }}";
    let templates = templates.with("own.tmpl", own).unwrap();
    for name in ["slack.default.title", "slack.default.fallback", "email.default.subject"] {
        let text = templates.text(None, name, &of).unwrap_or_default();
        assert!(text.starts_with("mine firing"), "{name}: {text}");
    }
    assert_eq!(templates.text(None, "slack.default.footer", &of), None);
    assert_eq!(templates.expand("{{ template \"slack.my\" . }}", &of), "my");
    assert!(templates.with("bad.tmpl", "{{ define \"x\" }}").is_err());
}

#[test]
fn every_default_can_be_expanded_both_ways() {
    let notification = notification();
    let of = Scope { notification: &notification, external_url: "http://p.test/" };
    let templates = Templates::default();
    for define in DEFAULT.split("{{ define \"").skip(1) {
        let (name, _) = define.split_once('"').unwrap();
        let over =
            if name.contains("list") || name.contains("instances") { ".Alerts" } else { "." };
        let call = format!("{{{{ template \"{name}\" {over} }}}}");
        for text in [templates.expand(&call, &of), templates.page(Some(&call), "", &of).unwrap()] {
            assert!(!text.contains("<error"), "{name}: {text}");
        }
    }
}
