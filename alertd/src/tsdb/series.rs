//! The samples of one series in memory: sealed chunks, and one that grows.

use std::time::Duration;

use crate::model::sample::{Sample, Timestamp};

use super::chunk::{Chunk, Corrupt, Open, State};

/// Samples that one chunk holds: an hour at an interval of 30 s.
pub(super) const CHUNK: usize = 120;

/// Oldest first, no two at one timestamp.
#[derive(Debug)]
pub(super) struct Samples {
    /// Every sample in them is older than those in `open`.
    sealed: Vec<Chunk>,
    open: Open,
    /// A place near the end of the last of `sealed`, to read it from.
    mark: State,
    /// So many of `sealed`, from the first, are in the files of a checkpoint.
    written: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// New, and stored.
    Stored,
    /// Already there with the same value.
    Known,
    /// Another value is there.
    Duplicate,
    OutOfOrder,
}

impl Default for Samples {
    fn default() -> Samples {
        Samples { sealed: Vec::new(), open: Open::default(), mark: State::NONE, written: 0 }
    }
}

impl Samples {
    pub(super) fn append(&mut self, sample: Sample, window: Duration) -> Outcome {
        let Some(newest) = self.newest() else {
            self.open.push(sample);
            return Outcome::Stored;
        };
        if sample.timestamp > newest {
            if self.open.len() >= CHUNK {
                self.seal();
            }
            self.open.push(sample);
            return Outcome::Stored;
        }
        if sample.timestamp == newest && self.open.len() > 0 {
            let same = self.open.last_bits() == sample.value.to_bits();
            return if same { Outcome::Known } else { Outcome::Duplicate };
        }
        let allowed = sample.timestamp >= newest.minus(window);
        match self.open.range() {
            Some((first, _)) if first <= sample.timestamp => self.insert_into_open(sample, allowed),
            _ => self.insert_into_sealed(sample, allowed),
        }
    }

    /// Adds the samples in `from..=to` to `out`.
    pub(super) fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
        out: &mut Vec<Sample>,
    ) -> Result<(), Corrupt> {
        let start = self.sealed.partition_point(|chunk| chunk.last < from);
        let chunks = self.sealed.iter().enumerate().skip(start);
        for (at, chunk) in chunks.take_while(|(_, chunk)| chunk.first <= to) {
            let last = at + 1 == self.sealed.len();
            let mark = if last { self.mark } else { State::NONE };
            chunk.decode_marked(mark, from, to, out)?;
        }
        if self.open.range().is_some_and(|(first, last)| first <= to && last >= from) {
            self.open.decode(from, to, out);
        }
        Ok(())
    }

    /// Whether a sample is in `from..=to`, for sure: chunks are looked into only where they must.
    pub(super) fn any_between(&self, from: Timestamp, to: Timestamp) -> bool {
        let mut found = Vec::new();
        let sealed = self.sealed.iter().map(|chunk| (chunk.first, chunk.last));
        sealed.chain(self.open.range()).any(|(first, last)| {
            let end_inside = (from <= first && first <= to) || (from <= last && last <= to);
            end_inside
                || (first < from && to < last && {
                    found.clear();
                    self.between(from, to, &mut found).is_ok() && !found.is_empty()
                })
        })
    }

    /// The last sample, where it is in `from..=to`: no chunk is unpacked for that.
    pub(super) fn last_between(&self, from: Timestamp, to: Timestamp) -> Option<Sample> {
        let (_, timestamp) = self.open.range()?;
        let value = f64::from_bits(self.open.last_bits());
        (from <= timestamp && timestamp <= to).then_some(Sample { timestamp, value })
    }

    /// All samples, compressed.
    pub(super) fn chunks(&self) -> Vec<Chunk> {
        self.sealed.iter().cloned().chain(self.open.chunk()).collect()
    }

    /// What a checkpoint has to write: the sealed chunks that none has written, which count as
    /// written from now on, and the open one. Gives first what [`Samples::unwrite`] takes.
    pub(super) fn capture(&mut self) -> (usize, Vec<Chunk>, Option<Chunk>) {
        let before = self.written;
        let sealed = self.sealed.iter().skip(before).cloned().collect();
        self.written = self.sealed.len();
        (before, sealed, self.open.chunk())
    }

    pub(super) fn unwrite(&mut self, written: usize) {
        self.written = self.written.min(written);
    }

    /// Takes back a sealed chunk that a checkpoint wrote.
    pub(super) fn restore(&mut self, chunk: Chunk) -> Result<(), Corrupt> {
        if self.open.range().is_some_and(|(first, _)| first <= chunk.last) {
            return Err(Corrupt);
        }
        let start = self.sealed.partition_point(|known| known.last < chunk.first);
        if start == self.sealed.len() {
            self.push_sealed(chunk, State::NONE);
        } else if self.sealed.get(start) != Some(&chunk) {
            // Late samples changed a chunk after it was written: what both hold counts.
            let end = self.sealed.partition_point(|known| known.first <= chunk.last);
            let mut samples = chunk.samples()?;
            for known in self.sealed.get(start..end).unwrap_or_default() {
                samples.extend(known.samples()?);
            }
            samples.sort_by_key(|sample| sample.timestamp);
            samples.dedup_by_key(|sample| sample.timestamp);
            self.replace(start, end.saturating_sub(start), &samples);
        }
        self.written = self.sealed.len();
        Ok(())
    }

    /// Takes back the chunk that was open when a checkpoint was written.
    pub(super) fn restore_open(&mut self, chunk: &Chunk) -> Result<(), Corrupt> {
        self.open = Open::resume(chunk)?;
        Ok(())
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        let open = self.open.range().map(|(_, last)| last);
        open.or_else(|| self.sealed.last().map(|chunk| chunk.last))
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let sealed = self.sealed.first().map(|chunk| chunk.first);
        sealed.or_else(|| self.open.range().map(|(first, _)| first))
    }

    /// The samples in `from..=to`, compressed.
    pub(super) fn chunks_between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Chunk>, Corrupt> {
        let mut chunks = Vec::new();
        for chunk in self.sealed.iter().filter(|chunk| chunk.last >= from && chunk.first <= to) {
            if from <= chunk.first && chunk.last <= to {
                chunks.push(chunk.clone());
                continue;
            }
            let mut samples = Vec::new();
            chunk.decode(from, to, &mut samples)?;
            chunks.extend(Chunk::new(&samples));
        }
        let mut samples = Vec::new();
        self.open.decode(from, to, &mut samples);
        chunks.extend(Chunk::new(&samples));
        Ok(chunks)
    }

    /// Forgets what is older: whole sealed chunks at a time, the open one to the sample. Gives how
    /// many went.
    pub(super) fn drop_before(&mut self, oldest: Timestamp) -> usize {
        let old = self.sealed.partition_point(|chunk| chunk.last < oldest);
        let mut dropped = self.open.len();
        if old > 0 {
            dropped += self.sealed.drain(..old).map(|chunk| chunk.count as usize).sum::<usize>();
            self.sealed.shrink_to_fit();
            self.written = self.written.saturating_sub(old);
        }
        if self.open.range().is_some_and(|(first, _)| first < oldest) {
            let mut kept = Vec::new();
            self.open.decode(oldest, Timestamp(i64::MAX), &mut kept);
            self.reopen(&kept);
        }
        dropped - self.open.len()
    }

    /// Samples, and the bytes that they take beside the series' own size.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut samples = self.open.len();
        let mut bytes = self.open.capacity() + self.sealed.capacity() * size_of::<Chunk>();
        for chunk in &self.sealed {
            samples += chunk.count as usize;
            bytes += chunk.heap_bytes();
        }
        (samples, bytes)
    }

    fn seal(&mut self) {
        if let Some(chunk) = self.open.chunk() {
            self.push_sealed(chunk, self.open.mark());
        }
        self.open = Open::default();
    }

    fn push_sealed(&mut self, chunk: Chunk, mark: State) {
        self.sealed.reserve_exact(1);
        self.sealed.push(chunk);
        self.mark = mark;
    }

    fn reopen(&mut self, samples: &[Sample]) {
        self.open = Open::default();
        samples.iter().for_each(|sample| self.open.push(*sample));
    }

    /// Unpacks the chunk: rare, and bounded by its size.
    fn insert_into_open(&mut self, sample: Sample, allowed: bool) -> Outcome {
        let mut samples = Vec::with_capacity(self.open.len() + 1);
        self.open.decode(Timestamp(i64::MIN), Timestamp(i64::MAX), &mut samples);
        let outcome = insert(&mut samples, sample, allowed);
        if outcome == Outcome::Stored {
            self.reopen(&samples);
        }
        outcome
    }

    fn insert_into_sealed(&mut self, sample: Sample, allowed: bool) -> Outcome {
        let at = self.sealed.partition_point(|chunk| chunk.last < sample.timestamp);
        let at = at.min(self.sealed.len().saturating_sub(1));
        let before = self.sealed.get(at).map(Chunk::samples);
        // A chunk that cannot be read any more gives way.
        let mut samples = before.and_then(Result::ok).unwrap_or_default();
        let outcome = insert(&mut samples, sample, allowed);
        if outcome == Outcome::Stored {
            self.replace(at, usize::from(!self.sealed.is_empty()), &samples);
        }
        outcome
    }

    /// Puts samples in place of `count` sealed chunks.
    fn replace(&mut self, at: usize, count: usize, samples: &[Sample]) {
        // A chunk that grew too far becomes two, so that unpacking stays cheap.
        let parts = samples.len().div_ceil(2 * CHUNK).max(1);
        let parts = samples.chunks(samples.len().div_ceil(parts).max(1)).filter_map(Chunk::new);
        let parts: Vec<Chunk> = parts.collect();
        self.sealed.splice(at..at + count, parts);
        self.mark = State::NONE;
        self.written = self.written.min(at);
    }
}

fn insert(samples: &mut Vec<Sample>, sample: Sample, allowed: bool) -> Outcome {
    match samples.binary_search_by_key(&sample.timestamp, |known| known.timestamp) {
        Ok(at) => match samples.get(at) {
            Some(known) if known.value.to_bits() == sample.value.to_bits() => Outcome::Known,
            _ => Outcome::Duplicate,
        },
        Err(_) if !allowed => Outcome::OutOfOrder,
        Err(at) => {
            samples.insert(at, sample);
            Outcome::Stored
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: i64) -> Sample {
        Sample { timestamp: Timestamp(time), value: time as f64 }
    }

    fn between(samples: &Samples, from: i64, to: i64) -> Vec<Sample> {
        let mut out = Vec::new();
        samples.between(Timestamp(from), Timestamp(to), &mut out).unwrap();
        let any = samples.any_between(Timestamp(from), Timestamp(to));
        assert_eq!(any, !out.is_empty(), "{from} {to}");
        out
    }

    #[test]
    fn any_order_within_the_window_gives_the_same_series() {
        let mut samples = Samples::default();
        let mut order: Vec<i64> = (0..1000).collect();
        fastrand::Rng::with_seed(3).shuffle(&mut order);
        for time in &order {
            assert_eq!(samples.append(sample(*time), Duration::MAX), Outcome::Stored);
            assert_eq!(samples.append(sample(*time), Duration::ZERO), Outcome::Known);
            let other = Sample { value: -1.0, ..sample(*time) };
            assert_eq!(samples.append(other, Duration::MAX), Outcome::Duplicate);
        }
        let want: Vec<_> = (0..1000).map(sample).collect();
        assert_eq!(between(&samples, 0, 999), want);
        assert_eq!(between(&samples, 250, 260), want[250..=260]);
        assert!(between(&samples, 1000, 2000).is_empty());
        assert!(samples.drop_before(Timestamp(990)) > 500);
        let left = between(&samples, 0, 999);
        assert!(left.ends_with(&want[990..]) && left.len() < 500, "{}", left.len());
        samples.drop_before(Timestamp(2000));
        assert_eq!((samples.newest(), samples.size().0), (None, 0));
    }

    #[test]
    fn the_newest_are_read_alike_wherever_a_chunk_ends() {
        let (mut samples, mut want) = (Samples::default(), Vec::new());
        for time in 0..300 {
            samples.append(sample(time * 2), Duration::MAX);
            want.push(sample(time * 2));
            if time % 130 == 129 {
                // Into the sealed chunk, and into the open one.
                for late in [time * 2 - 21, time * 2 - 1] {
                    assert_eq!(samples.append(sample(late), Duration::MAX), Outcome::Stored);
                    want.insert(want.partition_point(|one| one.timestamp.0 < late), sample(late));
                }
            }
            for from in (time * 2 - 90)..=(time * 2) {
                let start = want.partition_point(|one| one.timestamp.0 < from);
                assert_eq!(between(&samples, from, i64::MAX), want[start..], "{from} of {time}");
            }
        }
    }

    #[test]
    fn late_samples_are_refused_in_chunks_too() {
        let mut samples = Samples::default();
        for time in 0..500 {
            samples.append(sample(time * 10), Duration::ZERO);
        }
        assert_eq!(samples.append(sample(15), Duration::ZERO), Outcome::OutOfOrder);
        assert_eq!(samples.append(sample(20), Duration::ZERO), Outcome::Known);
        assert_eq!(samples.size().0, 500);
        assert!(samples.size().1 < 500 * size_of::<Sample>() / 2);
        assert!(between(&samples, 21, 29).is_empty());
        assert_eq!(samples.oldest(), Some(Timestamp(0)));
    }
}
