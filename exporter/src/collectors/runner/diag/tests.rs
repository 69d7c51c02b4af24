//! Logs that grow, rotate, shrink, and are not logs at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

const ONE: &str = "Runner_20250723-020000-utc.log";
const TWO: &str = "Runner_20250723-030000-utc.log";
const PLENTY: u64 = 1 << 40;

struct Host {
    root: tempfile::TempDir,
    diag: Diag,
    jobs: Jobs,
}

impl Host {
    fn new() -> Host {
        let root = tempfile::tempdir().unwrap();
        Host { root, diag: Diag::default(), jobs: Jobs::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Reads with this many bytes and returns the number of jobs that succeeded.
    fn read(&mut self, mut budget: u64) -> u64 {
        let folder = Folder::open(self.root.path()).unwrap();
        self.diag.read(&folder, &mut self.jobs, &mut budget, 0).unwrap();
        self.jobs.finished[0]
    }
}

fn start(job: u32) -> String {
    format!(
        "[2025-07-23 02:00:00Z INFO JobDispatcher] Send job request message to worker for job {job:08}-0000-0000-0000-000000000000.\n"
    )
}

fn finish(job: u32) -> String {
    let id = format!("{job:08}-0000-0000-0000-000000000000");
    format!(
        "[2025-07-23 02:00:09Z INFO JobDispatcher] finish job request for job {id} with result: Succeeded\n\
             [2025-07-23 02:00:09Z INFO JobDispatcher] Stop renew job request for job {id}.\n"
    )
}

fn job(id: u32) -> String {
    start(id) + &finish(id)
}

#[test]
fn reads_only_what_is_new() {
    let mut host = Host::new();
    assert_eq!(host.read(PLENTY), 0);
    host.append(ONE, &job(1));
    assert_eq!(host.read(PLENTY), 1);
    assert_eq!(host.read(PLENTY), 1);
    let (half, rest) = (start(2), finish(2));
    let (begun, end) = rest.split_at(70);
    host.append(ONE, &(half + begun));
    assert_eq!(host.read(PLENTY), 1, "the last line is half written");
    host.append(ONE, end);
    assert_eq!(host.read(PLENTY), 2);
}

#[test]
fn follows_a_job_into_the_next_file() {
    let mut host = Host::new();
    host.append(ONE, &(job(1) + &start(2)));
    host.append("Worker_20250723-020000-utc.log", &job(7));
    host.append("Runner_x-utc.log", &job(8));
    assert_eq!(host.read(PLENTY), 1);
    host.append(TWO, &finish(2));
    assert_eq!(host.read(PLENTY), 2);
    fs::remove_file(host.path(ONE)).unwrap();
    assert_eq!(host.read(PLENTY), 2);
}

#[test]
fn a_file_that_shrinks_or_is_replaced_is_read_from_its_start() {
    let mut host = Host::new();
    host.append(ONE, &(job(1) + &job(2)));
    assert_eq!(host.read(PLENTY), 2);
    fs::write(host.path(ONE), job(3)).unwrap();
    assert_eq!(host.read(PLENTY), 3);
    fs::write(host.path("new"), job(4) + &job(5) + &job(6)).unwrap();
    fs::rename(host.path("new"), host.path(ONE)).unwrap();
    assert_eq!(host.read(PLENTY), 6);
}

#[test]
fn a_small_budget_takes_more_scrapes_and_says_so() {
    let mut host = Host::new();
    for at in 0..2000 {
        host.append(ONE, &job(at));
    }
    assert!(host.read(70_000) < 2000);
    assert!(!host.diag.caught_up, "what was there at first is not yet counted whole");
    for _ in 0..20 {
        host.read(70_000);
    }
    assert_eq!(host.read(0), 2000);
    assert!(host.diag.caught_up);
}

#[test]
fn hostile_files_cost_little() {
    let mut host = Host::new();
    let sparse = fs::File::create(host.path(ONE)).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let other = tempfile::NamedTempFile::new().unwrap();
    fs::write(other.path(), job(9)).unwrap();
    symlink(other.path(), host.path("Runner_20250723-040000-utc.log")).unwrap();
    let fifo = host.path("Runner_20250723-050000-utc.log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    fs::create_dir(host.path("Runner_20250723-060000-utc.log")).unwrap();
    let long = "x".repeat(3 * MOST_LINE) + "\n";
    host.append(TWO, &(long + &job(1) + "\n\n[\n"));
    fs::write(host.path("Runner_20250723-070000-utc.log"), b"\xff\xfe\x00\n").unwrap();
    assert_eq!(host.read(PLENTY), 1);
    assert!(host.diag.caught_up);
    assert!(host.diag.skipped_bytes >= (1 << 30) - WINDOW, "{}", host.diag.skipped_bytes);
    // What grows after one endless line is found again.
    host.append(ONE, &("\n".to_owned() + &job(2)));
    assert_eq!(host.read(PLENTY), 2);
}
