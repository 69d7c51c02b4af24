//! `GET /api/v2/alerts` and `/alerts/groups`: what fires, to whom it goes, and what keeps it back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Serialize, Serializer};

use super::filter::{Params, Receivers};
use super::{ApiError, Shared};
use crate::clock;
use crate::model::alert::Annotations;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::sample::Timestamp;
use crate::route::config::Notifications;
use crate::route::silence::Silences;
use crate::route::view::Shown;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    #[serde(serialize_with = "shared")]
    annotations: Annotations,
    ends_at: String,
    fingerprint: String,
    receivers: Vec<Receiver>,
    starts_at: String,
    status: Status,
    updated_at: String,
    #[serde(
        rename = "generatorURL",
        skip_serializing_if = "str::is_empty",
        serialize_with = "shared"
    )]
    generator_url: Arc<str>,
    labels: Labels,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Receiver {
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    inhibited_by: Vec<String>,
    muted_by: Vec<String>,
    silenced_by: Vec<String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Group {
    alerts: Vec<Alert>,
    labels: Labels,
    receiver: Receiver,
}

/// Which alerts are asked for.
struct Wanted {
    active: bool,
    silenced: bool,
    inhibited: bool,
    filters: Vec<Matcher>,
    receivers: Receivers,
}

impl Wanted {
    fn read(params: &Params) -> Result<Wanted, ApiError> {
        Ok(Wanted {
            active: params.flag("active"),
            silenced: params.flag("silenced"),
            inhibited: params.flag("inhibited"),
            filters: params.filters()?,
            receivers: params.receivers()?,
        })
    }

    fn has(&self, status: &Status) -> bool {
        (self.active || status.state != "active")
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_empty())
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    params: Params,
) -> Result<Json<Vec<Alert>>, ApiError> {
    let wanted = Wanted::read(&params)?;
    off_thread(move || {
        let (now, config) = (clock::now(), shared.api.view.config());
        let shown = shared.api.view.alerts(&wanted.filters, now);
        let silences = shared.api.board.silences();
        let found = shown.into_iter().filter_map(|shown| {
            let receivers = receivers(&config, &shown);
            if !receivers.iter().any(|receiver| wanted.receivers.has(&receiver.name)) {
                return None;
            }
            let status = status(&shown, &silences, Vec::new(), now);
            wanted.has(&status).then(|| alert(shown, receivers, status))
        });
        Json(found.collect())
    })
    .await
}

pub(super) async fn groups(
    State(shared): State<Shared>,
    params: Params,
) -> Result<Json<Vec<Group>>, ApiError> {
    let (wanted, muted) = (Wanted::read(&params)?, params.flag("muted"));
    off_thread(move || {
        let (now, config) = (clock::now(), shared.api.view.config());
        let groups = shared.api.view.groups(now);
        let silences = shared.api.board.silences();
        let mut found = Vec::new();
        for group in groups.into_iter().filter(|group| wanted.receivers.has(&group.receiver)) {
            if !(muted || group.muted_by.is_empty()) {
                continue;
            }
            let alerts = group.alerts.into_iter().filter_map(|shown| {
                if !wanted.filters.iter().all(|m| m.matches_labels(&shown.alert.labels)) {
                    return None;
                }
                let receivers = receivers(&config, &shown);
                let status = status(&shown, &silences, group.muted_by.clone(), now);
                wanted.has(&status).then(|| alert(shown, receivers, status))
            });
            let alerts: Vec<Alert> = alerts.collect();
            if !alerts.is_empty() {
                let receiver = Receiver { name: group.receiver };
                found.push(Group { alerts, labels: group.labels, receiver });
            }
        }
        Json(found)
    })
    .await
}

/// Many alerts take a while, which is not the runtime's own threads' to spend.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::Silent(axum::http::StatusCode::INTERNAL_SERVER_ERROR))
}

fn receivers(config: &Notifications, shown: &Shown) -> Vec<Receiver> {
    let routes = shown.routes.iter().filter_map(|at| config.tree.routes.get(*at));
    routes.map(|route| Receiver { name: route.receiver.clone() }).collect()
}

fn status(shown: &Shown, silences: &Silences, muted_by: Vec<String>, now: Timestamp) -> Status {
    let silenced_by = silences.muting(&shown.alert.labels, now);
    let silenced_by: Vec<String> = silenced_by.into_iter().map(str::to_owned).collect();
    let inhibited_by: Vec<String> = shown.inhibited_by.iter().map(ToString::to_string).collect();
    let kept = !(silenced_by.is_empty() && inhibited_by.is_empty() && muted_by.is_empty());
    let state = if kept { "suppressed" } else { "active" };
    Status { inhibited_by, muted_by, silenced_by, state }
}

fn alert(shown: Shown, receivers: Vec<Receiver>, status: Status) -> Alert {
    let alert = &shown.alert;
    Alert {
        annotations: Arc::clone(&alert.annotations),
        ends_at: alert.ends_at.rfc3339(),
        fingerprint: shown.fingerprint.to_string(),
        receivers,
        starts_at: alert.starts_at.rfc3339(),
        status,
        updated_at: shown.updated_at.rfc3339(),
        generator_url: Arc::clone(&alert.generator_url),
        labels: alert.labels.clone(),
    }
}

fn shared<T: Serialize + ?Sized, S: Serializer>(
    value: &Arc<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    (**value).serialize(serializer)
}
