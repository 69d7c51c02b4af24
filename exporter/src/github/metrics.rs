//! The GitHub client's own metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(super) type ByResource = Family<ResourceLabels, Gauge<f64, AtomicU64>>;

/// Cheap to clone; the clones count together.
#[derive(Debug, Clone, Default)]
pub struct GithubMetrics {
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) not_modified: Counter,
    pub(super) token_renewals: Family<ResultLabels, Counter>,
    pub(super) rate_limit: ByResource,
    pub(super) rate_remaining: ByResource,
    pub(super) rate_reset: ByResource,
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
    pub(super) resource: String,
}

impl GithubMetrics {
    /// Registers under the program's prefix, `pitcrew_exporter` or `pitcrew_alertd`.
    pub fn new(registry: &mut Registry, program: &str) -> GithubMetrics {
        let metrics = GithubMetrics::default();
        let registry = registry.sub_registry_with_prefix(program);
        let name = "github_requests";
        let help = "Calls to GitHub's API; status none: no answer";
        registry.register(name, help, metrics.requests.clone());
        let name = "github_not_modified";
        let help = "Answers 304, which cost nothing of the rate limit";
        registry.register(name, help, metrics.not_modified.clone());
        let name = "github_token_renewals";
        let help = "Tokens fetched or read anew, by result";
        registry.register(name, help, metrics.token_renewals.clone());
        let name = "github_rate_limit_requests";
        let help = "Calls that the current window allows in all";
        registry.register(name, help, metrics.rate_limit.clone());
        let name = "github_rate_limit_remaining_requests";
        let help = "Calls left in the current window";
        registry.register(name, help, metrics.rate_remaining.clone());
        let name = "github_rate_limit_reset_timestamp_seconds";
        let help = "Start of the next window, in Unix time";
        registry.register(name, help, metrics.rate_reset.clone());
        metrics
    }
}
