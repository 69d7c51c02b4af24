//! `/api/v1/status/buildinfo`, by which Grafana tells what it talks to.

use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::{Success, success};

pub fn routes() -> Router {
    Router::new().route("/api/v1/status/buildinfo", get(show))
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

async fn show() -> Json<Success<BuildInfo>> {
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
