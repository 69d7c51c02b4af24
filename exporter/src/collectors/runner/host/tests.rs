//! A host in a temporary directory: installations, a `/proc`, and tricks.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::clock;

struct FakeHost(tempfile::TempDir);

impl FakeHost {
    fn new() -> FakeHost {
        let host = FakeHost(tempfile::tempdir().unwrap());
        host.process(1, "systemd", "/sbin/init");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn install(&self, folder: &str, name: &str) -> PathBuf {
        let root = self.path(folder);
        for sub in ["_diag", "_work", "bin"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        let json = format!(
            "\u{feff}{{\"agentName\": {name:?}, \"gitHubUrl\": \"https://github.com/o/r\"}}"
        );
        fs::write(root.join(".runner"), json).unwrap();
        root
    }

    fn process(&self, pid: u32, comm: &str, argv0: &str) {
        let uid = rustix::process::getuid().as_raw();
        self.process_of(uid, pid, comm, argv0);
    }

    fn process_of(&self, uid: u32, pid: u32, comm: &str, argv0: &str) {
        let folder = self.path(&format!("proc/{pid}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(folder.join("status"), format!("State:\tS (sleeping)\nUid:\t{uid}\n")).unwrap();
        fs::write(folder.join("cmdline"), format!("{argv0}\0run\0")).unwrap();
    }

    fn reader(&self) -> Host {
        self.reader_at(Path::new("/"), self.path("home/*/r*"))
    }

    fn reader_at(&self, root: &Path, pattern: PathBuf) -> Host {
        Host::new(&[pattern], &self.path("proc"), root, Duration::from_secs(3600))
    }
}

fn read(host: &mut Host) -> Snapshot {
    host.read(clock::monotonic(), 0).unwrap()
}

#[test]
fn tells_listener_worker_and_room() {
    let fake = FakeHost::new();
    let root = fake.install("home/a/r1", "one");
    fake.install("home/a/r2", "two");
    fake.process(20, LISTENER, root.join("bin/Runner.Listener").to_str().unwrap());
    fake.process(21, WORKER, root.join("bin.2.326.0/Runner.Worker").to_str().unwrap());
    let mut host = fake.reader();
    let snapshot = read(&mut host);
    let [one, two] = &snapshot.runners[..] else { panic!("{snapshot:?}") };
    assert_eq!((one.name.as_str(), one.scope.as_str()), ("one", "o/r"));
    assert_eq!((one.listener_up, one.busy), (Some(true), Some(true)));
    assert_eq!((two.listener_up, two.busy), (Some(false), Some(false)));
    assert_eq!(snapshot.workers, Some(1));
    assert_eq!(one.space.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["_work", "_diag"]);
    assert!(one.space.iter().all(|(_, space)| space.size_bytes >= space.avail_bytes));
    assert!(one.jobs.is_some());

    // Killed: gone from /proc, and the next read says so.
    fs::remove_dir_all(fake.path("proc/20")).unwrap();
    assert_eq!(read(&mut host).runners[0].listener_up, Some(false));
    // Without process 1 we do not see everybody's processes.
    fs::remove_dir_all(fake.path("proc/1")).unwrap();
    let hidden = read(&mut host);
    assert_eq!((hidden.runners[0].listener_up, hidden.runners[0].busy), (None, Some(true)));
}

#[test]
fn a_process_counts_only_for_its_own_installation_and_user() {
    let fake = FakeHost::new();
    let root = fake.install("home/a/r1", "one");
    let other = rustix::process::getuid().as_raw() + 1;
    fake.process_of(other, 20, LISTENER, root.join("bin/Runner.Listener").to_str().unwrap());
    fake.process(21, LISTENER, "/elsewhere/bin/Runner.Listener");
    fake.process(22, "bash", root.join("bin/Runner.Listener").to_str().unwrap());
    fake.process(23, WORKER, root.join("_work/r/bin/Runner.Worker").to_str().unwrap());
    let snapshot = read(&mut fake.reader());
    assert_eq!((snapshot.runners[0].listener_up, snapshot.workers), (Some(false), Some(0)));
    assert_eq!(snapshot.elsewhere, 1, "its folder is not among the roots, or not ours to read");
}

#[test]
fn one_name_belongs_to_the_installation_that_runs() {
    let fake = FakeHost::new();
    fake.install("home/a/r1", "one");
    let root = fake.install("home/b/r1", "one");
    let mut host = fake.reader();
    assert_eq!(read(&mut host).refused.duplicate_name, 1);
    fake.process(20, LISTENER, root.join("bin/Runner.Listener").to_str().unwrap());
    for alive in [true, false] {
        let snapshot = read(&mut host);
        let names: Vec<_> = snapshot.runners.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names, snapshot.refused.duplicate_name), (vec!["one"], 1));
        // When it dies the name stays with it: the other one must not hide the death.
        assert_eq!(snapshot.runners[0].listener_up, Some(alive));
        fs::remove_dir_all(fake.path("proc/20")).ok();
    }
}

#[test]
fn registering_anew_is_noticed_at_once_and_keeps_the_counts_of_the_same_name() {
    let fake = FakeHost::new();
    let root = fake.install("home/a/r1", "one");
    let log = "[2025-07-23 02:00:00Z INFO JobDispatcher] Send job request message to worker for job e5f216c1-7ded-5e5d-b721-52490562157d.\n\
               [2025-07-23 02:00:09Z INFO JobDispatcher] finish job request for job e5f216c1-7ded-5e5d-b721-52490562157d with result: Failed\n";
    let path = root.join("_diag/Runner_20250723-020000-utc.log");
    fs::write(&path, log).unwrap();
    let mut host = fake.reader();
    assert_eq!(read(&mut host).runners[0].jobs.as_ref().unwrap().counts[1], 1);
    fs::remove_file(&path).unwrap();
    fs::remove_file(root.join(".runner")).unwrap();
    fake.install("home/a/r1", "one");
    assert_eq!(read(&mut host).runners[0].jobs.as_ref().unwrap().counts[1], 1);
    fs::remove_file(root.join(".runner")).unwrap();
    fake.install("home/a/r1", "renamed");
    assert_eq!(read(&mut host).runners[0].name, "renamed");
    fs::remove_dir_all(&root).unwrap();
    assert!(read(&mut host).runners.is_empty());
}

#[test]
fn hostile_folders_are_refused_and_hurt_no_other() {
    let fake = FakeHost::new();
    fake.install("home/a/r1", "good");
    let secret = fake.install("root/r9", "secret");
    symlink(&secret, fake.path("home/a/r2")).unwrap();
    symlink(secret.join("_diag"), fake.install("home/a/r3", "links").join("x")).unwrap();
    for name in ["_diag", "_work"] {
        fs::remove_dir(fake.path("home/a/r3").join(name)).unwrap();
        symlink(secret.join(name), fake.path("home/a/r3").join(name)).unwrap();
    }
    fs::write(fake.install("home/a/r4", "x").join(".runner"), "{").unwrap();
    let fifo = fake.install("home/a/r5", "x").join(".runner");
    fs::remove_file(&fifo).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let linked = fake.install("home/a/r6", "x").join(".runner");
    fs::remove_file(&linked).unwrap();
    symlink(secret.join(".runner"), &linked).unwrap();
    let sparse = fake.install("home/a/r7", "x").join(".runner");
    fs::File::create(&sparse).unwrap().set_len(1 << 30).unwrap();
    fake.install("home/a/r8", "quo\"te\n}");

    let snapshot = read(&mut fake.reader());
    let names: Vec<_> = snapshot.runners.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["good", "links", "quo_te__"]);
    assert!(snapshot.runners[1].space.is_empty(), "a linked folder is not followed");
    let want = Refused { unreadable: 3, malformed: 1, duplicate_name: 0, too_many: 0 };
    assert_eq!(snapshot.refused, want);
}

/// An exporter in a container sees the folders below a mount point, and processes without it.
#[test]
fn a_mounted_root_is_no_part_of_the_processes_paths() {
    let fake = FakeHost::new();
    fake.install("home/a/r1", "one");
    fake.process(20, LISTENER, "/home/a/r1/bin/Runner.Listener");
    let snapshot = read(&mut fake.reader_at(fake.0.path(), PathBuf::from("/home/*/r*")));
    assert_eq!(snapshot.runners[0].listener_up, Some(true));
}
