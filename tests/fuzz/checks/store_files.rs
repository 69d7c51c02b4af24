//! What has to hold for a store whose checkpoint or block has any bytes in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::{Appender, Querier};
use pitcrew_alertd::model::sample::{Sample, Series, Timestamp};
use pitcrew_alertd::tsdb::block::metrics::BlockMetrics;
use pitcrew_alertd::tsdb::{Limits, Tsdb};

use super::frames;

const HOUR: i64 = 3_600_000;
const NOW: Timestamp = Timestamp(8 * HOUR);
/// What is stored later.
const AFTER: &str = "after";

/// A path below the store's folder, and what is in the file.
type File = (PathBuf, Vec<u8>);

/// The first byte chooses a file of a good store; the others are changes to it, four bytes each: a
/// place, what to do there and with what. Panics when the store does not open, or is another one
/// when it is opened again.
pub(crate) fn check(data: &[u8]) {
    let good = good();
    let Some((which, changes)) = data.split_first() else { return };
    let (path, content) = &good[usize::from(*which) % good.len()];
    let changed = changed(content, changes);
    let (before, again) = with(good, &[(path.clone(), changed.clone())]);
    // What cannot be read fails a query, now as before, until it has been set aside.
    if let (Some(before), Some(again)) = (before, again) {
        assert_eq!(bits(&again), bits(&before));
    }
    // Behind the checksums too.
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("checkpoint" | "chunks") => {
            with(good, &[(path.clone(), frames::mended(&changed))]);
        }
        _ if path.ends_with("index") => {
            let meta = path.with_file_name("meta.json");
            let (_, before) =
                good.iter().find(|(path, _)| *path == meta).expect("every block has it");
            let mended = described(std::str::from_utf8(before).unwrap(), &changed);
            with(good, &[(path.clone(), changed), (meta, mended.into_bytes())]);
        }
        _ => {}
    }
}

/// What the store holds, when it can be read, and what it holds when it is opened again.
fn with(good: &[File], changed: &[File]) -> (Option<Vec<Series>>, Option<Vec<Series>>) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    for (path, content) in good.iter().chain(changed) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let store = open(folder.path());
    let before = seen(&store);
    let sample = Sample { timestamp: NOW, value: 1.0 };
    let after = [(Labels::from_pairs([("__name__", AFTER)]), sample)];
    let appended = store.append(&after).unwrap();
    assert_eq!(appended.accepted + appended.refused().iter().map(|(_, n)| n).sum::<usize>(), 1);
    store.maintain(NOW);
    drop(store);
    let mut again = seen(&open(folder.path()));
    if let Some(again) = &mut again {
        again.retain(|series| series.labels.metric_name() != Some(AFTER));
    }
    (before, again)
}

fn bits(all: &[Series]) -> Vec<(&Labels, Vec<(i64, u64)>)> {
    let samples = |series: &Series| {
        series.samples.iter().map(|one| (one.timestamp.0, one.value.to_bits())).collect()
    };
    all.iter().map(|series| (&series.labels, samples(series))).collect()
}

fn open(folder: &Path) -> Tsdb {
    let limits = Limits { retention: Duration::MAX, ..Limits::default() };
    let opened = Tsdb::open(folder, limits, NOW, BlockMetrics::default());
    opened.expect("what is in files never matters").0
}

fn seen(store: &Tsdb) -> Option<Vec<Series>> {
    let all = store.select(&[], Timestamp(i64::MIN), Timestamp(i64::MAX)).ok()?;
    assert!(all.windows(2).all(|two| two[0].labels < two[1].labels), "not sorted");
    for series in &all {
        let samples = &series.samples;
        assert!(samples.windows(2).all(|two| two[0].timestamp < two[1].timestamp));
    }
    Some(all)
}

/// The files of a store with blocks, a checkpoint and a log.
fn good() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        for series in 0..5 {
            let labels =
                Labels::from_pairs([("__name__", "m".to_owned()), ("n", series.to_string())]);
            let sample = |at: i64| Sample {
                timestamp: Timestamp(at * 300_000),
                value: (at * series) as f64,
            };
            let samples: Vec<_> =
                (0..=NOW.0 / 300_000).map(|at| (labels.clone(), sample(at))).collect();
            store.append(&samples).unwrap();
        }
        store.maintain(NOW);
        drop(store);
        let (mut files, mut folders) = (Vec::new(), vec![folder.path().to_owned()]);
        while let Some(within) = folders.pop() {
            for entry in fs::read_dir(within).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let content = fs::read(&path).unwrap();
                        files.push((path.strip_prefix(folder.path()).unwrap().to_owned(), content));
                    }
                }
            }
        }
        files.sort();
        let has = |end: &str| files.iter().any(|(path, _)| path.to_str().unwrap().ends_with(end));
        assert!(has(".checkpoint") && has(".chunks") && has("index") && has("meta.json"));
        files
    })
}

fn changed(content: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = at.min(bytes.len());
        match (change[2] % 4, bytes.get_mut(at)) {
            (0, Some(byte)) => *byte = change[3],
            (1, Some(byte)) => *byte ^= 1 << (change[3] % 8),
            (2, _) => bytes.insert(at, change[3]),
            (_, _) => drop(bytes.drain(at..bytes.len().min(at + usize::from(change[3])))),
        }
    }
    bytes
}

/// A block's description, of another index.
fn described(meta: &str, index: &[u8]) -> String {
    let with = |text: &str, key: &str, value: usize| {
        let key = format!("\"{key}\":");
        let (before, rest) = text.split_once(&key).expect("a block is described so");
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{before}{key}{value}{rest}")
    };
    let text = with(meta, "index_bytes", index.len());
    let text = with(&text, "index_crc", crc32fast::hash(index) as usize);
    let text = with(&text, "crc", 0);
    let sum = crc32fast::hash(text.as_bytes());
    with(&text, "crc", sum as usize)
}
