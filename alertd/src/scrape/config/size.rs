//! A number of bytes as Prometheus writes it: `64MB`, `512KiB`, where both forms count in 1024.

use serde::{Deserialize, Deserializer, de};

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 7] =
    [("B", 0), ("KB", 1), ("MB", 2), ("GB", 3), ("TB", 4), ("PB", 5), ("EB", 6)];

pub fn parse(text: &str) -> Option<Size> {
    if text == "0" {
        return Some(Size(0));
    }
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let unit = unit.replacen("iB", "B", 1);
    let (_, power) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1024_u64.checked_pow(*power)?).map(Size)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Size, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || format!("expected a size such as 64MB or 512KiB, found {text:?}");
        parse(&text).ok_or_else(|| de::Error::custom(wrong()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, want) in [
            ("0", Some(0)),
            ("12B", Some(12)),
            ("1KB", Some(1024)),
            ("64MiB", Some(64 << 20)),
            ("2GB", Some(2 << 30)),
            ("", None),
            ("5", None),
            ("MB", None),
            ("1.5MB", None),
            ("-1MB", None),
            ("99999999EB", None),
        ] {
            assert_eq!(parse(text).map(|size| size.0), want, "{text:?}");
        }
    }
}
