//! The series that rules look at: targets with gauges, each in a shard of its targets.

use pitcrew_alertd::model::labels::Labels;
use pitcrew_alertd::model::sample::{Sample, Timestamp};
use pitcrew_alertd::remote::Protocol;
use pitcrew_alertd::remote::encode::Body;
use pitcrew_exporter::clock::unix_seconds;

/// Series of one write request: what Prometheus sends unless told otherwise.
const BODY: usize = 2000;
/// Targets of a shard.
pub(super) const SHARD: usize = 10;
pub(super) const CALM: f64 = 50.0;
pub(super) const ALARM: f64 = 200.0;

pub(super) struct Fleet {
    pub(super) targets: usize,
    pub(super) gauges: usize,
    random: fastrand::Rng,
}

impl Fleet {
    pub(super) fn new(targets: usize, gauges: usize) -> Fleet {
        Fleet { targets, gauges, random: fastrand::Rng::with_seed(42) }
    }

    /// A sample now of every gauge and its counter; the gauges that `alarms` names are above the
    /// threshold.
    pub(super) fn bodies(&mut self, alarms: impl Fn(usize, usize) -> bool) -> Vec<Vec<u8>> {
        let mut samples = Vec::with_capacity(2 * self.targets * self.gauges);
        let at = now();
        for target in 0..self.targets {
            for gauge in 0..self.gauges {
                let count = at.0 as f64 / 100.0 + self.random.f64();
                let counter = labels("counter", gauge, target);
                samples.push((counter, Sample { timestamp: at, value: count.round() }));
                let calm = (CALM + 10.0 * self.random.f64()).round();
                let value = if alarms(gauge, target) { ALARM } else { calm };
                samples.push((labels("gauge", gauge, target), Sample { timestamp: at, value }));
            }
        }
        samples.chunks(BODY).map(body).collect()
    }

    /// The rule of this number: of gauges in a shard, or of the rates of their counters.
    pub(super) fn rule(&self, number: usize) -> String {
        let (gauge, shard) = (number / 2 % self.gauges, number / 2 / self.gauges);
        match number.is_multiple_of(2) {
            true => format!("gauge_{gauge:03}{{shard=\"s{shard}\"}} > 100"),
            false => format!("rate(counter_{gauge:03}{{shard=\"s{shard}\"}}[1m]) > 1e6"),
        }
    }

    /// Rule groups of 25 rules each.
    pub(super) fn rules(&self, count: usize, interval: &str) -> String {
        let mut text = "groups:\n".to_owned();
        for number in 0..count {
            if number.is_multiple_of(25) {
                let group = number / 25;
                text += &format!("- name: g{group}\n  interval: {interval}\n  rules:\n");
            }
            let expression = self.rule(number);
            text += &format!(
                "  - alert: Rule{number:05}\n    expr: '{expression}'\n    labels: {{ severity: warning }}\n    annotations: {{ summary: '{{{{ $labels.instance }}}} has {{{{ $value }}}}' }}\n"
            );
        }
        text
    }
}

pub(super) fn instance(target: usize) -> String {
    format!("10.0.{}.{}:9100", target / 250, target % 250)
}

/// One gauge of one target, now.
pub(super) fn one(gauge: usize, target: usize, value: f64) -> Vec<u8> {
    body(&[(labels("gauge", gauge, target), Sample { timestamp: now(), value })])
}

pub(super) fn now() -> Timestamp {
    Timestamp((unix_seconds() * 1000.0) as i64)
}

/// A write request.
pub(super) fn body(samples: &[(Labels, Sample)]) -> Vec<u8> {
    let mut body = Body::new(Protocol::V1);
    for (labels, sample) in samples {
        body.series(labels.iter(), &[*sample]);
    }
    body.finish()
}

fn labels(kind: &str, number: usize, target: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("{kind}_{number:03}")),
        ("instance", instance(target)),
        ("job", "node".to_owned()),
        ("shard", format!("s{}", target / SHARD)),
    ])
}
