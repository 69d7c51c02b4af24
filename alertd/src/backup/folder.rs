//! Folders that are there whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{BackupError, Entry, copy, failed};

/// Deeper than any that is written.
const MOST_DEEP: usize = 8;

/// For its owner alone; it may be there.
pub fn create(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("create", path))
}

pub fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

/// The folder and those in it.
pub fn sync_all(path: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(path).map_err(failed("list", path))? {
        let entry = entry.map_err(failed("list", path))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_all(&entry.path())?;
        }
    }
    sync(path)
}

/// Deletes what is there, file or folder.
pub fn delete(path: &Path) -> Result<(), BackupError> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    let deleted = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    deleted.map_err(failed("delete", path))
}

/// The files in `folder` and the folders in it, relative to it, sorted; links are left out.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    walk(folder, &PathBuf::new(), MOST_DEEP, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn walk(
    root: &Path,
    within: &Path,
    deep: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), BackupError> {
    let folder = root.join(within);
    for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
        let entry = entry.map_err(failed("list", &folder))?;
        let kind = entry.file_type().map_err(failed("read", &entry.path()))?;
        let path = within.join(entry.file_name());
        if kind.is_dir() && deep > 0 {
            walk(root, &path, deep - 1, found)?;
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// Copies a file with its folder, and syncs it.
///
/// # Errors
/// Also when what was read is not what `want` says.
pub(super) fn copy_file(from: &Path, to: &Path, want: Option<&Entry>) -> Result<(), BackupError> {
    create(to.parent().unwrap_or(Path::new("")))?;
    let options = File::options().write(true).create_new(true).mode(0o600).open(to);
    let mut file = options.map_err(failed("create", to))?;
    let (bytes, crc) = copy(from, &mut file).map_err(failed("copy", from))?;
    file.sync_all().map_err(failed("sync", to))?;
    match want.filter(|want| (want.bytes, want.crc) != (bytes, crc)) {
        Some(_) => Err(BackupError::Bad {
            path: from.into(),
            expected: "what was there when the backup was made",
            found: format!("{bytes} bytes with checksum {crc:08x}"),
        }),
        None => Ok(()),
    }
}
