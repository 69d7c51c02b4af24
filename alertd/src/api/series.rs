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
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::querier::Querier;
use crate::model::sample::Timestamp;
use crate::promql;
use crate::promql::syntax::Kind;

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
    /// `None` where the request names neither end.
    between: Option<(Timestamp, Timestamp)>,
}

impl Question {
    fn read(params: &Params) -> Result<Question, ApiError> {
        let selectors = params.all("match[]").map(selector);
        let (start, end) = (params.time("start")?, params.time("end")?);
        let some = start.is_some() || end.is_some();
        let between = some.then(|| (start.unwrap_or(EVER.0), end.unwrap_or(EVER.1)));
        Ok(Question { selectors: selectors.collect::<Result<_, _>>()?, between })
    }

    /// The label sets of all series asked for, each once.
    fn label_sets(&self, store: &dyn Querier) -> Result<BTreeSet<Labels>, ApiError> {
        let (from, to) = self.between.unwrap_or(EVER);
        let mut found = BTreeSet::new();
        for matchers in &self.selectors {
            found.extend(store.select(matchers, from, to)?.into_iter().map(|series| series.labels));
        }
        Ok(found)
    }

    /// `direct` is the store's own answer; it knows no time, which matters only with selectors:
    /// without them Prometheus answers for whole blocks.
    fn texts(
        &self,
        store: &dyn Querier,
        of: impl Fn(&Labels) -> Vec<String>,
        direct: impl Fn(&[Matcher]) -> Result<Vec<String>, crate::model::querier::StoreError>,
    ) -> Result<Vec<String>, ApiError> {
        if self.selectors.is_empty() {
            return Ok(direct(&[])?);
        }
        let mut found = BTreeSet::new();
        if self.between.is_some() {
            found.extend(self.label_sets(store)?.iter().flat_map(of));
        } else {
            for matchers in &self.selectors {
                found.extend(direct(matchers)?);
            }
        }
        Ok(found.into_iter().collect())
    }
}

async fn names(
    State(queries): State<Queries>,
    params: Params,
) -> Result<Json<Success<Vec<String>>>, ApiError> {
    let question = Question::read(&params)?;
    let of = |labels: &Labels| labels.iter().map(|(name, _)| name.to_owned()).collect();
    let found = queries
        .run(None, move |store, _| {
            question.texts(store, of, |matchers| store.label_names(matchers))
        })
        .await?;
    Ok(success(found))
}

async fn values(
    State(queries): State<Queries>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Success<Vec<String>>>, ApiError> {
    let first = name.bytes().next().unwrap_or(b'0');
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first.is_ascii_digit() || !plain {
        return Err(ApiError::BadData(format!("invalid label name: {name:?}")));
    }
    let question = Question::read(&params)?;
    let found = queries
        .run(None, move |store, _| {
            let of = |labels: &Labels| labels.get(&name).map(str::to_owned).into_iter().collect();
            question.texts(store, of, |matchers| store.label_values(&name, matchers))
        })
        .await?;
    Ok(success(found))
}

async fn series(
    State(queries): State<Queries>,
    params: Params,
) -> Result<impl IntoResponse, ApiError> {
    let question = Question::read(&params)?;
    if question.selectors.is_empty() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let found = queries.run(None, move |store, _| question.label_sets(store)).await?;
    Ok(success(found))
}
