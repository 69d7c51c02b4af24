//! `/api/v1/status/…`: what runs here, since when, and on which configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use pitcrew_exporter::config::duration;
use serde::Serialize;

use super::evaluate::QueryConfig;
use super::{Success, success};
use crate::clock;
use crate::model::sample::Timestamp;

/// What these resources show of the program. What a reload changes is of the generation that runs.
#[derive(Clone)]
pub struct About {
    pub started: Timestamp,
    /// The configuration without its secrets.
    pub yaml: String,
    /// By the names that Prometheus has for them.
    pub flags: BTreeMap<&'static str, String>,
    /// As Prometheus writes it: `15d`, or `15d or 10GB`.
    pub retention: String,
    /// Damaged places that were found in the store's files at the start.
    pub corruptions: u64,
    /// Where alerts are posted to, beside this program's own routing.
    pub alertmanagers: Vec<String>,
    /// Asked each time: a reload that fails changes only this.
    pub reloaded: Arc<dyn Fn() -> Reloaded + Send + Sync>,
}

/// How the last attempt to load the configuration went, and when one last went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloaded {
    pub well: bool,
    pub at: Timestamp,
}

pub fn routes(about: About) -> Router {
    Router::new()
        .route("/api/v1/status/buildinfo", get(build))
        .route("/api/v1/status/config", get(config))
        .route("/api/v1/status/flags", get(flags))
        .route("/api/v1/status/runtimeinfo", get(runtime))
        .route("/api/v1/status/walreplay", get(replay))
        .route("/api/v1/alertmanagers", get(alertmanagers))
        .route("/api/v1/notifications", get(notifications))
        .with_state(Arc::new(about))
}

/// The flags that say how queries are bounded.
pub fn query_flags(config: &QueryConfig) -> [(&'static str, String); 5] {
    [
        ("query.lookback-delta", duration::format(config.lookback_delta)),
        ("query.max-concurrency", config.max_concurrency.to_string()),
        ("query.max-samples", config.max_samples.to_string()),
        ("query.max-series", config.max_series.to_string()),
        ("query.timeout", duration::format(config.timeout)),
    ]
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    application: &'static str,
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

/// By which Grafana tells what it talks to.
async fn build() -> Json<Success<BuildInfo>> {
    success(BuildInfo {
        application: "Pitcrew",
        version: env!("CARGO_PKG_VERSION"),
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    })
}

#[derive(Debug, Serialize)]
struct Config {
    yaml: String,
}

async fn config(State(about): State<Arc<About>>) -> Json<Success<Config>> {
    success(Config { yaml: about.yaml.clone() })
}

async fn flags(State(about): State<Arc<About>>) -> Json<Success<BTreeMap<&'static str, String>>> {
    success(about.flags.clone())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    start_time: String,
    #[serde(rename = "CWD")]
    folder: String,
    hostname: String,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: u64,
    /// Tasks, here.
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    processors: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: i64,
    #[serde(rename = "GOGC")]
    gc: &'static str,
    #[serde(rename = "GODEBUG")]
    debug: &'static str,
    storage_retention: String,
}

async fn runtime(State(about): State<Arc<About>>) -> Json<Success<RuntimeInfo>> {
    let folder = std::env::current_dir().unwrap_or_default();
    let reloaded = (about.reloaded)();
    success(RuntimeInfo {
        start_time: about.started.rfc3339(),
        folder: folder.to_string_lossy().into_owned(),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        server_time: clock::now().rfc3339(),
        reload_config_success: reloaded.well,
        last_config_time: reloaded.at.rfc3339(),
        corruption_count: about.corruptions,
        goroutine_count: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        processors: std::thread::available_parallelism().map_or(1, Into::into),
        memory_limit: i64::MAX,
        gc: "",
        debug: "",
        storage_retention: about.retention.clone(),
    })
}

#[derive(Debug, Default, Serialize)]
struct Replay {
    min: u64,
    max: u64,
    current: u64,
}

/// Nothing is answered before the replay is over.
async fn replay() -> Json<Success<Replay>> {
    success(Replay::default())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alertmanagers {
    active_alertmanagers: Vec<Alertmanager>,
    dropped_alertmanagers: [(); 0],
}

#[derive(Debug, Serialize)]
struct Alertmanager {
    url: String,
}

async fn alertmanagers(State(about): State<Arc<About>>) -> Json<Success<Alertmanagers>> {
    let active = about.alertmanagers.iter().map(|url| Alertmanager { url: url.clone() });
    success(Alertmanagers { active_alertmanagers: active.collect(), dropped_alertmanagers: [] })
}

async fn notifications() -> Json<Success<[(); 0]>> {
    success([])
}
