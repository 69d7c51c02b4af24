//! A bounded queue on disk: records in segment files, and the place up to which they are delivered.
//!
//! A record outlives a killed program as soon as `push` returns, and a lost machine after the next
//! `sync`: the store has made the samples durable already, so only their forwarding is at stake.

pub(super) mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use segment::Scan;

/// Of a segment file; a fraction of the queue's limit within these bounds.
const SEGMENT_BYTES: (u64, u64) = (1 << 20, 32 << 20);
const SEGMENTS: u64 = 16;
const POSITION: &str = "position";
const POSITION_BYTES: usize = 24;

/// A place between two records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub segment: u64,
    pub offset: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As whoever pushed it said.
    pub samples: u32,
    /// Empty in place of what cannot be read any more.
    pub payload: Vec<u8>,
    /// Where the next one begins.
    pub end: Place,
}

/// What a full queue let go to make room, or what was found broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    pub samples: u64,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}")]
pub struct QueueError {
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    limit: AtomicU64,
    state: Mutex<State>,
    grown: Notify,
}

#[derive(Debug)]
struct State {
    /// Oldest first; the last one is written to, and there always is one.
    segments: VecDeque<Segment>,
    file: File,
    position: File,
    delivered: Place,
    /// How the receiver of the records divided them; kept beside the place for its next run.
    shards: u32,
    unsynced: bool,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Not yet delivered.
    samples: u64,
}

impl Queue {
    /// Opens or makes the queue in `folder`, which holds at most `limit` bytes.
    ///
    /// A torn or broken end of a segment is cut off; the second value says how much that was.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path, limit: u64) -> Result<(Queue, Lost), QueueError> {
        let failed = |what| move |source| QueueError { what, path: folder.into(), source };
        fs::create_dir_all(folder).map_err(failed("make"))?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let position = options.open(folder.join(POSITION)).map_err(failed("open"))?;
        let (mut delivered, shards) = read_position(&position);
        let mut numbers = numbers(folder).map_err(failed("read"))?;
        numbers.sort_unstable();
        let (mut segments, mut lost) = (VecDeque::new(), Lost::default());
        for number in numbers {
            let path = segment::path(folder, number);
            if number < delivered.segment {
                fs::remove_file(&path).map_err(failed("clear"))?;
                continue;
            }
            let from = if number == delivered.segment { delivered.offset } else { 0 };
            let Scan { bytes, samples, broken } =
                segment::scan(&path, from).map_err(failed("read"))?;
            if broken > 0 {
                lost.bytes += broken;
                let file = File::options().write(true).open(&path);
                file.and_then(|file| file.set_len(bytes)).map_err(failed("repair"))?;
            }
            segments.push_back(Segment { number, bytes, samples });
        }
        if segments.is_empty() {
            let number = delivered.segment + 1;
            segments.push_back(Segment { number, bytes: 0, samples: 0 });
        }
        if let Some(first) = segments.front() {
            // The position is of a segment that has gone, or behind an end that was cut off.
            let start = Place { segment: first.number, offset: 0 };
            delivered = delivered.max(start);
            if delivered.segment == first.number {
                delivered.offset = delivered.offset.min(first.bytes);
            }
        }
        let last = segments.back().map_or(0, |last| last.number);
        let file = segment::open(folder, last).map_err(failed("open"))?;
        let state = State { segments, file, position, delivered, shards, unsynced: false };
        let queue = Queue {
            folder: folder.into(),
            limit: AtomicU64::new(limit),
            state: Mutex::new(state),
            grown: Notify::new(),
        };
        Ok((queue, lost))
    }

    /// Adds a record, and lets the oldest go where it finds no room.
    ///
    /// # Errors
    /// When it could not be written; nothing of it is left then.
    pub fn push(&self, payload: &[u8], samples: u32) -> io::Result<Lost> {
        let record = segment::encode(payload, samples)?;
        let limit = self.limit.load(Ordering::Relaxed);
        let size = (limit / SEGMENTS).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        let mut state = self.state();
        if state.segments.back().is_some_and(|last| last.bytes >= size) {
            state.rotate(&self.folder)?;
        }
        let State { file, segments, .. } = &mut *state;
        let Some(last) = segments.back_mut() else { return Ok(Lost::default()) };
        if let Err(error) = file.write_all(&record) {
            // Half a record would hide all that follow it.
            file.set_len(last.bytes)?;
            return Err(error);
        }
        last.bytes += record.len() as u64;
        last.samples += u64::from(samples);
        state.unsynced = true;
        let lost = state.make_room(&self.folder, limit);
        drop(state);
        self.grown.notify_one();
        lost
    }

    /// Records from `from` on, of about `most` bytes, at least one if there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, from: Place, most: usize) -> io::Result<Vec<Record>> {
        let (number, bytes, next) = {
            let state = self.state();
            let from = state.at_or_after(from);
            let mut segments = state.segments.iter();
            let Some(segment) = segments.find(|segment| segment.number == from.segment) else {
                return Ok(Vec::new());
            };
            (segment.number, segment.bytes, segments.next().map(|next| next.number))
        };
        let offset = if number == from.segment { from.offset } else { 0 };
        if offset < bytes {
            let file = File::open(segment::path(&self.folder, number))?;
            return segment::read(&file, Place { segment: number, offset }, bytes, most);
        }
        match next {
            Some(segment) => self.read(Place { segment, offset: 0 }, most),
            None => Ok(Vec::new()),
        }
    }

    /// Waits until something was pushed after the last call returned.
    pub async fn grown(&self) {
        self.grown.notified().await;
    }

    /// Takes note that everything up to the last of `ends` is delivered, with the samples of each
    /// record, and forgets what is not needed any more. Returns what could not be read.
    ///
    /// # Errors
    /// When the place could not be written; what is after the one written last is then delivered
    /// again at the next start.
    pub fn delivered(&self, ends: &[(Place, u32)], shards: u32) -> io::Result<Lost> {
        let mut state = self.state();
        for (end, samples) in ends {
            let of = state.segments.iter_mut().find(|segment| segment.number == end.segment);
            if let Some(segment) = of {
                segment.samples = segment.samples.saturating_sub(u64::from(*samples));
            }
            state.delivered = state.delivered.max(*end);
        }
        state.shards = shards;
        let mut lost = Lost::default();
        let done = state.delivered.segment;
        while state.segments.len() > 1 && state.segments.front().is_some_and(|s| s.number < done) {
            if let Some(segment) = state.segments.pop_front() {
                lost.samples += segment.samples;
                fs::remove_file(segment::path(&self.folder, segment.number))?;
            }
        }
        state.write_position()?;
        Ok(lost)
    }

    /// Where to go on, and the shards of the last run, 0 when there was none.
    pub fn position(&self) -> (Place, u32) {
        let state = self.state();
        (state.delivered, state.shards)
    }

    /// Bytes that it may hold from the next push on.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Samples that wait, and the bytes of all segments.
    pub fn size(&self) -> (u64, u64) {
        let state = self.state();
        let samples = state.segments.iter().map(|segment| segment.samples).sum();
        (samples, state.bytes())
    }

    /// Makes what was pushed outlive the machine.
    ///
    /// # Errors
    /// As the file system says.
    pub fn sync(&self) -> io::Result<()> {
        let file = {
            let mut state = self.state();
            if !std::mem::take(&mut state.unsynced) {
                return Ok(());
            }
            state.file.try_clone()?
        };
        file.sync_data()
    }

    // A panic elsewhere leaves at worst a count that is too high.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn rotate(&mut self, folder: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        let number = self.segments.back().map_or(1, |last| last.number + 1);
        self.file = segment::open(folder, number)?;
        self.segments.push_back(Segment { number, bytes: 0, samples: 0 });
        Ok(())
    }

    fn make_room(&mut self, folder: &Path, limit: u64) -> io::Result<Lost> {
        let mut lost = Lost::default();
        while self.segments.len() > 1
            && self.bytes() > limit
            && let Some(segment) = self.segments.pop_front()
        {
            lost.samples += segment.samples;
            lost.bytes += segment.bytes;
            fs::remove_file(segment::path(folder, segment.number))?;
        }
        if let Some(first) = self.segments.front() {
            self.delivered = self.delivered.max(Place { segment: first.number, offset: 0 });
        }
        Ok(lost)
    }

    /// `from`, or the oldest record that is left where that is later.
    fn at_or_after(&self, from: Place) -> Place {
        let first = self.segments.front().map_or(0, |first| first.number);
        from.max(Place { segment: first, offset: 0 })
    }

    fn write_position(&self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(POSITION_BYTES);
        bytes.extend_from_slice(&self.delivered.segment.to_le_bytes());
        bytes.extend_from_slice(&self.delivered.offset.to_le_bytes());
        bytes.extend_from_slice(&self.shards.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        self.position.write_all_at(&bytes, 0)
    }
}

/// The beginning when nothing was written yet, or what was is broken.
fn read_position(file: &File) -> (Place, u32) {
    let mut bytes = [0; POSITION_BYTES];
    let whole = file.read_exact_at(&mut bytes, 0).is_ok();
    let (content, crc) = bytes.split_at(POSITION_BYTES - 4);
    if !whole || crc32fast::hash(content).to_le_bytes() != crc {
        return Default::default();
    }
    let number = |at: usize| {
        let bytes = content.get(at..).and_then(|bytes| bytes.first_chunk());
        u64::from_le_bytes(*bytes.unwrap_or(&[0; 8]))
    };
    let shards = content.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    (Place { segment: number(0), offset: number(8) }, shards)
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(segment::number(&entry?.file_name()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests;
