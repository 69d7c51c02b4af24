//! The answer to a query as Prometheus' JSON.

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use crate::model::labels::Labels;
use crate::model::sample::{Sample, Timestamp};
use crate::promql::{Answer, Value};

/// The whole body. Warnings and infos stand in it only when there are any.
pub fn body(answer: &Answer) -> Vec<u8> {
    let whole = Whole {
        status: "success",
        data: Data(&answer.value),
        warnings: &answer.warnings,
        infos: &answer.infos,
    };
    serde_json::to_vec(&whole).expect("plain maps and lists of text always serialize")
}

/// A float as Prometheus' API writes it in vectors and matrices: shortest digits, an exponent of at
/// least two digits below 1e-6 and from 1e21.
pub fn float(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return plain(value);
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
fn plain(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    status: &'static str,
    data: Data<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    infos: &'a [String],
}

struct Data<'a>(&'a Value);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        let mut pair = |kind: &str| map.serialize_entry("resultType", kind);
        match self.0 {
            Value::Scalar(sample) => {
                pair("scalar")?;
                map.serialize_entry("result", &(Time(sample.timestamp), plain(sample.value)))?;
            }
            Value::String(at, text) => {
                pair("string")?;
                map.serialize_entry("result", &(Time(*at), text))?;
            }
            Value::Vector(samples) => {
                pair("vector")?;
                let one = |(metric, sample): &'_ (Labels, Sample)| Instant {
                    metric: metric.clone(),
                    value: Point(*sample),
                };
                map.serialize_entry("result", &samples.iter().map(one).collect::<Vec<_>>())?;
            }
            Value::Matrix(series) => {
                pair("matrix")?;
                let one = |series: &'_ crate::model::sample::Series| Range {
                    metric: series.labels.clone(),
                    values: series.samples.iter().copied().map(Point).collect(),
                };
                map.serialize_entry("result", &series.iter().map(one).collect::<Vec<_>>())?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Instant {
    metric: Labels,
    value: Point,
}

#[derive(Serialize)]
struct Range {
    metric: Labels,
    values: Vec<Point>,
}

struct Point(Sample);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pair = to.serialize_seq(Some(2))?;
        pair.serialize_element(&Time(self.0.timestamp))?;
        pair.serialize_element(&float(self.0.value))?;
        pair.end()
    }
}

/// Seconds, with a fraction only when there is one.
struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.0 % 1000 {
            0 => to.serialize_i64(self.0.0 / 1000),
            _ => to.serialize_f64(self.0.seconds()),
        }
    }
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
        assert_eq!(plain(1e21), "1000000000000000000000");
    }

    #[test]
    fn bodies() {
        let at = |millis, value| Sample { timestamp: Timestamp(millis), value };
        let up = Labels::from_pairs([("__name__", "up")]);
        for (value, want) in [
            (Value::Scalar(at(1500, 1.0)), r#"{"resultType":"scalar","result":[1.5,"1"]}"#),
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
            assert_eq!(String::from_utf8(body(&answer)).unwrap(), want);
        }
    }
}
