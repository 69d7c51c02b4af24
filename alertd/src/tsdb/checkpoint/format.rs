//! The records of a checkpoint and of the chunk files that it names.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::model::sample::Timestamp;

use super::super::bytes::{Input, Malformed, put_bytes, put_number, put_signed};
use super::super::chunk::Chunk;
use super::super::frame;
use super::super::index::{HIGHEST_ID, SeriesId};

/// The first byte of every record: what it is and how it is written. The log has 1.
pub(in super::super) const CHUNKS: u8 = 2;
pub(in super::super) const MANIFEST: u8 = 3;
pub(in super::super) const SERIES: u8 = 4;
pub(in super::super) const END: u8 = 5;

/// Records are closed when they are longer: damage costs no more than one.
const RECORD: usize = 64 << 10;
/// What is written at a time.
const WRITE: usize = 1 << 20;

/// What a checkpoint begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Manifest {
    /// The head holds nothing older.
    pub(in super::super) cut: Timestamp,
    pub(in super::super) next_id: SeriesId,
    /// The first file of the log that has to be replayed after it.
    pub(in super::super) log: u64,
    /// Numbers of the chunk files.
    pub(in super::super) files: Vec<u64>,
}

impl Manifest {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_signed(out, self.cut.0);
        put_number(out, self.next_id);
        put_number(out, self.log);
        put_number(out, self.files.len() as u64);
        self.files.iter().for_each(|number| put_number(out, *number));
    }

    pub(in super::super) fn take(record: &[u8]) -> Result<Manifest, Malformed> {
        let mut input = Input(record);
        if input.byte()? != MANIFEST {
            return Err(Malformed);
        }
        let (cut, next_id, log) = (Timestamp(input.signed()?), input.number()?, input.number()?);
        if next_id > HIGHEST_ID {
            return Err(Malformed);
        }
        let mut files = Vec::new();
        for _ in 0..input.number()? {
            files.push(input.number()?);
        }
        Ok(Manifest { cut, next_id, log, files })
    }
}

pub(super) fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    put_signed(out, chunk.first.0);
    put_number(out, chunk.last.0.wrapping_sub(chunk.first.0) as u64);
    put_number(out, u64::from(chunk.count));
    put_bytes(out, &chunk.bits);
}

pub(in super::super) fn take_chunk(input: &mut Input<'_>) -> Result<Chunk, Malformed> {
    let first = input.signed()?;
    let last = first.wrapping_add(input.number()? as i64);
    let count = u32::try_from(input.number()?).map_err(|_| Malformed)?;
    let bits = input.bytes()?;
    if last < first || count == 0 {
        return Err(Malformed);
    }
    Ok(Chunk { first: Timestamp(first), last: Timestamp(last), count, bits: bits.into() })
}

/// A new file of records of one kind after another.
pub(super) struct Output {
    file: File,
    record: Vec<u8>,
    ready: Vec<u8>,
}

impl Output {
    pub(super) fn create(path: &Path) -> io::Result<Output> {
        let mut options = File::options();
        let file = options.create(true).truncate(true).write(true).mode(0o600).open(path)?;
        Ok(Output { file, record: Vec::new(), ready: Vec::new() })
    }

    /// Adds to the record that is open, which must be of this kind.
    pub(super) fn add(&mut self, kind: u8, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.record.is_empty() {
            self.record.push(kind);
        }
        put(&mut self.record);
        if self.record.len() >= RECORD { self.close() } else { Ok(()) }
    }

    /// Ends the record that is open.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if !self.record.is_empty() {
            frame::put(&mut self.ready, |out| out.extend_from_slice(&self.record));
            self.record.clear();
        }
        if self.ready.len() >= WRITE { self.write() } else { Ok(()) }
    }

    /// Everything to disk, with a last record that says that there is no more.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.close()?;
        self.add(END, |_| {})?;
        self.close()?;
        self.write()?;
        self.file.sync_all()
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.ready)?;
        self.ready.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_an_error() {
        let manifest =
            Manifest { cut: Timestamp(i64::MIN), next_id: HIGHEST_ID, log: 7, files: vec![1, 300] };
        let mut record = vec![MANIFEST];
        manifest.put(&mut record);
        assert_eq!(Manifest::take(&record), Ok(manifest));
        for cut in 0..record.len() {
            assert_eq!(Manifest::take(&record[..cut]), Err(Malformed), "{cut}");
        }
        let bits = [1, 2, 3].into();
        let chunk = Chunk { first: Timestamp(-7), last: Timestamp(i64::MAX), count: 9, bits };
        let mut record = Vec::new();
        put_chunk(&mut record, &chunk);
        assert_eq!(take_chunk(&mut Input(&record)), Ok(chunk));
        for cut in 0..record.len() {
            assert_eq!(take_chunk(&mut Input(&record[..cut])), Err(Malformed), "{cut}");
        }
    }
}
