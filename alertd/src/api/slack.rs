//! `POST /slack/interactivity`: clicks on Slack's buttons, where Slack can reach this server.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Form, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use tracing::warn;

use crate::notify::slack_bot::clicks::{Clicks, Rejected, Trusted};

/// Whoever may ask for it is known by the signature of the request alone.
pub const PATH: &str = "/slack/interactivity";
/// A click brings its message, whose characters may take three bytes each here.
const MAX_BODY: usize = 512 * 1024;

pub fn routes(clicks: Clicks) -> Router {
    Router::new()
        .route(PATH, post(interactivity))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(clicks)
}

#[derive(Deserialize)]
struct Fields {
    payload: String,
}

async fn interactivity(State(clicks): State<Clicks>, request: Request) -> Response {
    if !clicks.takes_requests() {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    let (parts, body) = request.into_parts();
    let body = match Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    let trusted = match verify(&clicks, &parts.headers, &body) {
        Ok(trusted) => trusted,
        Err(why) => {
            warn!(%why, "a request to Slack's address is not Slack's");
            return (StatusCode::UNAUTHORIZED, format!("{why}\n")).into_response();
        }
    };
    let form = Request::from_parts(parts, Body::from(body));
    let payload = match Form::<Fields>::from_request(form, &()).await {
        Ok(Form(fields)) => fields.payload,
        Err(rejection) => return rejection.into_response(),
    };
    match clicks.take_request(trusted, &payload).await {
        // Slack takes an empty body for a quiet yes.
        Ok(()) => StatusCode::OK.into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not done, click again\n").into_response(),
    }
}

fn verify(clicks: &Clicks, headers: &HeaderMap, body: &[u8]) -> Result<Trusted, String> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (at, signature) = (header("x-slack-request-timestamp"), header("x-slack-signature"));
    clicks.verify(at, signature, body).map_err(|why| match why {
        Rejected::Unsigned(why) => why.to_string(),
        Rejected::Nobody | Rejected::Failed => "no receiver takes requests".to_owned(),
    })
}
