//! The stories: one group of rules each, the samples, and what has to follow.

use super::{Life, Story, values};

const BAR: &str = "
groups:
- name: PendingAndFiringAndResolved
  interval: 30s
  rules:
  - alert: Simple
    expr: '{__name__=\"source\", alertname=\"Simple\", rulegroup=\"one\"} > 10'
    for: 6m
    labels: { foo: bar, rulegroup: one }
    annotations: { description: it fires, summary: 'The value is {{$value}} {{.Value}}' }
";

const SIMPLE: &[(&str, &str)] = &[("alertname", "Simple"), ("foo", "bar"), ("rulegroup", "one")];

/// Pending, firing, over, and the same again while the end is still being told; the annotations
/// change in each state.
fn all_states() -> Story {
    const ELEVEN: &[(&str, &str)] =
        &[("description", "it fires"), ("summary", "The value is 11 11")];
    const FIFTEEN: &[(&str, &str)] =
        &[("description", "it fires"), ("summary", "The value is 15 15")];
    const NINETEEN: &[(&str, &str)] =
        &[("description", "it fires"), ("summary", "The value is 19 19")];
    Story {
        rules: BAR,
        length: 150,
        series: vec![(
            &[("__name__", "source"), ("alertname", "Simple"), ("rulegroup", "one")],
            values("3 5x3 9x4 11x13 15x32 19x16 9x20 15x45 8x16"),
        )],
        lives: vec![
            Life {
                labels: SIMPLE,
                texts: vec![(8, ELEVEN, 11.0), (21, FIFTEEN, 15.0), (53, NINETEEN, 19.0)],
                pending: 8,
                firing: Some(32),
                gone: 69,
                again: Some(89),
            },
            Life {
                labels: SIMPLE,
                texts: vec![(89, FIFTEEN, 15.0)],
                pending: 89,
                firing: Some(113),
                gone: 134,
                again: None,
            },
        ],
    }
}

/// What was only pending is never told; then the data stop. Another rule never has an alert.
fn never_fires() -> Story {
    Story {
        rules: "
groups:
- name: PendingAndResolved_AlwaysInactive
  interval: 30s
  rules:
  - alert: Pending
    expr: 'source{alertname=\"Pending\"} > 10'
    for: 3m
    labels: { foo: bar }
    annotations: { description: it fires }
  - { alert: Never, expr: 'source{alertname=\"Never\"} > 99', for: 3m, labels: { ba_dum: tss } }
",
        length: 60,
        series: vec![
            (&[("__name__", "source"), ("alertname", "Pending")], values("3 5x3 9x4 11x11 9")),
            (&[("__name__", "source"), ("alertname", "Never")], values("3 5x3 9x4 11x11 9")),
        ],
        lives: vec![Life {
            labels: &[("alertname", "Pending"), ("foo", "bar")],
            texts: vec![(8, &[("description", "it fires")], 11.0)],
            pending: 8,
            firing: None,
            gone: 19,
            again: None,
        }],
    }
}

/// Without `for` it fires at once, with one shorter than the interval at the second evaluation. The
/// end is told for a quarter of an hour only. Every function of templates.
fn at_once() -> Story {
    const FIRST: &[(&str, &str)] = &[
        ("numbers", "1.049M 1Mi 2m 15s 95.9% 2022-01-25 12:36:43 +0000 UTC"),
        ("query", "Args are: foo bar 99. first_id:101,101:1,102:2,103:3,"),
    ];
    const AGAIN: &[(&str, &str)] = &[
        ("numbers", "1.049M 1Mi 2m 15s 95.9% 2022-01-25 12:36:43 +0000 UTC"),
        ("query", "Args are: foo bar 99. first_id:101,101:2,102:4,103:6,"),
    ];
    const WORDS: &[(&str, &str)] =
        &[("words", "This Part IS TESTING the strings. ::1 127.0.0.1. 7815. replaced text. .")];
    const ZERO_FOR: &[(&str, &str)] = &[("alertname", "ZeroFor"), ("foo", "bar")];
    let samples = "3 5x3 9x4 15x13 9x72 11x13 9";
    let of_template = |value: u32| values(&format!("{value}x28 {}x100", 2 * value));
    Story {
        rules: r#"
groups:
- name: ZeroFor_SmallFor
  interval: 30s
  rules:
  - alert: ZeroFor
    expr: 'source{alertname="ZeroFor"} > 10'
    labels: { foo: bar }
    annotations:
      numbers: '{{humanize 1048576}} {{humanize1024 1048576}} {{humanizeDuration 135.3563}} {{humanizePercentage 0.959}} {{humanizeTimestamp 1643114203}}'
      query: '{{ define "part" }}Args are: {{.arg0}} {{.arg1}} {{.arg2}}. {{ with query "source{for=''template''}" }}first_id:{{ . | sortByLabel "id" | first | label "id"}},{{ range $v := sortByLabel "id" .}}{{ . | label "id" }}:{{ . | value }},{{end}}{{end}}{{ end }}{{ template "part" (args "foo" "bar" 99) }}'
  - alert: SmallFor
    expr: 'source{alertname="SmallFor"} > 13'
    for: 15s
    labels: { ba_dum: tss }
    annotations:
      words: '{{title "this part"}} {{toUpper "is testing"}} {{toLower "THE STRINGS"}}. {{ stripPort "[::1]:6006"}} {{ stripPort "127.0.0.1:4004"}}. {{parseDuration "2h10m15s"}}. {{if match "[0-9]+" "1234"}}{{reReplaceAll "r.*d" "replaced" "rpld text"}}{{end}}. {{if match "[0-9]+$" "1234a"}}WRONG{{end}}.'
"#,
        length: 127,
        series: vec![
            (&[("__name__", "source"), ("alertname", "ZeroFor")], values(samples)),
            (&[("__name__", "source"), ("alertname", "SmallFor")], values(samples)),
            // The label of this name is what `value` must not be taken for.
            (
                &[("__name__", "source"), ("for", "template"), ("id", "101"), ("__value__", "v1")],
                of_template(1),
            ),
            (
                &[("__name__", "source"), ("for", "template"), ("id", "102"), ("__value__", "v2")],
                of_template(2),
            ),
            (
                &[("__name__", "source"), ("for", "template"), ("id", "103"), ("__value__", "v3")],
                of_template(3),
            ),
        ],
        lives: vec![
            Life {
                labels: ZERO_FOR,
                texts: vec![(8, FIRST, 15.0)],
                pending: 8,
                firing: Some(8),
                gone: 21,
                again: Some(93),
            },
            Life {
                labels: ZERO_FOR,
                texts: vec![(93, AGAIN, 11.0)],
                pending: 93,
                firing: Some(93),
                gone: 106,
                again: None,
            },
            Life {
                labels: &[("alertname", "SmallFor"), ("ba_dum", "tss")],
                texts: vec![(8, WORDS, 15.0)],
                pending: 8,
                firing: Some(10),
                gone: 21,
                again: None,
            },
        ],
    }
}

/// A second alert joins a firing one. A rule reads what the one before it wrote in the same
/// evaluation; its templates see the labels of what it found, not those that it gives.
fn in_order() -> Story {
    const MORE: &[(&str, &str)] = &[("description", "more to come")];
    Story {
        rules: r#"
groups:
- name: NewAlerts_OrderCheck
  interval: 30s
  rules:
  - alert: First
    expr: 'source{alertname="First"} > 10'
    for: 3m
    labels: { foo: bar }
    annotations: { description: more to come }
  - alert: Second
    expr: '(ALERTS{alertstate="firing", alertname="First", foo="bar", variant="one"} + ignoring(variant) ALERTS{alertstate="firing", alertname="First", foo="bar", variant="two"}) == 2'
    labels: { ba_dum: tss, foo: baz }
    annotations: { description: 'Name was {{$labels.alertname}}, foo was {{.Labels.foo}}.' }
"#,
        length: 94,
        series: vec![
            (
                &[("__name__", "source"), ("alertname", "First"), ("variant", "one")],
                values("1x8 11x65 9x21"),
            ),
            (
                &[("__name__", "source"), ("alertname", "First"), ("variant", "two")],
                values("1x32 11x33 9x21"),
            ),
        ],
        lives: vec![
            Life {
                labels: &[("alertname", "First"), ("foo", "bar"), ("variant", "one")],
                texts: vec![(8, MORE, 11.0)],
                pending: 8,
                firing: Some(20),
                gone: 73,
                again: None,
            },
            Life {
                labels: &[("alertname", "First"), ("foo", "bar"), ("variant", "two")],
                texts: vec![(32, MORE, 11.0)],
                pending: 32,
                firing: Some(44),
                gone: 65,
                again: None,
            },
            Life {
                labels: &[
                    ("alertname", "Second"),
                    ("alertstate", "firing"),
                    ("ba_dum", "tss"),
                    ("foo", "baz"),
                ],
                texts: vec![(44, &[("description", "Name was First, foo was bar.")], 2.0)],
                pending: 44,
                firing: Some(44),
                gone: 65,
                again: None,
            },
        ],
    }
}

pub(super) fn all() -> Vec<Story> {
    vec![all_states(), never_fires(), at_once(), in_order()]
}
