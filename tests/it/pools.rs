//! Persons steer pools of the real program: the command line, the API, and the operator token.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Duration;

use pitcrew_tests::{process, programs, wait};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::process::Command;

use crate::crash::World;

const LIMIT: Duration = Duration::from_secs(30);

async fn pool(world: &World, arguments: &[&str]) -> Output {
    let data = world.folder.path().join("data");
    let mut command = Command::new(programs::alertd());
    command.arg("pool").args(arguments).args(["--url", &world.url, "--data-dir"]).arg(data);
    command.env("USER", "ann").env_remove("SUDO_USER").output().await.unwrap()
}

/// Runs a command that succeeds, and gives what it printed.
async fn good(world: &World, arguments: &[&str]) -> String {
    let output = pool(world, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that fails, and gives what it said.
async fn bad(world: &World, arguments: &[&str]) -> String {
    let output = pool(world, arguments).await;
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_steers_a_pool_from_the_command_line() {
    process::tls();
    let world = World::start().await;
    let early = bad(&world, &["show"]).await;
    assert!(early.contains("is it running?"), "{early}");
    let early = bad(&world, &["hold", "ci"]).await;
    assert!(early.contains("no operator token") && early.contains("--data-dir"), "{early}");

    let _program = world.program();
    let state = async || {
        let pool = world.get("/api/pools/ci").await;
        pool.pointer("/data/state").and_then(Value::as_str).unwrap_or("").to_owned()
    };
    wait::until(LIMIT, "normal", async || state().await == "normal").await;
    let token = world.folder.path().join("data/operator-token");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);

    let shown = good(&world, &["show", "ci"]).await;
    assert!(shown.starts_with("ci (label ci-active, octo/work, auto)  normal since"), "{shown}");
    assert!(shown.contains("a-8") && !shown.contains('\u{1b}'), "{shown}");
    let json: Value = serde_json::from_str(&good(&world, &["show", "--json"]).await).unwrap();
    assert_eq!(json[0]["members"][0]["capacity"], 8);

    assert_eq!(good(&world, &["hold", "--all", "--reason", "freeze"]).await, "all pools held\n");
    let held = bad(&world, &["failover", "ci"]).await;
    assert!(held.contains("held by ann: freeze"), "{held}");
    good(&world, &["release", "--all"]).await;
    let moved = good(&world, &["failover", "ci", "--reason", "new disk"]).await;
    assert!(moved.contains("failing_over (ordered by ann: new disk)"), "{moved}");
    wait::until(LIMIT, "on the backup", async || state().await == "on_backup").await;
    let journal = world.get("/api/journal?pool=ci").await;
    let rows = journal["data"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["who"] == "ann" && row["mode"] == "person"), "{journal}");
    good(&world, &["failback", "ci"]).await;
    wait::until(LIMIT, "back", async || state().await == "normal").await;

    for (arguments, want) in [
        (&["show", "nope"][..], "there are: ci"),
        (&["failover", "nope"], "no pool is called"),
        (&["failover", "../x"], "a pool's name has only"),
        (&["release", "ci"], "no hold on ci"),
    ] {
        let said = bad(&world, arguments).await;
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
    fs::write(&token, "wrong\n").unwrap();
    let said = bad(&world, &["hold", "ci"]).await;
    assert!(said.contains("does not accept the operator token"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_token_changes_nothing() {
    process::tls();
    let world = World::start().await;
    let _program = world.program();
    let there = async || world.get("/api/pools/ci").await["data"]["state"] == "normal";
    wait::until(LIMIT, "normal", there).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["pools/ci/failover", "pools/ci/failback", "pools/ci/hold", "hold", "release"] {
        let url = format!("{}/api/{path}", world.url);
        let open = client.post(&url).send().await.unwrap();
        assert_eq!(open.status(), StatusCode::UNAUTHORIZED, "{path}");
        let wrong = client.post(&url).bearer_auth("wrong").send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let token = fs::read_to_string(world.folder.path().join("data/operator-token")).unwrap();
    let post = |path: &str, body: &'static str| {
        let url = format!("{}/api/{path}", world.url);
        client.post(url).bearer_auth(token.trim()).body(body).send()
    };
    for (path, body, want) in [
        ("pools/ci/explode", "", StatusCode::BAD_REQUEST),
        ("pools/nope/failover", "", StatusCode::NOT_FOUND),
        ("pools/nope/hold", "", StatusCode::NOT_FOUND),
        ("pools/ci/failback", "", StatusCode::CONFLICT),
        ("pools/ci/hold", "{\"why\": 1}", StatusCode::BAD_REQUEST),
        ("pools/ci/hold", "nonsense", StatusCode::BAD_REQUEST),
    ] {
        let answer = post(path, body).await.unwrap();
        assert_eq!(answer.status(), want, "{path} {body}");
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["status"], "error", "{path} {body}");
    }
    assert_eq!(world.get("/api/pools/nope").await["errorType"], "not_found");
    assert_eq!(world.get("/api/journal").await["data"], Value::Array(Vec::new()));
}
