//! Silences and acknowledgements over the API: their life, their words, and what they do.

use rustix::process::Signal;

use super::*;

#[tokio::test]
async fn a_silence_lives_is_changed_and_ends() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let set = async |body: Value| send(&live, Method::POST, "/api/v2/silences", body).await;
    let (status, made) = set(silence("alertname", "A")).await;
    assert_eq!(status, 200, "{made}");
    let id = made["silenceID"].as_str().unwrap().to_owned();
    let path = format!("/api/v2/silence/{id}");
    let found = live.json(&path).await;
    let matcher = json!([{ "name": "alertname", "value": "A", "isRegex": false, "isEqual": true }]);
    assert_eq!((&found["id"], &found["matchers"]), (&json!(id), &matcher));
    assert_eq!(found["status"], json!({ "state": "active" }));
    assert_eq!(found["endsAt"], "2099-01-01T00:00:00.000Z");
    assert!(found["startsAt"].as_str().unwrap() > "2026", "not before it was made: {found}");

    // Longer: the same one. Of something else: a new one, and the old one ends.
    let with = |key: &str, value: Value| {
        let mut body = found.clone();
        body[key] = value;
        body
    };
    let (_, made) = set(with("endsAt", json!("2099-06-01T00:00:00Z"))).await;
    assert_eq!(made["silenceID"], json!(id));
    let (_, made) = set(with("matchers", silence("alertname", "B")["matchers"].clone())).await;
    let next = made["silenceID"].as_str().unwrap().to_owned();
    assert_ne!(next, id);
    assert_eq!(live.json(&path).await["status"]["state"], "expired");

    let ids = async |path: &str| {
        let list = live.json(path).await;
        let ids = list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("/api/v2/silences").await, [next.clone(), id.clone()], "what holds comes first");
    assert_eq!(ids("/api/v2/silences?filter=alertname%3DA").await, std::slice::from_ref(&id));
    assert_eq!(ids("/api/v2/silences?filter=alertname%3D~A").await, [""; 0]);

    for (body, status, words) in [
        (silence("", "x"), 400, "invalid silence: invalid label matcher 0: invalid label name"),
        (silence("a", ""), 400, "invalid silence: at least one matcher must not match the empty"),
        (with("id", json!("0b6c8d1e-9f0a-4b1c-8d2e-3f4a5b6c7d8e")), 404, "silence not found"),
        (
            with("endsAt", json!("2020-01-01T00:00:00Z")),
            400,
            "Failed to create silence: start time must be before end time",
        ),
    ] {
        let (found, answer) = set(body).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.as_str().unwrap().starts_with(words), "{answer}");
    }
    let past = json!({ "matchers": matcher, "createdBy": "", "comment": "",
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2020-01-02T00:00:00Z" });
    let words = "Failed to create silence: end time can't be in the past";
    assert_eq!(set(past).await, (400, json!(words)));
    assert_eq!(set(json!({})).await.0, 422);
    let delete = async |id: &str| {
        let path = format!("/api/v2/silence/{id}");
        live.request(Method::DELETE, &path).send().await.unwrap().status().as_u16()
    };
    assert_eq!(delete("x").await, 422);
    assert_eq!(delete("0b6c8d1e-9f0a-4b1c-8d2e-3f4a5b6c7d8e").await, 404);
    assert_eq!((delete(&next).await, delete(&next).await), (200, 200));
    live.end(Signal::KILL).await;
    let live = run(folder.path(), &free_address()).await;
    let list = live.json("/api/v2/silences").await;
    let states = list.as_array().unwrap().iter().map(|one| &one["status"]["state"]);
    assert_eq!(states.collect::<Vec<_>>(), ["expired", "expired"], "they stay ended");
}

#[tokio::test]
async fn what_is_silenced_or_inhibited_is_shown_so_and_its_end_is_told() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let alert = |name: &str, severity: &str| json!({ "labels": { "alertname": name, "severity": severity, "host": "h" } });
    post(&live, json!([alert("Silenced", "info"), alert("Inhibited", "warning")])).await;
    until_told(&hook, "Silenced", &["firing"]).await;
    until_told(&hook, "Inhibited", &["firing"]).await;
    let mut wish = silence("alertname", "Silenced");
    wish["endsWithAlert"] = json!(true);
    let (_, made) = send(&live, Method::POST, "/api/v2/silences", wish).await;
    post(&live, json!([alert("Source", "critical")])).await;
    let names = async |query: &str| {
        let list = live.json(&format!("/api/v2/alerts{query}")).await;
        let name = |one: &Value| one["labels"]["alertname"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = list.as_array().unwrap().iter().map(name).collect();
        names.sort();
        names.join(" ")
    };
    for (query, want) in [
        ("", "Inhibited Silenced Source"),
        ("?active=false", "Inhibited Silenced"),
        ("?silenced=false", "Inhibited Source"),
        ("?inhibited=false", "Silenced Source"),
        ("?silenced=false&inhibited=false&unprocessed=false", "Source"),
        ("?filter=severity%3D~%22w.*%22", "Inhibited"),
        ("?filter=host%3Dh&filter=alertname!%3DSource", "Inhibited Silenced"),
        ("?receiver=pa.*", "Source"),
        ("?receiver=pa", ""),
        ("?receiver_matchers=name%3Dpage", "Source"),
    ] {
        assert_eq!(names(query).await, want, "{query}");
    }
    let list = live.json("/api/v2/alerts").await;
    let status = |name: &str| {
        let found = list.as_array().unwrap().iter().find(|one| one["labels"]["alertname"] == name);
        found.unwrap()["status"].clone()
    };
    assert_eq!(status("Silenced")["state"], "suppressed");
    assert_eq!(status("Silenced")["silencedBy"], json!([made["silenceID"]]));
    let source = list.as_array().unwrap().iter().find(|one| one["labels"]["alertname"] == "Source");
    assert_eq!(status("Inhibited")["inhibitedBy"], json!([source.unwrap()["fingerprint"]]));
    let groups = live.json("/api/v2/alerts/groups?silenced=false").await;
    let labels: Vec<_> = groups.as_array().unwrap().iter().map(|one| &one["labels"]).collect();
    assert_eq!(labels, [&json!({ "alertname": "Inhibited" }), &json!({ "alertname": "Source" })]);
    assert_eq!(groups[1]["receiver"], json!({ "name": "page" }));

    let over = |name: &str, severity: &str| {
        let mut one = alert(name, severity);
        one["endsAt"] = json!("2026-01-01T00:00:00Z");
        one
    };
    post(&live, json!([over("Silenced", "info"), over("Inhibited", "warning")])).await;
    // An end before they began is not theirs; this one is.
    let now = |name: &str, severity: &str| {
        let mut one = alert(name, severity);
        one["endsAt"] = list[0]["updatedAt"].clone();
        one["startsAt"] = list[0]["updatedAt"].clone();
        one
    };
    post(&live, json!([now("Silenced", "info"), now("Inhibited", "warning")])).await;
    until_told(&hook, "Silenced", &["firing", "resolved"]).await;
    until_told(&hook, "Inhibited", &["firing", "resolved"]).await;
    let path = format!("/api/v2/silence/{}", made["silenceID"].as_str().unwrap());
    wait::until(PATIENCE, "the silence ends with its alert", async || {
        live.json(&path).await["status"]["state"] == "expired"
    })
    .await;
}

#[tokio::test]
async fn who_looks_after_an_alert_is_kept_shown_and_told() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let alert = |host: &str| json!({ "labels": { "alertname": "A", "host": host } });
    post(&live, json!([alert("1")])).await;
    until_told(&hook, "A", &["firing"]).await;
    let path = "/api/acknowledgements";
    let wish = json!({ "matchers": ["alertname=A"], "owner": "ann", "note": "on it\n!" });
    let (status, answer) = send(&live, Method::POST, path, wish).await;
    assert_eq!((status, &answer["data"][0]["note"]), (200, &json!("on it !")), "{answer}");
    for (wish, want) in [
        (json!({ "matchers": ["alertname=B"], "owner": "ann" }), 404),
        (json!({ "fingerprint": "0123", "owner": "ann" }), 400),
        (json!({ "owner": "ann" }), 400),
        (json!({ "matchers": ["alertname=A"], "owner": " " }), 400),
    ] {
        assert_eq!(send(&live, Method::POST, path, wish).await.0, want);
    }
    live.end(Signal::KILL).await;
    let live = run(folder.path(), &free_address()).await;
    assert_eq!(live.json(path).await["data"][0]["owner"], "ann");
    // One more of the group: what is told then says who looks after the first.
    post(&live, json!([alert("2")])).await;
    wait::until(PATIENCE, "told with its owner", async || {
        hook.accepted().iter().any(|request| request.body.to_string().contains("ann: on it !"))
    })
    .await;
    let shown = live.json("/api/v2/alerts?filter=host%3D1").await;
    let over = json!([{ "labels": shown[0]["labels"], "endsAt": shown[0]["startsAt"] }]);
    post(&live, over).await;
    wait::until(PATIENCE, "it ends with its alert", async || {
        live.json(path).await["data"] == json!([])
    })
    .await;
}
