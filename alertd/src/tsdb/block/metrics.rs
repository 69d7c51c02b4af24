//! What the blocks say about themselves on `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::BlockStats;

/// Cheap to clone: the values are shared.
#[derive(Debug, Clone, Default)]
pub struct BlockMetrics {
    blocks: Gauge,
    samples: Gauge,
    bytes: Gauge,
    index_bytes: Gauge,
    pub(super) merges: Family<OutcomeLabels, Counter>,
    pub(super) deleted: Family<ReasonLabels, Counter>,
    pub(super) set_aside: Counter,
    pub(super) bad_chunks: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

impl BlockMetrics {
    pub fn new(registry: &mut Registry) -> BlockMetrics {
        let metrics = BlockMetrics::default();
        let name = |rest: &str| format!("pitcrew_alertd_tsdb_block{rest}");
        registry.register(name("s"), "Blocks of older samples on disk", metrics.blocks.clone());
        registry.register(name("_samples"), "Samples in blocks", metrics.samples.clone());
        registry.register(name("_bytes"), "Disk space that blocks take", metrics.bytes.clone());
        registry.register(
            name("_index_memory_bytes"),
            "Memory that indexes of blocks take",
            metrics.index_bytes.clone(),
        );
        registry.register(
            name("_merges"),
            "Merges of blocks into larger ones, by what came of them",
            metrics.merges.clone(),
        );
        registry.register(
            name("s_deleted"),
            "Blocks deleted for their age or for the size of the store",
            metrics.deleted.clone(),
        );
        registry.register(
            name("s_set_aside"),
            "Blocks that could not be trusted and were renamed",
            metrics.set_aside.clone(),
        );
        registry.register(
            name("s_damaged"),
            "Blocks with a chunk that could not be read",
            metrics.bad_chunks.clone(),
        );
        metrics
    }

    pub(super) fn show(&self, stats: &BlockStats) {
        self.blocks.set(i64::try_from(stats.blocks).unwrap_or(i64::MAX));
        self.samples.set(i64::try_from(stats.samples).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(stats.bytes).unwrap_or(i64::MAX));
        self.index_bytes.set(i64::try_from(stats.index_bytes).unwrap_or(i64::MAX));
    }
}
