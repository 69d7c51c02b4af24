//! Alerts that are posted: shown, told, kept over a kill, and never more than a report.

use pitcrew_tests::fake_target::FakeTarget;
use rustix::process::Signal;

use super::*;

#[tokio::test]
async fn what_is_posted_is_shown_and_told_and_survives_a_kill() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let alerts = json!([
        { "labels": { "alertname": "A", "host": "h", "empty": "" },
          "annotations": { "summary": "it <b>broke</b>" }, "generatorURL": "http://p/graph" },
        { "labels": { "alertname": "Over" }, "startsAt": "2020-01-01T00:00:00Z",
          "endsAt": "2020-01-02T00:00:00Z" },
    ]);
    assert_eq!(post(&live, alerts.clone()).await.0, 200);
    let shown = live.json("/api/v2/alerts").await;
    let one = &shown.as_array().unwrap()[0];
    assert_eq!(shown.as_array().unwrap().len(), 1, "what is over is not shown: {shown}");
    assert_eq!(one["labels"], json!({ "alertname": "A", "host": "h" }));
    assert_eq!(one["annotations"], json!({ "summary": "it <b>broke</b>" }));
    assert_eq!(one["generatorURL"], "http://p/graph");
    assert_eq!(one["receivers"], json!([ { "name": "team" } ]));
    let status = json!({ "state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [] });
    assert_eq!(one["status"], status);
    // FNV-1a, 64 bits, of `alertname 0xff A 0xff host 0xff h 0xff`.
    assert_eq!(one["fingerprint"].as_str().unwrap().len(), 16);
    for key in ["startsAt", "endsAt", "updatedAt"] {
        let text = one[key].as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z'), "{key}: {text}");
    }
    until_told(&hook, "A", &["firing"]).await;

    live.end(Signal::KILL).await;
    let live = run(folder.path(), &free_address()).await;
    // Ready is said before routing has read what it kept.
    wait::until(PATIENCE, "it is held again", async || {
        live.json("/api/v2/alerts").await != json!([])
    })
    .await;
    let again = live.json("/api/v2/alerts").await;
    assert_eq!(again[0]["startsAt"], one["startsAt"]);
    assert_eq!(again[0]["endsAt"], one["endsAt"], "its lease goes on");
    assert_eq!(again[0]["annotations"], one["annotations"]);
    // Two peers report the same; it is told once, and so is its end.
    assert_eq!(post(&live, alerts.clone()).await.0, 200);
    assert_eq!(post(&live, alerts).await.0, 200);
    let over = json!([{ "labels": { "alertname": "A", "host": "h" },
        "endsAt": again[0]["startsAt"] }]);
    assert_eq!(post(&live, over.clone()).await.0, 200);
    until_told_over(1, &hook, "A", &["firing", "resolved"]).await;
    assert_eq!(post(&live, over).await.0, 200);
    assert_eq!(live.json("/api/v2/alerts").await, json!([]));
    assert_eq!(told(&hook, "Over"), [""; 0]);
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn bad_posts_are_answered_as_alertmanager_does() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let mixed = json!([
        { "labels": { "alertname": "Good" } },
        { "labels": {} },
        { "labels": { "a": "b" }, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z" },
    ]);
    let words = "2 errors: at least one label pair required; start time must be before end time";
    assert_eq!(post(&live, mixed).await, (400, json!(words)));
    until_told(&hook, "Good", &["firing"]).await;
    for (body, status) in [(json!({}), 400), (json!([ { "annotations": {} } ]), 422)] {
        let (found, answer) = post(&live, body).await;
        assert_eq!(found, status);
        assert!(answer["code"].is_u64() && answer["message"].is_string(), "{answer}");
    }
    let large = format!("[{}", " ".repeat(17 << 20));
    let request = live.request(Method::POST, "/api/v2/alerts").body(large);
    assert_eq!(request.send().await.unwrap().status(), 413, "also while it is still being sent");
    let bytes = b"[{\"labels\":{\"alertname\":\"Bytes\",\"x\":\"\xff\xfe\"}}]".to_vec();
    let request = live.request(Method::POST, "/api/v2/alerts").body(bytes);
    assert_eq!(request.send().await.unwrap().status(), 200);
    until_told(&hook, "Bytes", &["firing"]).await;
    for (status, text) in [("firing", 2.0), ("resolved", 0.0)] {
        let series = format!("pitcrew_alertd_alerts_received_total{{status=\"{status}\"}}");
        assert_eq!(live.metric(&series).await, Some(text), "{status}");
    }
    let refused = "pitcrew_alertd_alerts_refused_total{reason=\"invalid\"}";
    assert_eq!(live.metric(refused).await, Some(2.0));
}

/// Callers without credentials wait for one another, and hold up nobody who has some.
#[tokio::test]
async fn alerts_are_taken_at_a_rate() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let more = "limits: { posted_alerts: { max: 3, per_second: 1, burst: 2 } }";
    let live = start(folder.path(), &hook.url, more).await;
    let named = |name: &str| json!({ "labels": { "alertname": name } });
    let three = json!([named("A"), named("B"), named("C")]);
    assert_eq!(post(&live, three).await.0, 200, "overdrawn once");
    let request = live.request(Method::POST, "/api/v2/alerts").json(&json!([named("A")]));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    let refused = "pitcrew_alertd_alerts_refused_total{reason=\"too_fast\"}";
    assert_eq!(live.metric(refused).await, Some(1.0));
    let token = fs::read_to_string(folder.path().join("data/operator-token")).unwrap();
    let known = live.request(Method::POST, "/api/v2/alerts").bearer_auth(token.trim());
    let answer = known.json(&json!([named("D")])).send().await.unwrap();
    assert_eq!(answer.status(), 503, "not too fast, but three are held");
    assert!(answer.text().await.unwrap().contains("too many are held"));
}

/// Each of two peers has the same rules and posts what it sees, over and over.
#[tokio::test]
async fn two_peers_that_post_the_same_alerts_are_one_to_people() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let report = |peer: &str, ends: Option<&str>| {
        let mut alert = json!({
            "labels": { "alertname": "Same", "host": "h" },
            "generatorURL": format!("http://{peer}/graph"),
            "startsAt": if peer == "a" { "2026-01-01T00:00:00Z" } else { "2026-01-01T00:00:07Z" },
        });
        if let Some(ends) = ends {
            alert["endsAt"] = ends.into();
        }
        json!([alert])
    };
    for _ in 0..5 {
        for peer in ["a", "b"] {
            assert_eq!(post(&live, report(peer, None)).await.0, 200);
        }
    }
    until_told(&hook, "Same", &["firing"]).await;
    let shown = live.json("/api/v2/alerts").await;
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["startsAt"], "2026-01-01T00:00:00.000Z", "the earlier one's word");
    // One sees the end a little sooner; the other says it too, and both say it again.
    for _ in 0..3 {
        for (peer, end) in [("a", "2026-01-02T00:00:00Z"), ("b", "2026-01-02T00:00:05Z")] {
            assert_eq!(post(&live, report(peer, Some(end))).await.0, 200);
        }
    }
    until_told(&hook, "Same", &["firing", "resolved"]).await;
    assert_eq!(live.json("/api/v2/alerts").await, json!([]));
    assert_eq!(hook.accepted().len(), 2);
}

#[tokio::test]
async fn nobody_without_credentials_ends_what_a_rule_says_or_silences_where_there_are_users() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let target = FakeTarget::page("bad 1\n").await;
    let rules =
        "groups: [ { name: g, interval: 200ms, rules: [ { alert: Bad, expr: bad == 1 } ] } ]";
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    let user = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{name}-secret")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mode).unwrap();
    };
    user("ann");
    user("bob");
    let more = format!(
        "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}
scrape_configs: [ {{ job_name: j, static_configs: [ {{ targets: ['{}'] }} ] }} ]
rule_files: [rules.yaml]
web: {{ users: {{ ann: {{ token_file: ann, role: operator }}, bob: {{ token_file: bob }} }} }}",
        target.address
    );
    let live = start(folder.path(), &hook.url, &more).await;
    until_told(&hook, "Bad", &["firing"]).await;
    let shown = live.json("/api/v2/alerts?filter=alertname%3DBad").await;
    let over = json!([{ "labels": shown[0]["labels"], "endsAt": shown[0]["startsAt"] }]);
    assert_eq!(post(&live, over).await.0, 200);
    let wish = silence("alertname", "Bad");
    let body = json!({ "matchers": ["alertname=Bad"], "owner": "eve" });
    for path in ["/api/v2/silences", "/api/acknowledgements"] {
        let body = if path.ends_with('s') && path.contains("v2") { &wish } else { &body };
        assert_eq!(send(&live, Method::POST, path, body.clone()).await.0, 401, "{path}");
        let bob = live.request(Method::POST, path).bearer_auth("bob-secret").json(body);
        assert_eq!(bob.send().await.unwrap().status(), 403, "{path}");
    }
    let ann = live.request(Method::POST, "/api/v2/silences").bearer_auth("ann-secret").json(&wish);
    let made: Value = ann.send().await.unwrap().json().await.unwrap();
    let path = format!("/api/v2/silence/{}", made["silenceID"].as_str().unwrap());
    let kept = live.json(&path).await;
    assert_eq!((&kept["createdBy"], &kept["signedIn"]), (&json!("ann"), &json!("ann")));
    assert_eq!(live.request(Method::DELETE, &path).send().await.unwrap().status(), 401);
    let shown = live.json("/api/v2/alerts").await;
    assert_eq!(shown[0]["status"]["silencedBy"], json!([made["silenceID"]]), "{shown}");
    assert_eq!(told(&hook, "Bad"), ["firing"], "a report from nobody is not the end");
}
