//! `/api/v1/targets`: what is scraped and how that goes.

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
    Router::new().route("/api/v1/targets", get(list)).with_state(targets)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    active_targets: Vec<Target>,
    dropped_targets: Vec<Dropped>,
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
    let wanted = |kind| params.get("state").is_none_or(|state| ["any", kind].contains(&state));
    let pool = params.get("scrapePool");
    let of_pool = |job: &str| pool.is_none_or(|pool| job == pool);
    let mut list = List { active_targets: Vec::new(), dropped_targets: Vec::new() };
    if wanted("active") {
        let active = targets.snapshot().into_iter().filter(|of| of_pool(&of.job_name));
        list.active_targets = active.map(target).collect();
    }
    if wanted("dropped") {
        let dropped = targets.dropped().into_iter().filter(|(job, _)| of_pool(job));
        let shown =
            dropped.map(|(job, labels)| Dropped { discovered_labels: labels, scrape_pool: job });
        list.dropped_targets = shown.collect();
    }
    success(list)
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
