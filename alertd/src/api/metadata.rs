//! `/api/v1/metadata` and `/api/v1/targets/metadata`: what scraped pages, and for the first one write
//! requests too, say about metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::error::ApiError;
use super::params::Params;
use super::series::selector;
use super::{Success, success};
use crate::model::labels::Labels;
use crate::model::metadata::About;
use crate::remote::metadata::Received;
use crate::scrape::targets::Targets;

pub fn routes(targets: Targets, received: Received) -> Router {
    Router::new()
        .route("/api/v1/metadata", get(by_name))
        .route("/api/v1/targets/metadata", get(by_target))
        .with_state((targets, received))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Said {
    r#type: &'static str,
    help: Box<str>,
    unit: Box<str>,
}

#[derive(Debug, Serialize)]
struct OfTarget {
    target: Labels,
    /// Left out when the request names the metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<Box<str>>,
    #[serde(flatten)]
    said: Said,
}

impl Said {
    fn new(about: &About) -> Said {
        Said { r#type: about.kind.name(), help: about.help.clone(), unit: about.unit.clone() }
    }
}

/// Each metric once, with the different things that targets say about it.
async fn by_name(
    State((targets, received)): State<(Targets, Received)>,
    params: Params,
) -> Result<Json<Success<BTreeMap<Box<str>, BTreeSet<Said>>>>, ApiError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    let each = params.count("limit_per_metric")?.filter(|each| *each > 0).unwrap_or(usize::MAX);
    let wanted = params.get("metric");
    let mut found: BTreeMap<Box<str>, BTreeSet<Said>> = BTreeMap::new();
    let scraped = targets.metadata().into_iter().map(|(_, metadata)| metadata);
    for metadata in scraped.chain([Arc::new(received.metadata())]) {
        for (name, about) in metadata.iter() {
            if wanted.is_some_and(|wanted| wanted != &**name)
                || (found.len() >= limit && !found.contains_key(name))
            {
                continue;
            }
            let said = found.entry(name.clone()).or_default();
            if said.len() < each {
                said.insert(Said::new(about));
            }
        }
    }
    Ok(success(found))
}

async fn by_target(
    State((targets, _)): State<(Targets, Received)>,
    params: Params,
) -> Result<Json<Success<Vec<OfTarget>>>, ApiError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    let matchers = match params.get("match_target") {
        None | Some("{}") => Vec::new(),
        Some(text) => selector("match_target", text)?,
    };
    let wanted = params.get("metric");
    let mut found = Vec::new();
    for (labels, metadata) in targets.metadata() {
        if !matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
            continue;
        }
        let all = metadata.iter();
        let fits = all.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == &***name));
        found.extend(fits.take(limit - found.len()).map(|(name, about)| OfTarget {
            target: labels.clone(),
            metric: wanted.is_none().then(|| name.clone()),
            said: Said::new(about),
        }));
    }
    Ok(success(found))
}
