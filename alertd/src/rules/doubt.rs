//! Whether the silence of an expression means anything: not while the alert's own target is silent.

use std::collections::BTreeMap;

use super::group::Context;
use crate::model::alert::AlertInstance;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::querier::StoreError;
use crate::model::sample::Timestamp;

/// Why an alert is kept alive although nothing shows that it still holds.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    pub(super) why: String,
    /// The target whose scrape fails: `instance` and `job`, as far as the alert has them.
    pub(super) target: Option<Labels>,
}

/// Which targets are scraped and how that goes, asked for once an evaluation and only when needed.
#[derive(Default)]
pub(super) struct Targets(Option<Known>);

#[derive(Default)]
struct Known {
    /// By `instance`: the job and whether the last scrape failed.
    instances: BTreeMap<String, Vec<(String, bool)>>,
    /// By `job`: whether all scrapes fail.
    jobs: BTreeMap<String, bool>,
}

impl Targets {
    /// The doubt about an alert whose `instance` (and `job`, if it has one) names a target whose
    /// scrape fails now, or whose `job` alone names targets that all fail.
    pub(super) fn silent(
        &mut self,
        alert: &AlertInstance,
        context: &Context,
        at: Timestamp,
    ) -> Result<Option<Doubt>, StoreError> {
        let label = |name| alert.labels.get(name);
        let (instance, job) = (label("instance"), label("job"));
        if instance.is_none() && job.is_none() {
            return Ok(None);
        }
        let known = match &mut self.0 {
            Some(known) => known,
            none => none.insert(Known::ask(context, at)?),
        };
        let fails = match (instance, job) {
            (Some(instance), job) => known.instances.get(instance).is_some_and(|scrapes| {
                let about = |other: &str| job.is_none_or(|job| job == other);
                scrapes.iter().any(|(of, fails)| *fails && about(of))
            }),
            (None, Some(job)) => known.jobs.get(job).copied().unwrap_or(false),
            (None, None) => false,
        };
        Ok(fails.then(|| {
            let why = match instance {
                Some(instance) => format!("the scrape of {instance} fails"),
                None => format!("all scrapes of {} fail", job.unwrap_or_default()),
            };
            Doubt { why, target: Some(alert.labels.only(&["instance", "job"])) }
        }))
    }
}

impl Known {
    fn ask(context: &Context, at: Timestamp) -> Result<Known, StoreError> {
        let mut known = Known::default();
        let up = [Matcher::equal(METRIC_NAME, "up")];
        for (labels, value) in context.store.latest(&up, at, context.options.lookback)? {
            let job = labels.get("job").unwrap_or("").to_owned();
            let fails = value == 0.0;
            *known.jobs.entry(job.clone()).or_insert(true) &= fails;
            let instance = labels.get("instance").unwrap_or("").to_owned();
            known.instances.entry(instance).or_default().push((job, fails));
        }
        Ok(known)
    }
}
