//! Compressed samples: timestamps by the change of their distance, values by what changed in their
//! bits (Pelkonen et al., "Gorilla", VLDB 2015).

use crate::model::sample::{Sample, Timestamp};

/// Some samples of one series, oldest first; never empty, never changed.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: usize,
    bits: Box<[u8]>,
}

/// Widths for the change of a distance, each behind a prefix of one more 1: `0` for none, then
/// `10`, `110`, `1110`, and `1111` for all 64 bits.
const WIDTHS: [u32; 3] = [14, 20, 32];
/// Bits that hold the count of leading zeros, and that of meaningful bits less one.
const LEADING_BITS: u32 = 5;
const MEANINGFUL_BITS: u32 = 6;

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not yet used.
    free: u32,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Chunk {
    /// `None` for no samples.
    pub(super) fn new(samples: &[Sample]) -> Option<Chunk> {
        let (first, last) = (samples.first()?, samples.last()?);
        let mut out = Writer::default();
        out.push(first.timestamp.0 as u64, 64);
        out.push(first.value.to_bits(), 64);
        let (mut before, mut distance) = (*first, 0_i64);
        let mut window = (0, 0);
        for sample in samples.iter().skip(1) {
            let next = sample.timestamp.0.wrapping_sub(before.timestamp.0);
            out.time(next.wrapping_sub(distance));
            window = out.value(before.value.to_bits() ^ sample.value.to_bits(), window);
            (before, distance) = (*sample, next);
        }
        Some(Chunk {
            first: first.timestamp,
            last: last.timestamp,
            count: samples.len(),
            bits: out.bytes.into_boxed_slice(),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bits.len()
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> {
        let mut bits = Reader { bytes: &self.bits, at: 0 };
        let mut time = bits.take(64) as i64;
        let mut value = bits.take(64);
        let mut distance = 0_i64;
        let mut window = (0, 0);
        (0..self.count).map(move |at| {
            if at > 0 {
                distance = distance.wrapping_add(bits.time());
                time = time.wrapping_add(distance);
                value ^= bits.value(&mut window);
            }
            Sample { timestamp: Timestamp(time), value: f64::from_bits(value) }
        })
    }
}

impl Writer {
    fn push(&mut self, value: u64, width: u32) {
        let mut left = width;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (value >> (left - take)) & ((1 << take) - 1);
            if let Some(byte) = self.bytes.last_mut() {
                *byte |= (part << (self.free - take)) as u8;
            }
            self.free -= take;
            left -= take;
        }
    }

    fn time(&mut self, change: i64) {
        if change == 0 {
            return self.push(0, 1);
        }
        for width in WIDTHS {
            self.push(1, 1);
            let half = 1_i64 << (width - 1);
            if (-half..half).contains(&change) {
                self.push(0, 1);
                return self.push(change as u64, width);
            }
        }
        self.push(1, 1);
        self.push(change as u64, 64);
    }

    /// `window` is the leading zeros and the width that the last written value had; the new one
    /// is returned.
    fn value(&mut self, changed: u64, window: (u32, u32)) -> (u32, u32) {
        if changed == 0 {
            self.push(0, 1);
            return window;
        }
        self.push(1, 1);
        let leading = changed.leading_zeros().min((1 << LEADING_BITS) - 1);
        let trailing = changed.trailing_zeros();
        let (known_leading, known_width) = window;
        let known_trailing = 64_u32.saturating_sub(known_leading + known_width);
        if known_width > 0 && leading >= known_leading && trailing >= known_trailing {
            self.push(0, 1);
            self.push(changed >> known_trailing, known_width);
            return window;
        }
        let width = 64 - leading - trailing;
        self.push(1, 1);
        self.push(u64::from(leading), LEADING_BITS);
        self.push(u64::from(width - 1), MEANINGFUL_BITS);
        self.push(changed >> trailing, width);
        (leading, width)
    }
}

impl Reader<'_> {
    /// Zeros past the end: a chunk is only ever read back as it was written.
    fn take(&mut self, width: u32) -> u64 {
        let (mut value, mut left) = (0_u64, width);
        while left > 0 {
            let byte = self.bytes.get(self.at / 8).copied().unwrap_or(0);
            let free = 8 - (self.at % 8) as u32;
            let take = left.min(free);
            let part = (u64::from(byte) >> (free - take)) & ((1 << take) - 1);
            value = (value << take) | part;
            self.at += take as usize;
            left -= take;
        }
        value
    }

    fn time(&mut self) -> i64 {
        if self.take(1) == 0 {
            return 0;
        }
        for width in WIDTHS {
            if self.take(1) == 0 {
                let unused = 64 - width;
                return ((self.take(width) << unused) as i64) >> unused;
            }
        }
        self.take(64) as i64
    }

    fn value(&mut self, window: &mut (u32, u32)) -> u64 {
        if self.take(1) == 0 {
            return 0;
        }
        if self.take(1) == 1 {
            let leading = self.take(LEADING_BITS) as u32;
            *window = (leading, self.take(MEANINGFUL_BITS) as u32 + 1);
        }
        let (leading, width) = *window;
        self.take(width) << 64_u32.saturating_sub(leading + width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::stale_marker;

    fn round_trip(samples: &[(i64, f64)]) -> usize {
        let samples: Vec<_> = samples
            .iter()
            .map(|(time, value)| Sample { timestamp: Timestamp(*time), value: *value })
            .collect();
        let chunk = Chunk::new(&samples).unwrap();
        let bits = |sample: &Sample| (sample.timestamp.0, sample.value.to_bits());
        let got: Vec<_> = chunk.samples().map(|sample| bits(&sample)).collect();
        assert_eq!(got, samples.iter().map(bits).collect::<Vec<_>>());
        chunk.bytes()
    }

    #[test]
    fn every_bit_comes_back() {
        assert!(Chunk::new(&[]).is_none());
        round_trip(&[(i64::MIN, f64::NAN), (0, stale_marker()), (i64::MAX, -0.0)]);
        round_trip(&[(0, 1.0), (1, f64::INFINITY), (2, f64::from_bits(1)), (3, f64::MAX)]);
        let mut seed = 7_u64;
        let mut time = 0_i64;
        let random = (0..2000).map(|at| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at);
            time += 1 + i64::try_from(seed >> (20 + seed % 40)).unwrap();
            (time, f64::from_bits(seed ^ (seed >> (seed % 64))))
        });
        round_trip(&random.collect::<Vec<_>>());
    }

    #[test]
    fn regular_samples_are_small() {
        let counter: Vec<_> = (0..120).map(|at| (at * 30_000 + at % 3, at as f64 * 7.0)).collect();
        assert!(round_trip(&counter) < 120 * 5);
        let constant: Vec<_> = (0..120).map(|at| (at * 30_000, 1.0)).collect();
        assert!(round_trip(&constant) < 64);
    }
}
