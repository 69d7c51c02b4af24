//! Random series: counters that restart, gauges with gaps and odd values, good and bad histograms.

use fastrand::Rng;
use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::{Sample, Series, Timestamp, stale_marker};

/// A full two hours, milliseconds.
pub const BEGIN: i64 = 1_735_689_600_000;
/// Samples of a series without gaps.
const COUNT: i64 = 216;
const INTERVAL: i64 = 30_000;
/// Just after the last sample.
pub const END: i64 = BEGIN + COUNT * INTERVAL;

const HOSTS: [(&str, &str); 6] =
    [("api", "a"), ("api", "b"), ("api", "ç"), ("db", "a"), ("db", "10"), ("βατς", "a b")];

struct Maker {
    random: Rng,
    found: Vec<Series>,
}

/// The same series for the same seed. Values are multiples of a power of two and not large, so that
/// sums do not depend on their order.
pub fn random(seed: u64) -> Vec<Series> {
    let mut make = Maker { random: Rng::with_seed(seed), found: Vec::new() };
    for (job, instance) in HOSTS {
        let host = [("job", job), ("instance", instance)];
        make.counters(&host);
        make.gauges(&host);
        make.facts(&host);
        make.buckets(&host);
    }
    for kind in 0..7 {
        make.sick_buckets(kind);
    }
    for (job, instance) in HOSTS {
        make.edges(&[("job", job), ("instance", instance)]);
    }
    make.found
}

impl Maker {
    fn counters(&mut self, host: &[(&str, &str)]) {
        for path in ["/", "/é", "-"] {
            // It starts late, at zero; or early, high. Near zero the versions extrapolate
            // differently.
            let begin = if self.random.u8(..4) == 0 { self.random.i64(20..80) } else { 0 };
            let mut total = if begin > 0 { 0.0 } else { 4096.0 + self.dyadic(4096.0, 4.0) };
            let resets = [self.random.i64(0..COUNT), self.random.i64(0..COUNT)];
            let idle = self.random.i64(0..COUNT);
            let labels = [host, &[("path", path)]].concat();
            let gap = self.gap();
            self.add("hits_total", &labels, |random, at| {
                if (idle..idle + 20).contains(&at) {
                    // Nothing happens for a while.
                } else if resets.contains(&at) {
                    total = 512.0;
                } else {
                    total += f64::from(random.u32(..400)) / 4.0;
                }
                (at >= begin && !gap.contains(&at)).then_some(total)
            });
        }
        for mode in ["idle", "user"] {
            let mut total = 2048.0 + self.dyadic(512.0, 8.0);
            let ends = if self.random.u8(..5) == 0 { self.random.i64(60..COUNT) } else { COUNT };
            // What was scraped and is gone gets a marker; some come back.
            let stale = self.random.i64(40..COUNT);
            let back = stale + self.random.i64(1..30);
            let labels = [host, &[("mode", mode)]].concat();
            self.add("busy_seconds_total", &labels, |random, at| {
                total += f64::from(random.u32(..240)) / 8.0;
                match at {
                    at if at >= ends => None,
                    at if at == stale => Some(stale_marker()),
                    at if at > stale && at < back => None,
                    _ => Some(total),
                }
            });
        }
    }

    fn gauges(&mut self, host: &[(&str, &str)]) {
        for name in ["load", "temp"] {
            let gap = self.gap();
            // So finely spread that no two values are equal: which of equals `topk` takes is
            // left open.
            self.add(name, host, |random, at| {
                let value = (f64::from(random.u32(..1 << 27)) - f64::from(1 << 25)) / 1024.0;
                (!gap.contains(&at)).then_some(value)
            });
        }
        for kind in ["nan", "inf", "few"] {
            self.add("odd", &[host, &[("kind", kind)]].concat(), |random, _| {
                let value = f64::from(random.i32(-20..20)) / 4.0;
                match (kind, random.u8(..20)) {
                    (_, 0) => None,
                    ("nan", 1..=4) => Some(f64::NAN),
                    ("inf", 1..=2) => Some(f64::INFINITY),
                    ("inf", 3..=4) => Some(f64::NEG_INFINITY),
                    ("few", 1..=15) => Some(value.signum()),
                    (_, 6) => Some(stale_marker()),
                    _ => Some(value),
                }
            });
        }
    }

    /// The ends of what a number can be.
    fn edges(&mut self, host: &[(&str, &str)]) {
        const EDGES: &[f64] = &[
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            -1e-320,
            1e300,
            -1e21,
            1e20,
            123_456_789_012_345_680.0,
            9_007_199_254_740_993.0,
            0.1 + 0.2,
            -1.5e-7,
            1e-5,
            0.5,
            -2.5,
            std::f64::consts::FRAC_PI_2,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for kind in ["any", "calm"] {
            let among = if kind == "calm" { 18 } else { EDGES.len() };
            self.add("edge", &[host, &[("kind", kind)]].concat(), |random, _| {
                match random.u8(..24) {
                    0 => None,
                    1 => Some(stale_marker()),
                    _ => Some(EDGES[random.usize(..among)]),
                }
            });
        }
    }

    fn facts(&mut self, host: &[(&str, &str)]) {
        let gap = self.gap();
        self.add("up", host, |random, at| {
            (!gap.contains(&at)).then(|| f64::from(u8::from(random.u8(..5) > 0)))
        });
        let notes = ["", " ", "0", "ünïcödé ✓", "a,b\"c\\d", "aXc"];
        let note = notes[self.random.usize(..notes.len())];
        let version = ["1.9", "1.10", "2"][self.random.usize(..3)];
        let labels = [host, &[("version", version), ("note", note)]].concat();
        self.add("meta", &labels, |_, _| Some(1.0));
    }

    fn buckets(&mut self, host: &[(&str, &str)]) {
        let bounds = ["0.1", "0.5", "1.0", "2.5", "10", "+Inf"];
        let mut counts = [0.0; 6];
        let phase = self.phase();
        let mut made: Vec<Vec<Sample>> = vec![Vec::new(); bounds.len()];
        for at in 0..COUNT {
            for _ in 0..self.random.u32(..30) {
                let bucket = self.random.usize(..bounds.len());
                counts.iter_mut().skip(bucket).for_each(|count| *count += 1.0);
            }
            let timestamp = Timestamp(BEGIN + at * INTERVAL + phase);
            for (samples, count) in made.iter_mut().zip(counts) {
                // Away from zero, where the versions extrapolate differently.
                samples.push(Sample { timestamp, value: count + 8192.0 });
            }
        }
        for (bound, samples) in bounds.into_iter().zip(made) {
            let pairs = host.iter().copied().chain([("le", bound), ("__name__", "took_bucket")]);
            self.found.push(Series { labels: Labels::from_pairs(pairs), samples });
        }
    }

    /// What a broken client may send in place of buckets.
    fn sick_buckets(&mut self, kind: usize) {
        let (kind, bounds): (&str, &[(&str, f64)]) = [
            ("no inf", &[("1", 3.0), ("2", 5.0)][..]),
            ("falls", &[("1", 9.0), ("2", 5.0), ("3", 7.0), ("+Inf", 8.0)]),
            ("twice", &[("1", 2.0), ("1.0", 3.0), ("2", 6.0), ("+Inf", 9.0)]),
            ("words", &[("1", 2.0), ("much", 3.0), ("", 4.0), ("+Inf", 9.0)]),
            ("only inf", &[("+Inf", 9.0)]),
            ("below zero", &[("-2", 1.0), ("-1", 2.0), ("0", 3.0), ("1", 5.0), ("+Inf", 6.0)]),
            ("nothing", &[("1", 0.0), ("2", 0.0), ("+Inf", 0.0)]),
        ][kind];
        for (bound, count) in bounds {
            let labels = [("job", "api"), ("kind", kind), ("le", bound)];
            self.add("sick_bucket", &labels, |random, at| {
                (random.u8(..30) > 0).then_some(count * (at + 1) as f64)
            });
        }
    }

    /// A few samples that are missing, seldom for longer than lookback.
    fn gap(&mut self) -> std::ops::Range<i64> {
        let begin = self.random.i64(0..COUNT * 2);
        begin..begin + self.random.i64(1..30)
    }

    fn dyadic(&mut self, below: f64, parts: f64) -> f64 {
        (self.random.f64() * below * parts).floor() / parts
    }

    /// Milliseconds past a whole second, neither none nor half a second.
    fn phase(&mut self) -> i64 {
        1 + 2 * self.random.i64(0..240)
    }

    fn add(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        mut value: impl FnMut(&mut Rng, i64) -> Option<f64>,
    ) {
        let pairs = labels.iter().copied().chain([("__name__", name)]);
        let phase = self.phase();
        let mut samples = Vec::new();
        for at in 0..COUNT {
            let late = 1000 * self.random.i64(0..5);
            if let Some(value) = value(&mut self.random, at) {
                let timestamp = Timestamp(BEGIN + at * INTERVAL + late + phase);
                samples.push(Sample { timestamp, value });
            }
        }
        self.found.push(Series { labels: Labels::from_pairs(pairs), samples });
    }
}
