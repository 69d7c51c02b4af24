//! The samples of one series: compressed chunks, and the newest ones as they came.

use std::time::Duration;

use crate::model::sample::{Sample, Timestamp};

use super::chunk::Chunk;

/// Samples that one chunk holds: an hour at an interval of 30 s.
const CHUNK: usize = 120;

/// Oldest first, no two at one timestamp.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Every sample in them is older than those in `open`.
    sealed: Vec<Chunk>,
    /// Empty only when nothing is stored.
    open: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Duplicate,
    OutOfOrder,
}

impl Samples {
    pub(super) fn append(&mut self, sample: Sample, window: Duration) -> Outcome {
        let Some(newest) = self.open.last() else {
            self.open.push(sample);
            return Outcome::Accepted;
        };
        if sample.timestamp > newest.timestamp {
            if self.open.len() >= CHUNK
                && let Some(chunk) = Chunk::new(&self.open)
            {
                self.sealed.push(chunk);
                self.open.clear();
            }
            self.open.push(sample);
            return Outcome::Accepted;
        }
        let allowed = sample.timestamp >= newest.timestamp.minus(window);
        if self.open.first().is_some_and(|oldest| sample.timestamp >= oldest.timestamp) {
            return insert(&mut self.open, sample, allowed);
        }
        self.append_to_sealed(sample, allowed)
    }

    pub(super) fn between(&self, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let inside = |sample: &Sample| sample.timestamp >= from && sample.timestamp <= to;
        let first = self.sealed.partition_point(|chunk| chunk.last < from);
        let chunks = self.sealed.iter().skip(first).take_while(|chunk| chunk.first <= to);
        let mut found: Vec<Sample> = chunks.flat_map(Chunk::samples).filter(inside).collect();
        found.extend(self.open.iter().copied().filter(inside));
        found
    }

    /// Forgets what is older, whole chunks at a time. False when nothing is left.
    pub(super) fn drop_before(&mut self, oldest: Timestamp) -> bool {
        let old = self.sealed.partition_point(|chunk| chunk.last < oldest);
        self.sealed.drain(..old);
        if self.sealed.is_empty() {
            let old = self.open.partition_point(|sample| sample.timestamp < oldest);
            self.open.drain(..old);
        }
        !self.open.is_empty()
    }

    /// Samples, and the bytes that they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let (mut samples, mut bytes) =
            (self.open.len(), self.open.capacity() * size_of::<Sample>());
        for chunk in &self.sealed {
            samples += chunk.count;
            bytes += chunk.bytes() + size_of::<Chunk>();
        }
        (samples, bytes)
    }

    /// Unpacks the chunk that the sample belongs to: rare, and bounded by the chunk's size.
    fn append_to_sealed(&mut self, sample: Sample, allowed: bool) -> Outcome {
        let at = self.sealed.partition_point(|chunk| chunk.last < sample.timestamp);
        let at = at.min(self.sealed.len().saturating_sub(1));
        let Some(chunk) = self.sealed.get_mut(at) else {
            return insert(&mut self.open, sample, allowed);
        };
        let mut samples: Vec<Sample> = chunk.samples().collect();
        let before = samples.len();
        let outcome = insert(&mut samples, sample, allowed);
        if samples.len() == before {
            return outcome;
        }
        // A chunk that grew too far becomes two, so that unpacking stays cheap.
        let middle = if samples.len() > 2 * CHUNK { samples.len() / 2 } else { samples.len() };
        let (left, right) = samples.split_at(middle);
        let parts = [left, right].into_iter().filter_map(Chunk::new);
        self.sealed.splice(at..=at, parts);
        outcome
    }
}

fn insert(samples: &mut Vec<Sample>, sample: Sample, allowed: bool) -> Outcome {
    match samples.binary_search_by_key(&sample.timestamp, |known| known.timestamp) {
        Ok(at) => match samples.get(at) {
            Some(known) if known.value.to_bits() == sample.value.to_bits() => Outcome::Accepted,
            _ => Outcome::Duplicate,
        },
        Err(_) if !allowed => Outcome::OutOfOrder,
        Err(at) => {
            samples.insert(at, sample);
            Outcome::Accepted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: i64) -> Sample {
        Sample { timestamp: Timestamp(time), value: time as f64 }
    }

    #[test]
    fn any_order_within_the_window_gives_the_same_series() {
        let mut samples = Samples::default();
        let mut order: Vec<i64> = (0..1000).collect();
        let mut seed = 3_u64;
        for at in (1..order.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (seed >> 33) as usize % (at + 1));
        }
        for time in &order {
            assert_eq!(samples.append(sample(*time), Duration::MAX), Outcome::Accepted);
            assert_eq!(samples.append(sample(*time), Duration::ZERO), Outcome::Accepted);
            let other = Sample { value: -1.0, ..sample(*time) };
            assert_eq!(samples.append(other, Duration::MAX), Outcome::Duplicate);
        }
        let want: Vec<_> = (0..1000).map(sample).collect();
        assert_eq!(samples.between(Timestamp(0), Timestamp(999)), want);
        assert_eq!(samples.between(Timestamp(250), Timestamp(260)), want[250..=260]);
        assert!(samples.drop_before(Timestamp(990)));
        let left = samples.between(Timestamp(0), Timestamp(999));
        assert!(left.ends_with(&want[990..]) && left.len() < 500, "{}", left.len());
        assert!(!samples.drop_before(Timestamp(2000)));
    }

    #[test]
    fn late_samples_are_refused_in_chunks_too() {
        let mut samples = Samples::default();
        for time in 0..500 {
            samples.append(sample(time * 10), Duration::ZERO);
        }
        assert_eq!(samples.append(sample(15), Duration::ZERO), Outcome::OutOfOrder);
        assert_eq!(samples.append(sample(20), Duration::ZERO), Outcome::Accepted);
        assert_eq!(samples.size().0, 500);
        assert!(samples.size().1 < 500 * size_of::<Sample>());
    }
}
