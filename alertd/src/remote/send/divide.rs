//! Records of the queue to pieces for shards. Pure but for the reading.

use std::io;
use std::time::Duration;

use tracing::error;

use super::super::config::RemoteWriteConfig;
use super::super::queue::{Place, Queue, Record};
use super::super::receive;
use crate::model::labels::Labels;
use crate::model::sample::{Sample, Timestamp};
use crate::relabel::{self, Rule};

/// What is done to samples between the queue and the shards.
pub(super) struct Divider {
    external_labels: Labels,
    rules: Vec<Rule>,
    /// Zero for no limit.
    age_limit: Duration,
    most: usize,
}

/// One record, cut up.
#[derive(Debug, PartialEq)]
pub(super) struct Loaded {
    pub(super) end: Place,
    /// Of the record, for the queue's count.
    pub(super) samples: u32,
    pub(super) parts: Vec<Part>,
    pub(super) dropped: Vec<(&'static str, usize)>,
}

/// What one request may hold at most, of one shard's series.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    pub(super) shard: usize,
    pub(super) samples: Vec<(Labels, Sample)>,
}

impl Divider {
    pub(super) fn new(config: &RemoteWriteConfig, external_labels: Labels) -> Divider {
        Divider {
            external_labels,
            rules: config.write_relabel_configs.clone(),
            age_limit: config.queue_config.sample_age_limit,
            most: config.queue_config.max_samples_per_send,
        }
    }

    /// About `most` bytes of records behind `from`; none when there are none.
    pub(super) fn load(
        &self,
        queue: &Queue,
        from: Place,
        most: usize,
        shards: usize,
        now: Timestamp,
    ) -> io::Result<Vec<Loaded>> {
        let records = queue.read(from, most)?;
        Ok(records.into_iter().map(|record| self.divide(&record, shards, now)).collect())
    }

    /// The same record gives the same parts, whenever it is divided among as many shards.
    fn divide(&self, record: &Record, shards: usize, now: Timestamp) -> Loaded {
        let (mut old, mut broken, mut unwanted) = (0, 0, 0);
        let samples = receive::samples(&record.payload).unwrap_or_else(|| {
            error!("a part of the queue cannot be read, its samples are gone");
            broken = (record.samples as usize).max(1);
            Vec::new()
        });
        let oldest = match self.age_limit.is_zero() {
            true => Timestamp(i64::MIN),
            false => now.minus(self.age_limit),
        };
        let mut open: Vec<Vec<(Labels, Sample)>> = vec![Vec::new(); shards];
        let mut parts = Vec::new();
        for (labels, sample) in samples {
            if sample.timestamp < oldest {
                old += 1;
                continue;
            }
            let labels = match self.external_labels.is_empty() {
                true => labels,
                false => self.external_labels.overlaid(&labels),
            };
            let Some(labels) = relabel::apply(&self.rules, &labels) else {
                unwanted += 1;
                continue;
            };
            let shard = (labels.fingerprint().0 % shards as u64) as usize;
            let Some(samples) = open.get_mut(shard) else { continue };
            samples.push((labels, sample));
            if samples.len() == self.most {
                parts.push(Part { shard, samples: std::mem::take(samples) });
            }
        }
        let rest = open.into_iter().enumerate().filter(|(_, samples)| !samples.is_empty());
        parts.extend(rest.map(|(shard, samples)| Part { shard, samples }));
        let dropped = vec![("too_old", old), ("broken", broken), ("relabelled", unwanted)];
        Loaded { end: record.end, samples: record.samples, parts, dropped }
    }
}

#[cfg(test)]
mod tests {
    use pitcrew_exporter::config::yaml;

    use super::*;
    use crate::remote::{Protocol, encode};

    fn divider(text: &str) -> Divider {
        let config = yaml::parse(std::path::Path::new("f"), text).unwrap();
        Divider::new(&config, Labels::from_pairs([("site", "a"), ("own", "theirs")]))
    }

    fn record(count: i64) -> Record {
        let labels =
            |n| Labels::from_pairs([("__name__", format!("m{}", n % 7)), ("own", "x".into())]);
        let sample = |n| Sample { timestamp: Timestamp(n), value: n as f64 };
        let samples: Vec<_> = (0..count).map(|n| (labels(n), sample(n))).collect();
        let payload = encode::samples(Protocol::V1, &samples);
        Record { samples: count as u32, payload, end: Place::default() }
    }

    #[test]
    fn parts_hold_all_in_order_and_are_always_the_same() {
        let divider = divider("{ url: 'http://a', queue_config: { max_samples_per_send: 10 } }");
        let record = record(100);
        for shards in [1, 2, 5] {
            let loaded = divider.divide(&record, shards, Timestamp(0));
            assert_eq!(loaded, divider.divide(&record, shards, Timestamp(0)));
            let mut seen = 0;
            for name in 0..7 {
                let of = |part: &Part| {
                    let samples = part.samples.iter();
                    let named = samples
                        .filter(|(labels, _)| labels.metric_name() == Some(&format!("m{name}")));
                    named.map(|(_, sample)| (part.shard, sample.timestamp.0)).collect::<Vec<_>>()
                };
                let found: Vec<_> = loaded.parts.iter().flat_map(of).collect();
                assert!(found.iter().all(|(shard, _)| *shard == found[0].0), "{found:?}");
                assert!(found.is_sorted(), "{found:?}");
                seen += found.len();
            }
            assert_eq!(seen, 100);
            let sizes = loaded.parts.iter().map(|part| part.samples.len());
            assert!(sizes.max() <= Some(10));
            let (labels, _) = &loaded.parts[0].samples[0];
            assert_eq!((labels.get("site"), labels.get("own")), (Some("a"), Some("x")));
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let divider = divider("{ url: 'http://a', queue_config: { sample_age_limit: 10s } }");
        let loaded = divider.divide(&record(100), 1, Timestamp(10_050));
        assert_eq!(loaded.dropped, [("too_old", 50), ("broken", 0), ("relabelled", 0)]);
        assert_eq!(loaded.parts[0].samples.len(), 50);
        let broken = Record { payload: b"hello".to_vec(), ..record(3) };
        let loaded = divider.divide(&broken, 1, Timestamp(0));
        assert_eq!(loaded.dropped, [("too_old", 0), ("broken", 3), ("relabelled", 0)]);
        assert_eq!(loaded.parts, []);

        let divider = self::divider(
            "{ url: 'http://a', write_relabel_configs: [
               { source_labels: [site, __name__], regex: a;m1, action: drop },
               { regex: own, action: labeldrop } ] }",
        );
        let loaded = divider.divide(&record(70), 1, Timestamp(0));
        assert_eq!(loaded.dropped, [("too_old", 0), ("broken", 0), ("relabelled", 10)]);
        let named = |name: &str| Labels::from_pairs([("__name__", name), ("site", "a")]);
        let samples = &loaded.parts[0].samples;
        assert_eq!((samples.len(), &samples[1].0), (60, &named("m2")));
    }
}
