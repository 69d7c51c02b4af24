//! Checkpoints: what is in memory, written down so that the log before it can go.
//!
//! A checkpoint is a file that names the chunk files it rests on and holds every series with the
//! chunk that is still open. Sealed chunks are written once, by the checkpoint that first meets
//! them, into a chunk file of its own; the file goes when the last of its chunks has left the head.
//! Nothing counts before the checkpoint has been renamed to its final name, and only then does what
//! it replaces go: a crash at any point leaves the one before or the new one.

mod format;
mod load;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pitcrew_exporter::clock;
use tracing::{error, info};

use crate::model::sample::Timestamp;

use self::format::{CHUNKS, MANIFEST, Manifest, Output, SERIES, put_chunk};
pub(super) use self::load::{Loaded, load};
use super::bytes::put_number;
use super::head::Entry;
use super::wal::put_series;
use super::{Disk, Tsdb};

/// Where checkpoints are, and what the last one rests on.
#[derive(Debug)]
pub(super) struct Checkpoints {
    folder: PathBuf,
    /// Held while one is written.
    state: Mutex<State>,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct State {
    /// Number of the next checkpoint and of its chunk file.
    next: u64,
    files: Vec<ChunkFile>,
    /// What the log had got when the last one was begun; before the start, less than nothing.
    log_at: i128,
    /// Bytes of the last one, without its chunk files.
    size: u64,
}

/// A file of sealed chunks.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkFile {
    number: u64,
    /// Time of its newest sample.
    newest: Timestamp,
}

/// What has been done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub done: u64,
    pub failed: u64,
    pub took: Duration,
}

impl Checkpoints {
    /// `replayed` bytes of the log belong to no checkpoint yet.
    pub(super) fn new(folder: &Path, loaded: &Loaded, replayed: u64) -> Checkpoints {
        let state = State {
            next: loaded.next,
            files: loaded.files.clone(),
            log_at: -i128::from(replayed),
            size: loaded.size,
        };
        Checkpoints { folder: folder.into(), state: Mutex::new(state), counts: Mutex::default() }
    }

    pub(super) fn counts(&self) -> Counts {
        *self.lock_counts()
    }

    /// Bytes in its files.
    pub(super) fn bytes(&self) -> u64 {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
    }

    /// Whether the log, which has got `added` bytes, is longer than it should be: by `least`, and by
    /// enough to be worth the writing.
    pub(super) fn is_due(&self, added: u64, least: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        i128::from(added) - state.log_at > i128::from(least.max(state.size / 2))
    }

    fn lock_counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tsdb {
    /// Writes a checkpoint and removes what it replaces. A failure is logged and counted; the log
    /// just stays longer.
    pub(super) fn checkpoint(&self, disk: &Disk) {
        let mut state = disk.checkpoints.state.lock().unwrap_or_else(PoisonError::into_inner);
        let began = clock::monotonic();
        let added = disk.log.added();
        let mut undo = Vec::new();
        match self.write_checkpoint(disk, &mut state, &mut undo) {
            Ok(series) => {
                state.log_at = i128::from(added);
                let mut counts = disk.checkpoints.lock_counts();
                counts.done += 1;
                counts.took += began.elapsed();
                info!(series, took = ?began.elapsed(), "checkpoint written");
            }
            Err(error) => {
                for (entry, written) in undo {
                    entry.samples().unwrite(written);
                }
                disk.checkpoints.lock_counts().failed += 1;
                if !self.stopping.load(Ordering::Relaxed) {
                    error!(%error, folder = %disk.checkpoints.folder.display(), "no checkpoint");
                }
            }
        }
    }

    /// `undo` gets what the sealed chunks of each series were marked as before.
    fn write_checkpoint(
        &self,
        disk: &Disk,
        state: &mut State,
        undo: &mut Vec<(Arc<Entry>, usize)>,
    ) -> io::Result<usize> {
        // What was added before is in memory; the memory may already have what is added later, and
        // replaying that changes nothing then.
        let log = disk.log.rotate();
        let folder = &disk.checkpoints.folder;
        let (number, cut) = (state.next, self.cut());
        let mut head = self.write_head();
        head.put_in_order();
        let (entries, next_id) = (head.all().cloned().collect::<Vec<_>>(), head.next_id());
        drop(head);

        let temporary = folder.join(format!("{number:010}.tmp"));
        let mut files = state.files.clone();
        files.retain(|file| file.newest >= cut);
        let numbers = files.iter().map(|file| file.number).chain([number]).collect();
        let manifest = Manifest { cut, next_id, log, files: numbers };
        let mut series = Output::create(&temporary)?;
        series.add(MANIFEST, |out| manifest.put(out))?;
        series.close()?;
        let mut chunks = Output::create(&chunks_path(folder, number))?;
        let mut newest = Timestamp(i64::MIN);
        for entry in &entries {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(io::Error::other("the program is stopping"));
            }
            let (written, sealed, open) = entry.samples().capture();
            if !sealed.is_empty() {
                undo.push((entry.clone(), written));
            }
            for chunk in sealed {
                newest = newest.max(chunk.last);
                chunks.add(CHUNKS, |out| {
                    put_number(out, entry.id);
                    put_chunk(out, &chunk);
                })?;
            }
            series.add(SERIES, |out| {
                put_series(out, entry.id, &entry.labels);
                out.push(u8::from(open.is_some()));
                if let Some(chunk) = &open {
                    put_chunk(out, chunk);
                }
            })?;
        }
        chunks.finish()?;
        series.finish()?;
        fs::rename(&temporary, checkpoint_path(folder, number))?;
        File::open(folder)?.sync_all()?;

        // From here on it counts, whatever fails.
        undo.clear();
        files.push(ChunkFile { number, newest });
        (state.next, state.files) = (number + 1, files);
        state.size = fs::metadata(checkpoint_path(folder, number))?.len();
        clean(folder, number, &manifest.files)?;
        disk.log.remove_before(log)?;
        Ok(entries.len())
    }
}

/// Removes what no checkpoint but number `keep`, which rests on `files`, needs.
fn clean(folder: &Path, keep: u64, files: &[u64]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let needed = match name(&path) {
            Some((number, Kind::Checkpoint)) => number == keep,
            Some((number, Kind::Chunks)) => files.contains(&number),
            Some((_, Kind::Temporary)) => false,
            None => true,
        };
        if !needed {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Checkpoint,
    Chunks,
    Temporary,
}

fn name(path: &Path) -> Option<(u64, Kind)> {
    let kind = match path.extension()?.to_str()? {
        "checkpoint" => Kind::Checkpoint,
        "chunks" => Kind::Chunks,
        "tmp" => Kind::Temporary,
        _ => return None,
    };
    Some((path.file_stem()?.to_str()?.parse().ok()?, kind))
}

fn checkpoint_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.checkpoint"))
}

fn chunks_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.chunks"))
}

#[cfg(test)]
mod tests;
