//! Blocks as a whole: what is written is read again, and damage is noticed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::*;
use crate::model::matcher::{MatchOp, Matcher};
use crate::model::sample::Sample;

type Rows = BTreeMap<Labels, Vec<Sample>>;

const HOUR: i64 = 3_600_000;
const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

pub(super) fn open(folder: &Path) -> (Blocks, Found) {
    Blocks::open(folder, BlockMetrics::default()).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn any() -> Vec<Matcher> {
    vec![Matcher::new(MatchOp::Regex, "a", ".*").unwrap()]
}

/// Samples of chunks of 120.
pub(super) fn chunked(samples: &[Sample]) -> Vec<Chunk> {
    samples.chunks(120).filter_map(Chunk::new).collect()
}

fn add(blocks: &Blocks, rows: &Rows) {
    let rows = rows.iter().map(|(labels, samples)| (labels.clone(), chunked(samples)));
    blocks.add(rows).unwrap().unwrap();
}

fn every(step: i64, from: i64, to: i64, value: f64) -> Vec<Sample> {
    let times = (from..to).step_by(usize::try_from(step).unwrap());
    times.map(|time| Sample { timestamp: Timestamp(time), value: value + time as f64 }).collect()
}

/// What a query over the range gives.
fn answer(
    blocks: &Blocks,
    matchers: &[Matcher],
    (from, to): (Timestamp, Timestamp),
) -> Result<Rows, StoreError> {
    let found = blocks.select(matchers, from, to, usize::MAX)?;
    assert!(found.windows(2).all(|two| two[0].0 < two[1].0), "sorted by labels");
    let rows = found.into_iter().map(|(labels, chunks)| {
        let mut out = Vec::new();
        decode(&chunks, from, to, &mut out).unwrap();
        (labels, out)
    });
    Ok(rows.filter(|(_, samples)| !samples.is_empty()).collect())
}

/// Series with names, instances that some lack, and a label that each has for itself.
fn fleet(blocks: i64) -> Vec<Rows> {
    let mut fleet = Vec::new();
    for block in 0..blocks {
        let mut rows = Rows::new();
        for n in 0..200_i64 {
            // Some end, some begin later.
            if (n % 7 == 0 && block > 1) || (n % 11 == 0 && block < 1) {
                continue;
            }
            let (name, id) = (format!("m{}", n % 5), format!("{n:03}"));
            let mut pairs = vec![("__name__", &*name), ("id", &*id)];
            let instance = format!("host-{}", n % 13);
            if n % 3 > 0 {
                pairs.push(("instance", &instance));
            }
            let (from, to) = (2 * HOUR * block, 2 * HOUR * (block + 1));
            rows.insert(labels(&pairs), every(30_000, from + n, to, n as f64));
        }
        fleet.push(rows);
    }
    fleet
}

fn expected(fleet: &[Rows], matchers: &[Matcher], range: (Timestamp, Timestamp)) -> Rows {
    let mut want = Rows::new();
    for (labels, samples) in fleet.iter().flatten() {
        if matchers.iter().all(|matcher| matcher.matches_labels(labels)) {
            let inside = |one: &&Sample| one.timestamp >= range.0 && one.timestamp <= range.1;
            want.entry(labels.clone()).or_default().extend(samples.iter().filter(inside));
        }
    }
    want.retain(|_, samples| !samples.is_empty());
    want
}

fn selectors() -> Vec<Vec<Matcher>> {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    [
        vec![],
        vec![(Equal, "__name__", "m1")],
        vec![(Equal, "__name__", "m1"), (Equal, "instance", "host-4")],
        vec![(Equal, "__name__", "nothing")],
        vec![(Equal, "nothing", "")],
        vec![(Equal, "nothing", "x")],
        vec![(Equal, "instance", "")],
        vec![(NotEqual, "instance", "")],
        vec![(NotEqual, "instance", "host-4")],
        vec![(Regex, "instance", "host-(1|2).*")],
        vec![(Regex, "instance", "(host-1)?")],
        vec![(NotRegex, "instance", "host-1.*|")],
        vec![(NotRegex, "instance", "host-1.*")],
        vec![(Equal, "__name__", "m2"), (Regex, "id", "0.[02468]"), (NotEqual, "instance", "")],
        vec![(Regex, "__name__", "m[0-3]"), (Regex, "id", ".*7"), (Equal, "instance", "host-1")],
    ]
    .into_iter()
    .map(|selector| {
        let matcher = |(op, name, value): (MatchOp, &str, &str)| Matcher::new(op, name, value);
        selector.into_iter().map(|one| matcher(one).unwrap()).collect()
    })
    .collect()
}

/// Every selector over several ranges, values and names included.
#[track_caller]
fn check(blocks: &Blocks, fleet: &[Rows]) {
    let at = |hours: f64| Timestamp((hours * HOUR as f64) as i64);
    for range in
        [EVER, (at(1.0), at(1.0)), (at(1.9), at(4.2)), (at(7.0), at(99.0)), (at(-9.0), at(-1.0))]
    {
        for matchers in selectors() {
            let want = expected(fleet, &matchers, range);
            let told = format!("{matchers:?} {range:?}");
            assert!(answer(blocks, &matchers, range).unwrap() == want, "{told}");
            let series = blocks.series(&matchers, range.0, range.1).unwrap();
            assert!(want.keys().all(|labels| series.contains(labels)), "{told}");
            let (mut names, mut values) = Default::default();
            blocks.label_names(&matchers, range.0, range.1, &mut names).unwrap();
            blocks.label_values("instance", &matchers, range.0, range.1, &mut values).unwrap();
            for labels in want.keys() {
                assert!(labels.iter().all(|(name, _)| names.contains(name)), "{told}");
                assert!(
                    labels.get("instance").is_none_or(|value| values.contains(value)),
                    "{told}"
                );
            }
            if range == EVER {
                let instances = want.keys().filter_map(|labels| labels.get("instance"));
                let want: std::collections::BTreeSet<_> = instances.map(str::to_owned).collect();
                assert_eq!(values, want, "{told}");
            }
        }
    }
}

#[test]
fn what_is_written_is_found_again_merged_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, found) = open(folder.path());
    assert_eq!(found, Found::default());
    let fleet = fleet(6);
    fleet.iter().for_each(|rows| add(&blocks, rows));
    check(&blocks, &fleet);
    let before = blocks.stats();
    assert_eq!(before.blocks, 6);
    drop(blocks);

    let (blocks, found) = open(folder.path());
    assert_eq!((found, blocks.stats().samples), (Found::default(), before.samples));
    check(&blocks, &fleet);
    let keep = Keep { retention: Duration::from_secs(15 * 86_400), size: None };
    blocks.maintain(Timestamp(12 * HOUR), &keep, 0);
    let after = blocks.stats();
    assert_eq!((after.blocks, after.samples), (3, before.samples), "four of two hours became one");
    assert!(after.bytes < before.bytes);
    check(&blocks, &fleet);
    drop(blocks);
    let (blocks, _) = open(folder.path());
    check(&blocks, &fleet);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_query_has_a_limit_and_costs_nothing_outside() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(folder.path());
    add(&blocks, &Rows::from([(labels(&[("a", "1")]), every(1000, 0, 1_000_000, 0.0))]));
    let select = |from, to, limit| blocks.select(&any(), Timestamp(from), Timestamp(to), limit);
    assert!(select(0, 1_000_000, 1000).is_ok());
    let error = select(0, 1_000_000, 999).unwrap_err().to_string();
    assert!(error.contains("more than 999 samples"), "{error}");
    assert_eq!(select(0, 500_000, 999).unwrap()[0].1.len(), 5, "chunks of the range alone");
    drop(blocks);
    let (blocks, _) = open(folder.path());
    assert!(blocks.select(&any(), Timestamp(2_000_000), EVER.1, 1).unwrap().is_empty());
    assert_eq!(blocks.stats().index_bytes, 0, "nothing was read");
}

#[test]
fn nothing_is_written_of_a_wrong_order_or_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(folder.path());
    let row = |value: &str| (labels(&[("a", value)]), chunked(&every(1000, 0, 5000, 0.0)));
    assert!(matches!(blocks.add([row("2"), row("1")]), Err(BlockError::Unsorted { .. })));
    assert!(matches!(blocks.add([row("1"), row("1")]), Err(BlockError::Unsorted { .. })));
    assert_eq!(blocks.add([]).unwrap(), None);
    assert_eq!(blocks.add([(labels(&[]), Vec::new())]).unwrap(), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Calls `harm` with each file of a small block, and looks what a store makes of it.
fn with_damage(harm: impl Fn(&Path, &[u8], &mut dyn FnMut())) {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(folder.path());
    let mut rows = Rows::new();
    for n in ["1", "2", "3"] {
        rows.insert(labels(&[("a", n), ("b", "x")]), every(15_000, 0, 600_000, 1.5));
    }
    add(&blocks, &rows);
    let name = blocks.read()[0].name.clone();
    drop(blocks);
    let path = folder.path().join(&name);
    for file in [folder::CHUNKS, folder::INDEX, folder::META] {
        let good = fs::read(path.join(file)).unwrap();
        harm(&path.join(file), &good, &mut || {
            let (blocks, found) = open(folder.path());
            let first = answer(&blocks, &any(), EVER);
            match &first {
                Ok(got) if found.set_aside.is_empty() => assert_eq!(*got, rows, "{file}"),
                Ok(got) => assert!(got.is_empty() && found.set_aside[0].0 == name, "{file}"),
                Err(error) => assert!(error.to_string().contains(&name), "{file}: {error}"),
            }
            // Merging does not spread it, and another look finds no wrong number either.
            blocks.maintain(Timestamp(0), &Keep { retention: Duration::MAX, size: None }, 0);
            if let Ok(got) = answer(&blocks, &any(), EVER) {
                assert!(got.is_empty() || got == rows, "{file}");
            }
            drop(blocks);
            let aside = path.with_extension("bad");
            if aside.exists() {
                fs::rename(aside, &path).unwrap();
            } else {
                let is_chunks = file == folder::CHUNKS;
                assert!(first.is_ok() || is_chunks, "{file}: only a chunk leaves a block in place");
            }
        });
        fs::write(path.join(file), good).unwrap();
    }
    let (blocks, _) = open(folder.path());
    assert_eq!(answer(&blocks, &any(), EVER).unwrap(), rows);
}

#[test]
fn a_changed_byte_anywhere_is_never_a_wrong_number() {
    with_damage(|path, good, look| {
        let file = File::options().write(true).open(path).unwrap();
        for (at, byte) in good.iter().enumerate() {
            for other in [byte ^ 1, byte ^ 0x80, !byte] {
                file.write_all_at(&[other], at as u64).unwrap();
                look();
            }
            file.write_all_at(&[*byte], at as u64).unwrap();
        }
    });
}

#[test]
fn a_file_cut_or_grown_or_gone_is_never_a_wrong_number() {
    with_damage(|path, good, look| {
        for len in (0..good.len()).chain([good.len() + 1, good.len() + 5000]) {
            let mut bytes = good.to_vec();
            bytes.resize(len, 0);
            fs::write(path, bytes).unwrap();
            look();
        }
        fs::remove_file(path).unwrap();
        look();
        fs::write(path, good).unwrap();
    });
}

#[test]
fn damage_in_one_of_many_blocks_does_not_stop_their_upkeep() {
    for (file, left) in [(folder::CHUNKS, 4), (folder::INDEX, 3)] {
        let folder = tempfile::tempdir().unwrap();
        let (blocks, _) = open(folder.path());
        let fleet = fleet(6);
        fleet.iter().for_each(|rows| add(&blocks, rows));
        let bad = blocks.read()[1].folder.join(file);
        let at = fs::metadata(&bad).unwrap().len() / 2;
        let bytes = File::options().write(true).read(true).open(&bad).unwrap();
        let mut byte = [0];
        bytes.read_exact_at(&mut byte, at).unwrap();
        bytes.write_all_at(&[!byte[0]], at).unwrap();
        let keep = Keep { retention: Duration::from_secs(15 * 86_400), size: None };
        blocks.maintain(Timestamp(12 * HOUR), &keep, 0);
        assert_eq!(blocks.stats().blocks, left, "{file}");
        let range = (Timestamp(4 * HOUR), EVER.1);
        assert!(answer(&blocks, &[], range).unwrap() == expected(&fleet, &[], range));
        assert_eq!(answer(&blocks, &[], EVER).is_err(), file == folder::CHUNKS);
    }
}

#[test]
fn a_crash_at_any_step_of_a_swap_serves_each_sample_once() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(folder.path());
    let fleet = fleet(5);
    fleet.iter().for_each(|rows| add(&blocks, rows));
    let names: Vec<_> = blocks.read()[..4].iter().map(|block| block.name.clone()).collect();
    let aside = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        fs::create_dir(to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    for name in &names {
        copy(&folder.path().join(name), &aside.path().join(name));
    }
    let keep = Keep { retention: Duration::from_secs(15 * 86_400), size: None };
    blocks.maintain(Timestamp(0), &keep, 0);
    drop(blocks);
    // So many of the sources were still there, and something half written.
    for left in 1..=4 {
        for name in &names[..left] {
            copy(&aside.path().join(name), &folder.path().join(name));
        }
        fs::create_dir(folder.path().join("00ff.part")).unwrap();
        fs::write(folder.path().join("00ff.part/index"), "x").unwrap();
        fs::create_dir(folder.path().join("00fe.gone")).unwrap();
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        let (blocks, found) = open(folder.path());
        assert_eq!(found, Found { set_aside: Vec::new(), leftovers: left + 2 });
        assert_eq!(blocks.stats().blocks, 2);
        check(&blocks, &fleet);
        drop(blocks);
        fs::remove_dir(folder.path().join("lost+found")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
    // The merged one is bad: its sources are what there is.
    let (blocks, _) = open(folder.path());
    let merged = blocks.read()[0].folder.clone();
    drop(blocks);
    for name in &names {
        copy(&aside.path().join(name), &folder.path().join(name));
    }
    let index = File::options().write(true).open(merged.join(folder::INDEX)).unwrap();
    index.write_all_at(b"?", 20).unwrap();
    let (blocks, found) = open(folder.path());
    assert_eq!((found.set_aside.len(), found.leftovers, blocks.stats().blocks), (1, 0, 5));
    check(&blocks, &fleet);
}

#[test]
fn what_is_too_old_or_too_much_goes_when_nobody_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(folder.path());
    let fleet = fleet(4);
    fleet.iter().for_each(|rows| add(&blocks, rows));
    let on_disk = || fs::read_dir(folder.path()).unwrap().count();
    let reader = blocks.overlapping(EVER.0, Timestamp(HOUR));
    let keep = |hours: u64, size| Keep { retention: Duration::from_secs(3600 * hours), size };
    blocks.maintain(Timestamp(8 * HOUR), &keep(5, None), 0);
    assert_eq!((blocks.stats().blocks, on_disk()), (3, 4));
    let opened = blocks.opened(&reader[0]).unwrap();
    assert!(opened.index.series > 0, "who had it can still read it");
    drop(reader);
    assert_eq!(on_disk(), 3);
    check(&blocks, &fleet[1..]);

    let each = blocks.stats().bytes / 3;
    blocks.maintain(Timestamp(8 * HOUR), &keep(5, Some(each * 5 / 2)), each / 8);
    assert_eq!((blocks.stats().blocks, on_disk()), (2, 2));
    check(&blocks, &fleet[2..]);
    blocks.maintain(Timestamp(8 * HOUR), &keep(5, Some(10)), 0);
    assert_eq!((blocks.stats().blocks, on_disk()), (0, 0));
}

#[test]
fn a_snapshot_answers_as_the_store_did() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(&folder.path().join("blocks"));
    let fleet = fleet(6);
    fleet[..5].iter().for_each(|rows| add(&blocks, rows));
    let into = folder.path().join("snapshot");
    // The last is still in memory, and some of it in a block already.
    let rows = fleet[4..].iter().flatten().fold(Rows::new(), |mut rows, (labels, samples)| {
        rows.entry(labels.clone()).or_default().extend(samples);
        rows
    });
    let recent = rows.iter().map(|(labels, samples)| (labels.clone(), chunked(samples)));
    let stats = snapshot(Some(&blocks), &into, recent).unwrap();
    assert_eq!(stats.blocks, 6);
    let keep = Keep { retention: Duration::ZERO, size: Some(0) };
    blocks.maintain(Timestamp(100 * HOUR), &keep, 0);
    assert_eq!(blocks.stats().blocks, 0);
    let (copy, found) = open(&into);
    assert_eq!((found, copy.stats().blocks), (Found::default(), 6));
    check(&copy, &fleet);
}

#[test]
fn indexes_that_are_kept_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (mut blocks, _) = open(folder.path());
    fleet(4).iter().for_each(|rows| add(&blocks, rows));
    let one = blocks.opened(&blocks.overlapping(EVER.0, EVER.1)[0]).unwrap().index.bytes();
    blocks.cache = Cache::new(2 * one + one / 2);
    for block in blocks.overlapping(EVER.0, EVER.1) {
        blocks.opened(&block).unwrap();
    }
    let kept = blocks.stats().index_bytes;
    assert!(kept > 0 && kept <= 2 * one + one / 2, "{kept} of {one}");
    blocks.cache = Cache::new(0);
    for block in blocks.overlapping(EVER.0, EVER.1) {
        blocks.opened(&block).unwrap();
        assert!(blocks.stats().index_bytes <= one + one / 2);
    }
}

/// As a host's exporter has it: most series stand still, some count, few are noise.
#[test]
fn a_merged_sample_takes_less_than_two_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, _) = open(folder.path());
    let mut random = fastrand::Rng::with_seed(5);
    let mut values: Vec<f64> = (0..300).map(|_| f64::from(random.u32(1..1 << 24))).collect();
    for window in 0..5 {
        let mut rows = Rows::new();
        for (n, value) in values.iter_mut().enumerate() {
            let (name, device) = (format!("node_thing_{}_total", n / 6), format!("disk{}", n % 6));
            let pairs = [
                ("__name__", &*name),
                ("device", &device),
                ("instance", "h:9100"),
                ("job", "node"),
            ];
            let samples = rows.entry(labels(&pairs)).or_default();
            for at in 0..480 {
                match n % 100 {
                    0..60 => {}
                    60..80 if random.u32(..10) > 0 => {}
                    60..90 => *value += f64::from(random.u32(0..200)),
                    90..96 => *value = f64::from(random.u32(250_000..260_000)) * 4096.0,
                    _ => *value += f64::from(random.u32(..1500)) / 100.0,
                }
                let time = Timestamp(2 * HOUR * window + 15_000 * at);
                samples.push(Sample { timestamp: time, value: *value });
            }
        }
        add(&blocks, &rows);
    }
    let keep = Keep { retention: Duration::from_secs(15 * 86_400), size: None };
    blocks.maintain(Timestamp(10 * HOUR), &keep, 0);
    let merged = &blocks.read()[0];
    assert_eq!(merged.meta.samples, 4 * 480 * 300);
    let files = fs::read_dir(&merged.folder).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let each = bytes as f64 / merged.meta.samples as f64;
    assert!(each < 2.0, "{each:.2} bytes a sample");
}
