//! `/api/v1/labels`, `/api/v1/label/NAME/values` and `/api/v1/series`.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use super::error::ApiError;
use super::evaluate::Queries;
use super::params::Params;
use super::{Success, success};
use crate::model::matcher::Matcher;
use crate::model::querier::{Querier, StoreError};
use crate::model::sample::Timestamp;
use crate::promql::syntax::Kind;
use crate::promql::{self, Options};

/// Everything: far enough away that sums with a lookback cannot overflow.
const EVER: (Timestamp, Timestamp) = (Timestamp(i64::MIN / 4), Timestamp(i64::MAX / 4));

pub fn routes(queries: Queries) -> Router {
    Router::new()
        .route("/api/v1/labels", get(names).post(names))
        .route("/api/v1/label/{name}/values", get(values))
        .route("/api/v1/series", get(series).post(series))
        .with_state(queries)
}

/// The matchers of a text that is a bare instant selector.
fn selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    let expr = promql::parse(text).map_err(|error| ApiError::query("match[]", error))?;
    match expr.selectors()[..] {
        // Anything around the selector shows in the normal form of the whole.
        [one] if expr.kind() == Kind::Vector && one.to_string() == expr.to_string() => {
            Ok(one.matchers.clone())
        }
        _ => Err(ApiError::parameter(
            "match[]",
            format!("expected a series selector, found {text:?}"),
        )),
    }
}

/// What a request asks about: any of several selectors, within a time.
struct Question {
    selectors: Vec<Vec<Matcher>>,
    between: (Timestamp, Timestamp),
}

impl Question {
    fn read(params: &Params) -> Result<Question, ApiError> {
        let selectors = params.all("match[]").map(selector);
        let (start, end) = (params.time("start")?, params.time("end")?);
        let between = (start.unwrap_or(EVER.0), end.unwrap_or(EVER.1));
        Ok(Question { selectors: selectors.collect::<Result<_, _>>()?, between })
    }

    /// What `ask` finds for any of the selectors; for everything when there is none.
    fn all<T: Ord>(
        &self,
        ask: impl Fn(&[Matcher], Timestamp, Timestamp) -> Result<Vec<T>, StoreError>,
    ) -> Result<BTreeSet<T>, ApiError> {
        let (from, to) = self.between;
        let mut found = BTreeSet::new();
        for matchers in &self.selectors {
            found.extend(ask(matchers, from, to)?);
        }
        if self.selectors.is_empty() {
            found.extend(ask(&[], from, to)?);
        }
        Ok(found)
    }
}

async fn names(
    State(queries): State<Queries>,
    params: Params,
) -> Result<Json<Success<BTreeSet<String>>>, ApiError> {
    let question = Question::read(&params)?;
    let work = move |store: &dyn Querier, _: &Options| {
        question.all(|matchers, from, to| store.label_names(matchers, from, to))
    };
    Ok(success(queries.run(None, work).await?))
}

async fn values(
    State(queries): State<Queries>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Success<BTreeSet<String>>>, ApiError> {
    let first = name.bytes().next().unwrap_or(b'0');
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first.is_ascii_digit() || !plain {
        return Err(ApiError::BadData(format!("invalid label name: {name:?}")));
    }
    let question = Question::read(&params)?;
    let work = move |store: &dyn Querier, _: &Options| {
        question.all(|matchers, from, to| store.label_values(&name, matchers, from, to))
    };
    Ok(success(queries.run(None, work).await?))
}

async fn series(
    State(queries): State<Queries>,
    params: Params,
) -> Result<impl IntoResponse, ApiError> {
    let question = Question::read(&params)?;
    if question.selectors.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let work = move |store: &dyn Querier, _: &Options| {
        question.all(|matchers, from, to| store.series(matchers, from, to))
    };
    Ok(success(queries.run(None, work).await?))
}
