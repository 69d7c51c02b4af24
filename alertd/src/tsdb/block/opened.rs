//! A block whose index is in memory, and how its chunks are read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::BlockError;
use super::coding::Broken;
use super::folder::{CHUNKS, INDEX, META, failed};
use super::index::{CRC, ChunkRef, Index, SeriesId, Symbol};
use super::meta::{self, Meta};
use super::writer::MAGIC;
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;
use crate::tsdb::chunk::Chunk;

/// Chunks that lie at most this far apart are read at once.
const GAP: u64 = 16 << 10;
/// Most bytes of one read, unless one chunk takes more.
const RUN: u64 = 1 << 20;

/// Its index, checked, and its open file of chunks.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) index: Index,
    chunks: File,
}

/// Reads what a block says of itself, and whether its files are as long as it says.
pub(super) fn describe(folder: &Path) -> Result<Meta, BlockError> {
    let path = folder.join(META);
    let mut json = Vec::new();
    let file = File::open(&path).map_err(failed("open", &path))?;
    file.take(meta::MOST_BYTES).read_to_end(&mut json).map_err(failed("read", &path))?;
    let found = Meta::from_json(&json).map_err(|what| BlockError::corrupt(&path, what))?;
    for (name, want) in [(CHUNKS, found.chunks_bytes), (INDEX, found.index_bytes)] {
        let path = folder.join(name);
        let len = fs::metadata(&path).map_err(failed("open", &path))?.len();
        if len != want {
            return Err(BlockError::corrupt(&path, format!("expected {want} bytes, found {len}")));
        }
    }
    Ok(found)
}

impl Opened {
    pub(super) fn open(folder: &Path, meta: &Meta) -> Result<Opened, BlockError> {
        let path = folder.join(INDEX);
        let file = File::open(&path).map_err(failed("open", &path))?;
        let len = file.metadata().map_err(failed("open", &path))?.len();
        let fits = usize::try_from(len).ok().filter(|_| len == meta.index_bytes);
        let len = fits.ok_or_else(|| BlockError::corrupt(&path, "its length has changed"))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0).map_err(failed("read", &path))?;
        let index = Index::new(bytes.into(), meta.index_crc, meta.min);
        let index = index.map_err(|Broken(what)| BlockError::corrupt(&path, what))?;

        let path = folder.join(CHUNKS);
        let chunks = File::open(&path).map_err(failed("open", &path))?;
        let mut magic = *MAGIC;
        chunks.read_exact_at(&mut magic, 0).map_err(failed("read", &path))?;
        if magic != *MAGIC {
            return Err(BlockError::corrupt(&path, "a file without its magic"));
        }
        Ok(Opened { index, chunks })
    }

    /// Reads chunks, which are sorted by where they lie.
    pub(super) fn chunks(
        &self,
        folder: &Path,
        refs: &[ChunkRef],
    ) -> Result<Vec<Chunk>, BlockError> {
        let mut found = Vec::with_capacity(refs.len());
        let mut bytes = Vec::new();
        let mut rest = refs;
        while let Some(first) = rest.first() {
            let (start, mut end) = (first.offset, end_of(first));
            let further = rest.iter().skip(1).take_while(|next| {
                let near = next.offset >= end && next.offset - end <= GAP;
                let joins = near && end_of(next) - start <= RUN;
                if joins {
                    end = end_of(next);
                }
                joins
            });
            let joined = 1 + further.count();
            let (run, further) = rest.split_at(joined);
            rest = further;
            self.read(folder, start, end, &mut bytes)?;
            for chunk in run {
                found.push(cut(chunk, &bytes, start).map_err(|Broken(what)| {
                    let what = format!("chunk at {}: {what}", chunk.offset);
                    BlockError::BadChunk { path: folder.to_owned(), what }
                })?);
            }
        }
        Ok(found)
    }

    fn read(
        &self,
        folder: &Path,
        start: u64,
        end: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), BlockError> {
        // The index has been checked, so its lengths are what was written.
        bytes.resize(usize::try_from(end - start).unwrap_or(usize::MAX), 0);
        self.chunks.read_exact_at(bytes, start).map_err(failed("read", &folder.join(CHUNKS)))
    }
}

fn end_of(chunk: &ChunkRef) -> u64 {
    chunk.offset.saturating_add(u64::from(chunk.len) + u64::from(CRC))
}

/// One chunk out of the bytes that begin at `start` in the file.
fn cut(chunk: &ChunkRef, bytes: &[u8], start: u64) -> Result<Chunk, Broken> {
    const BEYOND: Broken = Broken("it ends beyond what was read");
    let at = usize::try_from(chunk.offset.wrapping_sub(start)).map_err(|_| BEYOND)?;
    let (bits, rest) = bytes
        .get(at..)
        .and_then(|bytes| bytes.split_at_checked(chunk.len as usize))
        .ok_or(BEYOND)?;
    let crc = rest.first_chunk().map(|crc| u32::from_le_bytes(*crc));
    if crc != Some(crc32fast::hash(bits)) {
        return Err(Broken("its checksum does not match"));
    }
    let &ChunkRef { first, last, count, .. } = chunk;
    Ok(Chunk { first, last, count, bits: bits.into() })
}

/// Makes labels of symbols; strings and pairs that came before are shared.
#[derive(Debug, Default)]
pub(super) struct LabelMaker {
    strings: HashMap<Symbol, Arc<str>>,
    symbols: Vec<(Symbol, Symbol)>,
    /// What the last labels were made of.
    before: Vec<(Symbol, Symbol)>,
    last: Labels,
}

/// Strings that are remembered; beyond them it begins anew.
const MOST_STRINGS: usize = 1 << 16;

impl LabelMaker {
    /// The labels of a series, with its chunks in `from..=to` added to `out`; `None` without such.
    /// Series are asked for in ascending order.
    pub(super) fn series(
        &mut self,
        index: &Index,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        out: &mut Vec<ChunkRef>,
    ) -> Result<Option<Labels>, Broken> {
        let before = out.len();
        for chunk in index.labels(id, &mut self.symbols)? {
            let chunk = chunk?;
            if chunk.last >= from && chunk.first <= to {
                out.push(chunk);
            }
        }
        if out.len() == before {
            return Ok(None);
        }
        if !self.before.is_empty() && self.before >= self.symbols {
            return Err(Broken("series that are not sorted"));
        }
        if self.strings.len() > MOST_STRINGS {
            self.strings.clear();
        }
        let mut pairs = Vec::with_capacity(self.symbols.len());
        for (at, pair) in self.symbols.iter().enumerate() {
            // Neighbours have most of their labels in common.
            let same = self.before.get(at) == Some(pair);
            if let Some(known) = self.last.pairs().get(at).filter(|_| same) {
                pairs.push(known.clone());
                continue;
            }
            let mut shared = |symbol: Symbol| -> Result<Arc<str>, Broken> {
                if let Some(known) = self.strings.get(&symbol) {
                    return Ok(known.clone());
                }
                let text: Arc<str> = index.symbol(symbol)?.into();
                self.strings.insert(symbol, text.clone());
                Ok(text)
            };
            pairs.push((shared(pair.0)?, shared(pair.1)?));
        }
        std::mem::swap(&mut self.symbols, &mut self.before);
        self.last = Labels::from_sorted(pairs);
        Ok(Some(self.last.clone()))
    }
}
