//! The log's folder as life treats it: full, damaged, from a newer version, shared.

use std::path::Path;

use rustix::process::{Resource, Rlimit, prlimit};

use super::*;

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let stage = Stage::new();
    // A write beyond the limit then fails as one to a full disk does, instead of killing.
    let exporter = programs::exporter();
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let mut arguments = vec!["-c", script, exporter.to_str().unwrap()];
    let own = stage.arguments();
    arguments.extend(own.iter().map(String::as_str));
    let live =
        Live::ready(Path::new("/bin/sh"), &arguments, &stage.address, stage.folder.path()).await;
    let hook = stage.hook();
    let now = clock::unix_seconds();
    let send = async |id: u64| {
        let body = job(id, "completed", now);
        let answer = hook.request("workflow_job", &format!("d-{id}"), &body).send().await.unwrap();
        let again = answer.headers().get("retry-after").is_some();
        (answer.status().as_u16(), again)
    };
    for id in 0..20 {
        assert_eq!(send(id).await.0, 202);
    }
    let limit = |current| {
        let limit = Rlimit { current, maximum: None };
        prlimit(Some(live.pid()), Resource::Fsize, limit).unwrap();
    };
    limit(Some(fs::metadata(stage.path("data/workflows.db-wal")).unwrap().len()));
    for id in 20..40 {
        assert_eq!(send(id).await, (503, true), "{id}");
    }
    assert_eq!(live.sum(REFUSED).await, 20.0);
    assert_eq!(live.sum(ENDED).await, 20.0, "the page is served all the same");
    assert_eq!(live.log().matches("deliveries are refused").count(), 1, "{}", live.log());
    limit(None);
    for id in 20..40 {
        assert_eq!(send(id).await.0, 202, "asked again, it is taken");
    }
    live.logs("takes deliveries again").await;
    live.end(Signal::KILL).await;
    let live = stage.start().await;
    assert_eq!(live.sum(ENDED).await, 40.0);
}

#[tokio::test]
async fn a_log_that_cannot_be_used_is_named_and_left_alone() {
    let stage = Stage::new();
    let live = stage.start().await;
    let body = job(1, "completed", clock::unix_seconds());
    assert_eq!(stage.hook().send("workflow_job", "a", &body).await, Some(202));
    let address = stage.address.clone();
    let refused = async |wants: &[&str]| {
        let arguments = stage.arguments();
        let arguments = arguments.each_ref().map(String::as_str);
        let mut arguments = arguments.to_vec();
        arguments.extend(["--listen", "127.0.0.1:0"]);
        let end = finish(&programs::exporter(), &arguments).await;
        assert_eq!(end.code, Some(1), "{end:?}");
        for want in wants {
            assert!(end.err.contains(want), "{want}: {end:?}");
        }
        assert!(!end.err.contains("panicked"), "{end:?}");
    };
    refused(&["workflows.db is in use by another exporter"]).await;
    assert_eq!(live.url, format!("http://{address}"));
    live.end(Signal::TERM).await;
    let path = stage.path("data/workflows.db");
    let whole = fs::read(&path).unwrap();
    let mut holed = whole.clone();
    holed[200..].fill(0xa5);
    for damaged in [b"no database, but long enough to be one".repeat(200), holed] {
        fs::write(&path, &damaged).unwrap();
        refused(&["workflows.db is damaged", "move it away"]).await;
        assert_eq!(fs::read(&path).unwrap(), damaged, "the evidence stays");
    }
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&path, &newer).unwrap();
    refused(&["was written by a newer version (schema 99, this one knows 1)"]).await;
    fs::write(&path, &whole).unwrap();
    let live = stage.start().await;
    assert_eq!(live.sum(ENDED).await, 1.0);
}
