//! Parameters of a request, from the URL and from a posted form, and how Prometheus reads them.

use std::time::Duration;

use axum::Form;
use axum::extract::{FromRequest, Query, Request};
use axum::http::Method;
use pitcrew_exporter::config::duration;

use super::error::ApiError;
use crate::model::sample::Timestamp;

/// Name and value pairs; those of the form stand before those of the URL.
#[derive(Debug, Default)]
pub struct Params(pub Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Params, ApiError> {
        let bad = |what: &str, why: String| ApiError::BadData(format!("cannot read {what}: {why}"));
        let Query(url) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|error| bad("the URL's parameters", error.body_text()))?;
        if *request.method() != Method::POST {
            return Ok(Params(url));
        }
        let Form(mut pairs) = Form::<Vec<(String, String)>>::from_request(request, state)
            .await
            .map_err(|error| bad("the posted form", error.body_text()))?;
        pairs.extend(url);
        Ok(Params(pairs))
    }
}

impl Params {
    /// The first value of that name; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || format!("cannot parse {text:?} to a valid timestamp");
        parse_time(text).map(Some).ok_or_else(|| ApiError::parameter(name, wrong()))
    }

    pub fn needed_time(&self, name: &str) -> Result<Timestamp, ApiError> {
        let wrong = || ApiError::parameter(name, "cannot parse \"\" to a valid timestamp");
        self.time(name)?.ok_or_else(wrong)
    }

    pub fn duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || format!("cannot parse {text:?} to a valid duration");
        parse_duration(text).map(Some).ok_or_else(|| ApiError::parameter(name, wrong()))
    }
}

/// Unix seconds with a fraction, or RFC 3339.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        // Further away than any calendar: the sums of an evaluation must not overflow.
        Ok(seconds) => (seconds.abs() < 1e13).then(|| Timestamp::from_seconds(seconds)),
        Err(_) => Timestamp::parse_rfc3339(text),
    }
}

/// Seconds with a fraction, or `1h30m`; never negative.
pub fn parse_duration(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds < 1e10),
        Err(_) => duration::parse(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations() {
        for (text, want) in [
            ("1577836800.1234", Some(1_577_836_800_123)),
            ("2020-01-01T00:00:00.5Z", Some(1_577_836_800_500)),
            ("-1", Some(-1000)),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("now", None),
        ] {
            assert_eq!(parse_time(text), want.map(Timestamp), "{text}");
        }
        for (text, want) in [
            ("0.5", Some(500)),
            ("1m30s", Some(90_000)),
            ("-1", None),
            ("NaN", None),
            ("1e300", None),
            ("1d5x", None),
        ] {
            assert_eq!(parse_duration(text), want.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_form_wins_and_empty_is_absent() {
        let pairs = [("a", "1"), ("a", "2"), ("b", "")];
        let params = Params(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some("1"), None, None));
        assert_eq!(params.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert!(params.needed_time("b").is_err() && params.time("b").unwrap().is_none());
    }
}
