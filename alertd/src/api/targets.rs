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
    /// Always empty: nothing can drop a target yet.
    dropped_targets: Vec<Target>,
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
    let wanted = params.get("state").is_none_or(|state| ["any", "active"].contains(&state));
    let pool = params.get("scrapePool");
    let active = targets.snapshot().into_iter();
    let active = active.filter(|_| wanted).filter(|of| pool.is_none_or(|pool| of.job_name == pool));
    success(List { active_targets: active.map(target).collect(), dropped_targets: Vec::new() })
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
