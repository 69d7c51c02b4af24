//! Debian's amtool, verb by verb.

use std::process::Stdio;

use pitcrew_tests::live::{Finished, finish};
use pitcrew_tests::peers;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::*;

/// Runs it against alertd with these words.
async fn amtool(live: &Live, words: &str) -> Finished {
    let url = format!("--alertmanager.url={}", live.url);
    let words: Vec<&str> = words.split(' ').chain([url.as_str()]).collect();
    finish(&peers::amtool(), &words).await
}

/// What it prints when all goes well.
#[track_caller]
fn good(done: &Finished) -> &str {
    assert_eq!(done.code, Some(0), "{done:?}");
    &done.out
}

#[tokio::test]
async fn alerts_are_added_and_queried() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    for (name, more) in [
        ("Down", "severity=critical host=h1 --annotation=summary=gone"),
        ("Slow", "severity=warning host=h1"),
        ("Slow", "severity=warning host=h2 --generator-url=http://p.test/graph"),
    ] {
        good(&amtool(&live, &format!("alert add {name} {more}")).await);
    }
    until_told(&hook, "Down", &["firing"]).await;
    for (words, has, lacks) in [
        ("alert", "Down", "h1"),
        ("alert query", "Slow", "nothing"),
        ("alert query Down", "Down", "Slow"),
        ("alert query alertname=~S.*", "Slow", "Down"),
        ("alert query severity!=warning", "Down", "Slow"),
        ("alert query --inhibited host=h1 alertname=Slow", "Slow", "Down"),
        ("alert query --receiver=page", "Down", "Slow"),
        ("alert query -o extended Slow host=h2", "http://p.test/graph", "h1"),
    ] {
        let done = amtool(&live, words).await;
        let out = good(&done);
        assert!(out.contains(has) && !out.contains(lacks), "{words}: {out}");
    }
    let done = amtool(&live, "alert query --inhibited -o json Slow").await;
    let list: Value = serde_json::from_str(good(&done)).unwrap();
    let hosts = |list: &Value| {
        let host = |one: &Value| one["labels"]["host"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(host).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&list), ["h1"], "only what is inhibited: {list}");
    let active = amtool(&live, "alert query -o json Slow").await;
    let active: Value = serde_json::from_str(good(&active)).unwrap();
    assert_eq!(hosts(&active), ["h2"], "amtool asks for what nothing keeps back: {active}");
    good(
        &amtool(&live, "alert add Over --start=2020-01-01T00:00:00Z --end=2020-01-02T00:00:00Z")
            .await,
    );
    let bad = amtool(&live, "alert query Down host=~(").await;
    assert_ne!(bad.code, Some(0), "{bad:?}");
}

#[tokio::test]
async fn silences_are_added_queried_updated_imported_and_expired() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let added = amtool(&live, "silence add -c disk -a ann -d 2h Down host=~h.*").await;
    let id = good(&added).trim().to_owned();
    let path = format!("/api/v2/silence/{id}");
    let found = live.json(&path).await;
    assert_eq!((&found["createdBy"], &found["comment"]), (&json!("ann"), &json!("disk")));
    good(&amtool(&live, "alert add Down host=h1").await);
    good(&amtool(&live, "alert add Down host=x1").await);
    let silenced = amtool(&live, "alert query --silenced -o json Down").await;
    let silenced: Value = serde_json::from_str(good(&silenced)).unwrap();
    let by = |host: &str| {
        let one = silenced.as_array().unwrap().iter().find(|one| one["labels"]["host"] == host);
        one.map(|one| one["status"]["silencedBy"].clone())
    };
    assert_eq!(by("h1"), Some(json!([id])), "{silenced}");

    for (words, has) in [
        ("silence", &*id),
        ("silence query", &id),
        ("silence query Down", &id),
        ("silence query host=~h.*", &id),
        ("silence query -o extended", "disk"),
        ("silence query -q --created-by=ann", &id),
    ] {
        let done = amtool(&live, words).await;
        assert!(good(&done).contains(has), "{words}: {done:?}");
    }
    let none = amtool(&live, "silence query -q Other").await;
    assert_eq!(good(&none).trim(), "");

    let ends = found["endsAt"].clone();
    let updated = amtool(&live, &format!("silence update -d 5h -c longer {id}")).await;
    assert!(good(&updated).contains(&id), "{updated:?}");
    let found = live.json(&path).await;
    assert!(found["endsAt"].as_str() > ends.as_str() && found["comment"] == "longer", "{found}");

    let exported = amtool(&live, "silence query -o json").await;
    let exported = good(&exported).to_owned();
    good(&amtool(&live, &format!("silence expire {id}")).await);
    assert_eq!(live.json(&path).await["status"]["state"], "expired");
    let done = amtool(&live, "silence query -q").await;
    assert_eq!(good(&done).trim(), "", "what ended is not listed");
    let done = amtool(&live, "silence query -q --expired").await;
    assert_eq!(good(&done).trim(), id);

    let url = format!("--alertmanager.url={}", live.url);
    let mut import = Command::new(peers::amtool())
        .args(["silence", "import", "--force", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    input.write_all(exported.as_bytes()).await.unwrap();
    drop(input);
    let output = import.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let done = amtool(&live, "silence query -q").await;
    let again = good(&done).trim().to_owned();
    assert!(!again.is_empty() && again != id, "{again}");
    let missing = "silence expire 0b6c8d1e-9f0a-4b1c-8d2e-3f4a5b6c7d8e";
    assert_ne!(amtool(&live, missing).await.code, Some(0));
}

#[tokio::test]
async fn cluster_and_configuration_are_shown() {
    let (folder, hook) = (tempfile::tempdir().unwrap(), FakeWebhook::start().await);
    let live = start(folder.path(), &hook.url, "").await;
    let done = amtool(&live, "cluster show -o extended").await;
    assert!(good(&done).contains("disabled"), "{done:?}");
    let done = amtool(&live, "config show").await;
    let shown = good(&done);
    assert!(shown.contains("receiver: team") && !shown.contains("hidden"), "{shown}");
    let done = amtool(&live, "config routes test severity=critical").await;
    assert_eq!(good(&done).trim(), "page");
    let done = amtool(&live, "config routes show").await;
    assert!(good(&done).contains("receiver: page"), "{done:?}");
}
