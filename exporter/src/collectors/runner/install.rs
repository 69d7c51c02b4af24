//! One runner installation: what `.runner` and `.service` say, and the handle to read the rest by.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, AsRawFd};
use serde::Deserialize;

use super::beneath::Folder;
use super::find::MARK;
use super::label::clean;

/// `.runner` takes a few hundred bytes, `.service` one line.
const MOST_BYTES: u64 = 64 * 1024;

/// A folder in which GitHub's agent was configured.
#[derive(Debug)]
pub(super) struct Installation {
    /// As the pattern found it, and without symlinks in the administrator's part; both as the host's
    /// processes see them.
    pub path: PathBuf,
    pub real_path: PathBuf,
    pub folder: Folder,
    /// Device and inode of the folder.
    pub identity: (u64, u64),
    /// The user who configured it: the owner of `.runner`. Only that user's processes count.
    pub owner: u32,
    /// Fit to be label values; `name` is not empty.
    pub name: String,
    pub group: String,
    /// `owner/name`, an organisation, or `enterprises/NAME`; empty when `.runner` does not say.
    pub scope: String,
    pub ephemeral: bool,
    /// Beneath the folder; `None` when the agent was given a folder elsewhere.
    pub work_folder: Option<PathBuf>,
    /// The systemd unit, when one was installed.
    pub unit: Option<String>,
    stamp: [Stamp; 2],
}

/// What changes when a file is written or replaced: inode, size, modification time.
type Stamp = Option<(u64, i64, i64, u64)>;

/// Why a folder that holds `.runner` is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `.runner` cannot be opened or is not a plain, small file.
    Unreadable,
    /// `.runner` is not what the agent writes.
    Malformed,
}

/// The agent's own names; it writes more than these.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    agent_name: String,
    #[serde(default)]
    pool_name: String,
    #[serde(default)]
    git_hub_url: String,
    #[serde(default)]
    work_folder: String,
    #[serde(default)]
    ephemeral: bool,
}

impl Installation {
    /// `None` when nothing was configured in this folder. `root` is where the host's root is
    /// mounted.
    pub(super) fn read(
        path: &Path,
        folder: Folder,
        root: &Path,
    ) -> Option<Result<Installation, Refusal>> {
        let stamp = [stamp(&folder, MARK), stamp(&folder, SERVICE)];
        match folder.file(Path::new(MARK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => Some(read(path, folder, root, stamp)),
        }
    }

    /// Whether it was registered anew, or its service changed, since it was read.
    pub(super) fn is_stale(&self) -> bool {
        self.stamp != [stamp(&self.folder, MARK), stamp(&self.folder, SERVICE)]
    }

    /// Whether an executable path is this installation's `bin*/PROGRAM`.
    ///
    /// The agent updates itself into `bin.VERSION` and points `bin` there.
    pub(super) fn owns(&self, executable: &Path, program: &str) -> bool {
        let Some(bin) = executable.parent() else { return false };
        let in_bin =
            bin.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"bin"));
        let root = bin.parent();
        in_bin
            && executable.file_name() == Some(OsStr::new(program))
            && (root == Some(&self.path) || root == Some(&self.real_path))
    }

    /// A folder in the file system that jobs write to.
    pub(super) fn work_space(&self) -> Option<Folder> {
        let work_folder = self.work_folder.as_ref()?;
        match self.folder.folder(work_folder) {
            // The agent makes it for its first job, here.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folder.folder(Path::new(".")).ok()
            }
            other => other.ok(),
        }
    }

    /// The version that `bin` points to once the agent has updated itself.
    pub(super) fn version_of_bin(&self) -> Option<String> {
        let link = self.folder.link_text(Path::new("bin")).ok()?;
        Some(clean(link.file_name()?.to_str()?.strip_prefix("bin.")?))
    }
}

const SERVICE: &str = ".service";

fn read(
    path: &Path,
    folder: Folder,
    root: &Path,
    stamp: [Stamp; 2],
) -> Result<Installation, Refusal> {
    let unreadable = |_: io::Error| Refusal::Unreadable;
    let file = folder.file(Path::new(MARK)).map_err(unreadable)?;
    let owner = file.metadata().map_err(unreadable)?.uid();
    let bytes = folder.read(Path::new(MARK), MOST_BYTES).map_err(unreadable)?;
    // The agent writes a byte order mark.
    let json = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let settings: Settings = serde_json::from_slice(json).map_err(|_| Refusal::Malformed)?;
    let name = clean(&settings.agent_name);
    if name.is_empty() {
        return Err(Refusal::Malformed);
    }
    let unit = folder.read(Path::new(SERVICE), MOST_BYTES).ok();
    let fd = folder.as_fd().as_raw_fd();
    let real_path = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    Ok(Installation {
        path: on_host(path, root),
        real_path: on_host(&real_path, &root.canonicalize().unwrap_or_default()),
        identity: folder.identity().map_err(unreadable)?,
        owner,
        name,
        group: clean(&settings.pool_name),
        scope: scope(&settings.git_hub_url),
        ephemeral: settings.ephemeral,
        work_folder: work_folder(&settings.work_folder),
        unit: unit.and_then(|bytes| unit_name(&bytes)),
        folder,
        stamp,
    })
}

/// A path without the mount point of the host's root.
fn on_host(path: &Path, root: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| path.to_owned(), |below| Path::new("/").join(below))
}

fn stamp(folder: &Folder, name: &str) -> Stamp {
    let stat = folder.stat(OsStr::new(name)).ok()?;
    Some((stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}

/// The path of `https://github.com/owner/name`.
fn scope(url: &str) -> String {
    let after = url.split_once("://").map_or("", |(_, after)| after);
    clean(after.split_once('/').map_or("", |(_, path)| path).trim_matches('/'))
}

fn work_folder(text: &str) -> Option<PathBuf> {
    let text = if text.is_empty() { "_work" } else { text };
    Path::new(text).is_relative().then(|| PathBuf::from(text))
}

/// The unit's name, if it is one that the agent's own installer makes: the file's writer must not
/// choose which of the host's services we ask about, nor an option of the command we ask with.
fn unit_name(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let ours = text.starts_with("actions.runner.") && text.ends_with(".service");
    (ours && text.len() <= 255 && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(files: &[(&str, &[u8])]) -> Option<Result<Installation, Refusal>> {
        let root = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(root.path().join(name), bytes).unwrap();
        }
        Installation::read(root.path(), Folder::open(root.path()).unwrap(), Path::new("/"))
    }

    #[test]
    fn reads_what_the_agent_writes() {
        let json = "\u{feff}{\n  \"agentId\": 7,\n  \"agentName\": \"dell-r640-01-1\",\n  \"poolId\": 1,\
            \n  \"poolName\": \"Default\",\n  \"serverUrl\": \"https://pipelines.actions.githubusercontent.com/x\",\
            \n  \"gitHubUrl\": \"https://github.com/owner/name\",\n  \"workFolder\": \"_work\"\n}";
        let unit = b"actions.runner.owner-name.dell-r640-01-1.service\n";
        let found = read_from(&[(".runner", json.as_bytes()), (".service", unit)]);
        let found = found.unwrap().unwrap();
        assert_eq!(
            (found.name.as_str(), found.group.as_str(), found.scope.as_str(), found.ephemeral),
            ("dell-r640-01-1", "Default", "owner/name", false)
        );
        let want = "actions.runner.owner-name.dell-r640-01-1.service";
        assert_eq!(found.unit.as_deref(), Some(want));
        assert_eq!(found.work_folder, Some(PathBuf::from("_work")));
        assert_eq!(found.owner, rustix::process::getuid().as_raw());
        let bin = |text: &str| found.path.join(text);
        for (path, want) in [
            ("bin/Runner.Listener", true),
            ("bin.2.326.0/Runner.Listener", true),
            ("_work/bin/Runner.Listener", false),
            ("bin/Runner.Worker", false),
            ("Runner.Listener", false),
        ] {
            assert_eq!(found.owns(&bin(path), "Runner.Listener"), want, "{path}");
        }
    }

    #[test]
    fn refuses_what_it_does_not() {
        assert!(read_from(&[]).is_none());
        let deep = [b"[".repeat(60_000), b"]".repeat(60_000)].concat();
        for (bytes, want) in [
            (&b"{}"[..], Refusal::Malformed),
            (b"", Refusal::Malformed),
            (b"{\"agentName\": \" \"}", Refusal::Malformed),
            (b"{\"agentName\": \"\xff\"}", Refusal::Malformed),
            (&deep[..60_000], Refusal::Malformed),
            (&deep, Refusal::Unreadable),
        ] {
            assert_eq!(read_from(&[(".runner", bytes)]).unwrap().unwrap_err(), want);
        }
    }

    #[test]
    fn only_units_of_the_agent_are_asked_about() {
        for (text, taken) in [
            ("actions.runner.o-r.n.service", true),
            ("sshd.service", false),
            ("--help", false),
            ("actions.runner.x.service --now", false),
            ("actions.runner.x\nactions.runner.y.service", false),
        ] {
            assert_eq!(unit_name(text.as_bytes()).is_some(), taken, "{text}");
        }
        assert_eq!(unit_name(b"\xff"), None);
    }
}
