//! Batches on their way into the store and the queues, written down first: what a kill finds between
//! the two is given to both by the next run.
//!
//! Each call that appends holds a file of its own while it does, so nobody waits for another. The
//! files are not synced: they, like the queues, outlive the program and not the machine.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::queue::{Place, Record, segment};
use super::Payload;

#[derive(Debug)]
pub(super) struct UnderWay {
    folder: PathBuf,
    /// Empty files; as many as there were calls at a time.
    free: Mutex<Vec<File>>,
    next: AtomicU64,
}

impl UnderWay {
    /// The second value are the files of the last run.
    pub(super) fn open(folder: &Path) -> io::Result<(UnderWay, Vec<PathBuf>)> {
        fs::create_dir_all(folder)?;
        let (mut left, mut next) = (Vec::new(), 0);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(number) = segment::number(&entry.file_name()) {
                next = next.max(number.saturating_add(1));
                left.push(entry.path());
            }
        }
        left.sort();
        let (free, next) = (Mutex::default(), AtomicU64::new(next));
        Ok((UnderWay { folder: folder.into(), free, next }, left))
    }

    /// Writes the batch down; the file is to be given back at its end.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn begin(&self, batch: &[Payload]) -> io::Result<File> {
        let free = self.free().pop();
        let file = match free {
            Some(file) => file,
            None => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let mut options = File::options();
                options.create(true).truncate(true).write(true).mode(0o600);
                options.open(segment::path(&self.folder, number))?
            }
        };
        let mut at = 0;
        for payload in batch {
            let record = segment::encode(&payload.bytes, payload.samples)?;
            if let Err(error) = file.write_all_at(&record, at) {
                self.end(file)?;
                return Err(error);
            }
            at += record.len() as u64;
        }
        Ok(file)
    }

    /// The batch is where it belongs.
    ///
    /// # Errors
    /// When the file cannot be emptied: the next run finds the batch in it.
    pub(super) fn end(&self, file: File) -> io::Result<()> {
        file.set_len(0)?;
        self.free().push(file);
        Ok(())
    }

    fn free(&self) -> MutexGuard<'_, Vec<File>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file of the last run holds, as far as it was written: whatever was not was not stored.
pub(super) fn read(path: &Path) -> io::Result<Vec<Record>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length < segment::HEADER as u64 {
        return Ok(Vec::new());
    }
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let mut records = segment::read(&file, Place::default(), length, whole)?;
    records.retain(|record| !record.payload.is_empty());
    Ok(records)
}
