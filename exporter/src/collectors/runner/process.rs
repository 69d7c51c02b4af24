//! The agent's processes on this host, from `/proc`: who they are and whether they run.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::Folder;

pub(super) const LISTENER: &str = "Runner.Listener";
pub(super) const WORKER: &str = "Runner.Worker";

/// A process that bears one of the agent's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// [`LISTENER`] or [`WORKER`].
    pub program: &'static str,
    /// The executable's path; what the process itself claims when the kernel does not tell us.
    pub executable: PathBuf,
    /// The real user.
    pub uid: u32,
}

/// The agent's processes that are neither dead nor stopped.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub running: Vec<Process>,
    /// False when this host hides other users' processes from us (`hidepid`): then a listener that
    /// we do not see is not known to be down.
    pub complete: bool,
}

/// Processes of the agent's names that are looked into; a user may start any number.
const MOST: usize = 1024;
/// Read of one file: enough of `status` for the state and the user, and of a command line for the
/// longest path.
const MOST_BYTES: usize = 4096;
/// After so many looks a process that is not the agent's is taken for settled.
const LOOKS: u8 = 3;
/// A settled process is looked at again in one of so many scans, as it may become another program.
const ROUNDS: u32 = 8;

/// Finds the agent's processes, scan after scan.
///
/// Reading every process' name would be most of the collector's cost, and nearly all processes are
/// the same in the next scan. The agent's are started as new processes, which are read at once.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    round: u32,
    /// Processes that are not the agent's, by number.
    others: Vec<Other>,
}

#[derive(Debug, Clone, Copy)]
struct Other {
    pid: u32,
    /// The kernel gives a process that gets an old number another inode.
    inode: u64,
    looks: u8,
}

impl Scanner {
    /// Reads the names of new processes and, of the few that bear the agent's, the rest.
    pub(super) fn scan(&mut self, proc_root: &Path) -> io::Result<Processes> {
        let root = Folder::open(proc_root)?;
        let mut buffer = [0; MOST_BYTES];
        let mut others = Vec::with_capacity(self.others.len());
        let (mut found, mut first_seen, mut unseen) = (Vec::new(), false, false);
        self.round = self.round.wrapping_add(1);
        for entry in Dir::read_from(&root)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            let Some(pid) = number else { continue };
            first_seen |= pid == 1;
            let looks = self.looks(pid, entry.ino());
            let settled = looks >= LOOKS && !(pid.wrapping_add(self.round)).is_multiple_of(ROUNDS);
            let program = match settled {
                true => Ok(None),
                false => program(&root, name, &mut buffer),
            };
            match program {
                Ok(None) => {
                    let looks = looks.saturating_add(1);
                    others.push(Other { pid, inode: entry.ino(), looks });
                }
                Ok(Some(program)) if found.len() < MOST => {
                    found.extend(inspect(&root, name, program, &mut buffer));
                }
                // It ended meanwhile.
                Err(Errno::NOENT | Errno::SRCH) => {}
                Ok(Some(_)) | Err(_) => unseen = true,
            }
        }
        others.sort_unstable_by_key(|other| other.pid);
        self.others = others;
        Ok(Processes { running: found, complete: first_seen && !unseen })
    }

    /// How often this very process was looked at and was not the agent's.
    fn looks(&self, pid: u32, inode: u64) -> u8 {
        let at = self.others.binary_search_by_key(&pid, |other| other.pid);
        let known = at.ok().and_then(|at| self.others.get(at));
        known.filter(|other| other.inode == inode).map_or(0, |other| other.looks)
    }
}

/// The agent's program that a process is named after, if any.
fn program(
    root: &Folder,
    pid: &[u8],
    buffer: &mut [u8; MOST_BYTES],
) -> Result<Option<&'static str>, Errno> {
    Ok(match read(root, pid, "comm", buffer)? {
        b"Runner.Listener\n" => Some(LISTENER),
        b"Runner.Worker\n" => Some(WORKER),
        _ => None,
    })
}

/// The beginning of a file of one process.
fn read<'a>(
    root: &Folder,
    pid: &[u8],
    file: &str,
    buffer: &'a mut [u8; MOST_BYTES],
) -> Result<&'a [u8], Errno> {
    let file = rustix::fs::openat(
        root,
        path(pid, file).as_path(),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let read = rustix::io::read(&file, &mut buffer[..])?;
    Ok(buffer.get(..read).unwrap_or_default())
}

fn path(pid: &[u8], file: &str) -> PathBuf {
    Path::new(OsStr::from_bytes(pid)).join(file)
}

/// `None` when it ended meanwhile, is a zombie, or is stopped.
fn inspect(
    root: &Folder,
    pid: &[u8],
    program: &'static str,
    buffer: &mut [u8; MOST_BYTES],
) -> Option<Process> {
    let status = read(root, pid, "status", buffer).ok()?;
    let uid = alive_uid(&String::from_utf8_lossy(status))?;
    let executable = match root.link_text(&path(pid, "exe")) {
        Ok(executable) => executable,
        // Only the owner may read the link, so take the process at its word.
        Err(_) => {
            let line = read(root, pid, "cmdline", buffer).ok()?;
            let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
            PathBuf::from(OsStr::from_bytes(first))
        }
    };
    Some(Process { program, executable: without_deleted(executable), uid })
}

/// An executable replaced by an update while it runs still belongs to its installation.
fn without_deleted(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(kept) => PathBuf::from(OsStr::from_bytes(kept)),
        None => path,
    }
}

/// The real uid from `/proc/PID/status`, unless the process is dead, a zombie or stopped.
///
/// The owner of the folder would not do: the kernel gives it to root as soon as a process makes
/// itself undumpable, which anybody's process may.
fn alive_uid(status: &str) -> Option<u32> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()
    };
    match field("State:")? {
        "Z" | "X" | "x" | "T" => None,
        _ => field("Uid:")?.parse().ok(),
    }
}

/// Whether this host runs systemd, as `sd_booted(3)` tells.
pub(super) fn has_systemd() -> bool {
    rustix::fs::accessat(
        CWD,
        "/run/systemd/system",
        rustix::fs::Access::EXISTS,
        rustix::fs::AtFlags::empty(),
    )
    .is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct FakeProc(tempfile::TempDir);

    impl FakeProc {
        fn add(&self, pid: &str, comm: &str, state: &str, uid: u32, argv: &str) -> PathBuf {
            let folder = self.0.path().join(pid);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
            let status = format!("Name:\t{comm}\nState:\t{state} (x)\nUid:\t{uid}\t0\t0\t0\n");
            fs::write(folder.join("status"), status).unwrap();
            fs::write(folder.join("cmdline"), argv).unwrap();
            folder
        }
    }

    #[test]
    fn finds_living_agents_by_executable_or_command_line() {
        let host = FakeProc(tempfile::tempdir().unwrap());
        fs::create_dir(host.0.path().join("self")).unwrap();
        host.add("1", "systemd", "S", 0, "/sbin/init\0");
        host.add("20", "Runner.Listener", "S", 1000, "/r/bin/Runner.Listener\0run\0");
        let exe = host.add("21", "Runner.Worker", "R", 1000, "/lie\0").join("exe");
        symlink("/r/bin.2.326.0/Runner.Worker (deleted)", exe).unwrap();
        host.add("22", "Runner.Listener", "Z", 1000, "");
        host.add("23", "Runner.Listener", "T", 1000, "/r/bin/Runner.Listener\0");
        host.add("24", "Runner.Listenerx", "S", 1000, "/r/bin/Runner.Listener\0");
        let seen = Scanner::default().scan(host.0.path()).unwrap();
        let mut running = seen.running;
        running.sort_by_key(|process| process.program);
        let process =
            |program, path: &str| Process { program, executable: PathBuf::from(path), uid: 1000 };
        // The kernel cuts a name after 15 characters, so 24 bears the agent's name too: its
        // executable tells them apart later.
        assert!(seen.complete);
        assert_eq!(running.len(), 2);
        assert_eq!(running[0], process(LISTENER, "/r/bin/Runner.Listener"));
        assert_eq!(running[1], process(WORKER, "/r/bin.2.326.0/Runner.Worker"));
    }

    #[test]
    fn new_processes_are_seen_at_once_and_changed_ones_soon() {
        let host = FakeProc(tempfile::tempdir().unwrap());
        let mut scanner = Scanner::default();
        let mut running = || scanner.scan(host.0.path()).unwrap().running.len();
        let early = host.add("20", "bash", "S", 1000, "");
        for _ in 0..2 * LOOKS {
            assert_eq!(running(), 0);
        }
        host.add("21", "Runner.Listener", "S", 1000, "/r/bin/Runner.Listener\0");
        assert_eq!(running(), 1);
        fs::write(early.join("comm"), "Runner.Worker\n").unwrap();
        assert!((0..ROUNDS).any(|_| running() == 2), "it was another program before");
        assert_eq!(running(), 2);
        // Another process under an old number.
        fs::remove_dir_all(&early).unwrap();
        host.add("22", "bash", "S", 1000, "");
        assert_eq!(running(), 1);
    }

    #[test]
    fn a_host_that_hides_processes_is_said_to() {
        let host = FakeProc(tempfile::tempdir().unwrap());
        host.add("20", "bash", "S", 1000, "bash\0");
        let mut scanner = Scanner::default();
        assert!(!scanner.scan(host.0.path()).unwrap().complete, "process 1 is not to be seen");
        assert!(scanner.scan(&host.0.path().join("none")).is_err());
    }

    #[test]
    fn hostile_status_is_no_process() {
        for status in
            ["", "State:\n", "State:\tS (x)\nUid:\n", "State:\tS\nUid:\t-1\n", "Uid:\t0\n"]
        {
            assert_eq!(alive_uid(status), None, "{status:?}");
        }
    }
}
