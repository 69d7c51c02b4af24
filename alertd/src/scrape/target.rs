//! `Target`: one URL to scrape, and the labels that its samples get.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pitcrew_exporter::config::duration;
use reqwest::Url;

use super::config::{GlobalConfig, ScrapeConfig, StaticConfig, is_address};
use super::exposition::series::Pair;
use crate::model::labels::Labels;
use crate::relabel;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";

/// What tells one target from another: two equal ones are scraped once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target {
    /// The job that configures it; its `job` label may say otherwise.
    pub(super) job_name: String,
    pub(super) url: String,
    /// With `job` and `instance`, without what starts with `__`.
    pub(super) labels: Labels,
    /// What was known before: with `__address__`, `__scheme__`, `__metrics_path__` and the rest.
    pub(super) discovered: Labels,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target {address}: {key}: expected {expected}, found {found:?}")]
pub(super) struct BadTarget {
    address: String,
    key: &'static str,
    expected: &'static str,
    found: String,
}

/// What a job makes of some groups of targets.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    /// What is known about those that a rule dropped, under the name of the job.
    pub(super) dropped: Vec<(String, Labels)>,
}

impl Found {
    pub(super) fn add(&mut self, other: Found) {
        self.targets.extend(other.targets);
        self.dropped.extend(other.dropped);
    }
}

/// The targets of a group; labels of the group win over what the job configures, as in Prometheus.
pub(super) fn of_group(
    job: &ScrapeConfig,
    global: &GlobalConfig,
    group: &StaticConfig,
) -> Result<Found, BadTarget> {
    let mut found = Found::default();
    for address in &group.targets {
        let discovered = discovered(job, global, address, &group.labels);
        match relabel::apply(&job.relabel_configs, &discovered) {
            Some(labels) => found.targets.push(build(job, discovered, &labels)?),
            None => found.dropped.push((job.job_name.clone(), discovered)),
        }
    }
    Ok(found)
}

/// What is known about a target before any rule.
fn discovered(
    job: &ScrapeConfig,
    global: &GlobalConfig,
    address: &str,
    given: &BTreeMap<String, String>,
) -> Labels {
    let (interval, timeout) = job.timing(global);
    let mut labels: BTreeMap<String, String> = given.clone();
    labels.insert(ADDRESS.to_owned(), address.to_owned());
    labels.retain(|_, value| !value.is_empty());
    let mut fill = |name: &str, value: String| {
        labels.entry(name.to_owned()).or_insert(value);
    };
    fill("job", job.job_name.clone());
    fill(SCHEME, job.scheme.name().to_owned());
    fill(METRICS_PATH, job.metrics_path.clone());
    fill(INTERVAL, duration::format(interval));
    fill(TIMEOUT, duration::format(timeout));
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            fill(&format!("{PARAM}{name}"), first.clone());
        }
    }
    Labels::from_pairs(labels)
}

/// The target that is left after the rules.
fn build(job: &ScrapeConfig, discovered: Labels, left: &Labels) -> Result<Target, BadTarget> {
    let mut labels = left.to_map();
    let told = discovered.get(ADDRESS).unwrap_or("").to_owned();
    let wrong = |key, expected| {
        let found = left.get(key).unwrap_or("").to_owned();
        BadTarget { address: told.clone(), key, expected, found }
    };
    let scheme = labels.entry(SCHEME.to_owned()).or_insert_with(|| "http".to_owned());
    let port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return Err(wrong(SCHEME, "http or https")),
    };
    labels.entry(METRICS_PATH.to_owned()).or_default();
    let address = labels.get(ADDRESS).map_or("", String::as_str);
    if !is_address(address) {
        return Err(wrong(ADDRESS, "host or host:port, without scheme, path or user"));
    }
    let address = with_port(address, port);
    let time = |key| {
        let text = labels.get(key).map_or("", String::as_str);
        let time = duration::parse(text).ok().filter(|time| !time.is_zero());
        time.ok_or_else(|| wrong(key, "a duration such as 15s"))
    };
    let (interval, timeout) = (time(INTERVAL)?, time(TIMEOUT)?);
    if timeout > interval {
        return Err(wrong(TIMEOUT, "at most __scrape_interval__"));
    }
    let url = url(job, &labels, &address).ok_or_else(|| wrong(ADDRESS, "host or host:port"))?;
    let instance = labels.get("instance").cloned().unwrap_or(address);
    labels.insert("instance".to_owned(), instance);
    labels.retain(|name, _| !name.starts_with("__"));
    let labels = Labels::from_pairs(labels);
    Ok(Target { job_name: job.job_name.clone(), url, labels, discovered, interval, timeout })
}

fn url(job: &ScrapeConfig, labels: &BTreeMap<String, String>, address: &str) -> Option<String> {
    let (path, mut query) = match labels[METRICS_PATH].split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (labels[METRICS_PATH].as_str(), None),
    };
    let mut url = Url::parse(&format!("{}://{address}/", labels[SCHEME])).ok()?;
    url.set_path(path);
    query = query.filter(|query| !query.is_empty());
    url.set_query(query);
    let mut params: BTreeMap<&str, Vec<&str>> = job
        .params
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    for (name, value) in labels.iter().filter_map(|(n, v)| Some((n.strip_prefix(PARAM)?, v))) {
        let values = params.entry(name).or_default();
        // The label holds the first value; the others of the job stay.
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    for (name, values) in params {
        for value in values {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    // A URL leaves out its scheme's port; Prometheus shows it.
    let (_, rest) = url.as_str().split_at(url.as_str().len() - after_host(&url));
    Some(format!("{}://{address}{rest}", labels[SCHEME]))
}

/// Bytes of the path and the query.
fn after_host(url: &Url) -> usize {
    url.path().len() + url.query().map_or(0, |query| query.len() + 1)
}

/// Adds the scheme's port when the address has none; an IPv6 address is in brackets.
fn with_port(address: &str, port: u16) -> String {
    let after_host = address.rsplit_once(']').map_or(address, |(_, after)| after);
    match after_host.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{port}"),
    }
}

impl Target {
    /// The same place in the interval for the same target, across restarts and copies of alertd.
    pub(super) fn offset(&self) -> Duration {
        let mut hash = DefaultHasher::new();
        (&self.url, &self.labels).hash(&mut hash);
        let millis = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(hash.finish() % millis)
    }

    pub(super) fn job(&self) -> &str {
        self.labels.get("job").unwrap_or("")
    }

    pub(super) fn instance(&self) -> &str {
        self.labels.get("instance").unwrap_or("")
    }

    /// The labels of a series of this target's page.
    ///
    /// Where both have a label, the target's wins and the page's is kept as `exported_…`; with
    /// `honor` the page's wins, even an empty one.
    pub(super) fn label(&self, page: &[Pair<'_>], honor: bool) -> Labels {
        let on_page = |name: &str| page.iter().find(|(have, _)| have == name);
        let mut all: BTreeMap<Arc<str>, Arc<str>> = page
            .iter()
            .map(|(name, value)| (Arc::from(name.as_ref()), Arc::from(value.as_ref())))
            .collect();
        let mut pushed_out = Vec::new();
        for (name, value) in self.labels.pairs() {
            match on_page(name) {
                Some(_) if honor => continue,
                Some((name, value)) if !value.is_empty() => pushed_out.push((name, value)),
                _ => {}
            }
            all.insert(Arc::clone(name), Arc::clone(value));
        }
        // Shorter names first, so that a name which is itself `exported_…` moves on.
        pushed_out.sort_by_key(|(name, _)| name.len());
        for (name, value) in pushed_out {
            let mut name = format!("exported_{name}");
            while all.get(name.as_str()).is_some_and(|value| !value.is_empty()) {
                name.insert_str(0, "exported_");
            }
            all.insert(name.into(), Arc::from(value.as_ref()));
        }
        Labels::from_pairs(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::exposition::Format;
    use crate::scrape::exposition::series;

    fn target(address: &str, job: &str, labels: &[(&str, &str)]) -> Result<Target, BadTarget> {
        let file = std::path::Path::new("a");
        let job: ScrapeConfig = pitcrew_exporter::config::yaml::parse(file, job).unwrap();
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let group = StaticConfig { targets: vec![address.to_owned()], labels };
        of_group(&job, &GlobalConfig::default(), &group).map(|mut found| found.targets.remove(0))
    }

    #[test]
    fn url_and_labels() {
        for (address, job, labels, url, want) in [
            ("a:1", "job_name: j", &[][..], "http://a:1/metrics", r#"{instance="a:1", job="j"}"#),
            (
                "a",
                "{job_name: j, scheme: https}",
                &[],
                "https://a:443/metrics",
                r#"{instance="a:443", job="j"}"#,
            ),
            (
                "[::1]",
                "job_name: j",
                &[("instance", "me"), ("rack", "")],
                "http://[::1]:80/metrics",
                r#"{instance="me", job="j"}"#,
            ),
            (
                "a:1",
                "{job_name: j, params: {m: [x, y z], n: []}}",
                &[("job", "k"), ("__metrics_path__", "/p"), ("__param_m", "w"), ("__meta_x", "1")],
                "http://a:1/p?m=w&m=y+z",
                r#"{instance="a:1", job="k"}"#,
            ),
        ] {
            let target = target(address, job, labels).unwrap();
            assert_eq!((target.url.as_str(), target.labels.to_string().as_str()), (url, want));
            assert!(target.offset() < target.interval);
        }
        for (address, label, value) in [
            ("a", "__scheme__", "ftp"),
            ("a", "__scrape_timeout__", "1h"),
            ("a", "__scrape_interval__", "soon"),
            ("a:b", "rack", "1"),
        ] {
            assert!(
                target(address, "job_name: j", &[(label, value)]).is_err(),
                "{address} {label}"
            );
        }
    }

    #[test]
    fn conflicting_labels() {
        let target = target("a:1", "job_name: j", &[("rack", "1")]).unwrap();
        for (page, honor, want) in [
            ("m", false, r#"m{instance="a:1", job="j", rack="1"}"#),
            (
                r#"m{job="x",rack=""}"#,
                false,
                r#"m{exported_job="x", instance="a:1", job="j", rack="1"}"#,
            ),
            (
                r#"m{job="x",exported_job="y"}"#,
                false,
                r#"m{exported_exported_job="x", exported_job="y", instance="a:1", job="j", rack="1"}"#,
            ),
            (r#"m{job="x",instance=""}"#, true, r#"m{job="x", rack="1"}"#),
        ] {
            let pairs = series::labels(page, Format::Text004).unwrap();
            assert_eq!(target.label(&pairs, honor).to_string(), want, "{page}");
        }
    }
}
