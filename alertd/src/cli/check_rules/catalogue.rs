//! The metrics that there are: the exporter's, this program's own, those that every scrape makes, and
//! what the rules record.

use std::collections::BTreeSet;

use pitcrew_exporter::github::metrics::GithubMetrics;
use pitcrew_exporter::metrics_md;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::actions::metrics::ActionMetrics;
use crate::notify::metrics::NotifyMetrics;
use crate::remote::metrics::{ReceiveMetrics, SendMetrics};
use crate::remote::source::metrics::SourceMetrics;
use crate::route::metrics::RouteMetrics;
use crate::rules::metrics::RulesMetrics;
use crate::rules::notifier::metrics::NotifierMetrics;
use crate::scrape::metrics::ScrapeMetrics;
use crate::tsdb::block::metrics::BlockMetrics;
use crate::tsdb::metrics::StoreMetrics;

/// What scraping and rules write beside what targets say.
const SYNTHETIC: [&str; 10] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
    "ALERTS",
    "ALERTS_FOR_STATE",
];

/// Fields of /proc/meminfo whose names rules use most: a misspelled one would pass for another field.
const MEMORY: [&str; 7] = [
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemFree_bytes",
    "node_memory_SwapTotal_bytes",
    "node_memory_SwapFree_bytes",
    "node_memory_Cached_bytes",
    "node_memory_Buffers_bytes",
];

/// Only the exporter names metrics so: one that is not known does not exist. Not alertd's own, whose
/// registry does not tell of those that have labels before they have been set.
const OWN: [&str; 2] = ["runner_", "pitcrew_exporter_"];

/// Letters in which a misspelled name may differ.
const NEAR: usize = 2;

pub(super) struct Catalogue(BTreeSet<String>);

/// What is wrong with a metric's name.
#[derive(Debug, PartialEq)]
pub(super) enum Unknown {
    /// No program of ours has it, or it is nearly one that there is.
    Metric(String),
    /// No rule that was given records it.
    Recording,
}

impl Catalogue {
    /// With the names that rules record and the user gives.
    pub(super) fn new(more: impl IntoIterator<Item = String>) -> Catalogue {
        let mut names: BTreeSet<String> = more.into_iter().collect();
        names.extend(SYNTHETIC.iter().chain(&MEMORY).map(|name| (*name).to_owned()));
        for line in metrics_md::render().lines().filter_map(|line| line.strip_prefix("| `")) {
            let Some((name, rest)) = line.split_once("` | ") else { continue };
            add(&mut names, name, rest.starts_with("histogram"));
        }
        let mut page = String::new();
        // Writing to a `String` cannot fail.
        encode(&mut page, &own()).expect("a string takes any text");
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            match line.split_once(' ') {
                Some((name, "counter")) => add(&mut names, &format!("{name}_total"), false),
                Some((name, kind)) => add(&mut names, name, kind == "histogram"),
                None => {}
            }
        }
        Catalogue(names)
    }

    pub(super) fn find(&self, name: &str) -> Option<Unknown> {
        if self.0.contains(name) {
            return None;
        }
        let distance = |known: &&String| strsim::damerau_levenshtein(known, name);
        let nearest = self.0.iter().min_by_key(distance);
        let own = OWN.iter().any(|prefix| name.starts_with(prefix));
        let nearest = nearest.filter(|known| distance(known) <= if own { 6 } else { NEAR });
        let meant = |nearest: &String| format!("; did you mean {nearest}?");
        if own {
            let text =
                format!("no metric {name} is known{}", nearest.map(meant).unwrap_or_default());
            return Some(Unknown::Metric(text));
        }
        if name.contains(':') {
            return Some(Unknown::Recording);
        }
        // Short names of others are near one another by chance.
        let nearest = nearest.filter(|known| known.len() > 8)?;
        Some(Unknown::Metric(format!("no metric {name} is known{}", meant(nearest))))
    }
}

/// A name in angle brackets stands for many, which nothing is known of.
fn add(names: &mut BTreeSet<String>, name: &str, histogram: bool) {
    if name.contains('<') {
        return;
    }
    if histogram {
        names.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
    }
    names.insert(name.to_owned());
}

fn own() -> Registry {
    let mut registry = Registry::default();
    ActionMetrics::new(&mut registry);
    BlockMetrics::new(&mut registry);
    GithubMetrics::new(&mut registry, "pitcrew_alertd");
    NotifierMetrics::new(&mut registry);
    NotifyMetrics::new(&mut registry);
    ReceiveMetrics::new(&mut registry);
    RouteMetrics::new(&mut registry);
    RulesMetrics::new(&mut registry);
    ScrapeMetrics::new(&mut registry);
    SendMetrics::new(&mut registry);
    SourceMetrics::new(&mut registry);
    StoreMetrics::new(&mut registry);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let catalogue = Catalogue::new(["job:x:sum".to_owned()]);
        for name in [
            "up",
            "runner_health",
            "runner_job_duration_seconds_bucket",
            "node_cpu_seconds_total",
            "node_memory_Slab_bytes",
            "pitcrew_alertd_scrapes_total",
            "job:x:sum",
            "http_requests_total",
            "kube_pod_info",
        ] {
            assert_eq!(catalogue.find(name), None, "{name}");
        }
        for (name, want) in [
            ("runner_helth", "did you mean runner_health?"),
            ("runner_nothing_of_this_kind", "is known"),
            ("node_memory_MemAvailble_bytes", "did you mean node_memory_MemAvailable_bytes?"),
            ("node_cpu_second_total", "did you mean node_cpu_seconds_total?"),
            ("pitcrew_alertd_alert_group", "did you mean pitcrew_alertd_alert_groups?"),
        ] {
            let Some(Unknown::Metric(text)) = catalogue.find(name) else { panic!("{name}") };
            assert!(text.contains(want), "{text}");
        }
        assert_eq!(catalogue.find("job:y:sum"), Some(Unknown::Recording));
    }
}
