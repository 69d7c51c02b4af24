//! The whole store as blocks in a folder, which another store can open.

use std::path::Path;

use super::{Tsdb, block};
use crate::model::querier::StoreError;

impl Tsdb {
    /// Writes what is in memory as one block into the new folder `into` and links the blocks that
    /// are on disk; a store opened on `into` answers as this one did.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn snapshot(&self, into: &Path) -> Result<(), StoreError> {
        // What moves into a block meanwhile stays where it is until this ends.
        let _reading = self.reading();
        let series = self.matching(&[]).into_iter();
        let series = series.map(|entry| (entry.labels.clone(), entry.samples().chunks()));
        let blocks = self.disk.as_ref().map(|disk| &disk.blocks);
        block::snapshot(blocks, &into.join(block::FOLDER), series)
            .map_err(|error| StoreError::Unavailable(block::full(&error)))?;
        Ok(())
    }
}
