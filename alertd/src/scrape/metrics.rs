//! What scraping says about itself on `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::model::querier::Appended;

/// Cheap to clone: the values are shared.
#[derive(Debug, Clone)]
pub struct ScrapeMetrics {
    scrapes: Family<OutcomeLabels, Counter>,
    samples: Counter,
    refused: Family<ReasonLabels, Counter>,
    pub(super) targets: Gauge,
    pub(super) broken_files: Gauge,
    pub(super) file_failures: Counter,
    pub(super) broken_lists: Gauge,
    pub(super) list_failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl ScrapeMetrics {
    pub fn new(registry: &mut Registry) -> ScrapeMetrics {
        let metrics = ScrapeMetrics {
            scrapes: Family::default(),
            samples: Counter::default(),
            refused: Family::default(),
            targets: Gauge::default(),
            broken_files: Gauge::default(),
            file_failures: Counter::default(),
            broken_lists: Gauge::default(),
            list_failures: Counter::default(),
        };
        registry.register(
            "pitcrew_alertd_scrapes",
            "Scrapes by what came of them",
            metrics.scrapes.clone(),
        );
        registry.register(
            "pitcrew_alertd_scrape_samples",
            "Samples of scraped pages that the store took, stale markers included",
            metrics.samples.clone(),
        );
        registry.register(
            "pitcrew_alertd_scrape_samples_refused",
            "Samples of scraped pages that were not stored, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "pitcrew_alertd_scrape_targets",
            "Targets that are scraped now",
            metrics.targets.clone(),
        );
        registry.register(
            "pitcrew_alertd_file_sd_broken_files",
            "Target files that cannot be read now; their last good targets stay",
            metrics.broken_files.clone(),
        );
        registry.register(
            "pitcrew_alertd_file_sd_read_failures",
            "Reads of a target file that failed",
            metrics.file_failures.clone(),
        );
        registry.register(
            "pitcrew_alertd_http_sd_broken_lists",
            "URLs of targets that cannot be read now; their last good targets stay",
            metrics.broken_lists.clone(),
        );
        registry.register(
            "pitcrew_alertd_http_sd_failures",
            "Requests for targets that failed",
            metrics.list_failures.clone(),
        );
        metrics
    }

    pub(super) fn scraped(&self, outcome: &'static str) {
        self.scrapes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// `refused`: samples of a page that failed as a whole.
    pub(super) fn stored(&self, appended: Appended, future: usize, refused: usize) {
        self.samples.inc_by(appended.accepted as u64);
        let appended = Appended { too_new: appended.too_new + future, ..appended };
        for (reason, count) in appended.refused().into_iter().chain([("failed_page", refused)]) {
            if count > 0 {
                self.refused.get_or_create(&ReasonLabels { reason }).inc_by(count as u64);
            }
        }
    }
}
