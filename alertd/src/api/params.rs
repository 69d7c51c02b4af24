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

    /// A time that may be absent.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || format!("Invalid time value for '{name}': {}", no_timestamp(text));
        parse_time(text).map(Some).ok_or_else(|| ApiError::parameter(name, wrong()))
    }

    pub fn needed_time(&self, name: &str) -> Result<Timestamp, ApiError> {
        let text = self.get(name).unwrap_or("");
        parse_time(text).ok_or_else(|| ApiError::parameter(name, no_timestamp(text)))
    }

    pub fn duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || format!("cannot parse {text:?} to a valid duration");
        parse_duration(text).map(Some).ok_or_else(|| ApiError::parameter(name, wrong()))
    }

    /// How many entries an answer may have; 0 or nothing for all of them.
    pub fn limit(&self) -> Result<Cut, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(Cut(usize::MAX)) };
        match text.parse::<i64>() {
            Ok(0) => Ok(Cut(usize::MAX)),
            Ok(limit) => usize::try_from(limit)
                .map(Cut)
                .map_err(|_| ApiError::parameter("limit", "limit must be non-negative")),
            Err(_) => {
                let why = format!("cannot parse {text:?} to a valid number");
                Err(ApiError::parameter("limit", why))
            }
        }
    }

    /// As `limit`, for the resources where Prometheus takes any whole number and says less.
    pub fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(count) => Ok(usize::try_from(count).ok()),
            Err(_) => Err(ApiError::BadData(format!("{name} must be a number"))),
        }
    }

    /// `true` or `false`; absent is false.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                let why = format!("expected true or false, found {other:?}");
                Err(ApiError::parameter(name, why))
            }
        }
    }
}

/// What Prometheus says where a limit cut an answer short.
pub const CUT: &str = "results truncated due to limit";

/// How many entries of an answer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut(pub usize);

/// An answer, and whether it is all there is.
#[derive(Debug)]
pub struct Limited<T> {
    pub kept: T,
    pub cut: bool,
}

impl Cut {
    pub fn apply<T>(self, mut list: Vec<T>) -> Limited<Vec<T>> {
        let cut = list.len() > self.0;
        list.truncate(self.0);
        Limited { kept: list, cut }
    }
}

fn no_timestamp(text: &str) -> String {
    format!("cannot parse {text:?} to a valid timestamp")
}

/// Far enough away for everything; sums with a lookback cannot overflow.
pub const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN / 4), Timestamp(i64::MAX / 4));

/// The ends of time as Prometheus' own client writes them.
const ENDS: [(&str, Timestamp); 2] =
    [("-292273086-05-16T16:47:06Z", EVER.0), ("292277025-08-18T07:12:54.999999999Z", EVER.1)];

/// Unix seconds with a fraction, or RFC 3339.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        // Further away than any calendar: the sums of an evaluation must not overflow.
        Ok(seconds) => (seconds.abs() < 1e13).then(|| Timestamp::from_seconds(seconds)),
        Err(_) => match ENDS.iter().find(|(end, _)| *end == text) {
            Some((_, at)) => Some(*at),
            None => Timestamp::parse_rfc3339(text),
        },
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
            ("-292273086-05-16T16:47:06Z", Some(EVER.0.0)),
            ("292277025-08-18T07:12:54.999999999Z", Some(EVER.1.0)),
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
    fn limits() {
        let params = |value: &str| Params(vec![("limit".to_owned(), value.to_owned())]);
        for (text, want) in [("", usize::MAX), ("0", usize::MAX), ("2", 2)] {
            assert_eq!(params(text).limit().unwrap(), Cut(want), "{text}");
        }
        for (text, want) in [("-1", "limit must be non-negative"), ("x", "\"limit\": cannot parse")]
        {
            let error = params(text).limit().unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        assert_eq!(params("-1").count("limit").unwrap(), None);
        assert!(params("x").count("limit").is_err());
        let Limited { kept, cut } = Cut(2).apply(vec![1, 2, 3]);
        assert_eq!((kept, cut), (vec![1, 2], true));
        assert!(!Cut(3).apply(vec![1, 2, 3]).cut);
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
