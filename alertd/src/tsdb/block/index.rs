//! The index of a block as its file has it, read in place.
//!
//! ```text
//! "pcindex1"
//! symbols     every label name and value once, sorted, end to end
//! ends        where each symbol ends, counted from the first: a word each
//! series      label pairs as symbol numbers, then chunk references; sorted by labels
//! starts      where each series begins in that: a word each
//! postings    how many series, then their numbers, each less the one before
//! values      by name, then value: the value's symbol and where its postings begin, a word each
//! names       a label name's symbol and the number of its first value, a word each
//! footer      four counts and six places, a word each; "pcindex1"
//! ```

use std::ops::Range;

use super::coding::{Broken, Cursor, word};
use crate::model::sample::Timestamp;

pub(super) const MAGIC: &[u8; 8] = b"pcindex1";
/// Bytes of the footer without its magic.
const FOOTER: usize = 40;

/// Number of a series in its block, in the order of the labels.
pub(super) type SeriesId = u32;
/// Number of a label name or value in the block's sorted list of them.
pub(super) type Symbol = u32;

/// Checked as a whole when it was made; every look-up still checks its bounds.
#[derive(Debug)]
pub(super) struct Index {
    bytes: Box<[u8]>,
    /// Added to the times in the file.
    base: Timestamp,
    symbols: u32,
    pub(super) series: u32,
    values: u32,
    names: u32,
    ends_at: usize,
    series_at: usize,
    starts_at: usize,
    postings_at: usize,
    values_at: usize,
    names_at: usize,
}

/// Where in the file of chunks one lies, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkRef {
    pub(super) offset: u64,
    /// Without its checksum.
    pub(super) len: u32,
    pub(super) count: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Bytes of a checksum behind each chunk.
pub(super) const CRC: u32 = 4;

impl Index {
    /// `base` is the time of the block's oldest sample.
    pub(super) fn new(bytes: Box<[u8]>, crc: u32, base: Timestamp) -> Result<Index, Broken> {
        if crc32fast::hash(&bytes) != crc {
            return Err(Broken("the checksum of the index does not match"));
        }
        let magic_at = bytes.len().checked_sub(MAGIC.len()).ok_or(Broken("an index cut short"))?;
        let footer_at = magic_at.checked_sub(FOOTER).ok_or(Broken("an index cut short"))?;
        if !bytes.starts_with(MAGIC) || bytes.get(magic_at..) != Some(MAGIC.as_slice()) {
            return Err(Broken("an index without its magic"));
        }
        let mut words = [0; FOOTER / 4];
        for (at, slot) in words.iter_mut().enumerate() {
            *slot = word(&bytes, footer_at + 4 * at)?;
        }
        let [symbols, series, values, names, places @ ..] = words;
        let [ends_at, series_at, starts_at, postings_at, values_at, names_at] =
            places.map(|place| place as usize);
        let table = |at: usize, entries: u32, bytes: usize| at + entries as usize * bytes;
        let fits = ends_at >= MAGIC.len()
            && table(ends_at, symbols, 4) == series_at
            && series_at <= starts_at
            && table(starts_at, series, 4) == postings_at
            && postings_at <= values_at
            && table(values_at, values, 8) == names_at
            && table(names_at, names, 8) == footer_at;
        let index = Index {
            bytes,
            base,
            symbols,
            series,
            values,
            names,
            ends_at,
            series_at,
            starts_at,
            postings_at,
            values_at,
            names_at,
        };
        if !fits {
            return Err(Broken("an index whose parts do not fit"));
        }
        // Series are merged by the order of their symbols.
        let mut before = None;
        for symbol in 0..index.symbols {
            let text = index.symbol(symbol)?;
            if before.is_some_and(|before| before >= text) {
                return Err(Broken("symbols that are not sorted"));
            }
            before = Some(text);
        }
        Ok(index)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn symbol(&self, symbol: Symbol) -> Result<&str, Broken> {
        const MISSING: Broken = Broken("a symbol that is not there");
        if symbol >= self.symbols {
            return Err(MISSING);
        }
        let at = self.ends_at + 4 * symbol as usize;
        let start = if symbol == 0 { 0 } else { word(&self.bytes, at - 4)? as usize };
        let end = word(&self.bytes, at)? as usize;
        let blob = self.bytes.get(MAGIC.len()..self.ends_at).ok_or(MISSING)?;
        let text = blob.get(start..end).ok_or(MISSING)?;
        std::str::from_utf8(text).map_err(|_| Broken("a symbol that is not UTF-8"))
    }

    /// The symbols of a series' labels, sorted by name, into `out`; gives where its chunks begin.
    pub(super) fn labels(
        &self,
        id: SeriesId,
        out: &mut Vec<(Symbol, Symbol)>,
    ) -> Result<Chunks<'_>, Broken> {
        out.clear();
        let mut cursor = self.record(id)?;
        for _ in 0..cursor.count()? {
            out.push((cursor.small()?, cursor.small()?));
        }
        if !out.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(Broken("labels that are not sorted"));
        }
        self.chunks_at(cursor)
    }

    /// The value that a series has for the label of this name.
    pub(super) fn value_of(&self, id: SeriesId, name: Symbol) -> Result<Option<Symbol>, Broken> {
        let mut cursor = self.record(id)?;
        for _ in 0..cursor.count()? {
            let (have, value) = (cursor.small()?, cursor.small()?);
            if have == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = Result<&str, Broken>> {
        (0..self.names).map(|at| self.symbol(word(&self.bytes, self.names_at + 8 * at as usize)?))
    }

    /// A label name's symbol and the numbers of its values.
    pub(super) fn name(&self, name: &str) -> Result<Option<(Symbol, Range<u32>)>, Broken> {
        let symbol_of = |at: u32| word(&self.bytes, self.names_at + 8 * at as usize);
        let first_of = |at: u32| word(&self.bytes, self.names_at + 8 * at as usize + 4);
        let Some(at) = self.search(0..self.names, name, symbol_of)? else { return Ok(None) };
        let end = if at + 1 == self.names { self.values } else { first_of(at + 1)? };
        Ok(Some((symbol_of(at)?, first_of(at)?..end)))
    }

    /// The number of this value among those of a name.
    pub(super) fn find_value(
        &self,
        values: Range<u32>,
        value: &str,
    ) -> Result<Option<u32>, Broken> {
        self.search(values, value, |at| self.value_symbol(at))
    }

    pub(super) fn value(&self, value: u32) -> Result<&str, Broken> {
        self.symbol(self.value_symbol(value)?)
    }

    /// Shows the series that have this value, in ascending order.
    pub(super) fn postings(
        &self,
        value: u32,
        mut each: impl FnMut(SeriesId),
    ) -> Result<(), Broken> {
        let mut cursor = self.postings_of(value)?;
        let (count, mut id) = (cursor.count()?, 0_u32);
        for _ in 0..count {
            id = id.wrapping_add(cursor.small()?);
            if id >= self.series {
                return Err(Broken("a posting of a series that is not there"));
            }
            each(id);
        }
        Ok(())
    }

    /// How many series have this value.
    pub(super) fn posting_count(&self, value: u32) -> Result<usize, Broken> {
        self.postings_of(value)?.count()
    }

    fn postings_of(&self, value: u32) -> Result<Cursor<'_>, Broken> {
        let start = word(&self.bytes, self.values_at + 8 * value as usize + 4)? as usize;
        let lists = self.bytes.get(self.postings_at..self.values_at);
        let list = lists.and_then(|lists| lists.get(start..));
        list.map(Cursor).ok_or(Broken("postings beyond their part"))
    }

    fn value_symbol(&self, value: u32) -> Result<Symbol, Broken> {
        word(&self.bytes, self.values_at + 8 * value as usize)
    }

    fn search(
        &self,
        mut range: Range<u32>,
        wanted: &str,
        symbol_of: impl Fn(u32) -> Result<Symbol, Broken>,
    ) -> Result<Option<u32>, Broken> {
        while range.start < range.end {
            let middle = range.start + (range.end - range.start) / 2;
            match self.symbol(symbol_of(middle)?)?.cmp(wanted) {
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Less => range.start = middle + 1,
                std::cmp::Ordering::Greater => range.end = middle,
            }
        }
        Ok(None)
    }

    fn record(&self, id: SeriesId) -> Result<Cursor<'_>, Broken> {
        const MISSING: Broken = Broken("a series that is not there");
        if id >= self.series {
            return Err(MISSING);
        }
        let start = word(&self.bytes, self.starts_at + 4 * id as usize)? as usize;
        let records = self.bytes.get(self.series_at..self.starts_at).ok_or(MISSING)?;
        records.get(start..).map(Cursor).ok_or(MISSING)
    }

    fn chunks_at<'a>(&self, mut cursor: Cursor<'a>) -> Result<Chunks<'a>, Broken> {
        let left = cursor.count()?;
        let offset = if left == 0 { 0 } else { cursor.number()? };
        Ok(Chunks { cursor, left, offset, first: self.base })
    }
}

/// The chunks of one series, by their first sample.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    cursor: Cursor<'a>,
    left: usize,
    offset: u64,
    first: Timestamp,
}

impl Chunks<'_> {
    fn read(&mut self) -> Result<ChunkRef, Broken> {
        let past = |time: Timestamp, by: u64| Timestamp(time.0.wrapping_add(by as i64));
        self.first = past(self.first, self.cursor.number()?);
        let found = ChunkRef {
            offset: self.offset,
            first: self.first,
            last: past(self.first, self.cursor.number()?),
            len: self.cursor.small()?,
            count: self.cursor.small()?,
        };
        let next = self.offset.checked_add(u64::from(found.len) + u64::from(CRC));
        self.offset = next.ok_or(Broken("a chunk beyond all files"))?;
        Ok(found)
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<ChunkRef, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.read())
    }
}
