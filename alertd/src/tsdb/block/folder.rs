//! Folders of blocks on disk: a name says whether the whole of it is there.
//!
//! `NAME` is a block, `NAME.part` one being written, `NAME.gone` one being deleted, `NAME.bad` one
//! that could not be trusted.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::BlockError;
use super::meta::Meta;

pub(super) const CHUNKS: &str = "chunks";
pub(super) const INDEX: &str = "index";
pub(super) const META: &str = "meta.json";
const PART: &str = "part";
const GONE: &str = "gone";
const BAD: &str = "bad";

/// What a folder within the folder of blocks is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    /// Of a write or a deletion that did not end.
    Leftover,
    SetAside,
    Foreign,
}

pub(super) fn kind(name: &str) -> Kind {
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    let ours = |c: char| c.is_ascii_hexdigit() || c == '-';
    match ending {
        _ if stem.is_empty() || !stem.chars().all(ours) => Kind::Foreign,
        "" if stem == name => Kind::Block,
        PART | GONE => Kind::Leftover,
        BAD => Kind::SetAside,
        _ => Kind::Foreign,
    }
}

/// By its times and something that no other block has.
pub(super) fn name(meta: &Meta) -> String {
    format!("{:013}-{:013}-{:08x}", meta.min.0, meta.max.0, fastrand::u32(..))
}

pub(super) fn failed(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> BlockError + use<> {
    let path = path.to_owned();
    move |source| BlockError::Io { what, path, source }
}

/// A folder that goes with its handle unless it is published.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    published: bool,
}

impl Part {
    pub(super) fn new(within: &Path) -> Result<Part, BlockError> {
        let path = within.join(format!("{:016x}.{PART}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&path).map_err(failed("create", &path))?;
        Ok(Part { path, published: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder, whose files are synced, its name: from then on the block is there.
    pub(super) fn publish(mut self, name: &str) -> Result<PathBuf, BlockError> {
        sync_folder(&self.path)?;
        let path = self.path.with_file_name(name);
        fs::rename(&self.path, &path).map_err(failed("rename", &self.path))?;
        self.published = true;
        sync_folder(path.parent().unwrap_or(Path::new("")))?;
        Ok(path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.published {
            delete(&self.path);
        }
    }
}

pub(super) fn sync_folder(path: &Path) -> Result<(), BlockError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}

/// Deletes a block for good; half of one does not come back after a crash.
pub(super) fn delete(path: &Path) {
    let gone = path.with_extension(GONE);
    let deleted = fs::rename(path, &gone).and_then(|()| fs::remove_dir_all(&gone));
    if let Err(error) = deleted {
        // What is left is deleted at the next start.
        warn!(%error, path = %path.display(), "block was not deleted");
    }
}

/// Renames a block so that it is not opened again, and a person can look at it.
pub(super) fn set_aside(path: &Path) {
    if let Err(error) = fs::rename(path, path.with_extension(BAD)) {
        warn!(%error, path = %path.display(), "bad block was not renamed");
    }
}
