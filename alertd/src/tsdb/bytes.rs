//! Numbers and texts in the store's files: how they are written, and read without trust.

/// Bytes that end early, or mean nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record is malformed")]
pub(super) struct Malformed;

/// Seven bits a byte, the lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small numbers of either sign are short.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)) as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_come_back() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::MAX - 1, u64::MAX];
        let signed = [0, -1, 1, 63, -64, i64::MAX, i64::MIN];
        numbers.iter().for_each(|number| put_number(&mut out, *number));
        signed.iter().for_each(|number| put_signed(&mut out, *number));
        put_bytes(&mut out, "é".as_bytes());
        for cut in 0..out.len() {
            let mut input = Input(&out[..cut]);
            let read = numbers.iter().try_for_each(|_| input.number().map(drop));
            let read = read.and_then(|()| signed.iter().try_for_each(|_| input.signed().map(drop)));
            assert_eq!(read.and_then(|()| input.text()), Err(Malformed), "{cut}");
        }
        let mut input = Input(&out);
        assert_eq!(numbers.map(|_| input.number().unwrap()), numbers);
        assert_eq!(signed.map(|_| input.signed().unwrap()), signed);
        assert_eq!(input.text(), Ok("é"));
        assert!(input.is_empty());
        assert!(Input(&[0xff; 11]).number().is_err());
        assert!(Input(&[2, 0xff, 0xff]).text().is_err());
    }
}
