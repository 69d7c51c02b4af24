//! `/api/v1/status/tsdb`: what the series in memory are made of.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::error::ApiError;
use super::evaluate::{Queries, Turn};
use super::params::{EVER, Params};
use super::{Success, success};
use crate::clock;
use crate::model::querier::{Querier, StoreError};
use crate::tsdb::Tsdb;
use crate::tsdb::cardinality::count;

/// How far back a series has to have a sample to count.
const RECENT: Duration = Duration::from_secs(2 * 3600);
/// Samples of a full chunk.
const CHUNK: usize = 120;
const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 10_000;

/// `queries` bounds what these answers take; they are about `tsdb`, wherever queries go.
pub fn routes(queries: Queries, tsdb: Arc<Tsdb>) -> Router {
    Router::new().route("/api/v1/status/tsdb", get(show)).with_state((queries, tsdb))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Entry>,
    label_value_count_by_label_name: Vec<Entry>,
    memory_in_bytes_by_label_name: Vec<Entry>,
    series_count_by_label_value_pair: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: usize,
    num_label_pairs: usize,
    chunk_count: usize,
    /// In milliseconds.
    min_time: i64,
    max_time: i64,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    value: u64,
}

async fn show(
    State((queries, tsdb)): State<(Queries, Arc<Tsdb>)>,
    params: Params,
) -> Result<Json<Success<Status>>, ApiError> {
    let limit = match params.get("limit").map(str::parse::<usize>) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit @ 1..=MAX_LIMIT)) => limit,
        Some(Ok(0) | Err(_)) => {
            return Err(ApiError::BadData("limit must be a positive number".to_owned()));
        }
        Some(Ok(_)) => return Err(ApiError::BadData(format!("limit must not exceed {MAX_LIMIT}"))),
    };
    let work = move |_: &Turn<'_>| Ok(status(&*tsdb, limit)?);
    Ok(success(queries.run(None, work).await?))
}

fn status(tsdb: &dyn Querier, limit: usize) -> Result<Status, StoreError> {
    let (mut series, mut chunk_count) = (Vec::new(), 0);
    let (mut min_time, mut max_time) = (i64::MAX, i64::MIN);
    tsdb.visit(&[], clock::now().minus(RECENT), EVER.1, &mut |labels, samples| {
        series.push(labels.clone());
        chunk_count += samples.len().div_ceil(CHUNK);
        let times = samples.first().zip(samples.last());
        if let Some((first, last)) = times {
            min_time = min_time.min(first.timestamp.0);
            max_time = max_time.max(last.timestamp.0);
        }
        ControlFlow::Continue(())
    })?;
    let counted = count(&series, limit);
    let entries = |list: Vec<(String, u64)>| {
        list.into_iter().map(|(name, value)| Entry { name, value }).collect()
    };
    Ok(Status {
        head_stats: HeadStats {
            num_series: counted.series,
            num_label_pairs: counted.label_pairs,
            chunk_count,
            min_time,
            max_time,
        },
        series_count_by_metric_name: entries(counted.series_by_metric_name),
        label_value_count_by_label_name: entries(counted.values_by_label_name),
        memory_in_bytes_by_label_name: entries(counted.bytes_by_label_name),
        series_count_by_label_value_pair: entries(counted.series_by_label_pair),
    })
}
