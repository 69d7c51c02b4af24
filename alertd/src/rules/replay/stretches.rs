//! History read in stretches: an evaluation every few seconds asks for nearly the same again, and a
//! source elsewhere would be asked thousands of times.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::{Sample, Series, Timestamp};

/// How far ahead of what is asked for is read.
const AHEAD: Duration = Duration::from_secs(2 * 3600);
/// Samples that are kept; before there are more, all are read anew.
const MAX_KEPT: usize = 10_000_000;

pub(super) struct Stretches {
    source: Arc<dyn Querier>,
    /// Nothing later is asked for.
    ends: Timestamp,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the matchers and how long a time is asked for at once.
    stretches: HashMap<(String, i64), Arc<Stretch>>,
    samples: usize,
}

struct Stretch {
    from: Timestamp,
    to: Timestamp,
    series: Vec<Series>,
    samples: usize,
}

impl Stretches {
    pub(super) fn new(source: Arc<dyn Querier>, ends: Timestamp) -> Stretches {
        Stretches { source, ends, kept: Mutex::default() }
    }

    fn stretch(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Arc<Stretch>, StoreError> {
        let key = (key(matchers), to.0.saturating_sub(from.0));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stretch) = kept.stretches.get(&key)
            && stretch.from <= from
            && to <= stretch.to
        {
            return Ok(Arc::clone(stretch));
        }
        if let Some(old) = kept.stretches.remove(&key) {
            kept.samples -= old.samples;
        }
        let until = to.max(self.ends.min(to.plus(AHEAD)));
        let (until, series) = match self.source.select(matchers, from, until) {
            Ok(series) => (until, series),
            // As much as is needed may still be allowed.
            Err(_) => (to, self.source.select(matchers, from, to)?),
        };
        let samples = series.iter().map(|series| series.samples.len()).sum();
        let stretch = Arc::new(Stretch { from, to: until, series, samples });
        if kept.samples + samples > MAX_KEPT {
            *kept = Kept::default();
        }
        if samples <= MAX_KEPT {
            kept.samples += samples;
            kept.stretches.insert(key, Arc::clone(&stretch));
        }
        Ok(stretch)
    }
}

impl Querier for Stretches {
    fn visit(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
        each: &mut dyn FnMut(&Labels, &[Sample]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for series in &self.stretch(matchers, from, to)?.series {
            let first = series.samples.partition_point(|sample| sample.timestamp < from);
            let end = series.samples.partition_point(|sample| sample.timestamp <= to);
            let samples = series.samples.get(first..end).unwrap_or_default();
            if !samples.is_empty() && each(&series.labels, samples).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn key(matchers: &[Matcher]) -> String {
    let parts = matchers.iter().map(|m| format!("{:?}{}{:?}", m.name, m.op.symbol(), m.value));
    parts.collect::<Vec<_>>().join(",")
}
