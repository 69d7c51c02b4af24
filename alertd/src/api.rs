//! The HTTP API: one file a resource, each with its own JSON and its `routes`.

pub mod about;
pub mod acknowledgements;
pub mod alertmanager;
pub mod answer;
pub mod backup;
pub mod cardinality;
pub mod error;
pub mod evaluate;
pub mod fleet;
pub mod format;
pub mod gather;
pub mod masked;
pub mod metadata;
pub mod operator;
pub mod page;
pub mod params;
pub mod pools;
pub mod query;
pub mod queue;
pub mod rules;
pub mod runbooks;
pub mod series;
pub mod slack;
pub mod status;
pub mod targets;
pub mod write;

mod watched;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use serde::Serialize;

use self::params::Limited;

/// Prometheus' envelope around every good answer.
#[derive(Debug, Serialize)]
pub struct Success<T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'static str>,
}

pub fn success<T>(data: T) -> Json<Success<T>> {
    Json(Success { status: "success", data, warnings: Vec::new() })
}

/// With a warning where a limit cut the answer short.
pub fn success_cut<T>(Limited { kept, cut }: Limited<T>) -> Json<Success<T>> {
    let warnings = if cut { vec![params::CUT] } else { Vec::new() };
    Json(Success { status: "success", data: kept, warnings })
}

/// Longest name and reason of a person that are kept, in characters.
const MOST_WORDS: usize = 200;

/// Words from outside, on one line and of bounded length.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(MOST_WORDS).map(visible).collect()
}

/// Answers what no route and no method fits as Prometheus does: plain text, no envelope.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
        })
}
