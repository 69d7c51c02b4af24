//! Parameters of a request, and how Alertmanager reads them.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use regex::Regex;

use super::ApiError;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::pattern::anchored;
use crate::route::matchers;

/// Filters of one request.
const MAX_FILTERS: usize = 100;

pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, ApiError> {
        let read = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = read.map_err(|error| ApiError::Shape {
            status: StatusCode::BAD_REQUEST,
            code: 400,
            message: error.body_text(),
        })?;
        Ok(Params(pairs))
    }
}

/// Which receivers are asked for.
pub(super) struct Receivers {
    name: Option<Regex>,
    matchers: Vec<Matcher>,
}

impl Params {
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// What is not there counts as yes, what is no word for it as no.
    pub(super) fn flag(&self, name: &str) -> bool {
        const YES: [&str; 10] =
            ["1", "true", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"];
        self.get(name).is_none_or(|text| YES.contains(&text.to_ascii_lowercase().as_str()))
    }

    pub(super) fn filters(&self) -> Result<Vec<Matcher>, ApiError> {
        self.matchers("filter")
    }

    fn matchers(&self, name: &str) -> Result<Vec<Matcher>, ApiError> {
        let mut found = Vec::new();
        for text in self.all(name).filter(|text| !text.is_empty()) {
            let wrong = |_| ApiError::bad(format!("bad matcher format: {text}"));
            found.extend(matchers::parse(text).map_err(wrong)?);
        }
        match found.len() > MAX_FILTERS {
            true => Err(ApiError::bad(format!("more than {MAX_FILTERS} matchers"))),
            false => Ok(found),
        }
    }

    pub(super) fn receivers(&self) -> Result<Receivers, ApiError> {
        let wrong = |error| ApiError::bad(format!("failed to parse receiver param: {error}"));
        let name = self.get("receiver").map(anchored).transpose().map_err(wrong)?;
        Ok(Receivers { name, matchers: self.matchers("receiver_matchers")? })
    }
}

impl Receivers {
    /// A receiver has one label, which is its name.
    pub(super) fn has(&self, receiver: &str) -> bool {
        let labels = || Labels::from_pairs([("name", receiver), ("receiver", receiver)]);
        self.name.as_ref().is_none_or(|name| name.is_match(receiver))
            && (self.matchers.is_empty()
                || self.matchers.iter().all(|matcher| matcher.matches_labels(&labels())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn parameters_as_alertmanager_reads_them() {
        for (text, want) in [("true", true), ("1", true), ("false", false), ("x", false)] {
            assert_eq!(params(&[("active", text)]).flag("active"), want, "{text}");
        }
        assert!(params(&[]).flag("active") && params(&[("active", "")]).flag("active"));
        let both = params(&[("filter", "a=b"), ("filter", "c=~d.*")]);
        assert_eq!(both.filters().unwrap().len(), 2);
        let bad = params(&[("filter", "a")]).filters().unwrap_err();
        assert!(format!("{bad:?}").contains("bad matcher format: a"), "{bad:?}");
        for (name, text, want) in [
            ("receiver", "te.*", true),
            ("receiver", "te", false),
            ("receiver", "", true),
            ("receiver_matchers", "name=team", true),
            ("receiver_matchers", "name!=team", false),
        ] {
            let found = params(&[(name, text)]).receivers().unwrap();
            assert_eq!(found.has("team"), want, "{name}={text}");
        }
        assert!(params(&[("receiver", "(")]).receivers().is_err());
    }
}
