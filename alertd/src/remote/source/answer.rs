//! Prometheus' JSON to answers and errors. Pure.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

use crate::model::engine::{Answer, Value};
use crate::model::labels::Labels;
use crate::model::querier::StoreError;
use crate::model::sample::{Sample, Series, Timestamp};

#[derive(Deserialize)]
struct Reply<T> {
    status: String,
    data: Option<T>,
    warnings: Option<Vec<String>>,
    infos: Option<Vec<String>>,
    #[serde(rename = "errorType")]
    kind: Option<String>,
    error: Option<String>,
    /// A cluster of VictoriaMetrics says so when a part of it did not answer.
    #[serde(rename = "isPartial", default)]
    partial: bool,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    String((f64, String)),
    Vector(Vec<Element>),
    Matrix(Vec<Element>),
}

#[derive(Deserialize)]
struct Element {
    metric: Metric,
    value: Option<Point>,
    values: Option<Vec<Point>>,
    histogram: Option<IgnoredAny>,
    histograms: Option<IgnoredAny>,
}

/// A label set as a JSON object.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric(pub(super) Labels);

#[derive(Deserialize)]
struct Point(f64, Float);

/// A number as a JSON string.
struct Float(f64);

/// The answer to a query.
pub(super) fn value(body: &[u8]) -> Result<Answer, StoreError> {
    let reply: Reply<Data> = read(body)?;
    let Some(data) = reply.data else { return Err(unexpected("data", "none")) };
    let value = match data {
        Data::Scalar(point) => Value::Scalar(point.sample()),
        Data::String((at, text)) => Value::String(Timestamp::from_seconds(at), text),
        Data::Vector(elements) => {
            let one = |element: Element| match element {
                Element { value: Some(point), metric, histogram: None, .. } => {
                    Ok((metric.0, point.sample()))
                }
                _ => Err(native()),
            };
            Value::Vector(elements.into_iter().map(one).collect::<Result<_, _>>()?)
        }
        Data::Matrix(elements) => {
            let one = |element: Element| match element {
                Element { values: Some(points), metric, histograms: None, .. } => {
                    let samples = points.into_iter().map(Point::sample).collect();
                    Ok(Series { labels: metric.0, samples })
                }
                _ => Err(native()),
            };
            Value::Matrix(elements.into_iter().map(one).collect::<Result<_, _>>()?)
        }
    };
    let [warnings, infos] = [reply.warnings, reply.infos].map(Option::unwrap_or_default);
    Ok(Answer { value, warnings, infos })
}

/// The answer to a question about names, values or series.
pub(super) fn list<T: de::DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, StoreError> {
    let reply: Reply<Vec<T>> = read(body)?;
    Ok(reply.data.unwrap_or_default())
}

/// The error that a body tells of, if it is Prometheus' JSON.
pub(super) fn refusal(body: &[u8]) -> Option<StoreError> {
    let reply: Reply<IgnoredAny> = serde_json::from_slice(body).ok()?;
    (reply.status == "error").then(|| reply.refused())
}

pub(super) fn unexpected(expected: &str, found: impl fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("source: expected {expected}, found {found}"))
}

fn native() -> StoreError {
    StoreError::Execution("native histograms are not supported".to_owned())
}

fn read<T: de::DeserializeOwned>(body: &[u8]) -> Result<Reply<T>, StoreError> {
    let read = serde_json::from_slice::<Reply<T>>(body);
    let reply =
        read.map_err(|error| unexpected("Prometheus' JSON", format!("other text: {error}")))?;
    match reply.status.as_str() {
        // Evaluated without the missing part, an alert would seem to have ended.
        "success" if reply.partial => {
            Err(StoreError::Unavailable("source: a part of it did not answer".to_owned()))
        }
        "success" => Ok(reply),
        _ => Err(reply.refused()),
    }
}

impl<T> Reply<T> {
    fn refused(self) -> StoreError {
        let kind = self.kind.unwrap_or_default();
        let text = self.error.unwrap_or_else(|| "no reason given".to_owned());
        match kind.as_str() {
            "bad_data" | "400" => StoreError::BadData(text),
            "execution" | "422" => StoreError::Execution(text),
            "timeout" | "canceled" => StoreError::TimedOut(text),
            _ => StoreError::Unavailable(format!("source: {kind}: {text}")),
        }
    }
}

impl Point {
    fn sample(self) -> Sample {
        Sample { timestamp: Timestamp::from_seconds(self.0), value: self.1.0 }
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Float, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Float;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number in quotes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Float, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                text.parse().map(Float).map_err(wrong)
            }
        }
        from.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Metric, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Metric;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metric, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                Ok(Metric(Labels::from_pairs(pairs)))
            }
        }
        from.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind() {
        let up = Labels::from_pairs([("__name__", "up")]);
        let at = |millis, value| Sample { timestamp: Timestamp(millis), value };
        for (data, want) in [
            (r#"{"resultType":"scalar","result":[1.5,"1"]}"#, Value::Scalar(at(1500, 1.0))),
            (
                r#"{"resultType":"string","result":[2,"a\""],"stats":{}}"#,
                Value::String(Timestamp(2000), "a\"".into()),
            ),
            (
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1.001,"-Inf"]}]}"#,
                Value::Vector(vec![(up.clone(), at(1001, f64::NEG_INFINITY))]),
            ),
            (
                r#"{"result":[{"metric":{"__name__":"up"},"values":[[1,"1e+21"],[2,"+Inf"]]}],"resultType":"matrix"}"#,
                Value::Matrix(vec![Series {
                    labels: up,
                    samples: vec![at(1000, 1e21), at(2000, f64::INFINITY)],
                }]),
            ),
        ] {
            let body = format!(
                r#"{{"status":"success","isPartial":false,"data":{data},"warnings":["w"],"infos":null}}"#
            );
            let answer = value(body.as_bytes()).unwrap();
            let warnings = vec!["w".to_owned()];
            assert_eq!(answer, Answer { value: want, warnings, infos: vec![] });
        }
        let nan = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}"#;
        assert!(
            matches!(value(nan.as_bytes()).unwrap().value, Value::Scalar(s) if s.value.is_nan())
        );
    }

    #[test]
    fn what_cannot_be_used_is_an_error_of_its_kind() {
        for (body, want) in [
            ("", "Unavailable(\"source: expected Prometheus' JSON, found other text: EOF"),
            ("<html>", "Unavailable(\"source: expected Prometheus' JSON"),
            (r#"{"status":"success","data":{"resultType":"vector","result":[{"met"#, "Unavailable"),
            (r#"{"status":"success"}"#, "Unavailable(\"source: expected data, found none"),
            (
                r#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}"#,
                "Unavailable(\"source: a part of it",
            ),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#,
                "Execution(\"native histograms",
            ),
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"one"]}}"#,
                "Unavailable",
            ),
            (r#"{"status":"error","errorType":"bad_data","error":"e"}"#, "BadData(\"e\")"),
            (r#"{"status":"error","errorType":"execution","error":"e"}"#, "Execution(\"e\")"),
            (r#"{"status":"error","errorType":"422","error":"e"}"#, "Execution(\"e\")"),
            (r#"{"status":"error","errorType":"timeout","error":"e"}"#, "TimedOut(\"e\")"),
            (
                r#"{"status":"error","errorType":"internal","error":"e"}"#,
                "Unavailable(\"source: internal: e",
            ),
        ] {
            let error = format!("{:?}", value(body.as_bytes()).unwrap_err());
            assert!(error.starts_with(want), "{body}: {error}");
            assert_eq!(refusal(body.as_bytes()).is_some(), body.contains("\"error\""), "{body}");
        }
    }

    #[test]
    fn lists() {
        let names: Vec<String> = list(br#"{"status":"success","data":["a","b"]}"#).unwrap();
        assert_eq!(names, ["a", "b"]);
        let none: Vec<String> = list(br#"{"status":"success","data":null}"#).unwrap();
        assert!(none.is_empty());
        let series: Vec<Metric> = list(br#"{"status":"success","data":[{"a":"1"}]}"#).unwrap();
        assert_eq!(series[0].0.to_string(), r#"{a="1"}"#);
    }
}
