//! The last checkpoint, taken back into memory as far as it can be read.

use std::fs;
use std::io;
use std::path::Path;

use super::format::{CHUNKS, END, Manifest, SERIES, take_chunk};
use super::{ChunkFile, Kind, checkpoint_path, chunks_path, clean, name};
use crate::model::sample::Timestamp;

use super::super::bytes::{Input, Malformed};
use super::super::frame::{Frames, Piece};
use super::super::head::Head;
use super::super::report::{Repair, Report};
use super::super::wal::take_series;

/// What the rest of the store goes on from.
#[derive(Debug)]
pub(in super::super) struct Loaded {
    pub(in super::super) cut: Timestamp,
    /// The first file of the log that is not in the checkpoint.
    pub(in super::super) log: u64,
    pub(in super::super) next: u64,
    pub(in super::super) files: Vec<ChunkFile>,
    /// Bytes of the checkpoint.
    pub(in super::super) size: u64,
}

/// Adds to `head` what the newest checkpoint that can be read holds.
///
/// # Errors
/// Only when the folder itself cannot be read.
pub(in super::super) fn load(
    folder: &Path,
    head: &mut Head,
    report: &mut Report,
) -> io::Result<Loaded> {
    let mut numbers = Vec::new();
    let mut next = 1;
    for entry in fs::read_dir(folder)? {
        if let Some((number, kind)) = name(&entry?.path()) {
            next = next.max(number.saturating_add(1));
            numbers.extend((kind == Kind::Checkpoint).then_some(number));
        }
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut loaded = Loaded { cut: Timestamp(i64::MIN), log: 0, next, files: Vec::new(), size: 0 };
    for number in numbers {
        let path = checkpoint_path(folder, number);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.add(Repair::unreadable(&path, &error));
                continue;
            }
        };
        let mut frames = Frames::new(&bytes);
        let manifest = match frames.next() {
            Some(Piece::Record(record)) => Manifest::take(record).ok(),
            _ => None,
        };
        let Some(manifest) = manifest else {
            report.add(Repair::damaged(&path, bytes.len()));
            continue;
        };
        read(&path, bytes.len(), frames, report, |record| series(record, head));
        head.skip_id(manifest.next_id.saturating_sub(1));
        let mut files = Vec::new();
        for number in &manifest.files {
            let path = chunks_path(folder, *number);
            let newest = load_chunks(&path, head, manifest.cut, report);
            files.push(ChunkFile { number: *number, newest });
        }
        if let Err(error) = clean(folder, number, &manifest.files) {
            report.add(Repair::unreadable(folder, &error));
        }
        let size = bytes.len() as u64;
        loaded = Loaded { cut: manifest.cut, log: manifest.log, next, files, size };
        break;
    }
    Ok(loaded)
}

/// Gives the time of the newest sample.
fn load_chunks(path: &Path, head: &mut Head, cut: Timestamp, report: &mut Report) -> Timestamp {
    let mut newest = Timestamp(i64::MIN);
    match fs::read(path) {
        Ok(bytes) => {
            let mut lost = 0;
            read(path, bytes.len(), Frames::new(&bytes), report, |record| {
                chunks(record, head, cut, &mut newest, &mut lost)
            });
            report.orphans += lost;
        }
        Err(error) => report.add(Repair::unreadable(path, &error)),
    }
    newest
}

/// Tells what could not be read.
fn read<'a>(
    path: &Path,
    length: usize,
    frames: Frames<'a>,
    report: &mut Report,
    mut take: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
) {
    let mut ended = false;
    for piece in frames {
        ended = false;
        match piece {
            Piece::Record([END]) => ended = true,
            Piece::Record(record) => {
                if take(record).is_err() {
                    report.add(Repair::damaged(path, record.len()));
                }
            }
            Piece::Damaged(length) => report.add(Repair::damaged(path, length)),
            Piece::Torn(at) => return report.add(Repair::torn(path, length - at)),
        }
    }
    if !ended {
        report.add(Repair::torn(path, 0));
    }
}

fn series(record: &[u8], head: &mut Head) -> Result<(), Malformed> {
    let mut input = Input(record);
    if input.byte()? != SERIES {
        return Err(Malformed);
    }
    while !input.is_empty() {
        let (id, labels) = take_series(&mut input)?;
        let open = match input.byte()? {
            0 => None,
            1 => Some(take_chunk(&mut input)?),
            _ => return Err(Malformed),
        };
        // Neither happens but in a file that was made up.
        if head.get(id).is_some() || head.find(labels.as_slice()).is_some() {
            return Err(Malformed);
        }
        let entry = head.restore(id, labels.as_slice());
        if let Some(open) = open {
            entry.samples().restore_open(&open).map_err(|_| Malformed)?;
        }
    }
    Ok(())
}

/// `lost` counts samples whose series is not there.
fn chunks(
    record: &[u8],
    head: &Head,
    cut: Timestamp,
    newest: &mut Timestamp,
    lost: &mut usize,
) -> Result<(), Malformed> {
    let mut input = Input(record);
    if input.byte()? != CHUNKS {
        return Err(Malformed);
    }
    while !input.is_empty() {
        let id = input.number()?;
        let chunk = take_chunk(&mut input)?;
        *newest = (*newest).max(chunk.last);
        if chunk.last < cut {
            continue;
        }
        match head.get(id) {
            Some(entry) => entry.samples().restore(chunk).map_err(|_| Malformed)?,
            None => *lost += chunk.count as usize,
        }
    }
    Ok(())
}
