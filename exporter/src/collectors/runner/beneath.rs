//! Opens what others can write: beneath one folder, through no symlink, regular files only, bounded.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// For folders: no more than a handle is needed to open what lies beneath.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// For files: a FIFO in a file's place must not make the open wait.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// An open folder; what is opened through it cannot lie elsewhere.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens a path that the configuration names; symlinks in it are the administrator's choice.
    pub(super) fn open(path: &Path) -> io::Result<Folder> {
        Ok(Folder(rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?))
    }

    /// Opens a folder beneath this one; a symlink or `..` on the way is an error.
    pub(super) fn folder(&self, relative: &Path) -> io::Result<Folder> {
        Ok(Folder(open_beneath(&self.0, relative, FOLDER)?))
    }

    /// Opens a regular file beneath this folder; anything else in its place is an error.
    pub(super) fn file(&self, relative: &Path) -> io::Result<File> {
        let file = File::from(open_beneath(&self.0, relative, FILE)?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// Reads a file whole; one that is larger than `limit` bytes is an error.
    pub(super) fn read(&self, relative: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.file(relative)?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that grows while it is read.
        file.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("larger than {limit} bytes"),
            )),
            false => Ok(bytes),
        }
    }

    /// The names in this folder, at most `most`, without `.` and `..`, in no order.
    pub(super) fn names(&self, most: usize) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() == most {
                break;
            }
            names.push(OsStr::from_bytes(name).to_owned());
        }
        Ok(names)
    }

    /// What stands under one name in this folder itself; a symlink is not followed.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.0, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The text of a symlink beneath this folder, unresolved.
    pub(super) fn link_text(&self, name: &Path) -> io::Result<PathBuf> {
        let text = rustix::fs::readlinkat(&self.0, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(text.to_bytes())))
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = File::from(self.0.try_clone()?).metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open_beneath(folder: &OwnedFd, relative: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder, relative, flags, Mode::empty(), rules) {
        // Kernels before 5.6 do not know the call; some container sandboxes answer EPERM to it.
        Err(Errno::NOSYS | Errno::PERM) => open_stepwise(folder, relative, flags),
        other => Ok(other?),
    }
}

/// The same one name at a time, so that no step can be a symlink.
fn open_stepwise(folder: &OwnedFd, relative: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV.into()),
        }
    }
    let last = names.pop().unwrap_or(OsStr::new("."));
    let mut at = folder.try_clone()?;
    for name in names {
        at = rustix::fs::openat(&at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(rustix::fs::openat(&at, last, flags | OFlags::NOFOLLOW, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_beneath_the_folder_open() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(at("real/file"), "ok").unwrap();
        symlink(outside.path().join("secret"), at("link")).unwrap();
        symlink("real/file", at("inner")).unwrap();
        symlink(outside.path(), at("dir")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();

        let folder = Folder::open(root.path()).unwrap();
        for open in [open_beneath, open_stepwise] {
            for (path, opens) in [
                ("real/file", true),
                ("link", false),
                ("inner", false),
                ("dir/secret", false),
                ("../secret", false),
                ("/etc/hostname", false),
                ("nothing", false),
                (".", true),
            ] {
                assert_eq!(open(&folder.0, Path::new(path), FILE).is_ok(), opens, "{path}");
            }
        }
        assert!(folder.file(Path::new("fifo")).is_err(), "a FIFO neither waits nor opens");
        assert!(folder.file(Path::new("real")).is_err(), "a folder is not a file");
        assert_eq!(folder.read(Path::new("real/file"), 2).unwrap(), b"ok");
        assert!(folder.read(Path::new("real/file"), 1).is_err(), "larger than allowed");
        assert!(folder.folder(Path::new("dir")).is_err());
    }
}
