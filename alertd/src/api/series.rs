//! `/api/v1/labels`, `/api/v1/label/NAME/values` and `/api/v1/series`.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;

use super::error::{ApiError, Limit};
use super::evaluate::{Queries, Turn};
use super::params::{Cut, EVER, Limited, Params};
use super::success_cut;
use crate::model::matcher::Matcher;
use crate::model::querier::StoreError;
use crate::model::sample::Timestamp;
use crate::promql;
use crate::promql::error::PromqlError;
use crate::promql::syntax::Kind;

/// What the parser, too, says of `{}`.
const ANY_SERIES: &str = "at least one non-empty matcher";

pub fn routes(queries: Queries) -> Router {
    Router::new()
        .route("/api/v1/labels", get(names).post(names))
        .route("/api/v1/label/{name}/values", get(values))
        .route("/api/v1/series", get(series).post(series))
        .with_state(queries)
}

/// The matchers of a text that is a bare instant selector; `parameter` is only for the message.
///
/// # Errors
/// Also when the matchers leave nothing out: all series are more than anybody can mean.
pub(super) fn selector(parameter: &str, text: &str) -> Result<Vec<Matcher>, ApiError> {
    let wrong = |error: PromqlError| {
        let said = error.to_string();
        match said.contains(ANY_SERIES) {
            true => {
                ApiError::parameter(parameter, format!("{parameter} must contain {ANY_SERIES}"))
            }
            false => ApiError::query(parameter, error),
        }
    };
    let expr = promql::parse(text).map_err(wrong)?;
    match expr.selectors()[..] {
        // Anything around the selector shows in the normal form of the whole.
        [one] if expr.kind() == Kind::Vector && one.to_string() == expr.to_string() => {
            Ok(one.matchers.clone())
        }
        _ => Err(ApiError::parameter(
            parameter,
            format!("expected a series selector, found {text:?}"),
        )),
    }
}

/// What a request asks about: any of several selectors, within a time.
struct Question {
    selectors: Vec<Vec<Matcher>>,
    between: (Timestamp, Timestamp),
    cut: Cut,
}

impl Question {
    fn read(params: &Params) -> Result<Question, ApiError> {
        let one = |text| selector("match[]", text);
        let cut = params.limit()?;
        let (start, end) = (params.time("start")?, params.time("end")?);
        let between = (start.unwrap_or(EVER.0), end.unwrap_or(EVER.1));
        let selectors = params.all("match[]").map(one).collect::<Result<_, _>>()?;
        Ok(Question { selectors, between, cut })
    }

    /// What `ask` finds for any of the selectors, sorted; for everything when there is none.
    fn all<T: Ord>(
        &self,
        max: usize,
        ask: impl Fn(&[Matcher], Timestamp, Timestamp) -> Result<Vec<T>, StoreError>,
    ) -> Result<Limited<Vec<T>>, ApiError> {
        let (from, to) = self.between;
        let found = match &self.selectors[..] {
            [] => ask(&[], from, to)?,
            [one] => ask(one, from, to)?,
            several => {
                let mut found = BTreeSet::new();
                for matchers in several {
                    found.extend(ask(matchers, from, to)?);
                }
                found.into_iter().collect()
            }
        };
        let answer = self.cut.apply(found);
        match answer.kept.len() > max {
            true => Err(ApiError::Limit(Limit::Series(max))),
            false => Ok(answer),
        }
    }
}

async fn names(
    State(queries): State<Queries>,
    params: Params,
) -> Result<impl IntoResponse, ApiError> {
    let (question, max) = (Question::read(&params)?, queries.config().max_series);
    let work = move |turn: &Turn<'_>| {
        question.all(max, |matchers, from, to| turn.store.label_names(matchers, from, to))
    };
    Ok(success_cut(queries.run(None, work).await?))
}

async fn values(
    State(queries): State<Queries>,
    Path(name): Path<String>,
    params: Params,
) -> Result<impl IntoResponse, ApiError> {
    let name = unescaped(&name).unwrap_or(name);
    if name.is_empty() {
        return Err(ApiError::BadData("invalid label name: \"\"".to_owned()));
    }
    let (question, max) = (Question::read(&params)?, queries.config().max_series);
    let work = move |turn: &Turn<'_>| {
        question.all(max, |matchers, from, to| turn.store.label_values(&name, matchers, from, to))
    };
    Ok(success_cut(queries.run(None, work).await?))
}

async fn series(
    State(queries): State<Queries>,
    params: Params,
) -> Result<impl IntoResponse, ApiError> {
    let (question, max) = (Question::read(&params)?, queries.config().max_series);
    if question.selectors.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let work = move |turn: &Turn<'_>| {
        question.all(max, |matchers, from, to| turn.store.series(matchers, from, to))
    };
    Ok(success_cut(queries.run(None, work).await?))
}

/// The label name that a URL holds as `U__` with `__` for an underscore and `_2e_` for any other
/// character that a classic name cannot have; `None` when it is not written so.
fn unescaped(text: &str) -> Option<String> {
    /// Hexadecimal digits of a character, at most.
    const DIGITS: usize = 6;
    let mut rest = text.strip_prefix("U__")?;
    let mut name = String::new();
    while let Some((plain, after)) = rest.split_once('_') {
        name.push_str(plain);
        let (code, after) = after.split_once('_')?;
        if code.is_empty() {
            name.push('_');
        } else {
            let hex = code.len() <= DIGITS && code.bytes().all(|byte| byte.is_ascii_hexdigit());
            let code = u32::from_str_radix(code, 16).ok().filter(|_| hex)?;
            name.push(char::from_u32(code)?);
        }
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names() {
        for (text, want) in [
            ("U__http_2e_status__code", Some("http.status_code")),
            ("U__a_1F600_", Some("a😀")),
            ("U__plain", Some("plain")),
            ("U__", Some("")),
            ("U___", None),
            ("U__a_2e", None),
            ("U__a_zz_", None),
            ("U__a_d800_", None),
            ("U__a_+41_", None),
            ("U__a_0000041_", None),
            ("http_status", None),
        ] {
            assert_eq!(unescaped(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn only_selectors_that_leave_something_out() {
        let read = |text: &str| {
            let params = Params(vec![("match[]".to_owned(), text.to_owned())]);
            Question::read(&params).map(|question| question.selectors.len())
        };
        assert_eq!(read("up{a!=\"\"}"), Ok(1));
        for (text, want) in [
            ("{}", "match[] must contain at least one non-empty matcher"),
            ("{a=~\".*\"}", "match[] must contain at least one non-empty matcher"),
            ("up[5m]", "expected a series selector"),
            ("sum(up)", "expected a series selector"),
            ("up offset 1m", "expected a series selector"),
            ("up{", "parse error"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("\"match[]\"") && error.contains(want), "{text}: {error}");
        }
    }
}
