//! `POST /api/v2/alerts`: alerts of other programs, taken when they are on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use pitcrew_exporter::server::gate::Caller;
use serde::Deserialize;
use tokio::time;

use super::{ApiError, Shared};
use crate::api::operator::is_known;
use crate::model::sample::Timestamp;
use crate::route::intake::Posted;

/// Bytes of one request.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Alerts of one request.
const MAX_ALERTS: usize = 20_000;
/// Longest wait for the turn of a request.
const TURN: Duration = Duration::from_secs(5);
/// Faults of one request that are told.
const MAX_TOLD: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

pub(super) async fn post(
    State(shared): State<Shared>,
    caller: Option<Extension<Caller>>,
    request: Request,
) -> Result<Response, ApiError> {
    let anonymous = !is_known(caller.as_deref());
    if anonymous && !shared.api.doors.post_alerts {
        return Err(ApiError::Text(StatusCode::UNAUTHORIZED, "credentials needed".to_owned()));
    }
    let later = |status: StatusCode, after: Duration, why: &str| {
        let seconds = HeaderValue::from(after.as_secs_f64().ceil() as u64);
        (status, [(RETRY_AFTER, seconds)], why.to_owned()).into_response()
    };
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(ApiError::Silent(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let Ok(Ok(_turn)) = time::timeout(TURN, shared.bodies.acquire()).await else {
        let why = "too many requests at a time\n";
        return Ok(later(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(1), why));
    };
    let body = to_bytes(request.into_body(), MAX_BODY).await;
    let body = body.map_err(|_| ApiError::Silent(StatusCode::PAYLOAD_TOO_LARGE))?;
    let mut posted = read(&String::from_utf8_lossy(&body))?;
    drop(body);
    // An empty request is not for nothing either.
    if let Err(after) = shared.api.board.admit(posted.len().max(1), anonymous) {
        return Ok(later(StatusCode::TOO_MANY_REQUESTS, after, "alerts are posted too fast\n"));
    }
    posted.iter_mut().for_each(|one| one.anonymous = anonymous);
    let plan = shared.api.board.receive(posted, shared.api.resolve_timeout).await?;
    if !plan.invalid.is_empty() {
        return Err(ApiError::bad(joined(&plan.invalid)));
    }
    if plan.refused > 0 {
        let text = format!("{} alerts not taken: too many are held", plan.refused);
        return Err(ApiError::Text(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    Ok(StatusCode::OK.into_response())
}

fn read(body: &str) -> Result<Vec<Posted>, ApiError> {
    let alerts: Vec<PostedAlert> =
        serde_json::from_str(body).map_err(|error| ApiError::unreadable("alerts", &error))?;
    if alerts.len() > MAX_ALERTS {
        let text = format!("{} alerts in one request, at most {MAX_ALERTS}", alerts.len());
        return Err(ApiError::Text(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let mut posted = Vec::with_capacity(alerts.len());
    for (at, alert) in alerts.into_iter().enumerate() {
        let labels = alert.labels;
        posted.push(Posted {
            labels: labels.ok_or_else(|| {
                ApiError::missing(format!("alerts.{at}.labels in body is required"))
            })?,
            annotations: alert.annotations.unwrap_or_default(),
            starts_at: time_of("startsAt", alert.starts_at)?,
            ends_at: time_of("endsAt", alert.ends_at)?,
            generator_url: alert.generator_url.unwrap_or_default(),
            anonymous: true,
        });
    }
    Ok(posted)
}

/// A time as Alertmanager takes it; its zero counts as left out.
pub(super) fn time_of(what: &str, text: Option<String>) -> Result<Option<Timestamp>, ApiError> {
    /// The beginning of the year 1, as Go writes a time that is not set.
    const ZERO: Timestamp = Timestamp(-62_135_596_800_000);
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let read =
        Timestamp::parse_rfc3339(&text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")));
    match read {
        Some(at) => Ok(Some(at).filter(|at| *at > ZERO)),
        None => Err(ApiError::Shape {
            status: StatusCode::BAD_REQUEST,
            code: 400,
            message: format!("{what}: cannot parse {text:?} as a time of RFC 3339"),
        }),
    }
}

/// As Alertmanager lists what is wrong.
fn joined(faults: &[String]) -> String {
    let count = match faults.len() {
        1 => String::new(),
        count => format!("{count} errors: "),
    };
    let told: Vec<_> = faults.iter().take(MAX_TOLD).map(String::as_str).collect();
    format!("{count}{}", told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read() {
        let full = r#"[{"labels":{"a":"b"},"annotations":{"c":"d"},"generatorURL":"http://x/",
            "startsAt":"2026-01-01T00:00:00.5+01:00","endsAt":"0001-01-01T00:00:00Z","more":1}]"#;
        let posted = read(full).unwrap();
        assert_eq!(posted[0].starts_at.unwrap().rfc3339(), "2025-12-31T23:00:00.500Z");
        assert_eq!((posted[0].ends_at, &*posted[0].generator_url), (None, "http://x/"));
        assert_eq!(read("[]").unwrap(), []);
        for (body, status) in [
            ("{", 400),
            ("{}", 400),
            ("null", 400),
            (r#"[{"labels":{"a":1}}]"#, 400),
            (r#"[{"labels":{},"startsAt":"now"}]"#, 400),
            (r#"[{"annotations":{}}]"#, 422),
            (r#"[{"labels":null}]"#, 422),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.into_response().status(), status, "{body}");
        }
    }

    #[test]
    fn faults_are_listed() {
        assert_eq!(joined(&["a".to_owned()]), "a");
        assert_eq!(joined(&["a".to_owned(), "b".to_owned()]), "2 errors: a; b");
    }
}
