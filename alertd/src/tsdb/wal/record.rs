//! What one append adds to the log: new series, then samples, each as a change of the one before.
//!
//! A sample begins with a byte: how many bytes of the value follow (its low zero bytes are left out),
//! which series it is of (the last one, the next one, or a distance in ids), and which time it has
//! (the last one, as far after it as before, or a distance).

use crate::model::labels::Labels;
use crate::model::sample::{Sample, Timestamp};

use super::super::bytes::{Input, Malformed, put_bytes, put_number, put_signed};
use super::super::frame;
use super::super::index::{HIGHEST_ID, SeriesId};

/// The first byte of every record: what it is and how it is written.
const KIND: u8 = 1;
const SAME: u8 = 0;
const NEXT: u8 = 1;
const FAR: u8 = 2;

#[derive(Debug, Default)]
pub(in super::super) struct Encoder {
    series: Vec<u8>,
    new: u64,
    samples: Vec<u8>,
    last: Last,
}

#[derive(Debug, Default, Clone, Copy)]
struct Last {
    id: SeriesId,
    time: i64,
    step: i64,
}

/// Who is told what a record holds.
pub(in super::super) trait Sink {
    fn series(&mut self, id: SeriesId, labels: &[(&str, &str)]);
    fn sample(&mut self, id: SeriesId, sample: Sample);
}

impl Encoder {
    pub(in super::super) fn series(&mut self, id: SeriesId, labels: &Labels) {
        self.new += 1;
        put_series(&mut self.series, id, labels);
    }

    pub(in super::super) fn sample(&mut self, id: SeriesId, sample: Sample) {
        let Last { id: last_id, time: last_time, step } = self.last;
        let value = sample.value.to_bits();
        let length = 8 - value.trailing_zeros() / 8;
        let distance = sample.timestamp.0.wrapping_sub(last_time);
        let which = match id.wrapping_sub(last_id) {
            0 => SAME,
            1 => NEXT,
            _ => FAR,
        };
        let when = match distance {
            0 => SAME,
            _ if distance == step => NEXT,
            _ => FAR,
        };
        self.samples.push(length as u8 | (which << 4) | (when << 6));
        if which == FAR {
            put_signed(&mut self.samples, id.wrapping_sub(last_id) as i64);
        }
        if when == FAR {
            put_signed(&mut self.samples, distance);
        }
        let value = value.to_be_bytes();
        self.samples.extend_from_slice(value.get(..length as usize).unwrap_or_default());
        let step = if distance == 0 { step } else { distance };
        self.last = Last { id, time: sample.timestamp.0, step };
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.samples.is_empty()
    }

    /// Adds the record, framed, to `out`, and begins the next one.
    pub(in super::super) fn finish(&mut self, out: &mut Vec<u8>) {
        frame::put(out, |out| {
            out.push(KIND);
            put_number(out, self.new);
            out.extend_from_slice(&self.series);
            out.extend_from_slice(&self.samples);
        });
        self.series.clear();
        self.samples.clear();
        (self.new, self.last) = (0, Last::default());
    }
}

/// # Errors
/// When the record ends early or means nothing; what came before that has been told.
pub(in super::super) fn decode(record: &[u8], sink: &mut impl Sink) -> Result<(), Malformed> {
    let mut input = Input(record);
    if input.byte()? != KIND {
        return Err(Malformed);
    }
    for _ in 0..input.number()? {
        let (id, pairs) = take_series(&mut input)?;
        sink.series(id, &pairs);
    }
    let mut last = Last::default();
    while !input.is_empty() {
        let head = input.byte()?;
        last.id = match (head >> 4) & 3 {
            SAME => last.id,
            NEXT => last.id.wrapping_add(1),
            FAR => last.id.wrapping_add(input.signed()? as u64),
            _ => return Err(Malformed),
        };
        if last.id > HIGHEST_ID {
            return Err(Malformed);
        }
        let distance = match head >> 6 {
            SAME => 0,
            NEXT => last.step,
            FAR => input.signed()?,
            _ => return Err(Malformed),
        };
        if distance != 0 {
            last.step = distance;
        }
        last.time = last.time.wrapping_add(distance);
        let mut value = [0; 8];
        let length = usize::from(head & 0xf);
        let place = value.get_mut(..length).ok_or(Malformed)?;
        place.copy_from_slice(input.take(length)?);
        let value = f64::from_bits(u64::from_be_bytes(value));
        sink.sample(last.id, Sample { timestamp: Timestamp(last.time), value });
    }
    Ok(())
}

pub(in super::super) fn put_series(out: &mut Vec<u8>, id: SeriesId, labels: &Labels) {
    put_number(out, id);
    put_number(out, labels.len() as u64);
    for (name, value) in labels.iter() {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

/// A series' id and its labels, which are sorted, none twice, none empty.
#[expect(clippy::type_complexity, reason = "one pair of two plain things")]
pub(in super::super) fn take_series<'a>(
    input: &mut Input<'a>,
) -> Result<(SeriesId, Vec<(&'a str, &'a str)>), Malformed> {
    let (id, count) = (input.number()?, input.number()?);
    if id > HIGHEST_ID {
        return Err(Malformed);
    }
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for _ in 0..count {
        let (name, value) = (input.text()?, input.text()?);
        let sorted = pairs.last().is_none_or(|(before, _)| *before < name);
        if !sorted || value.is_empty() {
            return Err(Malformed);
        }
        pairs.push((name, value));
    }
    Ok((id, pairs))
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::*;
    use crate::model::sample::stale_marker;

    #[derive(Debug, Default, PartialEq)]
    pub(in super::super::super) struct Heard {
        pub(in super::super::super) series: Vec<(SeriesId, Labels)>,
        pub(in super::super::super) samples: Vec<(SeriesId, i64, u64)>,
    }

    impl Sink for Heard {
        fn series(&mut self, id: SeriesId, labels: &[(&str, &str)]) {
            self.series.push((id, Labels::from_pairs(labels.iter().copied())));
        }

        fn sample(&mut self, id: SeriesId, sample: Sample) {
            self.samples.push((id, sample.timestamp.0, sample.value.to_bits()));
        }
    }

    #[test]
    fn records_come_back_and_damage_is_an_error() {
        let mut encoder = Encoder::default();
        let mut want = Heard::default();
        for (id, labels) in [(3, vec![("a", "1"), ("b", "é")]), (HIGHEST_ID, vec![])] {
            let labels = Labels::from_pairs(labels);
            encoder.series(id, &labels);
            want.series.push((id, labels));
        }
        for (id, time, value) in [
            (3, 0, 1.0),
            (3, 15_000, 0.0),
            (3, 30_000, 1.5),
            (4, 30_000, f64::NAN),
            (5, 30_000, stale_marker()),
            (HIGHEST_ID, i64::MIN, -0.0),
            (0, i64::MAX, 1.0 / 3.0),
        ] {
            encoder.sample(id, Sample { timestamp: Timestamp(time), value });
            want.samples.push((id, time, value.to_bits()));
        }
        let mut file = Vec::new();
        encoder.finish(&mut file);
        assert!(encoder.is_empty());
        let record = &file[frame::HEADER..];
        let mut heard = Heard::default();
        decode(record, &mut heard).unwrap();
        assert_eq!(heard, want);
        // Without its sum a cut or changed record may mean something else, but never a panic.
        for at in 0..record.len() {
            let mut heard = Heard::default();
            let cut = decode(&record[..at], &mut heard);
            assert!(cut.is_err() || heard.samples.len() < want.samples.len());
            for bit in 0..8 {
                let mut changed = record.to_vec();
                changed[at] ^= 1 << bit;
                decode(&changed, &mut Heard::default()).ok();
            }
        }
    }
}
