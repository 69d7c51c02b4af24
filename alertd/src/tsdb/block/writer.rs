//! Writes a block: series come by in the order of their labels, each with its chunks.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::BlockError;
use super::build::IndexBuilder;
use super::folder::{CHUNKS, INDEX, META, Part, failed, name};
use super::index::{CRC, ChunkRef};
use super::meta::Meta;
use crate::model::labels::Labels;
use crate::tsdb::chunk::Chunk;

pub(super) const MAGIC: &[u8; 8] = b"pcchunk1";
const BUFFER: usize = 256 << 10;

/// Nothing is there under a block's name until `finish` has returned.
pub(super) struct BlockWriter {
    part: Part,
    chunks: BufWriter<File>,
    index: IndexBuilder,
    meta: Meta,
    last: Option<Labels>,
    refs: Vec<ChunkRef>,
}

impl BlockWriter {
    /// `sources` are the names of the blocks that the new one takes the place of.
    pub(super) fn new(within: &Path, sources: Vec<String>) -> Result<BlockWriter, BlockError> {
        let part = Part::new(within)?;
        let path = part.path().join(CHUNKS);
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        let mut chunks = BufWriter::with_capacity(BUFFER, file);
        chunks.write_all(MAGIC).map_err(failed("write", &path))?;
        let mut meta = Meta::new(sources);
        meta.chunks_bytes = MAGIC.len() as u64;
        Ok(BlockWriter {
            part,
            chunks,
            index: IndexBuilder::default(),
            meta,
            last: None,
            refs: Vec::new(),
        })
    }

    /// Adds one series with its chunks, by their first sample; one without chunks is left out.
    ///
    /// # Errors
    /// Also when its labels do not sort behind those of the last one.
    pub(super) fn add(&mut self, labels: &Labels, chunks: &[Chunk]) -> Result<(), BlockError> {
        if chunks.is_empty() {
            return Ok(());
        }
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            return Err(BlockError::Unsorted { labels: labels.clone() });
        }
        let failed = || failed("write", &self.part.path().join(CHUNKS));
        self.refs.clear();
        for chunk in chunks {
            let bits = &*chunk.bits;
            let len = u32::try_from(bits.len());
            let len = len.map_err(|_| BlockError::TooLarge { labels: labels.clone() })?;
            self.refs.push(ChunkRef {
                offset: self.meta.chunks_bytes,
                len,
                count: chunk.count,
                first: chunk.first,
                last: chunk.last,
            });
            self.chunks.write_all(bits).map_err(failed())?;
            self.chunks.write_all(&crc32fast::hash(bits).to_le_bytes()).map_err(failed())?;
            self.meta.chunks_bytes += u64::from(len) + u64::from(CRC);
            self.meta.chunks += 1;
            self.meta.samples += u64::from(chunk.count);
            self.meta.min = self.meta.min.min(chunk.first);
            self.meta.max = self.meta.max.max(chunk.last);
        }
        self.index.add(labels, &self.refs);
        self.meta.series += 1;
        self.last = Some(labels.clone());
        Ok(())
    }

    /// Syncs everything and gives the block its name; `None` when no series was added.
    pub(super) fn finish(self) -> Result<Option<(String, Meta)>, BlockError> {
        let BlockWriter { part, chunks, index, mut meta, .. } = self;
        if meta.series == 0 {
            return Ok(None);
        }
        let path = part.path().join(CHUNKS);
        let file =
            chunks.into_inner().map_err(|error| failed("write", &path)(error.into_error()))?;
        file.sync_all().map_err(failed("sync", &path))?;

        let path = part.path().join(INDEX);
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        let mut out = Summed {
            file: BufWriter::with_capacity(BUFFER, file),
            crc: crc32fast::Hasher::new(),
            bytes: 0,
        };
        index.write(meta.min, &mut out).map_err(failed("write", &path))?;
        meta.index_bytes = out.bytes;
        meta.index_crc = out.crc.finalize();
        let file =
            out.file.into_inner().map_err(|error| failed("write", &path)(error.into_error()))?;
        file.sync_all().map_err(failed("sync", &path))?;

        let path = part.path().join(META);
        let json = meta.to_json().map_err(|error| failed("write", &path)(error.into()))?;
        let mut file = File::create_new(&path).map_err(failed("create", &path))?;
        file.write_all(&json).map_err(failed("write", &path))?;
        file.sync_all().map_err(failed("sync", &path))?;
        let name = name(&meta);
        part.publish(&name)?;
        Ok(Some((name, meta)))
    }
}

/// A file with the checksum of what went into it.
struct Summed {
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(bytes)?;
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
