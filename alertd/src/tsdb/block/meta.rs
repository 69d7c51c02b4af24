//! `meta.json`: what a block is, so that nothing else of it need be read to know.

use serde::{Deserialize, Serialize};

use crate::model::sample::Timestamp;

/// Of the folder, its files and their coding.
const VERSION: u32 = 1;
/// Larger than any that is written: the names of some hundred sources.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// Every byte of the file is checked: what is read has to be what would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meta {
    version: u32,
    /// Timestamps of the oldest and the newest sample.
    pub(super) min: Timestamp,
    pub(super) max: Timestamp,
    pub(super) series: u64,
    pub(super) chunks: u64,
    pub(super) samples: u64,
    pub(super) chunks_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) index_crc: u32,
    /// Names of the blocks that were merged into this one, which takes their place.
    pub(super) sources: Vec<String>,
    /// Of the file with a zero here.
    crc: u32,
}

impl Meta {
    /// Without content; the writer fills it.
    pub(super) fn new(sources: Vec<String>) -> Meta {
        Meta {
            version: VERSION,
            min: Timestamp(i64::MAX),
            max: Timestamp(i64::MIN),
            series: 0,
            chunks: 0,
            samples: 0,
            chunks_bytes: 0,
            index_bytes: 0,
            index_crc: 0,
            sources,
            crc: 0,
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let crc = crc32fast::hash(&serde_json::to_vec(&Meta { crc: 0, ..self.clone() })?);
        serde_json::to_vec(&Meta { crc, ..self.clone() })
    }

    /// # Errors
    /// Says what is wrong with the file.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Meta, String> {
        let meta: Meta = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if meta.version != VERSION {
            return Err(format!("expected version {VERSION}, found {}", meta.version));
        }
        match meta.to_json() {
            Ok(same) if same == bytes && meta.min <= meta.max => Ok(meta),
            _ => Err("checksum does not match".to_owned()),
        }
    }

    /// What the block takes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.chunks_bytes.saturating_add(self.index_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let meta = Meta {
            min: Timestamp(-5),
            max: Timestamp(1_700_000_000_000),
            samples: 12,
            ..Meta::new(vec!["a".to_owned()])
        };
        let good = meta.to_json().unwrap();
        let back = Meta::from_json(&good).unwrap();
        assert_eq!((back.min, back.max, back.samples), (meta.min, meta.max, 12));
        for at in 0..good.len() {
            for other in [good[at] ^ 1, good[at] ^ 0x80, b' ', b'9'] {
                let mut bad = good.clone();
                bad[at] = other;
                assert!(bad == good || Meta::from_json(&bad).is_err(), "{at}: {other}");
            }
        }
        assert!(Meta::from_json(b"").is_err());
    }
}
