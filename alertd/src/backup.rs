//! Copies of everything that alertd keeps, and their way back.
//!
//! A backup is a folder: `pitcrew.db`, `metrics/` with blocks alone, and `backup.json`, which lists
//! the other files with their checksums and is written last. The operator token is not in it.

pub mod folder;
pub mod restore;
pub mod snapshot;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::db::DbError;
use crate::model::querier::StoreError;
use crate::model::sample::Timestamp;

pub const DATABASE: &str = "pitcrew.db";
pub const SAMPLES: &str = "metrics";
const MANIFEST: &str = "backup.json";
const VERSION: u32 = 1;
/// Of the manifest: some hundred thousand files.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot {what} {path}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// There, but not what it should be.
    #[error("{path}: expected {expected}, found {found}")]
    Bad { path: PathBuf, expected: &'static str, found: String },
    #[error("another snapshot is being made")]
    Busy,
    #[error("nothing is laid ready to be restored in {0}")]
    NothingStaged(PathBuf),
    #[error("database")]
    Database(#[from] DbError),
    #[error("samples")]
    Samples(#[from] StoreError),
}

/// What `backup.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// In milliseconds since the epoch.
    pub made_at: Timestamp,
    /// That wrote it.
    pub alertd: String,
    pub files: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Relative to the backup, without `.` and `..`.
    pub path: PathBuf,
    pub bytes: u64,
    pub crc: u32,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { what, path, source }
}

impl Manifest {
    /// Reads every file in `folder` and writes down what it found: from then on it is a backup.
    pub fn write(folder: &Path, now: Timestamp) -> Result<Manifest, BackupError> {
        let mut files = Vec::new();
        for path in folder::files(folder)? {
            let full = folder.join(&path);
            let (bytes, crc) = copy(&full, &mut io::sink()).map_err(failed("read", &full))?;
            files.push(Entry { path, bytes, crc });
        }
        let alertd = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Manifest { version: VERSION, made_at: now, alertd, files };
        let path = folder.join(MANIFEST);
        let written = serde_json::to_vec_pretty(&manifest).map_err(io::Error::from);
        let written = written.and_then(|json| {
            let mut file = File::create_new(&path)?;
            file.write_all(&json)?;
            file.sync_all()
        });
        written.map_err(failed("write", &path))?;
        folder::sync(folder)?;
        Ok(manifest)
    }

    /// # Errors
    /// When `folder` is no backup, or one of a newer version.
    pub fn read(folder: &Path) -> Result<Manifest, BackupError> {
        let path = folder.join(MANIFEST);
        let mut json = Vec::new();
        let file = File::open(&path).map_err(failed("read", &path))?;
        file.take(MOST_BYTES).read_to_end(&mut json).map_err(failed("read", &path))?;
        let bad = |expected, found| BackupError::Bad { path: path.clone(), expected, found };
        let manifest: Manifest = serde_json::from_slice(&json)
            .map_err(|error| bad("a manifest written by `backup`", error.to_string()))?;
        if manifest.version != VERSION {
            return Err(bad("version 1", manifest.version.to_string()));
        }
        // A name from a file must not lead elsewhere, nor to what is no part of a backup.
        let plain = |path: &Path| {
            let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
            let known = path == Path::new(DATABASE) || path.starts_with(SAMPLES);
            path.components().all(normal) && known
        };
        match manifest.files.iter().find(|file| !plain(&file.path)) {
            Some(file) => Err(bad("files of a backup", file.path.display().to_string())),
            None => Ok(manifest),
        }
    }
}

/// How many bytes there were, and their checksum.
fn copy(from: &Path, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let mut file = File::open(from)?;
    let mut buffer = vec![0; 1 << 18];
    let (mut bytes, mut crc) = (0_u64, crc32fast::Hasher::new());
    loop {
        let read = file.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            return Ok((bytes, crc.finalize()));
        }
        crc.update(part);
        bytes += part.len() as u64;
        to.write_all(part)?;
    }
}

/// Moves `from`, which is deleted, into the new folder `to`.
pub fn move_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        other => return other.map_err(failed("move", from)),
    }
    folder::create(to)?;
    for path in folder::files(from)? {
        folder::copy_file(&from.join(&path), &to.join(&path), None)?;
    }
    folder::sync_all(to)?;
    fs::remove_dir_all(from).map_err(failed("delete", from))
}
