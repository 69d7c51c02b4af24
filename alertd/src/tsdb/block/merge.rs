//! Chunks of one series from several places become one row of samples.

use crate::model::sample::{Sample, Timestamp};
use crate::tsdb::chunk::{Chunk, Corrupt};

/// Samples of one chunk that compaction writes: fewer, larger chunks take less room.
const LARGE: usize = 480;
/// A chunk with so many samples is kept as it is.
const LARGE_ENOUGH: u32 = 240;

/// Adds the samples in `from..=to` to `out`, oldest first, one at each timestamp: where chunks
/// overlap, that of the earlier chunk in the list. `chunks` are sorted by their first sample.
pub(in crate::tsdb) fn decode(
    chunks: &[Chunk],
    from: Timestamp,
    to: Timestamp,
    out: &mut Vec<Sample>,
) -> Result<(), Corrupt> {
    let begin = out.len();
    let mut overlap = false;
    for chunk in chunks.iter().filter(|chunk| chunk.last >= from && chunk.first <= to) {
        let at = out.len();
        chunk.decode(from, to, out)?;
        // By what is in them: what the index says of chunks may be wrong.
        overlap |=
            at > begin && out.get(at).is_some_and(|next| next.timestamp <= out[at - 1].timestamp);
    }
    if overlap {
        let mut tail = out.split_off(begin);
        // Stable: of two samples at one time the one that came first stays first.
        tail.sort_by_key(|sample| sample.timestamp);
        tail.dedup_by_key(|sample| sample.timestamp);
        out.append(&mut tail);
    }
    Ok(())
}

/// The same samples in larger chunks that do not overlap.
pub(super) fn recode(chunks: &[Chunk]) -> Result<Vec<Chunk>, Corrupt> {
    let ever = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    let mut recoded = Vec::new();
    let mut samples = Vec::new();
    let apart = chunks.windows(2).all(|two| match two {
        [one, next] => one.last < next.first,
        _ => true,
    });
    if !apart {
        decode(chunks, ever.0, ever.1, &mut samples)?;
        flush(&mut samples, &mut recoded);
        return Ok(recoded);
    }
    for chunk in chunks {
        if chunk.count >= LARGE_ENOUGH {
            flush(&mut samples, &mut recoded);
            recoded.push(chunk.clone());
            continue;
        }
        samples.extend(chunk.samples()?);
        if samples.len() >= LARGE {
            flush(&mut samples, &mut recoded);
        }
    }
    flush(&mut samples, &mut recoded);
    Ok(recoded)
}

/// Evenly, so that no small rest remains.
fn flush(samples: &mut Vec<Sample>, out: &mut Vec<Chunk>) {
    let parts = samples.len().div_ceil(LARGE).max(1);
    let size = samples.len().div_ceil(parts).max(1);
    out.extend(samples.chunks(size).filter_map(Chunk::new));
    samples.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(times: std::ops::Range<i64>, step: usize, value: f64) -> Chunk {
        let sample = |time| Sample { timestamp: Timestamp(time), value };
        Chunk::new(&times.step_by(step).map(sample).collect::<Vec<_>>()).unwrap()
    }

    fn decoded(chunks: &[Chunk]) -> Vec<(i64, f64)> {
        let mut out = Vec::new();
        decode(chunks, Timestamp(0), Timestamp(i64::MAX), &mut out).unwrap();
        out.iter().map(|sample| (sample.timestamp.0, sample.value)).collect()
    }

    #[test]
    fn each_time_once_however_chunks_lie() {
        let cases = [
            vec![chunk(0..100, 1, 1.0), chunk(100..200, 1, 2.0)],
            vec![chunk(0..100, 2, 1.0), chunk(1..100, 2, 2.0), chunk(50..150, 1, 3.0)],
            vec![chunk(0..1000, 1, 1.0), chunk(0..1000, 1, 2.0)],
            vec![chunk(0..5000, 1, 1.0), chunk(6000..6010, 1, 1.0), chunk(7000..7010, 1, 1.0)],
        ];
        for chunks in cases {
            let got = decoded(&chunks);
            assert!(got.windows(2).all(|two| two[0].0 < two[1].0));
            let times: std::collections::BTreeSet<i64> = chunks
                .iter()
                .flat_map(|one| one.samples().unwrap())
                .map(|one| one.timestamp.0)
                .collect();
            assert_eq!(got.iter().map(|one| one.0).collect::<Vec<_>>(), Vec::from_iter(times));
            let recoded = recode(&chunks).unwrap();
            assert_eq!(decoded(&recoded), got);
            assert!(recoded.windows(2).all(|two| two[0].last < two[1].first));
            assert!(recoded.len() <= chunks.len().max(got.len().div_ceil(LARGE)));
        }
        let both = [chunk(0..10, 1, 1.0), chunk(5..15, 1, 2.0)];
        let got = decoded(&both);
        assert_eq!((got[9], got[10]), ((9, 1.0), (10, 2.0)), "the first one stays");
    }
}
