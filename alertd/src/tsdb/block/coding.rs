//! Numbers as the files of a block hold them, read without trust in what is there.

/// Bytes that do not say what a block's writer would have written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// Appends a number in groups of seven bits, lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The little-endian word at this place.
pub(super) fn word(bytes: &[u8], at: usize) -> Result<u32, Broken> {
    let end = at.checked_add(4).ok_or(Broken("a place beyond all memory"))?;
    let found = bytes.get(at..end).and_then(|bytes| bytes.try_into().ok());
    found.map(u32::from_le_bytes).ok_or(Broken("a word beyond the end"))
}

/// Reads one number after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl Cursor<'_> {
    pub(super) fn number(&mut self) -> Result<u64, Broken> {
        let (mut value, mut shift) = (0_u64, 0);
        while let [byte, rest @ ..] = self.0 {
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(Broken("a number that does not end"));
            }
        }
        Err(Broken("a number beyond the end"))
    }

    pub(super) fn small(&mut self) -> Result<u32, Broken> {
        u32::try_from(self.number()?).map_err(|_| Broken("a number that is too large"))
    }

    /// A count of things that take at least one byte each of what is left.
    pub(super) fn count(&mut self) -> Result<usize, Broken> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len());
        count.ok_or(Broken("more entries than there is room for"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_broken_ones_are_refused() {
        let mut bytes = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        for number in numbers {
            put(&mut bytes, number);
        }
        let mut cursor = Cursor(&bytes);
        for number in numbers {
            assert_eq!(cursor.number(), Ok(number));
        }
        assert!(cursor.number().is_err());
        assert!(Cursor(&[0xff; 20]).number().is_err());
        assert!(Cursor(&[0xff, 0xff, 0xff, 0xff, 0x7f]).small().is_err());
        assert!(Cursor(&[3, 0, 0]).count().is_err());
        assert_eq!(Cursor(&[2, 0, 0]).count(), Ok(2));
        assert_eq!(word(&[1, 0, 0, 0], 0), Ok(1));
        assert!(word(&[1, 0, 0, 0], 1).is_err() && word(&[], usize::MAX).is_err());
    }
}
