//! The answer to a query as Prometheus' JSON, written straight into the body.

use std::io::Write;

use serde::Serialize;

use crate::model::float::shortest;
use crate::model::labels::Labels;
use crate::model::sample::{Sample, Timestamp};
use crate::promql::{Answer, Value};

/// What the answer cost; present where `stats` is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    pub timings: Timings,
    pub samples: Samples,
}

/// All in seconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    pub eval_total_time: f64,
    pub result_sort_time: f64,
    pub query_preparation_time: f64,
    pub inner_eval_time: f64,
    pub exec_queue_time: f64,
    pub exec_total_time: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// Samples that the selectors found, each counted at every step that used it.
    pub total_queryable_samples: u64,
    /// Samples that were loaded or made.
    pub peak_samples: u64,
}

/// The whole body. Statistics, warnings and infos stand in it only when there are any.
pub fn body(answer: &Answer, stats: Option<&Stats>) -> Vec<u8> {
    let mut out = br#"{"status":"success","data":{"resultType":""#.to_vec();
    match &answer.value {
        Value::Scalar(sample) => {
            out.extend(br#"scalar","result":["#);
            time(&mut out, sample.timestamp);
            text(&mut out, format_args!(",\"{}\"]", Plain(sample.value)));
        }
        Value::String(at, string) => {
            out.extend(br#"string","result":["#);
            time(&mut out, *at);
            out.push(b',');
            json(&mut out, string);
            out.push(b']');
        }
        Value::Vector(samples) => {
            out.extend(br#"vector","result":["#);
            for (at, (labels, sample)) in samples.iter().enumerate() {
                metric(&mut out, at, labels);
                out.extend(br#","value":"#);
                point(&mut out, *sample);
                out.push(b'}');
            }
            out.push(b']');
        }
        Value::Matrix(series) => {
            out.extend(br#"matrix","result":["#);
            for (at, series) in series.iter().enumerate() {
                metric(&mut out, at, &series.labels);
                out.extend(br#","values":["#);
                for (at, sample) in series.samples.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    point(&mut out, *sample);
                }
                out.extend(b"]}");
            }
            out.push(b']');
        }
    }
    if let Some(stats) = stats {
        out.extend(br#","stats":"#);
        json(&mut out, stats);
    }
    out.push(b'}');
    for (name, notes) in [("warnings", &answer.warnings), ("infos", &answer.infos)] {
        if !notes.is_empty() {
            text(&mut out, format_args!(",\"{name}\":"));
            json(&mut out, notes);
        }
    }
    out.push(b'}');
    out
}

/// A float as Prometheus' API writes it in vectors and matrices: shortest digits, an exponent of at
/// least two digits below 1e-6 and from 1e21.
pub fn float(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return Plain(value).to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// The same without exponents, as scalars have it.
struct Plain(f64);

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => f.write_str(&shortest(value)),
        }
    }
}

/// The start of the element number `at`, up to its labels.
fn metric(out: &mut Vec<u8>, at: usize, labels: &Labels) {
    out.extend(if at == 0 { &br#"{"metric":"#[..] } else { br#",{"metric":"# });
    json(out, labels);
}

fn point(out: &mut Vec<u8>, sample: Sample) {
    out.push(b'[');
    time(out, sample.timestamp);
    let size = sample.value.abs();
    match size == 0.0 || (1e-6..1e21).contains(&size) {
        true => text(out, format_args!(",\"{}\"]", sample.value)),
        false => text(out, format_args!(",\"{}\"]", float(sample.value))),
    }
}

/// Seconds, with three digits of a fraction when there is one.
fn time(out: &mut Vec<u8>, Timestamp(millis): Timestamp) {
    let (size, sign) = (millis.unsigned_abs(), if millis < 0 { "-" } else { "" });
    match size % 1000 {
        0 => text(out, format_args!("{sign}{}", size / 1000)),
        fraction => text(out, format_args!("{sign}{}.{fraction:03}", size / 1000)),
    }
}

fn text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every write");
}

fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("plain maps and lists of text always serialize");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_prometheus_writes_them() {
        // Taken from a Prometheus 2.42's answers to `vector(…)`.
        for (value, want) in [
            (1e6, "1000000"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e22, "1.5e+22"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (1.5e-10, "1.5e-10"),
            (1e100, "1e+100"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(float(value), want);
        }
        assert_eq!(Plain(1e21).to_string(), "1000000000000000000000");
    }

    #[test]
    fn bodies() {
        let at = |millis, value| Sample { timestamp: Timestamp(millis), value };
        let up = Labels::from_pairs([("__name__", "up")]);
        for (value, want) in [
            (Value::Scalar(at(1500, 1.0)), r#"{"resultType":"scalar","result":[1.500,"1"]}"#),
            (
                Value::String(Timestamp(2000), "a\"".into()),
                r#"{"resultType":"string","result":[2,"a\""]}"#,
            ),
            (
                Value::Vector(vec![(up.clone(), at(1000, 1e21))]),
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1,"1e+21"]}]}"#,
            ),
            (
                Value::Matrix(vec![crate::model::sample::Series {
                    labels: up,
                    samples: vec![at(1, 2.0)],
                }]),
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[0.001,"2"]]}]}"#,
            ),
        ] {
            let answer = Answer { value, warnings: vec![], infos: vec!["i".into()] };
            let want = format!(r#"{{"status":"success","data":{want},"infos":["i"]}}"#);
            assert_eq!(String::from_utf8(body(&answer, None)).unwrap(), want);
        }
    }

    #[test]
    fn times() {
        for (millis, want) in
            [(0, "0"), (1, "0.001"), (-1, "-0.001"), (1_735_689_600_120, "1735689600.120")]
        {
            let mut out = Vec::new();
            time(&mut out, Timestamp(millis));
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn statistics_stand_beside_the_result() {
        let value = Value::Vector(Vec::new());
        let answer = Answer { value, warnings: vec!["w".into()], infos: vec![] };
        let stats = Stats {
            timings: Timings {
                eval_total_time: 0.5,
                result_sort_time: 0.0,
                query_preparation_time: 0.0,
                inner_eval_time: 0.5,
                exec_queue_time: 0.0,
                exec_total_time: 0.5,
            },
            samples: Samples { total_queryable_samples: 3, peak_samples: 4 },
        };
        let body: serde_json::Value = serde_json::from_slice(&body(&answer, Some(&stats))).unwrap();
        assert_eq!(body["data"]["stats"]["samples"]["totalQueryableSamples"], 3);
        assert_eq!(body["data"]["stats"]["timings"]["evalTotalTime"], 0.5);
        assert_eq!(
            (&body["data"]["result"], &body["warnings"][0]),
            (&serde_json::json!([]), &"w".into())
        );
    }
}
