//! Gathers the index of a block while its series come by, sorted, and writes it out at the end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::coding::{Broken, Cursor, put};
use super::index::{ChunkRef, MAGIC, Symbol};
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;

/// Takes memory by series and label, not by sample: label pairs and postings are kept coded.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    /// Numbered as they came; the file numbers them as they sort.
    symbols: HashMap<Arc<str>, Symbol>,
    records: Vec<u8>,
    series: u32,
    postings: HashMap<(Symbol, Symbol), Postings>,
}

#[derive(Debug, Default)]
struct Postings {
    count: u64,
    last: u32,
    deltas: Vec<u8>,
}

impl IndexBuilder {
    /// Adds the next series; `chunks` lie one behind the other.
    pub(super) fn add(&mut self, labels: &Labels, chunks: &[ChunkRef]) {
        put(&mut self.records, labels.len() as u64);
        for (name, value) in labels.pairs() {
            let pair = (self.symbol(name), self.symbol(value));
            put(&mut self.records, u64::from(pair.0));
            put(&mut self.records, u64::from(pair.1));
            let postings = self.postings.entry(pair).or_default();
            put(&mut postings.deltas, u64::from(self.series - postings.last));
            postings.count += 1;
            postings.last = self.series;
        }
        put(&mut self.records, chunks.len() as u64);
        for (at, chunk) in chunks.iter().enumerate() {
            if at == 0 {
                put(&mut self.records, chunk.offset);
            }
            put(&mut self.records, chunk.first.0 as u64);
            put(&mut self.records, chunk.last.0.wrapping_sub(chunk.first.0) as u64);
            put(&mut self.records, u64::from(chunk.len));
            put(&mut self.records, u64::from(chunk.count));
        }
        self.series += 1;
    }

    fn symbol(&mut self, text: &Arc<str>) -> Symbol {
        if let Some(known) = self.symbols.get(text) {
            return *known;
        }
        let next = self.symbols.len() as Symbol;
        self.symbols.insert(Arc::clone(text), next);
        next
    }

    /// Writes the file's content; times in it count from `base`.
    ///
    /// # Errors
    /// Also when a part grows beyond what a word can address.
    pub(super) fn write(self, base: Timestamp, out: &mut impl Write) -> io::Result<()> {
        let IndexBuilder { symbols, records, series, postings } = self;
        let mut texts: Vec<(Arc<str>, Symbol)> = symbols.into_iter().collect();
        texts.sort_unstable();
        let mut ranks = vec![0; texts.len()];
        for (rank, (_, symbol)) in texts.iter().enumerate() {
            if let Some(slot) = ranks.get_mut(*symbol as usize) {
                *slot = rank as Symbol;
            }
        }
        let rank = |symbol: Symbol| ranks.get(symbol as usize).copied().unwrap_or_default();

        let mut file = Placed { out, at: 0 };
        file.put(MAGIC)?;
        let mut ends = Vec::new();
        for (text, _) in &texts {
            file.put(text.as_bytes())?;
            ends.push(file.at - MAGIC.len() as u32);
        }
        let (ends_at, count) = (file.words(&ends)?, ends.len() as u32);
        drop((texts, ends));

        let series_at = file.at;
        let mut starts = Vec::with_capacity(series as usize);
        let mut cursor = Cursor(&records);
        let mut record = Vec::new();
        for _ in 0..series {
            starts.push(file.at - series_at);
            record.clear();
            renumber(&mut cursor, base, &rank, &mut record)
                .map_err(|Broken(what)| invalid(what))?;
            file.put(&record)?;
        }
        drop(records);
        let starts_at = file.words(&starts)?;
        drop(starts);

        let postings_at = file.at;
        let mut sorted: Vec<_> = postings
            .into_iter()
            .map(|((name, value), list)| ((rank(name), rank(value)), list))
            .collect();
        sorted.sort_unstable_by_key(|(pair, _)| *pair);
        let (mut values, mut names) = (Vec::new(), Vec::new());
        let mut last = None;
        for ((name, value), list) in sorted {
            if last.replace(name) != Some(name) {
                names.extend([name, values.len() as u32 / 2]);
            }
            values.extend([value, file.at - postings_at]);
            record.clear();
            put(&mut record, list.count);
            file.put(&record)?;
            file.put(&list.deltas)?;
        }
        let values_at = file.words(&values)?;
        let names_at = file.words(&names)?;
        let counts = [count, series, values.len() as u32 / 2, names.len() as u32 / 2];
        file.words(&counts)?;
        file.words(&[ends_at, series_at, starts_at, postings_at, values_at, names_at])?;
        file.put(MAGIC)
    }
}

/// One series' record with the file's symbol numbers, and times less what comes before.
fn renumber(
    cursor: &mut Cursor<'_>,
    base: Timestamp,
    rank: &impl Fn(Symbol) -> Symbol,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let labels = cursor.count()?;
    put(out, labels as u64);
    for _ in 0..2 * labels {
        put(out, u64::from(rank(cursor.small()?)));
    }
    let (chunks, mut before) = (cursor.count()?, base.0);
    put(out, chunks as u64);
    for at in 0..chunks {
        if at == 0 {
            put(out, cursor.number()?);
        }
        let first = cursor.number()? as i64;
        put(out, first.wrapping_sub(before) as u64);
        before = first;
        for _ in 0..3 {
            put(out, cursor.number()?);
        }
    }
    Ok(())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Knows how much it has written.
struct Placed<'a, W> {
    out: &'a mut W,
    at: u32,
}

impl<W: Write> Placed<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at = u32::try_from(bytes.len()).ok().and_then(|len| self.at.checked_add(len));
        self.at = at.ok_or_else(|| invalid("the index of one block would pass 4 GiB"))?;
        self.out.write_all(bytes)
    }

    /// Gives where they begin.
    fn words(&mut self, words: &[u32]) -> io::Result<u32> {
        let at = self.at;
        for word in words {
            self.put(&word.to_le_bytes())?;
        }
        Ok(at)
    }
}
