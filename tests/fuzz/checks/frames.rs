//! The store's frames, put right around changed records so that what is behind their sums is read.

const HEADER: usize = 12;

pub(crate) fn mended(data: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    let mut at = 0;
    while let Some((header, rest)) = file[at..].split_first_chunk_mut::<HEADER>() {
        // Lengths beyond the end stay torn only when they are far too long.
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length > 1 << 20 {
            break;
        }
        let length = length.min(rest.len());
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[4..8].copy_from_slice(&crc32fast::hash(&rest[..length]).to_le_bytes());
        let sum = crc32fast::hash(&header[..8]);
        header[8..].copy_from_slice(&sum.to_le_bytes());
        at += HEADER + length;
    }
    file
}
