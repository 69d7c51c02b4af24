//! History with what the replayed rules write laid over it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Appended, Appender, Querier, StoreError};
use crate::model::sample::{Sample, Timestamp};
use crate::tsdb::Tsdb;

/// What the rules that ran at the time recorded under the same names ends where the replay begins.
pub(super) struct Overlay {
    history: Arc<dyn Querier>,
    own: Tsdb,
    from: Timestamp,
    replaced: HashSet<String>,
}

impl Overlay {
    pub(super) fn new(
        history: Arc<dyn Querier>,
        own: Tsdb,
        from: Timestamp,
        recorded: impl Iterator<Item = String>,
    ) -> Overlay {
        let alerts = ["ALERTS", "ALERTS_FOR_STATE"].map(str::to_owned);
        Overlay { history, own, from, replaced: recorded.chain(alerts).collect() }
    }

    /// Forgets what is older than anything that is asked for.
    pub(super) fn tidy(&self, now: Timestamp) {
        self.own.maintain(now);
    }
}

impl Querier for Overlay {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut own = self.own.select(matchers, from, to)?.into_iter().peekable();
        let mut stopped = false;
        self.history.visit(matchers, from, to, &mut |labels, samples| {
            while let Some(first) = own.next_if(|own| own.labels < *labels) {
                if each(&first.labels, &first.samples).is_break() {
                    stopped = true;
                    return ControlFlow::Break(());
                }
            }
            let mine = own.next_if(|own| own.labels == *labels);
            let replaced = labels.metric_name().is_some_and(|name| self.replaced.contains(name));
            let before = match replaced || mine.is_some() {
                true => samples.partition_point(|sample| sample.timestamp < self.from),
                false => samples.len(),
            };
            let mut all = samples.get(..before).unwrap_or_default().to_vec();
            all.extend(mine.into_iter().flat_map(|mine| mine.samples));
            let flow = if all.is_empty() { ControlFlow::Continue(()) } else { each(labels, &all) };
            stopped = flow.is_break();
            flow
        })?;
        for series in own {
            if stopped || each(&series.labels, &series.samples).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Appender for Overlay {
    fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        self.own.append(samples)
    }
}
