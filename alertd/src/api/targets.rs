//! `/api/v1/targets`: what is scraped and how that goes.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use pitcrew_exporter::config::duration;
use serde::Serialize;

use super::params::Params;
use super::{Success, success};
use crate::model::labels::Labels;
use crate::model::sample::Timestamp;
use crate::scrape::targets::{Health, TargetStatus, Targets};

pub fn routes(targets: Targets) -> Router {
    Router::new()
        .route("/api/v1/targets", get(list))
        .route("/api/v1/scrape_pools", get(pools))
        .with_state(targets)
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    active_targets: Vec<Target>,
    dropped_targets: Vec<Dropped>,
    /// By job.
    dropped_target_counts: BTreeMap<String, usize>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pools {
    scrape_pools: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dropped {
    discovered_labels: Labels,
    scrape_pool: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    discovered_labels: Labels,
    labels: Labels,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    /// In seconds.
    last_scrape_duration: f64,
    health: Health,
    scrape_interval: String,
    scrape_timeout: String,
}

async fn list(State(targets): State<Targets>, params: Params) -> Json<Success<List>> {
    let state = params.get("state").unwrap_or("any").to_ascii_lowercase();
    let wanted = |kind: &str| kind == state || !["active", "dropped"].contains(&state.as_str());
    let pool = params.get("scrapePool");
    let of_pool = |job: &str| pool.is_none_or(|pool| job == pool);
    let mut list = List::default();
    let active = targets.snapshot().into_iter().filter(|of| of_pool(&of.job_name));
    list.active_targets = active.map(target).collect();
    if wanted("dropped") {
        let jobs = list.active_targets.iter().map(|of| (of.scrape_pool.clone(), 0));
        list.dropped_target_counts = jobs.collect();
        for (job, labels) in targets.dropped().into_iter().filter(|(job, _)| of_pool(job)) {
            *list.dropped_target_counts.entry(job.clone()).or_default() += 1;
            list.dropped_targets.push(Dropped { discovered_labels: labels, scrape_pool: job });
        }
    }
    if !wanted("active") {
        list.active_targets.clear();
    }
    success(list)
}

async fn pools(State(targets): State<Targets>) -> Json<Success<Pools>> {
    let active = targets.snapshot().into_iter().map(|of| of.job_name);
    let dropped = targets.dropped().into_iter().map(|(job, _)| job);
    success(Pools { scrape_pools: active.chain(dropped).collect() })
}

fn target(of: TargetStatus) -> Target {
    // What Go writes for a time that never was.
    let never = || "0001-01-01T00:00:00Z".to_owned();
    Target {
        discovered_labels: of.discovered,
        labels: of.labels,
        scrape_pool: of.job_name,
        global_url: of.url.clone(),
        scrape_url: of.url,
        last_error: of.last.error.unwrap_or_default(),
        last_scrape: of.last.at.map_or_else(never, Timestamp::rfc3339),
        last_scrape_duration: of.last.duration.as_secs_f64(),
        health: of.last.health,
        scrape_interval: duration::format(of.interval),
        scrape_timeout: duration::format(of.timeout),
    }
}
