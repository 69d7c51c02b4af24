//! Older samples in immutable blocks on disk, one folder each: compressed chunks, an index, and
//! `meta.json`.
//!
//! A block is written whole under another name and then renamed, never changed, and deleted whole
//! when nobody reads it any more.

mod build;
mod cache;
mod coding;
mod compact;
mod folder;
mod index;
mod matching;
mod merge;
mod meta;
pub mod metrics;
mod opened;
mod plan;
mod select;
mod snapshot;
mod writer;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tracing::error;

use self::cache::Cache;
use self::folder::{Kind, failed};
pub(super) use self::merge::decode;
use self::meta::Meta;
use self::metrics::BlockMetrics;
use self::opened::Opened;
pub use self::plan::Keep;
use self::plan::Span;
pub(super) use self::snapshot::snapshot;
use self::writer::BlockWriter;
use super::chunk::Chunk;
use crate::model::labels::Labels;
use crate::model::querier::StoreError;
use crate::model::sample::Timestamp;

/// Within a store's folder.
pub const FOLDER: &str = "blocks";
/// Untrusted blocks that are kept for a person to look at; the oldest go first.
const MOST_SET_ASIDE: usize = 16;
/// Memory for indexes of blocks that were asked last.
const INDEX_BYTES: usize = 256 << 20;

/// All blocks of a store. Reading takes no lock but to list them.
#[derive(Debug)]
pub struct Blocks {
    folder: PathBuf,
    /// By their start.
    list: RwLock<Vec<Arc<Block>>>,
    cache: Cache,
    /// Held by what replaces blocks or deletes them.
    work: Mutex<()>,
    metrics: BlockMetrics,
}

/// One block; deleted from disk when it was replaced or expired and its last reader has gone.
#[derive(Debug)]
struct Block {
    folder: PathBuf,
    name: String,
    meta: Meta,
    /// Its index is read by one thread at a time.
    opening: Mutex<()>,
    /// A chunk could not be read.
    damaged: AtomicBool,
    doomed: AtomicBool,
}

/// What was found at the start beside good blocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Blocks that could not be trusted: their names, and why.
    pub set_aside: Vec<(String, String)>,
    /// Remains of writes, merges and deletions that a crash ended.
    pub leftovers: usize,
}

/// What the blocks hold now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockStats {
    pub blocks: usize,
    pub samples: u64,
    /// On disk.
    pub bytes: u64,
    /// In memory, for indexes.
    pub index_bytes: usize,
    /// Times of the oldest and the newest sample.
    pub range: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    #[error("cannot {what} {path}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} cannot be trusted: {what}")]
    Corrupt { path: PathBuf, what: String },
    /// The rest of the block can be read.
    #[error("block {path} is damaged: {what}")]
    BadChunk { path: PathBuf, what: String },
    #[error("series came in the wrong order: {labels}")]
    Unsorted { labels: Labels },
    #[error("a chunk of {labels} is larger than 4 GiB")]
    TooLarge { labels: Labels },
}

impl Blocks {
    /// Opens the blocks in `folder`, which is made when it is not there.
    ///
    /// What is wrong with a block is no error: it is set aside and told.
    ///
    /// # Errors
    /// When the folder cannot be made or listed.
    pub fn open(folder: &Path, metrics: BlockMetrics) -> Result<(Blocks, Found), BlockError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
        let blocks = Blocks {
            folder: folder.to_owned(),
            list: RwLock::default(),
            cache: Cache::new(INDEX_BYTES),
            work: Mutex::default(),
            metrics,
        };
        let mut found = Found::default();
        let (mut list, mut aside) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let path = entry.map_err(failed("list", folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            match folder::kind(name) {
                Kind::Foreign => {}
                Kind::SetAside => aside.push(path),
                Kind::Leftover => {
                    found.leftovers += 1;
                    folder::delete(&path);
                }
                Kind::Block => match Block::open(&path, name) {
                    Ok(block) => list.push(Arc::new(block)),
                    Err(error) => blocks.refuse(&path, name, &error, &mut found),
                },
            }
        }
        list.sort_by(|one, other| one.order().cmp(&other.order()));
        blocks.end_merges(&mut list, &mut found);
        *blocks.write() = list;
        aside.sort_unstable();
        for old in aside.iter().rev().skip(MOST_SET_ASIDE) {
            folder::delete(old);
        }
        blocks.show();
        Ok((blocks, found))
    }

    /// Writes the series of one window, sorted by labels, each with its chunks by their first
    /// sample. The block is durable and visible when this returns; `None` for no samples.
    pub(super) fn add(
        &self,
        series: impl IntoIterator<Item = (Labels, Vec<Chunk>)>,
    ) -> Result<Option<BlockStats>, BlockError> {
        let mut writer = BlockWriter::new(&self.folder, Vec::new())?;
        for (labels, chunks) in series {
            writer.add(&labels, &chunks)?;
        }
        let Some((name, meta)) = writer.finish()? else { return Ok(None) };
        let block = Arc::new(Block::new(&self.folder.join(&name), &name, meta));
        let stats = stats_of(std::slice::from_ref(&block));
        let mut list = self.write();
        list.push(block);
        list.sort_by(|one, other| one.order().cmp(&other.order()));
        drop(list);
        self.show();
        Ok(Some(stats))
    }

    pub fn stats(&self) -> BlockStats {
        BlockStats { index_bytes: self.cache.bytes(), ..stats_of(&self.read()) }
    }

    /// Whether a block may have samples in `from..=to`.
    pub(super) fn any_between(&self, from: Timestamp, to: Timestamp) -> bool {
        self.read().iter().any(|block| block.meta.min <= to && block.meta.max >= from)
    }

    /// The blocks that may have samples in `from..=to`, by their start.
    fn overlapping(&self, from: Timestamp, to: Timestamp) -> Vec<Arc<Block>> {
        let list = self.read();
        let inside = |block: &&Arc<Block>| block.meta.min <= to && block.meta.max >= from;
        list.iter().filter(inside).cloned().collect()
    }

    fn opened(&self, block: &Block) -> Result<Arc<Opened>, BlockError> {
        if let Some(known) = self.cache.get(&block.name) {
            return Ok(known);
        }
        let _one = block.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.cache.get(&block.name) {
            return Ok(known);
        }
        let opened = Arc::new(Opened::open(&block.folder, &block.meta)?);
        self.cache.put(&block.name, Arc::clone(&opened));
        Ok(opened)
    }

    /// What is to be done about an error while reading a block; gives what a query says.
    fn blame(&self, block: &Block, error: &BlockError) -> StoreError {
        let text = full(error);
        match error {
            BlockError::BadChunk { .. } if !block.damaged.swap(true, Ordering::Relaxed) => {
                self.metrics.bad_chunks.inc();
                error!(error = text, "block is damaged");
            }
            error if error.is_distrust() => {
                let mut list = self.write();
                let known = list.len();
                list.retain(|one| one.name != block.name);
                if list.len() < known {
                    self.set_aside(&block.folder, &text);
                }
                drop(list);
                self.cache.remove(&block.name);
                self.show();
            }
            _ => {}
        }
        StoreError::Unavailable(text)
    }

    fn set_aside(&self, folder: &Path, why: &str) {
        self.metrics.set_aside.inc();
        error!(block = %folder.display(), why, "block is set aside");
        folder::set_aside(folder);
    }

    /// As `blame`, at the start.
    fn refuse(&self, path: &Path, name: &str, error: &BlockError, found: &mut Found) {
        let why = full(error);
        if error.is_distrust() {
            self.set_aside(path, &why);
        } else {
            // Perhaps it can be read at the next start.
            error!(error = why, "block is left out");
        }
        found.set_aside.push((name.to_owned(), why));
    }

    /// Deletes the sources of merged blocks that a crash left there.
    fn end_merges(&self, list: &mut Vec<Arc<Block>>, found: &mut Found) {
        for merged in list.clone() {
            let is_source = |block: &&Arc<Block>| merged.meta.sources.contains(&block.name);
            if !list.iter().any(|block| is_source(&block)) {
                continue;
            }
            match Opened::open(&merged.folder, &merged.meta) {
                Ok(_) => {
                    let sources: Vec<_> = list.iter().filter(is_source).cloned().collect();
                    found.leftovers += sources.len();
                    sources.iter().for_each(|source| source.doomed.store(true, Ordering::Relaxed));
                    list.retain(|block| !merged.meta.sources.contains(&block.name));
                }
                Err(error) => {
                    self.refuse(&merged.folder, &merged.name, &error, found);
                    list.retain(|block| block.name != merged.name);
                }
            }
        }
    }

    fn show(&self) {
        self.metrics.show(&self.stats());
    }

    fn spans(list: &[Arc<Block>]) -> Vec<Span> {
        let span = |block: &Arc<Block>| Span {
            min: block.meta.min,
            max: block.meta.max,
            bytes: block.meta.bytes(),
            whole: !block.damaged.load(Ordering::Relaxed),
        };
        list.iter().map(span).collect()
    }

    // The list is replaced whole or by one entry: a panic elsewhere leaves it right.
    fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Block>>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<Block>>> {
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    fn new(folder: &Path, name: &str, meta: Meta) -> Block {
        Block {
            folder: folder.to_owned(),
            name: name.to_owned(),
            meta,
            opening: Mutex::default(),
            damaged: AtomicBool::default(),
            doomed: AtomicBool::default(),
        }
    }

    fn open(folder: &Path, name: &str) -> Result<Block, BlockError> {
        Ok(Block::new(folder, name, opened::describe(folder)?))
    }

    fn order(&self) -> (Timestamp, Timestamp, &str) {
        (self.meta.min, self.meta.max, &self.name)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Relaxed) {
            folder::delete(&self.folder);
        }
    }
}

impl BlockError {
    fn corrupt(path: &Path, what: impl Into<String>) -> BlockError {
        BlockError::Corrupt { path: path.to_owned(), what: what.into() }
    }

    /// Whether the block itself is bad, and not only the moment.
    fn is_distrust(&self) -> bool {
        match self {
            BlockError::Corrupt { .. } => true,
            BlockError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
            }
            _ => false,
        }
    }
}

/// The error with its causes.
pub(super) fn full(error: &BlockError) -> String {
    match error {
        BlockError::Io { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

fn stats_of(list: &[Arc<Block>]) -> BlockStats {
    let mut stats = BlockStats { blocks: list.len(), ..BlockStats::default() };
    for Meta { min, max, samples, .. } in list.iter().map(|block| &block.meta) {
        stats.samples += samples;
        let (first, last) = stats.range.unwrap_or((*min, *max));
        stats.range = Some((first.min(*min), last.max(*max)));
    }
    stats.bytes = list.iter().map(|block| block.meta.bytes()).sum();
    stats
}

#[cfg(test)]
mod tests;
