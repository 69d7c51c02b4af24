//! A program that ingests is killed with signal 9 again and again; whatever it was acknowledged is
//! there afterwards.
#![expect(clippy::print_stdout, reason = "the number of kills is a figure to be read")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitcrew_tests::ingest::{self, Told, WRITERS};
use pitcrew_tests::live::PATIENCE;
use pitcrew_tests::process::Process;
use pitcrew_tests::{programs, wait};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinHandle;

/// Kills in `make test`; `make sweep` asks for more.
const SHORT: usize = 10;
/// With one folder; then a new one is begun, so that checking stays quick.
const KILLS: usize = 25;

struct Load {
    folder: tempfile::TempDir,
    told: Arc<Mutex<Told>>,
}

/// The program, and what reads its output.
struct Running(Process, JoinHandle<()>);

impl Load {
    fn new() -> Load {
        Load { folder: tempfile::tempdir().unwrap(), told: Arc::default() }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Goes on behind what was acknowledged. The words come first, in a shell.
    fn start(&self, first: &str) -> Running {
        let numbers = self.told().next.map(|number| number.to_string());
        let program = programs::ingest();
        let script = format!("{first} exec \"$0\" \"$@\"");
        let (program, store) = (program.to_str().unwrap(), self.store());
        let mut arguments = vec!["-c", &script, program, store.to_str().unwrap()];
        arguments.extend(numbers.iter().map(String::as_str));
        let mut process = Process::with_output(Path::new("/bin/sh"), &arguments, Stdio::piped());
        let output = process.child().stdout.take().unwrap();
        let told = Arc::clone(&self.told);
        let listening = tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                told.lock().unwrap().line(&line);
            }
        });
        Running(process, listening)
    }

    /// Opens what is there and checks it.
    fn check(&self) -> usize {
        let told = self.told();
        let (store, report) = ingest::open(&self.store(), told.least());
        assert_eq!(report.orphans, 0, "{report:?}");
        ingest::check(&store, &told.next)
    }
}

impl Running {
    async fn kill(self) {
        self.0.kill().await;
        self.1.await.unwrap();
    }
}

#[tokio::test]
async fn every_acknowledged_sample_survives() {
    let wanted = std::env::var("PITCREW_SWEEP").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(SHORT);
    let mut random = fastrand::Rng::new();
    let (mut kills, mut checked, mut batches) = (0, 0, 0);
    while kills < wanted {
        let load = Load::new();
        for _ in 0..KILLS.min(wanted - kills) {
            let before = load.told().batches();
            let running = load.start("");
            // Some are killed while they open the store, most while they ingest.
            if random.u32(..5) > 0 {
                let acknowledged = async || load.told().batches() > before;
                wait::until(PATIENCE, "an acknowledged batch", acknowledged).await;
            }
            tokio::time::sleep(Duration::from_micros(random.u64(..200_000))).await;
            running.kill().await;
            kills += 1;
            checked += load.check();
        }
        batches += load.told().batches();
    }
    println!("kill sweep: {kills} kills, {batches} batches, {checked} samples checked, none lost");
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    let load = Load::new();
    // A write beyond the limit then fails as one to a full disk does, instead of killing.
    let running = load.start("trap '' XFSZ;");
    wait::until(PATIENCE, "some batches", async || load.told().least() > 30).await;
    let limit = |limit| {
        let pid = Pid::from_raw(running.0.pid().cast_signed());
        prlimit(pid, Resource::Fsize, Rlimit { current: limit, maximum: None }).unwrap();
    };
    for _ in 0..3 {
        let before = load.told().full;
        let refused = async || {
            // Some bytes of the next record fit into the log that is written now: another one begins
            // at any time.
            let logs = fs::read_dir(load.store().join("wal")).unwrap();
            let newest = logs.map(|entry| entry.unwrap().path()).max().unwrap();
            limit(fs::metadata(newest).ok().map(|data| data.len() + 50));
            load.told().full >= before + 2 * WRITERS
        };
        wait::until(PATIENCE, "refusals", refused).await;
        limit(None);
        let next = load.told().least();
        wait::until(PATIENCE, "more", async || load.told().least() > next + 30).await;
    }
    running.kill().await;
    assert!(load.check() > 0);
}
