//! Bits in a row: written through a wide accumulator, read a word at a time.

/// Appends bits; the last byte may be unfinished, its free bits are zero.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits of the last byte in use; 0 when it is full, or when there is none.
    used: u32,
}

/// Reads on past the end as zeros; [`Reader::overran`] tells afterwards.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The next byte to load.
    at: usize,
    /// The next bits, from the top; `have` of them count.
    word: u64,
    have: u32,
}

impl Writer {
    /// Goes on behind the first `bits` bits of `bytes`.
    pub(super) fn resume(mut bytes: Vec<u8>, bits: usize) -> Writer {
        bytes.truncate(bits.div_ceil(8));
        let used = (bits % 8) as u32;
        if let Some(last) = bytes.last_mut().filter(|_| used > 0) {
            *last &= 0xff << (8 - used);
        }
        Writer { bytes, used }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bits written so far.
    pub(super) fn bits(&self) -> usize {
        self.bytes.len() * 8 - ((8 - self.used as usize) & 7)
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The lowest `width` bits of `value`, which has no higher ones; 1 to 120 of them.
    pub(super) fn push(&mut self, value: u128, width: u32) {
        /// Doubling would leave half of the memory of a hundred thousand open chunks unused.
        const STEP: usize = 48;
        let before = if self.used > 0 { self.bytes.pop().unwrap_or(0) } else { 0 };
        let all = (u128::from(before) << 120) | ((value << (128 - width)) >> self.used);
        let total = self.used + width;
        let count = total.div_ceil(8) as usize;
        if self.bytes.capacity() - self.bytes.len() < count {
            self.bytes.reserve_exact(count.max(STEP));
        }
        self.bytes.extend_from_slice(all.to_be_bytes().get(..count).unwrap_or_default());
        self.used = total % 8;
    }
}

impl<'a> Reader<'a> {
    /// Begins behind the first `bits` bits.
    pub(super) fn new(bytes: &'a [u8], bits: usize) -> Reader<'a> {
        let mut reader = Reader { bytes, at: bits / 8, word: 0, have: 0 };
        reader.refill();
        reader.skip((bits % 8) as u32);
        reader
    }

    /// After it, at least 56 bits can be taken.
    #[inline]
    pub(super) fn refill(&mut self) {
        let next = match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => self.tail(),
        };
        // Bits below `have` are loaded again next time: the same ones, so or-ing them is harmless.
        self.word |= next >> self.have;
        let bytes = (63 - self.have) >> 3;
        self.at += bytes as usize;
        self.have += bytes * 8;
    }

    /// The last bytes, fewer than eight, with zeros behind them.
    #[inline]
    fn tail(&self) -> u64 {
        let missing = (self.at + 8).saturating_sub(self.bytes.len());
        if missing >= 8 {
            return 0;
        }
        match self.bytes.last_chunk() {
            Some(bytes) => u64::from_be_bytes(*bytes) << (8 * missing),
            None => {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                rest.iter().enumerate().fold(0, |word, (at, byte)| {
                    word | (u64::from(*byte) << (56 - 8 * (at as u32 & 7)))
                })
            }
        }
    }

    /// 1 to 56 bits in all may be taken after a refill.
    #[inline]
    pub(super) fn take(&mut self, width: u32) -> u64 {
        let value = self.word >> (64 - width);
        self.skip(width);
        value
    }

    #[inline]
    pub(super) fn skip(&mut self, width: u32) {
        self.word <<= width;
        self.have -= width;
    }

    /// Whether so many can be taken without a refill.
    #[inline]
    pub(super) fn hold(&self, width: u32) -> bool {
        width <= self.have
    }

    /// Ones at the front, up to `most`; they and the zero that ends fewer are taken.
    #[inline]
    pub(super) fn ones(&mut self, most: u32) -> u32 {
        let ones = (!self.word).leading_zeros().min(most);
        self.skip(if ones < most { ones + 1 } else { ones });
        ones
    }

    /// The next bits without taking them, from the top.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        self.word
    }

    /// Bits taken so far.
    pub(super) fn taken(&self) -> usize {
        self.at * 8 - self.have as usize
    }

    pub(super) fn overran(&self) -> bool {
        self.taken() > self.bytes.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_width_comes_back() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let parts: Vec<(u64, u32)> = (0..random.usize(1..60))
                .map(|_| {
                    let width = random.u32(1..=56);
                    (random.u64(..) >> (64 - width), width)
                })
                .collect();
            let mut out = Writer::default();
            let mut bits = 0;
            for (value, width) in &parts {
                out.push(u128::from(*value), *width);
                bits += *width as usize;
                assert_eq!(out.bits(), bits);
                out = Writer::resume(out.bytes, bits);
            }
            let mut back = Reader::new(out.bytes(), 0);
            for (value, width) in &parts {
                back = Reader::new(out.bytes(), back.taken());
                back.refill();
                assert_eq!(back.take(*width), *value);
            }
            assert_eq!(back.taken(), bits);
            assert!(!back.overran());
            back.refill();
            back.take(8);
            assert!(back.overran());
        }
    }
}
