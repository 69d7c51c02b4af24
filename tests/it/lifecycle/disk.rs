//! The data directory as life treats it: shared, closed, damaged, full.

use std::path::Path;

use pitcrew_tests::live::finish;
use rustix::process::{Resource, Rlimit, prlimit};

use super::*;

async fn refused(stage: &Stage, wants: &[&str]) {
    let end = finish(&programs::alertd(), &["run", "--config", &stage.config()]).await;
    assert_eq!(end.code, Some(2), "{end:?}");
    for want in wants {
        assert!(end.err.contains(want), "{want}: {end:?}");
    }
    assert!(!end.err.contains("panicked"), "{end:?}");
}

#[tokio::test]
async fn a_second_alertd_is_refused_and_the_first_goes_on() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    let config = stage.folder.path().join("alertd.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&stage.address, "127.0.0.1:0")).unwrap();
    let data = stage.folder.path().join("data");
    refused(&stage, &[data.to_str().unwrap(), "in use by another alertd"]).await;
    wait::until(PATIENCE, "the first", async || stage.told("Firing") == ["firing"]).await;
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let stage = Stage::new().await;
    let config = stage.folder.path().join("alertd.yaml");
    let text = fs::read_to_string(&config).unwrap();
    // Not even the administrator can make a folder in these places.
    for (place, want) in [("rules.yaml/data", "Not a directory"), ("/proc/pitcrew", "")] {
        fs::write(&config, text.replace("data_dir: data", &format!("data_dir: {place}"))).unwrap();
        refused(&stage, &["cannot use data directory", place, want]).await;
    }
}

#[tokio::test]
async fn a_damaged_database_is_named_and_left_alone() {
    let stage = Stage::new().await;
    let live = stage.start().await;
    wait::until(PATIENCE, "firing", async || stage.told("Firing") == ["firing"]).await;
    live.end(Signal::TERM).await;
    let path = stage.folder.path().join("data/pitcrew.db");
    let whole = fs::read(&path).unwrap();
    let cut = whole.len() / 2;
    let holed: Vec<u8> =
        whole.iter().enumerate().map(|(at, byte)| if at < 100 { *byte } else { 0xa5 }).collect();
    for damaged in [b"not a database, but long enough to be one".repeat(200), holed] {
        fs::write(&path, &damaged).unwrap();
        refused(&stage, &[path.to_str().unwrap()]).await;
        assert_eq!(fs::read(&path).unwrap(), damaged, "the evidence stays");
    }
    // Half a database may open; whatever happens, it is no panic.
    fs::write(&path, &whole[..cut]).unwrap();
    let mut live = start(&stage, &[]);
    wait::until(PATIENCE, "an answer or an end", async || {
        live.ended().is_some() || live.try_get("/-/ready").await.is_some()
    })
    .await;
    assert!(!live.log().contains("panicked"), "{}", live.log());
}

/// Starts it under a shell that first does what the words say.
fn start(stage: &Stage, first: &[&str]) -> Live {
    let alertd = programs::alertd();
    let script = format!("{} exec \"$0\" \"$@\"", first.concat());
    let arguments = ["-c", &script, alertd.to_str().unwrap(), "run", "--config", &stage.config()];
    Live::start(Path::new("/bin/sh"), &arguments, &stage.address, stage.folder.path())
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_told() {
    let stage = Stage::new().await;
    stage.target.set(page("broken 0\n"));
    // A write beyond the limit then fails as one to a full disk does, instead of killing.
    let live = start(&stage, &["trap '' XFSZ;"]);
    wait::until(PATIENCE, "up", async || live.value("up").await == Some(1.0)).await;

    // From here on no file of the database grows.
    let size =
        |name: &str| fs::metadata(stage.folder.path().join("data").join(name)).unwrap().len();
    let limit = size("pitcrew.db-wal").max(16 * 1024);
    let set = |limit| {
        let limit = Rlimit { current: limit, maximum: None };
        prlimit(Some(live.pid()), Resource::Fsize, limit).unwrap();
    };
    set(Some(limit));
    stage.target.set(page("broken 1\n"));
    let failures = [
        "pitcrew_alertd_rule_state_save_failures_total",
        "pitcrew_alertd_group_flush_failures_total",
    ];
    for metric in failures {
        let counted = async || live.metric(metric).await.is_some_and(|count| count > 1.0);
        wait::until(PATIENCE, metric, counted).await;
    }
    assert!(live.log().contains("database failed"), "{}", live.log());
    assert_eq!(state(&live, "Firing").await.as_deref(), Some("firing"), "rules go on");
    assert!(live.text("/").await.contains("Firing"), "the page does too");
    assert!(stage.told("Firing").is_empty(), "nothing is told that is not on disk first");

    set(None);
    wait::until(PATIENCE, "told", async || stage.told("Firing") == ["firing"]).await;
    stage.target.set(page("broken 0\n"));
    let both = ["firing", "resolved"];
    wait::until(PATIENCE, "resolved", async || stage.told("Firing") == both).await;
    let (code, took) = live.end(Signal::TERM).await;
    assert_eq!(code, Some(0));
    assert!(took < END, "{took:?}");
}
