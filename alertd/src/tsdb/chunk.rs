//! Compressed samples: timestamps by the change of their distance, values by what changed in their
//! bits (Pelkonen et al., "Gorilla", VLDB 2015).
//!
//! A sample is a time and a value. Time: the change of the distance to the sample before, behind as
//! many ones as say its width in [`WIDTHS`], and a zero unless it is the widest. Value: exclusive-or
//! with the value before: `0` for the same, `10` for bits within the window of the last one, `11`
//! for a new window (leading zeros, width) and its bits. The first time stands outside; the first
//! value is a change from zero.

mod bits;

use std::sync::Arc;

use crate::model::sample::{Sample, Timestamp};

use self::bits::{Reader, Writer};

/// Some samples of one series, oldest first, no two at one timestamp; never empty, never changed.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u32,
    pub bits: Arc<[u8]>,
}

/// The chunk that a series' next samples go to; can be read at any time.
#[derive(Debug)]
pub struct Open {
    out: Writer,
    count: u32,
    first: i64,
    state: State,
    /// Behind sample number [`last_mark`] and [`MARK`] samples before, so that the newest samples,
    /// which are asked for most, are read without those before them.
    marks: [State; 2],
}

/// What the next sample is written as a change of, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    time: i64,
    distance: i64,
    value: u64,
    /// Bits before the next sample's.
    bits: u32,
    /// Leading zeros and width of the last window; no width when there was none.
    leading: u8,
    width: u8,
}

/// Bytes that no chunk writes, or not with this count and these times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunk is corrupt")]
pub struct Corrupt;

/// Widths of the change of a distance.
const WIDTHS: [u32; 6] = [0, 7, 14, 20, 32, 64];
const WIDEST: u32 = 5;
/// Bits that hold the count of leading zeros, and that of meaningful bits less one.
const LEADING_BITS: u32 = 5;
const MEANINGFUL_BITS: u32 = 6;
/// Samples from one mark to the next: the last 24 of a chunk, six minutes at an interval of 15 s,
/// cost at most twice as many.
const MARK: u32 = 24;

impl Chunk {
    /// `None` for no samples.
    pub fn new(samples: &[Sample]) -> Option<Chunk> {
        let mut open = Open::default();
        samples.iter().for_each(|sample| open.push(*sample));
        open.chunk()
    }

    /// Adds the samples in `from..=to` to `out`.
    ///
    /// # Errors
    /// When the bytes are no chunk's; `out` may have got some samples then, in ascending order.
    #[inline]
    pub fn decode(
        &self,
        from: Timestamp,
        to: Timestamp,
        out: &mut Vec<Sample>,
    ) -> Result<(), Corrupt> {
        decode(&self.bits, State::before(self.first.0), 0, self.count, from, to, out)?;
        Ok(())
    }

    /// As `decode`; `mark` is what [`Open::mark`] said when the chunk was sealed.
    pub(super) fn decode_marked(
        &self,
        mark: State,
        from: Timestamp,
        to: Timestamp,
        out: &mut Vec<Sample>,
    ) -> Result<(), Corrupt> {
        if mark.time >= from.0 {
            return self.decode(from, to, out);
        }
        decode(&self.bits, mark, last_mark(self.count), self.count, from, to, out)?;
        Ok(())
    }

    /// All of them.
    pub fn samples(&self) -> Result<Vec<Sample>, Corrupt> {
        // A count from a damaged file is not worth an allocation.
        let mut out = Vec::with_capacity(self.count.min(1024) as usize);
        self.decode(Timestamp(i64::MIN), Timestamp(i64::MAX), &mut out)?;
        let right = out.last().map(|sample| sample.timestamp) == Some(self.last);
        right.then_some(out).ok_or(Corrupt)
    }

    /// Bytes that it takes in memory beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bits.len() + 2 * size_of::<usize>()
    }
}

impl Default for Open {
    fn default() -> Open {
        let (state, marks) = (State::before(0), [State::NONE; 2]);
        Open { out: Writer::default(), count: 0, first: 0, state, marks }
    }
}

impl Open {
    /// Takes back a chunk that was still open.
    pub fn resume(chunk: &Chunk) -> Result<Open, Corrupt> {
        let end = Timestamp(i64::MAX);
        let Chunk { first, last, count, bits } = chunk;
        let read = |state, at, count| decode(bits, state, at, count, end, end, &mut Vec::new());
        let marked = last_mark(*count);
        let mark = read(State::before(first.0), 0, marked)?;
        let state = read(mark, marked, *count)?;
        if *count == 0 || state.time != last.0 {
            return Err(Corrupt);
        }
        let out = Writer::resume(bits.to_vec(), state.bits as usize);
        let marks = [if marked > 0 { mark } else { State::NONE }, State::NONE];
        Ok(Open { out, count: *count, first: first.0, state, marks })
    }

    /// The sample must be newer than the last one.
    pub fn push(&mut self, sample: Sample) {
        let time = sample.timestamp.0;
        if self.count > 0 && self.count.is_multiple_of(MARK) {
            self.marks = [self.state, self.marks[0]];
        }
        if self.count == 0 {
            self.first = time;
        } else {
            let distance = time.wrapping_sub(self.state.time);
            self.time(distance.wrapping_sub(self.state.distance));
            self.state.distance = distance;
        }
        self.state.time = time;
        self.value(sample.value.to_bits());
        self.state.bits = self.out.bits() as u32;
        self.count += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// Times of the first and the last sample.
    pub(super) fn range(&self) -> Option<(Timestamp, Timestamp)> {
        (self.count > 0).then_some((Timestamp(self.first), Timestamp(self.state.time)))
    }

    /// Value of the last sample, as bits.
    pub(super) fn last_bits(&self) -> u64 {
        self.state.value
    }

    pub(super) fn capacity(&self) -> usize {
        self.out.capacity()
    }

    /// As [`Chunk::decode`]; what was pushed always decodes.
    pub(super) fn decode(&self, from: Timestamp, to: Timestamp, out: &mut Vec<Sample>) {
        let last = last_mark(self.count);
        let marks = self.marks.iter().zip([last, last.saturating_sub(MARK)]);
        let mark = marks.into_iter().find(|(mark, _)| mark.time < from.0);
        let (state, at) = mark.map_or((State::before(self.first), 0), |(mark, at)| (*mark, at));
        let done = decode(self.out.bytes(), state, at, self.count, from, to, out);
        debug_assert!(done.is_ok());
    }

    /// The newest place from which [`Chunk::decode_marked`] can read what is pushed so far.
    pub(super) fn mark(&self) -> State {
        self.marks[0]
    }

    /// What it holds; `None` for nothing.
    pub fn chunk(&self) -> Option<Chunk> {
        let (first, last) = self.range()?;
        Some(Chunk { first, last, count: self.count, bits: self.out.bytes().into() })
    }

    fn time(&mut self, change: i64) {
        if change == 0 {
            return self.out.push(0, 1);
        }
        for (ones, width) in WIDTHS.into_iter().enumerate().take(WIDEST as usize).skip(1) {
            let half = 1_i64 << (width - 1);
            if (-half..half).contains(&change) {
                let bits = change as u128 & ((1 << width) - 1);
                let prefix = ((1_u128 << ones) - 1) << 1;
                return self.out.push((prefix << width) | bits, width + ones as u32 + 1);
            }
        }
        let prefix = (1_u128 << WIDEST) - 1;
        self.out.push((prefix << 64) | u128::from(change as u64), 64 + WIDEST);
    }

    fn value(&mut self, value: u64) {
        let changed = value ^ self.state.value;
        self.state.value = value;
        if changed == 0 {
            return self.out.push(0, 1);
        }
        let leading = changed.leading_zeros().min((1 << LEADING_BITS) - 1);
        let trailing = changed.trailing_zeros();
        let width = 64 - leading - trailing;
        let (known, known_width) = (u32::from(self.state.leading), u32::from(self.state.width));
        let known_trailing = 64_u32.saturating_sub(known + known_width);
        let fits = known_width > 0 && leading >= known && trailing >= known_trailing;
        // A window far too wide costs more than naming a new one.
        if fits && known_width <= width + LEADING_BITS + MEANINGFUL_BITS {
            let bits = u128::from(changed >> known_trailing);
            return self.out.push((0b10 << known_width) | bits, known_width + 2);
        }
        let window = (u128::from(leading) << MEANINGFUL_BITS) | u128::from(width - 1);
        let head = (0b11 << (LEADING_BITS + MEANINGFUL_BITS)) | window;
        let bits = (head << width) | u128::from(changed >> trailing);
        self.out.push(bits, width + 2 + LEADING_BITS + MEANINGFUL_BITS);
        (self.state.leading, self.state.width) = (leading as u8, width as u8);
    }
}

impl State {
    /// No place: nothing is asked for that is newer.
    pub(super) const NONE: State =
        State { time: i64::MAX, distance: 0, value: 0, bits: 0, leading: 0, width: 0 };

    fn before(first: i64) -> State {
        State { time: first, ..State::NONE }
    }
}

/// Behind how many of `count` samples the newest mark is.
fn last_mark(count: u32) -> u32 {
    count.saturating_sub(1) / MARK * MARK
}

/// Reads on behind `at` samples, with the state after them. Gives the state after the last of
/// `count` samples, or after the first one beyond `to`.
#[inline]
fn decode(
    bytes: &[u8],
    mut state: State,
    at: u32,
    count: u32,
    from: Timestamp,
    to: Timestamp,
    out: &mut Vec<Sample>,
) -> Result<State, Corrupt> {
    // The first sample takes a bit at least, each other one two: no count makes this run for long.
    if count as usize > bytes.len() * 4 || bytes.len() > u32::MAX as usize / 8 {
        return Err(Corrupt);
    }
    let mut bits = Reader::new(bytes, state.bits as usize);
    for at in at..count {
        bits.refill();
        if at > 0 {
            // Most often both are as before, which is two zeros.
            state.distance = state.distance.wrapping_add(change(&mut bits));
            let time = state.time.wrapping_add(state.distance);
            if time <= state.time {
                return Err(Corrupt);
            }
            state.time = time;
        }
        value(&mut bits, &mut state)?;
        if state.time > to.0 {
            break;
        }
        if state.time >= from.0 {
            let value = f64::from_bits(state.value);
            out.push(Sample { timestamp: Timestamp(state.time), value });
        }
    }
    state.bits = bits.taken() as u32;
    if bits.overran() { Err(Corrupt) } else { Ok(state) }
}

/// Leaves bits enough for what names a window.
#[inline]
fn change(bits: &mut Reader<'_>) -> i64 {
    let class = bits.ones(WIDEST);
    if class == 0 {
        return 0;
    }
    let change = if class == WIDEST {
        let high = bits.take(32);
        bits.refill();
        ((high << 32) | bits.take(32)) as i64
    } else {
        let width = WIDTHS[class as usize];
        let unused = 64 - width;
        ((bits.take(width) << unused) as i64) >> unused
    };
    bits.refill();
    change
}

#[inline]
fn value(bits: &mut Reader<'_>, state: &mut State) -> Result<(), Corrupt> {
    let next = bits.peek();
    if next >> 63 == 0 {
        bits.skip(1);
        return Ok(());
    }
    // Whether a window is named or kept is chance: chosen without a branch, none is guessed wrong.
    let named = (next >> 62) & 1 == 1;
    let (meaningful, leading) = (64 - 2 - LEADING_BITS - MEANINGFUL_BITS, 64 - 2 - LEADING_BITS);
    let new_leading = (next >> leading) & ((1 << LEADING_BITS) - 1);
    let new_width = ((next >> meaningful) & ((1 << MEANINGFUL_BITS) - 1)) + 1;
    state.leading = if named { new_leading as u8 } else { state.leading };
    state.width = if named { new_width as u8 } else { state.width };
    bits.skip(if named { 2 + LEADING_BITS + MEANINGFUL_BITS } else { 2 });
    let (leading, width) = (u32::from(state.leading), u32::from(state.width));
    if width == 0 || leading + width > 64 {
        return Err(Corrupt);
    }
    if !bits.hold(width) {
        bits.refill();
    }
    let changed = if bits.hold(width) {
        bits.take(width)
    } else {
        let high = bits.take(width - 32);
        bits.refill();
        (high << 32) | bits.take(32)
    };
    state.value ^= changed << (64 - leading - width);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::stale_marker;

    const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

    fn bits(sample: &Sample) -> (i64, u64) {
        (sample.timestamp.0, sample.value.to_bits())
    }

    fn samples(pairs: &[(i64, f64)]) -> Vec<Sample> {
        let sample =
            |(time, value): &(i64, f64)| Sample { timestamp: Timestamp(*time), value: *value };
        pairs.iter().map(sample).collect()
    }

    /// From a sample or between two, at whatever distance from the marks.
    fn read_from_everywhere(open: &Open, want: &[(i64, u64)]) {
        let chunk = open.chunk().unwrap();
        let (mark, mut got) = (open.mark(), Vec::new());
        let newest = want.iter().rev().take(60);
        let mut froms: Vec<i64> = newest.flat_map(|(t, _)| [*t, t.saturating_add(1)]).collect();
        froms.extend([i64::MIN, i64::MAX]);
        for from in froms {
            let expected = want.get(want.partition_point(|(time, _)| *time < from)..).unwrap();
            got.clear();
            open.decode(Timestamp(from), EVER.1, &mut got);
            assert_eq!(got.iter().map(bits).collect::<Vec<_>>(), expected, "open from {from}");
            got.clear();
            chunk.decode_marked(mark, Timestamp(from), EVER.1, &mut got).unwrap();
            assert_eq!(got.iter().map(bits).collect::<Vec<_>>(), expected, "sealed from {from}");
        }
    }

    fn round_trip(pairs: &[(i64, f64)]) -> usize {
        let samples = samples(pairs);
        let chunk = Chunk::new(&samples).unwrap();
        let want: Vec<_> = samples.iter().map(bits).collect();
        let got: Vec<_> = chunk.samples().unwrap().iter().map(bits).collect();
        assert_eq!(got, want);
        // Read while it grows, and taken up again half-way.
        let mut open = Open::default();
        for (at, sample) in samples.iter().enumerate() {
            open.push(*sample);
            if at % 31 == 0 {
                open = Open::resume(&open.chunk().unwrap()).unwrap();
            }
            if at % 5 == 0 || at < 60 {
                read_from_everywhere(&open, &want[..=at]);
            }
        }
        assert_eq!(open.chunk(), Some(chunk.clone()));
        chunk.bits.len()
    }

    #[test]
    fn every_bit_comes_back() {
        assert!(Chunk::new(&[]).is_none());
        round_trip(&[(i64::MIN, f64::NAN), (0, stale_marker()), (i64::MAX, -0.0)]);
        round_trip(&[(0, 1.0), (1, f64::INFINITY), (2, f64::from_bits(1)), (3, f64::MAX)]);
        let mut random = fastrand::Rng::with_seed(7);
        let mut time = -1_i64;
        let pairs = (0..500).map(|_| {
            time += 1 + i64::try_from(random.u64(..) >> (20 + random.u32(..40))).unwrap();
            (time, f64::from_bits(random.u64(..) >> random.u32(..64) << random.u32(..64)))
        });
        round_trip(&pairs.collect::<Vec<_>>());
    }

    #[test]
    fn regular_samples_are_small() {
        let counter: Vec<_> = (0..120).map(|at| (at * 30_000 + at % 3, at as f64 * 7.0)).collect();
        assert!(round_trip(&counter) < 120 * 5);
        let constant: Vec<_> = (0..120).map(|at| (at * 30_000, 1.0)).collect();
        assert!(round_trip(&constant) < 48);
    }

    #[test]
    fn a_range_is_closed() {
        let chunk = Chunk::new(&samples(&[(10, 1.0), (20, 2.0), (30, 3.0)])).unwrap();
        for (from, to, want) in
            [(10, 30, 3), (11, 30, 2), (10, 29, 2), (20, 20, 1), (31, 99, 0), (0, 9, 0), (9, 0, 0)]
        {
            let mut out = Vec::new();
            chunk.decode(Timestamp(from), Timestamp(to), &mut out).unwrap();
            assert_eq!(out.len(), want, "{from} {to}");
        }
    }

    #[test]
    fn a_mark_shortens_the_way_to_the_newest() {
        let pairs: Vec<_> = (0..120).map(|at| (at * 15_000, at as f64 * 1.1)).collect();
        let mut open = Open::default();
        samples(&pairs).iter().for_each(|sample| open.push(*sample));
        assert_eq!(open.marks.map(|mark| mark.time / 15_000), [95, 71]);
        let again = Open::resume(&open.chunk().unwrap()).unwrap();
        assert_eq!(again.mark().bits, open.mark().bits);
    }

    #[test]
    fn damage_is_an_error_or_other_samples_in_order() {
        let pairs: Vec<_> = (0..60).map(|at| (at * 15_000, (at * at) as f64 / 3.0)).collect();
        let chunk = Chunk::new(&samples(&pairs)).unwrap();
        let check = |damaged: &Chunk| {
            if let Ok(samples) = damaged.samples() {
                assert!(samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
            }
            Open::resume(damaged).is_ok()
        };
        for at in 0..chunk.bits.len() * 8 {
            let mut bits = chunk.bits.to_vec();
            bits[at / 8] ^= 1 << (at % 8);
            check(&Chunk { bits: bits.into(), ..chunk.clone() });
        }
        for length in 0..chunk.bits.len() {
            assert!(!check(&Chunk { bits: chunk.bits[..length].into(), ..chunk.clone() }));
        }
        assert!(!check(&Chunk { count: u32::MAX, ..chunk.clone() }));
        assert!(!check(&Chunk { count: 0, ..chunk.clone() }));
        assert!(!check(&Chunk { last: Timestamp(1), ..chunk }));
    }
}
