//! Space and inodes per mounted file system, from the mount table and `statvfs`.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use regex::Regex;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use super::{CollectError, Collector, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

/// As node_exporter leaves them out.
const EXCLUDED_MOUNT_POINTS: &str =
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
const EXCLUDED_TYPES: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|\
    fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|\
    selinuxfs|squashfs|sysfs|tracefs)$";
/// A file system that does not answer within this time is left alone until it does.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many may be found not to answer in one scrape, which is to end in time; and so many in all,
/// as each holds a thread. The rest counts as not answering until these do.
const MOST_FOUND: usize = 3;
const MOST_HANGING: usize = 16;

/// Their `statvfs` reads counters in memory and never waits for a disk or a server.
const IN_MEMORY: &[&str] = &["ext2", "ext3", "ext4", "ramfs", "tmpfs", "xfs"];

const LABELS: &[&str] = &["device", "fstype", "mountpoint"];

const fn gauge(name: &'static str, help: &'static str) -> Desc {
    Desc::gauge(name, help).with_labels(LABELS)
}

const SIZE: Desc = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.");
const FREE: Desc = gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.");
const AVAIL: Desc =
    gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.");
const FILES: Desc = gauge("node_filesystem_files", "Filesystem total file nodes.");
const FILES_FREE: Desc = gauge("node_filesystem_files_free", "Filesystem total free file nodes.");
const READONLY: Desc = gauge("node_filesystem_readonly", "Filesystem read-only status.");
const DEVICE_ERROR: Desc = gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
);
pub(super) const DESCS: &[Desc] = &[SIZE, FREE, AVAIL, FILES, FILES_FREE, READONLY, DEVICE_ERROR];

type Ask = fn(&Path) -> io::Result<Space>;

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Filesystem::new(config, space, PATIENCE))
}

struct Filesystem {
    proc_root: PathBuf,
    root: PathBuf,
    mount_points: Regex,
    types: Regex,
    ask: Ask,
    patience: Duration,
    /// Mount points that a thread is asking right now; what is here between two scrapes hangs.
    asked: Arc<Mutex<HashSet<PathBuf>>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Mount {
    device: String,
    /// As the host sees it.
    point: String,
    kind: String,
    readonly: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Space {
    size: f64,
    free: f64,
    avail: f64,
    files: f64,
    files_free: f64,
}

impl Filesystem {
    fn new(config: &Config, ask: Ask, patience: Duration) -> Filesystem {
        let host = &config.collectors.host;
        Filesystem {
            proc_root: host.proc_root.clone(),
            root: host.root.clone(),
            mount_points: Regex::new(EXCLUDED_MOUNT_POINTS).expect("a constant"),
            types: Regex::new(EXCLUDED_TYPES).expect("a constant"),
            ask,
            patience,
            asked: Arc::default(),
        }
    }

    /// The mounts to report, each once, in the order of the table.
    fn mounts(&self) -> Result<Vec<Mount>, CollectError> {
        // The first process has the host's mounts, even from inside a service's own name space.
        let files = ["1/mounts", "self/mounts", "mounts"].map(|file| self.proc_root.join(file));
        let table = files.iter().find_map(|path| Some((path, read(path).ok()?)));
        let (path, text) = match table {
            Some(table) => table,
            None => (&files[2], read(&files[2])?),
        };
        let (mut mounts, mut seen) = (Vec::new(), HashSet::new());
        for line in text.lines() {
            let mount = parse(line, &self.root.to_string_lossy()).ok_or_else(|| {
                CollectError::parse(path, "device, mount point, type, options", line)
            })?;
            let excluded =
                self.mount_points.is_match(&mount.point) || self.types.is_match(&mount.kind);
            let labels = (mount.device.clone(), mount.point.clone(), mount.kind.clone());
            if !excluded && seen.insert(labels) {
                mounts.push(mount);
            }
        }
        Ok(mounts)
    }

    /// Asks one file system after the other: on this thread those that answer from memory, on one
    /// of their own the others; when one of these hangs, the rest go on on the next thread. `None`
    /// for what failed or hangs.
    async fn ask_all(&self, mounts: &[Mount]) -> Vec<Option<Space>> {
        let paths = mounts.iter().map(|mount| self.root.join(mount.point.trim_start_matches('/')));
        let paths: Vec<PathBuf> = paths.collect();
        let mut answers: Vec<Option<Space>> = vec![None; mounts.len()];
        let hanging = lock(&self.asked).clone();
        let mut left = Vec::new();
        for (at, mount) in mounts.iter().enumerate() {
            match IN_MEMORY.contains(&mount.kind.as_str()) {
                true => answers[at] = (self.ask)(&paths[at]).ok(),
                false if hanging.contains(&paths[at]) => {}
                false => left.push(at),
            }
        }
        for _ in 0..MOST_FOUND {
            if left.is_empty() || lock(&self.asked).len() >= MOST_HANGING {
                break;
            }
            let (sender, mut inbox) = mpsc::channel(left.len());
            let (ask, asked) = (self.ask, Arc::clone(&self.asked));
            let work: Vec<_> = left.iter().map(|at| paths[*at].clone()).collect();
            tokio::task::spawn_blocking(move || {
                for path in work {
                    lock(&asked).insert(path.clone());
                    let answer = ask(&path);
                    lock(&asked).remove(&path);
                    // Nobody waits any more: another thread has the rest.
                    if sender.try_send(answer).is_err() {
                        return;
                    }
                }
            });
            let mut done = 0;
            while let Ok(Some(answer)) = timeout(self.patience, inbox.recv()).await {
                answers[left[done]] = answer.ok();
                done += 1;
            }
            if let Some(at) = left.get(done) {
                warn!(mountpoint = mounts[*at].point, "file system does not answer");
            }
            left.drain(..left.len().min(done + 1));
        }
        answers
    }
}

#[async_trait]
impl Collector for Filesystem {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let mounts = self.mounts()?;
        let answers = self.ask_all(&mounts).await;
        let all = || mounts.iter().zip(&answers);
        let labels =
            |mount: &Mount| [mount.device.clone(), mount.kind.clone(), mount.point.clone()];
        let flag = |set: bool| f64::from(u8::from(set));
        for (mount, answer) in all() {
            let labels = labels(mount);
            let labels = labels.each_ref().map(String::as_str);
            out.add(&DEVICE_ERROR, &labels, flag(answer.is_none()));
            out.add(&READONLY, &labels, flag(mount.readonly));
            if let Some(space) = answer {
                out.add(&SIZE, &labels, space.size);
                out.add(&FREE, &labels, space.free);
                out.add(&AVAIL, &labels, space.avail);
                out.add(&FILES, &labels, space.files);
                out.add(&FILES_FREE, &labels, space.files_free);
            }
        }
        Ok(())
    }
}

/// One line of the mount table, its mount point as seen from `root`.
///
/// Source: fstab(5), fields 1 to 4; white space in them is written as octal escapes. In the name of
/// the device these stay, as node_exporter leaves them.
fn parse(line: &str, root: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let (device, point) = (fields.next()?.to_owned(), unescape(fields.next()?));
    let (kind, options) = (fields.next()?.to_owned(), fields.next()?);
    let inside = match root {
        "/" => point.as_str(),
        root => point.strip_prefix(root.trim_end_matches('/')).unwrap_or(&point),
    };
    let point = if inside.is_empty() { "/" } else { inside }.to_owned();
    Some(Mount { device, point, kind, readonly: options.split(',').any(|option| option == "ro") })
}

fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    match text.contains('\\') {
        // The backslash goes last, so that what it yields is not read as an escape.
        true => escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
        false => text.to_owned(),
    }
}

fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
    Ok(Space {
        size: bytes(stat.f_blocks),
        free: bytes(stat.f_bfree),
        avail: bytes(stat.f_bavail),
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

fn lock(asked: &Mutex<HashSet<PathBuf>>) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
