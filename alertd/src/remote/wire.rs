//! The protobuf wire format: fields read in place, and written to a buffer. Pure.
//!
//! A decoder that makes objects of every label costs more than the store that takes them; this one
//! borrows from the body.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// Not a protobuf message, or not the one that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a field ends beyond the end of its message")]
    Short,
    #[error("a number has more than 64 bits")]
    Number,
    #[error("a field has a wire type that is not in use: {0}")]
    WireType(u8),
    #[error("field {0} has a number outside of what protobuf allows")]
    FieldNumber(u64),
    #[error("{0} has another wire type than the protocol's")]
    Mismatch(&'static str),
    #[error("more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// What is left of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    /// The next field's number and content; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = match u32::try_from(key >> 3) {
            Ok(number @ 1..=0x1fff_ffff) => number,
            _ => return Err(Malformed::FieldNumber(key >> 3)),
        };
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Short)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            5 => {
                self.array::<4>()?;
                Field::Fixed32
            }
            // 3 and 4 are groups, which no version of these messages has had.
            other => return Err(Malformed::WireType(other as u8)),
        };
        Ok(Some((number, field)))
    }

    /// The next number of a packed list.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, Malformed> {
        if self.0.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Short)?;
        if *first < 0x80 {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            // The tenth byte holds the 64th bit and no more.
            if at == 9 && *byte > 1 {
                return Err(Malformed::Number);
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.0 = self.0.get(at + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(if self.0.len() < 10 { Malformed::Short } else { Malformed::Number })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*bytes)
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number << 3 | 2));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Left out when it is zero, as protobuf does.
pub(super) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(number << 3));
        put_varint(out, value);
    }
}

/// Left out when all of its bits are zero; -0 is not such a value.
pub(super) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    if value.to_bits() != 0 {
        put_varint(out, u64::from(number << 3 | 1));
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, Malformed> {
        let (mut fields, mut found) = (Fields::new(bytes), Vec::new());
        while let Some(field) = fields.next()? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        put_number(&mut out, 1, u64::MAX);
        put_number(&mut out, 2, 0);
        put_double(&mut out, 3, -0.0);
        put_bytes(&mut out, 0x1fff_ffff, b"abc");
        let want = vec![
            (1, Field::Varint(u64::MAX)),
            (3, Field::Fixed64(1 << 63)),
            (0x1fff_ffff, Field::Bytes(b"abc")),
        ];
        assert_eq!(all(&out), Ok(want));
        for end in 1..out.len() {
            let whole = [11, 20].contains(&end);
            assert_eq!(all(&out[..end]).is_ok(), whole, "cut at {end}");
        }
    }

    #[test]
    fn bad_bytes() {
        for (bytes, want) in [
            (&[0x0a][..], Malformed::Short),
            (&[0x0a, 2, 0], Malformed::Short),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Malformed::Short),
            (&[8, 0x80], Malformed::Short),
            (&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Malformed::Number),
            (&[9, 0, 0, 0, 0, 0, 0, 0], Malformed::Short),
            (&[0x0d, 0, 0, 0], Malformed::Short),
            (&[0x0b], Malformed::WireType(3)),
            (&[0x0f], Malformed::WireType(7)),
            (&[0], Malformed::FieldNumber(0)),
            (&[0x80, 0x80, 0x80, 0x80, 0x10, 0], Malformed::FieldNumber(0x2000_0000)),
        ] {
            assert_eq!(all(bytes), Err(want), "{bytes:?}");
        }
    }
}
