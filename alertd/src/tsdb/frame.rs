//! Frames: how records stand in the store's files, so that damage is found and stays small.
//!
//! A frame is the record's length, its CRC-32, the CRC-32 of these eight bytes, and the record. The
//! second sum tells a damaged record, after which the next one is found, from a damaged length.

use crc32fast::hash;

pub(super) const HEADER: usize = 12;

/// Adds a frame around what `write` adds.
pub(super) fn put(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let record = out.get(start + HEADER..).unwrap_or_default();
    let header = header(record);
    if let Some(place) = out.get_mut(start..start + HEADER) {
        place.copy_from_slice(&header);
    }
}

fn header(record: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&hash(record).to_le_bytes());
    let sum = hash(&header[..8]);
    header[8..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// The frames of a file, to its end or to where they cannot be told apart any more.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Record(&'a [u8]),
    /// A damaged record of so many bytes between others.
    Damaged(usize),
    /// From this place on nothing can be read; always the last piece.
    Torn(usize),
}

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Frames<'a> {
        Frames { bytes, at: 0 }
    }

    fn piece(&mut self) -> Option<Piece<'a>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let torn = Piece::Torn(self.at);
        self.at = self.bytes.len();
        let Some((header, behind)) = rest.split_first_chunk::<HEADER>() else {
            return Some(torn);
        };
        let number = |at: usize| {
            let bytes = header.get(at..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let (length, sum) = (number(0) as usize, number(4));
        let right = hash(header.get(..8).unwrap_or_default()) == number(8);
        let Some(record) = behind.get(..length).filter(|_| right) else {
            return Some(torn);
        };
        let fits = hash(record) == sum;
        if !fits && behind.len() == length {
            return Some(torn);
        }
        self.at -= behind.len() - length;
        Some(if fits { Piece::Record(record) } else { Piece::Damaged(HEADER + length) })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        self.piece()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_costs_a_record_or_the_rest() {
        let records: [&[u8]; 4] = [b"one", b"", b"three", b"last"];
        let mut file = Vec::new();
        let mut starts = Vec::new();
        for record in records {
            starts.push(file.len());
            put(&mut file, |out| out.extend_from_slice(record));
        }
        let read = |bytes: &[u8]| {
            let (mut good, mut torn) = (Vec::new(), None);
            for piece in Frames::new(bytes) {
                match piece {
                    Piece::Record(record) => good.push(record.to_vec()),
                    Piece::Damaged(_) => good.push(b"damaged".to_vec()),
                    Piece::Torn(at) => torn = Some(at),
                }
            }
            (good, torn)
        };
        assert_eq!(read(&file), (records.map(<[u8]>::to_vec).to_vec(), None));
        for cut in 0..file.len() {
            let whole = starts.iter().filter(|start| **start <= cut).count().saturating_sub(1);
            let at_start = starts.contains(&cut);
            let torn = (!at_start).then(|| starts[whole]);
            assert_eq!(
                read(&file[..cut]),
                (records[..whole].iter().map(|r| r.to_vec()).collect(), torn)
            );
        }
        for at in 0..file.len() {
            let mut bytes = file.clone();
            bytes[at] ^= 0x10;
            let number = starts.iter().filter(|start| **start <= at).count() - 1;
            let in_header = at < starts[number] + HEADER;
            let (good, torn) = read(&bytes);
            assert_eq!(torn, (in_header || number == 3).then(|| starts[number]), "{at}");
            assert_eq!(good[..number], records[..number]);
            if torn.is_none() {
                assert_eq!(good[number], b"damaged");
                assert_eq!(good[number + 1..], records[number + 1..]);
            }
        }
    }
}
