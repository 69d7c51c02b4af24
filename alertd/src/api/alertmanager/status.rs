//! `GET /api/v2/status` and `/receivers`: what runs here, on which configuration.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Shared;
use super::alerts::Receiver;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    cluster: Cluster,
    config: Config,
    uptime: String,
    version_info: Version,
}

/// alertd is one: it keeps what it takes on disk, not with its peers.
#[derive(Debug, Serialize)]
struct Cluster {
    peers: [(); 0],
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct Config {
    original: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    branch: &'static str,
    build_date: &'static str,
    build_user: &'static str,
    go_version: &'static str,
    revision: &'static str,
    version: &'static str,
}

pub(super) async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(Status {
        cluster: Cluster { peers: [], status: "disabled" },
        config: Config { original: shared.api.shown.to_string() },
        // The moment of the start, as Alertmanager gives it.
        uptime: shared.api.started.rfc3339(),
        version_info: Version {
            branch: "",
            build_date: "",
            build_user: "",
            go_version: "",
            revision: "",
            version: env!("CARGO_PKG_VERSION"),
        },
    })
}

pub(super) async fn receivers(State(shared): State<Shared>) -> Json<Vec<Receiver>> {
    let name = |name: &String| Receiver { name: name.clone() };
    Json(shared.api.receivers.iter().map(name).collect())
}
