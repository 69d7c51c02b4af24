//! Silences: listed, made, changed and ended.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use pitcrew_exporter::server::gate::Caller;
use serde::{Deserialize, Serialize};

use super::filter::Params;
use super::intake::time_of;
use super::{ApiError, Shared};
use crate::api::operator::{NotAllowed, may_change};
use crate::clock;
use crate::model::sample::Timestamp;
use crate::route::silence::{Condition, Silence, State as Phase};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    id: String,
    status: Status,
    updated_at: String,
    comment: String,
    created_by: String,
    ends_at: String,
    matchers: Vec<Condition>,
    starts_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_in: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ends_with_alert: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    state: Phase,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wished {
    id: Option<String>,
    matchers: Option<Vec<WishedCondition>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    ends_with_alert: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WishedCondition {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    #[serde(rename = "silenceID")]
    id: String,
}

impl From<NotAllowed> for ApiError {
    fn from(refusal: NotAllowed) -> ApiError {
        let (status, text) = refusal.answer();
        ApiError::Text(status, text.to_owned())
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    params: Params,
) -> Result<Json<Vec<Shown>>, ApiError> {
    let filters: Vec<Condition> = params.filters()?.iter().map(Condition::new).collect();
    let now = clock::now();
    let mut found: Vec<Arc<Silence>> = {
        let silences = shared.api.board.silences();
        let wanted = |one: &&Arc<Silence>| filters.iter().all(|f| one.matchers.contains(f));
        silences.iter().filter(wanted).map(Arc::clone).collect()
    };
    found.sort_by_cached_key(|one| order(one, now));
    Ok(Json(found.iter().map(|one| shown(one, now)).collect()))
}

/// Active ones by their end, pending ones by their begin, expired ones by their end, newest first.
fn order(silence: &Silence, now: Timestamp) -> (Phase, Timestamp, Reverse<Timestamp>, String) {
    let phase = silence.state(now);
    let (first, last) = match phase {
        Phase::Active => (silence.ends_at, Timestamp(0)),
        Phase::Pending => (silence.starts_at, Timestamp(0)),
        Phase::Expired => (Timestamp(0), silence.ends_at),
    };
    (phase, first, Reverse(last), silence.id.clone())
}

pub(super) async fn one(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    let id = uuid(&id)?;
    let found = shared.api.board.silences().get(&id).map(Arc::clone);
    let found = found.ok_or(ApiError::Silent(StatusCode::NOT_FOUND))?;
    Ok(Json(shown(&found, clock::now())))
}

pub(super) async fn set(
    State(shared): State<Shared>,
    caller: Option<Extension<Caller>>,
    body: String,
) -> Result<Json<Made>, ApiError> {
    let who = may_change(caller.as_deref(), shared.api.doors.change_silences)?;
    let now = clock::now();
    let wanted = Silence { signed_in: who, ..read(&body, now)? };
    if wanted.ends_at <= wanted.starts_at {
        let text = "Failed to create silence: start time must be before end time";
        return Err(ApiError::bad(text));
    }
    if wanted.ends_at < now {
        return Err(ApiError::bad("Failed to create silence: end time can't be in the past"));
    }
    Ok(Json(Made { id: shared.api.board.silence(wanted).await? }))
}

pub(super) async fn expire(
    State(shared): State<Shared>,
    caller: Option<Extension<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let who = may_change(caller.as_deref(), shared.api.doors.change_silences)?;
    let id = uuid(&id)?;
    shared.api.board.expire(&id, who.as_deref().unwrap_or("anonymous")).await?;
    Ok(StatusCode::OK)
}

fn read(body: &str, now: Timestamp) -> Result<Silence, ApiError> {
    let wished: Wished =
        serde_json::from_str(body).map_err(|error| ApiError::unreadable("silence", &error))?;
    let missing = |name: &str| ApiError::missing(format!("{name} in body is required"));
    let matchers = wished.matchers.ok_or_else(|| missing("matchers"))?;
    if matchers.is_empty() {
        let text = "matchers in body should have at least 1 items".to_owned();
        return Err(ApiError::missing(text));
    }
    let mut conditions = Vec::with_capacity(matchers.len());
    for (at, matcher) in matchers.into_iter().enumerate() {
        let missing = |name: &str| missing(&format!("matchers.{at}.{name}"));
        conditions.push(Condition {
            name: matcher.name.ok_or_else(|| missing("name"))?,
            value: matcher.value.ok_or_else(|| missing("value"))?,
            is_regex: matcher.is_regex.ok_or_else(|| missing("isRegex"))?,
            is_equal: matcher.is_equal.unwrap_or(true),
        });
    }
    let starts_at = wished.starts_at.ok_or_else(|| missing("startsAt"))?;
    let ends_at = wished.ends_at.ok_or_else(|| missing("endsAt"))?;
    let zero = || ApiError::bad("invalid silence: invalid zero end timestamp");
    Ok(Silence {
        id: wished.id.unwrap_or_default(),
        matchers: conditions,
        starts_at: time_of("startsAt", Some(starts_at))?.unwrap_or(now),
        ends_at: time_of("endsAt", Some(ends_at))?.ok_or_else(zero)?,
        updated_at: now,
        created_by: wished.created_by.ok_or_else(|| missing("createdBy"))?,
        signed_in: None,
        comment: wished.comment.ok_or_else(|| missing("comment"))?,
        annotations: wished.annotations.unwrap_or_default(),
        ends_with_alert: wished.ends_with_alert,
    })
}

fn shown(silence: &Silence, now: Timestamp) -> Shown {
    Shown {
        id: silence.id.clone(),
        status: Status { state: silence.state(now) },
        updated_at: silence.updated_at.rfc3339(),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        ends_at: silence.ends_at.rfc3339(),
        matchers: silence.matchers.clone(),
        starts_at: silence.starts_at.rfc3339(),
        annotations: silence.annotations.clone(),
        signed_in: silence.signed_in.clone(),
        ends_with_alert: silence.ends_with_alert,
    }
}

fn uuid(text: &str) -> Result<String, ApiError> {
    let lower = text.to_ascii_lowercase();
    let groups: Vec<&str> = lower.split('-').collect();
    let hex = lower.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    match hex && groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        true => Ok(lower),
        false => Err(ApiError::Shape {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: 601,
            message: format!("silenceID in path must be of type uuid: {text:?}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn wishes_are_read() {
        let whole = r#"{"matchers":[{"name":"a","value":"b","isRegex":false}],"comment":"",
            "startsAt":"2026-01-01T00:00:00Z","endsAt":"2026-01-02T00:00:00Z","createdBy":"ann"}"#;
        let found = read(whole, Timestamp(0)).unwrap();
        assert!(found.matchers[0].is_equal && found.id.is_empty() && !found.ends_with_alert);
        for part in ["matchers", "comment", "startsAt", "endsAt", "createdBy", "isRegex", "name"] {
            let error = read(&whole.replace(part, "other"), Timestamp(0)).unwrap_err();
            assert!(format!("{error:?}").contains(&format!("{part} in body")), "{error:?}");
            assert_eq!(error.into_response().status(), 422, "{part}");
        }
        let none = whole.replace(r#"{"name":"a","value":"b","isRegex":false}"#, "");
        assert_eq!(read(&none, Timestamp(0)).unwrap_err().into_response().status(), 422);
        assert_eq!(read("[", Timestamp(0)).unwrap_err().into_response().status(), 400);
    }

    #[test]
    fn ids() {
        assert!(uuid("0B6C8D1E-9f0a-4b1c-8d2e-3f4a5b6c7d8e").is_ok());
        for text in ["", "x", "0b6c8d1e9f0a4b1c8d2e3f4a5b6c7d8e", "0b6c8d1e-9f0a-4b1c-8d2e-3f4g"] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }
}
