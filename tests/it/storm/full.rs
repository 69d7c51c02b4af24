//! The storm while the database's disk is full.

use std::fs;
use std::path::Path;

use pitcrew_tests::live::{Live, PATIENCE};
use pitcrew_tests::{programs, wait};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

use super::Storm;

#[tokio::test]
async fn a_full_disk_refuses_posts_and_loses_nothing() {
    let mut storm = Storm::new().await;
    let alertd = programs::alertd();
    // A write beyond the limit then fails as one to a full disk does, instead of killing.
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let arguments = ["-c", script, alertd.to_str().unwrap(), "run", "--config", &storm.config()];
    let folder = storm.folder.path().to_owned();
    let mut live = Live::start(Path::new("/bin/sh"), &arguments, &storm.address, &folder);
    storm.is_up(&mut live).await;
    let set = |limit| {
        let limit = Rlimit { current: limit, maximum: None };
        prlimit(Some(live.pid()), Resource::Fsize, limit).unwrap();
    };
    for _ in 0..3 {
        for _ in 0..5 {
            storm.blow(&live).await;
        }
        // From here on the database does not grow; the folder of samples is none of it.
        let wal = fs::metadata(folder.join("data/pitcrew.db-wal")).unwrap().len();
        set(Some(wal.max(16 * 1024)));
        let before = storm.refused;
        wait::until(PATIENCE, "posts are refused", async || {
            storm.blow(&live).await;
            storm.refused >= before + 3
        })
        .await;
        set(None);
        wait::until(PATIENCE, "posts are taken again", async || {
            storm.post(&live).await;
            storm.doubtful.is_empty()
        })
        .await;
    }
    storm.calm(&live).await;
    assert_eq!(storm.repeats(), 0);
    assert_eq!(live.end(Signal::TERM).await.0, Some(0));
}
