//! The GitHub client's own metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::metric::Desc;

pub(super) type Figure = Gauge<f64, AtomicU64>;
pub(super) type ByResource = Family<ResourceLabels, Figure>;

/// Cheap to clone; the clones count together.
#[derive(Debug, Clone, Default)]
pub struct GithubMetrics {
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) not_modified: Counter,
    pub(super) token_renewals: Family<ResultLabels, Counter>,
    pub(super) rate_limit: ByResource,
    pub(super) rate_used: ByResource,
    pub(super) rate_remaining: ByResource,
    pub(super) rate_reset: ByResource,
    pub(super) limit_hits: Family<LimitLabels, Counter>,
    pub(super) withheld: Family<UrgencyLabels, Counter>,
    /// Without a value until GitHub has told the time.
    pub(super) clock_skew: Family<[(&'static str, &'static str); 0], Figure>,
}

/// `endpoint` is a template without names and ids; `status` is a number or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) method: String,
    pub(super) endpoint: &'static str,
    pub(super) status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResourceLabels {
    pub(super) resource: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    /// `primary` or `secondary`.
    pub(super) limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UrgencyLabels {
    pub(super) urgency: &'static str,
}

impl GithubMetrics {
    /// Registers under the program's prefix, `pitcrew_exporter` or `pitcrew_alertd`.
    pub fn new(registry: &mut Registry, program: &str) -> GithubMetrics {
        let metrics = GithubMetrics::default();
        let registry = registry.sub_registry_with_prefix(program);
        add(registry, "requests", REQUESTS, metrics.requests.clone());
        add(registry, "not_modified", NOT_MODIFIED, metrics.not_modified.clone());
        add(registry, "token_renewals", RENEWALS, metrics.token_renewals.clone());
        add(registry, "rate_limit_requests", LIMIT, metrics.rate_limit.clone());
        add(registry, "rate_limit_used_requests", USED, metrics.rate_used.clone());
        add(registry, "rate_limit_remaining_requests", REMAINING, metrics.rate_remaining.clone());
        add(registry, "rate_limit_reset_timestamp_seconds", RESET, metrics.rate_reset.clone());
        add(registry, "limit_hits", HITS, metrics.limit_hits.clone());
        add(registry, "requests_withheld", WITHHELD, metrics.withheld.clone());
        add(registry, "clock_skew_seconds", SKEW, metrics.clock_skew.clone());
        metrics
    }
}

/// The same in METRICS.md, under the exporter's prefix.
pub const DESCS: &[Desc] = &[
    Desc::counter("pitcrew_exporter_github_requests_total", REQUESTS)
        .with_labels(&["method", "endpoint", "status"]),
    Desc::counter("pitcrew_exporter_github_not_modified_total", NOT_MODIFIED),
    Desc::counter("pitcrew_exporter_github_token_renewals_total", RENEWALS)
        .with_labels(&["result"]),
    Desc::gauge("pitcrew_exporter_github_rate_limit_requests", LIMIT).with_labels(RESOURCE),
    Desc::gauge("pitcrew_exporter_github_rate_limit_used_requests", USED).with_labels(RESOURCE),
    Desc::gauge("pitcrew_exporter_github_rate_limit_remaining_requests", REMAINING)
        .with_labels(RESOURCE),
    Desc::gauge("pitcrew_exporter_github_rate_limit_reset_timestamp_seconds", RESET)
        .with_labels(RESOURCE),
    Desc::counter("pitcrew_exporter_github_limit_hits_total", HITS).with_labels(&["limit"]),
    Desc::counter("pitcrew_exporter_github_requests_withheld_total", WITHHELD)
        .with_labels(&["urgency"]),
    Desc::gauge("pitcrew_exporter_github_clock_skew_seconds", SKEW),
];
const RESOURCE: &[&str] = &["resource"];

fn add(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    registry.register(format!("github_{name}"), help, metric);
}

const REQUESTS: &str = "Calls to GitHub's API; status none: no answer";
const NOT_MODIFIED: &str = "Answers 304, which cost nothing of the rate limit";
const RENEWALS: &str = "Tokens fetched or read anew, by result";
const LIMIT: &str = "Calls that the current window of the resource allows in all";
const USED: &str = "Calls of the current window that are spent, by whichever program";
const REMAINING: &str = "Calls left in the current window";
const RESET: &str = "Start of the next window, in Unix time";
const HITS: &str = "Calls that GitHub refused for their rate: primary, the hour's calls are used up; \
                    secondary, too many came at once";
const WITHHELD: &str = "Calls that were not sent, to keep the rest of the budget for more urgent \
                        ones or because GitHub had asked to wait";
const SKEW: &str =
    "GitHub's clock less this machine's, from its last answer; known to half a second";
