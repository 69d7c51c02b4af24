//! What has to hold for the bytes of any chunk, and for any samples.

use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::tsdb::chunk::{Chunk, Open};

const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

/// Panics when a chunk is read as something that it does not hold.
pub(crate) fn check(data: &[u8]) {
    read(data);
    written(&samples(data));
}

/// The input: eight bytes for the first time, two for the count, then the chunk's own.
fn read(data: &[u8]) {
    let Some((first, rest)) = data.split_first_chunk() else { return };
    let Some((count, bits)) = rest.split_first_chunk() else { return };
    let first = Timestamp(i64::from_le_bytes(*first));
    let count = u32::from(u16::from_le_bytes(*count));
    let mut chunk = Chunk { first, last: first, count, bits: bits.into() };
    let mut samples = Vec::new();
    if chunk.decode(EVER.0, EVER.1, &mut samples).is_err() {
        assert!(samples.len() <= bits.len() * 4, "more samples than bytes can hold");
        assert!(chunk.samples().is_err() && Open::resume(&chunk).is_err());
        return;
    }
    assert!(samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
    assert_eq!(samples.len(), count as usize);
    let Some(last) = samples.last() else { return };
    chunk.last = last.timestamp;
    same(&chunk.samples().expect("it has just been read"), &samples);
    // A part is what lies between.
    let (from, to) = (samples[samples.len() / 3].timestamp, samples[samples.len() / 2].timestamp);
    let mut part = Vec::new();
    chunk.decode(from, to, &mut part).expect("it has just been read");
    same(&part, &samples[samples.len() / 3..=samples.len() / 2]);
    // Nobody else's bits either can be gone on from.
    let mut open = Open::resume(&chunk).expect("it has just been read");
    if let Some(next) = last.timestamp.0.checked_add(7) {
        let sample = Sample { timestamp: Timestamp(next), value: last.value * 3.0 };
        open.push(sample);
        samples.push(sample);
    }
    same(&open.chunk().and_then(|chunk| chunk.samples().ok()).expect("it holds one"), &samples);
    written(&samples);
}

fn written(samples: &[Sample]) {
    let Some(chunk) = Chunk::new(samples) else { return assert!(samples.is_empty()) };
    assert_eq!(chunk.count as usize, samples.len());
    same(&chunk.samples().expect("it has just been written"), samples);
    let again = Open::resume(&chunk).expect("it has just been written").chunk();
    assert_eq!(again.as_ref(), Some(&chunk));
}

/// Samples of any bits at any distances: a byte says what follows.
fn samples(mut data: &[u8]) -> Vec<Sample> {
    let (mut time, mut value) = (i64::MIN, 0_u64);
    let mut samples = Vec::new();
    while let Some((how, rest)) = data.split_first() {
        data = rest;
        let distance = match how & 3 {
            0 => 1,
            1 => 15_000,
            2 => u64::from(number(&mut data) as u16) + 1,
            _ => number(&mut data) >> (how >> 4),
        };
        let next = i128::from(time) + i128::from(distance.max(1));
        let Ok(next) = i64::try_from(next) else { break };
        time = next;
        value = match how >> 2 & 3 {
            0 => value,
            1 => value ^ (number(&mut data) << (how >> 2)),
            2 => (f64::from_bits(value) + 1.0).to_bits(),
            _ => number(&mut data),
        };
        samples.push(Sample { timestamp: Timestamp(time), value: f64::from_bits(value) });
    }
    samples
}

/// The next eight bytes, with zeros behind the end.
fn number(data: &mut &[u8]) -> u64 {
    let (bytes, rest) = data.split_at(data.len().min(8));
    *data = rest;
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A NaN is not equal to itself, its bits are.
fn same(have: &[Sample], want: &[Sample]) {
    let bits = |samples: &[Sample]| {
        samples.iter().map(|one| (one.timestamp.0, one.value.to_bits())).collect::<Vec<_>>()
    };
    assert_eq!(bits(have), bits(want));
}
