//! The JSON of rules and alerts, over a group that was really evaluated.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::model::querier::Appender;
use crate::model::sample::Sample;
use crate::rules::file;
use crate::rules::group::{Context, Group, Progress};
use crate::tsdb::{Limits, Tsdb};

const RULES: &str = r#"
groups:
- name: one
  limit: 7
  rules:
  - {record: "a:b", expr: x + 1, labels: {k: v}}
  - alert: High
    expr: x > 1
    for: 1m
    keep_firing_for: 30s
    labels: {severity: page}
    annotations: {summary: "at {{ $value }}"}
  - {alert: Bad, expr: x * on (nope) x}
- name: two
  interval: 30s
  rules: [{record: "c:d", expr: x}]
"#;

fn view() -> View {
    let store = Arc::new(Tsdb::new(Limits::default()));
    let sample = |value| Sample { timestamp: Timestamp(0), value };
    let x = |i: &str| Labels::from_pairs([("__name__", "x"), ("i", i)]);
    store.append(&[(x("1"), sample(2.5)), (x("2"), sample(3.0))]).unwrap();
    let context = Context::new(store);
    let specs = file::parse(Path::new("r.yaml"), RULES).unwrap();
    let minute = Duration::from_secs(60);
    let mut groups: Vec<Group> =
        specs.into_iter().map(|spec| Group::new(spec, minute, Duration::ZERO)).collect();
    for at in [0, 60_000] {
        groups[0].evaluate(Timestamp(at), &context, &Progress::default(), &mut |_| true);
    }
    let view = View::default();
    view.fill(groups.iter().map(|group| Arc::new(group.status())).collect());
    view
}

async fn ask(params: &[(&str, &str)]) -> Json {
    let pairs = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let Json(answer) = rules(State(view()), Params(pairs.collect())).await.unwrap();
    serde_json::to_value(answer).unwrap()
}

#[tokio::test]
async fn rules_as_prometheus_lists_them() {
    let mut answer = ask(&[]).await;
    assert_eq!(answer["status"], "success");
    let groups = answer["data"]["groups"].take();
    let group = &groups[0];
    assert_eq!(
        (&group["name"], &group["file"], &group["interval"], &group["limit"]),
        (&json!("one"), &json!("r.yaml"), &json!(60.0), &json!(7))
    );
    assert_eq!(group["lastEvaluation"], "1970-01-01T00:01:00.000Z");
    let mut record = group["rules"][0].clone();
    assert!(record["evaluationTime"].take().is_number());
    assert_eq!(
        record,
        json!({
            "name": "a:b", "query": "x + 1", "labels": {"k": "v"}, "health": "ok",
            "evaluationTime": null, "lastEvaluation": "1970-01-01T00:01:00.000Z",
            "type": "recording",
        })
    );
    let mut high = group["rules"][1].clone();
    assert!(high["evaluationTime"].take().is_number());
    let labels = |i: &str| json!({"alertname": "High", "i": i, "severity": "page"});
    assert_eq!(
        high,
        json!({
            "state": "firing", "name": "High", "query": "x > 1", "duration": 60.0,
            "keepFiringFor": 30.0, "labels": {"severity": "page"},
            "annotations": {"summary": "at {{ $value }}"}, "health": "ok",
            "evaluationTime": null, "lastEvaluation": "1970-01-01T00:01:00.000Z",
            "type": "alerting",
            "alerts": [
                {"labels": labels("1"), "annotations": {"summary": "at 2.5"}, "state": "firing",
                 "activeAt": "1970-01-01T00:00:00.000Z", "value": "2.5e+00"},
                {"labels": labels("2"), "annotations": {"summary": "at 3"}, "state": "firing",
                 "activeAt": "1970-01-01T00:00:00.000Z", "value": "3e+00"},
            ],
        })
    );
    let bad = &group["rules"][2];
    assert_eq!((&bad["health"], &bad["state"]), (&json!("err"), &json!("inactive")));
    assert!(bad["lastError"].as_str().unwrap().contains("match"), "{bad}");
    let unknown = &groups[1]["rules"][0];
    assert_eq!(unknown["health"], "unknown");
    assert_eq!(unknown["lastEvaluation"], "0001-01-01T00:00:00Z");
}

#[tokio::test]
async fn filters() {
    for (params, want) in [
        (&[][..], "one: a:b High Bad; two: c:d"),
        (&[("type", "alert")], "one: High Bad"),
        (&[("type", "record")], "one: a:b; two: c:d"),
        (&[("rule_name[]", "High"), ("rule_name[]", "c:d")], "one: High; two: c:d"),
        (&[("rule_group[]", "two")], "two: c:d"),
        (&[("file[]", "other.yaml")], ""),
        (&[("type", "alert"), ("rule_name[]", "c:d")], ""),
        (&[("match[]", "{severity=\"page\"}")], "one: High"),
        (&[("match[]", "{k=\"v\"}"), ("match[]", "{severity=~\"p.*\"}")], "one: a:b High"),
        (&[("group_limit", "1")], "one: a:b High Bad"),
    ] {
        let answer = ask(params).await;
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let lines = groups.map(|group| {
            let rules = group["rules"].as_array().unwrap().iter();
            let names: Vec<&str> = rules.map(|rule| rule["name"].as_str().unwrap()).collect();
            format!("{}: {}", group["name"].as_str().unwrap(), names.join(" "))
        });
        assert_eq!(lines.collect::<Vec<_>>().join("; "), want, "{params:?}");
    }
    let without = ask(&[("exclude_alerts", "true")]).await;
    assert_eq!(without["data"]["groups"][0]["rules"][1]["alerts"], Json::Null);
    for wrong in [
        ("type", "alerts"),
        ("exclude_alerts", "maybe"),
        ("match[]", "sum(x)"),
        ("group_limit", "0"),
        ("group_limit", "x"),
        ("group_next_token", "abc"),
    ] {
        let params = Params(vec![(wrong.0.to_owned(), wrong.1.to_owned())]);
        assert!(rules(State(view()), params).await.is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn pages_of_groups() {
    let first = ask(&[("group_limit", "1")]).await;
    let token = first["data"]["groupNextToken"].as_str().unwrap();
    let second = ask(&[("group_limit", "1"), ("group_next_token", token)]).await;
    assert_eq!(second["data"]["groups"][0]["name"], "two");
    assert!(second["data"].get("groupNextToken").is_none());
    let both = ask(&[("group_limit", "2")]).await;
    assert!(both["data"].get("groupNextToken").is_none());
}

#[tokio::test]
async fn all_alerts() {
    let Json(answer) = alerts(State(view())).await;
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["data"]["alerts"].as_array().unwrap().len(), 2);
    assert_eq!(answer["data"]["alerts"][0]["value"], "2.5e+00");
}
