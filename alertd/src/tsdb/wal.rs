//! The write-ahead log: numbered files that are only added to, and one sync for all who wait.

mod record;
mod replay;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pitcrew_exporter::clock;

use crate::model::causes::causes;
use crate::model::querier::StoreError;

pub(super) use self::record::{Encoder, Sink, decode, put_series, take_series};
pub(super) use self::replay::replay;

/// A file that is longer is followed by the next one.
const SEGMENT: u64 = 64 << 20;

/// Records are added under the caller's lock and written by whoever waits first, for all others too.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

/// Positions count all bytes ever added, whichever file they are in.
#[derive(Debug)]
struct State {
    /// Added and not known to be on disk.
    waiting: Vec<u8>,
    added: u64,
    synced: u64,
    /// The end of the last attempt to write, when that failed.
    failed: u64,
    failure: String,
    writing: bool,
    segment: Segment,
    counts: Counts,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    /// `None` until there is something to write.
    file: Option<File>,
    /// Bytes that are known to be on disk.
    length: u64,
}

/// What the log has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub syncs: u64,
    pub syncing: Duration,
    pub failures: u64,
}

impl Log {
    /// Goes on in a new file; those before it stay until [`Log::remove_before`].
    pub(super) fn open(folder: &Path, next: u64) -> Log {
        Log {
            folder: folder.into(),
            state: Mutex::new(State {
                waiting: Vec::new(),
                added: 0,
                synced: 0,
                failed: 0,
                failure: String::new(),
                writing: false,
                segment: Segment { number: next, file: None, length: 0 },
                counts: Counts::default(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a record and returns the position to wait for.
    pub(super) fn add(&self, record: &mut Encoder) -> u64 {
        let mut state = self.state();
        if !record.is_empty() {
            let before = state.waiting.len();
            record.finish(&mut state.waiting);
            state.added += (state.waiting.len() - before) as u64;
        }
        state.added
    }

    /// Whether anything may be added: what could not be written is tried again first.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        let failed = self.state().failed;
        if failed > 0 { self.wait(failed) } else { Ok(()) }
    }

    /// Returns when everything up to the position is on disk.
    ///
    /// # Errors
    /// When it could not be written. It is kept, and written before whatever comes later.
    pub(super) fn wait(&self, position: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut tried = false;
        loop {
            if state.synced >= position {
                return Ok(());
            }
            if tried && state.failed >= position {
                return Err(StoreError::Unavailable(state.failure.clone()));
            }
            tried = true;
            state = if state.writing {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.write(state)
            };
        }
    }

    /// Everything that was added, to disk.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let added = self.state().added;
        self.wait(added)
    }

    /// Begins a new file and returns its number: all that was added before is in those before it, or
    /// not yet written.
    pub(super) fn rotate(&self) -> u64 {
        let mut state = self.state();
        while state.writing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.segment.length > 0 {
            state.segment.next();
        }
        state.segment.number
    }

    /// Removes the files before `number`.
    pub(super) fn remove_before(&self, number: u64) -> io::Result<()> {
        for (old, path) in segments(&self.folder)? {
            if old < number {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Bytes that were ever added.
    pub(super) fn added(&self) -> u64 {
        self.state().added
    }

    /// Bytes in the files.
    pub(super) fn bytes(&self) -> u64 {
        let files = segments(&self.folder).unwrap_or_default();
        files.iter().filter_map(|(_, path)| path.metadata().ok()).map(|data| data.len()).sum()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    fn write<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let mut bytes = std::mem::take(&mut state.waiting);
        let end = state.added;
        if state.segment.length >= SEGMENT {
            state.segment.next();
        }
        let empty = Segment { number: state.segment.number, file: None, length: 0 };
        let mut segment = std::mem::replace(&mut state.segment, empty);
        state.writing = true;
        drop(state);

        let began = clock::monotonic();
        let written = segment.write(&self.folder, &bytes);
        let took = began.elapsed();

        let mut state = self.state();
        state.writing = false;
        state.segment = segment;
        state.counts.syncs += 1;
        state.counts.syncing += took;
        match written {
            Ok(()) => {
                (state.synced, state.failed) = (end, 0);
                bytes.clear();
                // The buffer is used again unless one huge batch has blown it up.
                if state.waiting.is_empty() && bytes.capacity() <= 1 << 20 {
                    state.waiting = bytes;
                }
            }
            Err(error) => {
                bytes.append(&mut state.waiting);
                state.waiting = bytes;
                state.failed = end;
                state.counts.failures += 1;
                let path = path(&self.folder, state.segment.number);
                state.failure = format!("cannot write {}: {}", path.display(), causes(&error));
            }
        }
        self.changed.notify_all();
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segment {
    fn next(&mut self) {
        *self = Segment { number: self.number + 1, file: None, length: 0 };
    }

    /// On an error the file is as long as before, or will be cut there by the next attempt: nothing
    /// half-written stands before a whole record.
    fn write(&mut self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(folder, self.number)?),
        };
        let end = self.length + bytes.len() as u64;
        let written = file.write_all_at(bytes, self.length).and_then(|()| file.sync_data());
        match written {
            Ok(()) => self.length = end,
            // Should this fail too, the attempt to come overwrites what is there.
            Err(_) => file.set_len(self.length).unwrap_or_default(),
        }
        written
    }
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    let options = File::options().create(true).write(true).truncate(true).mode(0o600).to_owned();
    let file = options.open(path(folder, number))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.wal"))
}

/// The log's files by number, in order.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if let Some(number) = name.strip_suffix(".wal").and_then(|name| name.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
