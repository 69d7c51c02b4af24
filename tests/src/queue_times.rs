//! Queue times as an exporter's page tells them, beside the simulator's ledger.

use std::collections::{BTreeMap, BTreeSet};

use crate::fake_github::ledger::{Entry, Event};

const QUEUE: &str = "github_workflow_job_queue_duration_seconds";
const ODDITIES: &str = "pitcrew_exporter_github_oddities_total";

/// Repository and label set.
pub type Series = (String, String);

/// What a series must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waits {
    /// In whole seconds; what GitHub's own times put below zero stands as zero.
    pub seconds: Vec<f64>,
    pub clamped: usize,
}

/// One histogram.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    pub count: usize,
    pub sum: f64,
    /// By upper bound, as it is written.
    pub buckets: BTreeMap<String, usize>,
}

/// The ledger's truth.
pub fn waits(ledger: &[Entry]) -> BTreeMap<Series, Waits> {
    let mut all: BTreeMap<Series, Waits> = BTreeMap::new();
    for Entry { event, what, .. } in ledger {
        let (Event::Assigned, Some(seconds)) = (event, what.queue_seconds) else { continue };
        let mut labels = what.labels.clone();
        labels.sort();
        let series = (what.repository.clone().unwrap_or_default(), labels.join(","));
        let waits = all.entry(series).or_default();
        waits.seconds.push(seconds.max(0.0));
        waits.clamped += usize::from(seconds < 0.0);
    }
    all
}

/// What a page of the text format tells.
pub fn observed(page: &str) -> BTreeMap<Series, Observed> {
    let mut all: BTreeMap<Series, Observed> = BTreeMap::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix(QUEUE) else { continue };
        let (series, value) = rest.rsplit_once(' ').expect("a value");
        let (suffix, labels) = series.split_once('{').expect("labels");
        let label = |name: &str| -> String {
            let (_, rest) = labels.split_once(&format!("{name}=\"")).unwrap_or_default();
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let observed = all.entry((label("repository"), label("labels"))).or_default();
        let value: f64 = value.parse().expect("a number");
        match suffix {
            "_sum" => observed.sum = value,
            "_count" => observed.count = value as usize,
            _ => drop(observed.buckets.insert(label("le"), value as usize)),
        }
    }
    all
}

/// How many oddities of this kind a page tells.
pub fn oddities(page: &str, kind: &str) -> usize {
    let series = format!("{ODDITIES}{{kind=\"{kind}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
}

/// Every series that is not what the ledger says: what it must be, and what is told.
pub fn differences(
    truth: &BTreeMap<Series, Waits>,
    told: &BTreeMap<Series, Observed>,
) -> BTreeMap<Series, (Observed, Observed)> {
    let series: BTreeSet<_> = truth.keys().chain(told.keys()).collect();
    let bounds: Vec<String> =
        told.values().next().map(|any| any.buckets.keys().cloned().collect()).unwrap_or_default();
    let pair = |series: &Series| {
        let told = told.get(series).cloned().unwrap_or_default();
        let want = truth.get(series).map(|waits| waits.as_observed(&bounds)).unwrap_or_default();
        (series.clone(), (want, told))
    };
    series.into_iter().map(pair).filter(|(_, (want, told))| want != told).collect()
}

impl Waits {
    /// With buckets up to these bounds.
    fn as_observed(&self, bounds: &[String]) -> Observed {
        let within = |bound: &String| {
            let bound: f64 = bound.parse().unwrap_or(f64::INFINITY);
            self.seconds.iter().filter(|seconds| **seconds <= bound).count()
        };
        Observed {
            count: self.seconds.len(),
            sum: self.seconds.iter().sum(),
            buckets: bounds.iter().map(|bound| (bound.clone(), within(bound))).collect(),
        }
    }
}
