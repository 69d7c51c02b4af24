//! A copy of the store that costs next to nothing: blocks never change, so they are linked.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use super::folder::{CHUNKS, INDEX, META, Part, failed, sync_folder};
use super::writer::BlockWriter;
use super::{Block, BlockError, BlockStats, Blocks, stats_of};
use crate::model::labels::Labels;
use crate::tsdb::chunk::Chunk;

/// Makes the folder `into` and puts there every block, and one more with the series that are not in
/// any, sorted by labels: what a store that opens it finds is what this one has.
///
/// The caller's series are written before the blocks are listed, so that what moves from the one to
/// the other meanwhile is there twice rather than not at all.
pub(in crate::tsdb) fn snapshot(
    blocks: Option<&Blocks>,
    into: &Path,
    series: impl IntoIterator<Item = (Labels, Vec<Chunk>)>,
) -> Result<BlockStats, BlockError> {
    DirBuilder::new().recursive(true).mode(0o700).create(into).map_err(failed("create", into))?;
    let mut writer = BlockWriter::new(into, Vec::new())?;
    for (labels, chunks) in series {
        writer.add(&labels, &chunks)?;
    }
    let recent = writer.finish()?;
    // Whoever holds a block keeps its files from being deleted.
    let mut list = blocks.map(|blocks| blocks.read().clone()).unwrap_or_default();
    for block in &list {
        link(block, into)?;
    }
    if let Some((name, meta)) = recent {
        list.push(Arc::new(Block::new(&into.join(&name), &name, meta)));
    }
    sync_folder(into)?;
    Ok(stats_of(&list))
}

fn link(block: &Block, into: &Path) -> Result<(), BlockError> {
    let part = Part::new(into)?;
    for name in [CHUNKS, INDEX, META] {
        let (from, to) = (block.folder.join(name), part.path().join(name));
        fs::hard_link(&from, &to).map_err(failed("link", &from))?;
    }
    part.publish(&block.name)?;
    Ok(())
}
