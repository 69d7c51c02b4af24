//! The series of the benchmark and what they say at each step, as remote write bodies.
//!
//! 100,000 series in this mixture, or as many as asked for: a fifth counters `m`, a fifth histogram
//! buckets `b`, a tenth noisy gauges `x`, and the rest under 500 names, half of them constant: what
//! a scraped fleet looks like, with the noise of real counters.

/// Series in one remote write body: what Prometheus sends unless told otherwise.
const BODY: usize = 2000;
/// Milliseconds between two samples of a series.
pub(super) const INTERVAL: i64 = 15_000;

pub(super) struct Data {
    series: Vec<One>,
    random: u64,
    raw: Vec<u8>,
}

struct One {
    /// The label pairs as they stand in a `TimeSeries` message.
    labels: Vec<u8>,
    kind: Kind,
    value: f64,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Steps by up to this much.
    Counter(u64),
    Gauge,
    Constant,
}

impl Data {
    /// The mixture, scaled to about `count` series.
    pub(super) fn new(count: usize) -> Data {
        let mut series = Vec::with_capacity(count);
        let (fifth, tenth) = (count / 5, count / 10);
        for at in 0..fifth {
            series.push(One::new("m", at, None, Kind::Counter(100)));
        }
        for at in 0..fifth {
            let le = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];
            let bound = at % le.len();
            // Wider buckets hold all of the narrower ones.
            let step = 10 * (bound as u64 + 1);
            series.push(One::new("b", at / le.len(), Some(("le", le[bound])), Kind::Counter(step)));
        }
        for at in 0..tenth {
            series.push(One::new("x", at, None, Kind::Gauge));
        }
        for at in 0..count - series.len() {
            let kind = match at % 4 {
                0 => Kind::Counter(3),
                1 => Kind::Gauge,
                _ => Kind::Constant,
            };
            series.push(One::new(&format!("filler_{:03}", at % 500), at / 500, None, kind));
        }
        Data { series, random: 42, raw: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// The next samples of every series, at these times, in bodies as a scraper would send them.
    pub(super) fn step(&mut self, times: &[i64], mut send: impl FnMut(Vec<u8>)) {
        let Data { series, random, raw } = self;
        for part in series.chunks_mut(BODY) {
            raw.clear();
            for one in part.iter_mut() {
                let start = raw.len();
                raw.extend_from_slice(&one.labels);
                for time in times {
                    one.advance(random);
                    let sample = sample(one.value, *time);
                    raw.push(0x12);
                    varint(raw, sample.len() as u64);
                    raw.extend_from_slice(&sample);
                }
                let mut head = vec![0x0a];
                varint(&mut head, (raw.len() - start) as u64);
                raw.splice(start..start, head);
            }
            let body = snap::raw::Encoder::new().compress_vec(raw);
            send(body.expect("a body is shorter than 4 GB"));
        }
    }
}

impl One {
    fn new(name: &str, at: usize, extra: Option<(&str, &str)>, kind: Kind) -> One {
        let (job, instance) = (at % 20, at / 20 % 100);
        let mut labels = Vec::new();
        label(&mut labels, "__name__", name);
        label(&mut labels, "id", &format!("{:04}", at / 2000));
        label(&mut labels, "instance", &format!("10.0.{job}.{instance}:9100"));
        label(&mut labels, "job", &format!("job{job}"));
        if let Some((name, value)) = extra {
            label(&mut labels, name, value);
        }
        label(&mut labels, "mode", ["idle", "user", "system", "iowait"][at % 4]);
        One { labels, kind, value: at as f64 }
    }

    fn advance(&mut self, random: &mut u64) {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let dice = *random >> 33;
        match self.kind {
            Kind::Counter(most) => self.value += (dice % (most + 1)) as f64,
            Kind::Gauge => {
                self.value = ((self.value * 100.0).round() + (dice % 201) as f64 - 100.0) / 100.0
            }
            Kind::Constant => {}
        }
    }
}

fn sample(value: f64, time: i64) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0x10);
    varint(&mut out, time.cast_unsigned());
    out
}

fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x0a);
    // Each text here is shorter than 124 bytes, so each length takes one byte.
    varint(out, (name.len() + value.len() + 4) as u64);
    for (tag, text) in [(0x0a, name), (0x12, value)] {
        out.push(tag);
        varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
