//! A load on the embedded store that can be checked to the bit after the program that made it is gone.
//!
//! Some writers append batch after batch. What a batch holds follows from its writer and number, and
//! batches are a minute apart in the store's time, so that minutes of real time are days of it and
//! the store writes blocks and checkpoints all the while.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::querier::{Appender, Querier};
use pitcrew_alertd::model::sample::{Sample, Timestamp, stale_marker};
use pitcrew_alertd::tsdb::block::metrics::BlockMetrics;
use pitcrew_alertd::tsdb::report::Report;
use pitcrew_alertd::tsdb::{Limits, Tsdb};

pub const WRITERS: usize = 3;
/// The time of batch 0.
const BEGIN: i64 = 1_700_000_000_000;
const STEP: i64 = 60_000;
/// Series that are always there, for each writer.
const SERIES: i64 = 12;
/// No writer is so many batches ahead of another.
const AHEAD: i64 = 20;

fn limits() -> Limits {
    Limits { checkpoint_bytes: 64 << 10, ..Limits::default() }
}

fn at(number: i64) -> Timestamp {
    Timestamp(BEGIN + number * STEP)
}

/// The samples of one batch: of lasting series, and one of a series that has no other.
pub fn batch(writer: usize, number: i64) -> Vec<(Labels, Sample)> {
    let sample = |series: i64| {
        let mixed =
            (number * SERIES + series).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let value = match mixed.rem_euclid(11) {
            0 => stale_marker(),
            1 => f64::NAN,
            2 => f64::INFINITY,
            3 => -0.0,
            4..7 => number as f64,
            _ => f64::from_bits(mixed.cast_unsigned() >> 2),
        };
        Sample { timestamp: at(number), value }
    };
    let writer = writer.to_string();
    let labels = |name: &str, id: String| {
        Labels::from_pairs([("__name__", name.to_owned()), ("id", id), ("writer", writer.clone())])
    };
    let lasting = (0..SERIES).map(|id| (labels("lasting", id.to_string()), sample(id)));
    lasting.chain([(labels("passing", number.to_string()), sample(SERIES))]).collect()
}

/// The store, `batches` after its begin.
pub fn open(folder: &Path, batches: i64) -> (Tsdb, Report) {
    Tsdb::open(folder, limits(), at(batches), BlockMetrics::default()).expect("the store opens")
}

/// Appends batches, each writer from its number on, and tells each acknowledged one on standard
/// output as `writer number`, and each refused one as `writer full`; never ends.
pub fn run(folder: &Path, from: &[i64]) {
    let done: Vec<AtomicI64> = from.iter().map(|number| AtomicI64::new(*number)).collect();
    let slowest = || done.iter().map(|one| one.load(Ordering::Relaxed)).min().unwrap_or(0);
    let (store, _) = open(folder, slowest());
    // What the store was last told the time is: long upkeep must not leave the writers an hour ahead.
    let clock = AtomicI64::new(slowest());
    std::thread::scope(|scope| {
        for (writer, own) in done.iter().enumerate() {
            let (store, slowest, clock) = (&store, &slowest, &clock);
            scope.spawn(move || {
                loop {
                    let number = own.load(Ordering::Relaxed);
                    if number > slowest().min(clock.load(Ordering::Relaxed)) + AHEAD {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    let samples = batch(writer, number);
                    let line = match store.append(&samples) {
                        Ok(appended) => {
                            assert_eq!(appended.accepted, samples.len(), "{appended:?}");
                            own.store(number + 1, Ordering::Relaxed);
                            format!("{writer} {number}\n")
                        }
                        Err(_) => {
                            std::thread::sleep(Duration::from_millis(5));
                            format!("{writer} full\n")
                        }
                    };
                    std::io::stdout().write_all(line.as_bytes()).expect("somebody listens");
                }
            });
        }
        loop {
            let now = slowest();
            store.maintain(at(now));
            clock.store(now, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// What a program has told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The number of the next batch of each writer.
    pub next: [i64; WRITERS],
    /// How often one was told that the store takes nothing.
    pub full: usize,
}

impl Told {
    pub fn line(&mut self, line: &str) {
        let (writer, number) = line.split_once(' ').expect("two words");
        match number.parse::<i64>() {
            Ok(number) => self.next[writer.parse::<usize>().expect("a writer")] = number + 1,
            Err(_) => self.full += 1,
        }
    }

    pub fn least(&self) -> i64 {
        self.next.into_iter().min().unwrap_or(0)
    }

    pub fn batches(&self) -> i64 {
        self.next.iter().sum()
    }
}

/// Every acknowledged sample must be there, bit for bit; gives how many they are.
#[track_caller]
pub fn check(store: &Tsdb, next: &[i64]) -> usize {
    let found = store.select(&[], Timestamp(i64::MIN), Timestamp(i64::MAX)).expect("readable");
    let mut have: HashMap<(&Labels, Timestamp), u64> = HashMap::new();
    for series in &found {
        let samples = series.samples.iter();
        have.extend(samples.map(|one| ((&series.labels, one.timestamp), one.value.to_bits())));
    }
    let mut checked = 0;
    for (writer, next) in next.iter().enumerate() {
        for number in 0..*next {
            for (labels, sample) in batch(writer, number) {
                let known = have.get(&(&labels, sample.timestamp)).copied();
                assert_eq!(known, Some(sample.value.to_bits()), "{labels} of batch {number}");
                checked += 1;
            }
        }
    }
    checked
}
