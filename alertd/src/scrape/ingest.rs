//! One target's pages to samples: labels by cache, limits, stale markers, the series about the scrape.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::config::{MAX_SAMPLES, NameScheme, ScrapeConfig};
use super::exposition::lines;
use super::exposition::{Entry, Format, Line, Malformed, series};
use super::metadata::Keeper;
use super::stale::Seen;
use super::target::Target;
use crate::model::labels::{Labels, METRIC_NAME};
use crate::model::sample::{Sample, Timestamp, stale_marker};
use crate::relabel;

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
    /// Series text as it stands on the page to its slot.
    texts: HashMap<Arc<str>, usize>,
    slots: Vec<Option<Slot>>,
    free_slots: Vec<usize>,
    /// Slots in the order of the last good page: the next one is likely to have the same.
    order: Vec<usize>,
    by_labels: HashMap<Labels, usize>,
    /// By number; `None` where a number is free.
    series: Vec<Option<Labels>>,
    free: Vec<usize>,
    seen: Seen,
    pub(super) metadata: Keeper,
    /// Texts of the last good page.
    good: usize,
}

#[derive(Debug)]
struct Slot {
    text: Arc<str>,
    /// Its number; `None` for a series that a rule dropped.
    series: Option<usize>,
    /// Where it stood in `order`, if it did.
    place: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("page cannot be read")]
    Malformed(#[from] Malformed),
    #[error("page has more samples than sample_limit: expected at most {limit}, found {found}")]
    Samples { limit: usize, found: usize },
    #[error("line {line}: expected a metric name after metric_relabel_configs, found none")]
    NoName { line: usize },
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

/// A page that could be read.
struct Page {
    samples: Vec<Read>,
    /// The slots of its lines.
    walk: Vec<usize>,
}

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
            texts: HashMap::new(),
            slots: Vec::new(),
            free_slots: Vec::new(),
            order: Vec::new(),
            by_labels: HashMap::new(),
            series: Vec::new(),
            free: Vec::new(),
            seen: Seen::default(),
            metadata: Keeper::default(),
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
        let mut metadata = std::mem::take(&mut self.metadata);
        let read = self.read(text, format, at, &mut counts, &mut metadata);
        metadata.page(read.is_ok().then_some((text, format)));
        self.metadata = metadata;
        (counts, read.map(|page| self.keep(page, at)))
    }

    /// Stale markers for every series of the last scrape: it failed now, or the target is gone.
    pub(super) fn end(&mut self, at: Timestamp) -> Batch {
        let ended = self.seen.next([]);
        let markers = self.markers(&ended, at);
        // Pages that fail half-way leave series behind that no good page may ever name.
        if self.texts.len() > 2 * self.good + MAX_LITTER {
            let metadata = std::mem::take(&mut self.metadata);
            let fresh = Ingest::new(Arc::clone(&self.target), Arc::clone(&self.job));
            *self = Ingest { metadata, ..fresh };
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
        metadata: &mut Keeper,
    ) -> Result<Page, PageError> {
        let limit = match self.job.sample_limit {
            0 => MAX_SAMPLES,
            limit => limit,
        };
        let mut samples = Vec::with_capacity(self.order.len());
        let mut walk = Vec::with_capacity(self.order.len());
        let mut lines = lines::Page::new(text, format);
        let mut place = 0;
        loop {
            let likely = self.order.get(place).copied();
            let hint = likely.and_then(|slot| self.slot(slot)).map_or("", |slot| &*slot.text);
            let Some(entry) = lines.next_after(hint) else { break };
            let entry = entry?;
            metadata.pass(&entry);
            let Entry::Sample(line) = entry else { continue };
            counts.scraped += 1;
            // Beyond the limit lines are only counted.
            if counts.kept > limit {
                counts.kept += 1;
                continue;
            }
            let slot = match likely {
                Some(slot) if line.series == hint => slot,
                _ => self.find(&line, format, counts)?,
            };
            walk.push(slot);
            let Some(Slot { series, place: had, .. }) = self.slot(slot) else { continue };
            place = match likely {
                Some(likely) if likely == slot => place + 1,
                _ => had.map_or(place, |had| had + 1),
            };
            let Some(number) = *series else { continue };
            counts.kept += 1;
            let own = line.timestamp.filter(|_| self.job.honor_timestamps).map(Timestamp);
            if own.is_some_and(|own| own > at.plus(FUTURE)) {
                counts.future += 1;
                continue;
            }
            // The bits of the stale marker would end the series.
            let value = if line.value.is_nan() { f64::NAN } else { line.value };
            let sample = Sample { timestamp: own.unwrap_or(at), value };
            samples.push(Read { number, sample, own_time: own.is_some() });
        }
        match counts.kept > limit {
            true => Err(PageError::Samples { limit, found: counts.kept }),
            false => Ok(Page { samples, walk }),
        }
    }

    fn slot(&self, slot: usize) -> Option<&Slot> {
        self.slots.get(slot)?.as_ref()
    }

    /// The slot of a line's series, given now when it is new.
    fn find(
        &mut self,
        line: &Line<'_>,
        format: Format,
        counts: &mut Counts,
    ) -> Result<usize, PageError> {
        if let Some(slot) = self.texts.get(line.series) {
            return Ok(*slot);
        }
        let pairs = series::labels(line.series, format)
            .map_err(|(expected, rest)| Malformed::at(line.number, expected, rest))?;
        if self.job.metric_name_validation_scheme == Some(NameScheme::Legacy)
            && !series::is_legacy(&pairs)
        {
            let expected = "names of letters, digits and _, as metric_name_validation_scheme says";
            return Err(Malformed::at(line.number, expected, line.series).into());
        }
        let labels = self.target.label(&pairs, self.job.honor_labels);
        let series = match relabel::apply(&self.job.metric_relabel_configs, &labels) {
            Some(labels) if !labels.is_empty() => Some(self.number(labels, line.number, counts)?),
            _ => None,
        };
        let text: Arc<str> = line.series.into();
        let slot = self.free_slots.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(Slot { text: Arc::clone(&text), series, place: None });
        self.texts.insert(text, slot);
        Ok(slot)
    }

    /// The number of a series, given now when it is new.
    fn number(
        &mut self,
        labels: Labels,
        line: usize,
        counts: &mut Counts,
    ) -> Result<usize, PageError> {
        if labels.metric_name().is_none() {
            return Err(PageError::NoName { line });
        }
        self.check(&labels, line)?;
        if let Some(number) = self.by_labels.get(&labels) {
            return Ok(*number);
        }
        counts.added += 1;
        let number = self.free.pop().unwrap_or(self.series.len());
        if number == self.series.len() {
            self.series.push(None);
        }
        self.series[number] = Some(labels.clone());
        self.by_labels.insert(labels, number);
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

    fn keep(&mut self, page: Page, at: Timestamp) -> Batch {
        let Page { samples, walk } = page;
        let track = self.job.track_timestamps_staleness;
        let tracked = samples.iter().filter(|read| !read.own_time || track);
        let ended = self.seen.next(tracked.map(|read| read.number));
        let mut batch = Vec::with_capacity(samples.len() + ended.len());
        for Read { number, sample, .. } in samples {
            if let Some(labels) = &self.series[number] {
                batch.push((labels.clone(), sample));
            }
        }
        batch.extend(self.markers(&ended, at));
        // A page with the same lines as the one before changes nothing.
        if walk != self.order || self.texts.len() != self.good {
            self.forget(walk);
        }
        batch
    }

    fn markers(&self, ended: &[usize], at: Timestamp) -> Batch {
        let labels = ended.iter().filter_map(|number| self.series.get(*number)?.clone());
        labels.map(|labels| (labels, Sample { timestamp: at, value: stale_marker() })).collect()
    }

    /// Drops what the page no longer has, so that a page whose labels change all the time cannot
    /// fill the memory.
    fn forget(&mut self, walk: Vec<usize>) {
        let mut used = vec![None; self.slots.len()];
        for (place, slot) in walk.iter().enumerate() {
            used[*slot] = Some(place);
        }
        let mut on_page = vec![false; self.series.len()];
        for (at, place) in used.into_iter().enumerate() {
            let Some(slot) = &mut self.slots[at] else { continue };
            slot.place = place;
            if place.is_some() {
                slot.series.into_iter().for_each(|number| on_page[number] = true);
                continue;
            }
            self.texts.remove(&slot.text);
            self.slots[at] = None;
            self.free_slots.push(at);
        }
        for (number, _) in on_page.iter().enumerate().filter(|(_, on)| !**on) {
            if let Some(labels) = self.series[number].take() {
                self.by_labels.remove(&labels);
                self.seen.forget(number);
                self.free.push(number);
            }
        }
        self.order = walk;
        self.good = self.texts.len();
    }
}

#[cfg(test)]
mod tests;
