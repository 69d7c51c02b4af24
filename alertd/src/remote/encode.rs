//! Samples to the body of a write request: protobuf of either version, compressed with snappy. Pure.

use std::collections::HashMap;

use super::Protocol;
use super::metadata::number;
use super::wire::{put_bytes, put_double, put_number, put_varint};
use crate::model::labels::Labels;
use crate::model::metadata::About;
use crate::model::sample::Sample;

/// A body that grows by series.
#[derive(Debug)]
pub struct Body {
    protocol: Protocol,
    /// The strings of version 2.0 in the order of their numbers; the first one is empty.
    symbols: Vec<u8>,
    numbers: HashMap<Box<str>, u32>,
    series: Vec<u8>,
    samples: usize,
    /// One series, kept to be used again.
    scratch: Vec<u8>,
    nested: Vec<u8>,
}

/// One sample each, in the order given.
pub fn samples(protocol: Protocol, samples: &[(Labels, Sample)]) -> Vec<u8> {
    let mut body = Body::new(protocol);
    for (labels, sample) in samples {
        body.series(labels.iter(), &[*sample]);
    }
    body.finish()
}

impl Body {
    pub fn new(protocol: Protocol) -> Body {
        let mut body = Body {
            protocol,
            symbols: Vec::new(),
            numbers: HashMap::new(),
            series: Vec::new(),
            samples: 0,
            scratch: Vec::new(),
            nested: Vec::new(),
        };
        body.symbol("");
        body
    }

    /// Adds a series. The labels have to be sorted by name, `__name__` among them.
    pub fn series<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        samples: &[Sample],
    ) {
        self.series_about(labels, samples, None);
    }

    /// The same, with what is known of the metric, for which only version 2.0 has a place here.
    pub fn series_about<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        samples: &[Sample],
        about: Option<&About>,
    ) {
        let (mut scratch, mut nested) =
            (std::mem::take(&mut self.scratch), std::mem::take(&mut self.nested));
        scratch.clear();
        nested.clear();
        match self.protocol {
            Protocol::V1 => {
                for (name, value) in labels {
                    nested.clear();
                    put_bytes(&mut nested, 1, name.as_bytes());
                    put_bytes(&mut nested, 2, value.as_bytes());
                    put_bytes(&mut scratch, 1, &nested);
                }
            }
            Protocol::V2 => {
                for (name, value) in labels {
                    put_varint(&mut nested, u64::from(self.symbol(name)));
                    put_varint(&mut nested, u64::from(self.symbol(value)));
                }
                put_bytes(&mut scratch, 1, &nested);
            }
        }
        for sample in samples {
            nested.clear();
            put_double(&mut nested, 1, sample.value);
            put_number(&mut nested, 2, sample.timestamp.0.cast_unsigned());
            put_bytes(&mut scratch, 2, &nested);
        }
        if self.protocol == Protocol::V2
            && let Some(about) = about
        {
            nested.clear();
            put_number(&mut nested, 1, number(about.kind));
            put_number(&mut nested, 3, u64::from(self.symbol(&about.help)));
            put_number(&mut nested, 4, u64::from(self.symbol(&about.unit)));
            put_bytes(&mut scratch, 5, &nested);
        }
        let field = match self.protocol {
            Protocol::V1 => 1,
            Protocol::V2 => 5,
        };
        put_bytes(&mut self.series, field, &scratch);
        self.samples += samples.len();
        (self.scratch, self.nested) = (scratch, nested);
    }

    /// Adds what is known of a metric, for which only version 1.0 has a place of its own.
    pub fn metadata(&mut self, name: &str, about: &About) {
        if self.protocol != Protocol::V1 {
            return;
        }
        let mut message = Vec::new();
        put_number(&mut message, 1, number(about.kind));
        for (field, text) in [(2, name), (4, &about.help), (5, &about.unit)] {
            if !text.is_empty() {
                put_bytes(&mut message, field, text.as_bytes());
            }
        }
        put_bytes(&mut self.series, 3, &message);
    }

    /// Samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The compressed body, to be sent with `Content-Encoding: snappy` and the protocol's
    /// `Content-Type`.
    pub fn finish(mut self) -> Vec<u8> {
        if self.protocol == Protocol::V2 {
            self.symbols.append(&mut self.series);
            self.series = self.symbols;
        }
        // The one error is an input beyond 4 GiB, which no caller holds in memory at a time.
        snap::raw::Encoder::new().compress_vec(&self.series).unwrap_or_default()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        put_bytes(&mut self.symbols, 4, text.as_bytes());
        self.numbers.insert(text.into(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::Timestamp;

    /// The bytes as the protocol's own compiler would write them, worked out by hand.
    #[test]
    fn bodies_byte_for_byte() {
        let sample = Sample { timestamp: Timestamp(300), value: 1.0 };
        for (protocol, want) in [
            (
                Protocol::V1,
                &b"\x0a\x1d\x0a\x0d\x0a\x08__name__\x12\x01m\
                   \x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02"[..],
            ),
            (
                Protocol::V2,
                b"\x22\0\x22\x08__name__\x22\x01m\
                  \x2a\x12\x0a\x02\x01\x02\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02",
            ),
        ] {
            let body = samples(protocol, &[(Labels::from_pairs([("__name__", "m")]), sample)]);
            let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
            assert_eq!(plain, want, "{protocol:?}: {}", plain.escape_ascii());
        }
    }
}
