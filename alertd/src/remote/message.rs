//! A write request's message to series for the store, borrowed from the body. Pure.

use std::ops::Range;

use super::Protocol;
use super::metadata;
use super::wire::{Field, Fields, Malformed};
use crate::model::labels::METRIC_NAME;
use crate::model::metadata::{About, Kind, Metadata, family};
use crate::model::querier::{Appended, Incoming, StoreError};
use crate::model::sample::{Sample, Timestamp};

/// Labels and samples held at a time; with more of them a body is stored in several steps.
const MOST_LABELS: usize = 1 << 20;
const MOST_SAMPLES: usize = 1 << 20;
const MOST_SYMBOLS: usize = 1 << 20;
/// More make a series unusable; the store has a limit of its own below this one.
const MOST_LABELS_OF_SERIES: usize = 1024;
/// Of a complaint's series, in characters.
const MOST_SHOWN: usize = 300;

/// What came of the samples of one body: every one is in exactly one count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Float samples, as the store and the checks before it saw them.
    pub appended: Appended,
    /// Native histograms, which are not supported.
    pub histograms: usize,
    /// Exemplars, which are not kept.
    pub exemplars: usize,
    /// What is said about metrics.
    pub metadata: Metadata,
    /// Metrics of which nothing is kept: too many, or without a usable name.
    pub metadata_refused: usize,
    /// Series that could not be one.
    pub bad_series: usize,
    /// What is wrong with the first of those.
    pub complaint: Option<String>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    #[error("not a protobuf message of this protocol: {0}")]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the series go; called once for most bodies.
pub type Sink<'s> = dyn FnMut(&[Incoming<'_>]) -> Result<Appended, StoreError> + 's;

/// Gives `sink` every usable series of the message, labels sorted as the store wants them.
///
/// Samples later than `latest` are refused, as are series whose labels cannot be.
///
/// # Errors
/// A message that breaks in the middle may have been stored up to there.
pub fn decode(
    protocol: Protocol,
    message: &[u8],
    latest: Timestamp,
    sink: &mut Sink<'_>,
) -> Result<Outcome, Failure> {
    let mut batch = Batch {
        latest,
        sink,
        labels: Vec::new(),
        samples: Vec::new(),
        series: Vec::new(),
        outcome: Outcome::default(),
    };
    let mut fields = Fields::new(message);
    match protocol {
        Protocol::V1 => {
            while let Some(field) = fields.next()? {
                match field {
                    (1, Field::Bytes(series)) => batch.v1(series)?,
                    (3, Field::Bytes(said)) => batch.metadata(said)?,
                    (1, _) => return Err(Malformed::Mismatch("timeseries").into()),
                    (3, _) => return Err(Malformed::Mismatch("metadata").into()),
                    _ => {}
                }
            }
        }
        Protocol::V2 => {
            let symbols = symbols(message)?;
            while let Some(field) = fields.next()? {
                match field {
                    (5, Field::Bytes(series)) => batch.v2(series, &symbols)?,
                    (5, _) => return Err(Malformed::Mismatch("timeseries").into()),
                    _ => {}
                }
            }
        }
    }
    batch.flush()?;
    Ok(batch.outcome)
}

/// `None` where one is not UTF-8.
fn symbols(message: &[u8]) -> Result<Vec<Option<&str>>, Malformed> {
    let (mut fields, mut symbols) = (Fields::new(message), Vec::new());
    while let Some(field) = fields.next()? {
        match field {
            (4, Field::Bytes(_)) if symbols.len() == MOST_SYMBOLS => {
                return Err(Malformed::TooMany { what: "symbols", limit: MOST_SYMBOLS });
            }
            (4, Field::Bytes(symbol)) => symbols.push(std::str::from_utf8(symbol).ok()),
            (4, _) => return Err(Malformed::Mismatch("symbols")),
            _ => {}
        }
    }
    Ok(symbols)
}

/// The series read so far, in two lists that all of them share: no series costs an allocation.
struct Batch<'a, 's, 't> {
    latest: Timestamp,
    sink: &'s mut Sink<'t>,
    labels: Vec<(&'a str, &'a str)>,
    samples: Vec<Sample>,
    series: Vec<(Range<usize>, Range<usize>)>,
    outcome: Outcome,
}

/// One series while it is read.
#[derive(Default)]
struct Reading<'a> {
    wrong: Option<&'static str>,
    future: usize,
    about: Option<(Kind, &'a str, &'a str)>,
}

impl<'a> Batch<'a, '_, '_> {
    fn v1(&mut self, message: &'a [u8]) -> Result<(), Failure> {
        let start = (self.labels.len(), self.samples.len());
        let (mut fields, mut reading) = (Fields::new(message), Reading::default());
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(pair)) => {
                    let (name, value) = pair_of(pair)?;
                    let text = std::str::from_utf8;
                    match (text(name), text(value)) {
                        (Ok(name), Ok(value)) => self.label(start.0, &mut reading, name, value),
                        _ => reading.wrong = Some("a label is not UTF-8"),
                    }
                }
                (2, Field::Bytes(sample)) => self.sample(start.1, &mut reading, sample)?,
                (3, Field::Bytes(_)) => self.outcome.exemplars += 1,
                (4, Field::Bytes(_)) => self.outcome.histograms += 1,
                (1..=4, _) => return Err(Malformed::Mismatch("a part of a series").into()),
                _ => {}
            }
        }
        self.close(start, &reading)
    }

    fn metadata(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let (mut fields, mut kind, mut texts) = (Fields::new(message), 0, [&[][..]; 3]);
        let [name, help, unit] = &mut texts;
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Varint(number)) => kind = number,
                (2, Field::Bytes(text)) => *name = text,
                (4, Field::Bytes(text)) => *help = text,
                (5, Field::Bytes(text)) => *unit = text,
                (1 | 2 | 4 | 5, _) => return Err(Malformed::Mismatch("metadata")),
                _ => {}
            }
        }
        match texts.map(std::str::from_utf8) {
            [Ok(name), Ok(help), Ok(unit)] if !name.is_empty() => {
                self.outcome.describe(name, metadata::kind(kind), help, unit);
            }
            _ => self.outcome.metadata_refused += 1,
        }
        Ok(())
    }

    fn v2(&mut self, message: &'a [u8], symbols: &[Option<&'a str>]) -> Result<(), Failure> {
        let start = (self.labels.len(), self.samples.len());
        let (mut fields, mut reading) = (Fields::new(message), Reading::default());
        let mut name = None;
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(list)) => {
                    let mut list = Fields::new(list);
                    while let Some(symbol) = list.packed()? {
                        self.symbol(start.0, &mut reading, &mut name, symbol, symbols);
                    }
                }
                (1, Field::Varint(symbol)) => {
                    self.symbol(start.0, &mut reading, &mut name, symbol, symbols);
                }
                (2, Field::Bytes(sample)) => self.sample(start.1, &mut reading, sample)?,
                (3, Field::Bytes(_)) => self.outcome.histograms += 1,
                (4, Field::Bytes(_)) => self.outcome.exemplars += 1,
                (5, Field::Bytes(said)) => about(&mut reading, said, symbols)?,
                (1..=5, _) => return Err(Malformed::Mismatch("a part of a series").into()),
                _ => {}
            }
        }
        if name.is_some() {
            reading.wrong = reading.wrong.or(Some("a label name has no value"));
        }
        self.close(start, &reading)
    }

    fn symbol(
        &mut self,
        start: usize,
        reading: &mut Reading<'_>,
        name: &mut Option<&'a str>,
        number: u64,
        symbols: &[Option<&'a str>],
    ) {
        let symbol = usize::try_from(number).ok().and_then(|number| symbols.get(number));
        let Some(symbol) = symbol else {
            reading.wrong = Some("a label has a number that is not in the table of symbols");
            return;
        };
        let Some(symbol) = *symbol else {
            reading.wrong = Some("a label is not UTF-8");
            return;
        };
        match name.take() {
            None => *name = Some(symbol),
            Some(name) => self.label(start, reading, name, symbol),
        }
    }

    fn label(&mut self, start: usize, reading: &mut Reading<'_>, name: &'a str, value: &'a str) {
        match self.labels.len() - start < MOST_LABELS_OF_SERIES {
            true => self.labels.push((name, value)),
            false => reading.wrong = Some("it has more than 1024 labels"),
        }
    }

    fn sample(
        &mut self,
        start: usize,
        reading: &mut Reading<'_>,
        message: &[u8],
    ) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        let mut sample = Sample { timestamp: Timestamp(0), value: 0.0 };
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Fixed64(bits)) => sample.value = f64::from_bits(bits),
                (2, Field::Varint(time)) => sample.timestamp = Timestamp(time.cast_signed()),
                (1 | 2, _) => return Err(Malformed::Mismatch("a part of a sample")),
                _ => {}
            }
        }
        if sample.timestamp > self.latest {
            reading.future += 1;
        } else if self.samples.len() - start < MOST_SAMPLES {
            self.samples.push(sample);
        } else {
            return Err(Malformed::TooMany { what: "samples of one series", limit: MOST_SAMPLES });
        }
        Ok(())
    }

    /// Keeps the series that was read since `start`, or says what is wrong with it.
    fn close(&mut self, start: (usize, usize), reading: &Reading<'_>) -> Result<(), Failure> {
        let labels = self.labels.get_mut(start.0..).unwrap_or_default();
        match reading.wrong.map_or_else(|| tidy(labels), Err) {
            Ok(kept) => {
                if let Some((kind, help, unit)) = reading.about {
                    let name = labels.iter().find(|(name, _)| *name == METRIC_NAME);
                    let name = family(name.map_or("", |(_, name)| *name), kind);
                    self.outcome.describe(name, kind, help, unit);
                }
                self.labels.truncate(start.0 + kept);
                self.outcome.appended.too_new += reading.future;
                let (labels, samples) = (start.0..self.labels.len(), start.1..self.samples.len());
                match samples.is_empty() {
                    true => self.labels.truncate(start.0),
                    false => self.series.push((labels, samples)),
                }
            }
            Err(wrong) => {
                if self.outcome.complaint.is_none() {
                    self.outcome.complaint = Some(format!("{wrong} in {}", shown(labels)));
                }
                self.outcome.bad_series += 1;
                self.outcome.appended.bad_labels += self.samples.len() - start.1 + reading.future;
                self.labels.truncate(start.0);
                self.samples.truncate(start.1);
            }
        }
        if self.labels.len() >= MOST_LABELS || self.samples.len() >= MOST_SAMPLES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.series.is_empty() {
            return Ok(());
        }
        let incoming = |(labels, samples): &(Range<usize>, Range<usize>)| Incoming {
            labels: self.labels.get(labels.clone()).unwrap_or_default(),
            samples: self.samples.get(samples.clone()).unwrap_or_default(),
        };
        let incoming: Vec<_> = self.series.iter().map(incoming).collect();
        self.outcome.appended += (self.sink)(&incoming)?;
        self.series.clear();
        self.labels.clear();
        self.samples.clear();
        Ok(())
    }
}

impl Outcome {
    fn describe(&mut self, name: &str, kind: Kind, help: &str, unit: &str) {
        // Every series of a metric may say it.
        let same =
            |about: &About| about.kind == kind && *about.help == *help && *about.unit == *unit;
        if !self.metadata.get(name).is_some_and(same)
            && !metadata::put(&mut self.metadata, name, About::new(kind, help, unit))
        {
            self.metadata_refused += 1;
        }
    }
}

/// What a series of version 2.0 says about its metric; senders that know nothing say nothing, or
/// say it in empty fields.
fn about<'a>(
    reading: &mut Reading<'a>,
    message: &[u8],
    symbols: &[Option<&'a str>],
) -> Result<(), Malformed> {
    let (mut fields, mut kind, mut help, mut unit) = (Fields::new(message), 0, 0, 0);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Varint(number)) => kind = number,
            (3, Field::Varint(number)) => help = number,
            (4, Field::Varint(number)) => unit = number,
            (1 | 3 | 4, _) => return Err(Malformed::Mismatch("metadata")),
            _ => {}
        }
    }
    if (kind, help, unit) == (0, 0, 0) {
        return Ok(());
    }
    let text = |number: u64| *usize::try_from(number).ok().and_then(|at| symbols.get(at))?;
    match (text(help), text(unit)) {
        (Some(help), Some(unit)) => reading.about = Some((metadata::kind(kind), help, unit)),
        _ => reading.wrong = Some("its metadata has a number that is not in the table of symbols"),
    }
    Ok(())
}

fn pair_of(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut fields, mut name, mut value) = (Fields::new(message), &[][..], &[][..]);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(bytes)) => name = bytes,
            (2, Field::Bytes(bytes)) => value = bytes,
            (1 | 2, _) => return Err(Malformed::Mismatch("a label")),
            _ => {}
        }
    }
    Ok((name, value))
}

/// Sorts the labels and moves those without a value to the end; how many have one.
///
/// Prometheus sorts what comes unsorted too; the specification has the sender do it.
fn tidy(labels: &mut [(&str, &str)]) -> Result<usize, &'static str> {
    let (mut sorted, mut named, mut empty, mut before) = (true, false, false, "");
    for (name, value) in labels.iter() {
        sorted &= before < *name;
        named |= *name == METRIC_NAME && !value.is_empty();
        empty |= value.is_empty();
        before = name;
    }
    if !sorted {
        labels.sort_unstable_by_key(|(name, _)| *name);
        if labels.first().is_some_and(|(name, _)| name.is_empty()) {
            return Err("a label has no name");
        }
        if labels.windows(2).any(|two| matches!(two, [(one, _), (other, _)] if one == other)) {
            return Err("a label name stands twice");
        }
    }
    if !named {
        return Err("there is no __name__");
    }
    if empty {
        labels.sort_unstable_by_key(|(name, value)| (value.is_empty(), *name));
    }
    Ok(labels.iter().filter(|(_, value)| !value.is_empty()).count())
}

fn shown(labels: &[(&str, &str)]) -> String {
    let pairs = labels.iter().take(20).map(|(name, value)| format!("{name}={value:?}"));
    let text = pairs.collect::<Vec<_>>().join(", ");
    format!("{{{}}}", text.chars().take(MOST_SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests;
