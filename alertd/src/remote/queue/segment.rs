//! One segment file: records of length, checksum, number of samples and payload, one after another.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Place, Record};

pub(in super::super) const HEADER: usize = 12;
const SUFFIX: &str = ".queue";
/// A longer record is a broken length.
const MOST_PAYLOAD: usize = 64 << 20;

/// What a segment holds behind a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Scan {
    /// Up to the end of the last whole record, counted from the beginning of the file.
    pub(in super::super) bytes: u64,
    pub(in super::super) samples: u64,
    /// Behind it.
    pub(in super::super) broken: u64,
}

pub(in super::super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}{SUFFIX}"))
}

pub(in super::super) fn number(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_suffix(SUFFIX)?.parse().ok()
}

/// To add to its end.
pub(in super::super) fn open(folder: &Path, number: u64) -> io::Result<File> {
    File::options().create(true).append(true).open(path(folder, number))
}

pub(in super::super) fn encode(payload: &[u8], samples: u32) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MOST_PAYLOAD);
    let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
    let mut record = Vec::with_capacity(HEADER + payload.len());
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&checksum(samples, payload).to_le_bytes());
    record.extend_from_slice(&samples.to_le_bytes());
    record.extend_from_slice(payload);
    Ok(record)
}

/// Looks at every record behind `from`.
pub(in super::super) fn scan(path: &Path, from: u64) -> io::Result<Scan> {
    let bytes = fs::read(path)?;
    let mut at = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    let mut samples = 0;
    while let Some((payload, count)) = bytes.get(at..).and_then(first) {
        at += HEADER + payload.len();
        samples += u64::from(count);
    }
    Ok(Scan { bytes: at as u64, samples, broken: (bytes.len() - at) as u64 })
}

/// Records between `from` and `end`, the file's length, of about `most` bytes, at least one.
///
/// What is broken hides all that follows it in the file: an empty record stands for both.
pub(in super::super) fn read(
    file: &File,
    from: Place,
    end: u64,
    most: usize,
) -> io::Result<Vec<Record>> {
    let left = usize::try_from(end - from.offset).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(most.max(HEADER))];
    file.read_exact_at(&mut bytes, from.offset)?;
    let needed = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    if (HEADER + needed > bytes.len()) && HEADER + needed <= left.min(HEADER + MOST_PAYLOAD) {
        bytes.resize(HEADER + needed, 0);
        file.read_exact_at(&mut bytes, from.offset)?;
    }
    let (mut at, mut records) = (0, Vec::new());
    while let Some((payload, samples)) = bytes.get(at..).and_then(first) {
        at += HEADER + payload.len();
        let end = Place { offset: from.offset + at as u64, ..from };
        records.push(Record { samples, payload: payload.to_vec(), end });
    }
    if records.is_empty() {
        let end = Place { offset: end, ..from };
        records.push(Record { samples: 0, payload: Vec::new(), end });
    }
    Ok(records)
}

/// The payload and the samples of the record that the bytes begin with, if it is whole.
fn first(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let (samples, rest) = rest.split_first_chunk()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let samples = u32::from_le_bytes(*samples);
    (checksum(samples, payload) == u32::from_le_bytes(*crc)).then_some((payload, samples))
}

fn checksum(samples: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&samples.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
