//! One target's pages to samples: labels by cache, limits, stale markers, the series about the scrape.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::config::ScrapeConfig;
use super::exposition::lines::Page;
use super::exposition::{Entry, Format, Line, Malformed, series};
use super::stale::Seen;
use super::target::Target;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::{Sample, Timestamp, stale_marker};

/// A page may not put samples further into the future than this; the store would refuse the true
/// ones that come later.
const FUTURE: Duration = Duration::from_secs(600);

/// Series of failed pages that are remembered, beyond as many again as the last good page had.
const MAX_LITTER: usize = 1000;

/// What is kept about a target from one scrape to the next. Pure: no IO, no clock.
#[derive(Debug)]
pub(super) struct Ingest {
    target: Arc<Target>,
    job: Arc<ScrapeConfig>,
    /// Series text as it stands on the page to its number.
    numbers: HashMap<Box<str>, usize>,
    by_labels: HashMap<Labels, usize>,
    /// By number; `None` where a number is free.
    series: Vec<Option<Labels>>,
    free: Vec<usize>,
    seen: Seen,
    /// Series of the last good page.
    good: usize,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("page cannot be read")]
    Malformed(#[from] Malformed),
    #[error("page has more samples than sample_limit: expected at most {limit}, found {found}")]
    Samples { limit: usize, found: usize },
    #[error("line {line}: {key} exceeded: expected at most {limit}, found {found}")]
    Labels { line: usize, key: &'static str, limit: usize, found: usize },
}

/// How many samples a page had, also when it failed half-way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) scraped: usize,
    pub(super) kept: usize,
    /// Series that the cache did not know.
    pub(super) added: usize,
    /// Samples dropped for a timestamp too far ahead.
    pub(super) future: usize,
}

pub(super) type Batch = Vec<(Labels, Sample)>;

struct Read {
    number: usize,
    sample: Sample,
    own_time: bool,
}

impl Ingest {
    pub(super) fn new(target: Arc<Target>, job: Arc<ScrapeConfig>) -> Ingest {
        Ingest {
            target,
            job,
            numbers: HashMap::new(),
            by_labels: HashMap::new(),
            series: Vec::new(),
            free: Vec::new(),
            seen: Seen::default(),
            good: 0,
        }
    }

    /// The samples of a page and the stale markers of the series it no longer has.
    ///
    /// # Errors
    /// When the page is malformed or over a limit; nothing of it counts then, and the caller goes
    /// on with [`Ingest::end`].
    pub(super) fn page(
        &mut self,
        text: &str,
        format: Format,
        at: Timestamp,
    ) -> (Counts, Result<Batch, PageError>) {
        let mut counts = Counts::default();
        let read = self.read(text, format, at, &mut counts);
        (counts, read.map(|read| self.keep(read, at)))
    }

    /// Stale markers for every series of the last scrape: it failed now, or the target is gone.
    pub(super) fn end(&mut self, at: Timestamp) -> Batch {
        let ended = self.seen.next([]);
        let markers = self.markers(&ended, at);
        // Pages that fail half-way leave series behind that no good page may ever name.
        if self.by_labels.len() > 2 * self.good + MAX_LITTER {
            *self = Ingest::new(Arc::clone(&self.target), Arc::clone(&self.job));
        }
        markers
    }

    /// One of the series that Prometheus writes about a scrape, such as `up`.
    pub(super) fn about(&self, name: &str, value: f64, at: Timestamp) -> (Labels, Sample) {
        (self.target.labels.with(METRIC_NAME, name), Sample { timestamp: at, value })
    }

    fn read(
        &mut self,
        text: &str,
        format: Format,
        at: Timestamp,
        counts: &mut Counts,
    ) -> Result<Vec<Read>, PageError> {
        let mut out = Vec::with_capacity(self.numbers.len());
        for entry in Page::new(text, format) {
            let Entry::Sample(line) = entry? else { continue };
            counts.scraped += 1;
            let number = self.number(&line, format, counts)?;
            counts.kept += 1;
            let own = line.timestamp.filter(|_| self.job.honor_timestamps).map(Timestamp);
            if own.is_some_and(|own| own > at.plus(FUTURE)) {
                counts.future += 1;
                continue;
            }
            // The bits of the stale marker would end the series.
            let value = if line.value.is_nan() { f64::NAN } else { line.value };
            let sample = Sample { timestamp: own.unwrap_or(at), value };
            out.push(Read { number, sample, own_time: own.is_some() });
        }
        let limit = self.job.sample_limit;
        if limit > 0 && counts.kept > limit {
            return Err(PageError::Samples { limit, found: counts.kept });
        }
        Ok(out)
    }

    /// The number of a line's series, given now when it is new.
    fn number(
        &mut self,
        line: &Line<'_>,
        format: Format,
        counts: &mut Counts,
    ) -> Result<usize, PageError> {
        if let Some(number) = self.numbers.get(line.series) {
            return Ok(*number);
        }
        let pairs = series::labels(line.series, format)
            .map_err(|(expected, rest)| Malformed::at(line.number, expected, rest))?;
        let labels = self.target.label(&pairs, self.job.honor_labels);
        self.check(&labels, line.number)?;
        let known = self.by_labels.get(&labels).copied();
        let number = known.unwrap_or_else(|| {
            counts.added += 1;
            let number = self.free.pop().unwrap_or(self.series.len());
            if number == self.series.len() {
                self.series.push(None);
            }
            self.series[number] = Some(labels.clone());
            self.by_labels.insert(labels, number);
            number
        });
        self.numbers.insert(line.series.into(), number);
        Ok(number)
    }

    fn check(&self, labels: &Labels, line: usize) -> Result<(), PageError> {
        let over = |key, limit: usize, found: usize| match limit > 0 && found > limit {
            true => Err(PageError::Labels { line, key, limit, found }),
            false => Ok(()),
        };
        over("label_limit", self.job.label_limit, labels.len())?;
        for (name, value) in labels.iter() {
            over("label_name_length_limit", self.job.label_name_length_limit, name.len())?;
            over("label_value_length_limit", self.job.label_value_length_limit, value.len())?;
        }
        Ok(())
    }

    fn keep(&mut self, read: Vec<Read>, at: Timestamp) -> Batch {
        let ended = self.seen.next(read.iter().filter(|r| !r.own_time).map(|r| r.number));
        let mut on_page = vec![false; self.series.len()];
        let mut batch = Vec::with_capacity(read.len() + ended.len());
        for Read { number, sample, .. } in read {
            on_page[number] = true;
            if let Some(labels) = &self.series[number] {
                batch.push((labels.clone(), sample));
            }
        }
        batch.extend(self.markers(&ended, at));
        self.forget(&on_page);
        self.good = self.by_labels.len();
        batch
    }

    fn markers(&self, ended: &[usize], at: Timestamp) -> Batch {
        let labels = ended.iter().filter_map(|number| self.series.get(*number)?.clone());
        labels.map(|labels| (labels, Sample { timestamp: at, value: stale_marker() })).collect()
    }

    /// Drops what the page no longer has, so that a page whose labels change all the time cannot
    /// fill the memory.
    fn forget(&mut self, on_page: &[bool]) {
        let mut gone = false;
        for (number, _) in on_page.iter().enumerate().filter(|(_, on)| !**on) {
            if let Some(labels) = self.series[number].take() {
                gone = true;
                self.by_labels.remove(&labels);
                self.seen.forget(number);
                self.free.push(number);
            }
        }
        if gone {
            self.numbers.retain(|_, number| on_page[*number]);
        }
    }
}

#[cfg(test)]
mod tests;
